"""The node's memory of the log: any honest extension is accepted, anything else never is."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.errors import JournalError, LogForkedError, LogStaleError
from agent.forks import MOST_FOREIGN, ForkFile, Seen
from agent.keys import load_or_make
from agent.log_proof import NO_PROOF, LogProof
from agent.witness import Witness
from appliance.errors import RefusedError
from audit.cosignature import parse_witness, verify_line
from audit.errors import AuditRefusedError
from audit.note import split_note
from tests.agent.trees import LOG, VKEY, Tree, tree
from tests.audit.builders import signer

SIZES = st.integers(min_value=1, max_value=70)


def witness_in(folder: Path, *, first_note: str = "") -> Witness:
    return Witness(file=folder / "checkpoint.json", node="h1.test", first_note=first_note)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return witness_in(tmp_path)


def accept(witness: Witness, log: Tree, *, proof: LogProof | None = None) -> None:
    seen = witness.seen
    if proof is None:
        proof = log.proof(seen.size, log.size) if seen else NO_PROOF
    witness.accept(log.note(), proof, vkeys=[VKEY])


def stands_at(witness: Witness) -> tuple[int, str]:
    seen = witness.seen
    return (seen.size, seen.root) if seen else (0, "")


@given(before=SIZES, after=SIZES)
@settings(max_examples=150, deadline=None)
def test_any_two_sizes_of_one_tree_are_accepted_either_way_round(before: int, after: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        witness, log = witness_in(Path(folder)), tree(max(before, after))
        accept(witness, log.cut(before))
        witness.accept(log.cut(after).note(), log.proof(before, after), vkeys=[VKEY])
        assert stands_at(witness) == (log.size, log.root)
        assert witness.fork is None


@given(before=SIZES, after=SIZES, parted=st.integers(min_value=0, max_value=69), data=st.data())
@settings(max_examples=200, deadline=None)
def test_any_other_pair_of_trees_is_refused_whatever_proof_comes_with_it(
    before: int, after: int, parted: int, data: st.DataObject
) -> None:
    parted = min(parted, before - 1, after - 1)
    ours = tree(parted).grown(1, before - parted)
    theirs = tree(parted).grown(2, after - parted)
    honest = ours.grown(1, max(0, after - before)).proof(before, after)
    forged = theirs.grown(2, max(0, before - after)).proof(before, after)
    proof = data.draw(
        st.sampled_from([honest, forged, LogProof(log_from=before)])
        | st.lists(st.binary(min_size=32, max_size=32), max_size=8).map(
            lambda path: LogProof(log_from=before, path=tuple(path))
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        witness = witness_in(Path(folder))
        accept(witness, ours)
        with pytest.raises(LogForkedError):
            witness.accept(theirs.note(), proof, vkeys=[VKEY])
        assert stands_at(witness) == (ours.size, ours.root)
        fork = witness.fork
        assert fork is not None
        assert (fork.accepted, fork.refused) == (ours.note(), theirs.note())


@given(before=SIZES, after=SIZES, data=st.data())
@settings(max_examples=100, deadline=None)
def test_an_honest_proof_with_anything_changed_in_it_is_none(
    before: int, after: int, data: st.DataObject
) -> None:
    before, after = min(before, after), max(before, after) + 1
    log = tree(after)
    path = list(log.proof(before, after).path)
    change = data.draw(st.sampled_from(["cut", "longer", "flip", "swap"]))
    place = data.draw(st.integers(min_value=0, max_value=max(0, len(path) - 1)))
    if change == "cut" and path:
        del path[place]
    elif change == "flip" and path:
        path[place] = bytes([path[place][0] ^ 1]) + path[place][1:]
    elif change == "swap" and len(path) > 1 and path[0] != path[-1]:
        path[0], path[-1] = path[-1], path[0]
    else:
        path.append(b"\0" * 32)
    with tempfile.TemporaryDirectory() as folder:
        witness = witness_in(Path(folder))
        accept(witness, log.cut(before))
        with pytest.raises(LogForkedError):
            witness.accept(log.note(), LogProof(log_from=before, path=tuple(path)), vkeys=[VKEY])
        assert stands_at(witness) == (before, log.cut(before).root)


@given(text=st.text(st.characters(), max_size=300), data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_text_that_is_no_note_of_the_log_is_refused_and_changes_nothing(
    text: str, data: st.DataObject
) -> None:
    log = tree(9)
    note = data.draw(
        st.sampled_from([text, log.note() + text, text + log.note(), log.note()[:-1], "\ud800\n"])
    )
    with tempfile.TemporaryDirectory() as folder:
        witness = witness_in(Path(folder))
        accept(witness, log.cut(5))
        before = witness.file.read_bytes()
        with suppress(RefusedError):
            witness.accept(note, LogProof(log_from=4), vkeys=[VKEY])
        assert witness.file.read_bytes() == before
        assert witness.fork is None


class Anybody(RuleBasedStateMachine):
    """Any requests in any order, with restarts: what was accepted only ever grows, in one line."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.witness = witness_in(self.folder)
        self.trees = {0: tree(1), 1: tree(1)}  # two histories that part after the first entry
        self.line: list[Tree] = []  # what was accepted, as the model sees it

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(history=st.sampled_from([0, 1]), count=st.integers(min_value=1, max_value=9))
    def grow(self, history: int, count: int) -> None:
        self.trees[history] = self.trees[history].grown(history, count)

    @rule(
        history=st.sampled_from([0, 1]),
        back=st.integers(min_value=0, max_value=12),
        log_from=st.none() | st.integers(min_value=0, max_value=40),
        proven_by=st.sampled_from([0, 1, None]),
        key=st.sampled_from([1, 1, 1, 2]),
    )
    def offer(
        self, history: int, back: int, log_from: int | None, proven_by: int | None, key: int
    ) -> None:
        log = self.trees[history].cut(max(1, self.trees[history].size - back))
        size = self.line[-1].size if self.line else 0
        start = size if log_from is None else log_from
        proof = LogProof(log_from=start)
        if proven_by is not None:
            proof = self.trees[proven_by].proof(size, log.size, log_from=start)
        try:
            self.witness.accept(log.note(by=signer(key)), proof, vkeys=[VKEY])
        except RefusedError:
            return
        assert key == 1
        assert not self.line or self._one_history(log, self.line[-1])
        if not self.line or log.size > self.line[-1].size:
            self.line.append(log)

    @rule()
    def restart(self) -> None:
        self.witness = witness_in(self.folder)

    @precondition(lambda self: self.witness.fork is not None)
    @rule()
    def a_person_clears_the_fork(self) -> None:
        assert ForkFile(self.folder).clear(now=datetime.now(UTC)) is not None

    @invariant()
    def what_it_remembers_is_the_end_of_the_line(self) -> None:
        expected = (self.line[-1].size, self.line[-1].root) if self.line else (0, "")
        assert stands_at(self.witness) == expected
        for older, newer in zip(self.line, self.line[1:], strict=False):
            assert newer.leaves[: older.size] == older.leaves

    @staticmethod
    def _one_history(one: Tree, other: Tree) -> bool:
        size = min(one.size, other.size)
        return one.leaves[:size] == other.leaves[:size]


