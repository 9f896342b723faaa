"""Store what nodes tell, many events in one transaction, each at most once.

Whoever sends is named by its certificate. An event that can never be accepted (another node's
order, an unknown finding) is answered with a reason and stored nowhere; the others still commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from appliance import records
from appliance.ids import uuid7
from appliance.journal import shown
from appliance.lifecycle import FINAL, State
from appliance.records import (
    HUB_ONLY,
    Cleared,
    Dropped,
    Event,
    Finding,
    Outcome,
    Persisting,
    Report,
)
from hub.persist import reports, stolen
from hub.persist.database import Database, Work
from hub.persist.incidents import move, record_history
from hub.persist.outbox import Actor, actor, offer
from hub.persist.reports import Word

ENDED_BY_ITSELF = [  # from these, the end of the condition ends the incident
    State.OPEN,
    State.REASONING,
    State.PROPOSED,
    State.AWAITING,
    State.MANUAL,
    State.APPROVED,
    State.REHEARSED,
    State.UNRESOLVED,
    State.UNKNOWN,
    State.REFUSED,
    State.REJECTED,
    State.EXPIRED,
]

AFTER_REPORT = {
    Outcome.REFUSED: State.REFUSED,
    Outcome.DRY_RUN: State.REHEARSED,
    Outcome.SUCCEEDED: State.EXECUTED,
    Outcome.FAILED: State.UNRESOLVED,
    Outcome.TIMED_OUT: State.UNRESOLVED,
    Outcome.UNKNOWN: State.UNKNOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One event and the node that its stream's certificate names."""

    node: str
    event: Event


def store_events(db: Database, batch: Sequence[Received], *, now: datetime) -> list[str | None]:
    """Store a batch durably; for each event None (accepted, or already here) or why never."""
    with db.transaction() as work:
        return [_store(work, received, now=now) for received in batch]


def _store(work: Work, received: Received, *, now: datetime) -> str | None:
    node, event = received.node, received.event
    kind = str(event.body.__struct_config__.tag)
    if not work.run("remember_event", event_id=event.event_id, node=node, kind=kind, now=now):
        return None  # a repeat: the first one is durable, or this very batch holds it
    by, why = actor("node", node, node=node), None
    match event.body:
        case Finding() as finding:
            why = _open(work, finding, node=node, by=by, now=now)
        case Cleared() as cleared:
            why = _clear(work, cleared, node=node, by=by, now=now)
        case Persisting() as persisting:
            why = _persist(work, persisting, node=node, by=by, now=now)
        case Report() as report:
            why = take_report(work, report, node=node, now=now)
        case Dropped() as dropped:
            work.run("count_dropped", node=node, count=dropped.count)
            body = {"node": node, "count": dropped.count}
            offer(work, type="node.drop", actor=by, at=now, body=body)
    if why is not None:
        work.run("forget_event", event_id=event.event_id)
    return why


def _open(work: Work, finding: Finding, *, node: str, by: Actor, now: datetime) -> str | None:
    if finding.condition in HUB_ONLY or stolen.is_the_hubs(finding.finding_id):
        return f"{finding.condition.value} is no finding of a node"
    incident_id = uuid7()
    added = work.run(
        "open_incident",
        incident_id=incident_id,
        node=node,
        finding_id=finding.finding_id,
        condition=finding.condition.value,
        subject=shown(finding.subject),
        severity=finding.severity.value,
        summary=shown(finding.summary),
        finding=Jsonb(finding),
        evidence_digest=records.digest_of(finding),
        fired_at=finding.fired_at,
        now=now,
    )
    if not added:
        return None  # this finding already has its incident, under another event id
    record_history(
        work, incident_id=incident_id, before=None, after=State.OPEN, by=by, now=now,
        note=finding.summary,
    )  # fmt: skip
    offer(
        work,
        type="incident.open",
        actor=by,
        incident=incident_id,
        at=now,
        body={
            "finding_id": finding.finding_id,
            "node": node,
            "condition": finding.condition.value,
            "subject": shown(finding.subject),
            "severity": finding.severity.value,
            "evidence_digest": records.digest_of(finding),
        },
    )
    return None


def _clear(work: Work, cleared: Cleared, *, node: str, by: Actor, now: datetime) -> str | None:
    if stolen.is_the_hubs(cleared.finding_id):
        return "what the hub found no node can end"
    row = work.one("lock_finding", node=node, finding_id=cleared.finding_id)
    if row is None:
        return f"no incident of {node} has the finding {shown(cleared.finding_id, most=80)}"
    incident_id = str(row["incident_id"])
    work.run("mark_cleared", incident_id=incident_id, cleared_at=cleared.cleared_at)
    ended = row["state"] in FINAL  # its `incident.close` has counted its entries already
    offer(
        work,
        type="incident.recover",
        actor=by,
        incident=None if ended else incident_id,
        at=now,
        body={
            "finding_id": cleared.finding_id,
            "incident_id": incident_id,
            "node": node,
            "order_id": cleared.order_id,
            "cleared_at": cleared.cleared_at.isoformat(),
        },
    )
    _end(work, incident_id=incident_id, by=by, now=now)
    return None


def _end(work: Work, *, incident_id: str, by: Actor, now: datetime) -> None:
    """The condition is gone: after our own commands `resolved`, else `recovered`.

    While an order is on its way the incident stays; its report will end it.
    """
    resolved = move(
        work, incident_id=incident_id, before=[State.EXECUTED], after=State.RESOLVED, by=by,
        now=now, note="measured again: the condition is gone",
    )  # fmt: skip
    if not resolved:
        move(
            work, incident_id=incident_id, before=ENDED_BY_ITSELF, after=State.RECOVERED, by=by,
            now=now, note="the condition ended by itself",
        )  # fmt: skip


