"""Keep this process's own certificates good: ask when it is time, say early when it does not work.

The asking is done by a process of its own (`vault.renew_own`). What a renewed pair is used for
reads it by itself: the next handshake of the hub, the next connection of the console, the next
connection to PostgreSQL. What is open goes on. Without `vault` in the settings nobody asks.
"""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from appliance.journal import shown
from hub.errors import RenewalError
from hub.persist.dsn import client_pair
from hub.settings import ServeSettings
from vault import files
from vault.own import Own
from vault.renewal import Standing

ASIDE_S = 60.0  # for one answer; a request to Vault has ten seconds
JUMP_S = 30.0  # more than this between wall clock and steady clock is a jump
LOOK_S = 1.0
RETRY_S = 60.0  # after a process that gave no answer
_HOME = Path(__file__).resolve().parents[1]  # so that it starts from an editable install, too

_log = logging.getLogger(__name__)


def of_hub(settings: ServeSettings) -> list[Own]:
    """The hub's own, and the one it shows PostgreSQL."""
    if settings.vault is None:
        return []
    mine = settings.identity
    own = Own(
        role="hub",
        certificate=mine.certificate,
        key=mine.key,
        ca=mine.ca,
        signer="hub",
        signer_pair=(mine.certificate, mine.key),
        vault=settings.vault,
    )
    return [own, *of_database(own, settings.dsn)]


def of_database(own: Own, dsn: str) -> list[Own]:
    """The client certificate in a connection string, asked for by the process's own."""
    pair = client_pair(dsn)
    if pair is None:
        return []
    certificate, key = pair
    return [
        msgspec.structs.replace(own, role="database", certificate=certificate, key=key, ca=None)
    ]


def settle(owned: Sequence[Own]) -> None:
    """Before anything reads them: finish what a process that was killed has begun."""
    for own in owned:
        files.settle(own.certificate, own.key)


class OwnCertificates:
    """One thread for each pair, and what it knows of it."""

    def __init__(self, owned: Sequence[Own], stop: threading.Event) -> None:
        self._kept = [_Kept(own, stop) for own in owned]

    def start(self) -> None:
        """Begin; what was begun when we stop is finished by the next start."""
        for one in self._kept:
            threading.Thread(target=one.run, name=f"renewal-{one.own.role}", daemon=True).start()

    def warning(self) -> str | None:
        """What an operator should know; None when all is well."""
        now = datetime.now(UTC)
        return "; ".join(words for one in self._kept if (words := one.warning(now))) or None


class _Kept:
    def __init__(self, own: Own, stop: threading.Event) -> None:
        self.own, self._stop = own, stop
        self._standing: Standing | None = None
        self._trouble = self._said = ""

    def warning(self, now: datetime) -> str:
        """One sentence, or nothing."""
        one, what = self._standing, f"certificate of {self.own.role}"
        if one is None or not (trouble := self._trouble or one.trouble):
            return f"{what}: {self._trouble}" if self._trouble else ""
        if one.ends <= now:
            return f"{what} ENDED on {one.ends:%Y-%m-%d %H:%M} UTC: {trouble}"
        left = str(one.ends - now).partition(".")[0]
        return f"{what} not renewed, {left} are left: {trouble}"

    def run(self) -> None:
        """Ask until we stop; at once when the wall clock jumps."""
        while not self._stop.is_set():
            wait_s, offset, asked = self._ask(), _offset(), time.monotonic()
            while time.monotonic() - asked < wait_s and not self._stop.wait(LOOK_S):
                if abs(_offset() - offset) > JUMP_S:
                    break

    def _ask(self) -> float:
        again_s = RETRY_S
        try:
            found = _aside(self.own)
        except RenewalError as error:
            self._trouble = f"cannot be renewed: {error}"
        else:
            self._standing, self._trouble, again_s = found, "", found.again_s
            if found.renewed:
                until = found.ends.isoformat()
                _log.info("certificate of %s renewed, good until %s", self.own.role, until)
        trouble = self._trouble or (self._standing.trouble if self._standing else "")
        if trouble and trouble != self._said:  # once, not at every try
            _log.warning("%s", self.warning(datetime.now(UTC)))
        self._said = trouble
        return again_s


def _aside(own: Own) -> Standing:
    """What `python -m vault.renew_own` says; raises `RenewalError` when it says nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "vault.renew_own"],
            input=msgspec.json.encode(own, enc_hook=str),
            capture_output=True,
            timeout=ASIDE_S,
            cwd=_HOME,
            check=False,
        )
        if done.returncode:
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise RenewalError(shown("".join(last) or f"ended with {done.returncode}", most=300))
        return msgspec.json.decode(done.stdout, type=Standing)
    except (OSError, subprocess.TimeoutExpired, msgspec.DecodeError) as error:
        raise RenewalError(f"the process that renews gave no answer: {error}") from error


def _offset() -> float:
    return time.time() - time.monotonic()
