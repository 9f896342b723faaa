"""A running command on its incident's page: seen while it runs, inert, marked for what it is."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from appliance.ids import uuid7
from appliance.lifecycle import State
from appliance.records import Event, Outcome, Report
from hub.persist import ingest, live
from hub.persist.database import Database
from tests.console import seed
from tests.console.conftest import Browser
from tests.console.seed import Seeded
from tests.console.test_browser import Open, chromium, problems, site, window

__all__ = ["chromium", "problems", "site", "window"]

pytestmark = pytest.mark.postgres
SignedIn = Callable[[str], Browser]
EVIL = "<script>alert(1)</script>\x1b[2J</pre><img src=x>"


def running(database: Database) -> tuple[Seeded, str]:
    """An incident whose order is with its node."""
    seed.node(database)
    seeded, order_id = seed.judged(database), uuid7()
    seed.moved(database, seeded, State.APPROVED, State.DISPATCHED)
    with database.transaction() as work:
        work.run(
            "add_order", order_id=order_id, incident_id=seeded.incident_id, node="node-1",
            envelope=b"{}", now=seed.now(), not_after=seed.now(), log_size=0,
        )  # fmt: skip
    return seeded, order_id


def says(database: Database, order_id: str, output: str, *, undoing: bool = False) -> None:
    live.heard(
        database, node="node-1", order_id=order_id, step=0, undoing=undoing, output=output,
        total=2_000_000, now=seed.now(),
    )  # fmt: skip


def ends(database: Database, order_id: str) -> None:
    report = Report(
        report_id=uuid7(), order_id=order_id, outcome=Outcome.SUCCEEDED, finished_at=seed.now()
    )
    event = Event(event_id=uuid7(), body=report)
    received = [ingest.Received(node="node-1", event=event)]
    ingest.store_events(database, received, now=seed.now())


def test_what_runs_is_shown_as_unsigned_and_its_text_does_nothing(
    signed_in: SignedIn, database: Database
) -> None:
    seeded, order_id = running(database)
    browser = signed_in("viewer-1")
    page = f"/incidents/{seeded.incident_id}"
    assert "Running now" not in browser.get(page).text
    says(database, order_id, f"copied 3 of 9\n{EVIL}")
    text = browser.get(page).text
    assert "Running now" in text
    assert "live, unsigned" in text
    assert "copied 3 of 9" in text
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2J&lt;/pre&gt;&lt;img src=x&gt;" in text
    ends(database, order_id)
    text = browser.get(page).text
    assert "Running now" not in text
    assert "copied 3 of 9" not in text


def test_it_is_shown_with_no_other_incident(signed_in: SignedIn, database: Database) -> None:
    _, order_id = running(database)
    other = seed.judged(database, found=seed.finding(name="other", summary="other"))
    says(database, order_id, "copied 3 of 9")
    assert "copied" not in signed_in("viewer-1").get(f"/incidents/{other.incident_id}").text


@pytest.mark.browser
@pytest.mark.xdist_group("chromium")
def test_an_open_page_follows_the_output_without_a_reload(window: Open, database: Database) -> None:
    seeded, order_id = running(database)
    page = window(name="viewer-1")
    page.goto(f"/incidents/{seeded.incident_id}")
    part = page.locator("#part-live")
    expect(part).to_be_empty()
    for text in ("copied 3 of 9", f"copied 6 of 9\n{EVIL}"):
        says(database, order_id, text)
        expect(part.locator("pre")).to_contain_text(text.partition("\n")[0], timeout=30_000)
    expect(part).to_contain_text("<img src=x>")
    expect(part.locator("img, script")).to_have_count(0)
    ends(database, order_id)
    expect(part).to_be_empty(timeout=30_000)
