"""Release approved plans as signed orders: one order for one approval, with its proof.

No audit, no action: an order carries the entry of its approval and the proof that this entry is
in the log. The proof is checked here before it leaves, so that a mistake of ours is found on the
hub and not on the node at night.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import envelope, records
from appliance.ids import uuid7
from appliance.records import Approval, Finding, Logged, Order, Shown
from audit import proof
from audit.errors import ProofError
from audit.merkle import HASH_BYTES, Subtrees
from hub.errors import NotaryError

LeafHashes = Callable[[int, int], list[bytes]]
"""The leaf hashes of the entries from the first number up to, not including, the second."""


@dataclass(slots=True, kw_only=True)
class OrderDesk:
    """Holds the order key; makes orders that a node will believe."""

    key: Ed25519PrivateKey
    vkey: str  # of the audit log
    valid_for: timedelta  # a node that gets the order later refuses it
    command_timeout_s: float
    _leaves: bytearray = field(default_factory=bytearray)  # 32 bytes an entry, only ever longer
    _subtrees: Subtrees | None = None

    def order(
        self, row: dict[str, Any], *, leaves: LeafHashes, now: datetime
    ) -> tuple[Order, bytes]:
        """The order for an approved incident, and its sealed envelope."""
        shown = records.from_builtins(row["shown"], Shown)
        order = Order(
            order_id=uuid7(),
            node=row["node"],
            shown=shown,
            finding=records.from_builtins(row["finding"], Finding),
            approvals=tuple(
                Logged(
                    approval=records.from_builtins(one["approval"], Approval),
                    entry=one["line"],
                    proof=self._proof(row, one, leaves),
                )
                for one in row["approvals"]
            ),
            timeout_s=self.command_timeout_s,
            not_after=min(now + self.valid_for, shown.not_after),
        )
        payload = records.to_json(order)
        return order, envelope.seal(payload, payload_type=envelope.ORDER_TYPE, key=self.key)

    @staticmethod
    def entry(order: Order, sealed: bytes) -> dict[str, Any]:
        """The body of the `exec.order` entry."""
        return {
            "order_id": order.order_id,
            "order_digest": records.digest_of(order),
            "envelope_bytes": len(sealed),
            "node": order.node,
            "mode": order.shown.mode.value,
            "not_after": order.not_after.isoformat(),
        }

    def _proof(self, row: dict[str, Any], one: dict[str, Any], leaves: LeafHashes) -> str:
        known = len(self._leaves) // HASH_BYTES
        for leaf in leaves(known, row["size"]):
            self._leaves += leaf
        if self._subtrees is None:
            self._subtrees = Subtrees(self._leaf)
        try:
            text = proof.make(one["seq"], row["note"], self._subtrees)
            proof.verify_inclusion(text, one["line"].encode(), self.vkey)
        except ProofError as error:
            raise NotaryError(f"the log's index does not prove the approval: {error}") from error
        return text

    def _leaf(self, index: int) -> bytes:
        return bytes(self._leaves[index * HASH_BYTES : (index + 1) * HASH_BYTES])
