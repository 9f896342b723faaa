"""A joining token that somebody else opened, as an incident of its own kind for a person.

The hub opens it, no node: there is no plan, no model is asked and nothing runs. A node can neither
make such an incident nor end it, for whoever opened the token may be speaking as that node.
Whether a token was opened is asked in `hub/opened_tickets.py`.
"""

from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from appliance import records
from appliance.ids import uuid7
from appliance.lifecycle import State
from appliance.records import Condition, Finding, Severity
from hub.persist.database import Database, Row, Work
from hub.persist.incidents import record_history
from hub.persist.outbox import Actor, actor, offer

HUB = actor("hub", "hub")
PREFIX = "stolen-"  # of the finding's id; the rest is the enrolment's


def unopened(db: Database, *, now: datetime) -> list[Row]:
    """The tokens that could be opened at this moment, and were not when we last looked."""
    with db.transaction() as work:
        return work.all("enrolments_unopened", now=now)


def opened(db: Database, enrolment: Row, *, now: datetime) -> None:
    """Its wrapping is gone. Whoever opened it, the node has a while to connect."""
    with db.transaction() as work:
        # From here on a restart knows it, also when the wrapping's own time is over.
        work.run("enrolment_opened", enrolment_id=enrolment["enrolment_id"], now=now)


def report_overdue(db: Database, *, within: timedelta, now: datetime) -> list[str]:
    """An incident for each token that was opened so long ago and brought no node; their names."""
    with db.transaction() as work:
        rows = work.all("enrolments_overdue", before=now - within)
        for row in rows:
            summary = (
                f"the joining token of {row['node']} was opened at {row['opened_at']:%H:%M} UTC,"
                " and the node has not connected: somebody else may have it"
            )
            report(work, row, summary, by=HUB, now=now)
        return [row["node"] for row in rows]


def report(work: Work, enrolment: Row, summary: str, *, by: Actor, now: datetime) -> None:
    """Open the incident of this token; of one that has it already nothing changes."""
    finding, incident_id, node = _finding(enrolment, summary, now), uuid7(), enrolment["node"]
    digest, facts = records.digest_of(finding), _facts(finding)
    if not work.run(
        "open_for_a_person",
        incident_id=incident_id,
        node=node,
        summary=finding.summary,
        finding=Jsonb(finding),
        evidence_digest=digest,
        now=now,
        **facts,
    ):
        return
    record_history(
        work, incident_id=incident_id, before=None, after=State.MANUAL, by=by, now=now,
        note=finding.summary,
    )  # fmt: skip
    body = {"node": node, "summary": finding.summary, "evidence_digest": digest, **facts}
    offer(work, type="incident.open", actor=by, incident=incident_id, at=now, body=body)


def came_after_all(work: Work, enrolment_id: str, *, node: str, key: str, now: datetime) -> None:
    """Somebody connected in this name. Who it is only a person can tell, so nothing is closed."""
    row = work.one("lock_finding", node=node, finding_id=f"{PREFIX}{enrolment_id}")
    if row is None:
        return
    state = State(row["state"])
    note = f"{node} has connected with the key {key}: compare it with what the node itself shows"
    record_history(
        work, incident_id=str(row["incident_id"]), before=state, after=state, by=HUB, now=now,
        note=note,
    )  # fmt: skip


def is_the_hubs(finding_id: str) -> bool:
    """Whether no node may speak of it."""
    return finding_id.startswith(PREFIX)


def _finding(enrolment: Row, summary: str, now: datetime) -> Finding:
    since = enrolment["opened_at"] or enrolment["asked_at"]
    return Finding(
        finding_id=f"{PREFIX}{enrolment['enrolment_id']}",
        condition=Condition.STOLEN_TOKEN,
        subject="joining token",
        severity=Severity.CRITICAL,
        summary=summary,
        observed=1.0,
        limit=0.0,
        unit="tokens",
        first_bad_at=since,
        fired_at=now,
        boot_id="hub",
        evidence=(),
    )


def _facts(finding: Finding) -> dict[str, Any]:
    return {
        "finding_id": finding.finding_id,
        "condition": finding.condition.value,
        "subject": finding.subject,
        "severity": finding.severity.value,
    }
