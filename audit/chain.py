"""The chain: where the next entry stands, and whether one stands where it says.

Entry n + 1 carries the hex leaf hash of entry n. The same hash is the leaf of the tree, so there
is one history, not two that could be told apart.
"""

import msgspec

from audit.entry import Entry, EntryDraft, leaf_hash, timestamp
from audit.errors import EntryError

GENESIS = "0" * 64  # `prev` of entry 0


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a log: how many entries, and the hex leaf hash the next one must carry."""

    size: int
    prev: str


START = Head(size=0, prev=GENESIS)


def following(draft: EntryDraft, *, log: str, head: Head, inc_seq: int | None) -> Entry:
    """The draft as the next entry. Raises `EntryError` when its time has no zone."""
    return Entry(
        v=1,
        log=log,
        seq=head.size,
        prev=head.prev,
        id=draft.id,
        ts=timestamp(draft.at),
        type=draft.type,
        actor=draft.actor,
        incident=draft.incident,
        inc_seq=inc_seq,
        outcome=draft.outcome,
        body=draft.body,
    )


def after(head: Head, line: bytes) -> Head:
    """The head once this line is in the log."""
    return Head(size=head.size + 1, prev=leaf_hash(line).hex())


def check(entry: Entry, *, log: str, head: Head) -> None:
    """Raise `EntryError`, naming what differs, unless the entry follows this head of this log."""
    if entry.log != log:
        raise EntryError(f"expected an entry of {log}, got one of {entry.log}")
    if entry.seq != head.size:
        raise EntryError(f"expected entry {head.size}, got {entry.seq}")
    if entry.prev != head.prev:
        raise EntryError(f"entry {entry.seq} does not carry the hash of the entry before it")
