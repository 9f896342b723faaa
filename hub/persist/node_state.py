"""What nodes say of themselves: the key of their reports, and whether they are halted.

The first key is pinned, as nobody can know better; any other one afterwards is an alarm until an
administrator has compared its fingerprint with what `sentinel-executor --show-keys` prints on the
node, and accepted it. What came under it meanwhile is held, then believed.
"""

import logging
from datetime import datetime

from appliance import records, report_chain
from appliance.errors import RefusedError
from appliance.journal import shown
from appliance.records import Report
from hub.errors import FleetError
from hub.persist.database import Database, Work
from hub.persist.ingest import take_report
from hub.persist.outbox import Actor, actor, offer

_log = logging.getLogger(__name__)


def said(
    db: Database, *, node: str, halted: bool, reason: str, result_key: str, now: datetime
) -> None:
    """A node's executor said this of itself, through its agent."""
    by = actor("node", node, node=node)
    with db.transaction() as work:
        row = work.one("lock_node_key", node=node)
        if row is None:
            return
        if result_key:
            _see_key(work, node, row["result_key"], row["result_key_offered"], result_key, now=now)
        words = shown(reason)
        work.run("node_said", node=node, halted=halted, reason=words if halted else "", now=now)
        if halted != row["halted"]:
            body = {"node": node, "scope": "node", "reason": words, "state": "in force"}
            kind = "node.halt" if halted else "node.resume"
            body["state"] = "in force" if halted else "over"
            offer(work, type=kind, actor=by, at=now, body=body)


def accept_key(db: Database, *, node: str, fingerprint: str, by: Actor, now: datetime) -> None:
    """An administrator accepts a node's new key, by its fingerprint; what was held is believed."""
    with db.transaction() as work:
        row = work.one("lock_node_key", node=node)
        offered = row["result_key_offered"] if row else None
        if offered is None:
            raise FleetError(f"{node} shows no other key than the one that is accepted")
        if report_chain.fingerprint(offered) != fingerprint:
            raise FleetError(f"{node} shows another key than the one you were shown; look again")
        _pin(work, node, offered, by=by, state="accepted", now=now)


def offered_fingerprint(db: Database, node: str) -> str | None:
    """The fingerprint of the key that waits to be accepted."""
    with db.transaction() as work:
        row = work.one("lock_node_key", node=node) or {}
    offered = row.get("result_key_offered")
    return report_chain.fingerprint(offered) if offered else None


def _see_key(
    work: Work, node: str, pinned: str | None, offered: str | None, key: str, *, now: datetime
) -> None:
    try:
        mark = report_chain.fingerprint(key)
    except RefusedError as error:
        _log.warning("node=%s: %s", node, error)
        return
    by = actor("node", node, node=node)
    if pinned is None:
        _pin(work, node, key, by=by, state="pinned", now=now)
    elif key == pinned:
        if offered is not None:
            work.run("offer_node_key", node=node, key=None)
    elif key != offered:
        _log.error("node=%s shows another key for its reports: %s", node, mark)
        work.run("offer_node_key", node=node, key=key)
        _tell_key(work, node, key, by=by, state="offered", now=now)


def _pin(work: Work, node: str, key: str, *, by: Actor, state: str, now: datetime) -> None:
    work.run("pin_node_key", node=node, key=key, now=now)
    _tell_key(work, node, key, by=by, state=state, now=now)
    for row in work.all("take_held_reports", node=node):
        report = records.from_builtins(row["body"], Report)
        why = take_report(work, report, node=node, now=now)
        if why is not None:
            _log.error("node=%s: a report that was held is not believed: %s", node, shown(why))


def _tell_key(work: Work, node: str, key: str, *, by: Actor, state: str, now: datetime) -> None:
    body = {"node": node, "result_key": report_chain.fingerprint(key), "state": state}
    offer(work, type="node.key", actor=by, at=now, outcome=state, body=body)
