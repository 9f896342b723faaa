"""A node's executor as the hub hears it: reports with numbers, a chain and a signature."""

from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import report_chain
from appliance.ids import uuid7
from appliance.lifecycle import State
from appliance.records import Finding, Outcome, Report
from hub.persist import node_state
from hub.persist.database import Database
from hub.persist.incidents import move
from hub.persist.ingest import store_events
from hub.persist.outbox import actor
from tests.hub.builders import NODE, NOW, opened, received, report, sql

HUB = actor("hub", "hub")


class Reporter:
    """Numbers, chains and signs as an executor does; and as one that was tampered with does."""

    def __init__(self, *, node: str = NODE) -> None:
        self.node = node
        self.key = Ed25519PrivateKey.generate()
        self.last = 0
        self.previous = ""

    @property
    def spelled(self) -> str:
        return report_chain.spelled(self.key.public_key())

    def introduces_itself(self, db: Database, *, halted: bool = False, reason: str = "") -> None:
        node_state.said(
            db, node=self.node, halted=halted, reason=reason, result_key=self.spelled, now=NOW
        )

    def next(self, order_id: str, outcome: Outcome = Outcome.SUCCEEDED, **changes: Any) -> Report:
        self.last += 1
        values = {"number": self.last, "previous": self.previous, **changes}
        signed = self.signed(report(order_id, outcome, **values))
        self.previous = report_chain.digest(signed)
        return signed

    def signed(self, one: Report) -> Report:
        return report_chain.sign(one, self.key)

    def tells(self, db: Database, *told: Report) -> list[str | None]:
        return store_events(db, [received(one, node=self.node) for one in told], now=NOW)


def dispatched(db: Database, *, node: str = NODE) -> tuple[str, Finding, str]:
    """An incident whose order is with its node."""
    incident_id, finding = opened(db)
    order_id = uuid7()
    path = [State.REASONING, State.PROPOSED, State.AWAITING, State.APPROVED, State.DISPATCHED]
    with db.transaction() as work:
        work.run(
            "add_order", order_id=order_id, incident_id=incident_id, node=node, envelope=b"{}",
            now=NOW, not_after=NOW,
        )  # fmt: skip
        for state in path:
            assert move(
                work, incident_id=incident_id, before=list(State), after=state, by=HUB, now=NOW
            )
    return incident_id, finding, order_id


def troubles(db: Database) -> list[tuple[str, int, int]]:
    """What is wrong with reports now."""
    with db.transaction() as work:
        rows = work.all("open_troubles")
    return [(row["kind"], row["first"], row["last"]) for row in rows]


def notes(db: Database, incident_id: str) -> list[str]:
    """The history of an incident, in its own words."""
    text = "SELECT note FROM incident_history WHERE incident_id = %(id)s ORDER BY history_id"
    return [row["note"] for row in sql(db, text, id=incident_id)]


def changed(record: Any, **changes: Any) -> Any:
    """The record with some fields other than they were."""
    return msgspec.structs.replace(record, **changes)