TestAnybody = Anybody.TestCase
TestAnybody.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_a_proof_from_another_size_is_stale_and_says_where_this_node_stands(
    witness: Witness,
) -> None:
    log = tree(30)
    accept(witness, log.cut(20))
    for wrong in (0, 10, 19, 21, 30):
        with pytest.raises(LogStaleError) as caught:
            witness.accept(log.note(), log.proof(wrong, 30, log_from=wrong), vkeys=[VKEY])
        assert caught.value.seen_size == 20
    assert witness.fork is None
    assert stands_at(witness) == (20, log.cut(20).root)


def test_the_same_checkpoint_again_is_the_same_answer_whatever_proof_comes_with_it(
    witness: Witness,
) -> None:
    log = tree(20)
    accept(witness, log)
    witness.accept(log.note(), LogProof(log_from=7), vkeys=[VKEY])
    assert stands_at(witness) == (20, log.root)
    assert witness.standing(vkeys=[VKEY]).size == 20


def test_an_older_checkpoint_of_the_same_history_is_known_and_takes_nothing_back(
    witness: Witness,
) -> None:
    log = tree(20)
    accept(witness, log)
    old = witness.accept(log.cut(10).note(), log.proof(20, 10), vkeys=[VKEY])
    assert witness.knows(old)
    assert stands_at(witness) == (20, log.root)


