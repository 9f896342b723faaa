"""Nodes as witnesses of the audit log: what each is offered, and what its answer means.

Every few seconds the newest checkpoint makes a round: each node is offered the same one, so that
their cosignatures come together under it, each with the proof from where that node stands. A node
that stands elsewhere than in our log is never talked out of it: it is offered what we have,
refuses, and its evidence is stored, logged and shown. Whether that is an attack or a restored
backup is for a person to say.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from appliance.journal import shown
from appliance.wire import sentinel_pb2 as pb
from audit.checkpoint import Checkpoint, open_checkpoint, split_notes
from audit.cosignature import parse_witness, verify_line
from audit.errors import AuditRefusedError
from audit.note import parse_vkey
from hub.fork_offers import ForkOffers
from hub.log_tree import LeafHashes, LogTree
from hub.persist.database import Database, Work
from hub.persist.witness import (
    KEPT_COSIGNATURES,
    Newest,
    follows,
    forked,
    leaf_hashes,
    newest_checkpoint,
    pin_key,
)

ROUND_EVERY_S = 3.0
ROUND_PER_NODE_S = 0.01  # a large fleet answers a round in more time than a small one
MOST_KEPT_CHARS = 128 * 1024  # of a node's evidence
MAX_SIZE = 2**53 - 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where a node says it stands."""

    size: int
    root: bytes
    forked: bool = False


