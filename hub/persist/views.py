"""What the console shows, read in one transaction a page; nothing here changes anything."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from appliance.lifecycle import FINAL, NEEDS_A_PERSON, State
from appliance.people import Credential, People
from appliance.report_chain import fingerprint
from hub.persist import identity
from hub.persist.database import Database, Work
from hub.persist.people import people_in_force, usable
from hub.persist.reports import sentence
from hub.persist.status import NOTARY_SILENT as SILENT
from hub.persist.status import LogState, log_state

Row = dict[str, Any]

SORTS = ("attention", "newest", "oldest", "severity", "node", "state")
GROUPS: dict[str, frozenset[State]] = {
    "needs": NEEDS_A_PERSON,
    "active": frozenset(State) - FINAL,
    "over": FINAL,
}
"""Names for sets of states, as the state filter offers them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which incidents to list; empty means any."""

    state: str = ""  # a state, or a key of GROUPS
    node: str = ""
    condition: str = ""
    severity: str = ""
    text: str = ""
    sort: str = "attention"
    page: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some rows of a longer list."""

    rows: list[Row]
    number: int
    size: int
    more: bool  # there is a next page
    total: int | None = None  # None: too many to count each time


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """All there is to show of one incident."""

    row: Row  # the incident with its plan, judgement and approval, where it has them
    history: list[Row]
    reports: list[Row]
    audit: list[Row]
    manual: list[Row]  # what persons did by hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What there is to know about answering a plan: who may, with which keys, who did."""

    people: People | None  # in force
    credentials: tuple[Credential, ...]  # of the person who looks, in force and not revoked
    given: list[Row]  # who said yes to what is shown now, in order


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """What every page says at its top: who is alive, what waits, whether the log is written."""

    parts: list[Row]
    log: LogState
    counts: dict[str, int] = field(default_factory=dict)
    forks: list[Row] = field(default_factory=list)  # nodes that do not follow our log
    halts: list[Row] = field(default_factory=list)  # in force for one node or all
    halted: int = 0  # nodes that say so, whatever was ordered
    troubles: int = 0  # with the numbers of nodes' reports, and their keys

    @property
    def needs(self) -> int:
        """How many incidents wait for a person."""
        return sum(self.counts.get(state, 0) for state in NEEDS_A_PERSON)


def incidents(db: Database, wanted: Filter, *, size: int) -> Page:
    """A page of incidents."""
    states = GROUPS.get(wanted.state) or ({State(wanted.state)} if wanted.state else None)
    number = max(1, wanted.page)
    with db.transaction() as work:
        rows = work.all(
            "view_incidents",
            states=None if states is None else sorted(states),
            node=wanted.node,
            condition=wanted.condition,
            severity=wanted.severity,
            text=wanted.text,
            sort=wanted.sort,
            needs=sorted(NEEDS_A_PERSON),
            final=sorted(FINAL),
            limit=size,
            offset=(number - 1) * size,
        )
    total = rows[0]["total"] if rows else 0
    return Page(rows=rows, number=number, size=size, more=number * size < total, total=total)


def incident(db: Database, incident_id: str) -> Details | None:
    """One incident, or None when there is none."""
    with db.transaction() as work:
        row = work.one("view_incident", incident_id=incident_id)
        if row is None:
            return None
        return Details(
            row=row,
            history=work.all("view_history", incident_id=incident_id),
            reports=work.all("view_reports", incident_id=incident_id),
            audit=_read(work.all("view_incident_audit", incident_id=incident_id)),
            manual=work.all("manual_of", incident_id=incident_id),
        )


def answers(db: Database, *, incident_id: str, shown_digest: str, name: str) -> Answers:
    """Who may answer what is shown now, and who did."""
    with db.transaction() as work:
        people = people_in_force(work)
        return Answers(
            people=people,
            credentials=usable(work, people, name) if people else (),
            given=work.all("approvals_of", incident_id=incident_id, shown_digest=shown_digest),
        )


