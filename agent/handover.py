"""Between hub and executor: orders and halts down the local socket, reports up into the spool.

Nothing is opened or judged here. An order is told as taken only when the executor has it in its
journal; a report is confirmed to the executor only when it is in the spool.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from agent.errors import SocketError, SpoolError
from agent.executor_socket import Answer, Client
from agent.live import Live
from agent.log_proof import NO_PROOF, LogProof
from agent.spool import Spool
from agent.watch import Watch
from appliance.errors import RefusedError
from appliance.halt import Halt
from appliance.ids import is_uuid, uuid7
from appliance.journal import shown
from appliance.records import Event, Outcome, Record, Report, from_json, to_json

POLL_S = 25.0  # how long the executor may hold a question for reports open
RETRY_S = 1.0
_STATE = "node_state"

log = logging.getLogger(__name__)


class NodeState(Record, frozen=True, kw_only=True):
    """What the executor last said of itself; kept, so that the hub hears it before any report."""

    halted: bool = False
    reason: str = ""
    result_key: str = ""


class Handover:
    """Three threads: one hands orders over, one halts and rollbacks, one fetches reports."""

    def __init__(
        self,
        client: Client,
        spool: Spool,
        watch: Watch,
        *,
        taken: Callable[[str], None],
        stale: Callable[[str, int], None] = lambda _order_id, _seen_size: None,
        changed: Callable[[], None] = lambda: None,
        live: Callable[[Live], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._spool = spool
        self._watch = watch
        self._taken = taken
        self._stale = stale
        self._orders: queue.SimpleQueue[tuple[str, bytes, LogProof]] = queue.SimpleQueue()
        self._changed = changed
        self._live = live
        self._live_last: Live | None = None
        self._others: queue.SimpleQueue[str | tuple[Halt, bytes]] = queue.SimpleQueue()
        self._asked: set[str] = set()  # rollbacks in the queue
        self._state = _remembered(spool)
        self._pending: set[str] = set()  # a reconnect offers an order again: once is enough
        self._stopping = threading.Event()
        self._answered = threading.Event()
        self.executor_answers = False
        self.dry_run = True  # until the executor says that this node is live

    def start(self) -> None:
        """Begin to listen to the executor."""
        for work in (self._hand_over, self._pass_on, self._fetch):
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()

    def stop(self) -> None:
        """End all threads soon."""
        self._stopping.set()
        self._orders.put(("", b"", NO_PROOF))
        self._others.put("")

    def wait_for_executor(self, within_s: float) -> bool:
        """Until the executor has answered once, or the time has passed."""
        return self._answered.wait(within_s)

    def take(self, order_id: str, envelope: bytes, proof: LogProof = NO_PROOF) -> None:
        """An order came from the hub."""
        if order_id not in self._pending:
            self._pending.add(order_id)
            self._orders.put((order_id, envelope, proof))

    def take_halt(self, halt: Halt, resume: bytes) -> None:
        """The hub says: run nothing more; or passes on an administrator's resumption."""
        self._others.put((halt, resume))

    def ask_undo(self, order_ids: Iterable[str]) -> None:
        """These orders did not help; asked again in the next cycle until the executor answers."""
        for order_id in order_ids:
            if order_id not in self._asked:
                self._asked.add(order_id)
                self._others.put(order_id)

    def node_state(self) -> NodeState | None:
        """What the executor last said of itself; None when it never spoke."""
        return self._state

    def _pass_on(self) -> None:
        while not self._stopping.is_set():
            match self._others.get():
                case (halt, resume):
                    self._halt(halt, resume)
                case str(order_id) if order_id:
                    self._undo(order_id)
                case _:
                    pass

    def _halt(self, halt: Halt, resume: bytes) -> None:
        while not self._stopping.is_set():
            try:
                answer = self._client.halt(halt, resume=resume)
            except SocketError as error:
                log.warning("a halt has to wait: %s", error)
                self._stopping.wait(RETRY_S)
                continue
            if answer.refused:
                log.warning("the executor stays halted: %s: %s", answer.refused, answer.reason)
            return

    def _undo(self, order_id: str) -> None:
        try:
            answer = self._client.undo(order_id)
            self._watch.undo_answered(order_id)
            self._spool.put([], kept={"watch": self._watch.kept()})
            said = f"not taken back: {answer.reason}" if answer.refused else "is taken back"
            log.info("order %s did not help and %s", shown(order_id, most=60), shown(said))
        except (SocketError, SpoolError) as error:
            log.warning("a rollback has to wait: %s", error)
        finally:
            self._asked.discard(order_id)

    def _hand_over(self) -> None:
        while not self._stopping.is_set():
            order_id, envelope, proof = self._orders.get()
            while order_id and not self._stopping.is_set():
                try:
                    self._submit(order_id, envelope, proof)
                except (SocketError, SpoolError) as error:
                    log.warning("order %s has to wait: %s", shown(order_id, most=60), error)
                    self._stopping.wait(RETRY_S)
                else:
                    self._pending.discard(order_id)
                    break

    def _submit(self, order_id: str, envelope: bytes, proof: LogProof) -> None:
        now = datetime.now(UTC)
        # Watched before it is handed over: its effect may be seen before its report.
        self._watch.taken(envelope, now=now)
        answer = self._client.submit(envelope, proof)
        if answer.stale:  # not taken, not refused: the hub offers it again with the right proof
            self._watch.withdrawn(envelope)
            self._pending.discard(order_id)
            self._stale(order_id, answer.seen_size)
            return
        if answer.refused:
            report = _refusal(order_id, answer.refused, answer.reason, now=now)
            self._watch.reported(report, now=now)
            self._store(report)
        else:
            self._spool.put([], kept={"watch": self._watch.kept()})
            log.info("order %s is with the executor", shown(order_id, most=60))
        self._taken(order_id)

    def _fetch(self) -> None:
        while not self._stopping.is_set():
            try:
                # The first question is short: the hub is told early whether this node is live.
                answer = self._client.news(wait_s=POLL_S if self.executor_answers else 0.0)
                self.dry_run = answer.dry_run
                self._note_state(answer)
                self._pass_live(answer.live)
                for report in answer.reports:
                    self._watch.reported(report, now=datetime.now(UTC))
                    self._store(report)  # from here on a crash keeps it; the executor asks again
                    self._client.told(report.report_id)
                self._heard(answers=True)
            except SocketError as error:
                self._heard(answers=False, why=str(error))
                self._stopping.wait(RETRY_S)
            except SpoolError as error:
                log.warning("a report has to wait: %s", error)
                self._stopping.wait(RETRY_S)

    def _note_state(self, answer: Answer) -> None:
        """Remembered, and on its way to the hub, before the reports of this answer are."""
        state = NodeState(
            halted=answer.halted,
            reason=shown(answer.halt_reason),
            result_key=answer.result_key,
        )
        if state != self._state:
            self._spool.put([], kept={_STATE: to_json(state)})
            self._state = state
            self._changed()

    def _pass_live(self, newest: Live | None) -> None:
        """Not kept, and not said again: what comes next replaces it."""
        if newest is not None and newest != self._live_last:
            self._live(newest)
        self._live_last = newest

    def _store(self, report: Report) -> None:
        """The report's own id is the event's id, so that storing it twice is storing it once."""
        event_id = report.report_id if is_uuid(report.report_id) else uuid7()
        self._spool.put([Event(event_id=event_id, body=report)], kept={"watch": self._watch.kept()})
        log.info("order %s: %s %s", report.order_id, report.outcome.value, shown(report.reason))

    def _heard(self, *, answers: bool, why: str = "") -> None:
        if self.executor_answers and not answers:
            log.warning("%s", why)
        self.executor_answers = answers
        if answers:
            self._answered.set()


def _remembered(spool: Spool) -> NodeState | None:
    kept = spool.kept(_STATE)
    try:
        return from_json(kept, NodeState) if kept else None
    except RefusedError:  # of another version: the executor says it again
        return None


def _refusal(order_id: str, step: str, reason: str, *, now: datetime) -> Report:
    """The report on an envelope the executor could not even open: it has no id to report on.

    It is the agent's own word: without number and signature, and the hub marks it so.
    """
    return Report(
        report_id=uuid7(),
        order_id=order_id[:255],
        outcome=Outcome.REFUSED,
        refused_step=shown(step, most=200),
        reason=shown(reason),
        finished_at=now,
    )
