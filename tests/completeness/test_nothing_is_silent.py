"""Completeness: whatever changes leaves an entry, and a new route or command must show it.

Each walk does what the product can do, on the real database, and fails when a commit changed a
table without offering an entry in the same transaction, when the entry is not of the expected
type, or when its body is not what its schema says.
"""

import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from msgspec import structs

from appliance import user_options
from appliance.__main__ import main
from appliance.lifecycle import MOVES, State
from appliance.operator_claim import fingerprint, from_base64url
from appliance.records import Outcome
from appliance.report_chain import fingerprint as fingerprint_of_node
from hub import credentials
from hub.__main__ import main as hub_main
from hub.console.app import create_app
from hub.console.settings import ConsoleSettings
from hub.persist import halts, in_force, operators, witness
from hub.persist.database import Database, queries
from hub.persist.incidents import move
from hub.persist.ingest import AFTER_REPORT
from hub.persist.outbox import actor
from hub.settings import NotarySettings
from tests.attacks.operators import Operator, SecurityKey, TerminalKey
from tests.completeness import watch
from tests.completeness.watch import misshapen, silent, types
from tests.console import seed
from tests.console.conftest import PASSWORD, Browser, publish
from tests.console.test_witnesses import NOTES, VKEY, stands
from tests.hub.builders import opened, outbox, sql
from tests.hub.notary import InProcessNotary
from tests.hub.reporter import Reporter, dispatched
from tests.hub.test_halts import signed as resumed

pytestmark = pytest.mark.postgres

ADMIN = actor("operator", "setup")
NEW = "another long password"
PEOPLE = {
    name: Operator(name, role=role)
    for name, role in (("boss", "admin"), ("maria", "operator"), ("other", "admin"))
}


@pytest.fixture
def watched(database: Database) -> Database:
    """A fresh database that notes its changes."""
    watch.install(database)
    return database


# The console


@pytest.fixture
def app(watched: Database, dsn: str, tmp_path: Path) -> Iterator[Flask]:
    now = datetime.now(UTC)
    hashed = operators.hash_password(PASSWORD)
    for name, person in PEOPLE.items():
        operators.add(watched, name=name, role=person.role, by=ADMIN, now=now)
        with watched.transaction() as work:
            work.run("operator_set_password", name=name, password_hash=hashed)
    publish(watched, *PEOPLE.values())
    seed.node(watched)
    seed.alive(watched)
    made = create_app(
        ConsoleSettings(
            dsn=dsn,
            certificate=tmp_path / "tls.crt",
            key=tmp_path / "tls.key",
            session_key=tmp_path / "session.key",
            log=tmp_path / "log",
        )
    )
    made.testing = False
    yield made
    made.extensions["database"].close()


@dataclass(frozen=True)
class Click:
    """A form as a person sends it: from which page, to which address, and what it must leave."""

    page: str
    to: str
    form: dict[str, str] | Callable[[Browser], dict[str, str]]
    entries: tuple[str, ...]
    who: str | None = "boss"
    status: int = 303
    outside: bool = False  # nothing in the database changes: something leaves the house


def clicks(db: Database, folder: Path) -> dict[str, Click]:
    """One click for each form of the console, by its endpoint; a new form belongs in here."""
    log = on_log(db, folder)
    people = on_people(db)
    return {**clicks_on_incidents(db), **clicks_on_keys(db), **clicks_on_nodes(db), **people, **log}


def on_log(db: Database, folder: Path) -> dict[str, Click]:
    notary = InProcessNotary(folder, db)
    notary.write(3)
    notary.close()
    return {
        "audit_export.create": Click(
            "/audit",
            "/audit/export",
            {"reason": "an audit"},
            ("export.create",),
            status=200,
            outside=True,
        )
    }


def requested(db: Database, owner: str) -> dict[str, str]:
    """A key of somebody waits; the form that names it."""
    key = TerminalKey().credential
    by = actor("operator", owner)
    credentials.request(db, owner=owner, credential=key, by=by, now=datetime.now(UTC))
    return {"credential_id": key.credential_id}


def enrolment(browser: Browser) -> dict[str, str]:
    """What the page's script sends when a security key has answered."""
    found = re.search(r'data-challenge="([^"]+)" data-rp="([^"]+)"', browser.get("/account").text)
    assert found
    made = SecurityKey().enrol(
        from_base64url(found[1]), origin="https://localhost", rp_id="localhost"
    )
    return {"label": "blue", **made}


