"""Take a part of a log out, whole and checkable on its own, into a folder.

Three kinds: `whole` (entries from 0), `range` (from some entry on, with the proof of its first one,
which tells the tree before it) and `incident` (one incident's entries, each with its own proof, and
no other entry's content). Each ends under the smallest kept checkpoint that covers it, so that the
same part is the same bytes however far the log has grown; a range is given up to that checkpoint.

Bytes that entries only commit to (`blobs/DIGEST`, a salt of 32 bytes and the data) come along,
except those withheld by the field that names them: the commitment stays, and so does every proof.
Packing and signing is `bundle`, the report `story`, `html_report` and `pdf_report`.
"""

import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from audit import proof
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.entry import decode, leaf_hash
from audit.epoch_notes import Demands, NoteWatch
from audit.errors import AuditRefusedError, EntryError, ExportError
from audit.exported import Export, Kind, encode_export
from audit.folder import latest, lines_of, notes, notes_by_file, segment_files
from audit.merkle import HASH_BYTES, Subtrees

_DIGEST = re.compile(rb'"([0-9a-f]{64})"')


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which part, and which committed bytes to leave out."""

    first: int = 0
    last: int | None = None  # None: as far as the newest checkpoint
    incident: str | None = None
    withhold: tuple[str, ...] = ()  # names of fields in bodies


def take_out(log: Path, target: Path, wanted: Wanted, demands: Demands) -> Export:
    """Write the part into an empty folder. Raises `ExportError` when there is no such part."""
    if wanted.incident is None:
        export = _take_range(log, target, wanted, demands)
    else:
        export = _take_incident(log, target, wanted.incident, demands)
    (target / "log.vkey").write_text(f"{demands.vkeys[0]}\n")
    for name in ("epochs.note", "root.vkey") if demands.epochs is not None else ():
        if (log / name).exists():
            (target / name).write_bytes((log / name).read_bytes())
    withheld = _take_blobs(log, target, wanted)
    export = msgspec.structs.replace(export, withheld=tuple(withheld))
    (target / "export.json").write_bytes(encode_export(export))
    return export


def exported_lines(folder: Path) -> Iterator[bytes]:
    """The entries of an export in order, without newlines."""
    alone = folder / "entries.jsonl"
    for file in [alone] if alone.exists() else segment_files(folder):
        for line in lines_of(file):
            yield line.rstrip(b"\n")


def _take_range(log: Path, target: Path, wanted: Wanted, demands: Demands) -> Export:
    newest, _ = _covering(log, None, demands)
    last = newest.size - 1 if wanted.last is None else wanted.last
    if not 0 <= wanted.first <= last < newest.size:
        raise ExportError(f"entries {wanted.first} to {last}: the signed log has {newest.size}")
    checkpoint, note = _covering(log, last, demands)
    _copy_segments(log, target, wanted.first, checkpoint.size)
    for name, kept in notes_by_file(log):
        if wanted.first < _size_of(kept) <= checkpoint.size:
            (target / "checkpoints").mkdir(exist_ok=True)
            with (target / "checkpoints" / name).open("ab") as stream:
                stream.write(kept.encode() + b"\n")
    (target / "checkpoint").write_text(note)
    if wanted.first:
        leaves = _leaves(log, checkpoint.size)
        _write_proof(target, wanted.first, note, leaves)
    kind: Kind = "range" if wanted.first else "whole"
    return _export(
        kind, checkpoint, wanted.first, checkpoint.size - 1, checkpoint.size - wanted.first
    )


def _take_incident(log: Path, target: Path, incident: str, demands: Demands) -> Export:
    newest, _ = _covering(log, None, demands)
    leaves, found = _leaves(log, newest.size), dict[int, bytes]()
    needle = incident.encode()
    for seq, line in enumerate(_lines(log, newest.size)):
        if needle in line and _is_of(line, incident):
            found[seq] = line
    if not found:
        raise ExportError(f"the signed log has no entry of incident {incident}")
    checkpoint, note = _covering(log, max(found), demands)
    (target / "entries.jsonl").write_bytes(b"".join(b"%b\n" % line for line in found.values()))
    (target / "checkpoint").write_text(note)
    under = _Leaves(leaves.data[: checkpoint.size * HASH_BYTES])
    for seq in found:
        _write_proof(target, seq, note, under)
    export = _export("incident", checkpoint, min(found), max(found), len(found))
    return msgspec.structs.replace(export, incident=incident)


class _Leaves:
    """Leaf hashes side by side, and the subtrees over them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.node = Subtrees(lambda n: self.data[n * HASH_BYTES : (n + 1) * HASH_BYTES])


