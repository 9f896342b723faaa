"""One log's folder: where its files are, and the system calls that write them.

Nothing here knows what a line or a note means; `hub/segments.py` decides what is written and in
which order, `hub/segment_recovery.py` what a restart makes of it.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from audit.entry import MAX_LINE_BYTES
from hub.errors import LogLockedError, RollbackError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Disk:
    """The system calls of the write path; doubles fail, lie or stop at any of them."""

    def write(self, fd: int, data: memoryview) -> int:
        """Write some of the data; the answer says how much, which may be less than all."""
        return os.write(fd, data)

    def sync(self, fd: int) -> None:
        """When it returns, the file's bytes and length are on disk."""
        os.fdatasync(fd)

    def sync_folder(self, fd: int) -> None:
        """When it returns, the folder's names are on disk."""
        os.fsync(fd)

    def truncate(self, fd: int, size: int) -> None:
        """As ftruncate(2)."""
        os.ftruncate(fd, size)

    def replace(self, source: Path, target: Path) -> None:
        """As rename(2); durable once the folder is synced."""
        source.replace(target)


class GrowingFile:
    """One file that only grows, through a `Disk`."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self._disk = disk
        fresh = not path.exists()
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if fresh:
            _sync_folder(path.parent, disk)

    def append(self, data: bytes) -> None:
        """Write and sync; on a full disk the file is set back to the length it had."""
        before = os.fstat(self.fd).st_size
        try:
            _write_all(self.fd, data, self._disk)
        except OSError as error:
            if error.errno in FULL:
                with contextlib.suppress(OSError):
                    self._disk.truncate(self.fd, before)
            raise
        self._disk.sync(self.fd)

    def close(self) -> None:
        """Let the file go; nothing is written."""
        os.close(self.fd)


class LogFolder:
    """The files of one log: their names, the two that grow now, and the lock over them all."""

    def __init__(self, path: Path, disk: Disk, *, segment_entries: int) -> None:
        self.path, self.disk, self.segment_entries = path, disk, segment_entries
        self.pinned_key = path / "log.vkey"
        self.published = path / "checkpoint"
        self._segment: GrowingFile | None = None
        self._notes: GrowingFile | None = None
        self._lock = -1

    def open(self) -> None:
        """Make what is missing and take the lock, or raise `LogLockedError`."""
        for part in ("seg", "checkpoints", "torn"):
            (self.path / part).mkdir(mode=0o750, parents=True, exist_ok=True)
        self._lock = os.open(
            self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640
        )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            self._lock = -1
            raise LogLockedError(f"{self.path}: another notary has this log open") from error

    def close(self) -> None:
        """Let the files and the lock go; nothing is written."""
        for file in (self._segment, self._notes):
            if file is not None:
                file.close()
        self._segment = self._notes = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def first_of(self, seq: int) -> int:
        """The first entry of the segment that has, or will have, this entry."""
        return seq - seq % self.segment_entries

    def segment(self, seq: int) -> Path:
        """The segment of an entry."""
        return self.path / "seg" / f"{self.first_of(seq):012}.jsonl"

    def segments(self) -> list[Path]:
        """The segments there are, in order."""
        return sorted((self.path / "seg").glob("[0-9]*.jsonl"))

    def notes(self, seq: int) -> Path:
        """Where the notes are kept whose last entry is this one."""
        return self.path / "checkpoints" / f"{self.first_of(seq):012}.notes"

    def notes_files(self) -> list[Path]:
        """The files of kept notes there are, in order."""
        return sorted((self.path / "checkpoints").glob("*.notes"))

    def torn(self, name: str) -> Path:
        """Where torn bytes of this name wait to be recorded."""
        return self.path / "torn" / f"{name}.pending"

    def torn_files(self) -> list[Path]:
        """Torn bytes that are not recorded yet, in order."""
        return sorted((self.path / "torn").glob("*.pending"))

    def segment_file(self, seq: int) -> GrowingFile:
        """The segment of an entry, open to grow."""
        self._segment = self._growing(self._segment, self.segment(seq))
        return self._segment

    def notes_file(self, seq: int) -> GrowingFile:
        """The kept notes of an entry's segment, open to grow."""
        self._notes = self._growing(self._notes, self.notes(seq))
        return self._notes

    def lines_from(self, seq: int) -> Iterator[bytes]:
        """The lines of an entry's segment from that entry on, with their newlines."""
        return islice(lines(self.segment(seq)), seq - self.first_of(seq), None)

    def replace(self, path: Path, data: bytes) -> None:
        """Give a file other bytes: it has the old ones or the new ones, never a part."""
        temporary = path.with_name(path.name + ".tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            _write_all(fd, data, self.disk)
            self.disk.sync(fd)
        finally:
            os.close(fd)
        self.rename(temporary, path)

    def rename(self, source: Path, target: Path) -> None:
        """Rename within a folder; when this returns, the new name is on disk."""
        self.disk.replace(source, target)
        _sync_folder(target.parent, self.disk)

    def cut(self, path: Path, size: int) -> None:
        """Shorten a file, a sealed one too; when this returns, it is so on disk."""
        path.chmod(0o640)
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self.disk.truncate(fd, size)
            self.disk.sync(fd)
        finally:
            os.close(fd)

    def _growing(self, file: GrowingFile | None, path: Path) -> GrowingFile:
        if file is not None and file.path == path:
            return file
        if file is not None:
            file.close()
        return GrowingFile(path, self.disk)


def lines(path: Path) -> Iterator[bytes]:
    """The lines with their newlines; one that is longer than any entry comes in pieces."""
    try:
        with path.open("rb") as file:
            yield from iter(partial(file.readline, MAX_LINE_BYTES + 2), b"")
    except FileNotFoundError as error:
        raise RollbackError(f"{path}: the segment is missing") from error


def last_line(path: Path) -> bytes:
    """The last line, without its newline."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - MAX_LINE_BYTES - 2))
        return file.read().rstrip(b"\n").rpartition(b"\n")[2]


def _write_all(fd: int, data: bytes, disk: Disk) -> None:
    view = memoryview(data)
    while view:
        view = view[disk.write(fd, view) :]


def _sync_folder(folder: Path, disk: Disk) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        disk.sync_folder(fd)
    finally:
        os.close(fd)