def _persist(
    work: Work, persisting: Persisting, *, node: str, by: Actor, now: datetime
) -> str | None:
    row = work.one("lock_finding", node=node, finding_id=persisting.finding_id)
    if row is None:
        return f"no incident of {node} has the finding {shown(persisting.finding_id, most=80)}"
    note = f"measured again: still {persisting.observed:g}, limit {persisting.limit:g}"
    move(
        work, incident_id=str(row["incident_id"]), before=[State.EXECUTED],
        after=State.UNRESOLVED, by=by, now=now, note=note,
    )  # fmt: skip
    return None


def take_report(work: Work, report: Report, *, node: str, now: datetime) -> str | None:
    """A node's word on an order, or on a rollback; why not, when it is nobody's word."""
    by, word = actor("node", node, node=node), reports.whose(work, report, node=node)
    if isinstance(word, str):
        return word
    if word is Word.HELD:
        return reports.hold(work, report, node=node, now=now)
    row = work.one("lock_order", order_id=report.order_id)
    if row is None and word is Word.EXECUTOR:
        _of_a_stranger(work, report, node=node, by=by, now=now)
        return None
    if row is None or row["node"] != node:
        return f"no order {shown(report.order_id, most=80)} was given to {node}"
    incident_id = str(row["incident_id"])
    if not work.run(
        "add_report",
        report_id=report.report_id,
        order_id=report.order_id,
        outcome=report.outcome.value,
        body=Jsonb(report),
        now=now,
    ):
        return None  # the same report under another event id
    if word is Word.EXECUTOR:
        reports.count(work, report, node=node, now=now)
    key = reports.pinned_key(work, node)
    offer(work, actor=by, incident=incident_id, at=now, **_result_entry(report, word, key))
    before, after = _move_of(report)
    note = _sentence(report) if word is Word.EXECUTOR else f"{_sentence(report)} (not signed)"
    moved = move(
        work, incident_id=incident_id, before=before, after=after, by=by, now=now, note=note
    )
    if not moved:  # the incident has moved on; what the node says is part of its history
        state = State(row["state"])
        record_history(
            work, incident_id=incident_id, before=state, after=state, by=by, now=now, note=note
        )
    if row["cleared_at"] is not None:
        _end(work, incident_id=incident_id, by=by, now=now)
    return None


def _of_a_stranger(work: Work, report: Report, *, node: str, by: Actor, now: datetime) -> None:
    """A node reports on an order that is not ours: somebody else has our order key, or our past."""
    reports.count(work, report, node=node, now=now)
    key, number = reports.pinned_key(work, node) or "", report.number
    reports.trouble(work, node=node, key=key, kind="stranger", first=number, last=number, now=now)
    offer(work, actor=by, at=now, **_result_entry(report, Word.EXECUTOR, key))


def _move_of(report: Report) -> tuple[list[State], State]:
    """Which move a report makes; after a rollback the incident waits for a person."""
    if report.undo_of is not None:
        return [State.DISPATCHED, State.UNKNOWN, State.EXECUTED], State.UNRESOLVED
    return [State.DISPATCHED, State.UNKNOWN], AFTER_REPORT[report.outcome]


def _result_entry(report: Report, word: Word, key: str | None) -> dict[str, Any]:
    body = reports.about(report, word, key=key)
    if report.undo_of is not None:
        body |= {
            "undo_of": report.undo_of,
            "step": shown(report.refused_step or "") or None,
            "reason": shown(report.reason),
            "outcome": report.outcome.value,
            "steps": _steps(report),
        }
        return {"type": "exec.rollback", "outcome": report.outcome.value, "body": body}
    if report.outcome is Outcome.REFUSED:
        body |= {"step": shown(report.refused_step or ""), "reason": shown(report.reason)}
        return {"type": "exec.refuse", "outcome": "refused", "body": body}
    body |= {
        "outcome": report.outcome.value,
        "mode": "dry_run" if report.outcome is Outcome.DRY_RUN else "live",
        "steps": _steps(report),
    }
    return {"type": "exec.result", "outcome": report.outcome.value, "body": body}


def _steps(report: Report) -> list[dict[str, Any]]:
    return [
        {"index": step.index, "exit_status": step.exit_status, "output_sha256": step.output_sha256}
        for step in report.steps
    ]


def _sentence(report: Report) -> str:
    if report.undo_of is not None:
        return _undo_sentence(report)
    words = {
        Outcome.REFUSED: f"the node refused at {report.refused_step}: {report.reason}",
        Outcome.DRY_RUN: "dry run: every check passed, nothing was run",
        Outcome.SUCCEEDED: "all commands ended with status 0",
        Outcome.FAILED: f"a command failed: {report.reason}",
        Outcome.TIMED_OUT: f"the deadline came: {report.reason}",
        Outcome.UNKNOWN: f"the outcome is unknown: {report.reason}",
    }
    return words[report.outcome]


def _undo_sentence(report: Report) -> str:
    also = f"; {report.reason}" if report.reason else ""
    words = {
        Outcome.REFUSED: f"not rolled back: refused at {report.refused_step}: {report.reason}",
        Outcome.SUCCEEDED: f"rolled back: {len(report.steps)} commands ended with status 0{also}",
        Outcome.FAILED: f"rolled back in part: {report.reason}",
        Outcome.TIMED_OUT: f"rolled back in part: {report.reason}",
        Outcome.UNKNOWN: f"whether it was rolled back is unknown: {report.reason}",
    }
    return words.get(report.outcome, f"not rolled back{also}")
