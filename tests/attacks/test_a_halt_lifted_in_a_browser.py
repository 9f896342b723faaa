"""A halt ends by an administrator's security key: theirs, over this halt, with their finger on it.

Each attack is made on the node, which believes only its own list of people, and on the hub, which
would use the halt's one resumption up. Nothing is lifted by any of them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.errors import OrderRefusedError
from appliance.errors import RefusedError
from appliance.halt import Halt, Resumption, to_be_signed
from appliance.people import People, statement
from appliance.records import OperatorSignature, digest_of, to_json
from hub.persist import halts
from hub.persist.database import Database
from hub.persist.outbox import actor
from hub.persist.people import put_in_force
from hub.resume import resume
from tests.attacks.forge import Forge, changed
from tests.attacks.operators import PRESENT, Operator, SecurityKey, TerminalKey, people
from tests.hub.builders import outbox, sql

HALT = Halt(halt_id="00000000-0000-7000-8000-00000000000a", reason="a hub that acts strangely")
ADA = Operator("ada", "admin", [SecurityKey(), TerminalKey()])
EVE = Operator("eve", "admin", [SecurityKey()])
OTTO = Operator("otto", "operator", [SecurityKey()])
PEOPLE = people(ADA, EVE, OTTO)
OTHER = changed(HALT, halt_id="00000000-0000-7000-8000-00000000000b")


def by(
    operator: Operator = ADA, halt: Halt = HALT, *, key: int = 0, name: str = "", **how: Any
) -> OperatorSignature:
    return operator.keys[key].sign(to_be_signed(halt, name or operator.name), **how)


def a_yes_to_a_plan() -> OperatorSignature:
    asked = statement("approve", operator="ada", digest=digest_of(HALT))
    return ADA.keys[0].sign(asked)


ATTACKS: dict[str, tuple[str, OperatorSignature, str, str]] = {
    "over another halt": ("ada", by(halt=OTHER), "resume 5 signature", "challenge"),
    "over another reason": (
        "ada", by(halt=changed(HALT, reason="x")), "resume 5 signature", "challenge"),
    "an operator's": ("otto", by(OTTO), "resume 3 person", "no administrator"),
    "an operator's key in an administrator's name": (
        "ada", by(OTTO, name="ada"), "resume 4 key", "no such credential"),
    "another administrator's key": ("ada", by(EVE, name="ada"), "resume 4 key", "no such"),
    "nobody's": ("mallory", by(name="mallory"), "resume 3 person", "no administrator"),
    "a yes to a plan": ("ada", a_yes_to_a_plan(), "resume 5 signature", "challenge"),
    "without user verification": (
        "ada", by(flags=PRESENT), "resume 5 signature", "user verification"),
    "without a touch": ("ada", by(flags=0), "resume 5 signature", "user"),
    "made on another site": (
        "ada", by(origin="https://evil.test"), "resume 5 signature", "origin"),
    "for another relying party": (
        "ada", by(rp_id="evil.test"), "resume 5 signature", "rp"),
    "a changed byte": (
        "ada",
        changed(by(), authenticator_data=by(flags=PRESENT).authenticator_data),  # type: ignore[union-attr]
        "resume 5 signature", ""),
}  # fmt: skip
every = pytest.mark.parametrize(
    ("operator", "signature", "step", "because"), ATTACKS.values(), ids=ATTACKS.keys()
)


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    one = Forge(tmp_path)
    one.trust.people = PEOPLE
    one.executor.halt(HALT, by_root=False)
    yield one
    one.log.close()


def said(signature: OperatorSignature, *, operator: str = "ada", halt: Halt = HALT) -> bytes:
    made = Resumption(halt_id=halt.halt_id, operator=operator, signature=signature)
    return to_json(made)


def halted(forge: Forge) -> bytes:
    assert forge.executor.state().halted
    return (forge.folder / "state" / "halted.json").read_bytes()


@pytest.mark.parametrize("key", [0, 1])
def test_an_administrators_key_lifts_exactly_its_halt_on_a_node(forge: Forge, key: int) -> None:
    forge.executor.halt(OTHER, by_root=False)
    forge.executor.resume(said(by(key=key)))
    assert [one.halt for one in forge.halts.in_force] == [OTHER]
    forge.executor.resume(said(by(EVE, OTHER), operator="eve", halt=OTHER))
    assert not forge.executor.state().halted


@every
def test_a_node_stays_halted(
    forge: Forge, operator: str, signature: OperatorSignature, step: str, because: str
) -> None:
    before = halted(forge)
    with pytest.raises(OrderRefusedError) as error:
        forge.executor.resume(said(signature, operator=operator))
    assert error.value.step == step, error.value
    assert because in str(error.value).lower()
    assert halted(forge) == before


def test_a_signature_that_was_used_lifts_no_later_halt(forge: Forge) -> None:
    used = said(by())
    forge.executor.resume(used)
    forge.executor.halt(OTHER, by_root=False)
    before = halted(forge)
    with pytest.raises(OrderRefusedError, match="no such halt"):
        forge.executor.resume(used)
    again = said(by(), halt=OTHER)  # the same signature under the new halt's id
    with pytest.raises(OrderRefusedError) as error:
        forge.executor.resume(again)
    assert error.value.step == "resume 5 signature"
    assert halted(forge) == before


def test_a_key_that_signers_took_back_lifts_nothing(forge: Forge) -> None:
    before = halted(forge)
    forge.trust.people = people(Operator("ada", "admin", [SecurityKey()]), EVE)
    with pytest.raises(OrderRefusedError) as error:
        forge.executor.resume(said(by()))
    assert error.value.step == "resume 4 key"
    assert halted(forge) == before


@pytest.mark.parametrize("answer", [b"", b"{}", b'{"troubles":[]}', b'{"troubles":["",""]}'])
def test_a_check_that_gives_no_whole_answer_lifts_nothing(
    forge: Forge, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr("agent.resume.demand_lifted.__kwdefaults__", {"ask": lambda *_: answer})
    before = halted(forge)
    with pytest.raises(OrderRefusedError, match="could not be checked"):
        forge.executor.resume(said(by()))
    assert halted(forge) == before


# On the hub --------------------------------------------------------------------------------------


NOW = datetime.now(UTC)


@pytest.fixture
def hub(database: Database) -> Database:
    in_force(database, PEOPLE)
    sql(
        database,
        "INSERT INTO halt (halt_id, node, reason, ordered_by, ordered_at)"
        " VALUES (%(id)s, NULL, %(reason)s, 'ada', now())",
        id=HALT.halt_id,
        reason=HALT.reason,
    )
    return database


def in_force(database: Database, who: People) -> None:
    with database.transaction() as work:
        put_in_force(work, who, now=NOW)


def end(hub: Database, signature: OperatorSignature | None, *, operator: str = "ada") -> None:
    resume(
        hub,
        halt_id=HALT.halt_id,
        operator=operator,
        signature=signature,
        by=actor("operator", operator),
        now=NOW,
    )


def rows(hub: Database) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return sql(hub, "SELECT * FROM halt"), outbox(hub)


@pytest.mark.postgres
@every
def test_the_hub_does_not_use_the_halt_up(
    hub: Database, operator: str, signature: OperatorSignature, step: str, because: str
) -> None:
    before = rows(hub)
    with pytest.raises(RefusedError, match="the halt stays"):
        end(hub, signature, operator=operator)
    assert rows(hub) == before, (step, because)
    assert len(halts.in_force(hub)) == 1


@pytest.mark.postgres
def test_no_signature_ends_nothing_even_where_a_password_approves_plans(hub: Database) -> None:
    in_force(hub, changed(PEOPLE, password_only=True))
    before = rows(hub)
    with pytest.raises(RefusedError, match="the halt stays: ada has not signed"):
        end(hub, None)
    assert rows(hub) == before


@pytest.mark.postgres
def test_what_the_hub_carries_a_node_believes_and_it_carries_it_once(
    hub: Database, forge: Forge
) -> None:
    end(hub, by())
    (row,) = sql(hub, "SELECT lifted_by, resumption FROM halt")
    assert row["lifted_by"] == "ada"
    assert [one["type"] for one in outbox(hub)] == ["node.resume"]
    forge.executor.resume(bytes(row["resumption"]))
    assert not forge.executor.state().halted
    after = rows(hub)
    with pytest.raises(RefusedError, match="no such halt in force"):
        end(hub, by())
    assert rows(hub) == after
