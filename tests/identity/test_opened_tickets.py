"""A joining token that somebody else opened: the hub finds it by itself, and operators see it."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any

import pytest
from msgspec import structs

from appliance import settings
from appliance.launch import free_port
from appliance.records import Condition
from hub import opened_tickets
from hub.admission import shown_of
from hub.opened_tickets import OpenedTickets
from hub.persist import identity, incidents
from hub.persist.database import Database
from hub.persist.ingest import store_events
from hub.settings import ServeSettings
from tests.hub.builders import add_node, cleared, finding, outbox, received, sql, state_of
from tests.identity.conftest import Site
from tests.identity.test_joining import NAME, World
from vault import certificates, redeem
from vault.access import VaultAccess
from vault.client import Client

pytestmark = [pytest.mark.postgres, pytest.mark.vault]
NOW, LONG = timedelta(0), timedelta(hours=1)
POLICY = Path(__file__).parents[2] / "vault" / "policies" / "hub.hcl"


@pytest.fixture
def world(site: Site, dsn: str, tmp_path: Path) -> World:
    return World(site, dsn, tmp_path / "world")


@pytest.fixture
def access(site: Site, tmp_path: Path) -> VaultAccess:
    """What the hub itself may do in Vault, and nothing more."""
    text = Template(POLICY.read_text()).safe_substitute(pki="pki_int", kv="sentinel-kv")
    site.admin.call("POST", "sys/policies/acl/hub-test", {"policy": text}, what="write a policy")
    body = {"policies": ["hub-test"], "ttl": "1h"}
    made = site.admin.call("POST", "auth/token/create", body, what="make the hub's token")
    file = tmp_path / "hub.token"
    file.write_text(made["auth"]["client_token"])
    return VaultAccess(url=site.vault.url, ca=site.vault.ca, token=file)


Look = Callable[..., None]


@pytest.fixture
def look(database: Database, site: Site, access: VaultAccess) -> Look:
    def one(within: timedelta = NOW, times: int = 2) -> None:
        watch = OpenedTickets(database, vault=site.vault, access=access, joins_within=within)
        for _ in range(times):
            watch.turn()

    return one


def found(database: Database) -> list[dict[str, Any]]:
    return sql(database, "SELECT * FROM incident ORDER BY opened_at")


def connects(world: World, database: Database) -> None:
    leaf = certificates.chain_of(world.node.identity.certificate.read_bytes())[0]
    assert identity.admit(database, shown_of(leaf, NAME), now=datetime.now(UTC)) is None


def stolen(world: World) -> None:
    redeem.unwrap(Client(world.site.vault), world.add().token)


def test_a_token_that_somebody_else_opened_is_an_incident_for_a_person_and_for_no_model(
    world: World, database: Database, look: Look
) -> None:
    stolen(world)
    look(times=1)
    assert found(database) == []  # seen to be open; whose it is shows when the node comes or not
    look(times=3)
    (one,) = found(database)
    assert (one["node"], one["condition"], one["severity"]) == (NAME, "stolen_token", "critical")
    assert one["state"] == "manual"
    assert "has not connected: somebody else may have it" in one["summary"]
    now = datetime.now(UTC)
    assert incidents.claim_for_reasoning(database, holder="r", lease_s=60, now=now) is None
    (entry,) = [row for row in outbox(database) if row["type"] == "incident.open"]
    assert entry["body"]["condition"] == "stolen_token"
    assert entry["actor"]["kind"] == "hub"
    assert sql(database, "SELECT FROM plan") == sql(database, "SELECT FROM exec_order") == []
    assert sql(database, "SELECT FROM node") == []  # it never came


def test_a_node_that_joins_as_it_should_is_never_an_incident(
    world: World, database: Database, look: Look
) -> None:
    ticket = world.add()
    look()  # not opened yet
    world.join(ticket)
    look(LONG)  # opened; its agent is being started
    connects(world, database)
    look()
    assert found(database) == []
    assert [row["state"] for row in sql(database, "SELECT state FROM node_enrolment")] == ["joined"]


def test_a_node_that_connects_between_two_looks_is_no_incident(
    world: World, database: Database, look: Look
) -> None:
    world.join(world.add())
    look(times=1)
    connects(world, database)
    look(times=3)
    assert found(database) == []


def test_a_token_whose_time_is_over_was_not_opened_by_anybody(
    world: World, database: Database, look: Look
) -> None:
    world.add()
    (row,) = identity.waiting(database)
    world.site.joining.close(row["wrap"])
    for left in (timedelta(seconds=3), timedelta(seconds=-1)):
        sql(database, "UPDATE node_enrolment SET expires_at = %(at)s", at=datetime.now(UTC) + left)
        look()
        assert found(database) == []


def test_what_was_opened_is_told_though_the_hub_was_restarted_and_its_time_is_over(
    world: World, database: Database, look: Look
) -> None:
    stolen(world)
    look(LONG, times=1)
    sql(database, "UPDATE node_enrolment SET expires_at = %(at)s", at=datetime.now(UTC))
    look(LONG)
    assert found(database) == []
    look(times=1)
    assert len(found(database)) == 1
    assert world.say("check") == 1  # nor is it called expired


def test_a_vault_that_is_away_is_said_once_and_asked_again(
    world: World, database: Database, site: Site, access: VaultAccess,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    stolen(world)
    gone = structs.replace(site.vault, url=f"https://127.0.0.1:{free_port()}")
    away = OpenedTickets(database, vault=gone, access=access, joins_within=NOW)
    for _ in range(3):
        away.turn()
    assert found(database) == []
    said = [one for one in caplog.messages if "cannot be told" in one]
    assert len(said) == 1
    assert "does not answer" in said[0]
    back = OpenedTickets(database, vault=site.vault, access=access, joins_within=NOW)
    back.turn()
    away.turn()  # what was seen is told of also while Vault is away
    assert len(found(database)) == 1


def test_a_hub_that_may_not_ask_calls_nothing_stolen(
    world: World, database: Database, access: VaultAccess, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    world.add()
    (tmp_path / "wrong.token").write_text("s.nothing")
    mute = structs.replace(access, token=tmp_path / "wrong.token")
    watch = OpenedTickets(database, vault=world.site.vault, access=mute, joins_within=NOW)
    for _ in range(3):
        watch.turn()
    assert found(database) == []
    assert any("cannot be told" in one for one in caplog.messages)


def test_whoever_has_the_token_can_neither_end_the_incident_nor_make_one(
    world: World, database: Database, look: Look
) -> None:
    stolen(world)
    look()
    (one,) = found(database)
    add_node(database, NAME)
    theirs = structs.replace(finding(), finding_id=one["finding_id"])
    forged = structs.replace(finding(), condition=Condition.STOLEN_TOKEN)
    before = len(outbox(database))
    words = [cleared(theirs), theirs, forged]
    now = datetime.now(UTC)
    answers = store_events(database, [received(word, node=NAME) for word in words], now=now)
    assert [bool(answer) for answer in answers] == [True, True, True]
    assert found(database) == [one]
    assert len(outbox(database)) == before


def test_who_connects_later_is_noted_and_closes_nothing(
    world: World, database: Database, look: Look
) -> None:
    world.join(world.add())
    look()
    (one,) = found(database)
    connects(world, database)
    assert state_of(database, str(one["incident_id"])) == "manual"
    (*_, last) = sql(database, "SELECT note FROM incident_history ORDER BY history_id")
    assert "compare it with what the node itself shows" in last["note"]


def test_a_person_who_finds_it_first_reports_the_same_incident_once(
    world: World, database: Database, look: Look
) -> None:
    stolen(world)
    assert world.say("check", NAME, "--stolen") == 1
    (one,) = found(database)
    assert one["summary"] == f"the joining token of {NAME} was opened by somebody else"
    look()
    assert found(database) == [one]


def test_the_serving_hub_looks_by_itself(
    world: World, database: Database, access: VaultAccess
) -> None:
    with world.serve.open("a") as file:
        file.write(
            f'[secrets]\nurl = "{access.url}"\nca = "{access.ca}"\ntoken = "{access.token}"\n'
        )
    chosen = structs.replace(
        settings.load(world.serve, ServeSettings), tickets_every_s=0.05, joins_within_s=0.05
    )
    stolen(world)
    stop, waited = threading.Event(), threading.Event()
    opened_tickets.start(database, chosen, stop=stop)
    for _ in range(600):
        if found(database) or waited.wait(0.1):
            break
    stop.set()
    assert [one["node"] for one in found(database)] == [NAME]
