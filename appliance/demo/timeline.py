"""Print what happens as it happens: one line a step, with the time since the fault."""

import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from appliance.lifecycle import State
from hub.persist.database import Database
from hub.persist.story import Happening, since, story

STEP_OF = {
    State.OPEN: "transport",
    State.REASONING: "reason",
    State.PROPOSED: "reason",
    State.AWAITING: "validate",
    State.MANUAL: "validate",
    State.APPROVED: "approve",
    State.DISPATCHED: "execute",
    State.REHEARSED: "execute",
    State.EXECUTED: "execute",
    State.RESOLVED: "verify",
    State.UNRESOLVED: "verify",
}


class Clock:
    """Seconds since the demo began, as every line starts with."""

    def __init__(self, start: datetime) -> None:
        self.start = start

    def line(self, at: datetime, step: str, text: str) -> None:
        """Print one step."""
        seconds = (at - self.start).total_seconds()
        sys.stdout.write(f"{seconds:8.2f} s  {step:<9}  {text}\n")
        sys.stdout.flush()


def follow(db: Database, *, until: float, poll_s: float = 0.1) -> Iterator[Happening | None]:
    """Each line of every incident's history as it is written; None between two looks."""
    number = 0
    while time.monotonic() < until:
        for happening in since(db, number):
            number = happening.number
            yield happening
        yield None
        time.sleep(poll_s)


def tell(clock: Clock, db: Database, happening: Happening) -> None:
    """Print one line of an incident's history, with what a person wants to know about it."""
    if happening.after is State.OPEN and happening.note != "given back":
        _tell_finding(clock, story(db, happening.incident_id))
    if happening.after is State.AWAITING:
        _tell_plan(clock, happening, story(db, happening.incident_id))
    text = f"{happening.subject}: {happening.after.value}"
    if happening.note:
        text += f" ({happening.note})"
    clock.line(happening.at, STEP_OF.get(happening.after, "incident"), text)
    if happening.after in (State.EXECUTED, State.REHEARSED, State.UNRESOLVED):
        _tell_report(clock, happening, story(db, happening.incident_id))


def _tell_finding(clock: Clock, row: dict[str, Any]) -> None:
    finding = row["finding"]
    fired = datetime.fromisoformat(finding["fired_at"])
    clock.line(fired, "detect", row["summary"])
    clock.line(fired, "capture", f"{len(finding['evidence'])} pieces of evidence")


def _tell_plan(clock: Clock, happening: Happening, row: dict[str, Any]) -> None:
    plan = row["plan"]
    by = plan["model"]["name"] if plan["model"] else f"catalogue ({plan['model_error']})"
    clock.line(row["planned_at"], "reason", f"{plan['diagnosis']} — by {by}")
    for step in row["shown"]["steps"]:
        clock.line(
            happening.at, "validate", f"{step['ruling']}: {step['command']} ({step['rule']})"
        )


def _tell_report(clock: Clock, happening: Happening, row: dict[str, Any]) -> None:
    for step in (row["report"] or {}).get("steps", ()):
        words = " | ".join(" ".join(argv) for argv in step["argv"])
        text = f"ran {words}: status {step['exit_status']}, {step['duration_s']:.3f} s"
        clock.line(happening.at, "execute", text)
