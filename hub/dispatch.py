"""Release approved plans as signed orders: one order for one approval, with its proof.

No audit, no action: an order carries the entry of its approval and the proof that this entry is
in the log. The proof is checked here before it leaves, so that a mistake of ours is found on the
hub and not on the node at night.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import envelope, records
from appliance.ids import uuid7
from appliance.people import Keys
from appliance.records import Approval, Finding, Logged, Order, Shown
from audit import proof
from audit.cosignature import WitnessKey, parse_witness
from audit.errors import ProofError
from hub.errors import NotaryError
from hub.log_tree import LeafHashes, LogTree

__all__ = ["LeafHashes", "OrderDesk"]


@dataclass(slots=True, kw_only=True)
class OrderDesk:
    """Holds the order key; makes orders that a node will believe."""

    key: Ed25519PrivateKey
    vkey: str  # of the audit log
    valid_for: timedelta  # a node that gets the order later refuses it
    command_timeout_s: float
    witness_vkeys: tuple[WitnessKey, ...] = ()  # who may have seen an order's checkpoint
    witness_quorum: int = 0  # how many of them must have
    tree: LogTree = field(default_factory=LogTree)

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

    def take_keys(self, keys: Keys) -> None:
        """From now on orders wait for this quorum of these witnesses."""
        self.witness_vkeys = tuple(parse_witness(text) for text in keys.witness_vkeys)
        self.witness_quorum = keys.witness_quorum

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
        try:
            text = self.tree.inclusion(one["seq"], row["note"], row["size"], leaves=leaves)
            proof.verify_inclusion(text, one["line"].encode(), self.vkey)
        except ProofError as error:
            raise NotaryError(f"the log's index does not prove the approval: {error}") from error
        return text
