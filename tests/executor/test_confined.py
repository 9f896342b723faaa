"""Where systemd does not run: every limit stops what passes it, and says so; nothing is left."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import confine
from agent.command_limits import CommandLimits
from agent.execute import run_step
from agent.plain import Plain, below, strangers
from agent.run_program import _SPARE_BYTES, Output
from appliance.records import MAX_OUTPUT_BYTES, Outcome
from tests.attacks.forge import wait_for
from tests.executor.running import ran, runnable

PYTHON = f"{sys.executable} -I -S -c"
landlocked = pytest.mark.skipif(not confine.landlock_version(), reason="no Landlock here")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="capabilities are root's")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = strangers()
    yield
    wait_for(lambda: strangers() <= before)


def test_a_program_that_eats_memory_is_stopped(tmp_path: Path) -> None:
    one = ran(f"{PYTHON} 'bytearray(500 << 20)'", limits=CommandLimits(memory_mb=200))
    assert one.outcome is Outcome.FAILED
    assert "MemoryError" in one.result.output
    assert "ended with status 1" in one.because
    free = ran(f"{PYTHON} 'bytearray(100 << 20)'", limits=CommandLimits(memory_mb=200))
    assert free.outcome is Outcome.SUCCEEDED, free


def test_a_program_that_forks_without_end_is_killed_and_told() -> None:
    step = runnable("sh -c 'while :; do sleep 60 & done'")
    one = run_step(step, timeout_s=30, place=Plain(CommandLimits(tasks=20)))
    assert one.outcome is Outcome.FAILED
    assert one.because == "was killed; it started more than 20 processes"
    assert one.result.exit_status is None
    assert one.result.duration_s < 15


def test_a_program_that_closes_its_output_and_forks_is_counted_all_the_same() -> None:
    step = runnable("sh -c 'exec >/dev/null 2>/dev/null; while :; do sleep 60 & done'")
    one = run_step(step, timeout_s=30, place=Plain(CommandLimits(tasks=20)))
    assert one.because == "was killed; it started more than 20 processes"


def test_a_file_that_grows_too_large_ends_its_program(tmp_path: Path) -> None:
    file = tmp_path / "large"
    text = f"dd if=/dev/zero of={file} bs=1M count=100 status=none"
    one = ran(text, limits=CommandLimits(file_mb=16), writes=(tmp_path,))
    assert one.outcome is Outcome.FAILED
    assert "it wrote a file of more than 16 MB" in one.because
    assert file.stat().st_size == 16 << 20


def test_processor_time_is_bounded_by_the_deadline() -> None:
    one = ran("sh -c 'while :; do :; done'", timeout_s=1)
    assert one.outcome is Outcome.TIMED_OUT
    assert one.because == "took longer than 1 s and was killed"


@pytest.mark.parametrize("timeout_s", [1, 30])
def test_what_called_setsid_is_dead_afterwards(tmp_path: Path, timeout_s: float) -> None:
    """By the deadline, and when the command itself ends in time."""
    marker, script = tmp_path / "pid", tmp_path / "script"
    script.write_text(
        f"setsid sh -c 'echo $$ > {marker}; exec sleep 300' &\n"
        f"while [ ! -s {marker} ]; do sleep 0.01; done\n"
        f"{'sleep 300' if timeout_s == 1 else 'true'}\n"
    )
    one = ran(f"sh {script}", timeout_s=timeout_s, writes=(tmp_path,))
    assert one.outcome is (Outcome.TIMED_OUT if timeout_s == 1 else Outcome.SUCCEEDED), one
    assert not below({int(marker.read_text())})


def test_a_process_that_the_executor_started_for_itself_meanwhile_lives(tmp_path: Path) -> None:
    """A question asked in a thread of its own, while a command runs and ends."""
    marker = tmp_path / "go"
    asked: list[subprocess.Popen[bytes]] = []

    def ask() -> None:
        wait_for(marker.exists)
        asked.append(subprocess.Popen(["sleep", "60"]))

    thread = threading.Thread(target=ask)
    thread.start()
    assert (
        ran(f"sh -c 'touch {marker}; setsid sleep 60 & sleep 0.5'", writes=(tmp_path,)).because
        == ""
    )
    thread.join()
    assert asked[0].poll() is None
    asked[0].kill()
    asked[0].wait()


@landlocked
def test_a_command_writes_nowhere_but_in_its_grant(tmp_path: Path) -> None:
    granted, other = tmp_path / "granted", tmp_path / "other"
    granted.mkdir()
    other.mkdir()
    (other / "kept").write_text("as it was")
    assert ran(f"touch {granted}/new", writes=(granted,)).outcome is Outcome.SUCCEEDED
    for attack in (
        f"touch {other}/new",
        f"rm -f {other}/kept",
        f"truncate -s 0 {other}/kept",
        f"mv {granted}/new {other}/moved",
        f"ln {other}/kept {granted}/linked",
        f"mkdir {other}/folder",
    ):
        one = ran(attack, writes=(granted,))
        assert one.outcome is Outcome.FAILED, attack
    assert [file.name for file in other.iterdir()] == ["kept"]
    assert (other / "kept").read_text() == "as it was"


@landlocked
def test_one_file_can_be_granted_alone(tmp_path: Path) -> None:
    for name in ("granted", "other"):
        (tmp_path / name).write_text("full")
    grant = (tmp_path / "granted",)
    assert ran(f"truncate -s 0 {tmp_path}/granted", writes=grant).outcome is Outcome.SUCCEEDED
    assert ran(f"truncate -s 0 {tmp_path}/other", writes=grant).outcome is Outcome.FAILED
    assert [(tmp_path / name).read_text() for name in ("granted", "other")] == ["", "full"]


@pytest.mark.skipif(not confine.has_seccomp(), reason="no seccomp filter for this machine")
@pytest.mark.parametrize(
    ("needs", "opened"),
    [
        ((), {"AF_NETLINK"}),
        (("names",), {"AF_NETLINK", "AF_UNIX"}),
        (("services",), {"AF_NETLINK", "AF_UNIX"}),
        (("network",), {"AF_NETLINK", "AF_UNIX", "AF_INET", "AF_INET6", "AF_PACKET"}),
        (("whole-host",), {"AF_NETLINK", "AF_UNIX", "AF_INET", "AF_INET6", "AF_PACKET"}),
    ],
)
def test_sockets_are_of_the_kinds_that_are_granted(
    tmp_path: Path, needs: tuple[str, ...], opened: set[str]
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import socket\n"
        "for name in ['AF_NETLINK', 'AF_UNIX', 'AF_INET', 'AF_INET6', 'AF_PACKET']:\n"
        "    try:\n"
        "        socket.socket(getattr(socket, name), socket.SOCK_RAW if name[3] in 'NP' else 1)\n"
        "    except PermissionError:\n"
        "        continue\n"
        "    print(name)\n"
    )
    one = ran(f"{sys.executable} {script}", needs=needs)
    assert one.outcome is Outcome.SUCCEEDED, one
    assert set(one.result.output.split()) == opened


@landlocked
def test_a_closed_command_reaches_no_server_even_on_this_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f'import socket; socket.create_connection(("127.0.0.1", {port}), 2)'
        for needs, outcome in (
            ((), Outcome.FAILED),
            (("interfaces",), Outcome.FAILED),
            (("network",), Outcome.SUCCEEDED),
        ):
            assert ran(f"{PYTHON} '{code}'", needs=needs).outcome is outcome, needs


@as_root
def test_root_has_only_the_capabilities_that_are_granted() -> None:
    line = ran("grep CapEff /proc/self/status").result.output
    assert int(line.split()[1], 16) == 1 << 2  # CAP_DAC_READ_SEARCH
    line = ran("grep CapEff /proc/self/status", needs=("signals",)).result.output
    assert int(line.split()[1], 16) == 1 << 2 | 1 << 5 | 1 << 23
    assert ran("chown nobody /etc/hostname").outcome is Outcome.FAILED


@pytest.mark.skipif(confine.landlock_version() < 6, reason="Landlock without signals")
def test_a_closed_command_signals_nobody() -> None:
    victim = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "60")
    try:
        assert ran(f"/bin/kill -TERM {victim}").outcome is Outcome.FAILED
        assert below({victim}) == {victim}
        assert ran(f"/bin/kill -TERM {victim}", needs=("signals",)).outcome is Outcome.SUCCEEDED
    finally:
        os.waitpid(victim, 0)


def test_no_new_privileges_reach_a_command() -> None:
    assert "NoNewPrivs:\t1" in ran("grep NoNewPrivs /proc/self/status").result.output


@pytest.mark.parametrize(
    "before", [b"", b"-----BEGIN PRIVATE KEY-----" + b"k" * 20_000 + b"-----END PRIVATE KEY-----"]
)
@pytest.mark.parametrize("shown", [6, 15, 23])
def test_a_secret_that_a_cut_divides_is_not_shown(before: bytes, shown: int) -> None:
    """Neither at the end of what is shown, nor at the end of what is kept to look for secrets.

    The long key makes what is shown shorter, so that the end of what is kept comes into view.
    """
    token = b"hvs." + b"A" * 200
    for cut in (MAX_OUTPUT_BYTES, MAX_OUTPUT_BYTES + _SPARE_BYTES):
        output = Output()
        output.add(before + b"x" * (cut - len(before) - shown - 1) + b" " + token + b" y" * 20_000)
        assert "hvs." not in output.text()
        assert len(output.text()) <= MAX_OUTPUT_BYTES
