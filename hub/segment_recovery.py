"""What a restart makes of a log's files: read and judge them, then make good what a crash left.

The decisions are in `audit/recovery.py`; here the files are read for them and mended after them.
`SegmentLog` does steps 6 to 8 through its ordinary `append` and `checkpoint`.

    1. the log is of this key             5. cut what does not follow, into torn/
    2. read the last signed checkpoint    6. begin a new log with log.open
    3. follow the lines                   7. record what was torn
    4. refuse a rollback: until here      8. sign what is not signed
       nothing on disk is changed
"""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from appliance.ids import uuid7
from audit.chain import GENESIS, Head, after
from audit.checkpoint import Checkpoint, open_checkpoint, split_notes
from audit.entry import leaf_hash
from audit.errors import EntryError
from audit.merkle import Range
from audit.note import Vkey, parse_vkey
from audit.recovery import Known, Walk, rollback
from audit.signer import LogKeys
from hub.errors import NotaryError, RollbackError
from hub.segment_files import LogFolder, last_line, lines
from hub.segment_tail import Tail

Cut = tuple[Path, int]
"""A file, and the length that is left of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The log as its files tell it, found to be the one that was signed and indexed."""

    head: Head
    tree: Range
    tail: Tail
    signed: Checkpoint | None  # the last one
    note: str  # of that checkpoint
    cuts: list[Cut]  # still to be done


def find(files: LogFolder, *, origin: str, keys: LogKeys, indexed: Known) -> Found:
    """Read the log and change nothing; raises `RollbackError` when it must not be continued."""
    _demand_own_key(files, origin=origin, vkey=keys.opening)  # 1
    signed, note, torn_note = _last_signed(files, keys.trusted)  # 2
    remembered = [indexed]
    if signed is not None:
        remembered.append(Known(who="the signed checkpoint", size=signed.size, root=signed.root))
    follow = partial(_follow, files, origin=origin, remembered=remembered, indexed=indexed.size)
    walk, tail, cuts = follow(cached=True)  # 3
    if rollback(walk, remembered=remembered, signed=signed):
        walk, tail, cuts = follow(cached=False)  # a kept subtree root may be wrong
    reason = rollback(walk, remembered=remembered, signed=signed)
    if reason:  # 4
        raise RollbackError(f"{files.path}: {reason}")
    return Found(
        head=walk.head,
        tree=walk.tree,
        tail=tail,
        signed=signed,
        note=note,
        cuts=[*cuts, *torn_note],
    )


def mend(files: LogFolder, found: Found, *, vkey: str) -> None:
    """Make the files say what was found, and no more."""
    for path, offset in found.cuts:  # 5
        _tear_off(files, path, offset)
    if not files.pinned_key.exists():
        files.replace(files.pinned_key, f"{vkey}\n".encode())
    if found.signed is not None:
        _publish_again(files, found.signed, found.note.encode())


def _demand_own_key(files: LogFolder, *, origin: str, vkey: str) -> None:
    name = parse_vkey(vkey).name
    if name != origin:
        raise NotaryError(f"the signer is of {name}, the log is {origin}")
    pinned = files.pinned_key
    if pinned.exists() and pinned.read_text().strip() != vkey:
        raise NotaryError(f"{pinned}: the log was begun under another key than the signer's")


def _last_signed(
    files: LogFolder, vkeys: Sequence[Vkey]
) -> tuple[Checkpoint | None, str, list[Cut]]:
    """The last checkpoint and its note; the third item says where a kept note was torn."""
    found: list[tuple[Checkpoint, str]] = []
    torn: list[Cut] = []
    for path in reversed(files.notes_files()):
        data = path.read_bytes()
        notes, end = split_notes(data)
        if end < len(data):
            torn.append((path, end))
        if notes:
            found.append((open_checkpoint(notes[-1], vkeys), notes[-1]))
            break
    with contextlib.suppress(FileNotFoundError):
        note = files.published.read_bytes().decode(errors="replace")
        found.append((open_checkpoint(note, vkeys), note))
    if not found:
        return None, "", torn
    return *max(found, key=lambda pair: pair[0].size), torn


def _follow(
    files: LogFolder, *, origin: str, remembered: list[Known], indexed: int, cached: bool
) -> tuple[Walk, Tail, list[Cut]]:
    """Walk the lines to where they end or stop following; the answer says what to cut."""
    tail = Tail()
    sizes = frozenset(known.size for known in remembered)
    first = files.first_of(max(0, min(sizes) - 1))
    tree, head = _before(files, first, cached=cached)
    walk = Walk(log=origin, head=head, tree=tree, hashed_below=min(sizes))
    paths = [p for p in files.segments() if int(p.stem) >= first]
    for path in paths:
        offset = 0
        for line in lines(path):
            try:
                _demand_place(files, path, walk.head.size)
                entry = walk.take(line, wanted=sizes)
            except EntryError:
                rest = paths[paths.index(path) + 1 :]
                return walk, tail, [(path, offset), *((later, 0) for later in rest)]
            offset += len(line)
            if entry is not None and entry.seq >= indexed:
                tail.remember(entry)
    return walk, tail, []


def _demand_place(files: LogFolder, path: Path, seq: int) -> None:
    if path != files.segment(seq):
        raise EntryError(f"{path}: entry {seq} does not belong here")


def _before(files: LogFolder, first: int, *, cached: bool) -> tuple[Range, Head]:
    """The tree and the head of the sealed segments before an entry."""
    tree, head = Range(), Head(size=0, prev=GENESIS)
    level = files.segment_entries.bit_length() - 1
    for start in range(0, first, files.segment_entries):
        path = files.segment(start)
        if not path.exists():
            raise RollbackError(f"{path}: the segment is missing")
        tree.append_subtree(level, _segment_root(files, path, cached=cached))
    if first:
        head = after(Head(size=first - 1, prev=""), last_line(files.segment(first - 1)))
    return tree, head


def _segment_root(files: LogFolder, path: Path, *, cached: bool) -> bytes:
    """The root of a sealed segment, kept beside it; the signed root above checks it."""
    kept = path.with_suffix(".root")
    if cached:
        with contextlib.suppress(OSError, ValueError):
            root = bytes.fromhex(kept.read_text())
            if len(root) == hashlib.sha256().digest_size:
                return root
    tree = Range()
    for line in lines(path):
        tree.append(leaf_hash(line.rstrip(b"\n")))
    if tree.size != files.segment_entries:
        raise RollbackError(
            f"{path}: {tree.size} entries, a sealed segment has {files.segment_entries}"
        )
    with contextlib.suppress(OSError):  # only a help to the next start
        kept.write_text(tree.root().hex())
    return tree.root()


def _tear_off(files: LogFolder, path: Path, offset: int) -> None:
    """Move the bytes from `offset` on to torn/, to be recorded."""
    data = path.read_bytes()[offset:]
    if data and all(kept.read_bytes() != data for kept in files.torn_files()):
        files.replace(files.torn(uuid7()), data)
    # A crash here leaves the bytes in both places; a restart cuts again and knows the copy.
    files.cut(path, offset)


def _publish_again(files: LogFolder, signed: Checkpoint, note: bytes) -> None:
    """Where a crash or a hand left one of the two places of the last note without it."""
    kept = files.notes(signed.size - 1)
    if not kept.exists() or note not in kept.read_bytes():
        files.notes_file(signed.size - 1).append(note + b"\n")
    if not files.published.exists() or files.published.read_bytes() != note:
        files.replace(files.published, note)