def clicks_on_keys(db: Database) -> dict[str, Click]:
    terminal = {"public_key": TerminalKey().credential.public_key, "label": "laptop"}
    return {
        "keys.enrol": Click("/account", "/account/keys", enrolment, ("credential.request",)),
        "keys.enrol_terminal": Click(
            "/account", "/account/keys/terminal", terminal, ("credential.request",)
        ),
        "keys.remove": Click(
            "/account", "/account/keys/remove", requested(db, "maria"), ("credential.revoke",),
            "maria",
        ),
        "keys.approve": Click(
            "/people", "/people/keys/approve", requested(db, "other"), ("credential.approve",)
        ),
        "keys.revoke": Click(
            "/people", "/people/keys/revoke", requested(db, "other"), ("credential.revoke",)
        ),
    }  # fmt: skip


def clicks_on_nodes(db: Database) -> dict[str, Click]:
    Reporter(node="node-1").introduces_itself(db)
    other = Reporter(node="node-1")
    other.introduces_itself(db)
    stands(db, 1)
    vkey = VKEY.replace("BAEC", "BAED")
    with db.transaction() as work:
        witness.pin_key(work, node="node-1", vkey=VKEY, before="", now=seed.now())
        work.run("witness_other", node="node-1", vkey=vkey)
    mark = {"fingerprint": fingerprint_of_node(other.spelled)}
    halt = {"node": "node-1", "reason": "a strange hub"}
    return {
        "nodes.accept_witness_key": Click(
            "/nodes", "/nodes/node-1/witness-key", {"vkey": vkey}, ("witness.key",)
        ),
        "nodes.accept_key": Click("/nodes", "/nodes/node-1/key", mark, ("node.key",)),
        "nodes.halt": Click("/nodes", "/nodes/halt", halt, ("node.halt",)),
    }


def clicks_on_incidents(db: Database) -> dict[str, Click]:
    waiting = [seed.judged(db) for _ in range(4)]
    page = [f"/incidents/{one.incident_id}" for one in waiting]
    shown = [{"shown_digest": one.digest} for one in waiting]
    yes = PEOPLE["boss"].sign(waiting[0].digest)
    signed = {"credential_id": yes.credential_id, "signature": yes.signature}
    state = ("incident.state",)
    return {
        "incident.approve": Click(
            page[0], f"{page[0]}/approve", {**shown[0], **signed}, ("approval.grant", *state)
        ),
        "incident.reject": Click(page[1], f"{page[1]}/reject", shown[1], ("approval.deny", *state)),
        "incident.close": Click(
            page[2], f"{page[2]}/close", {"note": "seen to"}, (*state, "incident.close")
        ),
        "incident.manual": Click(
            page[0],
            f"{page[0]}/manual",
            {"command": "reboot", "outcome": "worked", "result": "it came back"},
            ("manual.step",),
        ),
        "incident.propose_others": Click(
            page[3],
            f"{page[3]}/propose",
            {"commands": "uptime", "purpose": "look first", "undos": ""},
            ("plan.proposed", *state),
        ),
    }


def on_people(db: Database) -> dict[str, Click]:
    token = operators.new_link(
        db, name="other", valid_for=timedelta(hours=1), by=ADMIN, now=datetime.now(UTC)
    )
    once = f"/sign-in/once?token={token}"
    return {
        "signin.sign_in": Click(
            "/sign-in", "/sign-in", {"name": "maria", "password": PASSWORD}, ("auth.login",), None
        ),
        "signin.sign_in_once": Click(
            once, "/sign-in/once", {"token": token}, ("auth.login",), None
        ),
        "signin.sign_out": Click("/incidents", "/sign-out", {}, ("auth.logout",)),
        "signin.change_password": Click(
            "/account",
            "/account/password",
            {"old_password": PASSWORD, "password": NEW, "password_again": NEW},
            ("config.change", "auth.login"),
        ),
        "people.add": Click(
            "/people", "/people/add", {"name": "fresh", "role": "viewer"},
            ("config.change", "config.change"), status=200,
        ),
        "people.role": Click(
            "/people", "/people/maria/role", {"role": "viewer"}, ("config.change",)
        ),
        "people.disable": Click("/people", "/people/maria/disable", {}, ("config.change",)),
        "people.enable": Click("/people", "/people/maria/enable", {}, ("config.change",)),
        "people.reset": Click(
            "/people", "/people/maria/reset", {}, ("config.change",), status=200
        ),
    }  # fmt: skip


