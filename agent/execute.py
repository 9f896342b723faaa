"""The only hand: opens an order, checks it, writes it down, runs it, reports.

`sentinel-executor` is a process of its own, as root where commands need that, without network. It
takes envelopes from the agent over a Unix socket and believes neither the agent nor the hub; the
numbered checks are in `agent/order_check.py`. It runs one order at a time, argument vectors
without a shell, and nothing at all unless both the order and this node say `live`.
"""

import argparse
import logging
import os
import queue
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from agent import order_check, prctl
from agent.errors import JournalError, OrderRefusedError
from agent.execution_journal import ExecutionJournal, Line, What
from agent.executor_settings import ExecutorSettings
from agent.executor_socket import Server
from agent.order_check import Runnable, demand_alive
from agent.proc import boot_id, started_ticks
from agent.redact import redact
from agent.run_program import ENVIRONMENT, WORKING_FOLDER, Output, runs_next
from agent.trust import Trust, load_trust
from appliance import __version__, journal, settings
from appliance.errors import SentinelError
from appliance.ids import uuid7
from appliance.records import MAX_OUTPUT_BYTES, Mode, Order, Outcome, Report, StepResult
from policy.reader import Pipeline
from policy.worker import GuardedReader

_READ_BYTES = 65536
_LINGER_S = 0.2  # for output that is still in the pipe when the last process has ended
_MAX_FILES = 1024
_CANNOT_START = 126  # as a shell says it

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Executor:
    """One node's executor: trust, journal, and the queue of claimed orders."""

    trust: Trust
    journal: ExecutionJournal
    news: threading.Condition = field(default_factory=threading.Condition)
    _waiting: "queue.SimpleQueue[Order | None]" = field(default_factory=queue.SimpleQueue)
    _lock: "threading.RLock" = field(default_factory=threading.RLock)

    def submit(self, envelope: bytes) -> str:
        """Take an order over; its id. Raises `OrderRefusedError` when it is not even claimed.

        When this returns the order is in the journal: a crash from here on is told, not hidden.
        """
        order = order_check.open_order(envelope, self.trust)
        with self._lock:
            if order.order_id in self.journal.orders:
                return order.order_id  # a repeat; what became of it was or will be reported
            try:
                order_check.demand_fresh(order, self.journal)
            except OrderRefusedError as error:
                self._finish(_refused(order, error))
                return order.order_id
            # From here on a restart finds the order claimed: if nothing was started it reports
            # that nothing ran, else that the outcome is unknown. It never runs it.
            self.journal.append(
                Line(
                    at=_now(),
                    what="claimed",
                    order_id=order.order_id,
                    approval_id=order.approval.approval_id,
                    shown_digest=order.approval.shown_digest,
                )
            )
        self._waiting.put(order)
        return order.order_id

    def run(self) -> None:
        """Take claimed orders one after the other, until `stop`."""
        while (order := self._waiting.get()) is not None:
            try:
                report = self.decide(order)
            except OrderRefusedError as error:
                report = _refused(order, error)
            self._finish(report)

    def stop(self) -> None:
        """Let `run` return after the order it is at."""
        self._waiting.put(None)

    def decide(self, order: Order) -> Report:
        """Check an order and run it, or rehearse it."""
        checked = order_check.check(
            order, self.trust, now=_now(), boot_id=boot_id(), started=started_ticks
        )
        self.trust.accept(checked.checkpoint)
        if self.trust.mode is not Mode.LIVE or order.shown.mode is not Mode.LIVE:
            whose = "this node" if self.trust.mode is not Mode.LIVE else "the order"
            return _report(order, Outcome.DRY_RUN, reason=f"{whose} says dry run; nothing was run")
        return self._run_steps(order, checked.steps)

    def untold(self) -> list[Report]:
        """Reports the agent does not have yet."""
        with self._lock:
            return self.journal.untold()

    def told(self, report_id: str) -> None:
        """The agent has it."""
        with self._lock:
            self.journal.told(report_id, now=_now())

    def _run_steps(self, order: Order, steps: Sequence[Runnable]) -> Report:
        results: list[StepResult] = []
        timeout_s = min(order.timeout_s, self.trust.most_timeout_s)
        for step in steps:
            try:
                demand_alive(step.processes, started_ticks)  # 9, once more, right before
            except OrderRefusedError as error:
                outcome = Outcome.FAILED if results else Outcome.REFUSED
                return _report(
                    order, outcome, reason=error.because, steps=results, refused=error.step
                )
            # From here on a restart finds the command started and not finished: outcome unknown.
            self._note(order, "started", index=step.index)
            result = _run_step(step, timeout_s=timeout_s)
            self._note(order, "finished", index=step.index, result=result)
            results.append(result)
            if result.exit_status is None:
                late = f"command {step.index + 1} took longer than {timeout_s:g} s and was killed"
                return _report(order, Outcome.TIMED_OUT, reason=late, steps=results)
            if result.exit_status != 0:
                failed = f"command {step.index + 1} ended with status {result.exit_status}"
                return _report(order, Outcome.FAILED, reason=failed, steps=results)
        return _report(order, Outcome.SUCCEEDED, steps=results)

    def _note(
        self, order: Order, what: What, *, index: int, result: StepResult | None = None
    ) -> None:
        with self._lock:
            self.journal.append(
                Line(at=_now(), what=what, order_id=order.order_id, index=index, result=result)
            )

    def _finish(self, report: Report) -> None:
        line = Line(at=_now(), what="done", order_id=report.order_id, report=report)
        with self._lock:
            self.journal.append(line)
        _log.info(
            "order %s: %s %s %s",
            report.order_id,
            report.outcome.value,
            report.refused_step or "",
            report.reason,
        )
        with self.news:
            self.news.notify_all()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve orders until SIGTERM; 0 when it ended as asked."""
    parser = argparse.ArgumentParser(prog="sentinel-executor", description=__doc__)
    parser.add_argument("--version", action="version", version=f"sentinel {__version__}")
    default = Path("/etc/sentinel/executor.toml")
    parser.add_argument(
        "--config", type=Path, default=default, help=f"settings file (default: {default})"
    )
    parser.add_argument(
        "--check-config", action="store_true", help="read settings, keys and policy, and say so"
    )
    parser.add_argument("--verbose", action="store_true", help="log every step")
    asked = parser.parse_args(argv)
    journal.start("sentinel-executor", verbose=asked.verbose)
    try:
        chosen = settings.load(asked.config, ExecutorSettings)
        with GuardedReader() as second:
            trust = load_trust(chosen, second)
            if asked.check_config:
                sys.stdout.write(f"{asked.config}: the settings are right\n")
                return 0 if not trust.bundle.refusal else 1
            return _serve(chosen, trust)
    except SentinelError as error:
        sys.stderr.write(f"sentinel-executor: {error}\n")
        return error.exit_status


def _serve(chosen: ExecutorSettings, trust: Trust) -> int:
    prctl.no_new_privileges()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_MAX_FILES, most), min(_MAX_FILES, most)))
    if trust.bundle.refusal:
        _log.error("%s; every order is refused until it is mended", trust.bundle.refusal)
    book = ExecutionJournal(chosen.state_dir / "journal.jsonl")
    for report in book.recover(now=_now()):
        _log.warning("after a crash: order %s: %s", report.order_id, report.reason)
    executor = Executor(trust, book)
    server = Server(chosen.socket, executor, agent_user=chosen.agent_user)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    worker = threading.Thread(target=_until_it_fails, args=(executor, server), name="orders")
    worker.start()
    _log.info(
        "node %s, %s, policy %s", trust.node, trust.mode.value, trust.bundle.digest[:16] or "none"
    )
    server.serve()
    executor.stop()
    worker.join()
    book.close()
    return 1 if server.failed else 0


def _until_it_fails(executor: Executor, server: Server) -> None:
    """Run orders; whatever fails ends the executor, and the next start tells what it left."""
    try:
        executor.run()
    except JournalError as error:
        _log.critical("%s; nothing more is run", error)
        server.stop(failed=True)
    except BaseException:
        server.stop(failed=True)
        raise


def _run_step(step: Runnable, *, timeout_s: float) -> StepResult:
    """Run one program to its end or its deadline."""
    output, started_at, began = Output(), _now(), time.monotonic()
    status: int | None = 0
    files = list(step.files)
    for pipeline in step.program.pipelines:
        mine, files = files[: len(pipeline.commands)], files[len(pipeline.commands) :]
        if status is not None and runs_next(pipeline, status):
            status = _run_pipeline(pipeline, mine, output, deadline=began + timeout_s)
    return StepResult(
        index=step.index,
        argv=step.program.argvs,
        exit_status=status,
        started_at=started_at,
        duration_s=round(time.monotonic() - began, 6),
        output=redact(output.text())[:MAX_OUTPUT_BYTES],
        output_bytes=output.total,
        output_sha256=output.digest.hexdigest(),
    )


def _run_pipeline(
    pipeline: Pipeline, files: Sequence[str], output: Output, *, deadline: float
) -> int | None:
    """Start all commands of a pipeline, collect what they print; the last one's status.

    None: the deadline came, and what was left was killed.
    """
    reading, writing = os.pipe()
    processes: list[subprocess.Popen[bytes]] = []
    in_time = False
    try:
        try:
            _start_all(pipeline, files, writing, processes)
        finally:
            os.close(writing)
        in_time = _collect(reading, processes, output, deadline=deadline)
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
) -> bool:
    """Read until every process has ended; False when the deadline came first."""
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
            if now >= deadline:
                return ended
            if selector.select(min(0.05, deadline - now)):
                data = _read(reading)
                if data == b"" and _wait_all(processes, deadline):
                    return True
                output.add(data or b"")


def _read(reading: int) -> bytes | None:
    try:
        return os.read(reading, _READ_BYTES)
    except BlockingIOError:
        return None


def _wait_all(processes: "Sequence[subprocess.Popen[bytes]]", deadline: float) -> bool:
    """After the end of all output: until the processes have ended, or the deadline."""
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
    return True


def _kill_groups(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Whatever is left of the sessions we started, grandchildren included."""
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _refused(order: Order, error: OrderRefusedError) -> Report:
    return _report(order, Outcome.REFUSED, reason=error.because, refused=error.step)


def _report(
    order: Order,
    outcome: Outcome,
    *,
    reason: str = "",
    steps: Sequence[StepResult] = (),
    refused: str | None = None,
) -> Report:
    return Report(
        report_id=uuid7(),
        order_id=order.order_id,
        outcome=outcome,
        refused_step=refused,
        reason=journal.shown(reason),
        steps=tuple(steps),
        finished_at=_now(),
    )


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
