"""`sentinel-witness` as C2SP tlog-witness says it: a real process, spoken to over HTTP."""

import http.client
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.add_checkpoint import (
    Held,
    NotCosignedError,
    body,
    cosigned_in,
    judge,
    read,
    size_in,
)
from tests.agent.trees import VKEY, tree
from tests.audit.builders import signer
from tests.audit.witnessing import WitnessProcess

KILLED_BEFORE_IT_ANSWERS = """
import os, signal
from audit import witness_command
witness_command.cosign = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
"""
KILLED_BEFORE_IT_IS_ON_DISK = """
import os, pathlib, signal
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessProcess]:
    one = WitnessProcess(tmp_path)
    one.start()
    yield one
    one.close()


def test_a_log_that_grows_is_cosigned_and_a_restart_goes_on_from_there(
    witness: WitnessProcess,
) -> None:
    for old, size in ((0, 5), (5, 5), (5, 12)):
        status, _, answer = witness.add(old, tree(size))
        assert status == 200, answer
        assert answer.endswith(b"\n")
        assert cosigned_in(answer, tree(size).note(), witness.key).at > 1_700_000_000
    assert witness.stop() == 0
    witness.start()
    assert witness.add(5, tree(20))[:1] == (409,)
    assert witness.add(12, tree(20))[0] == 200


def test_a_wrong_old_size_is_told_the_right_one(witness: WitnessProcess) -> None:
    witness.add(0, tree(7))
    status, kind, answer = witness.add(0, tree(9))
    assert (status, kind, answer) == (409, "text/x.tlog.size", b"7\n")
    assert size_in(kind, answer) == 7
    assert witness.add(7, tree(9))[0] == 200


def test_a_hub_restored_from_a_backup_is_told_that_more_was_seen(witness: WitnessProcess) -> None:
    witness.add(0, tree(20))
    before = witness.memory()
    for old, restored in ((0, tree(12)), (12, tree(12).grown(3, 2))):
        status, kind, answer = witness.add(old, restored)
        assert (status, size_in(kind, answer)) == (409, 20)
    assert witness.memory() == before


def test_two_histories_of_one_log_are_refused_and_both_notes_are_kept(
    witness: WitnessProcess,
) -> None:
    witness.add(0, tree(20))
    before = witness.memory()
    same_size, longer = tree(18).grown(3, 2), tree(18).grown(3, 9)
    assert witness.add(20, same_size)[0] == 409
    assert witness.post(body(20, longer.proof(20, 27).path, longer.note()))[0] == 422
    assert witness.memory() == before
    kept = [file.read_text() for file in (witness.folder / "witness/evidence").glob("*.notes")]
    assert sorted(kept) == sorted(
        f"{tree(20).note()}\n{other.note()}\n" for other in (same_size, longer)
    )


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"\xff\xfe", 400),
        (b"old 05\n\n" + tree(9).note().encode(), 400),
        (b"old -5\n\n" + tree(9).note().encode(), 400),
        (b"old 5\n" + tree(9).note().encode(), 400),
        (b"old 5\nAAAA\n\n" + tree(9).note().encode(), 400),
        (body(5, [bytes(32)] * 64, tree(9).note()), 400),
        (body(9, (), tree(5).note()), 400),
        (body(5, (), tree(9).note().replace("\u2014", "-")), 400),
        (body(5, tree(9).proof(5, 9).path, tree(9).note(by=signer(2))), 403),
        (body(5, tree(9).proof(5, 9).path, tree(9).note(by=signer(name="x")).replace(
            tree(9).note().split("\n")[0], "other.log", 1)), 404),
        (body(5, (), tree(9).note()), 422),
        (body(5, [*tree(9).proof(5, 9).path, bytes(32)], tree(9).note()), 422),
        (body(0, (), tree(9).note()), 409),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_refused_with_its_number_and_nothing_is_remembered(
    witness: WitnessProcess, data: bytes, status: int
) -> None:
    witness.add(0, tree(5))
    before = witness.memory()
    assert witness.post(data)[0] == status
    assert witness.memory() == before
    assert witness.add(5, tree(9))[0] == 200


def test_a_proof_where_nothing_was_seen_is_refused(witness: WitnessProcess) -> None:
    assert witness.post(body(0, [bytes(32)], tree(9).note()))[0] == 422
    assert witness.memory() == {}


def test_another_place_or_a_body_without_bound_is_refused(witness: WitnessProcess) -> None:
    assert witness.post(b"x", path="/other")[0] == 404
    connection = http.client.HTTPConnection("127.0.0.1", witness.port, timeout=20)
    connection.putrequest("POST", "/add-checkpoint")
    connection.putheader("Content-Length", "99999999999")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert witness.add(0, tree(3))[0] == 200


@pytest.mark.parametrize("fault", [KILLED_BEFORE_IT_ANSWERS, KILLED_BEFORE_IT_IS_ON_DISK])
def test_a_witness_killed_before_it_answers_cosigns_one_history_all_the_same(
    tmp_path: Path, fault: str
) -> None:
    witness = WitnessProcess(tmp_path)
    witness.start()
    witness.add(0, tree(5))
    witness.close()
    witness.before = fault
    witness.start()
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        witness.add(5, tree(9))
    assert witness.process is not None
    assert witness.process.wait(20) == -9
    witness.close()
    witness.before = ""
    witness.start()
    status, kind, answer = witness.add(9, tree(9))
    if fault is KILLED_BEFORE_IT_IS_ON_DISK:
        assert (status, size_in(kind, answer)) == (409, 5)
        status, _, answer = witness.add(5, tree(9))
    else:  # it was on disk: another history of that size is refused though nobody was told
        assert witness.add(9, tree(8).grown(3, 1))[0] == 409
    assert status == 200
    assert cosigned_in(answer, tree(9).note(), witness.key)
    witness.close()


def test_of_two_requests_at_once_none_takes_back_the_other(witness: WitnessProcess) -> None:
    witness.add(0, tree(1))
    answers: list[int] = []

    def grow(size: int) -> None:
        answers.append(witness.add(1, tree(size))[0])

    threads = [threading.Thread(target=grow, args=(size,)) for size in range(2, 14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, *[409] * 11]


def test_a_second_witness_on_one_folder_does_not_start(witness: WitnessProcess) -> None:
    done = witness.run()
    assert done.returncode != 0
    assert "another witness uses it" in done.stderr


def test_a_damaged_memory_cosigns_nothing(witness: WitnessProcess) -> None:
    witness.add(0, tree(5))
    (file,) = (witness.folder / "witness").glob("*.json")
    file.write_bytes(file.read_bytes()[:-9])
    assert witness.add(0, tree(9))[0] == 500
    assert witness.add(5, tree(9))[0] == 500


def test_people_can_let_it_go_on_from_another_checkpoint_and_it_keeps_both(
    witness: WitnessProcess,
) -> None:
    witness.add(0, tree(20))
    witness.stop()
    restored = tree(12).grown(3, 1)
    note = witness.folder / "note"
    note.write_text(restored.note(by=signer(2)))
    assert witness.run("--accept", str(note)).returncode != 0
    note.write_text(restored.note())
    assert witness.run("--accept", str(note)).returncode == 0
    witness.start()
    assert witness.add(20, tree(21))[0] == 409
    assert witness.add(13, restored.grown(3, 4))[0] == 200
    assert list((witness.folder / "witness/evidence").glob("*.notes"))


@pytest.mark.parametrize("name", ["a b", "a+b", ""])
def test_a_name_that_no_key_can_have_stops_the_start(tmp_path: Path, name: str) -> None:
    done: subprocess.CompletedProcess[str] = WitnessProcess(tmp_path, name=name).run()
    assert done.returncode != 0
    assert "cannot be the name of a witness" in done.stderr


@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for whole in (data, b"old 3\n\n" + data, data + tree(5).note().encode()):
        with suppress(NotCosignedError):
            assert judge(read(whole), Held(), [VKEY]).size == 5
