"""The adversary owns the hub and the audit log's key, and writes history again. The node says no.

Each test is right in everything but the log; it asserts the refusal, that nothing ran, and that
what the node remembers of the log is byte for byte what it was.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.errors import LogStaleError
from agent.executor import Executor
from agent.forks import ForkFile
from agent.log_proof import NO_PROOF, LogProof
from agent.trust import Trust
from appliance.ids import uuid7
from appliance.records import Logged, Order, Outcome, Report
from audit import proof as log_proof
from audit.checkpoint import parse_text
from audit.cosignature import WitnessKey, cosign, with_cosignatures
from audit.note import split_note
from audit.signer import LocalSigner
from hub.segments import SegmentLog
from tests.attacks.forge import ORIGIN, Forge, changed


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    one = Forge(tmp_path)
    yield one
    one.log.close()


@pytest.fixture
def victim() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that an order would end."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def order_on(forge: Forge, log: SegmentLog, victim: "subprocess.Popen[bytes]") -> Order:
    """An order that would end the victim, approved on this log."""
    finding = forge.finding(victim.pid)
    shown = forge.shown(finding, f"kill -TERM {victim.pid}")
    approval = forge.approve(shown)
    logged = forge.record(shown, approval, log=log)
    return forge.order(finding, shown=shown, approval=approval, logged=logged)


def honest_history(forge: Forge, count: int = 3) -> None:
    for _ in range(count):
        report = forge.give(forge.order(forge.finding(), "uptime"))
        assert report.outcome is Outcome.SUCCEEDED, report


def fork_at_present(forge: Forge, name: str = "fork") -> SegmentLog:
    """The log as it is now, which will go on otherwise: a copied disk."""
    forge.log.checkpoint()
    shutil.copytree(forge.folder / "log", forge.folder / name)
    return forge.new_log(name)


def memory(forge: Forge) -> bytes:
    return (forge.folder / "state" / "checkpoint.json").read_bytes()


def grow(log: SegmentLog, forge: Forge, count: int) -> None:
    """Entries of no interest."""
    for _ in range(count):
        shown = forge.shown(forge.finding(), "uptime")
        forge.record(shown, forge.approve(shown), log=log)


def refused(report: Report, victim: "subprocess.Popen[bytes]", forge: Forge, before: bytes) -> str:
    """Check 7 said no, nothing ran, and the node remembers what it remembered."""
    assert report.outcome is Outcome.REFUSED, report
    assert report.refused_step == "7 audit log", report
    assert report.steps == ()
    assert victim.poll() is None
    assert memory(forge) == before
    return report.reason


def test_7_a_longer_log_with_another_past_is_refused_and_both_notes_are_kept(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    honest_history(forge)
    before, accepted = memory(forge), forge.trust.seen
    other = forge.new_log("other")
    grow(other, forge, 7)
    order = order_on(forge, other, victim)
    reason = refused(forge.give(order), victim, forge, before)
    assert "does not extend" in reason
    fork = forge.trust.log.fork
    assert fork is not None
    assert accepted is not None
    assert fork.accepted == accepted.note
    assert fork.refused == log_proof.parse(order.approvals[0].proof).note
    other.close()


def test_7_a_log_that_parts_after_what_both_share_is_refused(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    honest_history(forge)
    fork = fork_at_present(forge)
    honest_history(forge)
    before = memory(forge)
    grow(fork, forge, 9)
    order = order_on(forge, fork, victim)
    size = fork.size
    for proof in (
        forge.proof_to(size, log=fork),  # the fork's own proof
        forge.proof_to(forge.log.size),  # an honest one, of another size
        LogProof(log_from=forge.trust.seen.size if forge.trust.seen else 0),
    ):
        again = changed(order, order_id=uuid7())
        assert refused(forge.give(again, with_proof=proof), victim, forge, before)
        ForkFile(forge.folder / "state").clear(now=order.not_after)
        forge.journal.approvals.clear()  # the attack is tried anew, not replayed
    fork.close()


def test_7_a_log_set_back_to_an_honest_past_is_refused_when_nobody_proves_it(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    honest_history(forge)
    backup = fork_at_present(forge)
    honest_history(forge)
    before = memory(forge)
    order = order_on(forge, backup, victim)
    assert backup.size < forge.log.size
    reason = refused(forge.give(order), victim, forge, before)
    assert reason.startswith(f"the log had {forge.log.size} entries, now it has {backup.size}")
    backup.close()


def test_7_two_histories_of_one_size_are_refused(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    honest_history(forge)
    fork = fork_at_present(forge)
    honest_history(forge, 1)
    before = memory(forge)
    order = order_on(forge, fork, victim)
    assert fork.size == forge.log.size
    reason = refused(forge.give(order), victim, forge, before)
    assert reason == f"two histories of {fork.size} entries"
    fork.close()


def test_7_a_log_of_another_key_is_refused_and_stops_nothing_else(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    honest_history(forge)
    before, signer = memory(forge), forge.signer
    forge.signer = LocalSigner(ORIGIN, Ed25519PrivateKey.generate())
    other = forge.new_log("other")
    grow(other, forge, 7)
    order = order_on(forge, other, victim)
    forge.signer = signer
    assert "none of the keys we trust" in refused(forge.give(order), victim, forge, before)
    assert forge.trust.log.fork is None
    assert list((forge.folder / "state" / "forks").glob("foreign-*.json"))
    honest_history(forge, 1)
    other.close()


def test_7_after_a_fork_no_order_runs_not_even_an_honest_one_until_a_person_has_looked(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    honest_history(forge)
    other = forge.new_log("other")
    grow(other, forge, 7)
    forge.give(order_on(forge, other, victim))
    honest = order_on(forge, forge.log, victim)
    report = forge.give(honest)
    assert report.refused_step == "7 audit log"
    assert "clear-fork" in report.reason
    restarted = _restarted(forge)
    assert restarted.trust.log.fork is not None
    later = order_on(forge, forge.log, victim)
    restarted.submit(forge.seal(later), forge.proof(later))
    restarted.stop()
    restarted.run()
    assert restarted.untold()[-1].refused_step == "7 audit log"
    assert victim.poll() is None
    assert ForkFile(forge.folder / "state").clear(now=later.not_after) is not None
    restarted.submit(forge.seal(honest), forge.proof(honest))  # it was used up by its refusal
    last = order_on(forge, forge.log, victim)
    restarted.submit(forge.seal(last), forge.proof(last))
    restarted.stop()
    restarted.run()
    assert restarted.untold()[-1].outcome is Outcome.SUCCEEDED
    assert victim.wait(5) == -15
    other.close()


def test_7_a_fork_that_is_offered_as_a_checkpoint_stops_orders_as_well(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    honest_history(forge)
    before = memory(forge)
    other = forge.new_log("other")
    grow(other, forge, 7)
    standing = forge.executor.witness(other.checkpoint(), forge.proof_to(other.size, log=other))
    assert "does not extend" in standing.fork
    assert standing.cosignature == ""
    assert standing.kept.count("\u2014 ") == 2
    refused(forge.give(order_on(forge, forge.log, victim)), victim, forge, before)
    other.close()


def test_7_a_fork_that_shows_between_claim_and_check_stops_the_claimed_order(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    honest_history(forge)
    order = order_on(forge, forge.log, victim)
    forge.executor.submit(forge.seal(order), forge.proof(order))
    before = memory(forge)
    other = forge.new_log("other")
    grow(other, forge, 9)
    forge.executor.witness(other.checkpoint(), forge.proof_to(other.size, log=other))
    forge.executor.stop()
    forge.executor.run()
    refused(forge.executor.untold()[-1], victim, forge, before)
    other.close()


def test_7_a_stale_proof_uses_nothing_up_and_the_right_one_runs_the_order(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    honest_history(forge)
    order = order_on(forge, forge.log, victim)
    stale = forge.proof(order)
    grow(forge.log, forge, 3)
    forge.executor.witness(forge.log.checkpoint(), forge.proof_to(forge.log.size))
    before, lines = memory(forge), _journal(forge)
    with pytest.raises(LogStaleError) as caught:
        forge.executor.submit(forge.seal(order), stale)
    assert caught.value.seen_size == forge.log.size
    assert order.order_id not in forge.journal.orders
    assert _journal(forge) == lines
    assert memory(forge) == before
    assert victim.poll() is None
    assert forge.give(order).outcome is Outcome.SUCCEEDED
    assert memory(forge) == before  # an older checkpoint takes nothing back
    assert victim.wait(5) == -15


def test_7_an_order_whose_checkpoint_is_overtaken_after_the_claim_still_runs(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    honest_history(forge)
    order = order_on(forge, forge.log, victim)
    forge.executor.submit(forge.seal(order), forge.proof(order))
    for _ in range(5):
        grow(forge.log, forge, 2)
        forge.executor.witness(forge.log.checkpoint(), forge.proof_to(forge.log.size))
    forge.executor.stop()
    forge.executor.run()
    assert forge.executor.untold()[-1].outcome is Outcome.SUCCEEDED
    assert victim.wait(5) == -15
    assert forge.trust.seen is not None
    assert forge.trust.seen.size == forge.log.size


def test_7_an_order_that_waited_in_a_queue_while_the_log_grew_runs_with_the_proof_back(
    forge: Forge,
) -> None:
    """Many orders sealed early and offered late, in an order of their own, between checkpoints."""
    orders = [forge.order(forge.finding(), "uptime") for _ in range(6)]
    for order in (orders[3], orders[0], orders[5], orders[1], orders[4], orders[2]):
        assert forge.give(order).outcome is Outcome.SUCCEEDED
        grow(forge.log, forge, 1)
        forge.executor.witness(forge.log.checkpoint(), forge.proof_to(forge.log.size))
    assert forge.trust.log.fork is None


def test_7_approvals_under_two_histories_run_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    honest_history(forge)
    before = memory(forge)
    other = forge.new_log("other")
    grow(other, forge, 9)
    finding = forge.finding(victim.pid)
    shown = forge.shown(finding, f"kill -TERM {victim.pid}")
    one, two = forge.approve(shown), forge.approve(shown, operator="operator-2")
    here, there = forge.record(shown, one), forge.record(shown, two, log=other)
    order = changed(
        forge.order(finding, shown=shown, approval=one, logged=here),
        approvals=(
            Logged(approval=two, entry=there[0], proof=there[1]),
            Logged(approval=one, entry=here[0], proof=here[1]),
        ),
    )
    refused(forge.give(order, with_proof=forge.proof_to(other.size)), victim, forge, before)
    other.close()


def test_7_a_fresh_node_with_a_pinned_checkpoint_believes_no_other_beginning(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    grow(forge.log, forge, 3)
    node = _with_trust(forge, first_note=forge.log.checkpoint())
    other = forge.new_log("other")
    grow(other, forge, 9)
    order = order_on(forge, other, victim)
    with pytest.raises(LogStaleError):
        node.submit(forge.seal(order), NO_PROOF)
    node.submit(forge.seal(order), LogProof(log_from=forge.log.size))
    node.stop()
    node.run()
    assert node.untold()[-1].refused_step == "7 audit log"
    assert victim.poll() is None
    other.close()


# A split view: one hub, two histories, each shown to other nodes. Only the nodes together see it.


def witness(name: str) -> tuple[WitnessKey, Ed25519PrivateKey]:
    key = Ed25519PrivateKey.generate()
    return WitnessKey(name=name, key=key.public_key().public_bytes_raw()), key


def cosigned(order: Order, *by: tuple[WitnessKey, Ed25519PrivateKey]) -> Order:
    """The order with these witnesses' lines under its checkpoint."""
    (given,) = order.approvals
    note = log_proof.parse(given.proof).note
    text = split_note(note)[0]
    lines = [cosign(text, who, sign=key.sign, at=int(time.time())) for who, key in by]
    proof = given.proof.replace(note, with_cosignatures(note, lines))
    return changed(order, approvals=(changed(given, proof=proof),))


