"""The executor: takes orders over, checks them, has them run, tells what came of it.

A process of its own, as root where commands need that, without network. It takes envelopes from
the agent over a Unix socket and believes neither the agent nor the hub; the numbered checks are in
`agent/order_check.py`. It runs one order at a time, and nothing at all unless both the order and
this node say `live`.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from msgspec import structs

from agent import (
    budget,
    moment,
    order_check,
    prctl,
    rejudge,
    undo_check,
)
from agent.belief import Keeper
from agent.errors import (
    AsideError,
    JournalError,
    LogForkedError,
    LogStaleError,
    OrderRefusedError,
)
from agent.execution_journal import ExecutionJournal, Line
from agent.executor_socket import Answer, Held
from agent.halts import Halts
from agent.journal_file import What
from agent.live_output import LiveOutput
from agent.log_proof import NO_PROOF, LogProof, Standing
from agent.order_check import Runnable
from agent.order_store import OrderStore
from agent.plain import Plain
from agent.rejudge import Again, Taken
from agent.resume import demand_lifted
from agent.run_order import run_steps
from agent.run_program import Place
from agent.trust import Trust
from appliance import journal
from appliance.errors import RefusedError
from appliance.halt import Halt
from appliance.ids import uuid7
from appliance.records import Mode, Order, Outcome, Report, StepResult
from audit.errors import AuditRefusedError

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
    _waiting: "queue.SimpleQueue[Taken | _Undo | None]" = field(default_factory=queue.SimpleQueue)
    live: LiveOutput = field(default_factory=LiveOutput)
    _lock: "threading.RLock" = field(default_factory=threading.RLock)
    _judging: "threading.Lock" = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Who waits for news hears of what a running command prints."""
        self.live.tell = self._tell

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
        self._waiting.put(Taken(order.order_id, envelope))
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
                    self.decide(one) if isinstance(one, Taken) else self.take_back(one.order_id)
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

    def decide(self, taken: Taken) -> Report:
        """Check an order and run it, or rehearse it."""
        self._demand_not_halted("0 halted")
        check = partial(rejudge.order, taken, self.trust, now=_now())
        with self._judging:  # one order is judged by one set of trust, wholly
            checked, by = check(), self.trust.believed  # 0 to 10
        order = checked.order
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
        again = Again(self.trust, self._judging, lambda left: check(left=left), by)
        return self._run_steps(order, checked.steps, again, undo_of=None)

    def take_back(self, order_id: str) -> Report:
        """Check the rollback of an order and run it, the last command's first."""
        self._demand_not_halted("undo 0 halted")
        if self.dry_run:
            raise OrderRefusedError("undo 0 dry run", "this node says dry run now; nothing was run")
        past = self.journal.pasts[order_id]
        undo_check.demand_in_time(past, within_s=self.undo_within_s, now=moment.now())
        check = partial(rejudge.rollback, past, self.store, self.trust, now=_now())
        with self._judging:
            rollback, by = check(), self.trust.believed  # undo 0, 5 to 9
        again = Again(self.trust, self._judging, lambda left: check(left=left), by)
        report = self._run_steps(rollback.order, rollback.steps, again, undo_of=past.report_id)
        words = "; ".join(filter(None, (report.reason, *rollback.by_hand)))
        return structs.replace(report, reason=journal.shown(words))

    def witness(self, note: str, proof: LogProof) -> Standing:
        """Accept a checkpoint as part of the log, or not; where this node stands after that.

        Raises `LogStaleError` when the proof does not start here. Without a note it only tells.
        """
        vkeys = self.trust.audit_vkeys
        if proof.decision:
            from agent import decided  # noqa: PLC0415 - once in a hub's life; memory on every node

            with self._judging:
                return decided.take(self.trust, note, proof)
        if note:
            try:
                self.trust.log.accept(note, proof, vkeys=self.trust.audit_keys or ())
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
            live=self.live.newest,
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

    def _run_steps(
        self, order: Order, steps: Sequence[Runnable], again: Again, *, undo_of: str | None
    ) -> Report:
        done = run_steps(
            steps,
            again,
            undoing=undo_of is not None,
            note=lambda what, step, result: self._note(order, what, step, result=result),
            halted=lambda: self.halts.reason if self.halts.in_force else None,
            place=self.place,
            timeout_s=min(order.timeout_s, self.trust.most_timeout_s),
            live=lambda step: self.live.of(order.order_id, step.index, undoing=undo_of is not None),
        )
        self.live.end()
        return self._report(
            order.order_id,
            done.outcome,
            reason=done.reason,
            steps=done.steps,
            refused=done.refused,
            undo_of=undo_of,
        )

    def _note(self, order: Order, what: What, step: Runnable, *, result: StepResult | None) -> None:
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


def _now() -> datetime:
    return datetime.now(UTC)