def changing(app: Flask) -> set[str]:
    methods = {"POST", "PUT", "PATCH", "DELETE"}
    return {rule.endpoint for rule in app.url_map.iter_rules() if (rule.methods or set()) & methods}


def test_every_form_of_the_console_is_walked_and_leaves_its_entries(
    app: Flask, watched: Database, tmp_path: Path
) -> None:
    walk = clicks(watched, tmp_path)
    assert changing(app) == set(walk), "a form without a walk: say in `clicks` what it must leave"
    for endpoint, click in walk.items():
        browser = Browser(app)
        if click.who:
            assert browser.sign_in(click.who).status_code == 303
        watch.forget(watched)
        form = click.form if isinstance(click.form, dict) else click.form(browser)
        answer = browser.post(click.to, form, page=click.page)
        assert answer.status_code == click.status, (endpoint, answer.text[:400])
        changed = watch.changes(watched) or click.outside
        assert changed, f"{endpoint} changed nothing: the walk is not one"
        assert tuple(types(watched)) == click.entries, endpoint
        assert silent(watched) == [], endpoint
        assert misshapen(watched) == [], endpoint
        answer.close()
        if endpoint == "signin.change_password":
            operators.set_password(
                watched, name="boss", password=PASSWORD, by=ADMIN, now=datetime.now(UTC)
            )


def test_looking_at_any_page_changes_nothing(app: Flask, watched: Database, tmp_path: Path) -> None:
    on_log(watched, tmp_path)
    incident = seed.judged(watched).incident_id
    browser = Browser(app)
    browser.sign_in("boss")
    watch.forget(watched)
    looked = 0
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or set()) or rule.endpoint == "static":
            continue
        unknown = set(rule.arguments) - {"incident_id", "name", "seq"}
        assert not unknown, f"{rule.rule}: say what to put for {unknown}"
        path = rule.rule.replace("<incident_id>", incident).replace("<name>", "node-1")
        browser.get(path.replace("<int:seq>", "1"))
        looked += 1
    assert looked > 8
    assert types(watched) == []
    assert silent(watched) == []


def test_a_sign_in_that_is_refused_is_on_record_and_so_is_a_lock_out(
    app: Flask, watched: Database
) -> None:
    watch.forget(watched)
    for _ in range(6):
        Browser(app).sign_in("maria", "not the password")
    Browser(app).post("/sign-in/once", {"token": "no such"}, page="/sign-in/once?token=no")
    assert set(types(watched)) == {"auth.fail"}
    reasons = [row["body"].get("reason") for row in outbox(watched)]
    assert reasons.count("locked out from now on") == 1
    assert silent(watched) == []
    assert misshapen(watched) == []


def test_a_session_that_ended_by_its_time_is_on_record_at_the_next_sign_in(
    app: Flask, watched: Database
) -> None:
    Browser(app).sign_in("maria")
    sql(watched, "UPDATE signin_session SET expires_at = now() - interval '1 s'")
    watch.forget(watched)
    Browser(app).sign_in("boss")
    rows = [(row["type"], row["actor"]["id"], row["outcome"]) for row in outbox(watched)]
    assert rows == [("auth.logout", "maria", "ended"), ("auth.login", "boss", "ok")]
    assert misshapen(watched) == []


# The command line