@dataclass(slots=True)
class Witnesses:
    """Asynchronous face of the log and the witness tables, for the streams."""

    db: Database
    tree: LogTree
    vkey: str  # of the audit log
    _stands: dict[str, Stand] = field(default_factory=dict)  # heard on the present stream
    _sent: dict[str, tuple[int, int]] = field(default_factory=dict)  # round's size, node's size
    _round: Newest | None = None
    _round_at: float = 0.0
    _decisions: ForkOffers = field(init=False)

    def __post_init__(self) -> None:
        """What was decided about the log is offered by the same tree."""
        vkeys = [parse_vkey(line) for line in self.vkey.split()]
        self._decisions = ForkOffers(self.tree, vkeys)

    async def heard(self, node: str, message: pb.LogSeen) -> None:
        """A node says where it stands."""
        self._stands[node] = await asyncio.to_thread(self._heard, node, message)

    def stale(self, node: str, seen_size: int) -> None:
        """A node says that it stands elsewhere than we thought; its root comes later."""
        if seen_size <= MAX_SIZE:
            self._stands[node] = Stand(size=seen_size, root=b"")

    def gone(self, node: str) -> None:
        """Its stream ended; on the next one it says anew where it stands."""
        self._stands.pop(node, None)
        self._sent.pop(node, None)
        self._decisions.gone(node)

    async def offers(self, nodes: Sequence[str]) -> list[tuple[str, pb.LogAdvance]]:
        """What these nodes should be offered now."""
        if not self._is_due():
            nodes = [node for node in nodes if self._may_be_offered(node)]
        return await asyncio.to_thread(self._offers, nodes) if nodes else []

    def current(self, newest: Newest | None) -> Newest | None:
        """The checkpoint that makes its round: all are asked for the same one."""
        if newest is not None and (
            self._round is None or self._is_due() or self._round.size > newest.size
        ):
            self._round, self._round_at = newest, time.monotonic()
        return self._round

    async def proof(self, node: str, size: int) -> tuple[int, tuple[bytes, ...]]:
        """Where a node stands, and the proof between there and a checkpoint of this size."""
        return await asyncio.to_thread(self._proof, node, size)

    # What a node says -------------------------------------------------------------------------

    def _heard(self, node: str, message: pb.LogSeen) -> Stand:
        # 1. it has the form of a place in a log     3. it is a place in our log
        # 2. it did not refuse us                    4. only then its signature counts
        now = datetime.now(UTC)
        stand = _stand(message)  # 1
        notes = self._evidence(message.kept)
        with self.db.transaction() as work:
            row = work.one("witness_state", node=node)
            if row is None:
                return stand
            work.run("witness_seen", node=node, size=stand.size, root=stand.root.hex(), now=now)
            why = shown(message.fork or message.refusal)  # 2
            why = why or self._elsewhere(work, stand)  # 3
            pinned = self._pinned(work, node, row, message.vkey, now=now)
            if why:
                if forked(work, node=node, reason=why, notes=notes, now=now):
                    _log.critical("node=%s does not follow the audit log: %s", node, why)
            elif stand.size:
                follows(work, node=node, size=stand.size, now=now)
                self._cosigned(work, node, pinned, message.cosignature, stand, now=now)  # 4
        return stand

    def _elsewhere(self, work: Work, stand: Stand) -> str:
        """Why this place is not in our log; empty when it is."""
        newest = newest_checkpoint(work)
        if stand.size == 0:
            return ""
        if newest is None or stand.size > newest.size:
            ours = newest.size if newest else 0
            return (
                f"it has accepted {stand.size} entries of the log, this hub has {ours}: "
                "the hub was set back, or is another one"
            )
        leaves = leaf_hashes(work)
        self.tree.follow(newest.size, newest.root, leaves=leaves)
        if self.tree.root(stand.size, leaves=leaves) != stand.root:
            return f"its first {stand.size} entries of the log are not those of this hub"
        return ""

    def _evidence(self, kept: str) -> list[str]:
        """The notes that our log's key really signed; a node can send what it likes."""
        if not kept or len(kept) > MOST_KEPT_CHARS:
            return []
        found = []
        try:
            for note in split_notes(kept.encode())[0][:2]:
                open_checkpoint(note, [parse_vkey(self.vkey)])
                found.append(note)
        except (AuditRefusedError, UnicodeEncodeError):
            return found
        return found

    def _pinned(
        self, work: Work, node: str, row: dict[str, object], vkey: str, *, now: datetime
    ) -> str:
        """The node's key as it is pinned; another one is shown to an administrator, not believed.

        A node has one name, its certificate's, and cannot speak as another witness.
        """
        pinned = str(row["witness_vkey"])
        try:
            if not vkey or parse_witness(vkey).name != node:
                return pinned
        except AuditRefusedError as error:
            _log.warning("node=%s shows no witness key: %s", node, error)
            return pinned
        if not pinned:
            pin_key(work, node=node, vkey=vkey, before="", now=now)
            return vkey
        if vkey != pinned and vkey != row["witness_other"]:
            work.run("witness_other", node=node, vkey=vkey)
            _log.error("node=%s cosigns with another key than the one that was pinned", node)
        return pinned

    def _cosigned(
        self, work: Work, node: str, vkey: str, line: str, stand: Stand, *, now: datetime
    ) -> None:
        if not line or not vkey:
            return
        origin = parse_vkey(self.vkey).name
        text = Checkpoint(origin=origin, size=stand.size, root=stand.root).text
        try:
            verify_line(text, line, parse_witness(vkey))
        except AuditRefusedError as error:
            _log.warning("node=%s: its cosignature counts for nothing: %s", node, error)
            return
        work.run(
            "witness_cosigned",
            node=node,
            size=stand.size,
            root=stand.root.hex(),
            vkey=vkey,
            cosignature=line,
            now=now,
        )
        work.run("witness_prune", node=node, keep=KEPT_COSIGNATURES)

    # What a node is offered -------------------------------------------------------------------

    def _is_due(self) -> bool:
        pause_s = max(ROUND_EVERY_S, len(self._stands) * ROUND_PER_NODE_S)
        return time.monotonic() - self._round_at >= pause_s

    def _may_be_offered(self, node: str) -> bool:
        stand = self._stands.get(node)
        if stand is None or stand.forked:  # has not spoken yet, or waits for a person
            return False
        size, root = (self._round.size, self._round.root) if self._round else (0, b"")
        there = (stand.size, stand.root) == (size, root)
        return not there and self._sent.get(node) != (size, stand.size)

    def _offers(self, nodes: Sequence[str]) -> list[tuple[str, pb.LogAdvance]]:
        with self.db.transaction() as work:
            newest = newest_checkpoint(work)
            if newest is None:
                return []
            leaves = leaf_hashes(work)
            self.tree.follow(newest.size, newest.root, leaves=leaves)
            self.current(newest)
            offers = (
                (
                    node,
                    self._decided(work, node, newest, leaves) or self._offer(node, newest, leaves),
                )
                for node in nodes
            )
            return [(node, message) for node, message in offers if message is not None]

    def _decided(
        self, work: Work, node: str, newest: Newest, leaves: LeafHashes
    ) -> pb.LogAdvance | None:
        """For a node that does not follow our log, what was decided about that."""
        stand = self._stands.get(node)
        if stand is None or not stand.root or not (stand.forked or stand.size > newest.size):
            return None
        return self._decisions.offer(work, node, (stand.size, stand.root), newest, leaves)

    def _offer(self, node: str, newest: Newest, leaves: LeafHashes) -> pb.LogAdvance | None:
        stand, current = self._stands.get(node), self._round
        if stand is None or current is None or not self._may_be_offered(node):
            return None
        if current.size < stand.size <= newest.size:
            return None  # an order brought it further already
        self._sent[node] = (current.size, stand.size)
        path: tuple[bytes, ...] = ()
        if stand.size <= newest.size:
            path = self.tree.consistency(stand.size, current.size, leaves=leaves)
        return pb.LogAdvance(note=current.note, log_from=stand.size, consistency=path)

    def _proof(self, node: str, size: int) -> tuple[int, tuple[bytes, ...]]:
        with self.db.transaction() as work:
            row = work.one("witness_state", node=node)
            stand = self._stands.get(node)
            seen = stand.size if stand else int(row["seen_size"]) if row else 0
            newest = newest_checkpoint(work)
            if seen in (0, size) or newest is None or max(seen, size) > newest.size:
                return seen, ()
            leaves = leaf_hashes(work)
            self.tree.follow(newest.size, newest.root, leaves=leaves)
            return seen, self.tree.consistency(seen, size, leaves=leaves)


def _stand(message: pb.LogSeen) -> Stand:
    try:
        root = bytes.fromhex(message.root)
    except ValueError:
        root = b""
    size = message.size if len(root) == 32 and message.size <= MAX_SIZE else 0  # noqa: PLR2004
    return Stand(size=size, root=root if size else b"", forked=bool(message.fork))
