"""Between hub and executor: signed trust down, unopened; what the node believes, up.

The agent has neither key nor root. It says what the executor believes on every new stream and
whenever that changes, for instance because it has expired; the hub answers with what is newer.
"""

import logging
import queue
import threading
from collections.abc import Callable

from agent.errors import SocketError
from agent.executor_socket import Client, Held
from appliance.journal import shown
from appliance.wire import sentinel_pb2 as pb

ASK_EVERY_S = 60.0  # trust expires by the clock, without a message
RETRY_S = 1.0

log = logging.getLogger(__name__)


class TrustBearer:
    """One thread that asks the executor; nothing is kept here."""

    def __init__(self, client: Client, *, say: Callable[[pb.FromAgent], None]) -> None:
        self._client = client
        self._say = say
        # A set to pass on, and whether the answer is said even if it is no news.
        self._sets: queue.SimpleQueue[tuple[dict[str, bytes], bool]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._said: Held | None = None
        self.trouble = "unknown"  # why no live order runs here, as the executor says

    def start(self) -> None:
        """Begin to listen."""
        threading.Thread(target=self._run, name="trust", daemon=True).start()

    def stop(self) -> None:
        """End soon."""
        self._stopping.set()
        self._sets.put(({}, False))

    def take(self, files: dict[str, bytes]) -> None:
        """The hub sent a set; returns at once."""
        self._sets.put((files, True))

    def tell(self) -> None:
        """A stream is new: say what is believed, whether or not it was said before."""
        self._sets.put(({}, True))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                files, news = self._sets.get(timeout=ASK_EVERY_S)
            except queue.Empty:
                files, news = {}, False
            self._pass_on(files, news=news)

    def _pass_on(self, files: dict[str, bytes], *, news: bool) -> None:
        while not self._stopping.is_set():
            try:
                held = self._client.believe(files)
            except SocketError as error:
                self.trouble = "the executor does not answer"
                log.debug("signed trust has to wait: %s", error)
                self._stopping.wait(RETRY_S)
            else:
                self._heard(held, news=news)
                return

    def _heard(self, held: Held, *, news: bool) -> None:
        if held.trouble and held.trouble != self.trouble:
            log.warning("%s", shown(held.trouble))
        self.trouble = held.trouble
        if news or held != self._said:
            why = held.refusal or held.trouble
            message = pb.TrustHeld(versions=held.versions, refusal=why)
            self._say(pb.FromAgent(trust_held=message))
            self._said = held