def test_a_checkpoint_that_nobody_connected_is_not_known(witness: Witness) -> None:
    log = tree(20)
    accept(witness, log)
    cut = witness_in(witness.file.parent / "elsewhere")
    cut.file.parent.mkdir()
    unknown = cut.accept(log.cut(10).note(), NO_PROOF, vkeys=[VKEY])
    assert not witness.knows(unknown)


def test_after_a_restart_nothing_is_known_but_what_was_remembered(witness: Witness) -> None:
    log = tree(20)
    accept(witness, log)
    seen = witness.accept(log.note(), NO_PROOF, vkeys=[VKEY])
    old = witness.accept(log.cut(10).note(), log.proof(20, 10), vkeys=[VKEY])
    again = witness_in(witness.file.parent)
    assert not again.knows(old)
    again.accept(log.note(), NO_PROOF, vkeys=[VKEY])
    assert again.knows(seen)


def test_a_note_of_another_key_proves_nothing_and_stops_nothing(witness: Witness) -> None:
    log = tree(20)
    accept(witness, log)
    for number in range(MOST_FOREIGN + 3):
        with pytest.raises(AuditRefusedError):
            witness.accept(tree(21 + number).note(by=signer(2)), NO_PROOF, vkeys=[VKEY])
    assert witness.fork is None
    kept = list((witness.file.parent / "forks").glob("foreign-*.json"))
    assert len(kept) == MOST_FOREIGN
    assert stands_at(witness) == (20, log.root)


def test_a_log_without_entries_is_not_where_one_begins(witness: Witness) -> None:
    with pytest.raises(AuditRefusedError, match="without entries"):
        witness.accept(Tree(()).note(), NO_PROOF, vkeys=[VKEY])
    assert witness.seen is None


def test_after_a_fork_nothing_is_accepted_and_the_first_evidence_stays(witness: Witness) -> None:
    log = tree(20)
    accept(witness, log)
    first = tree(5).grown(9, 20)
    for other in (first, tree(7).grown(9, 30), log.grown(0, 5)):
        with pytest.raises(LogForkedError):
            witness.accept(other.note(), other.proof(20, other.size), vkeys=[VKEY])
    assert witness.fork is not None
    assert witness.fork.refused == first.note()
    assert stands_at(witness) == (20, log.root)
    assert ForkFile(witness.file.parent).clear(now=datetime.now(UTC)) is not None
    accept(witness, log.grown(0, 5))


def test_a_pinned_first_checkpoint_leaves_nothing_to_trust_on_first_use(tmp_path: Path) -> None:
    log = tree(30)
    witness = witness_in(tmp_path, first_note=log.cut(12).note())
    with pytest.raises(LogStaleError):
        witness.accept(tree(20, history=3).note(), NO_PROOF, vkeys=[VKEY])
    with pytest.raises(LogForkedError):
        witness.accept(tree(20, history=3).note(), LogProof(log_from=12), vkeys=[VKEY])
    assert stands_at(witness) == (12, log.cut(12).root)
    assert ForkFile(tmp_path).clear(now=datetime.now(UTC)) is not None
    accept(witness, log)
    assert stands_at(witness) == (30, log.root)


def test_a_pinned_first_checkpoint_counts_only_where_nothing_was_seen(tmp_path: Path) -> None:
    log = tree(30)
    accept(witness_in(tmp_path), log)
    again = witness_in(tmp_path, first_note=log.cut(12).note())
    assert stands_at(again) == (30, log.root)


