"""`sentinel-executor`: takes orders over, checks them, has them run, tells what came of it.

A process of its own, as root where commands need that, without network. It takes envelopes from
the agent over a Unix socket and believes neither the agent nor the hub; the numbered checks are in
`agent/order_check.py`. It runs one order at a time, and nothing at all unless both the order and
this node say `live`.
"""

import argparse
import logging
import queue
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from agent import order_check, prctl
from agent.belief import Keeper
from agent.errors import AsideError, JournalError, OrderRefusedError
from agent.execute import run_step
from agent.execution_journal import ExecutionJournal, Line, What
from agent.executor_settings import ExecutorSettings
from agent.executor_socket import Held, Server
from agent.order_check import Runnable, demand_alive
from agent.proc import boot_id, started_ticks
from agent.trust import Trust, load_trust
from appliance import __version__, journal, settings
from appliance.errors import RefusedError, SentinelError
from appliance.ids import uuid7
from appliance.records import Mode, Order, Outcome, Report, StepResult
from policy.worker import GuardedReader

_MAX_FILES = 1024

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Executor:
    """One node's executor: trust, journal, and the queue of claimed orders."""

    trust: Trust
    journal: ExecutionJournal
    news: threading.Condition = field(default_factory=threading.Condition)
    rest: Callable[[], None] = lambda: None  # when no order waits: give back what only orders need
    _waiting: "queue.SimpleQueue[Order | None]" = field(default_factory=queue.SimpleQueue)
    _lock: "threading.RLock" = field(default_factory=threading.RLock)
    _judging: "threading.Lock" = field(default_factory=threading.Lock)

    def submit(self, envelope: bytes) -> str:
        """Take an order over; its id. Raises `OrderRefusedError` when it is not even claimed.

        When this returns the order is in the journal: a crash from here on is told, not hidden.
        """
        self.trust.demand_trusted(live=False, clock=_now())  # 0
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
                    approval_ids=tuple(one.approval.approval_id for one in order.approvals),
                    shown_digest=order.approvals[0].approval.shown_digest,
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
            if self._waiting.empty():
                self.rest()

    def stop(self) -> None:
        """Let `run` return after the order it is at."""
        self._waiting.put(None)

    def decide(self, order: Order) -> Report:
        """Check an order and run it, or rehearse it."""
        with self._judging:  # one order is judged by one set of trust, wholly
            live = not self.dry_run and order.shown.mode is Mode.LIVE
            self.trust.demand_trusted(live=live, clock=_now())  # 0
            checked = order_check.check(
                order, self.trust, now=_now(), boot_id=boot_id(), started=started_ticks
            )
            self.trust.accept(checked.checkpoint)
        if self.trust.mode is not Mode.LIVE or order.shown.mode is not Mode.LIVE:
            whose = "this node" if self.trust.mode is not Mode.LIVE else "the order"
            return _report(order, Outcome.DRY_RUN, reason=f"{whose} says dry run; nothing was run")
        return self._run_steps(order, checked.steps)

    @property
    def dry_run(self) -> bool:
        """Whether this node runs nothing, whatever an order says."""
        return self.trust.mode is not Mode.LIVE

    def believe(self, files: dict[str, bytes]) -> "Held":
        """Take signed trust over if it verifies; without files only say what is believed."""
        if self.trust.keeper is None:
            return Held(refusal="this node takes policy and keys from its own files: no trust_root")
        refusal = self._offer(self.trust.keeper, files) if files else ""
        prctl.give_back_memory()
        held = self.trust.believed
        return Held(
            versions=held.belief.versions if held else {},
            refusal=journal.shown(refusal),
            trouble=self.trust.trouble(_now()),
        )

    def _offer(self, keeper: Keeper, files: dict[str, bytes]) -> str:
        """Why the set was not taken; empty when it is in force now."""
        try:
            believed = keeper.offer(files, now=_now())
        except (RefusedError, AsideError, JournalError) as error:
            _log.warning("signed trust refused: %s", journal.shown(str(error)))
            return str(error)
        with self._judging:
            self.trust.take(believed)
        _log.info("signed trust: %s", believed.belief.versions)
        return ""

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
            result = run_step(step, timeout_s=timeout_s)
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
            trust = load_trust(chosen, second, checking=asked.check_config)
            if asked.check_config:
                refusal = trust.bundle.refusal if trust.keeper is None else ""
                sys.stdout.write(f"{asked.config}: {refusal or 'the settings are right'}\n")
                return 1 if refusal else 0
            return _serve(chosen, trust, second)
    except SentinelError as error:
        sys.stderr.write(f"sentinel-executor: {error}\n")
        return error.exit_status


def _serve(chosen: ExecutorSettings, trust: Trust, second: GuardedReader) -> int:
    prctl.no_new_privileges()
    prctl.one_arena()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_MAX_FILES, most), min(_MAX_FILES, most)))
    if trouble := trust.trouble(_now()):
        _log.error("%s; no live order runs until signed trust comes", trouble)
    elif trust.bundle.refusal:
        _log.error("%s; every order is refused until it is mended", trust.bundle.refusal)
    book = ExecutionJournal(chosen.state_dir / "journal.jsonl")
    for report in book.recover(now=_now()):
        _log.warning("after a crash: order %s: %s", report.order_id, report.reason)
    prctl.give_back_memory()
    executor = Executor(trust, book, rest=lambda: _rest(second))
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


def _rest(second: GuardedReader) -> None:
    """No order waits: a node keeps neither the second reader nor memory it does not use."""
    second.close()
    prctl.give_back_memory()


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
