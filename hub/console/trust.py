"""What the console says of signed trust: the verified set, and what is or soon will be wrong."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import current_app

from hub.console.access import database, now
from hub.persist.database import Work
from hub.trust import HubTrust, Published
from policy.signed import InForce

_ROLES = {
    "root": "names everybody else; offline",
    "targets": "policy, people and keys; offline",
    "snapshot": "which targets are the newest; the hub's own key",
    "timestamp": "that this is still so; the hub's own key",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one page says of it."""

    published: Published | None
    policy: InForce | None
    bad: str  # why nothing live runs anywhere; empty when it may
    soon: str  # what signers have to renew
    roles: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    published_at: datetime | None
    published_by: str


def trust() -> HubTrust | None:
    """The verified set of this process; None: this site has no `trust_root`."""
    found: HubTrust | None = current_app.extensions["trust"]
    return found


def warning() -> tuple[str, str]:
    """For every page: what is wrong now, and what will be within a fortnight."""
    found = trust()
    if found is None:
        return "", ""
    with database().transaction() as work:
        return _troubles(found, found.published(work))


def seen() -> Seen | None:
    """Everything for the page about it; None without `trust_root`."""
    found = trust()
    if found is None:
        return None
    with database().transaction() as work:
        published = found.published(work)
        row = work.one("publication") or {}
        nodes = [_node(one, published) for one in work.all("view_node_trust")]
        bad, soon = _troubles(found, published)
        return Seen(
            published=published,
            policy=_policy(work),
            bad=bad,
            soon=soon,
            roles=_roles(published),
            nodes=nodes,
            published_at=row.get("published_at"),
            published_by=row.get("published_by", ""),
        )


def _troubles(found: HubTrust, published: Published | None) -> tuple[str, str]:
    if published is None:
        return found.trouble or "nothing is published yet", ""
    bad = published.belief.expired(now())
    if not bad and found.trouble:
        bad = f"what lies in the database is refused, what was believed stays: {found.trouble}"
    return bad, published.belief.ends_soon(now())


def _roles(published: Published | None) -> list[dict[str, Any]]:
    if published is None:
        return []
    return [
        {
            "name": name,
            "what": _ROLES[name],
            "version": role.version,
            "expires": role.expires,
            "ended": role.expires <= now(),
            "threshold": role.threshold,
            "keys": [
                {"name": role.keys[key] or "no name", "id": key, "signed": key in role.signed_by}
                for key in sorted(role.keys, key=role.keys.__getitem__)
            ],
        }
        for name, role in published.belief.roles.items()
    ]


def _node(row: dict[str, Any], published: Published | None) -> dict[str, Any]:
    versions = row["versions"] or {}
    current = published is not None and versions == published.belief.versions
    if row["heard_at"] is None:
        state = "silent"
    elif row["refusal"]:
        state = "refuses"
    else:
        state = "current" if current else "older"
    return {**row, "versions": versions, "state": state}


def _policy(work: Work) -> InForce | None:
    row = work.one("policy_now")
    return InForce(**row) if row else None