def test_a_split_view_is_not_seen_by_one_node_alone_and_by_two_at_their_first_word(
    tmp_path: Path,
) -> None:
    """What the quorum is for, and what a node cannot know: honest, so that nobody relies on it."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = Forge(tmp_path / "a")
    two = Forge(tmp_path / "b", order_key=one.order_key, audit_key=one.audit_key)
    for forge in (one, two):
        honest_history(forge, 2)
        assert forge.trust.log.fork is None
    theirs, ours = two.trust.seen, one.trust.seen
    assert ours is not None
    assert theirs is not None
    assert (ours.size, ours.root) != (theirs.size, theirs.root)
    standing = one.executor.witness(theirs.note, LogProof(log_from=ours.size))
    assert standing.fork == f"two histories of {ours.size} entries"
    for forge in (one, two):
        forge.log.close()


def test_7_a_split_view_runs_nothing_where_a_quorum_of_witnesses_is_demanded(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    nodes = [witness(f"h{number}.test") for number in (1, 2, 3)]
    keys = tuple(key for key, _ in nodes)
    here = _with_trust(forge, witness_vkeys=keys, witness_quorum=2)
    other = forge.new_log("other")
    # The hub shows this node one history and the two others another; this one cosigns, they do not.
    order = order_on(forge, other, victim)
    report = _give(here, forge, cosigned(order, nodes[0]))
    assert report.refused_step == "7 audit log"
    assert "1 of the witnesses saw its checkpoint, 2 are needed" in report.reason
    assert victim.poll() is None
    other.close()


def test_7_an_order_that_enough_witnesses_saw_runs(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    nodes = [witness(f"h{number}.test") for number in (1, 2, 3)]
    node = _with_trust(forge, witness_vkeys=tuple(key for key, _ in nodes), witness_quorum=2)
    report = _give(node, forge, cosigned(order_on(forge, forge.log, victim), nodes[0], nodes[2]))
    assert report.outcome is Outcome.SUCCEEDED, report
    assert victim.wait(5) == -15


@pytest.mark.parametrize("cheat", ["none", "one twice", "two names", "strangers", "other text"])
def test_7_a_quorum_is_not_made_up(
    forge: Forge, victim: "subprocess.Popen[bytes]", cheat: str
) -> None:
    nodes = [witness(f"h{number}.test") for number in (1, 2, 3)]
    keys = [key for key, _ in nodes]
    twin = WitnessKey(name="twin.test", key=keys[0].key)
    node = _with_trust(forge, witness_vkeys=(*keys, twin), witness_quorum=2)
    order = order_on(forge, forge.log, victim)
    match cheat:
        case "none":
            made = order
        case "one twice":
            made = cosigned(order, nodes[0], nodes[0])
        case "two names":
            made = cosigned(order, nodes[0], (twin, nodes[0][1]))
        case "strangers":
            made = cosigned(order, nodes[0], witness("h2.test"), witness("h9.test"))
        case _:
            (given,) = order.approvals
            note = log_proof.parse(given.proof).note
            old = parse_text(split_note(note)[0])
            text = changed(old, size=old.size + 1).text
            lines = [cosign(text, key, sign=own.sign, at=1) for key, own in nodes]
            proof = given.proof.replace(note, with_cosignatures(note, lines))
            made = changed(order, approvals=(changed(given, proof=proof),))
    report = _give(node, forge, made)
    assert report.outcome is Outcome.REFUSED
    assert report.refused_step == "7 audit log", report
    assert victim.poll() is None


# The way out, for a person at the node.


def test_clear_fork_lets_orders_run_again_and_keeps_the_evidence(
    forge: Forge, victim: "subprocess.Popen[bytes]", capsys: pytest.CaptureFixture[str]
) -> None:
    config = _config(forge)
    honest_history(forge)
    assert _clear_fork(config) == 1
    other = forge.new_log("other")
    grow(other, forge, 7)
    forge.give(order_on(forge, other, victim))
    before = memory(forge)
    assert _clear_fork(config) == 0
    assert "both notes are kept" in capsys.readouterr().out
    assert memory(forge) == before
    (kept,) = (forge.folder / "state" / "forks").glob("cleared-*.json")
    assert json.loads(kept.read_text())["cleared_at"]
    assert forge.give(order_on(forge, forge.log, victim)).outcome is Outcome.SUCCEEDED
    other.close()


def test_clear_fork_with_a_checkpoint_follows_a_restored_hub_from_there_and_no_other(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    config = _config(forge)
    honest_history(forge)
    backup = fork_at_present(forge)
    honest_history(forge)
    refused(forge.give(order_on(forge, backup, victim)), victim, forge, memory(forge))
    note = forge.folder / "note"
    forged = LocalSigner(ORIGIN, Ed25519PrivateKey.generate())
    checkpoint = backup.checkpoint()
    note.write_text(checkpoint.replace(split_note(checkpoint)[0], "x\n1\nAA==\n"))
    assert _clear_fork(config, "--accept", str(note)) != 0
    assert forged.vkey
    assert forge.trust.log.fork is not None
    note.write_text(checkpoint)
    assert _clear_fork(config, "--accept", str(note)) == 0
    old_history = order_on(forge, forge.log, victim)
    forge.log.close()
    honest, forge.log = order_on(forge, backup, victim), backup
    assert forge.give(honest).outcome is Outcome.SUCCEEDED
    assert victim.wait(5) == -15
    report = forge.give(old_history, with_proof=forge.proof(honest))
    assert report.refused_step == "7 audit log"


def _clear_fork(config: Path, *words: str) -> int:
    from agent.executor_process import main  # noqa: PLC0415 - beside its one use

    return main(["clear-fork", "--config", str(config), *words])


def _config(forge: Forge) -> Path:
    (forge.folder / "log.vkey").write_text(forge.signer.vkey)
    public = forge.order_key.public_key()
    (forge.folder / "order.pub").write_bytes(
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    path = forge.folder / "executor.toml"
    path.write_text(
        f'node = "h1.test"\nsocket = "{forge.folder}/socket"\n'
        f'state_dir = "{forge.folder}/state"\norder_key = "{forge.folder}/order.pub"\n'
        f'audit_vkey = "{forge.folder}/log.vkey"\n'
    )
    return path


def _journal(forge: Forge) -> bytes:
    return (forge.folder / "state" / "journal.jsonl").read_bytes()


def _restarted(forge: Forge) -> Executor:
    return _with_trust(forge)


def _with_trust(forge: Forge, **changes: object) -> Executor:
    """An executor that starts on the forge's state folder, with some of its trust otherwise."""
    old = forge.trust
    values = {
        name: getattr(old, name)
        for name in (
            "node", "role", "mode", "order_key", "audit_vkey", "bundle", "second",
            "checkpoint_file", "most_timeout_s", "people",
        )
    }  # fmt: skip
    forge.trust = Trust(**{**values, **changes})
    return forge.restart()


def _give(executor: Executor, forge: Forge, order: Order) -> Report:
    executor.submit(forge.seal(order), forge.proof(order))
    executor.stop()
    executor.run()
    return executor.untold()[-1]
