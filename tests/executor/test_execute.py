"""Programs as they really run: without a shell, in time, bounded, and gone afterwards."""

import hashlib
import signal
import time
from pathlib import Path

import pytest

from agent.execute import run_step
from agent.plain import Plain
from appliance.records import MAX_OUTPUT_BYTES, StepResult
from tests.attacks.forge import wait_for
from tests.executor.running import ran, runnable


def run(text: str, *, timeout_s: float = 10, writes: tuple[Path, ...] = ()) -> StepResult:
    """Run a line of the executable language, each program found by its name."""
    return ran(text, timeout_s=timeout_s, writes=writes).result


@pytest.mark.parametrize(
    ("text", "status", "output"),
    [
        ("echo hello", 0, "hello\n"),
        ("echo 'a  b' \"c\" d\\ e", 0, "a  b c d e\n"),
        ("echo '$(reboot)' '`reboot`' '*'", 0, "$(reboot) `reboot` *\n"),
        ("echo hello | wc -c", 0, "6\n"),
        ("printf 'c\\nb\\na\\n' | sort | head -n 1", 0, "a\n"),
        ("false && echo never", 1, ""),
        ("false || echo instead", 0, "instead\n"),
        ("false; echo after", 0, "after\n"),
        ("true && false", 1, ""),
        ("echo hidden >/dev/null", 0, ""),
        ("ls /nonexistent-sentinel 2>/dev/null", 2, ""),
        ("pwd", 0, "/\n"),
        ("cat", 0, ""),
        ("yes | head -n 2", 0, "y\ny\n"),
    ],
)
def test_it_runs_as_bash_would_without_bash(text: str, status: int, output: str) -> None:
    result = run(text)
    assert (result.exit_status, result.output) == (status, output)


def test_the_environment_is_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/tmp/evil")
    monkeypatch.setenv("BASH_ENV", "/tmp/evil")
    monkeypatch.setenv("SECRET", "hunter2")
    names = {line.partition("=")[0] for line in run("env").output.splitlines()}
    assert names == {
        "PATH",
        "LC_ALL",
        "HOME",
        "PAGER",
        "SYSTEMD_PAGER",
        "SYSTEMD_COLORS",
        "GIT_PAGER",
    }


def test_at_the_deadline_grandchildren_are_killed_too(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    text = f"sh -c 'sleep 300 & echo $! > {marker}; wait'"
    began = time.monotonic()
    result = run(text, timeout_s=1, writes=(tmp_path,))
    assert result.exit_status is None
    assert time.monotonic() - began < 5
    grandchild = int(marker.read_text())
    wait_for(lambda: not _alive(grandchild))


def test_a_grandchild_that_stays_behind_is_killed_and_does_not_hold_us(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    began = time.monotonic()
    text = f"sh -c 'sleep 300 & echo $! > {marker}'"
    result = run(text, timeout_s=30, writes=(tmp_path,))
    assert result.exit_status == 0
    assert time.monotonic() - began < 5
    wait_for(lambda: not _alive(int(marker.read_text())))


def test_output_is_capped_counted_and_hashed_whole() -> None:
    result = run("head -c 300000 /dev/zero")
    assert result.output_bytes == 300_000
    assert result.output_sha256 == hashlib.sha256(bytes(300_000)).hexdigest()
    assert len(result.output) <= MAX_OUTPUT_BYTES


def test_control_characters_of_the_output_are_shown_not_kept() -> None:
    result = run("printf '\\033[31mred\\007'")
    assert result.output == "\\x1b[31mred\\x07"


def test_secrets_in_the_output_are_redacted() -> None:
    assert "hunter2" not in run("echo --password=hunter2").output


def test_a_command_ended_by_a_signal_says_which() -> None:
    assert run("sh -c 'kill -KILL $$'").exit_status == -signal.SIGKILL


def test_a_program_that_cannot_start_is_a_failure_with_words(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELFnonsense")
    broken.chmod(0o755)
    result = run_step(runnable("broken", file=str(broken)), timeout_s=5, place=Plain()).result
    assert result.exit_status == 126
    assert "cannot start" in result.output


def test_no_descriptor_is_left_open() -> None:
    run("echo a | cat | cat")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        run("echo a | cat | cat")
        run("false || echo b")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
