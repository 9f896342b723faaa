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
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import structs

from agent import (
    budget,
    clear_fork,
    decided,
    executor_command,
    journal_file,
    keys,
    moment,
    only_one,
    order_check,
    prctl,
    programs,
    undo_check,
    units,
)
from agent.belief import Keeper
from agent.errors import (
    AsideError,
    JournalError,
    LogForkedError,
    LogStaleError,
    OrderRefusedError,
    UnitError,
)
from agent.execute import run_step
from agent.execution_journal import ExecutionJournal, Line
from agent.executor_settings import ExecutorSettings
from agent.executor_socket import Answer, Held, Server
from agent.halts import Halts
from agent.journal_file import What
from agent.log_proof import NO_PROOF, LogProof, Standing
from agent.order_check import Runnable, demand_alive
from agent.order_store import OrderStore
from agent.plain import Plain
from agent.proc import boot_id, started_ticks
from agent.resume import demand_lifted
from agent.run_program import Place
from agent.trust import Trust, load_trust
from appliance import __version__, journal, report_chain, settings
from appliance.errors import RefusedError, SentinelError
from appliance.halt import Halt
from appliance.ids import uuid7
from appliance.records import Mode, Order, Outcome, Report, StepResult
from audit.errors import AuditRefusedError
from policy.worker import GuardedReader

_MAX_FILES = 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Undo:
    """A rollback that is used up and waits for its turn."""

    order_id: str


