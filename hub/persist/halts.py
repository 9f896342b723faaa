"""The fleet's kill switch: halts that the hub tells nodes of, and what lifts them.

A halt is the word of an administrator who is signed in; nodes obey it from anybody. A halt is over
for a node when that node has checked an administrator's own signature: the row here only carries
it there. So the console tells what was ordered and what each node says of itself, side by side.
"""

from datetime import datetime, timedelta
from typing import Any

from appliance.halt import Halt, Resumption
from appliance.ids import uuid7
from appliance.journal import shown
from appliance.records import to_json
from hub.errors import FleetError
from hub.persist.database import Database, Work
from hub.persist.outbox import Actor, offer

Row = dict[str, Any]

TELL_FOR = timedelta(days=30)  # a node that was away hears of a resumption for so long


def order(db: Database, *, node: str | None, reason: str, by: Actor, now: datetime) -> Halt:
    """Halt one node, or (None) all nodes, also those that connect later."""
    if not reason.strip():
        raise FleetError("a halt needs a reason: who finds the nodes halted will ask")
    halt = Halt(halt_id=uuid7(), reason=shown(reason, most=400))
    with db.transaction() as work:
        if node is not None and work.one("node_exists", node=node) is None:
            raise FleetError(f"there is no node {shown(node, most=80)}")
        work.run(
            "add_halt", halt_id=halt.halt_id, node=node, reason=halt.reason, by=by["id"], now=now
        )
        # From here on a restart of the hub tells every node that connects.
        _tell(work, "node.halt", halt.halt_id, node, halt.reason, state="ordered", by=by, now=now)
    return halt


def lift(db: Database, resumption: Resumption, *, by: Actor, now: datetime) -> None:
    """Carry an administrator's signature to the nodes of a halt."""
    with db.transaction() as work:
        carry(work, resumption, locked(work, resumption.halt_id), by=by, now=now)


def locked(work: Work, halt_id: str) -> Row:
    """The halt of this id, kept as it is until this transaction ends; or `FleetError`."""
    row = work.one("lock_halt", halt_id=halt_id)
    if row is None or row["lifted_at"] is not None:
        raise FleetError("there is no such halt in force")
    return row


def carry(work: Work, resumption: Resumption, row: Row, *, by: Actor, now: datetime) -> None:
    """The same for a halt that is locked already."""
    work.run(
        "lift_halt",
        halt_id=resumption.halt_id,
        by=resumption.operator,
        resumption=to_json(resumption),
        now=now,
    )
    # From here on a restart of the hub carries the signature to every node that is halted.
    halt_id, node, reason = str(row["halt_id"]), row["node"], row["reason"]
    _tell(work, "node.resume", halt_id, node, reason, state="signed", by=by, now=now)


def in_force(db: Database) -> list[dict[str, Any]]:
    """The halts that nobody has lifted, oldest first."""
    with db.transaction() as work:
        return work.all("halts_in_force")


def _tell(
    work: Work,
    kind: str,
    halt_id: str,
    node: str | None,
    reason: str,
    *,
    state: str,
    by: Actor,
    now: datetime,
) -> None:
    body = {
        "halt_id": halt_id,
        "scope": "all" if node is None else "node",
        "node": node,
        "reason": reason,
        "state": state,
    }
    offer(work, type=kind, actor=by, at=now, body=body)
