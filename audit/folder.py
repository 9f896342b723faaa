"""Reading a log folder: its segments, its kept checkpoints, and whether a notary writes it.

Nothing is judged here and nothing is written. What is longer than any entry or note comes in
pieces, so that no file can fill the memory.
"""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO, FileIO
from itertools import count, islice
from pathlib import Path

from audit.checkpoint import open_checkpoint
from audit.entry import MAX_LINE_BYTES
from audit.errors import AuditRefusedError, TrustError
from audit.note import MAX_NOTE_BYTES, Vkey
from audit.verify import SEGMENT_ENTRIES

LONGEST = MAX_LINE_BYTES + 2  # of a line that is read whole
_CHUNK_BYTES = 256 * 1024


def segments(path: Path, *, upto: int | None = None) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The segments of a log folder by name, each with its lines and their newlines.

    With `upto`, no more than so many lines in all.
    """
    lines = 0
    for file in segment_files(path):
        if upto is None:
            yield file.stem, lines_of(file)
            continue
        if lines >= upto:
            return
        counted = count(lines)
        some = lines_of(file, most=upto - lines)
        yield file.stem, (line for line, _ in zip(some, counted, strict=False))
        lines = next(counted)


def notes(path: Path, *, upto: str | None = None) -> Iterator[str]:
    """The kept checkpoints in order, as far as `upto`; torn bytes at an end are left out.

    A note has one empty line inside and another after it. Bytes that are no text become a note
    that does not verify.
    """
    for _, note in notes_by_file(path):
        yield note
        if note == upto:
            return


def notes_by_file(path: Path) -> Iterator[tuple[str, str]]:
    """The kept checkpoints in order, each with the name of its file."""
    for file in sorted((path / "checkpoints").glob("*.notes")):
        note, empty = b"", 0
        for line in lines_of(file):
            note, empty = note + line, empty + (line == b"\n")
            if empty == 2 or len(note) > 2 * MAX_NOTE_BYTES:  # noqa: PLR2004 - inside and after
                text, note, empty = note[:-1].decode(errors="replace"), b"", 0
                yield file.name, text


def latest(path: Path) -> str | None:
    """The published checkpoint; after a crash it may be older than the last kept one."""
    file = path / "checkpoint"
    return file.read_bytes().decode(errors="replace") if file.exists() else None


def segment_files(path: Path) -> list[Path]:
    """The segment files in order. Raises `TrustError` when this is no log folder."""
    if not (path / "seg").is_dir():
        raise TrustError(f"{path}: expected a log folder with seg/ in it")
    return sorted(file for file in (path / "seg").glob("*.jsonl") if file.stem.isdecimal())


def lines_of(file: Path, *, most: int | None = None) -> Iterator[bytes]:
    """The lines of one file with their newlines."""
    with file.open("rb", buffering=0) as stream:
        yield from islice(_lines(stream), most)


def _lines(stream: FileIO) -> Iterator[bytes]:
    """As `readline(LONGEST)` again and again, in a third of the time."""
    rest = b""
    while chunk := stream.read(_CHUNK_BYTES):
        lines = BytesIO(rest + chunk).readlines()
        rest = b"" if lines[-1].endswith(b"\n") else lines.pop()
        if max(map(len, lines), default=0) <= LONGEST:
            yield from lines
        else:
            yield from (piece for line in lines for piece in _pieces(line))
        while len(rest) >= LONGEST:
            yield rest[:LONGEST]
            rest = rest[LONGEST:]
    if rest:
        yield rest


def _pieces(line: bytes) -> Iterator[bytes]:
    return (line[at : at + LONGEST] for at in range(0, len(line), LONGEST))


def lines_from(path: Path, *, since: int = 0) -> Iterator[bytes]:
    """Lines without newlines, from the segment on that holds entry `since`."""
    for file in segment_files(path):
        if int(file.stem) + SEGMENT_ENTRIES > since:
            for line in lines_of(file):
                yield line.rstrip(b"\n")


def size_while_written(path: Path, published: str | None, vkeys: Sequence[Vkey]) -> int | None:
    """The published size when a notary has the log open, None when all that is there counts.

    What the notary writes while we read is for the next verification: it is not signed yet, or by
    a checkpoint that was published after we began.
    """
    if published is None:
        return None
    try:
        with (path / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(AuditRefusedError):  # the verifier says what is wrong with it
            return open_checkpoint(published, vkeys).size
    except OSError:
        pass
    return None
