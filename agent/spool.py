"""What the hub does not durably have yet, on disk, in order; and what the agent must not forget.

One SQLite file (write-ahead log, every commit synced): an event and the memory of having made it
are one transaction, so a crash neither loses a finding nor makes it twice. When the spool is full
the oldest events are dropped and counted, reports last; the count becomes an event of its own.
"""

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agent.errors import SpoolError
from appliance.ids import uuid7
from appliance.journal import shown
from appliance.records import (
    Cleared,
    Dropped,
    Event,
    Finding,
    Persisting,
    Report,
    from_json,
    to_json,
)

log = logging.getLogger(__name__)

LOST = "lost_findings"  # what is kept under this name: ids of findings the hub never had
_MAX_LOST = 1000  # more than a host has subjects to find
_MAX_ASIDE = 200  # refused events are kept for a person to look at, not for ever
_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    kind     TEXT NOT NULL,
    at       TEXT NOT NULL,
    data     BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS aside (
    event_id TEXT PRIMARY KEY,
    reason   TEXT NOT NULL,
    at       TEXT NOT NULL,
    data     BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, data BLOB NOT NULL);
"""
# Findings and recoveries go before reports: an order's outcome is told by nothing else.
_OLDEST = "SELECT seq, at, length(data) FROM event WHERE kind != 'dropped' {} ORDER BY seq LIMIT 1"
_VICTIMS = (_OLDEST.format("AND kind != 'report'"), _OLDEST.format(""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One event on its way to the hub."""

    seq: int
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How full the spool is, and what it could not keep."""

    waiting: int
    bytes: int
    dropped: int  # since the spool was made
    aside: int


class Spool:
    """The spool in one file. Its methods may be called from any thread."""

    def __init__(self, path: Path, *, limit_bytes: int) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        self._db = self._open()
        self._bytes = int(self._value("SELECT coalesce(sum(length(data)), 0) FROM event"))

    def on_news(self, listener: Callable[[], None]) -> None:
        """Call this whenever an event was added."""
        self._listeners.append(listener)

    def put(self, events: Sequence[Event], *, kept: dict[str, bytes] | None = None) -> None:
        """Make events and what is to be remembered durable together, or raise `SpoolError`.

        When this returns a crash loses none of it.
        """
        before = self._bytes
        try:
            with self._transaction():
                for event in events:
                    self._insert(event)
                for name, data in (kept or {}).items():
                    self._keep(name, data)
                self._make_room()
        except SpoolError:
            self._bytes = before
            raise
        if events:
            for listener in self._listeners:
                listener()

    def kept(self, name: str) -> bytes | None:
        """What was remembered under a name."""
        with self._transaction():
            row = self._db.execute("SELECT data FROM kept WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def after(self, seq: int, *, most: int) -> list[Waiting]:
        """The next events in order; a count of dropped ones takes its place among them first."""
        with self._transaction():
            self._tell_dropped()
            rows = self._db.execute(
                "SELECT seq, data FROM event WHERE seq > ? ORDER BY seq LIMIT ?", (seq, most)
            ).fetchall()
        return [Waiting(seq=row[0], event=from_json(bytes(row[1]), Event)) for row in rows]

    def acknowledged(self, event_ids: Sequence[str]) -> None:
        """The hub has these durably; forget them."""
        with self._transaction():
            self._db.executemany("DELETE FROM event WHERE event_id = ?", [(i,) for i in event_ids])
            self._measure()

    def set_aside(self, event_id: str, *, reason: str) -> None:
        """The hub will never accept this event; keep it for a person, out of the way."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO aside"
                " SELECT event_id, ?, ?, data FROM event WHERE event_id = ?",
                (shown(reason), datetime.now(UTC).isoformat(), event_id),
            )
            self._db.execute("DELETE FROM event WHERE event_id = ?", (event_id,))
            self._db.execute(
                "DELETE FROM aside WHERE event_id NOT IN"
                " (SELECT event_id FROM aside ORDER BY at DESC LIMIT ?)",
                (_MAX_ASIDE,),
            )
            self._measure()

    def counts(self) -> Counts:
        """How full it is."""
        with self._transaction():
            total = self._db.execute("SELECT data FROM kept WHERE name = 'dropped_total'")
            row = total.fetchone()
            return Counts(
                waiting=int(self._value("SELECT count(*) FROM event")),
                bytes=self._bytes,
                dropped=int(row[0]) if row else 0,
                aside=int(self._value("SELECT count(*) FROM aside")),
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _open(self) -> sqlite3.Connection:
        try:
            return _connect(self._path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # no room, no right: not a broken file
                raise SpoolError(f"{self._path}: cannot open the spool: {error}") from error
            aside = self._path.with_name(f"{self._path.name}.damaged-{uuid7()}")
            log.warning("%s is damaged (%s); moved to %s, starting anew", self._path, error, aside)
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").rename(f"{aside}{suffix}")
            return _connect(self._path)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of the block or nothing; whatever SQLite refuses becomes one readable line."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")  # from here on a restart finds it
            except sqlite3.Error as error:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise SpoolError(f"{self._path}: cannot write: {error}") from error

    def _insert(self, event: Event) -> None:
        data = to_json(event)
        added = self._db.execute(
            "INSERT OR IGNORE INTO event (event_id, kind, at, data) VALUES (?, ?, ?, ?)",
            (event.event_id, _kind(event), _moment(event).isoformat(), data),
        )
        self._bytes += len(data) if added.rowcount > 0 else 0

    def _keep(self, name: str, data: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, data))

    def lost_findings(self) -> list[str]:
        """Findings that were dropped before the hub had them, once there is room again."""
        if self._bytes * 2 > self._limit_bytes:
            return []
        return msgspec.json.decode(self.kept(LOST) or b"[]", type=list[str])

    def _make_room(self) -> None:
        dropped: list[datetime] = []
        while self._bytes > self._limit_bytes:
            row = None
            for query in _VICTIMS:
                row = row or self._db.execute(query).fetchone()
            if row is None:
                break
            self._remember_lost(row[0])
            self._db.execute("DELETE FROM event WHERE seq = ?", (row[0],))
            self._bytes -= row[2]
            dropped.append(datetime.fromisoformat(row[1]))
        if dropped:
            self._count_dropped(dropped)

    def _remember_lost(self, seq: int) -> None:
        """The hub will never hear of this finding; the detector must, or it stays silent."""
        query = "SELECT data FROM event WHERE seq = ? AND kind = 'finding'"
        row = self._db.execute(query, (seq,)).fetchone()
        if row is None:
            return
        body = from_json(bytes(row[0]), Event).body
        earlier = self._db.execute("SELECT data FROM kept WHERE name = ?", (LOST,)).fetchone()
        lost = msgspec.json.decode(bytes(earlier[0]), type=list[str]) if earlier else []
        if isinstance(body, Finding):
            self._keep(LOST, msgspec.json.encode([*lost, body.finding_id][-_MAX_LOST:]))

    def _count_dropped(self, moments: Sequence[datetime]) -> None:
        log.error(
            "the spool is full (%d bytes): dropped %d events", self._limit_bytes, len(moments)
        )
        row = self._db.execute("SELECT data FROM kept WHERE name = 'dropped'").fetchone()
        earlier = [from_json(bytes(row[0]), Dropped)] if row else []
        count = Dropped(
            count=len(moments) + sum(one.count for one in earlier),
            first_at=min([*moments, *(one.first_at for one in earlier)]),
            last_at=max([*moments, *(one.last_at for one in earlier)]),
        )
        self._keep("dropped", to_json(count))
        total = self._db.execute("SELECT data FROM kept WHERE name = 'dropped_total'").fetchone()
        self._keep("dropped_total", str(int(total[0] if total else 0) + len(moments)).encode())

    def _tell_dropped(self) -> None:
        row = self._db.execute("SELECT data FROM kept WHERE name = 'dropped'").fetchone()
        if row:
            self._insert(Event(event_id=uuid7(), body=from_json(bytes(row[0]), Dropped)))
            self._db.execute("DELETE FROM kept WHERE name = 'dropped'")

    def _measure(self) -> None:
        self._bytes = int(self._value("SELECT coalesce(sum(length(data)), 0) FROM event"))

    def _value(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # a commit is on disk when it returns
        db.execute("PRAGMA cache_size = -512")  # KiB; the agent has to stay small
        db.executescript(_SCHEMA)
        db.execute("SELECT count(*) FROM event, aside, kept LIMIT 1").fetchone()
    except sqlite3.Error:
        db.close()
        raise
    path.chmod(0o600)
    return db


def _kind(event: Event) -> str:
    return str(event.body.__struct_config__.tag)


def _moment(event: Event) -> datetime:
    """When it happened, for the count of what was dropped."""
    match event.body:
        case Finding(fired_at=moment) | Report(finished_at=moment) | Dropped(last_at=moment):
            return moment
        case Cleared(cleared_at=moment) | Persisting(measured_at=moment):
            return moment
