"""The end of the log that is not indexed yet, and what drafts become behind it.

An id that is already in the log is not written again. Of the indexed entries the caller knows the
ids (the index is unique); those of the tail, usually one group, are remembered here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import msgspec

from audit.chain import Head, following
from audit.entry import Entry, EntryDraft, decode, encode_and_read, leaf_hash

NextIncSeq = Callable[[str], int]
"""The number of indexed entries of an incident, which is the `inc_seq` of its next one."""


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that is on disk."""

    entry: Entry
    line: bytes  # canonical, without newline
    leaf_hash: bytes

    @property
    def seq(self) -> int:
        """Its place in the log."""
        return self.entry.seq

    @classmethod
    def read(cls, line: bytes) -> Self:
        """The entry of a line as it is in its file, with or without the newline."""
        line = line.rstrip(b"\n")
        return cls(entry=decode(line), line=line, leaf_hash=leaf_hash(line))


@dataclass(slots=True, kw_only=True)
class Tail:
    """What the index cannot tell yet: ids, and numbers within incidents."""

    ids: dict[str, int] = field(default_factory=dict)  # to their places in the log
    incidents: dict[str, tuple[int, int]] = field(default_factory=dict)  # next inc_seq, last seq

    def remember(self, entry: Entry) -> None:
        """The entry is on disk, and not in the index."""
        self.ids[entry.id] = entry.seq
        if entry.incident is not None and entry.inc_seq is not None:
            self.incidents[entry.incident] = (entry.inc_seq + 1, entry.seq)

    def forget(self, *, below: int) -> None:
        """The index has all entries before this one."""
        self.ids = {id_: seq for id_, seq in self.ids.items() if seq >= below}
        self.incidents = {key: at for key, at in self.incidents.items() if at[1] >= below}

    def build(
        self,
        drafts: Sequence[EntryDraft],
        *,
        log: str,
        head: Head,
        next_inc_seq: NextIncSeq,
        line_of: Callable[[int], bytes],
    ) -> tuple[list[Appended], list[Appended]]:
        """An item for each draft, and those of them that are still to be written."""
        answer: list[Appended] = []
        fresh: dict[str, Appended] = {}
        next_of: dict[str, int] = {}
        for draft in drafts:
            if draft.id in self.ids:
                answer.append(Appended.read(line_of(self.ids[draft.id])))
                continue
            if draft.id not in fresh:
                inc_seq = self._number(draft.incident, next_of, next_inc_seq)
                entry = following(draft, log=log, head=head, inc_seq=inc_seq)
                line, entry = encode_and_read(entry)
                made = Appended(entry=entry, line=line, leaf_hash=leaf_hash(line))
                fresh[draft.id] = made
                head = Head(size=made.seq + 1, prev=made.leaf_hash.hex())
            answer.append(fresh[draft.id])
        return answer, list(fresh.values())

    def _number(
        self, incident: str | None, next_of: dict[str, int], next_inc_seq: NextIncSeq
    ) -> int | None:
        if incident is None:
            return None
        if incident not in next_of:
            known = self.incidents.get(incident)
            next_of[incident] = next_inc_seq(incident) if known is None else known[0]
        next_of[incident] += 1
        return next_of[incident] - 1
