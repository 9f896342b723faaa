"""The index of the audit log in PostgreSQL, and the outbox that feeds the log.

The segment files are the record; this is what makes them quick to search. Entries go in and
outbox rows go out in one transaction, so a row is either waiting or indexed, never neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from hub.errors import DatabaseError, NotaryError
from hub.persist.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """How far the index is."""

    size: int
    checkpoint_size: int
    checkpoint_root: str | None


def how_far(db: Database) -> Indexed:
    """The number of indexed entries, and the last checkpoint that is indexed."""
    with db.transaction() as work:
        row = work.one("last_indexed") or {}
    last = row.get("seq")
    return Indexed(
        size=0 if last is None else last + 1,
        checkpoint_size=row.get("size") or 0,
        checkpoint_root=row.get("root"),
    )


def waiting(db: Database, *, most: int) -> list[dict[str, Any]]:
    """The next outbox rows, in order."""
    with db.transaction() as work:
        return work.all("take_outbox", limit=most)


def next_inc_seq(db: Database, incident: str) -> int:
    """How many entries of an incident are indexed, which is the number of its next one."""
    with db.transaction() as work:
        row = work.one("next_inc_seq", incident=incident)
    return int(row["inc_seq"]) if row else 0


def index(
    db: Database,
    entries: Sequence[dict[str, Any]],
    *,
    size: int,
    root: str,
    note: str,
    signed_at: datetime,
) -> None:
    """Index entries and their checkpoint, and let their outbox rows go, in one transaction."""
    with db.transaction() as work:
        if entries:
            work.many("index_entry", list(entries))
            work.run("leave_outbox", entry_ids=[entry["entry_id"] for entry in entries])
        work.run("add_checkpoint", size=size, root=root, note=note, now=signed_at)


class NotaryLock:
    """One notary at a time: a lock that PostgreSQL lets go when this connection ends."""

    def __init__(self, dsn: str) -> None:
        try:
            self._connection = psycopg.connect(dsn, autocommit=True, connect_timeout=5)
            taken = self._connection.execute("SELECT pg_try_advisory_lock(73656)").fetchone()
        except psycopg.Error as error:
            raise DatabaseError(f"PostgreSQL: {str(error).strip().splitlines()[0]}") from error
        if taken is None or not taken[0]:
            raise NotaryError("another notary holds the lock in the database")

    @property
    def held(self) -> bool:
        """Whether the connection, and with it the lock, still lives."""
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        """Let the lock go."""
        self._connection.close()
