"""Keep this node's certificate good: ask when it is time, say early when it does not work.

The asking is done by a process of its own (`vault.renew`). A stream lives on under the certificate
it began with; shortly before that one ends, at a moment when nothing is on its way, the next
stream begins with the new one. When the wall clock jumps, all is reckoned anew.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from agent import aside
from agent.errors import AsideError
from agent.settings import AgentSettings
from vault.settings import VaultSite

JUMP_S = 30.0  # more than this between wall clock and steady clock is a jump
LOOK_S = 1.0
RETRY_S = 60.0  # after a process that gave no answer
GO_OVER = 0.1  # of a lifetime before the old certificate ends

log = logging.getLogger(__name__)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """As `vault.renewal.Standing`, read without what that needs."""

    begins: datetime
    ends: datetime
    due: datetime
    renewed: bool = False
    trouble: str = ""
    crl_trouble: str = ""
    again_s: float = 3600.0


class Renewal:
    """One thread that asks, and what it knows."""

    def __init__(self, settings: AgentSettings, *, go_over: Callable[[], bool]) -> None:
        self._settings = settings
        self._go_over = go_over
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="renewal", daemon=True)
        self._before: Standing | None = None  # of the stream that may still be open
        self.standing: Standing | None = None
        self.trouble = ""
        self._said = ""

    def start(self) -> None:
        """Begin, if the site has a Vault."""
        if self._settings.vault is not None:
            self._thread.start()

    def stop(self) -> None:
        """End soon; what was begun is finished by the next start."""
        self._stopping.set()

    def warning(self, now: datetime) -> str:
        """What an operator should know; empty when all is well."""
        one = self.standing
        if one is None or self.trouble:
            return self.trouble
        if one.ends <= now:
            return f"ENDED on {one.ends:%Y-%m-%d %H:%M} UTC: {one.trouble}"
        if one.begins > now:
            return f"begins on {one.begins:%Y-%m-%d %H:%M} UTC: is the clock right?"
        if one.trouble:
            left = str(one.ends - now).partition(".")[0]
            return f"not renewed, {left} are left: {one.trouble}"
        return ""

    def _run(self) -> None:
        site = self._settings.vault
        while site is not None and not self._stopping.is_set():
            wait_s, offset = self._ask(site), _offset()
            asked = time.monotonic()
            while time.monotonic() - asked < wait_s and not self._stopping.wait(LOOK_S):
                self._look_at_stream()
                if abs(_offset() - offset) > JUMP_S:
                    log.warning("the clock jumped by %.0f s", _offset() - offset)
                    break

    def _ask(self, site: VaultSite) -> float:
        chosen = self._settings
        question = {
            "identity": chosen.identity,
            "vault": site,
            "crl": chosen.state_dir / "crl.pem",
        }
        try:
            answer = aside.ask("vault.renew", msgspec.json.encode(question, enc_hook=str))
            found = msgspec.json.decode(answer, type=Standing)
        except (AsideError, msgspec.DecodeError) as error:
            self._say(f"cannot be renewed: {error}")
            return RETRY_S
        if found.renewed:
            self._before = self._before or self.standing
            log.info("certificate renewed, good until %s", found.ends.isoformat())
        self.standing, self.trouble = found, ""
        words = self.warning(datetime.now(UTC))
        if found.trouble and found.trouble != self._said:  # once, not at every try
            log.warning("certificate: %s", words)
        self._said = found.trouble
        return found.again_s

    def _look_at_stream(self) -> None:
        """Whether the stream's own certificate ends soon though there is a newer one."""
        before = self._before
        if before is None:
            return
        left = before.ends - datetime.now(UTC)
        if left <= GO_OVER * (before.ends - before.begins) and self._go_over():
            self._before = None

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("certificate: %s", trouble)
        self.trouble = trouble


def _offset() -> float:
    return time.time() - time.monotonic()