def credentials(db: Database, *, of: str | None = None) -> tuple[list[Row], People | None]:
    """All keys, or one person's, and the people in force."""
    with db.transaction() as work:
        rows = work.all("credential_all") if of is None else work.all("credential_of", operator=of)
        return rows, people_in_force(work)


def people(db: Database) -> People | None:
    """The people in force."""
    with db.transaction() as work:
        return people_in_force(work)


def nodes(db: Database) -> list[Row]:
    """All nodes by name, with what is wrong with their reports in words."""
    with db.transaction() as work:
        rows = work.all("view_nodes", final=sorted(FINAL))
        troubles, held = work.all("open_troubles"), work.all("held_counts")
        numbers = {row["node"]: row["number"] for row in work.all("last_numbers")}
    waiting = {row["node"]: row["count"] for row in held}
    shown = identity.shown_by_nodes(db)
    for row in rows:
        row["certificate"] = shown.get(row["name"])
        name, offered, pinned = row["name"], row["result_key_offered"], row["result_key"]
        row["last_report"] = numbers.get(name, 0)
        row["held"] = waiting.get(name, 0)
        row["fingerprint"] = fingerprint(pinned) if pinned else ""
        row["offered"] = fingerprint(offered) if offered else ""
        row["troubles"] = [
            sentence(one["kind"], one["first"], one["last"])
            for one in troubles
            if one["node"] == name
        ]
    return rows


def node_names(db: Database) -> list[str]:
    """The names of all nodes."""
    with db.transaction() as work:
        return [row["name"] for row in work.all("view_node_names")]


def strip(db: Database, *, now: datetime) -> Strip:
    """Who is alive and what waits."""
    with db.transaction() as work:
        parts = work.all("view_heartbeats")
        log, counts = log_state(work, now=now), _counts(work)
        forks = work.all("view_forks")
        halts = work.all("halts_in_force")
        halted = (work.one("count_halted") or {"count": 0})["count"]
        troubles = (work.one("count_troubles") or {"count": 0})["count"]
    for part in parts:
        part["alive"] = now - part["at"] <= SILENT
    return Strip(
        parts=parts,
        log=log,
        counts=counts,
        forks=forks,
        halts=halts,
        halted=halted,
        troubles=troubles,
    )


def witnesses(db: Database) -> list[Row]:
    """Where each node stands in the audit log, the one furthest behind first."""
    with db.transaction() as work:
        return work.all("view_witnesses")


def forks(db: Database) -> list[Row]:
    """Nodes that do not follow our log."""
    with db.transaction() as work:
        return work.all("view_forks")


def elsewhere(db: Database) -> dict[str, list[Row]]:
    """Witnesses that are no nodes, and decisions to go on after the log was set back."""
    with db.transaction() as work:
        return {"outside": work.all("view_outside"), "decisions": work.all("view_decisions")}


def cosigned_note(db: Database) -> str | None:
    """The newest cosigned checkpoint with its cosignatures, or the newest one without."""
    with db.transaction() as work:
        row = work.one("view_cosigned")
    if row is None:
        return None
    return str(row["note"]) + "".join(f"{line}\n" for line in row["cosignatures"])


def fork_notes(db: Database, node: str) -> Row | None:
    """The newest evidence a node gave that the log forked."""
    with db.transaction() as work:
        return work.one("view_fork_notes", node=node)


def outbox(db: Database) -> Row:
    """How many entries wait for the notary, and since when."""
    with db.transaction() as work:
        return work.one("view_outbox") or {"waiting": 0, "oldest": None}


def alive(db: Database) -> bool:
    """Whether the database answers; raises `DatabaseError` when it does not."""
    with db.transaction() as work:
        return work.one("view_outbox") is not None


def _counts(work: Work) -> dict[str, int]:
    return {row["state"]: row["count"] for row in work.all("view_counts")}


def _read(rows: list[Row]) -> list[Row]:
    """Audit rows with their line read as `entry`; the line itself stays what was signed."""
    for row in rows:
        row["entry"] = json.loads(row["line"])
    return rows