def test_what_an_older_version_remembered_is_still_believed(tmp_path: Path) -> None:
    log = tree(30)
    text = f'{{"size":20,"root":"{log.cut(20).root}"}}'
    (tmp_path / "checkpoint.json").write_text(text)
    witness = witness_in(tmp_path)
    assert witness.seen == Seen(size=20, root=log.cut(20).root)
    accept(witness, log.cut(25))
    with pytest.raises(LogForkedError):
        witness.accept(tree(25, history=3).note(), NO_PROOF, vkeys=[VKEY])


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"size":-1,"root":"00"}', '{"size":1,"root":"zz"}', "\xff"]
)
def test_a_memory_that_was_altered_is_an_error_and_not_a_beginning(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "checkpoint.json").write_text(text)
    with pytest.raises(JournalError):
        witness_in(tmp_path).accept(tree(5).note(), NO_PROOF, vkeys=[VKEY])
    assert (tmp_path / "checkpoint.json").read_text() == text


def test_the_node_cosigns_what_it_accepted_and_nothing_after_a_fork(witness: Witness) -> None:
    log = tree(20)
    accept(witness, log)
    standing = witness.standing(vkeys=[VKEY])
    key = parse_witness(standing.vkey)
    assert key.name == "h1.test"
    verify_line(split_note(log.note())[0], standing.cosignature, key)
    assert standing.kept == log.note() + "\n"
    with pytest.raises(LogForkedError):
        witness.accept(tree(20, history=3).note(), NO_PROOF, vkeys=[VKEY])
    standing = witness.standing(vkeys=[VKEY])
    assert standing.cosignature == ""
    assert "two histories of 20 entries" in standing.fork
    assert standing.kept == log.note() + "\n" + tree(20, history=3).note() + "\n"


def test_the_witness_key_is_made_once_and_readable_by_its_owner_alone(witness: Witness) -> None:
    first = witness.standing(vkeys=[VKEY]).vkey
    path = witness.file.parent / "witness.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert witness_in(witness.file.parent).standing(vkeys=[VKEY]).vkey == first
    path.write_text("nonsense")
    with pytest.raises(JournalError):
        load_or_make(path)


def test_two_threads_that_advance_at_once_leave_the_larger_and_never_a_fork(
    tmp_path: Path,
) -> None:
    log = tree(200)
    accept(witness_in(tmp_path), log.cut(1))
    witness = witness_in(tmp_path)
    start = threading.Barrier(4)

    def push(step: int) -> None:
        start.wait()
        for size in range(1 + step, 200, 4):
            seen = witness.seen
            assert seen is not None
            proof = log.proof(seen.size, size)
            try:
                witness.accept(log.cut(size).note(), proof, vkeys=[VKEY])
            except LogStaleError:
                continue

    threads = [threading.Thread(target=push, args=(step,)) for step in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert witness.fork is None
    seen = witness.seen
    assert seen is not None
    assert seen.root == log.cut(seen.size).root


_KILLED = """
import os, signal, sys
from pathlib import Path
from agent import durable, witness as module
from agent.log_proof import LogProof
from tests.agent.test_witness import witness_in
from tests.agent.trees import VKEY, tree

folder, when = Path(sys.argv[1]), sys.argv[2]
one, log = witness_in(folder), tree(30)
real = module.remember
def killed(path, record):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, record)
    os.kill(os.getpid(), signal.SIGKILL)
module.remember = killed
one.accept(log.note(), log.proof(20, 30), vkeys=[VKEY])
print("answered")
"""


@pytest.mark.parametrize(("when", "size"), [("before", 20), ("after", 30)])
def test_killed_between_accepting_and_answering_it_says_the_same_to_who_asks_again(
    tmp_path: Path, repository: Path, when: str, size: int
) -> None:
    log = tree(30)
    accept(witness_in(tmp_path), log.cut(20))
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path), when],
        capture_output=True,
        text=True,
        check=False,
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "answered" not in done.stdout
    again = witness_in(tmp_path)
    assert stands_at(again)[0] == size
    again.accept(log.note(), log.proof(20, 30), vkeys=[VKEY])  # whoever got no answer asks again
    assert stands_at(again) == (30, log.root)
    assert again.fork is None
    verify_line(
        split_note(log.note(by=LOG))[0],
        again.standing(vkeys=[VKEY]).cosignature,
        parse_witness(again.standing(vkeys=[VKEY]).vkey),
    )
