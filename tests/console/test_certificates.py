"""The nodes page tells which certificates end, were revoked, or were obtained by somebody else."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask

from hub.own_certificates import OwnCertificates
from hub.persist import identity
from hub.persist.database import Database
from hub.persist.identity import Shown
from hub.persist.outbox import actor
from hub.persist.status import beat
from tests.console.conftest import Browser
from tests.identity.authority import AnyAuthority
from tests.identity.running import eventually
from vault.own import Own
from vault.settings import VaultSite

pytestmark = pytest.mark.postgres
SignedIn = Callable[[str], Browser]
NODE = "node-1"
BY = actor("operator", "admin-1")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def shows(database: Database, *, begun: timedelta, left: timedelta) -> None:
    now = datetime.now(UTC)
    one = Shown(
        node=NODE, serial="0a:1b", key_sha256="ab" * 32, sha256="cd" * 32,
        not_before=now - begun, not_after=now + left,
    )  # fmt: skip
    assert identity.admit(database, one, now=now) is None


def page(signed_in: SignedIn) -> str:
    return signed_in("viewer-1").get("/nodes").text


def test_a_good_certificate_is_shown_with_its_key_to_compare(
    signed_in: SignedIn, database: Database
) -> None:
    assert "certificate until" not in page(signed_in)
    shows(database, begun=HOUR, left=71 * HOUR)
    text = page(signed_in)
    assert 'title="key abab abab' in text
    assert "certificate until" in text
    assert "not renewed" not in text


@pytest.mark.parametrize(
    ("begun", "left", "words"),
    [(61 * HOUR, 11 * HOUR, "not renewed"), (72 * HOUR, -HOUR / 60, "ended")],
)
def test_one_that_ends_without_being_renewed_is_a_warning_while_there_is_time(
    signed_in: SignedIn, database: Database, begun: timedelta, left: timedelta, words: str
) -> None:
    shows(database, begun=begun, left=left)
    assert f"</span> {words}</span>" in page(signed_in)


def test_a_revoked_node_is_marked(signed_in: SignedIn, database: Database) -> None:
    shows(database, begun=HOUR, left=71 * HOUR)
    identity.revoke(database, node=NODE, reason="stolen", by=BY, now=datetime.now(UTC))
    assert "</span> revoked</span>" in page(signed_in)


def test_a_token_that_somebody_else_opened_is_an_alarm_until_the_node_has_joined(
    signed_in: SignedIn, database: Database
) -> None:
    now = datetime.now(UTC)
    asked = {"node": NODE, "wrap": "w", "wrapped": "t", "expires_at": now + HOUR, "by": BY}
    identity.asked(database, **asked, now=now)
    (one,) = identity.waiting(database)
    identity.settle(database, one, "stolen", by=BY, now=now)
    assert "The joining token of node-1 was opened by somebody else" in page(signed_in)
    identity.asked(database, **asked, now=now + HOUR)
    shows(database, begun=-2 * HOUR, left=71 * HOUR)
    assert "opened by somebody else" not in page(signed_in)


def test_a_node_that_is_away_is_not_admitted_with_what_was_revoked(database: Database) -> None:
    shows(database, begun=HOUR, left=71 * HOUR)
    now = datetime.now(UTC)
    rows = identity.revoke(database, node=NODE, reason="stolen", by=BY, now=now)
    assert [row["serial"] for row in rows] == ["0a:1b"]
    old = Shown(
        node=NODE, serial="2c", key_sha256="ab" * 32, sha256="cd" * 32,
        not_before=now, not_after=now + HOUR,
    )  # fmt: skip
    why = identity.admit(database, old, now=now)
    assert why is not None
    assert "was revoked" in why
    assert [row["serial"] for row in identity.shown_by_nodes(database).values()] == ["0a:1b"]


def test_the_status_page_says_that_the_consoles_own_certificate_is_not_renewed(
    signed_in: SignedIn, app: Flask, tmp_path: Path
) -> None:
    browser = signed_in("viewer-1")
    assert "certificate of" not in browser.get("/status").text
    mine = AnyAuthority().issue(tmp_path / "mine", starts=-25 * DAY, ends=5 * DAY)
    own = Own(
        role="console", certificate=mine.certificate, key=mine.key, signer="console",
        signer_pair=(mine.certificate, mine.key), vault=VaultSite(url="https://127.0.0.1:1"),
    )  # fmt: skip
    stop = threading.Event()
    kept = app.extensions["certificates"] = OwnCertificates([own], stop)
    kept.start()
    try:
        assert eventually(lambda: kept.warning() is not None)
    finally:
        stop.set()
    text = browser.get("/status").text
    assert "certificate of console not renewed, 4 days, 23:" in text


def test_the_status_page_shows_what_the_hub_says_of_its_own(
    signed_in: SignedIn, database: Database
) -> None:
    words = "certificate of hub not renewed, 1 day, 2:00:00 are left: Vault does not answer"
    beat(database, part="hub", instance="h:1", detail={"warning": words})
    assert words in signed_in("viewer-1").get("/status").text
