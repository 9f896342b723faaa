"""A console on a fresh database, spoken to over HTTP as browsers and scripts do."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from appliance.people import People
from hub.console.app import create_app
from hub.console.settings import ConsoleSettings
from hub.persist import operators
from hub.persist.database import Database
from hub.persist.outbox import actor
from hub.persist.people import put_in_force
from tests.attacks.operators import Operator, SecurityKey, TerminalKey
from tests.attacks.operators import people as listed
from tests.console import seed

PASSWORD = "correct-horse-battery"
ROOT = actor("operator", "setup")
_CSRF = re.compile(r'name="csrf_token" value="([^"]+)"')


class Browser:
    """A client that keeps cookies and copies form tokens as a browser does."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()
        self.name = ""  # who is signed in

    def get(self, path: str, **more) -> TestResponse:
        return self.client.get(path, base_url="https://localhost", **more)

    def post(self, path: str, data: dict[str, str] | None = None, *, page: str) -> TestResponse:
        """Send a form that stands on a page."""
        found = _CSRF.search(self.get(page).text)
        assert found, f"no form on {page}"
        return self.raw_post(path, {"csrf_token": found[1], **(data or {})})

    def raw_post(self, path: str, data: dict[str, str], **more) -> TestResponse:
        return self.client.post(path, data=data, base_url="https://localhost", **more)

    def sign_in(self, name: str, password: str = PASSWORD) -> TestResponse:
        return self.post("/sign-in", {"name": name, "password": password}, page="/sign-in")


@pytest.fixture
def settings(dsn: str, tmp_path: Path) -> ConsoleSettings:
    return ConsoleSettings(
        dsn=dsn,
        certificate=tmp_path / "tls.crt",
        key=tmp_path / "tls.key",
        session_key=tmp_path / "session.key",
        database_connections=2,
        refresh_s=1,
    )


@pytest.fixture
def people(database: Database) -> None:
    """One of each role: viewer-1, operator-1, operator-2, admin-1."""
    hashed = _hash()
    moment = datetime.now(UTC)
    for name in ("viewer-1", "operator-1", "operator-2", "admin-1"):
        operators.add(database, name=name, role=name.split("-")[0], by=ROOT, now=moment)
        with database.transaction() as work:
            work.run("operator_set_password", name=name, password_hash=hashed)


RP_ID, ORIGIN = "localhost", "https://localhost"

OPERATORS = {
    name: Operator(name, role=name.split("-")[0], keys=[TerminalKey(), SecurityKey()])
    for name in ("viewer-1", "operator-1", "operator-2", "admin-1")
}


def publish(database: Database, *operators: Operator, **changes: Any) -> People:
    """Put a list of people in force: all of them, or these."""
    values = {"rp_id": RP_ID, "origins": (ORIGIN,), **changes}
    made = listed(*(operators or OPERATORS.values()), **values)
    with database.transaction() as work:
        put_in_force(work, made, now=datetime.now(UTC))
    return made


@pytest.fixture
def published(database: Database) -> People:
    """A list of people with their keys is in force."""
    return publish(database)


@pytest.fixture
def app(settings: ConsoleSettings, people: None, database: Database) -> Iterator[Flask]:
    seed.node(database)
    seed.alive(database)
    app = create_app(settings)
    app.testing = False
    yield app
    app.extensions["database"].close()


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app)


@pytest.fixture
def signed_in(app: Flask, database: Database) -> Callable[[str], Browser]:
    """A browser that is signed in already, by a link, for hashing passwords is slow on purpose."""

    def make(name: str) -> Browser:
        made, moment = Browser(app), datetime.now(UTC)
        made.name = name
        token = operators.new_link(
            database, name=name, valid_for=timedelta(minutes=1), by=ROOT, now=moment
        )
        data, page = {"token": token}, f"/sign-in/once?token={token}"
        assert made.post("/sign-in/once", data, page=page).status_code == 303
        return made

    return make


_HASHES: list[str] = []


def _hash() -> str:
    """Hashing is slow on purpose; once is enough for all tests."""
    if not _HASHES:
        _HASHES.append(operators.hash_password(PASSWORD))
    return _HASHES[0]
