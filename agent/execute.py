"""The only hand: starts processes, and nothing else does on a node.

What is started was checked and written down before, by `agent/order_check.py` and the journal.
Argument vectors are run as they are, without a shell: pipes, `&&`, `||` and `;` are ours, the
environment is small and fixed. Where each command runs, and how it is ended with all it started,
is the place's business: `agent/units.py` where systemd runs, `agent/plain.py` where it does not.
"""

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agent.errors import UnitError
from agent.order_check import Runnable
from agent.run_program import (
    ENVIRONMENT,
    WORKING_FOLDER,
    Command,
    Output,
    Place,
    runs_next,
)
from appliance.records import Outcome, StepResult
from policy.reader import Pipeline

_READ_BYTES = 65536
_LINGER_S = 0.2  # for output that is still in the pipe when the last process has ended
_TURN_S = 0.05  # until the next look at the processes
_CANNOT_START = 126  # as a shell says it

_Started = list[tuple[Command, "subprocess.Popen[bytes]"]]


Stop = Callable[[], bool]
"""Whether what runs must end now, deadline or not."""


Look = Callable[[Output], None]
"""Sees the output as far as it has come, between two reads; it must be quick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of one step."""

    result: StepResult
    outcome: Outcome
    because: str  # what there is to say: the status, the deadline, which limit was reached


@dataclass(slots=True, kw_only=True)
class _Run:
    """One step while it runs."""

    place: Place
    deadline: float  # time.monotonic()
    output: Output
    stop: Stop
    late: bool = False
    stopped: bool = False
    live: Look
    lost: bool = False  # nobody knows whether it has ended
    because: list[str] = field(default_factory=list)


def run_step(
    step: Runnable,
    *,
    timeout_s: float,
    place: Place,
    stop: Stop = lambda: False,
    live: Look = lambda _: None,
) -> Ran:
    """Run one program to its end, its deadline, or until it is stopped."""
    started_at, began = datetime.now(UTC), time.monotonic()
    run = _Run(place=place, deadline=began + timeout_s, output=Output(), stop=stop, live=live)
    place.begin()
    status: int | None = 0
    commands = list(step.commands)
    for pipeline in step.program.pipelines:
        mine, commands = commands[: len(pipeline.commands)], commands[len(pipeline.commands) :]
        if status is not None and runs_next(pipeline, status):
            if stop():
                run.stopped, status = True, None
                break
            status = _run_pipeline(pipeline, mine, run)
    result = StepResult(
        index=step.index,
        argv=step.program.argvs,
        exit_status=status,
        started_at=started_at,
        duration_s=round(time.monotonic() - began, 6),
        output=run.output.text(),
        output_bytes=run.output.total,
        output_sha256=run.output.digest.hexdigest(),
    )
    outcome, because = _outcome(status, run, timeout_s=timeout_s)
    return Ran(result=result, outcome=outcome, because="; ".join((*because, *run.because)))


def _outcome(status: int | None, run: _Run, *, timeout_s: float) -> tuple[Outcome, list[str]]:
    if run.lost:
        return Outcome.UNKNOWN, []
    if run.stopped:
        return Outcome.FAILED, ["was killed: this node is halted"]
    if run.late:
        return Outcome.TIMED_OUT, [f"took longer than {timeout_s:g} s and was killed"]
    if status == 0:
        return Outcome.SUCCEEDED, []
    return Outcome.FAILED, ["was killed"] if status is None else [f"ended with status {status}"]


def _run_pipeline(pipeline: Pipeline, commands: Sequence[Command], run: _Run) -> int | None:
    """Start all commands of a pipeline, collect what they print; the last one's status.

    None: the deadline, a limit or a stop came, and what was left was killed.
    """
    reading, writing = os.pipe()
    started: _Started = []
    in_time = False
    try:
        try:
            _start_all(pipeline, commands, writing, started, run)
        finally:
            os.close(writing)
        in_time = _collect(reading, started, run)
    except OSError as error:
        run.output.add(f"cannot start: {error}\n".encode())
        return _CANNOT_START
    finally:
        os.close(reading)
        status = _end(started, run, in_time=in_time)
    return status


def _end(started: _Started, run: _Run, *, in_time: bool) -> int | None:
    """End what is left of a pipeline, and learn how its commands ended."""
    try:
        ends = run.place.end(started, in_time=in_time)
    except UnitError as error:
        run.because.append(str(error))
        run.lost = True
        return None
    if not in_time or not ends:
        return None
    for (command, _), ended in zip(started, ends, strict=True):
        if ended.because and (ended is ends[-1] or ended.limit):
            run.because.append(f"{command.argv[0]}: {ended.because}")
    return ends[-1].status


def _start_all(
    pipeline: Pipeline,
    commands: Sequence[Command],
    collected: int,
    started: _Started,
    run: _Run,
) -> None:
    previous = subprocess.DEVNULL
    last = len(pipeline.commands) - 1
    for place, (streams, command) in enumerate(zip(pipeline.commands, commands, strict=True)):
        following, forward = (subprocess.DEVNULL, collected) if place == last else os.pipe()
        where = {"out": forward, "null": subprocess.DEVNULL, "err": collected, "in": previous}
        try:
            process = subprocess.Popen(
                run.place.argv(command, seconds=max(1.0, run.deadline - time.monotonic())),
                stdin=where[streams.stdin],
                stdout=where[streams.stdout],
                stderr=where[streams.stderr],
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
        started.append((command, process))
        previous = following


def _close(descriptor: int) -> None:
    if descriptor != subprocess.DEVNULL:
        os.close(descriptor)


def _collect(reading: int, started: _Started, run: _Run) -> bool:
    """Read until every process has ended; False when the deadline, a limit or a stop came first."""
    os.set_blocking(reading, False)
    linger: float | None = None
    closed = False
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        while True:
            run.live(run.output)
            now = time.monotonic()
            ended = all(process.poll() is not None for _, process in started)
            if ended and linger is None:
                linger = now + _LINGER_S
            if linger is not None and now >= linger:
                return True  # a grandchild holds the pipe: it is ended with the command
            if now >= run.deadline:
                run.late = not ended
                return ended
            if run.stop():
                run.stopped = not ended
                return ended
            if passed := run.place.watch(started):
                run.because.append(passed)
                return False
            if closed:
                if ended:
                    return True
                _wait(started, min(_TURN_S, run.deadline - now))
            elif selector.select(min(_TURN_S, run.deadline - now)):
                data = _read(reading)
                closed = data == b""
                run.output.add(data or b"")


def _read(reading: int) -> bytes | None:
    try:
        return os.read(reading, _READ_BYTES)
    except BlockingIOError:
        return None


def _wait(started: _Started, seconds: float) -> None:
    """Until one of those that still run has ended, or the time has passed."""
    for _, process in started:
        if process.returncode is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, seconds))
            return
