"""Incidents: the state is the queue, and every move is guarded, recorded and offered to the log."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from appliance import records
from appliance.journal import shown
from appliance.lifecycle import FINAL, State
from appliance.records import Finding, Plan
from hub.persist.database import Database, Work
from hub.persist.outbox import Actor, actor, offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One row of `incident`, as workers see it."""

    incident_id: str
    node: str
    finding: Finding
    evidence_digest: str
    state: State
    opened_at: datetime
    expires_at: datetime | None
    cleared_at: datetime | None
    attempts: int


def incident_of(row: dict[str, Any]) -> Incident:
    """The record of a row of `incident`."""
    return Incident(
        incident_id=str(row["incident_id"]),
        node=row["node"],
        finding=records.from_builtins(row["finding"], Finding),
        evidence_digest=row["evidence_digest"],
        state=State(row["state"]),
        opened_at=row["opened_at"],
        expires_at=row["expires_at"],
        cleared_at=row["cleared_at"],
        attempts=row["attempts"],
    )


def move(
    work: Work,
    *,
    incident_id: str,
    before: Collection[State],
    after: State,
    by: Actor,
    now: datetime,
    note: str = "",
) -> bool:
    """Move an incident if it is in one of these states; whether it was.

    The row is locked until the transaction ends, so of two that race exactly one moves it. The
    history, the log and, at the end of a life, the closing entry are part of the same commit.
    """
    row = work.one(
        "move_incident",
        incident_id=incident_id,
        before=[state.value for state in before],
        after=after.value,
        now=now,
    )
    if row is None:
        return False
    record_history(
        work,
        incident_id=incident_id,
        before=row["before"],
        after=after,
        by=by,
        now=now,
        note=note,
    )
    offer(
        work,
        type="incident.state",
        actor=by,
        incident=incident_id,
        at=now,
        body={"from": row["before"], "to": after.value, "reason": shown(note)},
    )
    if after in FINAL:
        # Whoever offers an entry of an incident holds its row, so the count is exact.
        counted = work.one("entries_with_this", incident=incident_id) or {}
        offer(
            work,
            type="incident.close",
            actor=by,
            incident=incident_id,
            at=now,
            outcome=after.value,
            body={"state": after.value, "entries": counted.get("entries", 0)},
        )
    return True


def record_history(
    work: Work,
    *,
    incident_id: str,
    before: str | None,
    after: State,
    by: Actor,
    now: datetime,
    note: str = "",
) -> None:
    """One line of an incident's history, for people."""
    work.run(
        "add_history",
        incident_id=incident_id,
        now=now,
        before=before,
        after=after.value,
        actor=f"{by['kind']} {by['id']}",
        note=shown(note, most=2000),
    )


def claim_for_reasoning(
    db: Database, *, holder: str, lease_s: float, now: datetime
) -> Incident | None:
    """Take the most severe, oldest incident that waits for a reasoner, for `lease_s` seconds.

    An incident whose reasoner died is taken again when its lease has run out.
    """
    with db.transaction() as work:
        until = now + timedelta(seconds=lease_s)
        row = work.one("claim_for_reasoning", holder=holder, until=until, now=now)
        if row is None:
            return None
        by, incident_id = actor("reasoner", holder), str(row["incident_id"])
        record_history(
            work,
            incident_id=incident_id,
            before=row["before"],
            after=State.REASONING,
            by=by,
            now=now,
        )
        body = {"from": row["before"], "to": State.REASONING.value, "reason": "taken"}
        offer(work, type="incident.state", actor=by, incident=incident_id, at=now, body=body)
        return incident_of(row)


def renew_lease(
    db: Database, *, incident_id: str, holder: str, lease_s: float, now: datetime
) -> bool:
    """Keep an incident for longer; False when it was lost or has recovered meanwhile."""
    with db.transaction() as work:
        until = now + timedelta(seconds=lease_s)
        return work.run("renew_lease", incident_id=incident_id, holder=holder, until=until) == 1


def release(db: Database, *, incident_id: str, holder: str, now: datetime) -> None:
    """Give an incident back to the queue, unworked."""
    with db.transaction() as work:
        if work.one("lock_lease", incident_id=incident_id, holder=holder) is not None:
            move(
                work,
                incident_id=incident_id,
                before=[State.REASONING],
                after=State.OPEN,
                by=actor("reasoner", holder),
                now=now,
                note="given back",
            )


def save_plan(db: Database, *, incident_id: str, holder: str, plan: Plan, now: datetime) -> bool:
    """Store a plan and pass the incident on to judgement; False when the lease was lost."""
    by = actor("reasoner", holder)
    with db.transaction() as work:
        if work.one("lock_lease", incident_id=incident_id, holder=holder) is None:
            return False
        work.run(
            "add_plan",
            plan_id=plan.plan_id,
            incident_id=incident_id,
            now=now,
            body=Jsonb(plan),
        )
        offer(
            work,
            type="plan.proposed",
            actor=by,
            incident=incident_id,
            at=now,
            body=proposed_entry(plan),
        )
        return move(
            work,
            incident_id=incident_id,
            before=[State.REASONING],
            after=State.PROPOSED,
            by=by,
            now=now,
            note=plan.model_error or f"plan by {plan.origin}",
        )


def proposed_entry(plan: Plan) -> dict[str, Any]:
    """The body of the `plan.proposed` entry."""
    run = plan.model
    return {
        "plan_id": plan.plan_id,
        "origin": plan.origin,
        "author": plan.author,
        "diagnosis": shown(plan.diagnosis, most=2000),
        "plan_digest": records.digest_of(plan),
        "model_error": plan.model_error,
        "model_name": run.name if run else None,
        "model_sha256": run.sha256 if run else None,
        "seed": run.seed if run else None,
        "parameters": run.parameters if run else None,
        "prompt_digest": run.prompt_sha256 if run else None,
        "output_digest": run.output_sha256 if run else None,
    }
