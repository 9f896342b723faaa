"""Two who act on one incident at once, in a real PostgreSQL, and what every race must leave.

`at_once` lets them go from one barrier. `in_order` forces who is first: a third connection holds
the outbox, so that the first stands in the middle of its transaction with the incident's row
locked when the second comes; then the outbox is let go.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from appliance.errors import SentinelError
from appliance.lifecycle import FINAL, MOVES, State

WITHIN_S = 15
Call = Callable[[], object]


@dataclass(slots=True)
class Racer:
    """One call in its own thread: what it answered or raised."""

    call: Call
    answer: object = None
    error: SentinelError | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            self.answer = self.call()
        except SentinelError as error:
            self.error = error
        finally:
            self.done.set()

    @property
    def won(self) -> bool:
        return self.error is None


def at_once(*calls: Call) -> list[Racer]:
    """All from one barrier."""
    barrier = threading.Barrier(len(calls))

    def from_the_barrier(call: Call) -> Call:
        def run() -> object:
            barrier.wait(WITHIN_S)
            return call()

        return run

    racers = [Racer(from_the_barrier(call)) for call in calls]
    threads = [threading.Thread(target=racer.run) for racer in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN_S)
    assert all(racer.done.is_set() for racer in racers), "a race without an end"
    return racers


def in_order(dsn: str, first: Call, second: Call) -> list[Racer]:
    """The first is in the middle of its transaction when the second begins."""
    racers = [Racer(first), Racer(second)]
    with psycopg.connect(dsn) as gate:
        gate.execute("LOCK TABLE audit_outbox IN EXCLUSIVE MODE")
        for number, racer in enumerate(racers, start=1):
            threading.Thread(target=racer.run).start()
            _until_it_waits(dsn, racer, number)
        gate.rollback()
    for racer in racers:
        assert racer.done.wait(WITHIN_S), "a race without an end"
    return racers


def _until_it_waits(dsn: str, racer: Racer, number: int) -> None:
    """Until so many wait for locks, or this one is through without (it skips what is locked)."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    deadline = time.monotonic() + WITHIN_S
    with psycopg.connect(dsn, autocommit=True) as looking:
        while not racer.done.is_set():
            row = looking.execute(query).fetchone()
            if row and row[0] >= number:
                return
            assert time.monotonic() < deadline, "it neither waits nor ends"
            time.sleep(0.002)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Everything that the database says of one incident."""

    state: str
    moves: list[tuple[str, str]]  # of its history, in order
    entries: list[dict[str, Any]]  # of the log and of the outbox, in order
    approvals: list[str]
    orders: list[str]
    reports: list[str]

    def count(self, kind: str) -> int:
        """Entries of a type."""
        return sum(entry["type"] == kind for entry in self.entries)


def told(dsn: str, incident: str) -> Told:
    """Read it, from outside."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:

        def rows(text: str) -> list[dict[str, Any]]:
            return connection.execute(text.encode(), {"i": incident}).fetchall()

        (state,) = rows("SELECT state FROM incident WHERE incident_id = %(i)s")
        history = rows(
            "SELECT before, after FROM incident_history WHERE incident_id = %(i)s"
            " AND before IS NOT NULL ORDER BY history_id"
        )
        entries = rows(
            "SELECT type, body FROM (SELECT seq AS place, 0 AS waits, type,"
            " line::jsonb -> 'body' AS body FROM audit_entry WHERE incident = %(i)s"
            " UNION ALL SELECT outbox_id, 1, type, body FROM audit_outbox"
            " WHERE incident = %(i)s) both_places ORDER BY waits, place"
        )
        return Told(
            state=state["state"],
            moves=[(row["before"], row["after"]) for row in history],
            entries=entries,
            approvals=_ids(rows("SELECT approval_id FROM approval WHERE incident_id = %(i)s")),
            orders=_ids(rows("SELECT order_id FROM exec_order WHERE incident_id = %(i)s")),
            reports=_ids(
                rows(
                    "SELECT report_id FROM report JOIN exec_order USING (order_id)"
                    " WHERE incident_id = %(i)s"
                )
            ),
        )


def _ids(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [str(next(iter(row.values()))) for row in rows]


def demand_one_story(dsn: str, incident: str) -> Told:
    """A named state, one line of history for each move, and log entries that say the same."""
    story = told(dsn, incident)
    state = State(story.state)
    for before, after in story.moves:
        assert State(after) in MOVES[State(before)], f"no such move: {before} → {after}"
    for one, following in zip(story.moves, story.moves[1:], strict=False):
        assert one[1] == following[0], f"a gap in the history: {story.moves}"
    assert story.moves[-1][1] == state, f"{state} is not where the history ends: {story.moves}"
    doubled = [move for move, times in Counter(story.moves).items() if times > 1]
    assert not doubled, f"made twice: {doubled}"
    logged = [
        (entry["body"]["from"], entry["body"]["to"])
        for entry in story.entries
        if entry["type"] == "incident.state"
    ]
    assert logged == story.moves
    leaving = [move for move in story.moves if move[0] == State.AWAITING]
    assert len(leaving) <= 1, f"answered twice: {leaving}"
    granted = [
        entry["body"]["approval_id"] for entry in story.entries if entry["type"] == "approval.grant"
    ]
    assert granted == story.approvals, "the log's approvals are not the database's"
    ordered = [
        entry["body"]["order_id"] for entry in story.entries if entry["type"] == "exec.order"
    ]
    assert ordered == story.orders, "the log's orders are not the database's"
    assert len(story.orders) <= 1, f"{len(story.orders)} orders"
    results = story.count("exec.result") + story.count("exec.refuse")
    assert results == len(story.reports), "the log's results are not the database's"
    closing = [entry for entry in story.entries if entry["type"] == "incident.close"]
    assert len(closing) == (state in FINAL), f"{state}, and {len(closing)} closing entries"
    for entry in closing:
        assert entry["body"]["entries"] == len(story.entries), "entries that nobody counted"
    return story
