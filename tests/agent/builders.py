"""Small records for tests of the agent."""

from datetime import UTC, datetime, timedelta

from appliance.ids import uuid7
from appliance.records import (
    Cleared,
    Condition,
    Event,
    Finding,
    LogEvidence,
    Outcome,
    Report,
    Severity,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def finding(*, text: str = "", minutes: float = 0, finding_id: str = "") -> Finding:
    moment = NOW + timedelta(minutes=minutes)
    return Finding(
        finding_id=finding_id or uuid7(),
        condition=Condition.DISK_SPACE,
        subject="/var",
        severity=Severity.WARNING,
        summary="/var is full",
        observed=95.0,
        limit=90.0,
        unit="%",
        first_bad_at=moment,
        fired_at=moment,
        boot_id="boot",
        evidence=(LogEvidence(id="e1", source="test", line=text),),
    )


def event(*, text: str = "", minutes: float = 0) -> Event:
    return Event(event_id=uuid7(), body=finding(text=text, minutes=minutes))


def cleared(finding_id: str) -> Event:
    return Event(
        event_id=uuid7(), body=Cleared(finding_id=finding_id, cleared_at=NOW, observed=1.0)
    )


def report(*, order_id: str = "o1", outcome: Outcome = Outcome.SUCCEEDED) -> Report:
    return Report(report_id=uuid7(), order_id=order_id, outcome=outcome, finished_at=NOW)
