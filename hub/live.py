"""What nodes say of the commands that run there now: bounded, at most so often, and never believed.

It goes to the page and nowhere else: no log entry, no state. What cannot be kept is dropped.
"""

import asyncio
import logging
import time
from datetime import UTC, datetime

from appliance.wire import sentinel_pb2 as pb
from hub.errors import DatabaseError
from hub.persist import live
from hub.persist.database import Database

LEAST_S = 0.5  # between two of one node; an honest one sends half as many

_log = logging.getLogger(__name__)


class LiveOutputs:
    """Takes the glimpses of all nodes."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._next: dict[str, float] = {}  # by node, when the next is taken

    async def heard(self, node: str, message: pb.LiveOutput) -> None:
        """Keep the newest of this node; one that comes too soon is dropped."""
        now = time.monotonic()
        if now < self._next.get(node, 0.0):
            return
        self._next[node] = now + LEAST_S
        try:
            await asyncio.to_thread(
                live.heard,
                self._db,
                node=node,
                order_id=message.order_id,
                step=message.step,
                undoing=message.undoing,
                output=message.text,
                total=message.total,
                now=datetime.now(UTC),
            )
        except DatabaseError as error:
            _log.warning("live output of node=%s dropped: %s", node, error)
