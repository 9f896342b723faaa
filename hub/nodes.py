"""What the hub keeps about its nodes: when they were here, and which orders wait for them."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from appliance.journal import shown
from appliance.wire import sentinel_pb2 as pb
from hub.persist import halts, node_state
from hub.persist.database import Database
from hub.persist.outbox import actor, offer


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingOrder:
    """A sealed order that its node has not taken."""

    order_id: str
    node: str
    envelope: bytes
    log_size: int = 0  # of the checkpoint its proofs are under


class Nodes:
    """Asynchronous face of the node tables, for the streams."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def connected(self, node: str, hello: pb.Hello) -> None:
        """A node opened its stream."""
        await asyncio.to_thread(self._connected, node, hello)

    async def disconnected(self, node: str) -> None:
        """A node's stream ended."""
        await asyncio.to_thread(self._write, "node_disconnected", node, "node.disconnect")

    async def seen(self, nodes: list[str]) -> None:
        """These nodes have a living stream."""
        await asyncio.to_thread(self._seen, nodes)

    async def order_taken(self, node: str, order_id: str) -> None:
        """The node's executor has the order in its journal."""
        await asyncio.to_thread(self._taken, node, order_id)

    async def waiting_orders(self, nodes: list[str]) -> list[WaitingOrder]:
        """Orders that these nodes have not taken and may still take, oldest first."""
        return await asyncio.to_thread(self._waiting, nodes) if nodes else []

    async def said(self, node: str, state: pb.NodeState) -> None:
        """What a node's executor says of itself."""
        await asyncio.to_thread(
            node_state.said,
            self._db,
            node=node,
            halted=state.halted,
            reason=state.reason,
            result_key=state.result_key[:255],
            now=datetime.now(UTC),
        )

    async def halts_for(self, nodes: list[str]) -> list[tuple[str, pb.Halt]]:
        """The halts that these nodes have to obey, and the signatures that lift them."""
        return await asyncio.to_thread(self._halts, nodes) if nodes else []

    def all_disconnected(self) -> None:
        """A hub that starts has no streams yet."""
        now = datetime.now(UTC)
        with self._db.transaction() as work:
            for row in work.all("all_disconnected"):
                who = actor("node", row["name"], node=row["name"])
                body = {"node": row["name"], "reason": "the hub was started again"}
                offer(work, type="node.disconnect", actor=who, at=now, body=body)

    def _connected(self, node: str, hello: pb.Hello) -> None:
        facts: dict[str, Any] = {
            "agent_version": shown(hello.agent_version, most=80),
            "boot_id": shown(hello.boot_id, most=80),
            "dry_run": hello.dry_run,
            "spooled": min(hello.spooled, 2**53 - 1),
        }
        self._write("node_connected", node, "node.connect", **facts)

    def _write(self, query: str, node: str, entry: str, **facts: Any) -> None:
        now = datetime.now(UTC)
        with self._db.transaction() as work:
            work.run(query, node=node, now=now, **facts)
            who, body = actor("node", node, node=node), {"node": node, **facts}
            offer(work, type=entry, actor=who, at=now, body=body)

    def _seen(self, nodes: list[str]) -> None:
        with self._db.transaction() as work:
            work.run("node_seen", nodes=nodes, now=datetime.now(UTC))

    def _taken(self, node: str, order_id: str) -> None:
        with self._db.transaction() as work:
            work.run("order_taken", node=node, order_id=order_id, now=datetime.now(UTC))

    def _halts(self, nodes: list[str]) -> list[tuple[str, pb.Halt]]:
        since = datetime.now(UTC) - halts.TELL_FOR
        with self._db.transaction() as work:
            rows = work.all("halts_for", nodes=nodes, since=since)
        return [
            (
                row["node"],
                pb.Halt(
                    halt_id=str(row["halt_id"]),
                    reason=row["reason"],
                    resume=bytes(row["resumption"] or b""),
                ),
            )
            for row in rows
        ]

    def _waiting(self, nodes: list[str]) -> list[WaitingOrder]:
        with self._db.transaction() as work:
            rows = work.all("waiting_orders", nodes=nodes, now=datetime.now(UTC))
        return [
            WaitingOrder(
                order_id=str(row["order_id"]),
                node=row["node"],
                envelope=bytes(row["envelope"]),
                log_size=row["log_size"],
            )
            for row in rows
        ]
