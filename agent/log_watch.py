"""Between hub and executor: checkpoints of the audit log down, where this node stands up.

Nothing is verified here; the executor does. Only the newest offer counts, so a hub that sends many
costs no memory. Every half minute the executor is asked anyway: a person may have cleared a fork.
"""

import logging
import threading
from collections.abc import Callable

from msgspec import structs

from agent.errors import SocketError
from agent.executor_socket import Client
from agent.log_proof import NO_PROOF, LogProof, Standing
from appliance.journal import shown

LOOK_EVERY_S = 30.0
RETRY_S = 1.0

log = logging.getLogger(__name__)


class LogWatch:
    """One thread beside the stream."""

    def __init__(self, client: Client, tell: Callable[[Standing], None]) -> None:
        self._client = client
        self._tell = tell
        self._news = threading.Condition()
        self._stopping = False
        self._offer: tuple[str, LogProof] | None = None
        self._asked = False
        self._told = Standing()

    def start(self) -> None:
        """Begin to listen to both sides."""
        threading.Thread(target=self._run, name="log_watch", daemon=True).start()

    def stop(self) -> None:
        """End the thread soon."""
        with self._news:
            self._stopping = True
            self._news.notify_all()

    def offer(self, note: str, proof: LogProof) -> None:
        """The hub sent a checkpoint."""
        with self._news:
            self._offer = (note, proof)
            self._news.notify_all()

    def look(self) -> None:
        """Tell the hub where this node stands: it has just connected, or took an order."""
        with self._news:
            self._asked = True
            self._news.notify_all()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(
                    lambda: self._stopping or self._asked or self._offer is not None,
                    timeout=LOOK_EVERY_S,
                )
                if self._stopping:
                    return
                offer, self._offer = self._offer, None
                asked, self._asked = self._asked or offer is not None, False
            try:
                self._ask(*(offer or ("", NO_PROOF)), asked=asked)
            except SocketError as error:
                log.debug("the log has to wait: %s", error)
                self._later(offer, asked=asked)

    def _later(self, offer: tuple[str, LogProof] | None, *, asked: bool) -> None:
        with self._news:
            if self._offer is None:  # else a newer one came meanwhile
                self._offer = offer
            self._asked = self._asked or asked
            self._news.wait_for(lambda: self._stopping, timeout=RETRY_S)

    def _ask(self, note: str, proof: LogProof, *, asked: bool) -> None:
        standing = self._client.witness(note, proof).standing
        if standing is None:
            return
        plain = structs.replace(standing, cosignature="", refusal="")  # each is signed anew
        if standing.fork and standing.fork != self._told.fork:
            log.error("the audit log forked: %s; no order runs here", shown(standing.fork))
        if asked or plain != self._told:
            self._told = plain
            self._tell(standing)