@pytest.fixture
def config(dsn: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "console.toml"
    path.write_text(f'dsn = "{dsn}"\ncertificate = "c"\nkey = "k"\nsession_key = "s"\n')
    return ["--config", str(path)]


KEY = TerminalKey().credential
USER_COMMANDS: dict[str, tuple[list[str], int]] = {
    "add": (["add", "fresh", "--role", "operator"], 2),  # the person, and the link
    "role": (["role", "maria", "--role", "viewer"], 1),
    "disable": (["disable", "maria"], 1),
    "enable": (["enable", "maria"], 1),
    "password": (["password", "maria"], 1),
    "link": (["link", "maria"], 1),
    "add-key": (["add-key", "maria", KEY.public_key, "--label", "laptop"], 1),
    "approve-key": (["approve-key", fingerprint(KEY)], 1),
    "revoke-key": (["revoke-key", fingerprint(KEY)], 1),
    "keys": (["keys"], 0),
    "list": (["list"], 0),
}


def test_every_command_about_people_leaves_its_entries(
    watched: Database, config: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = set(user_options._HELP)
    assert known == set(USER_COMMANDS), "a command without a walk: say what it must leave"
    now = datetime.now(UTC)
    for name, role in (("boss", "admin"), ("maria", "operator")):
        operators.add(watched, name=name, role=role, by=ADMIN, now=now)
    for name, (words, entries) in USER_COMMANDS.items():
        watch.forget(watched)
        monkeypatch.setattr("sys.stdin", io.StringIO("a long enough password\n"))
        assert main(["user", *words, *config]) == 0
        kinds = {"add-key": "request", "approve-key": "approve", "revoke-key": "revoke"}
        kind = f"credential.{kinds[name]}" if name in kinds else "config.change"
        assert types(watched) == [kind] * entries, name
        assert bool(watch.changes(watched)) == bool(entries), name
        assert silent(watched) == [], name
        assert misshapen(watched) == [], name


WALKED_PROGRAMS: dict[str, dict[str, str]] = {
    "appliance": {
        "demo": "the whole appliance; its parts are walked here one by one",
        "user": "walked above",
        "policy": "publication: tests/trust/test_publishing.py",
        "halt": "walked below",
        "resume": "walked below",
        "node": "walked below",
        "approve": "as the console's approval, by the same function",
        "log": "the notary writes its one entry: tests/hub/test_log_fork_command.py",
    },
    "hub": {
        "serve": "walked below, step by step",
        "reason": "walked below, step by step",
        "notary": "writes what the others offer; its own entries: tests/hub/test_key_ceremony.py",
        "console": "walked above",
        "migrate": "walked below",
        "commands": "prints",
        "export": "its one entry: tests/hub/test_export.py",
    },
}
"""Every subcommand, and where it is walked: a new one must be put here, with its walk."""


@pytest.mark.parametrize("program", sorted(WALKED_PROGRAMS))
def test_no_program_has_a_command_that_is_not_walked(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", program, "--help"], capture_output=True, text=True, check=True
    )
    listed = done.stdout.partition("COMMAND")[2].partition("\noptions:")[0]
    found = set(re.findall(r"^    ([a-z-]+) ", listed + "\n", re.MULTILINE))
    found |= set(re.findall(r"^    ([a-z-]+)$", listed, re.MULTILINE))
    assert found == set(WALKED_PROGRAMS[program])


def test_a_migration_is_on_record(postgres: Any) -> None:
    postgres.create("test_migration_on_record")
    dsn = postgres.dsn("test_migration_on_record")
    assert hub_main(["migrate", "--dsn", dsn]) == 0
    assert hub_main(["migrate", "--dsn", dsn]) == 0
    with Database(dsn, size=1) as db:
        (row,) = outbox(db)
        assert (row["type"], row["body"]["what"]) == ("config.change", "schema")
        assert "0001.spine" in row["body"]["keys"]


# Settings and models


def test_a_start_with_other_settings_is_on_record_without_its_secrets(watched: Database) -> None:
    settings = NotarySettings(dsn="password=hunter2", folder=Path("/a"), origin="o", key=Path("/k"))
    for _ in range(2):
        in_force.tell_settings(watched, "notary", settings)
    other = structs.replace(settings, group=7, folder=Path("/b"))
    in_force.tell_settings(watched, "notary", other)
    in_force.tell_settings(watched, "notary", settings)
    rows = outbox(watched)
    assert [row["type"] for row in rows] == ["config.change"] * 3
    assert rows[1]["body"]["keys"] == ["folder", "group"]
    assert rows[0]["body"]["before_digest"] is None
    assert rows[1]["body"]["before_digest"] == rows[0]["body"]["after_digest"]
    assert rows[2]["body"]["after_digest"] == rows[0]["body"]["after_digest"]
    assert "hunter2" not in str(rows)
    assert silent(watched) == []
    assert misshapen(watched) == []


def test_another_model_is_on_record_and_the_same_again_is_not(watched: Database) -> None:
    for name, digest in (("a.gguf", "aa"), ("a.gguf", "aa"), ("a.gguf", "bb"), ("b.gguf", "bb")):
        in_force.tell_model(watched, name=name, sha256=digest * 32)
    assert types(watched) == ["model.load"] * 3
    assert silent(watched) == []
    assert misshapen(watched) == []


# Nodes


def test_what_a_node_says_of_itself_is_on_record(watched: Database) -> None:
    seed.node(watched)
    order_id = dispatched(watched, node="node-1")[2]
    node = Reporter(node="node-1")
    watch.forget(watched)
    node.introduces_itself(watched)
    assert types(watched) == ["node.key"]
    node.introduces_itself(watched, halted=True, reason="by hand")
    node.introduces_itself(watched)
    assert types(watched) == ["node.key", "node.halt", "node.resume"]
    Reporter(node="node-1").introduces_itself(watched)
    assert types(watched)[3:] == ["node.key"]
    node.last = 4
    node.tells(watched, node.next(order_id))
    assert "exec.gap" in types(watched)
    assert silent(watched) == []
    assert misshapen(watched) == []


def test_what_a_node_says_of_the_log_is_on_record(watched: Database) -> None:
    seed.node(watched)
    stands(watched, 1)
    watch.forget(watched)
    parts = [part + "\n" for part in NOTES.split("\n\n\u2014 log")]
    with watched.transaction() as work:
        witness.pin_key(work, node="node-1", vkey=VKEY, before="", now=seed.now())
        assert witness.forked(work, node="node-1", reason="fork", notes=parts, now=seed.now())
    assert types(watched) == ["witness.key", "witness.refuse"]
    assert silent(watched) == []
    assert misshapen(watched) == []


def test_a_halt_and_its_end_are_on_record(watched: Database) -> None:
    watch.forget(watched)
    now = datetime.now(UTC)
    halt = halts.order(watched, node=None, reason="a strange hub", by=ADMIN, now=now)
    assert types(watched) == ["node.halt"]
    halts.lift(watched, resumed(halt, Ed25519PrivateKey.generate()), by=ADMIN, now=now)
    assert types(watched) == ["node.halt", "node.resume"]
    assert silent(watched) == []
    assert misshapen(watched) == []


# The life of an incident


def in_state(db: Database, state: State) -> str:
    """An incident put into a state by the database's owner, past every guard."""
    incident_id, _ = opened(db)
    sql(db, "ALTER TABLE incident DISABLE TRIGGER incident_guard")
    sql(
        db,
        "UPDATE incident SET state = %(state)s WHERE incident_id = %(id)s",
        state=state.value,
        id=incident_id,
    )
    sql(db, "ALTER TABLE incident ENABLE TRIGGER incident_guard")
    return incident_id


def test_every_move_the_database_allows_leaves_its_entry(watched: Database) -> None:
    moves = sql(watched, "SELECT before::text, after::text FROM incident_move")
    assert {(m["before"], m["after"]) for m in moves} == {
        (before.value, after.value) for before, onward in MOVES.items() for after in onward
    }
    for one in moves:
        before, after = State(one["before"]), State(one["after"])
        incident_id = in_state(watched, before)
        watch.forget(watched)
        with watched.transaction() as work:
            assert move(
                work, incident_id=incident_id, before=[before], after=after,
                by=actor("hub", "hub"), now=datetime.now(UTC),
            )  # fmt: skip
        (first, *rest) = outbox(watched)
        assert first["type"] == "incident.state"
        assert (first["body"]["from"], first["body"]["to"]) == (before.value, after.value)
        assert [row["type"] for row in rest] == ([] if MOVES[after] else ["incident.close"])
        assert silent(watched) == [], one
        assert misshapen(watched) == []


def test_no_statement_moves_an_incident_past_the_two_that_are_on_record() -> None:
    """`move` and `claim_for_reasoning` offer an entry; another statement would not."""
    moving = {
        name
        for name, text in queries().items()
        if re.search(r"UPDATE\s+incident\b\s+SET\b(?:(?!WHERE|FROM)[^;])*\bstate\s*=", text)
    }
    assert moving == {"move_incident", "claim_for_reasoning"}


def test_every_outcome_a_node_may_report_has_an_entry() -> None:
    assert set(AFTER_REPORT) == set(Outcome)
