"""A log was set back, and the node is told to go on: only two administrators' word does that.

Each attack is right in everything but one thing; it asserts the refusal, and that what the node
remembers is byte for byte what it was.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from agent.decided import Offered
from agent.forks import ForkFile
from agent.log_proof import LogProof, Standing
from appliance import records
from appliance.fork_statement import ForkSignature, ForkStatement, SignedFork
from appliance.ids import uuid7
from appliance.people import statement
from appliance.records import Outcome
from audit import fork_decision, proof
from audit.__main__ import main as sentinel_audit
from audit.checkpoint import parse_text
from audit.entry import decode
from audit.merkle import Subtrees
from audit.note import parse_vkey, split_note
from audit.signer import LocalSigner
from hub.segments import IndexedState, SegmentLog
from tests.attacks.forge import ORIGIN, Forge, _leaf
from tests.attacks.operators import Operator, SecurityKey, TerminalKey, people
from tests.attacks.test_a_log_that_forks import fork_at_present, honest_history, order_on, victim

__all__ = ["victim"]

ADMINS = (
    Operator("ada", role="admin", keys=[TerminalKey(), SecurityKey()]),
    Operator("bob", role="admin", keys=[TerminalKey(), SecurityKey()]),
)
MERE_OPERATOR = Operator("olga")


@dataclass
class SetBack:
    """A node that has seen more than its restored hub's log has."""

    forge: Forge
    log: SegmentLog = field(init=False)  # the restored one
    seen: str = field(init=False)  # the note the node holds

    def __post_init__(self) -> None:
        self.forge.trust.people = people(*ADMINS, MERE_OPERATOR)
        self.forge.operators = [MERE_OPERATOR, *ADMINS]
        honest_history(self.forge, 2)
        self.log = fork_at_present(self.forge)
        honest_history(self.forge, 2)
        assert self.forge.trust.seen is not None
        self.seen = self.forge.trust.seen.note

    def statement(self, **changes: Any) -> ForkStatement:
        values = {
            "statement_id": uuid7(),
            "log": ORIGIN,
            "given_up": (self.seen,),
            "go_on": self.log.checkpoint(),
            "reason": "the hub's disk failed; restored from the backup of the night",
            "at": datetime.now(UTC),
        }
        return ForkStatement(**{**values, **changes})

    def signed(self, said: ForkStatement, *by: Operator, key: int = 0) -> SignedFork:
        return SignedFork(statement=said, signatures=tuple(signature(one, said, key) for one in by))

    def record(self, signed: SignedFork, *, log: SegmentLog | None = None) -> None:
        decision = fork_decision.read(signed.statement, [parse_vkey(self.forge.signer.vkey)])
        (log or self.log).record("log.fork", fork_decision.body_of(signed, decision))

    def offer(self, *, log: SegmentLog | None = None, **changes: Any) -> Standing:
        """Bring the decision that was recorded last, under the newest checkpoint of its log."""
        log = log or self.log
        seq = next(n for n in reversed(range(log.size)) if b'"log.fork"' in log.line(n))
        note = log.checkpoint()
        offered = Offered(
            entry=log.line(seq).decode(),
            proof=proof.make(seq, note, Subtrees(lambda at: _leaf(log, at))),
        )
        start = fork_decision.in_entry(decode(log.line(seq)), [parse_vkey(self.forge.signer.vkey)])[
            1
        ].go_on.size
        path = self.forge.proof_to(log.size, log=log, seen_size=start).path
        said = LogProof(path=path, decision=records.to_json(offered))
        return self.forge.executor.witness(note, structs.replace(said, **changes))

    def is_refused(self, because: str, **how: Any) -> None:
        before = self.memory()
        answer = self.offer(**how)
        assert because in answer.refusal
        assert self.memory() == before

    def memory(self) -> dict[str, bytes]:
        state = self.forge.folder / "state"
        files = [*state.glob("*.json"), *state.glob("forks/*")]
        return {str(file): file.read_bytes() for file in files}


def signature(who: Operator, said: ForkStatement, key: int = 0, act: Any = "fork") -> ForkSignature:
    challenge = statement(act, operator=who.name, digest=said.digest)
    return ForkSignature(operator=who.name, signature=who.keys[key].sign(challenge))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SetBack]:
    one = SetBack(Forge(tmp_path))
    yield one
    one.log.close()
    one.forge.log.close()