def _leaves(log: Path, size: int) -> _Leaves:
    leaves = _Leaves(b"".join(leaf_hash(line) for line in _lines(log, size)))
    if len(leaves.data) != size * HASH_BYTES:
        held = len(leaves.data) // HASH_BYTES
        raise ExportError(
            f"{size} entries are signed, {held} of them are here: export from entry 0"
        )
    return leaves


def _lines(log: Path, size: int) -> Iterator[bytes]:
    lines = (line.rstrip(b"\n") for file in segment_files(log) for line in lines_of(file))
    return islice(lines, size)


def _write_proof(target: Path, seq: int, note: str, leaves: _Leaves) -> None:
    (target / "proofs").mkdir(exist_ok=True)
    text = proof.make(seq, note, leaves.node)
    (target / "proofs" / f"{seq:012}.tlog-proof").write_text(text)


def _covering(log: Path, seq: int | None, demands: Demands) -> tuple[Checkpoint, str]:
    """The smallest kept checkpoint over this entry; None: the newest there is."""
    published = latest(log)
    only = [] if published is None else [published]
    best: tuple[Checkpoint, str] | None = None
    watch = NoteWatch(demands, lambda _seq, _sentence: None)
    for note in chain(only, notes(log)) if seq is None else chain(notes(log), only):
        try:
            wanted = _matters(note, seq, best) and (demands.simple or watch.counts(note))
            checkpoint = open_checkpoint(note, demands.all_keys) if wanted else None
        except AuditRefusedError:
            continue  # verifying says what is wrong with it
        if checkpoint is not None:
            best = (checkpoint, note)
    if best is None:
        raise ExportError("no checkpoint of the log's key covers this: nothing here is signed")
    return best


def _matters(note: str, seq: int | None, best: tuple[Checkpoint, str] | None) -> bool:
    """Whether it would be a better one, so that few signatures need to be checked."""
    size = _size_of(note)
    if seq is None:
        return best is None or size > best[0].size
    return size > seq and (best is None or size < best[0].size)


def _size_of(note: str) -> int:
    line = note.split("\n", 2)[1:2]
    return int(line[0]) if line and line[0].isascii() and line[0].isdecimal() else -1


def _copy_segments(log: Path, target: Path, first: int, size: int) -> None:
    (target / "seg").mkdir()
    at = 0
    for file in segment_files(log):
        at = int(file.stem)
        if at >= size:
            return
        lines = islice(lines_of(file), max(0, first - at), size - at)
        head = next(lines, None)
        if head is None:
            continue
        with (target / "seg" / f"{max(at, first):012}.jsonl").open("wb") as stream:
            stream.write(head)
            stream.writelines(lines)


def _is_of(line: bytes, incident: str) -> bool:
    try:
        return decode(line).incident == incident
    except EntryError:
        return False


def _take_blobs(log: Path, target: Path, wanted: Wanted) -> list[str]:
    """Committed bytes that the entries name; returns what was withheld."""
    blobs = log / "blobs"
    if not blobs.is_dir():
        return []
    withheld: dict[str, list[str]] = {}  # by digest, so that no other entry gives it away
    there: set[str] = set()
    for line in exported_lines(target):
        named = [d.decode() for d in _DIGEST.findall(line) if (blobs / d.decode()).is_file()]
        there.update(named)
        for seq, field, digest in _named(line) if named else []:
            if digest in named and field in wanted.withhold:
                withheld.setdefault(digest, []).append(f"{seq} {field} {digest}")
    for digest in there - withheld.keys():
        (target / "blobs").mkdir(exist_ok=True)
        (target / "blobs" / digest).write_bytes((blobs / digest).read_bytes())
    return sorted(each for some in withheld.values() for each in some)


def _named(line: bytes) -> list[tuple[int, str, str]]:
    try:
        entry = decode(line)
    except EntryError:
        return []
    return [(entry.seq, field, text) for field, text in _digests(entry.body)]


def _digests(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a body with the field that holds it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _digests(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _digests(item, field)
    elif isinstance(value, str):
        yield field, value


def _export(kind: Kind, checkpoint: Checkpoint, first: int, last: int, entries: int) -> Export:
    return Export(
        kind=kind,
        log=checkpoint.origin,
        first=first,
        last=last,
        entries=entries,
        size=checkpoint.size,
        incident=None,
    )
