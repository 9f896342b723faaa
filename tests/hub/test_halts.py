"""The fleet's kill switch on the hub: who is told what, over the real stream and command."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.halts import Halts
from agent.resume import demand_lifted
from appliance.__main__ import main as sentinel
from appliance.channel import Identity
from appliance.envelope import key_id, make_key
from appliance.halt import Halt, Resumption, to_be_signed
from appliance.people import KeyCredential, People, Person
from appliance.records import KeySignature
from appliance.report_chain import fingerprint, spelled
from appliance.wire import sentinel_pb2 as pb
from hub.errors import FleetError
from hub.persist import halts, node_state
from hub.persist.database import Database
from hub.persist.outbox import actor
from tests.hub.builders import NODE, NOW, add_node, outbox, sql
from tests.hub.reporter import Reporter
from tests.hub.test_transport import (
    HELLO,
    Served,
    conversation,
    hub_identity,
    node_identity,
    served,
    talk,
)

__all__ = ["hub_identity", "node_identity", "served"]

pytestmark = [pytest.mark.postgres, pytest.mark.vault]
ADA = actor("operator", "ada")


def signed(halt: Halt, key: Ed25519PrivateKey, operator: str = "ada") -> Resumption:
    signature = base64.b64encode(key.sign(to_be_signed(halt, operator))).decode()
    return Resumption(
        halt_id=halt.halt_id,
        operator=operator,
        signature=KeySignature(credential_id=key_id(key.public_key()), signature=signature),
    )


def state(*, halted: bool, reason: str = "", key: str = "") -> pb.FromAgent:
    return pb.FromAgent(node_state=pb.NodeState(halted=halted, reason=reason, result_key=key))


def messages(served: Served, who: Identity, *said: pb.FromAgent) -> list[pb.FromHub]:
    """Connect, say this, and hear what the hub says between its welcome and its having handled it.

    The hub reads in order: that it refuses a last, unacceptable event shows all before it is done.
    """

    async def hear() -> list[pb.FromHub]:
        async with conversation(served, who) as call:
            await call.write(HELLO)
            await call.read()
            for one in (*said, pb.FromAgent(event=pb.Event(event_id="none"))):
                await call.write(one)
            heard = [await call.read()]
            while heard[-1].WhichOneof("of") != "nack":
                heard.append(await call.read())
            return heard[:-1]

    return talk(hear)


def halted_row(db: Database) -> tuple[bool, str]:
    (row,) = sql(db, "SELECT halted, halt_reason FROM node")
    return row["halted"], row["halt_reason"]


def test_a_node_that_connects_later_is_told_of_every_halt_in_force(
    served: Served, node_identity: Identity, database: Database
) -> None:
    add_node(database)
    add_node(database, "h2.test")
    one = halts.order(database, node=None, reason="all", by=ADA, now=NOW)
    two = halts.order(database, node=NODE, reason="only you", by=ADA, now=NOW)
    halts.order(database, node="h2.test", reason="another", by=ADA, now=NOW)
    heard = messages(served, node_identity)
    assert [(said.halt.halt_id, said.halt.reason) for said in heard] == [
        (one.halt_id, "all"),
        (two.halt_id, "only you"),
    ]
    assert all(said.halt.resume == b"" for said in heard)


def test_a_connected_node_is_told_at_once_and_once(
    served: Served, node_identity: Identity, database: Database
) -> None:
    import asyncio  # noqa: PLC0415 - beside its one use

    async def hear() -> list[str]:
        async with conversation(served, node_identity) as call:
            await call.write(HELLO)
            await call.read()
            await asyncio.to_thread(
                lambda: halts.order(database, node=None, reason="now", by=ADA, now=NOW)
            )
            transport = served.transport
            assert transport is not None
            for _ in range(3):
                future = asyncio.run_coroutine_threadsafe(transport.tell_halts(), served._loop)
                await asyncio.wrap_future(future)
            await call.write(pb.FromAgent(event=pb.Event(event_id="none")))
            heard = []
            while not heard or heard[-1] != "nack":  # what follows an event's refusal is later
                message = await call.read()
                heard.append(message.halt.reason or message.WhichOneof("of"))
            return heard

    assert talk(hear) == ["now", "nack"]


def test_a_lifted_halt_reaches_a_node_that_says_it_is_halted_with_the_signature(
    served: Served, node_identity: Identity, database: Database, tmp_path: Path
) -> None:
    key = Ed25519PrivateKey.generate()
    add_node(database)
    made = halts.order(database, node=None, reason="stop", by=ADA, now=NOW)
    said = signed(made, key)
    halts.lift(database, said, by=ADA, now=NOW)
    sql(database, "UPDATE halt SET lifted_at = now()")
    (heard,) = messages(served, node_identity, state(halted=True, reason="stop"))
    assert heard.halt.halt_id == made.halt_id
    node = Halts(tmp_path / "halted.json")
    node.halt(made, whose="hub", now=NOW)
    credential = KeyCredential(
        credential_id=key_id(key.public_key()), public_key=spelled(key.public_key())
    )
    people = People(persons=(Person(name="ada", role="admin", credentials=(credential,)),))
    assert demand_lifted(heard.halt.resume, node, people) == made.halt_id


def test_a_node_that_runs_is_not_bothered_with_old_resumptions(
    served: Served, node_identity: Identity, database: Database
) -> None:
    add_node(database)
    old = halts.order(database, node=None, reason="old", by=ADA, now=NOW)
    halts.lift(database, signed(old, Ed25519PrivateKey.generate()), by=ADA, now=NOW)
    new = halts.order(database, node=None, reason="new", by=ADA, now=NOW)
    (heard,) = messages(served, node_identity, state(halted=False))
    assert heard.halt.halt_id == new.halt_id


def test_what_a_node_says_of_itself_is_kept_and_its_change_is_in_the_log(
    database: Database,
) -> None:
    add_node(database)
    node = Reporter()
    node.introduces_itself(database)
    node.introduces_itself(database, halted=True, reason="a\nb")
    assert halted_row(database) == (True, "a\\x0ab")
    node.introduces_itself(database, halted=True, reason="a\nb")
    node.introduces_itself(database)
    assert halted_row(database) == (False, "")
    kinds = [row["type"] for row in outbox(database) if row["type"].startswith("node.")]
    assert kinds == ["node.key", "node.halt", "node.resume"]


def test_a_node_cannot_speak_for_another(
    served: Served, node_identity: Identity, database: Database
) -> None:
    """The name is the certificate's; the message has no field for one."""
    add_node(database, "h2.test")
    key = spelled(Ed25519PrivateKey.generate().public_key())
    halts.order(database, node=None, reason="x", by=ADA, now=NOW)
    messages(served, node_identity, state(halted=True, reason="mine", key=key))
    rows = sql(database, "SELECT name, halted FROM node ORDER BY name")
    assert {row["name"]: row["halted"] for row in rows} == {NODE: True, "h2.test": False}