@dataclass(slots=True)
class Executor:
    """One node's executor: trust, journal, and the queue of what was claimed."""

    trust: Trust
    journal: ExecutionJournal
    halts: Halts
    store: OrderStore
    place: Place = field(default_factory=Plain)  # where commands run
    result_key: str = ""  # public half of the key that signs reports
    most_actions_per_hour: int = 12
    undo_within_s: float = 3600.0
    news: threading.Condition = field(default_factory=threading.Condition)
    rest: Callable[[], None] = lambda: None  # when no order waits: give back what only orders need
    _waiting: "queue.SimpleQueue[Order | _Undo | None]" = field(default_factory=queue.SimpleQueue)
    _lock: "threading.RLock" = field(default_factory=threading.RLock)
    _judging: "threading.Lock" = field(default_factory=threading.Lock)

    def submit(self, envelope: bytes, proof: LogProof = NO_PROOF) -> str:
        """Take an order over; its id. Raises `OrderRefusedError` when it is not even claimed.

        `LogStaleError`: its proof does not start where this node stands, and nothing is used up.
        When this returns the order is in the journal: a crash from here on is told, not hidden.
        """
        self.trust.demand_trusted(live=False, clock=_now())  # 0
        order = order_check.open_order(envelope, self.trust)
        with self._lock:
            if order.order_id in self.journal.orders:
                return order.order_id  # a repeat; what became of it was or will be reported
            try:
                order_check.demand_fresh(order, self.journal)
                order_check.connect(order, self.trust, proof)
            except OrderRefusedError as error:
                self._finish(self._refused(order.order_id, error))
                return order.order_id
            kept = self._keep(order, envelope)
            # From here on a restart finds the order claimed: if nothing was started it reports
            # that nothing ran, else that the outcome is unknown. It never runs it.
            self.journal.append(
                Line(
                    at=_now(),
                    what="claimed",
                    order_id=order.order_id,
                    approval_ids=tuple(one.approval.approval_id for one in order.approvals),
                    shown_digest=order.approvals[0].approval.shown_digest,
                    until=order.shown.not_after,
                    kept=kept,
                )
            )
        self._waiting.put(order)
        return order.order_id

    def undo(self, order_id: str) -> str:
        """Take the rollback of an order over; raises `OrderRefusedError` when there is none.

        Asking again is harmless: it runs at most once, and its report was or will be told.
        """
        with self._lock:
            if undo_check.demand_ran(order_id, self.journal).undoing:
                return order_id
            # 3. From here on a restart finds the rollback used up: if nothing of it was started
            # it reports that nothing was undone, else that the outcome is unknown.
            self.journal.append(Line(at=_now(), what="undoing", order_id=order_id))
        self._waiting.put(_Undo(order_id))
        return order_id

    def run(self) -> None:
        """Take what was claimed, one after the other, until `stop`."""
        while (one := self._waiting.get()) is not None:
            undo_of = self.journal.pasts[one.order_id].report_id if type(one) is _Undo else None
            try:
                report = (
                    self.decide(one) if isinstance(one, Order) else self.take_back(one.order_id)
                )
            except OrderRefusedError as error:
                report = self._refused(one.order_id, error, undo_of=undo_of)
            self._finish(report)
            with self._lock:  # an order that is being claimed is kept first and claimed then
                self.store.only(self._may_be_undone())
            if self._waiting.empty():
                self.rest()

    def stop(self) -> None:
        """Let `run` return after the order it is at."""
        self._waiting.put(None)

    def decide(self, order: Order) -> Report:
        """Check an order and run it, or rehearse it."""
        self._demand_not_halted("0 halted")
        with self._judging:  # one order is judged by one set of trust, wholly
            live = not self.dry_run and order.shown.mode is Mode.LIVE
            self.trust.demand_trusted(live=live, clock=_now())  # 0
            checked = order_check.check(
                order, self.trust, now=_now(), boot_id=boot_id(), started=started_ticks
            )
        if self.trust.mode is not Mode.LIVE or order.shown.mode is not Mode.LIVE:
            whose = "this node" if self.trust.mode is not Mode.LIVE else "the order"
            reason = f"{whose} says dry run; nothing was run"
            return self._report(order.order_id, Outcome.DRY_RUN, reason=reason)
        budget.demand_room(  # 11
            self.journal.actions,
            wanted=sum(step.acts for step in checked.steps),
            most=self.most_actions_per_hour,
            now=moment.now(),
        )
        return self._run_steps(order, checked.steps, undo_of=None)

    def take_back(self, order_id: str) -> Report:
        """Check the rollback of an order and run it, the last command's first."""
        self._demand_not_halted("undo 0 halted")
        if self.dry_run:
            raise OrderRefusedError("undo 0 dry run", "this node says dry run now; nothing was run")
        past = self.journal.pasts[order_id]
        undo_check.demand_in_time(past, within_s=self.undo_within_s, now=moment.now())
        with self._judging:
            self.trust.demand_trusted(live=True, clock=_now())  # undo 0
            rollback = undo_check.check(
                past, self.store, self.trust, now=_now(), boot_id=boot_id(), started=started_ticks
            )
        report = self._run_steps(rollback.order, rollback.steps, undo_of=past.report_id)
        words = "; ".join(filter(None, (report.reason, *rollback.by_hand)))
        return structs.replace(report, reason=journal.shown(words))

    def witness(self, note: str, proof: LogProof) -> Standing:
        """Accept a checkpoint as part of the log, or not; where this node stands after that.

        Raises `LogStaleError` when the proof does not start here. Without a note it only tells.
        """
        vkeys = self.trust.audit_vkeys
        if proof.decision:
            with self._judging:
                return decided.take(self.trust, note, proof)
        if note:
            try:
                self.trust.log.accept(note, proof, vkeys=vkeys)
            except LogStaleError:
                raise
            except LogForkedError as error:
                _log.critical("THE AUDIT LOG FORKED: %s; no order runs until clear-fork", error)
            except AuditRefusedError as error:
                _log.warning("a checkpoint was refused: %s", error)
                standing = self.trust.log.standing(vkeys=vkeys)
                return structs.replace(standing, refusal=str(error))
        return self.trust.log.standing(vkeys=vkeys)

    @property
    def dry_run(self) -> bool:
        """Whether this node runs nothing, whatever an order says."""
        return self.trust.mode is not Mode.LIVE

    def state(self) -> Answer:
        """What this executor says of itself."""
        with self._lock:
            actions = budget.used(self.journal.actions, now=moment.now())
        return Answer(
            dry_run=self.dry_run,
            halted=bool(self.halts.in_force),
            halt_reason=journal.shown(self.halts.reason),
            result_key=self.result_key,
            last_report=self.journal.last_number,
            actions=actions,
        )

    def halt(self, halt: Halt, *, by_root: bool) -> None:
        """Run nothing more, whoever says so; what runs now is killed."""
        new = self.halts.halt(halt, whose="node" if by_root else "hub", now=_now())
        _log.warning("halt %s: %s", "in force" if new else "ignored, it was lifted", halt.reason)
        self._tell()

    def resume(self, resumption: bytes) -> None:
        """End a halt of the hub, if an administrator signed that; raises `OrderRefusedError`."""
        self.halts.lift(demand_lifted(resumption, self.halts, self.trust.people))
        _log.warning("a halt was lifted by an administrator's signature")
        self._tell()

    def resume_here(self) -> None:
        """End every halt: root on this node says so."""
        self.halts.lift_all()
        _log.warning("every halt was lifted on this node")
        self._tell()

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

    def _keep(self, order: Order, envelope: bytes) -> str:
        if self.trust.mode is Mode.LIVE and undo_check.may_be_undone(order):
            return self.store.keep(order.order_id, envelope)
        return ""

    def _may_be_undone(self) -> list[str]:
        """Orders whose rollback may still be asked for."""
        now = moment.now()
        return [
            past.order_id
            for past in self.journal.pasts.values()
            if past.kept
            and not past.undone
            and (past.ended is None or now.age_s(past.ended) <= self.undo_within_s)
        ]

    def _demand_not_halted(self, step: str) -> None:
        """Check 0. What is refused here stays refused: nothing old runs when the halt ends."""
        if self.halts.in_force:
            raise OrderRefusedError(step, f"this node is halted: {self.halts.reason}")

    def _run_steps(self, order: Order, steps: Sequence[Runnable], *, undo_of: str | None) -> Report:
        results: list[StepResult] = []
        said: list[str] = []
        outcome = Outcome.SUCCEEDED
        timeout_s = min(order.timeout_s, self.trust.most_timeout_s)
        begins, ends, facts, halted = _WORDS[undo_of is not None]
        for step in steps:
            try:
                self._demand_not_halted(halted)  # 0, once more, right before
                demand_alive(step.processes, started_ticks)  # 9, once more, right before
                for command in step.commands:
                    programs.demand_own(command.file)  # 10, once more
            except OrderRefusedError as error:
                ended = Outcome.FAILED if results else Outcome.REFUSED
                at = facts if error.step.startswith("9") else error.step
                return self._report(
                    order.order_id,
                    ended,
                    reason=error.because,
                    steps=results,
                    refused=at,
                    undo_of=undo_of,
                )
            # From here on a restart finds the command started and not finished: outcome unknown.
            self._note(order, begins, step)
            ran = run_step(
                step,
                timeout_s=timeout_s,
                place=self.place,
                stop=lambda: bool(self.halts.in_force),
            )
            self._note(order, ends, step, result=ran.result)
            results.append(ran.result)
            if ran.because:
                said.append(f"command {step.index + 1} {ran.because}")
            outcome = ran.outcome
            if outcome is not Outcome.SUCCEEDED:
                said += [self.halts.reason] if self.halts.in_force else []
                break
        return self._report(
            order.order_id, outcome, reason="; ".join(said), steps=results, undo_of=undo_of
        )

    def _note(
        self, order: Order, what: What, step: Runnable, *, result: StepResult | None = None
    ) -> None:
        now = moment.now()
        with self._lock:
            self.journal.append(
                Line(
                    at=now.at,
                    what=what,
                    order_id=order.order_id,
                    index=step.index,
                    acts=step.acts if result is None else 0,
                    result=result,
                    boot=now.boot,
                    up_s=now.up_s,
                )
            )

    def _finish(self, report: Report) -> None:
        with self._lock:
            self.journal.end(report, now=moment.now())
        _log.info(
            "%s %s: %s %s %s",
            "rollback of order" if report.undo_of else "order",
            report.order_id,
            report.outcome.value,
            report.refused_step or "",
            report.reason,
        )
        self._tell()

    def _tell(self) -> None:
        with self.news:
            self.news.notify_all()

    def _refused(
        self, order_id: str, error: OrderRefusedError, *, undo_of: str | None = None
    ) -> Report:
        return self._report(
            order_id, Outcome.REFUSED, reason=error.because, refused=error.step, undo_of=undo_of
        )

    def _report(
        self,
        order_id: str,
        outcome: Outcome,
        *,
        reason: str = "",
        steps: Sequence[StepResult] = (),
        refused: str | None = None,
        undo_of: str | None = None,
    ) -> Report:
        return Report(
            report_id=uuid7(),
            order_id=order_id,
            outcome=outcome,
            refused_step=refused,
            reason=journal.shown(reason),
            steps=tuple(steps),
            finished_at=_now(),
            undo_of=undo_of,
            log_size=self.trust.seen.size if self.trust.seen else 0,
        )


