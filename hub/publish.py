"""Put a signed set in force, and keep the online part of it fresh.

Who publishes brings what a threshold of signers signed; the hub's online key adds only which set
is the newest. The set is verified as any node will, over what was published before, and stored
with its entry in the audit log in one transaction: a crash leaves the old one in force, or the new.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import trust_files, tuf_client, tuf_repository
from appliance.errors import TrustError
from appliance.people import Keys, People
from appliance.records import digest_of
from appliance.trust_files import KEYS, PEOPLE, POLICY, TARGETS, Belief, pack
from hub.persist.database import Database, Work, as_json
from hub.persist.outbox import Actor, offer
from hub.trust import demand_record, files_of
from policy.errors import PolicyError
from policy.signed import InForce
from policy.source import vouched


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """What a publication is checked and finished with."""

    db: Database
    root: bytes  # pinned
    key: Ed25519PrivateKey  # the online key


def publish(hub: Hub, offered: Mapping[str, bytes], *, by: Actor, now: datetime) -> Belief | None:
    """Put this in force: roots, `targets.json` and the targets, none of them packed.

    None: it was in force already. Raises `TrustError` or `PolicyError`; then nothing has changed.
    """
    # 1. one publication after the other          3. verified as a node would
    # 2. the online key says that it is newest    4. policy, people and keys can be read
    #                                             5. stored, with its entry in the log
    with hub.db.transaction() as work:
        work.one("lock_publishing")  # 1
        before = _before(work)
        packed = {name: pack(data) for name, data in offered.items()}
        if before and _same(before, packed):
            return None
        files = _finished(hub, trust_files.merged(before, packed), before, now=now)  # 2
        belief = tuf_client.verify(hub.root, files, kept=before, now=now)  # 3
        people, keys = demand_record(PEOPLE, files, People), demand_record(KEYS, files, Keys)  # 4
        row = work.one("policy_in_force")
        earlier = InForce(**row) if row else None
        in_force = _readable(files, earlier)  # 4
        # From here on a restart finds the new set, its policy and its entry, or none of them.
        _store(work, files, belief, by=by["id"], now=now)  # 5
        work.run("take_policy", now=now, digest=in_force.digest, sequence=in_force.sequence)
        offer(
            work,
            type="policy.change",
            actor=by,
            at=now,
            body=_body(belief, in_force, earlier)
            | {"people_digest": digest_of(people), "keys_digest": digest_of(keys)},
        )
    return belief


def renew(hub: Hub, *, now: datetime) -> Belief | None:
    """Sign snapshot and timestamp anew once half their time is over; None: not yet.

    What signers signed is not touched, and what has expired of it stays expired.
    """
    with hub.db.transaction() as work:
        work.one("lock_publishing")
        before = _before(work)
        if before is None:
            return None
        stamp = trust_files.unpack("timestamp.json", before["timestamp.json"])
        if tuf_repository.expiry_of(stamp) - now > tuf_repository.ONLINE_VALID / 2:
            return None
        files = _finished(hub, before, before, now=now)
        belief = tuf_client.verify(hub.root, files, kept=before, now=now)
        _store(work, files, belief, by="hub", now=now)
    return belief


def _before(work: Work) -> dict[str, bytes] | None:
    row = work.one("publication")
    return files_of(row) if row else None


def _same(before: Mapping[str, bytes], packed: Mapping[str, bytes]) -> bool:
    return all(before.get(name) == data for name, data in packed.items())


def _finished(
    hub: Hub, files: Mapping[str, bytes], before: Mapping[str, bytes] | None, *, now: datetime
) -> dict[str, bytes]:
    for name in ("targets.json", *TARGETS):
        if name not in files:
            raise TrustError(f"{name} is missing: nothing was drafted and signed yet")
    snapshot, timestamp = tuf_repository.online(
        trust_files.unpack("targets.json", files["targets.json"]),
        snapshot_version=_next("snapshot.json", before),
        timestamp_version=_next("timestamp.json", before),
        key=hub.key,
        now=now,
    )
    return {**files, "snapshot.json": pack(snapshot), "timestamp.json": pack(timestamp)}


def _next(name: str, before: Mapping[str, bytes] | None) -> int:
    return 1 + tuf_repository.version_of(trust_files.unpack(name, before[name])) if before else 1


def _readable(files: Mapping[str, bytes], earlier: InForce | None) -> InForce:
    loaded = vouched(trust_files.unpack(POLICY, files[POLICY]), before=earlier)
    if loaded.in_force is None:
        raise PolicyError("has no sequence", file=POLICY, line=0)
    return loaded.in_force


def _store(work: Work, files: dict[str, bytes], belief: Belief, *, by: str, now: datetime) -> None:
    work.run(
        "publish",
        digest=trust_files.digest_of(files),
        files=msgspec.msgpack.encode(files),
        versions=as_json(belief.versions),
        now=now,
        by=by,
    )


def _body(belief: Belief, in_force: InForce, earlier: InForce | None) -> dict[str, Any]:
    signed = belief.roles["targets"]
    return {
        "policy_digest": in_force.digest,
        "before_digest": earlier.digest if earlier else None,
        "sequence": in_force.sequence,
        "signed_by": ", ".join(signed.keys[key] or key[:16] for key in signed.signed_by),
        "signers": list(signed.signed_by),
        "root_version": belief.roles["root"].version,
        "targets_version": signed.version,
    }
