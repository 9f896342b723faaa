"""What happened, for those who follow along: the demo's timeline and its summary."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance.lifecycle import State
from hub.persist.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One line of an incident's history."""

    number: int
    incident_id: str
    at: datetime
    after: State
    actor: str
    note: str
    subject: str
    condition: str


def since(db: Database, number: int) -> list[Happening]:
    """What was written into histories after the line with this number."""
    with db.transaction() as work:
        rows = work.all("history_since", after=number)
    return [
        Happening(
            number=row["history_id"],
            incident_id=str(row["incident_id"]),
            at=row["at"],
            after=State(row["after"]),
            actor=row["actor"],
            note=row["note"],
            subject=row["subject"],
            condition=row["condition"],
        )
        for row in rows
    ]


def story(db: Database, incident_id: str) -> dict[str, Any]:
    """One incident with all that belongs to it, as one row."""
    with db.transaction() as work:
        return work.one("incident_story", incident_id=incident_id) or {}
