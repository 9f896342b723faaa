"""What a node keeps when the log forks, and how a person ends it.

`fork.json` is there from the first fork until a person clears it; while it is there no order runs
and no checkpoint is accepted. Its two notes go to `forks/` when it is cleared, so that one can show
that one key signed both. The command is in `agent/clear_fork.py`.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from agent.durable import remember, remembered, sync_folder
from agent.errors import JournalError
from appliance.records import Count, Digest, Record

MOST_FOREIGN = 4  # notes that another key signed: anybody can make as many as they like


class Seen(Record, frozen=True, kw_only=True):
    """The newest checkpoint this node accepted; the log must extend it for ever."""

    size: Count
    root: Digest
    note: str = ""  # as it was signed; empty: remembered by an older version
    decided: tuple[Digest, ...] = ()  # decisions that led here, see `decided.py`; each counts once


class Fork(Record, frozen=True, kw_only=True):
    """Two checkpoints that one log cannot have, or of which nobody showed that it can."""

    at: datetime
    reason: str
    accepted: str  # the signed note this node had accepted
    refused: str  # the signed note that does not extend it
    cleared_at: datetime | None = None

    @property
    def notes(self) -> str:
        """Both, as in a `.notes` file: each followed by an empty line."""
        return "".join(f"{note}\n" for note in (self.accepted, self.refused) if note)


class ForkFile:
    """The fork in force, if there is one, and the evidence, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "fork.json"
        self.kept = folder / "forks"

    def read(self) -> Fork | None:
        """The fork that nobody has cleared yet."""
        return remembered(self._file, Fork, "the fork that was found")

    def begin(self, fork: Fork) -> None:
        """From here on no order runs, over restarts, until a person clears it."""
        remember(self._file, fork)

    def keep_foreign(self, fork: Fork) -> None:
        """Keep what another key signed, once, as long as there is room; it stops nothing."""
        digest = hashlib.sha256(fork.refused.encode()).hexdigest()
        path = self.kept / f"foreign-{digest[:16]}.json"
        try:
            self.kept.mkdir(mode=0o700, exist_ok=True)
            if not path.exists() and len(list(self.kept.glob("foreign-*"))) < MOST_FOREIGN:
                remember(path, fork)
        except OSError as error:
            raise JournalError(f"{self.kept}: cannot write: {error.strerror}") from error

    def clear(self, *, now: datetime) -> Fork | None:
        """A person has looked: keep the evidence, and let orders run again."""
        fork = self.read()
        if fork is None:
            return None
        cleared = Fork(
            at=fork.at,
            reason=fork.reason,
            accepted=fork.accepted,
            refused=fork.refused,
            cleared_at=now,
        )
        self.kept.mkdir(mode=0o700, exist_ok=True)
        remember(self.kept / f"cleared-{now:%Y%m%dT%H%M%S}.json", cleared)
        # From here on the evidence is in `forks/`; a crash before the next line is cleared again.
        self._file.unlink()
        sync_folder(self._file.parent)
        return cleared


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Between executor and command, and between the executor's threads."""
    try:
        descriptor = os.open(folder / "log.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"{folder}: cannot lock: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