_WORDS: dict[bool, tuple[What, What, str, str]] = {
    False: ("started", "finished", "9 facts", "0 halted"),
    True: ("undo_started", "undo_finished", "undo 8 facts", "undo 0 halted"),
}
"""How a command of an order, or of its rollback, stands in the journal and in refusals."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve orders until SIGTERM; 0 when it ended as asked."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["clear-fork"]:
        return clear_fork.main(words[1:])
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
    executor_command.add_arguments(parser)
    asked = parser.parse_args(words)
    journal.start("sentinel-executor", verbose=asked.verbose)
    try:
        chosen = settings.load(asked.config, ExecutorSettings)
        if asked.show_keys or asked.command != "serve":
            return executor_command.run(asked, chosen)
        with GuardedReader() as second:
            trust = load_trust(chosen, second, checking=asked.check_config)
            if asked.check_config:
                refusal = trust.bundle.refusal if trust.keeper is None else ""
                sys.stdout.write(f"{asked.config}: {refusal or 'the settings are right'}\n")
                sys.stdout.write(f"{_place(chosen).words}\n")
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
    only_one.hold(chosen.state_dir)  # before the journal is read
    keys.witness_key(chosen.state_dir, chosen.node)  # made at the first start
    if fork := trust.log.fork:
        _log.critical("the audit log forked: %s; no order runs until clear-fork", fork.reason)
    executor = _executor(chosen, trust, second)
    if executor.halts.in_force:
        _log.warning("this node is halted: %s", executor.halts.reason)
    prctl.give_back_memory()
    server = Server(chosen.socket, executor, agent_user=chosen.agent_user)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    worker = threading.Thread(target=_until_it_fails, args=(executor, server), name="orders")
    worker.start()
    _log.info(
        "node %s, %s, policy %s; %s",
        trust.node,
        trust.mode.value,
        trust.bundle.digest[:16] or "none",
        executor.place.words,
    )
    server.serve()
    executor.stop()
    worker.join()
    executor.journal.close()
    return 1 if server.failed else 0


def _place(chosen: ExecutorSettings) -> Place:
    """Where commands run; raises `UnitError` when that is to be systemd and cannot be."""
    found = units.here(chosen.limits) if chosen.run_in != "processes" else None
    if found is None and chosen.run_in == "units":
        raise UnitError('run_in = "units", but systemd does not run here')
    return found or Plain(chosen.limits)


def _executor(chosen: ExecutorSettings, trust: Trust, second: GuardedReader) -> Executor:
    """The executor as the last one left it, with what a crash left open told."""
    file = chosen.state_dir / "journal.jsonl"
    gone = journal_file.shorten(file, keep=timedelta(days=chosen.journal_keep_days), now=_now())
    if gone:
        _log.info("the journal forgot %d orders that are over", gone)
    key = keys.load_or_make(chosen.state_dir / keys.RESULT)
    book = ExecutionJournal(file, key=key)
    place = _place(chosen)
    left = place.clear() if isinstance(place, units.Units) else []
    for unit in left:
        _log.warning("after a crash: %s was still there; it was ended", unit)
    for report in book.recover(
        now=moment.now(), log_size=trust.seen.size if trust.seen else 0, killed=left
    ):
        _log.warning("after a crash: order %s: %s", report.order_id, report.reason)
    return Executor(
        trust,
        book,
        Halts(chosen.state_dir / executor_command.HALTED),
        OrderStore(chosen.state_dir / "orders"),
        place=place,
        result_key=report_chain.spelled(key.public_key()),
        most_actions_per_hour=chosen.most_actions_per_hour,
        undo_within_s=chosen.undo_within_s,
        rest=lambda: _rest(second),
    )


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


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