@pytest.mark.parametrize("reason", ["", "   "])
def test_a_halt_without_a_reason_or_for_an_unknown_node_is_refused(
    database: Database, reason: str
) -> None:
    with pytest.raises(FleetError):
        halts.order(database, node=None, reason=reason, by=ADA, now=NOW)
    with pytest.raises(FleetError, match="no node"):
        halts.order(database, node="h9.test", reason="why", by=ADA, now=NOW)
    assert halts.in_force(database) == []


def test_a_halt_is_lifted_once(database: Database) -> None:
    made = halts.order(database, node=None, reason="stop", by=ADA, now=NOW)
    said = signed(made, Ed25519PrivateKey.generate())
    halts.lift(database, said, by=ADA, now=NOW)
    with pytest.raises(FleetError):
        halts.lift(database, said, by=ADA, now=NOW)
    kinds = [row["type"] for row in outbox(database)]
    assert kinds == ["node.halt", "node.resume"]


# The command -------------------------------------------------------------------------------------


@pytest.fixture
def command(dsn: str, tmp_path: Path) -> Callable[..., int]:
    config = tmp_path / "console.toml"
    config.write_text(
        f'dsn = "{dsn}"\ncertificate = "x"\nkey = "x"\nsession_key = "{tmp_path}/s"\n'
    )

    def run(*words: str) -> int:
        return sentinel([*words, "--config", str(config)])

    return run


def test_the_fleet_is_halted_and_resumed_from_the_command_line(
    command: Callable[..., int],
    database: Database,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_node(database)
    make_key(tmp_path / "ada.pem")
    assert command("halt", "--all", "--reason", "a strange hub") == 0
    assert command("halt", NODE, "--reason", "one more") == 0
    sign = ("resume", "--operator", "ada", "--key", str(tmp_path / "ada.pem"))
    assert command(*sign) == 1  # several: which?
    wanted = [str(row["halt_id"]) for row in halts.in_force(database)]
    told = capsys.readouterr()
    assert all(halt_id in told.err for halt_id in wanted)
    assert command(*sign, "--halt", wanted[0]) == 0
    assert command(*sign) == 0
    assert halts.in_force(database) == []
    assert command(*sign) == 1


@pytest.mark.parametrize(
    "words", [("halt", "--reason", "x"), ("halt", "--all", "h1", "--reason", "x")]
)
def test_the_command_wants_to_know_whom(command: Callable[..., int], words: Any) -> None:
    assert command(*words) == 1


def test_a_new_key_is_accepted_from_the_command_line_by_its_fingerprint(
    command: Callable[..., int], database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    add_node(database)
    Reporter().introduces_itself(database)
    new = Reporter()
    assert command("node", "accept-key", NODE, "--fingerprint", "0" * 64) == 1
    new.introduces_itself(database)
    assert command("node", "accept-key", NODE, "--fingerprint", "0" * 64) == 1
    mark = fingerprint(new.spelled)
    assert node_state.offered_fingerprint(database, NODE) == mark
    assert command("node", "accept-key", NODE, "--fingerprint", mark) == 0
    assert node_state.offered_fingerprint(database, NODE) is None
    assert command("node", "list") == 0
    assert NODE in capsys.readouterr().out
