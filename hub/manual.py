"""What people did by hand, recorded so that there is no hole in the history.

Nothing runs from here, and nothing is believed: it is the word of a named person about their own
doing, in the incident and in the audit log.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from appliance.journal import shown as visible
from appliance.lifecycle import State
from hub.approve import Answerer
from hub.errors import ApprovalError, MoveError
from hub.persist.database import Database
from hub.persist.incidents import record_history
from hub.persist.outbox import offer

Outcome = Literal["worked", "did_not_work", "not_done"]

OUTCOMES: dict[Outcome, str] = {
    "worked": "it worked",
    "did_not_work": "it did not work",
    "not_done": "not done",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One manual step in the words of who did it."""

    command: str
    outcome: str  # a key of OUTCOMES
    output: str = ""
    plan_id: str | None = None  # with `step`, the command of the plan it was about
    step: int | None = None  # from 0


def record_manual(
    db: Database, *, incident_id: str, who: Answerer, done: Done, now: datetime
) -> None:
    """Record what a person did, what came of it, and what it printed."""
    with db.transaction() as work:
        by = who.demanded(work)
        if not done.command.strip():
            raise ApprovalError("a manual step needs the command or action that it is about")
        if done.outcome not in OUTCOMES:
            raise ApprovalError("say whether it worked, did not work, or was not done")
        row = work.one("lock_incident", incident_id=incident_id)
        if row is None:
            raise MoveError("there is no such incident")
        command, output = visible(done.command, most=4000), _lines(done.output)
        offer(
            work,
            type="manual.step",
            actor=by,
            incident=incident_id,
            at=now,
            outcome=done.outcome,
            body={
                "plan_id": done.plan_id,
                "index": done.step,
                "command": command,
                "outcome": done.outcome,
                "output": output,
            },
        )
        work.run(
            "manual_add",
            incident_id=incident_id,
            now=now,
            operator=who.name,
            plan_id=done.plan_id,
            step=done.step,
            command=command,
            outcome=done.outcome,
            output=output,
        )
        said = OUTCOMES[done.outcome]
        record_history(
            work,
            incident_id=incident_id,
            before=row["state"],
            after=State(row["state"]),
            by=by,
            now=now,
            note=f"by hand: {command} → {said}" + (f": {output}" if output else ""),
        )


def _lines(text: str) -> str:
    """Text of many lines with nothing hidden in it."""
    return "\n".join(visible(line, most=16_000) for line in text[:16_000].strip().split("\n"))