@pytest.mark.parametrize("key", [0, 1], ids=["ed25519", "webauthn"])
def test_two_administrators_let_a_node_go_on_with_a_restored_log(
    site: SetBack, victim: Any, key: int
) -> None:
    refused = site.forge.give(order_on(site.forge, site.log, victim))
    assert refused.refused_step == "7 audit log"
    fork = site.forge.trust.log.fork
    assert fork is not None
    site.record(site.signed(site.statement(), *ADMINS, key=key))
    standing = site.offer()
    assert standing.refusal == ""
    assert standing.fork == ""
    assert standing.size == site.log.size
    assert site.forge.trust.log.fork is None
    site.forge.log.close()
    site.forge.log = site.log
    assert site.forge.give(order_on(site.forge, site.log, victim)).outcome is Outcome.SUCCEEDED
    (kept,) = (site.forge.folder / "state" / "forks").glob("decided-*.json")
    evidence = kept.read_text()
    assert fork.accepted == site.seen
    for word in ("ada", "bob", "the hub's disk failed", records.to_json(site.seen).decode()[1:-1]):
        assert word in evidence


def test_a_node_that_has_not_met_the_restored_log_yet_goes_on_too(site: SetBack) -> None:
    site.record(site.signed(site.statement(), *ADMINS))
    assert site.offer().size == site.log.size
    (kept,) = (site.forge.folder / "state" / "forks").glob("*.json")
    assert kept.name.startswith("decided-")


def test_without_people_nobody_can_decide(site: SetBack) -> None:
    site.record(site.signed(site.statement(), *ADMINS))
    site.forge.trust.people = None
    site.is_refused("no list of people")


@pytest.mark.parametrize(
    ("by", "because"),
    [
        ((), "0 of 2 administrators"),
        ((ADMINS[0],), "1 of 2 administrators"),
        ((ADMINS[0], ADMINS[0]), "one person signed twice"),
        ((ADMINS[0], MERE_OPERATOR), "olga is no administrator"),
        ((*ADMINS, MERE_OPERATOR), "olga is no administrator"),
        ((ADMINS[0], Operator("eve", role="admin")), "eve is no administrator"),
        ((ADMINS[0], Operator("bob", role="admin")), "no such credential"),
    ],
    ids=["the hub alone", "one", "one twice", "an operator", "two and one", "a stranger", "a key"],
)
def test_a_decision_that_two_administrators_did_not_sign_changes_nothing(
    site: SetBack, by: tuple[Operator, ...], because: str
) -> None:
    site.record(site.signed(site.statement(), *by))
    site.is_refused(because)


def test_one_key_under_two_names_is_one_person(site: SetBack) -> None:
    """A list that was never read: no reader lets one pass in which a key stands twice."""
    shared = Operator("bob", role="admin", keys=ADMINS[0].keys)
    unread = people()
    structs.force_setattr(unread, "persons", (ADMINS[0].person, shared.person))
    site.forge.trust.people = unread
    site.record(site.signed(site.statement(), ADMINS[0], shared))
    site.is_refused("one key signed for two people")


def test_an_administrator_who_was_taken_off_the_list_decides_nothing(site: SetBack) -> None:
    site.record(site.signed(site.statement(), *ADMINS))
    site.forge.trust.people = people(ADMINS[0], Operator("bob", keys=ADMINS[1].keys))
    site.is_refused("bob is no administrator in force")


def test_a_yes_to_a_plan_is_no_decision_about_the_log(site: SetBack) -> None:
    said = site.statement()
    given = (signature(ADMINS[0], said), signature(ADMINS[1], said, act="approve"))
    site.record(SignedFork(statement=said, signatures=given))
    site.is_refused("did not sign this")


def test_a_signature_for_another_statement_does_not_count(site: SetBack) -> None:
    said = site.statement()
    other = signature(ADMINS[1], site.statement(reason="another"))
    site.record(SignedFork(statement=said, signatures=(signature(ADMINS[0], said), other)))
    site.is_refused("did not sign this")


def test_a_statement_that_gives_up_another_checkpoint_moves_nothing(site: SetBack) -> None:
    other = site.forge.new_log("other")
    site.record(site.signed(site.statement(given_up=(other.checkpoint(),)), *ADMINS))
    site.is_refused("does not give up")
    other.close()


def test_a_log_that_does_not_extend_what_was_decided_on_is_refused(site: SetBack) -> None:
    """The decision names the restored log; the attacker writes it into a third one."""
    signed = site.signed(site.statement(), *ADMINS)
    third = site.forge.new_log("third")
    while third.size < site.log.size:
        third.record("log.resume", {"size": 1, "version": "0"})
    site.record(signed, log=third)
    site.is_refused("does not extend what it says to go on from", log=third)
    third.close()


def test_a_decision_without_the_way_from_its_checkpoint_is_refused(site: SetBack) -> None:
    site.record(site.signed(site.statement(), *ADMINS))
    site.is_refused("does not extend what it says to go on from", path=())


def test_a_decision_that_is_not_in_the_log_is_refused(site: SetBack) -> None:
    """No audit, no action: signatures alone move no node."""
    site.record(site.signed(site.statement(), *ADMINS))
    good = site.log.line(site.log.size - 1)
    changed = good.replace(b"the hub's disk failed", b"the hub's disk is well")
    note = site.log.checkpoint()
    text = proof.make(site.log.size - 1, note, Subtrees(lambda at: _leaf(site.log, at)))
    offered = Offered(entry=changed.decode(), proof=text)
    site.is_refused("does not lead to the signed root", decision=records.to_json(offered))


