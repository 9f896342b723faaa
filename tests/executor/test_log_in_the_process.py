"""The executor's memory of the log, in the real process: its socket, SIGKILL, and its commands."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import SocketError
from agent.log_proof import LogProof
from appliance.records import Outcome
from audit.cosignature import parse_witness, verify_line
from audit.note import split_note
from tests.attacks.forge import Forge, wait_for
from tests.executor.test_executor_process import ExecutorProcess


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    (tmp_path / "hub").mkdir()
    one = Forge(tmp_path / "hub")
    yield one
    one.log.close()


@pytest.fixture
def executor(tmp_path: Path, forge: Forge) -> Iterator[ExecutorProcess]:
    one = ExecutorProcess(tmp_path, forge)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.kill()


def grow(forge: Forge, count: int = 1) -> str:
    """The checkpoint after so many entries more."""
    for _ in range(count):
        shown = forge.shown(forge.finding(), "uptime")
        forge.record(shown, forge.approve(shown))
    return forge.log.checkpoint()


def command(executor: ExecutorProcess, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "agent.executor_process", *words, "--config", str(executor.config)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_checkpoints_go_through_the_socket_and_are_remembered_over_a_kill(
    executor: ExecutorProcess, forge: Forge
) -> None:
    executor.start()
    note = grow(forge, 3)
    answer = executor.client.witness(note)
    assert answer.standing is not None
    assert answer.standing.size == forge.log.size
    executor.kill()
    executor.start()
    again = executor.client.witness()
    assert again.standing is not None
    assert (again.standing.size, again.standing.root) == (
        answer.standing.size,
        answer.standing.root,
    )
    key = parse_witness(again.standing.vkey)
    verify_line(split_note(note)[0], again.standing.cosignature, key)
    assert f"witness {key}\n" in command(executor, "--show-keys").stdout
    stale = executor.client.witness(grow(forge), LogProof(log_from=1))
    assert (stale.stale, stale.seen_size) == (True, answer.standing.size)
    assert stale.standing is not None
    assert stale.standing.size == answer.standing.size


def test_killed_at_any_moment_it_never_stands_behind_what_it_has_answered(
    executor: ExecutorProcess, forge: Forge
) -> None:
    sizes, notes = [], []
    for _ in range(60):
        notes.append(grow(forge))
        sizes.append(forge.log.size)
    answered = [0]
    executor.start()
    executor.client.witness(notes[0])
    answered[0] = sizes[0]
    for delay_s in (0.01, 0.02, 0.03, 0.05):
        assert executor.process is not None
        killer = threading.Timer(delay_s, executor.process.kill)
        killer.start()
        _push(executor, forge, notes, sizes, answered)
        killer.join()
        executor.process.wait()
        executor.start()
        standing = executor.client.witness().standing
        assert standing is not None
        assert standing.size >= answered[0]
        assert standing.fork == ""
        answered[0] = standing.size


def _push(
    executor: ExecutorProcess,
    forge: Forge,
    notes: list[str],
    sizes: list[int],
    answered: list[int],
) -> None:
    """Offer one checkpoint after the other until the executor is gone."""
    for note, size in zip(notes, sizes, strict=True):
        if size <= answered[0]:
            continue
        try:
            answer = executor.client.witness(note, forge.proof_to(size, seen_size=answered[0]))
        except SocketError:
            return
        assert answer.standing is not None
        answered[0] = answer.standing.size


def test_a_fork_stops_the_running_executor_and_the_command_lets_it_go_on(
    executor: ExecutorProcess, forge: Forge
) -> None:
    executor.start()
    assert command(executor, "clear-fork").returncode == 1
    executor.client.witness(grow(forge, 3))
    other = forge.new_log("other")
    for _ in range(6):
        shown = forge.shown(forge.finding(), "uptime")
        forge.record(shown, forge.approve(shown), log=other)
    seen = executor.client.witness().standing
    assert seen is not None
    answer = executor.client.witness(other.checkpoint(), LogProof(log_from=seen.size))
    assert answer.standing is not None
    assert "does not extend" in answer.standing.fork
    wait_for(lambda: "THE AUDIT LOG FORKED" in executor.log.read_text())
    order = forge.order(forge.finding(), "uptime")
    executor.give(forge, order)
    assert executor.report_on(order).refused_step == "7 audit log"
    done = command(executor, "clear-fork")
    assert done.returncode == 0, done.stderr
    order = forge.order(forge.finding(), "uptime")
    executor.give(forge, order)
    assert executor.report_on(order).outcome is Outcome.SUCCEEDED
    other.close()


def test_the_agent_cannot_clear_a_fork(executor: ExecutorProcess) -> None:
    """There is no request for it: the way out is a command on the node, for who owns its files."""
    import msgspec  # noqa: PLC0415 - beside its one use

    from agent import executor_socket  # noqa: PLC0415 - beside its one use

    tags = {
        one.__struct_config__.tag
        for one in vars(executor_socket).values()
        if isinstance(one, type)
        and issubclass(one, msgspec.Struct)
        and one.__struct_config__.tag_field == "ask"
    }
    assert not {tag for tag in tags if "clear" in tag or "fork" in tag or "accept" in tag}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("checkpoint.json", '{"size":1}'),
        ("checkpoint.json", "nonsense"),
        ("fork.json", "{}"),
        ("witness.key", "nonsense"),
    ],
)
def test_a_memory_that_was_altered_keeps_the_executor_from_starting(
    executor: ExecutorProcess, file: str, text: str
) -> None:
    (executor.state / file).write_text(text)
    done = command(executor)
    assert done.returncode == 2
    assert file in done.stderr
    assert (executor.state / file).read_text() == text


def test_looking_at_the_settings_makes_no_key(executor: ExecutorProcess) -> None:
    assert command(executor, "--check-config").returncode == 0
    assert not list(executor.state.iterdir())


def test_a_pinned_checkpoint_that_is_not_there_is_one_clear_line(
    executor: ExecutorProcess,
) -> None:
    with executor.config.open("a") as config:
        config.write('first_checkpoint = "/nonexistent/checkpoint"\n')
    done = command(executor, "--check-config")
    assert done.returncode == 2
    assert "first checkpoint" in done.stderr
    assert done.stderr.count("\n") == 1
