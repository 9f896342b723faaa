"""`sentinel demo` as a newcomer runs it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.journey, pytest.mark.xdist_group("one fault at a time")]

DEMO = [sys.executable, "-m", "appliance", "demo"]


def demo(*options: str | Path, within_s: float = 170) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*DEMO, *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
        timeout=within_s,
    )


def summary(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def left_behind(folder: Path) -> list[str]:
    """Processes whose command line or environment speaks of this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in text:
                found.append(text.replace(b"\0", b" ").decode())
    return found


@pytest.mark.llm
def test_unattended_it_goes_through_all_eight_steps_and_ends_what_it_started(
    tmp_path: Path,
) -> None:
    done = demo("--headless", "--dir", tmp_path / "d", "--rate-mb", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    result = summary(done)
    assert result["ok"]
    assert (result["state"], result["fault_ended_by"]) == ("resolved", "SIGTERM")
    assert result["plan_by"] == "model"
    steps = ["detect", "capture", "transport", "reason", "validate"]
    for step in [*steps, "approve", "execute", "verify", "audit"]:
        assert f" {step} " in done.stdout, step
    assert "VALID" in done.stdout
    assert left_behind(tmp_path / "d") == []


def test_a_dry_run_is_shown_as_a_dry_run_and_ends_nothing(tmp_path: Path) -> None:
    options = ("--headless", "--dry-run", "--no-model", "--rate-mb", "60")
    done = demo(*options, "--dir", tmp_path / "d")
    assert done.returncode == 0, done.stdout + done.stderr
    result = summary(done)
    assert (result["state"], result["mode"]) == ("rehearsed", "dry_run")
    assert result["fault_ended_by"] is None
    assert "executed" not in done.stdout


@pytest.mark.parametrize("damage", ["corrupt", "empty", "missing"])
def test_a_model_that_is_no_model_leaves_a_diagnosis_and_a_plan(
    tmp_path: Path, damage: str
) -> None:
    model = tmp_path / "damaged.gguf"
    if damage != "missing":
        model.write_bytes(b"GGUF" + os.urandom(4096) if damage == "corrupt" else b"")
    done = demo("--headless", "--model", model, "--rate-mb", "60", "--dir", tmp_path / "d")
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary(done)["plan_by"] == "catalogue"
    assert "damaged.gguf" in done.stdout


@pytest.mark.parametrize("option", ["--port", "--hub-port", "--vault-port"])
def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = demo("--headless", option, str(port), "--dir", tmp_path / "d", within_s=60)
    assert done.returncode == 2
    assert f"port {port} for the" in done.stderr
    assert option in done.stderr
    assert done.stderr.count("\n") == 1
    assert left_behind(tmp_path / "d") == []


def test_ctrl_c_ends_everything_and_a_second_start_works_at_once(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "300"])
    try:
        for _ in range(2):
            process = subprocess.Popen(
                [*DEMO, "--no-model", "--dir", str(tmp_path / "d")],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            for line in process.stdout:
                if "leaks" in line:
                    break
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=60)
            assert process.returncode == 0
            assert "everything it started has ended" in rest
            assert left_behind(tmp_path / "d") == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_killed_itself_it_leaves_nothing_running(tmp_path: Path) -> None:
    words = [*DEMO, "--no-model", "--dir", str(tmp_path / "d")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "leaks" in line:
                break
        process.kill()
    deadline = time.monotonic() + 30
    while left_behind(tmp_path / "d"):
        assert time.monotonic() < deadline, left_behind(tmp_path / "d")
        time.sleep(0.1)