def test_a_decision_under_another_logs_key_is_refused(site: SetBack) -> None:
    foreign = LocalSigner(ORIGIN, Ed25519PrivateKey.generate())
    log = SegmentLog.open(
        site.forge.folder / "foreign",
        origin=ORIGIN,
        signer=foreign,
        indexed=IndexedState(),
        next_inc_seq=lambda _: 0,
    )
    while log.size < site.log.size:
        log.record("log.resume", {"size": 1, "version": "0"})
    site.record(site.signed(site.statement(), *ADMINS), log=log)
    site.is_refused("none of the keys we trust", log=log)
    log.close()


def test_a_decision_replayed_is_refused_though_the_node_stands_there_again(site: SetBack) -> None:
    site.record(site.signed(site.statement(), *ADMINS))
    assert site.offer().refusal == ""
    # Then two administrators find the newer state after all, and go back to it.
    back = site.statement(given_up=(site.forge.trust.seen.note,), go_on=site.seen)  # type: ignore[union-attr]
    site.record(site.signed(back, *ADMINS), log=site.forge.log)
    assert site.offer(log=site.forge.log).refusal == ""
    stands = site.forge.trust.seen
    assert stands is not None
    assert stands.size == site.forge.log.size
    # The attacker has both; nothing brings the node over again.
    site.is_refused("does not give up")
    site.is_refused("does not give up", log=site.forge.log)
    assert len(stands.decided) == 2
    (site.forge.folder / "state" / "checkpoint.json").write_bytes(
        records.to_json(structs.replace(stands, note=site.seen, **_place(site.seen)))
    )
    site.is_refused("was used here before")


def test_a_restart_in_the_middle_of_a_decision_takes_it_when_it_is_brought_again(
    site: SetBack, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.record(site.signed(site.statement(), *ADMINS))
    before = (site.forge.folder / "state" / "checkpoint.json").read_bytes()

    def power_cut(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ForkFile, "clear", power_cut)
    with pytest.raises(KeyboardInterrupt):
        site.offer()
    assert (site.forge.folder / "state" / "checkpoint.json").read_bytes() == before
    monkeypatch.undo()
    assert site.offer().refusal == ""
    assert site.forge.trust.log.seen is not None
    assert site.forge.trust.log.seen.size == site.log.size


@pytest.mark.parametrize("data", [b"{", b"null", b'{"entry":"","proof":""}', b"\xff" * 9])
def test_what_is_no_decision_is_refused(site: SetBack, data: bytes) -> None:
    site.record(site.signed(site.statement(), *ADMINS))
    site.is_refused("", decision=data)
    assert site.offer(decision=data).refusal


# What an auditor is told.


def verify(site: SetBack, *words: str, to: Any) -> tuple[int, str]:
    status = sentinel_audit(["verify", str(site.forge.folder / "fork"), *words])
    return status, to.readouterr().out


def people_file(site: SetBack, *operators: Operator) -> str:
    path = site.forge.folder / "people.json"
    path.write_bytes(records.to_json(people(*operators)))
    return str(path)


@pytest.mark.parametrize("key", [0, 1], ids=["ed25519", "webauthn"])
def test_verify_tells_the_decision_in_a_sentence_and_checks_both_signatures(
    site: SetBack, capsys: pytest.CaptureFixture[str], key: int
) -> None:
    site.record(site.signed(site.statement(), *ADMINS, key=key))
    status, told = verify(site, to=capsys)
    assert status == 0, told
    assert "ada and bob decided that the log goes on from 3 entries" in told
    assert "the hub's disk failed" in told
    assert "signatures: not checked" in told
    status, told = verify(site, "--people", people_file(site, *ADMINS), to=capsys)
    assert status == 0, told
    assert "signatures: good" in told


@pytest.mark.parametrize("by", [(), (ADMINS[0],), (ADMINS[0], Operator("bob", role="admin"))])
def test_verify_calls_a_log_tampered_whose_decision_two_administrators_did_not_sign(
    site: SetBack, capsys: pytest.CaptureFixture[str], by: tuple[Operator, ...]
) -> None:
    """The log's key alone can write such an entry; it cannot make it good."""
    site.record(site.signed(site.statement(), *by))
    status, told = verify(site, "--people", people_file(site, *ADMINS), to=capsys)
    assert status == 1
    assert "TAMPERED: entry 3 is a decision that does not hold" in told


def _place(note: str) -> dict[str, Any]:
    found = parse_text(split_note(note)[0])
    return {"size": found.size, "root": found.root.hex()}
