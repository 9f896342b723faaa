"""The audit outbox: what must reach the log, committed with the change it speaks of."""

from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from appliance import canonical
from appliance.ids import uuid7
from hub.persist.database import Work

Actor = dict[str, Any]


def actor(kind: str, name: str, *, node: str | None = None, session: str | None = None) -> Actor:
    """Who did it: `operator`, `node`, `hub`, `reasoner` or `notary`, by name."""
    return {"kind": kind, "id": name, "node": node, "session": session}


def offer(
    work: Work,
    *,
    type: str,  # noqa: A002 - the entry's own field name
    actor: Actor,
    body: dict[str, Any],
    at: datetime,
    incident: str | None = None,
    outcome: str | None = None,
) -> str:
    """Queue one audit entry in this transaction; returns the entry's id.

    Raises `CanonicalError` here, before anything is committed, when the body has no canonical
    form: the notary must never meet a row it cannot write.
    """
    canonical.encode(body)
    entry_id = uuid7()
    work.run(
        "offer_audit",
        entry_id=entry_id,
        at=at,
        type=type,
        actor=Jsonb(actor),
        incident=incident,
        outcome=outcome,
        body=Jsonb(body),
    )
    return entry_id
