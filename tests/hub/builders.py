"""Small honest records for tests of the hub."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.rows import dict_row

from appliance.ids import uuid7
from appliance.people import People
from appliance.records import (
    Cleared,
    Condition,
    Event,
    Finding,
    MetricEvidence,
    Outcome,
    Plan,
    ProcessEvidence,
    Report,
    Severity,
    Step,
    StepResult,
)
from audit.signer import LocalSigner
from hub.persist.database import Database
from hub.persist.incidents import claim_for_reasoning, save_plan
from hub.persist.ingest import Received, store_events
from hub.persist.people import put_in_force
from tests.attacks.operators import Operator, SecurityKey, TerminalKey, people

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
NODE = "h1.test"
PID = 4711


def finding(**changes: Any) -> Finding:
    """A leaking process on a host."""
    values: dict[str, Any] = {
        "finding_id": uuid7(),
        "condition": Condition.PROCESS_MEMORY,
        "subject": f"pid {PID} (leaky)",
        "severity": Severity.CRITICAL,
        "summary": "leaky uses 300 MB, limit 120 MB",
        "observed": 300.0,
        "limit": 120.0,
        "unit": "MB",
        "first_bad_at": NOW - timedelta(seconds=10),
        "fired_at": NOW,
        "boot_id": "b00t",
        "evidence": (
            ProcessEvidence(
                id="e1",
                pid=PID,
                started_ticks=12345,
                name="leaky",
                command="/opt/leaky --serve",
                owner="app",
                rss_bytes=300_000_000,
                growth_bytes_per_s=4_000_000.0,
                cpu_percent=3.0,
            ),
            MetricEvidence(
                id="e2", name="rss", value=300.0, limit=120.0, unit="MB", samples=(1.0, 2.0)
            ),
        ),
    }
    return Finding(**{**values, **changes})


def event(body: Any) -> Event:
    """The event that carries a record."""
    return Event(event_id=uuid7(), body=body)


def received(body: Any, node: str = NODE) -> Received:
    """An event as a node's stream delivers it."""
    return Received(node=node, event=event(body))


def plan(incident_id: str, *commands: str) -> Plan:
    """A plan of these commands."""
    return Plan(
        plan_id=uuid7(),
        incident_id=incident_id,
        origin="catalogue",
        diagnosis="leaky grows without end",
        candidates=(),
        culprit="e1",
        confidence_percent=80,
        citations=("e1",),
        steps=tuple(Step(command=command, purpose="end it") for command in commands),
        expected_effect="memory is free again",
        model=None,
        model_error="no model is configured",
    )


def add_node(db: Database, node: str = NODE) -> None:
    """A node that connected once."""
    with db.transaction() as work:
        work.run(
            "node_connected",
            node=node,
            now=NOW,
            agent_version="1",
            boot_id="b00t",
            dry_run=False,
            spooled=0,
        )


def opened(db: Database, *, now: datetime = NOW, **changes: Any) -> tuple[str, Finding]:
    """An incident that was just reported."""
    add_node(db)
    one = finding(**changes)
    assert store_events(db, [received(one)], now=now) == [None]
    return incident_for(db, one.finding_id), one


def incident_for(db: Database, finding_id: str) -> str:
    """The incident of a finding."""
    with db.transaction() as work:
        row = work.one("lock_finding", node=NODE, finding_id=finding_id)
    assert row is not None
    return str(row["incident_id"])


def proposed(db: Database, *commands: str, now: datetime = NOW) -> tuple[str, Finding]:
    """An incident with a plan that waits for judgement."""
    incident_id, one = opened(db, now=now)
    claimed = claim_for_reasoning(db, holder="r1", lease_s=60, now=now)
    assert claimed is not None
    assert claimed.incident_id == incident_id
    assert save_plan(
        db, incident_id=incident_id, holder="r1", plan=plan(incident_id, *commands), now=now
    )
    return incident_id, one


OPERATORS = (
    Operator("operator-1", keys=[TerminalKey(), SecurityKey()]),
    Operator("operator-2", role="admin", keys=[TerminalKey(), SecurityKey()]),
    Operator("viewer-1", role="viewer"),
)


def publish(db: Database, *operators: Operator, now: datetime = NOW, **changes: Any) -> People:
    """Put a list of people in force."""
    made = people(*(operators or OPERATORS), **changes)
    with db.transaction() as work:
        put_in_force(work, made, now=now)
    return made


def state_of(db: Database, incident_id: str) -> str:
    """Where an incident stands."""
    with db.transaction() as work:
        row = work.one("lock_incident", incident_id=incident_id)
    assert row is not None
    return str(row["state"])


def outbox(db: Database) -> list[dict[str, Any]]:
    """What waits for the notary."""
    with db.transaction() as work:
        return work.all("take_outbox", limit=10_000)


def sql(db: Database, text: str, **parameters: Any) -> list[dict[str, Any]]:
    """Plain SQL, as somebody with the database's password would send it."""
    with psycopg.connect(db.dsn, row_factory=dict_row) as connection:
        cursor = connection.execute(text.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


def report(order_id: str, outcome: Outcome, **changes: Any) -> Report:
    """A node's word on an order."""
    values: dict[str, Any] = {
        "report_id": uuid7(),
        "order_id": order_id,
        "outcome": outcome,
        "finished_at": NOW,
        "steps": (
            StepResult(
                index=0,
                argv=(("/usr/bin/kill", "-TERM", str(PID)),),
                exit_status=0,
                started_at=NOW,
                duration_s=0.01,
                output="",
                output_bytes=0,
                output_sha256="0" * 64,
            ),
        ),
    }
    return Report(**{**values, **changes})


def cleared(one: Finding, order_id: str | None = None) -> Cleared:
    """The end of a finding's condition."""
    return Cleared(finding_id=one.finding_id, cleared_at=NOW, observed=1.0, order_id=order_id)


def some_vkey(origin: str) -> str:
    """The public half of a log's key that nobody has."""
    return LocalSigner(origin, Ed25519PrivateKey.generate()).vkey
