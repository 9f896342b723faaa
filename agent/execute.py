"""The only hand: starts processes, and nothing else does on a node.

What is started was checked and written down before, by `agent/order_check.py` and the journal.
Argument vectors are run as they are, without a shell: pipes, `&&`, `||` and `;` are ours, the
environment is small and fixed, and at the deadline whole sessions are killed.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from agent.order_check import Runnable
from agent.redact import secrets_hidden
from agent.run_program import ENVIRONMENT, WORKING_FOLDER, Output, runs_next
from appliance.records import MAX_OUTPUT_BYTES, StepResult
from policy.reader import Pipeline

_READ_BYTES = 65536
_LOOK_EVERY_S = 0.05  # whether to stop a process that has closed its output and goes on
_LINGER_S = 0.2  # for output that is still in the pipe when the last process has ended
_CANNOT_START = 126  # as a shell says it


Stop = Callable[[], bool]
"""Whether what runs must end now, deadline or not."""


def run_step(step: Runnable, *, timeout_s: float, stop: Stop = lambda: False) -> StepResult:
    """Run one program to its end, its deadline, or until it is stopped."""
    output, started_at, began = Output(), datetime.now(UTC), time.monotonic()
    status: int | None = 0
    files = list(step.files)
    for pipeline in step.program.pipelines:
        mine, files = files[: len(pipeline.commands)], files[len(pipeline.commands) :]
        if status is not None and runs_next(pipeline, status):
            if stop():
                status = None
                break
            status = _run_pipeline(pipeline, mine, output, deadline=began + timeout_s, stop=stop)
    return StepResult(
        index=step.index,
        argv=step.program.argvs,
        exit_status=status,
        started_at=started_at,
        duration_s=round(time.monotonic() - began, 6),
        output=secrets_hidden(output.text())[:MAX_OUTPUT_BYTES],
        output_bytes=output.total,
        output_sha256=output.digest.hexdigest(),
    )


def _run_pipeline(
    pipeline: Pipeline, files: Sequence[str], output: Output, *, deadline: float, stop: Stop
) -> int | None:
    """Start all commands of a pipeline, collect what they print; the last one's status.

    None: the deadline came or it was stopped, and what was left was killed.
    """
    reading, writing = os.pipe()
    processes: list[subprocess.Popen[bytes]] = []
    in_time = False
    try:
        try:
            _start_all(pipeline, files, writing, processes)
        finally:
            os.close(writing)
        in_time = _collect(reading, processes, output, deadline=deadline, stop=stop)
    except OSError as error:
        output.add(f"cannot start: {error}\n".encode())
        return _CANNOT_START
    finally:
        os.close(reading)
        _kill_groups(processes)
        statuses = [process.wait() for process in processes]
    return statuses[-1] if in_time else None


def _start_all(
    pipeline: Pipeline,
    files: Sequence[str],
    collected: int,
    processes: "list[subprocess.Popen[bytes]]",
) -> None:
    previous = subprocess.DEVNULL
    last = len(pipeline.commands) - 1
    for place, (command, file) in enumerate(zip(pipeline.commands, files, strict=True)):
        following, forward = (subprocess.DEVNULL, collected) if place == last else os.pipe()
        where = {"out": forward, "null": subprocess.DEVNULL, "err": collected, "in": previous}
        try:
            started = subprocess.Popen(
                list(command.argv),
                executable=file,
                stdin=where[command.stdin],
                stdout=where[command.stdout],
                stderr=where[command.stderr],
                cwd=WORKING_FOLDER,
                env=ENVIRONMENT,
                start_new_session=True,
            )
        except OSError:
            _close(following)
            raise
        finally:
            _close(previous)
            if forward != collected:
                _close(forward)
        processes.append(started)
        previous = following


def _close(descriptor: int) -> None:
    if descriptor != subprocess.DEVNULL:
        os.close(descriptor)


def _collect(
    reading: int,
    processes: "Sequence[subprocess.Popen[bytes]]",
    output: Output,
    *,
    deadline: float,
    stop: Stop,
) -> bool:
    """Read until every process has ended; False when the deadline or a stop came first."""
    os.set_blocking(reading, False)
    linger: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            ended = all(process.poll() is not None for process in processes)
            if ended and linger is None:
                linger = now + _LINGER_S
            if linger is not None and now >= linger:
                return True  # a grandchild holds the pipe: it is killed with its group
            if now >= deadline or stop():
                return ended
            if selector.select(min(0.05, deadline - now)):
                data = _read(reading)
                if data == b"":  # the end of all output: what is left is to wait
                    return _wait_all(processes, deadline, stop)
                output.add(data or b"")


def _read(reading: int) -> bytes | None:
    try:
        return os.read(reading, _READ_BYTES)
    except BlockingIOError:
        return None


def _wait_all(processes: "Sequence[subprocess.Popen[bytes]]", deadline: float, stop: Stop) -> bool:
    """After the end of all output: until the processes have ended, or the deadline."""
    for process in processes:
        while process.poll() is None:
            if time.monotonic() >= deadline or stop():
                return False
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_EVERY_S)
    return True


def _kill_groups(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Whatever is left of the sessions we started, grandchildren included."""
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
