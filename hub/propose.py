"""An operator proposes other commands for an incident; the policy judges them as any.

The diagnosis stays what it was. Who wrote a plan is part of what is shown, and may not approve it:
neither the hub nor a node takes the author's yes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec import structs

from appliance import records
from appliance.errors import RefusedError
from appliance.ids import uuid7
from appliance.journal import shown as visible
from appliance.lifecycle import State
from appliance.records import MAX_STEPS, Plan, Step
from hub.approve import Answerer
from hub.errors import ApprovalError, MoveError
from hub.persist.database import Database, as_json
from hub.persist.incidents import move, proposed_entry
from hub.persist.outbox import offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What an operator typed."""

    commands: Sequence[str]
    purpose: str
    undos: Sequence[str] = ()  # none, or as many as commands; "" where nothing undoes one


def propose(db: Database, *, incident_id: str, who: Answerer, draft: Draft, now: datetime) -> Plan:
    """Replace the plan of an incident that waits for a person; earlier yes count no longer."""
    with db.transaction() as work:
        by = who.demanded(work)
        incident = work.one("lock_incident", incident_id=incident_id)
        row = work.one("newest_plan", incident_id=incident_id)
        if incident is None or row is None:
            raise MoveError("there is no plan to replace for this incident")
        plan = _plan(records.from_builtins(row["body"], Plan), draft, author=who.name)
        work.run(
            "add_plan", plan_id=plan.plan_id, incident_id=incident_id, now=now, body=as_json(plan)
        )
        offer(
            work,
            type="plan.proposed",
            actor=by,
            incident=incident_id,
            at=now,
            body=proposed_entry(plan),
        )
        # From here on a restart finds the new plan as the newest, waiting for judgement; whatever
        # was said to the one before was said to another digest.
        if not move(
            work,
            incident_id=incident_id,
            before=[State.AWAITING, State.MANUAL],
            after=State.PROPOSED,
            by=by,
            now=now,
            note=f"other commands by {who.name}: {visible(draft.purpose, most=500)}",
        ):
            raise MoveError(f"the incident is {incident['state']}; its plan cannot be replaced")
    return plan


def _plan(before: Plan, draft: Draft, *, author: str) -> Plan:
    commands = [command.strip() for command in draft.commands if command.strip()]
    undos = [undo.strip() for undo in draft.undos]
    while len(undos) > len(commands) and not undos[-1]:
        undos.pop()  # the newline at the end of what was typed
    if not 1 <= len(commands) <= MAX_STEPS:
        raise ApprovalError(f"a plan has 1 to {MAX_STEPS} commands, one a line")
    if not draft.purpose.strip():
        raise ApprovalError("say in a sentence what the commands are for")
    if any(undos) and len(undos) != len(commands):
        raise ApprovalError(
            f"there are {len(commands)} commands and {len(undos)} lines of undo; leave a line empty"
            " where nothing undoes a command"
        )
    steps = tuple(
        Step(command=command, purpose=visible(draft.purpose, most=500), undo=undo or None)
        for command, undo in zip(
            commands, undos if any(undos) else [""] * len(commands), strict=True
        )
    )
    plan = structs.replace(
        before, plan_id=uuid7(), origin="operator", author=author, steps=steps,
        expected_effect=visible(draft.purpose, most=500),
    )  # fmt: skip
    try:
        return records.from_json(records.to_json(plan), Plan)
    except RefusedError as error:
        raise ApprovalError(f"not a plan: {error}") from error
