"""The policy the hub judges with: loaded at start, remembered, and a change told to the log."""

import logging
from datetime import UTC, datetime
from typing import Any

from appliance.errors import SettingsError
from hub.persist.database import Database
from hub.persist.outbox import actor, offer
from hub.settings import ServeSettings
from policy.rules import Bundle
from policy.signed import InForce
from policy.source import Loaded, Source, demand, load

_log = logging.getLogger(__name__)


def demand_one_source(settings: ServeSettings) -> None:
    """Signed trust or files: never both, for then nobody could say which of them judges."""
    for name in ("policy", "policy_key") if settings.trust_root else ("trust_key",):
        if getattr(settings, name) is not None:
            why = "with trust_root it is published" if settings.trust_root else "without trust_root"
            raise SettingsError(f"{name}: {why}; remove one of the two")


def source_of(settings: ServeSettings) -> Source:
    """Where the settings say that the policy is."""
    return Source(policy=settings.policy, key=settings.policy_key)


def check(settings: ServeSettings) -> None:
    """Raise `PolicyError` with the file and line when the policy cannot be used."""
    demand(source_of(settings))


def take(db: Database, settings: ServeSettings) -> Bundle:
    """The policy in force from now on; a broken or older one refuses everything.

    The change and its `policy.change` entry are one transaction. A crash before it commits leaves
    the earlier policy in force and nothing was judged with the new one.
    """
    with db.transaction() as work:
        work.run("hold_policy")  # a first start has no row to lock, and two hubs may begin at once
        row = work.one("policy_in_force")
        before = InForce(**row) if row else None
        loaded = load(source_of(settings), before)
        if loaded.bundle.refusal:
            _log.error("%s; every command is refused until it is mended", loaded.bundle.refusal)
            return loaded.bundle
        now_in_force = _in_force(loaded, before)
        if now_in_force != before:
            now = datetime.now(UTC)
            work.run("take_policy", now=now, **_columns(now_in_force))
            offer(
                work,
                type="policy.change",
                actor=actor("hub", "hub"),
                body=_body(loaded, before),
                at=now,
            )
    return loaded.bundle


def _in_force(loaded: Loaded, before: InForce | None) -> InForce:
    """Rules from a folder have no sequence: what a signed file reached stays the least allowed."""
    least = before.sequence if before else 0
    return loaded.in_force or InForce(sequence=least, digest=loaded.bundle.digest)


def _columns(in_force: InForce) -> dict[str, Any]:
    return {"digest": in_force.digest, "sequence": in_force.sequence}


def _body(loaded: Loaded, before: InForce | None) -> dict[str, Any]:
    return {
        "policy_digest": loaded.bundle.digest,
        "before_digest": before.digest if before else None,
        "sequence": loaded.in_force.sequence if loaded.in_force else None,
        "signed_by": loaded.key_id,
    }
