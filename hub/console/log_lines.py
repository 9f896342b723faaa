"""Entries by number, read from the segment files now.

The only thing remembered between two reads is where in a file every 64th line begins, so that one
entry costs one seek and a few lines. A file that is another one now, or whose line at that place
says another number, is looked through again from its beginning.
"""

import os
import threading
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from audit.entry import MAX_LINE_BYTES, decode
from audit.errors import EntryError
from audit.verify import SEGMENT_ENTRIES

EVERY = 64  # lines between two marks: eight bytes of memory for some 30 kB of log


@dataclass(slots=True)
class _Marks:
    identity: tuple[int, int]  # device and inode
    offsets: "array[int]" = field(default_factory=lambda: array("Q", [0]))


@dataclass(slots=True)
class SegmentLines:
    """The lines of one log folder. Safe between threads."""

    folder: Path
    _marks: dict[int, _Marks] = field(default_factory=dict)
    _lock: "threading.Lock" = field(default_factory=threading.Lock)

    def line(self, seq: int) -> bytes | None:
        """The line at an entry's place, as it is on disk now, without its newline; None: no line.

        It may say anything. Raises `OSError` when the file cannot be read.
        """
        with self._lock:
            line = self._read(seq)
            if line is None or _number(line) != seq:
                self._marks.pop(_first(seq), None)
                line = self._read(seq)
            return line

    def lines(self, first: int, end: int) -> list[bytes]:
        """The lines of a range, as far as there are any."""
        found: list[bytes] = []
        while first < end:
            stop = min(end, _first(first) + SEGMENT_ENTRIES)
            with self._path(first).open("rb") as stream:
                some = islice(_each(stream), first % SEGMENT_ENTRIES, stop - _first(first))
                found.extend(line.rstrip(b"\n") for line in some)
            first = stop
        return found

    def _read(self, seq: int) -> bytes | None:
        number = seq % SEGMENT_ENTRIES
        try:
            stream = self._path(seq).open("rb")
        except FileNotFoundError:
            return None
        with stream:
            marks = self._marks_of(_first(seq), stream)
            while len(marks) <= number // EVERY:
                stream.seek(marks[-1])
                length = sum(map(len, islice(_each(stream), EVERY)))
                if not length:
                    return None
                marks.append(marks[-1] + length)
            stream.seek(marks[number // EVERY])
            line = next(islice(_each(stream), number % EVERY, None), b"")
        return line[:-1] if line.endswith(b"\n") else None

    def _marks_of(self, first: int, stream: BinaryIO) -> "array[int]":
        status = os.fstat(stream.fileno())
        identity = (status.st_dev, status.st_ino)
        marks = self._marks.get(first)
        if marks is None or marks.identity != identity:
            marks = self._marks[first] = _Marks(identity=identity)
        return marks.offsets

    def _path(self, seq: int) -> Path:
        return self.folder / "seg" / f"{_first(seq):012}.jsonl"


def _first(seq: int) -> int:
    return seq - seq % SEGMENT_ENTRIES


def _each(stream: BinaryIO) -> Iterator[bytes]:
    return iter(partial(stream.readline, MAX_LINE_BYTES + 2), b"")


def _number(line: bytes) -> int | None:
    try:
        return decode(line).seq
    except EntryError:
        return None
