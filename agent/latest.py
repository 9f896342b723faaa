"""The latest moment this node has seen: a clock that is set back makes nothing valid again.

The later of the clock and of what was seen before counts, and is remembered on disk. A clock that
once was far ahead leaves its mark; an administrator who knows better removes the file.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from agent.errors import JournalError

_WRITE_AFTER = timedelta(minutes=10)  # so precisely the mark is known after a restart


class _Mark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    at: datetime


class Latest:
    """A clock that only goes forward."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._at = self._written = _read(file)

    def now(self, clock: datetime) -> datetime:
        """The later of this clock and everything seen; remembered when it is news."""
        if self._at is None or clock > self._at:
            self._at = clock
        if self._written is None or self._at - self._written >= _WRITE_AFTER:
            write_whole(self._file, msgspec.json.encode(_Mark(at=self._at)))
            self._written = self._at
        return self._at


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file; a crash leaves the old one or the new one, whole."""
    temporary = path.with_suffix(".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)  # from here on a restart finds the new one
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise JournalError(f"{path}: cannot write: {error.strerror}") from error


def _read(file: Path) -> datetime | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Mark).at.astimezone(UTC)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise JournalError(f"{file}: the latest time cannot be read: {error}") from error
