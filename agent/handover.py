"""Between hub and executor: sealed orders down the local socket, reports up into the spool.

Nothing is opened or judged here. An order is told as taken only when the executor has it in its
journal; a report is confirmed to the executor only when it is in the spool.
"""

import logging
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from agent.errors import SocketError, SpoolError
from agent.executor_socket import Client
from agent.log_proof import NO_PROOF, LogProof
from agent.spool import Spool
from agent.watch import Watch
from appliance.ids import is_uuid, uuid7
from appliance.journal import shown
from appliance.records import Event, Outcome, Report

POLL_S = 25.0  # how long the executor may hold a question for reports open
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Handover:
    """Two threads: one hands orders over, one fetches reports."""

    def __init__(
        self,
        client: Client,
        spool: Spool,
        watch: Watch,
        *,
        taken: Callable[[str], None],
        stale: Callable[[str, int], None] = lambda _order_id, _seen_size: None,
    ) -> None:
        self._client = client
        self._spool = spool
        self._watch = watch
        self._taken = taken
        self._stale = stale
        self._orders: queue.SimpleQueue[tuple[str, bytes, LogProof]] = queue.SimpleQueue()
        self._pending: set[str] = set()  # a reconnect offers an order again: once is enough
        self._stopping = threading.Event()
        self._answered = threading.Event()
        self.executor_answers = False
        self.dry_run = True  # until the executor says that this node is live

    def start(self) -> None:
        """Begin to listen to the executor."""
        for work in (self._hand_over, self._fetch):
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()

    def stop(self) -> None:
        """End both threads soon."""
        self._stopping.set()
        self._orders.put(("", b"", NO_PROOF))

    def wait_for_executor(self, within_s: float) -> bool:
        """Until the executor has answered once, or the time has passed."""
        return self._answered.wait(within_s)

    def take(self, order_id: str, envelope: bytes, proof: LogProof = NO_PROOF) -> None:
        """An order came from the hub."""
        if order_id not in self._pending:
            self._pending.add(order_id)
            self._orders.put((order_id, envelope, proof))

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


def _refusal(order_id: str, step: str, reason: str, *, now: datetime) -> Report:
    """The report on an envelope the executor could not even open: it has no id to report on."""
    return Report(
        report_id=uuid7(),
        order_id=order_id[:255],
        outcome=Outcome.REFUSED,
        refused_step=shown(step, most=200),
        reason=shown(reason),
        finished_at=now,
    )
