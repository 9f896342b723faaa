"""Signed trust for the agents' streams: what a node lacks of what is published, and what it said.

A node is told of a set once on each stream; whether it believes it is its own business.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from appliance.journal import shown
from appliance.trust_files import ROLES, TARGETS
from appliance.wire import sentinel_pb2 as pb
from hub.persist.database import Database, as_json
from hub.trust import HubTrust

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one node is sent."""

    digest: str  # of the published set
    message: pb.FromHub


class TrustOffers:
    """Asynchronous face of the published set, for the streams; without a root it has nothing."""

    def __init__(self, db: Database, trust: HubTrust | None) -> None:
        self._db = db
        self._trust = trust

    async def held(self, node: str, said: pb.TrustHeld) -> None:
        """Keep what a node says that it believes."""
        versions = {role: said.versions[role] for role in ROLES if role in said.versions}
        refusal = shown(said.refusal, most=1000)
        if refusal:
            _log.warning("node=%s on signed trust: %s", shown(node, most=80), refusal)
        await asyncio.to_thread(self._keep, node, versions, refusal)

    async def lacking(self, versions: Mapping[str, int]) -> Offer | None:
        """The files that a node of these versions lacks; None when it has what is published."""
        return await asyncio.to_thread(self._lacking, dict(versions))

    def _keep(self, node: str, versions: dict[str, int], refusal: str) -> None:
        bounded = {role: min(version, 2**53 - 1) for role, version in versions.items()}
        with self._db.transaction() as work:
            work.run(
                "node_trust",
                node=node,
                versions=as_json(bounded),
                refusal=refusal,
                now=datetime.now(UTC),
            )

    def _lacking(self, versions: dict[str, int]) -> Offer | None:
        if self._trust is None:
            return None
        with self._db.transaction() as work:
            found = self._trust.published(work)
        if found is None or found.belief.versions == versions:
            return None
        # A renewal of the online part is small; the node adds the targets that it has.
        has_targets = found.belief.versions["targets"] == versions.get("targets")
        files = {
            name: data
            for name, data in found.files.items()
            if not (has_targets and name in TARGETS)
        }
        message = pb.FromHub(trust=pb.TrustBundle(files=files))
        return Offer(digest=found.digest, message=message)
