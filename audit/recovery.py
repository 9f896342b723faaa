"""What a restart makes of the bytes it finds: follow the lines, then judge what they mean.

The decisions of the crash table in `README.md`, without a disk: `Walk` takes the lines one by one,
`rollback` says why a log must not be continued. Moving is `hub/segment_recovery.py`, signing
`hub/segments.py`.
"""

import msgspec

from audit.chain import Head, check
from audit.checkpoint import Checkpoint
from audit.entry import Entry, decode, leaf_hash
from audit.errors import EntryError
from audit.merkle import Range

MAX_UNSIGNED = 4096  # entries that may ever wait for a signature; more means checkpoints were taken


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A size, and the root it must have, as somebody remembers it; None where only the size is."""

    who: str  # "the signed checkpoint", "the database": for the sentence
    size: int
    root: bytes | None


class Walk:
    """Follows the lines of one log from a known head, folding the tree and noting roots."""

    def __init__(self, *, log: str, head: Head, tree: Range, hashed_below: int) -> None:
        self.head = head
        self.tree = tree
        self.roots = {tree.size: tree.root()}
        self._log = log
        self._hashed_below = hashed_below  # what a remembered root covers need not be parsed

    def take(self, line: bytes, *, wanted: frozenset[int]) -> Entry | None:
        """Take the next line with its newline; its entry unless only hashed.

        Raises `EntryError` when the line is not whole or does not follow; nothing is taken then.
        The root is noted at each `wanted` size.
        """
        if not line.endswith(b"\n"):
            raise EntryError("the line is not whole")
        line = line[:-1]
        entry = None
        if self.head.size >= self._hashed_below:
            entry = decode(line)
            check(entry, log=self._log, head=self.head)
        leaf = leaf_hash(line)
        self.tree.append(leaf)
        self.head = Head(size=self.tree.size, prev=leaf.hex())
        if self.tree.size in wanted:
            self.roots[self.tree.size] = self.tree.root()
        return entry


def rollback(walk: Walk, *, remembered: list[Known], signed: Checkpoint | None) -> str | None:
    """Why this log must not be continued, in one sentence; None when it may.

    Whoever remembers more than the file holds, or another root for the same size, is evidence
    that the disk was set back or rewritten. No program may decide that this is fine.
    """
    size = walk.head.size
    for known in remembered:
        if known.size > size:
            return (
                f"{known.who} knows {known.size} entries, the segment files hold {size} that"
                " follow one another: a disk or backup was set back, or entries were altered"
            )
        if known.root is not None and walk.roots[known.size] != known.root:
            return (
                f"{known.who} has another root for the first {known.size} entries than the"
                " segment files: this is a different history"
            )
    unsigned = size - (signed.size if signed else 0)
    if unsigned > MAX_UNSIGNED:
        return (
            f"{unsigned} entries have no signature, more than ever wait for one"
            f" ({MAX_UNSIGNED}): checkpoints were removed"
        )
    return None
