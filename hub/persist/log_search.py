"""Find entries in the index of the audit log.

The index says where to look; what an entry says, and whether it was signed, is read and checked
elsewhere (`hub/console/log_check.py`). Pages are told by entry numbers, not counted, so that an
address shows the same entries for ever, however far the log grows.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hub.persist.database import Database, Work

Row = dict[str, Any]

NEIGHBOURS = 3  # entries of the same incident to show on each side of one


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries; empty means any."""

    incident: str = ""
    who: str = ""  # the actor's name
    node: str = ""  # it says so, or its incident is of this node
    type: str = ""
    since: datetime | None = None
    until: datetime | None = None  # not included
    text: str = ""
    before: int | None = None  # entries below this number, newest first
    after: int | None = None  # or: the ones next above this number

    @property
    def everything(self) -> bool:
        """Whether nothing is left out, so that the numbers must be dense."""
        filters = (self.incident, self.who, self.node, self.type, self.text)
        return not any(filters) and self.since is None and self.until is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Some entries, newest first, and whether there are more on either side."""

    rows: list[Row]
    newer: bool
    older: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What the index says of the log: its newest checkpoint, and the entries asked for."""

    found: Found
    checkpoint: Row | None


def find(db: Database, wanted: Wanted, *, size: int) -> Index:
    """A page of entries."""
    with db.transaction() as work:
        return Index(found=_found(work, wanted, size), checkpoint=work.one("view_checkpoint"))


def entry(db: Database, seq: int) -> Index:
    """One entry, or none."""
    with db.transaction() as work:
        row = work.one("entry_of", seq=seq)
        found = Found(rows=[row] if row else [], newer=False, older=False)
        return Index(found=found, checkpoint=work.one("view_checkpoint"))


def beside(db: Database, *, incident: str, inc_seq: int) -> list[Row]:
    """The entries of an incident around one of them, with that one."""
    with db.transaction() as work:
        return work.all(
            "entries_beside",
            incident=incident,
            first=inc_seq - NEIGHBOURS,
            last=inc_seq + NEIGHBOURS,
        )


def actors(db: Database) -> list[str]:
    """Names to choose from."""
    with db.transaction() as work:
        return [row["name"] for row in work.all("who_acts")]


def leaf_hashes(db: Database, first: int, end: int) -> list[bytes]:
    """The indexed leaf hashes of a range; fewer than asked for when entries are missing."""
    with db.transaction() as work:
        return [bytes(row["leaf_hash"]) for row in work.all("leaf_hashes", first=first, end=end)]


def _found(work: Work, wanted: Wanted, size: int) -> Found:
    filters = {
        "incident": wanted.incident,
        "who": wanted.who,
        "node": wanted.node,
        "type": wanted.type,
        "since": wanted.since,
        "until": wanted.until,
        "text": wanted.text,
        "limit": size + 1,
    }
    if wanted.after is not None:
        rows = work.all("entries_after", after=wanted.after, **filters)
        more = len(rows) > size
        return Found(rows=rows[:size][::-1], newer=more, older=True)
    rows = work.all("entries_before", before=wanted.before, **filters)
    return Found(rows=rows[:size], newer=wanted.before is not None, older=len(rows) > size)
