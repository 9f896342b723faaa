"""Who nodes are: the certificates they show, those no longer believed, and those asked to join.

A revocation is a row first and a word to Vault second: the row ends the node's stream within a
second, also when Vault is away. It holds for every certificate that began before it, so one that
was obtained with the old one just before is refused, too.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from appliance.ids import uuid7
from appliance.journal import shown
from hub.errors import FleetError
from hub.persist import stolen as stolen_tokens
from hub.persist.database import Database, Work
from hub.persist.outbox import Actor, actor, offer
from vault.ticket import grouped

AFTER_REVOCATION = timedelta(seconds=60)  # certificates begin 30 s before they are signed

LATE = 5 / 6  # of its lifetime; it renews itself before four fifths

Row = dict[str, Any]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that a node showed in a handshake."""

    node: str
    serial: str
    key_sha256: str
    sha256: str
    not_before: datetime
    not_after: datetime


def admit(db: Database, shown_now: Shown, *, now: datetime) -> str | None:
    """Note a certificate; why its node is not believed, or None when it is."""
    with db.transaction() as work:
        row = work.one("revocation_of", node=shown_now.node)
        if why := _refusal(row, shown_now):
            return why
        seen = work.one("certificate_seen", now=now, **msgspec.structs.asdict(shown_now))
        if seen and seen["fresh"]:
            _joined(work, shown_now, now=now)
    return None


def unwelcome(db: Database, streams: "list[Shown]") -> dict[str, str]:
    """Why the nodes of living streams are no longer believed, by serial."""
    nodes = [one.node for one in streams]
    with db.transaction() as work:
        rows = {row["node"]: row for row in work.all("revocations_of", nodes=nodes)}
    found = {one.serial: _refusal(rows.get(one.node), one) for one in streams}
    return {serial: why for serial, why in found.items() if why}


def revoke(db: Database, *, node: str, reason: str, by: Actor, now: datetime) -> list[Row]:
    """Stop to believe a node; the certificates it has shown, for Vault to revoke."""
    if not reason.strip():
        raise FleetError("a revocation needs a reason: who reads the log will ask")
    with db.transaction() as work:
        work.run("add_revocation", node=node, reason=shown(reason), by=by["id"], now=now)
        body = {"node": node, "reason": shown(reason)}
        offer(work, type="node.revoke", actor=by, at=now, body=body)
        for row in work.all("open_enrolments", node=node):
            work.run("settle_enrolment", enrolment_id=row["enrolment_id"], state="expired", now=now)
        # From here on a restart of the hub refuses the node.
        return work.all("certificates_of", node=node, now=now)


def demand_addable(db: Database, *, node: str, now: datetime) -> None:
    """Raise `FleetError` so soon after a revocation that a new certificate would fall under it."""
    with db.transaction() as work:
        row = work.one("revocation_of", node=node)
    if row is not None and (end := row["since"] + AFTER_REVOCATION) > now:
        wait = int((end - now).total_seconds()) + 1
        raise FleetError(f"{node} was revoked just now; add it again in {wait} s")


def asked(
    db: Database,
    *,
    node: str,
    wrap: str,
    wrapped: str,
    expires_at: datetime,
    by: Actor,
    now: datetime,
) -> None:
    """A node was asked to join."""
    with db.transaction() as work:
        work.run(
            "add_enrolment",
            enrolment_id=uuid7(),
            node=node,
            wrap=wrap,
            wrapped=wrapped,
            by=by["id"],
            now=now,
            expires_at=expires_at,
        )
        _tell(work, node, "asked", by=by, now=now)


def waiting(db: Database, node: str | None = None) -> list[Row]:
    """Who was asked to join and has not."""
    with db.transaction() as work:
        return work.all("open_enrolments", node=node)


def settle(db: Database, enrolment: Row, state: str, *, by: Actor, now: datetime) -> None:
    """Say what became of an enrolment: `expired` or `stolen`, which is an incident, too."""
    with db.transaction() as work:
        if state == "stolen":
            summary = f"the joining token of {enrolment['node']} was opened by somebody else"
            stolen_tokens.report(work, enrolment, summary, by=by, now=now)
        work.run("settle_enrolment", enrolment_id=enrolment["enrolment_id"], state=state, now=now)
        _tell(work, enrolment["node"], state, by=by, now=now)


def shown_by_nodes(db: Database, *, now: datetime | None = None) -> dict[str, Row]:
    """The last certificate of each node, and what an operator should know of it."""
    now = now or datetime.now(UTC)
    with db.transaction() as work:
        rows = {row["node"]: row for row in work.all("certificates_shown")}
        revoked = {row["node"]: row for row in work.all("revocations_of", nodes=list(rows))}
    for node, row in rows.items():
        row["trouble"] = _trouble(row, revoked.get(node), now)
        row["key"] = grouped(row["key_sha256"][:40])
    return rows


def _trouble(row: Row, revoked: Row | None, now: datetime) -> str:
    if revoked is not None and row["not_before"] <= revoked["since"]:
        return "revoked"
    if row["not_after"] <= now:
        return "ended"
    late = row["not_before"] + LATE * (row["not_after"] - row["not_before"])
    return "not renewed" if now > late else ""


def stolen(db: Database) -> list[Row]:
    """The nodes whose last joining was taken over by somebody."""
    with db.transaction() as work:
        return [row for row in work.all("last_enrolments") if row["state"] == "stolen"]


def _refusal(row: Row | None, certificate: Shown) -> str:
    if row is None or certificate.not_before > row["since"]:
        return ""
    return f"{certificate.node} was revoked on {row['since']:%Y-%m-%d %H:%M} UTC: {row['reason']}"


def _joined(work: Work, certificate: Shown, *, now: datetime) -> None:
    """A certificate that was never seen: a node that joined, or one that renewed."""
    by = actor("node", certificate.node, node=certificate.node)
    states = [
        row["enrolment_id"]
        for row in work.all("open_enrolments", node=certificate.node)
        if certificate.not_before + AFTER_REVOCATION >= row["asked_at"]
    ]
    for enrolment_id in states:
        work.run("settle_enrolment", enrolment_id=enrolment_id, state="joined", now=now)
        stolen_tokens.came_after_all(
            work, str(enrolment_id), node=certificate.node,
            key=grouped(certificate.key_sha256[:40]), now=now,
        )  # fmt: skip
    _tell(
        work,
        certificate.node,
        "joined" if states else "certificate",
        by=by,
        now=now,
        certificate_sha256=certificate.sha256,
        not_after=certificate.not_after.isoformat(),
    )


def _tell(work: Work, node: str, state: str, *, by: Actor, now: datetime, **facts: str) -> None:
    body = {"node": node, "state": state, **facts}
    offer(work, type="node.enroll", actor=by, at=now, outcome=state, body=body)
