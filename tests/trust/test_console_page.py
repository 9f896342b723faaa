"""The console's page on signed trust: what is in force, until when, and who believes it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from flask import Flask

from appliance.errors import SettingsError
from appliance.trust_files import ONLINE
from hub.console import serve
from hub.console.app import create_app
from hub.console.settings import ConsoleSettings
from hub.persist.database import Database, as_json
from hub.persist.outbox import actor
from hub.publish import Hub, publish
from tests.console import seed
from tests.console.conftest import Browser, browser, people, settings, signed_in
from tests.hub.builders import sql
from tests.trust.signers import Signers

__all__ = ["browser", "people", "settings", "signed_in"]

pytestmark = pytest.mark.postgres
SignIn = Callable[[str], Browser]


@pytest.fixture
def signers() -> Signers:
    return Signers(at=datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def app(
    settings: ConsoleSettings, people: None, database: Database, signers: Signers, tmp_path: Path
) -> Iterator[Flask]:
    root = tmp_path / "root.json"
    root.write_bytes(signers.roots[1])
    seed.node(database)
    seed.alive(database)
    app = create_app(msgspec.structs.replace(settings, trust_root=root))
    app.testing = False
    yield app
    app.extensions["database"].close()


def put(db: Database, signers: Signers, version: int, **how: object) -> None:
    files = signers.signed_set(version, **how)
    offered = {name: data for name, data in files.items() if name not in ONLINE[:2]}
    hub = Hub(db=db, root=signers.roots[1], key=signers.keys["online"])
    publish(hub, offered, by=actor("operator", "anna"), now=datetime.now(UTC))


def said(db: Database, node: str, versions: dict[str, int], refusal: str = "") -> None:
    with db.transaction() as work:
        work.run("node_trust", node=node, versions=as_json(versions), refusal=refusal,
                 now=datetime.now(UTC))  # fmt: skip


def test_the_page_shows_signers_expiry_people_and_what_each_node_believes(
    signed_in: SignIn, database: Database, signers: Signers
) -> None:
    put(database, signers, 1)
    everything = {"root": 1, "targets": 1, "snapshot": 1, "timestamp": 1}
    for name, versions, refusal in (
        ("node-1", everything, ""),
        ("node-2", {**everything, "targets": 0}, ""),
        ("node-3", everything, "<b>trust expired</b>"),
    ):
        seed.node(database, name)
        said(database, name, versions, refusal)
    seed.node(database, "node-4")
    text = signed_in("viewer-1").get("/trust").text
    for words in ("anna", "ben", "carl", "2 of 3", "person-1", "what is published"):
        assert words in text
    for words in ("something older", "&lt;b&gt;trust expired", "has not said", "in force"):
        assert words in text
    assert "No node runs anything live" not in text


def test_every_page_warns_before_trust_ends_and_says_when_it_has(
    signed_in: SignIn, database: Database, signers: Signers
) -> None:
    browser = signed_in("operator-1")
    assert "nothing is published yet" in browser.get("/incidents").text
    put(database, signers, 1)
    assert "No node runs anything live" not in browser.get("/incidents").text
    assert "have to renew" not in browser.get("/incidents").text
    put(database, signers, 2, days=10)
    assert "Signers have to renew signed trust" in browser.get("/incidents").text


def test_a_set_that_lies_in_the_database_and_does_not_verify_is_told(
    signed_in: SignIn, database: Database, signers: Signers
) -> None:
    put(database, signers, 1)
    browser = signed_in("operator-1")
    assert "person-1" in browser.get("/trust").text
    sql(database, "UPDATE publication SET digest = 'x', files = 'y'")
    text = browser.get("/trust").text
    assert "what lies in the database is refused, what was believed stays" in text
    assert "person-1" in text


def test_ended_trust_is_a_banner_on_every_page(
    signed_in: SignIn, database: Database, signers: Signers, app: Flask
) -> None:
    put(database, signers, 1)
    browser = signed_in("operator-1")
    browser.get("/trust")
    last = app.extensions["trust"]._last
    ended = {
        name: msgspec.structs.replace(role, expires=datetime.now(UTC) - timedelta(minutes=1))
        for name, role in last.belief.roles.items()
    }
    last.belief.roles.update(ended)
    for page in ("/incidents", "/nodes", "/audit", "/trust"):
        assert "No node runs anything live" in browser.get(page).text


def test_a_root_that_cannot_be_read_stops_the_console(
    settings: ConsoleSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_tls", lambda _: None)
    with pytest.raises(SettingsError, match="cannot read the pinned root"):
        serve.check(msgspec.structs.replace(settings, trust_root=tmp_path / "none.json"))
