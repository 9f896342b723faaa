"""Operators see a stolen joining token among the incidents, with what to do, and close it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from hub.errors import ApprovalError, MoveError
from hub.persist import identity, stolen
from hub.persist.database import Database
from hub.persist.outbox import actor
from hub.propose import Draft, propose
from tests.console.conftest import Browser
from tests.hub.builders import sql, state_of
from tests.hub.test_approve import FIRST

pytestmark = pytest.mark.postgres
SignedIn = Callable[[str], Browser]
NODE = "web-7.test"  # it never connected: no row of `node` has its name


@pytest.fixture
def incident(database: Database) -> str:
    now = datetime.now(UTC)
    identity.asked(
        database, node=NODE, wrap="w", wrapped="t", expires_at=now + timedelta(minutes=15),
        by=actor("operator", "admin-1"), now=now,
    )  # fmt: skip
    (row,) = stolen.unopened(database, now=now)
    stolen.opened(database, row, now=now)
    assert stolen.report_overdue(database, within=timedelta(0), now=now) == [NODE]
    return str(sql(database, "SELECT incident_id FROM incident")[0]["incident_id"])


def test_a_stolen_token_is_in_the_list_under_a_kind_of_its_own(
    signed_in: SignedIn, incident: str
) -> None:
    browser = signed_in("operator-1")
    for query in ("", "?state=needs", "?condition=stolen_token", "?severity=critical"):
        text = browser.get(f"/incidents{query}").text
        assert incident in text
        assert f"the joining token of {NODE} was opened" in text
    assert incident not in browser.get("/incidents?condition=disk_space").text


def test_its_page_tells_what_a_person_does_and_offers_no_commands(
    signed_in: SignedIn, incident: str
) -> None:
    text = signed_in("operator-1").get(f"/incidents/{incident}").text
    assert f"sentinel node check {NODE} --stolen" in text
    assert f"sentinel node add {NODE}" in text
    assert "Nothing to run: this is for a person" in text
    assert f"/incidents/{incident}/propose" not in text
    assert f"/incidents/{incident}/close" in text


def test_nobody_proposes_commands_for_it(database: Database, incident: str) -> None:
    draft = Draft(commands=["systemctl restart sentinel-agent"], purpose="try it")
    with pytest.raises((MoveError, ApprovalError)):
        propose(database, incident_id=incident, who=FIRST, draft=draft, now=datetime.now(UTC))
    assert state_of(database, incident) == "manual"


def test_it_is_closed_with_a_note_and_stays_closed(
    signed_in: SignedIn, database: Database, incident: str
) -> None:
    browser, page = signed_in("operator-1"), f"/incidents/{incident}"
    answer = browser.post(f"{page}/close", {"note": ""}, page=page)
    assert state_of(database, incident) == "manual", answer.text
    browser.post(f"{page}/close", {"note": "the mail was read; added again"}, page=page)
    assert state_of(database, incident) == "closed"
    now = datetime.now(UTC)
    assert stolen.report_overdue(database, within=timedelta(0), now=now) == []
