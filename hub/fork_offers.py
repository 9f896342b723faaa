"""Nodes that do not follow the log are brought the decision that was made about it, if one was.

It is offered to a node that stands exactly where a recorded decision gives a history up. The node
judges it by itself (`agent/decided.py`); what it refuses it is offered again after a while, because
it may not have had the newest list of people.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance import records
from appliance.errors import SentinelError
from appliance.wire import sentinel_pb2 as pb
from audit import fork_decision
from audit.entry import decode
from audit.note import Vkey
from hub.log_tree import LeafHashes, LogTree
from hub.persist.database import Work
from hub.persist.witness import Newest

AGAIN_S = 15.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class ForkOffers:
    """What was offered to whom on the present streams."""

    tree: LogTree
    vkeys: Sequence[Vkey]
    _sent: dict[str, float] = field(default_factory=dict)

    def offer(
        self, work: Work, node: str, place: tuple[int, bytes], newest: Newest, leaves: LeafHashes
    ) -> pb.LogAdvance | None:
        """The decision for a node that stands there; None: there is none, or it was just sent."""
        if time.monotonic() - self._sent.get(node, -AGAIN_S) < AGAIN_S:
            return None
        for row in work.all("decision_entries", size=newest.size):
            try:
                entry = decode(row["line"].encode())
                _, decision = fork_decision.in_entry(entry, self.vkeys)
            except SentinelError as error:
                _log.error("entry %s is no decision: %s", row["seq"], error)
                continue
            if decision.gives_up(*place):
                self._sent[node] = time.monotonic()
                _log.warning("node=%s is brought the decision of entry %s", node, entry.seq)
                start = decision.go_on.size
                return pb.LogAdvance(
                    note=newest.note,
                    log_from=place[0],
                    consistency=self.tree.consistency(start, newest.size, leaves=leaves),
                    decision=records.to_json(
                        {
                            "entry": row["line"],
                            "proof": self.tree.inclusion(
                                entry.seq, newest.note, newest.size, leaves=leaves
                            ),
                        }
                    ),
                )
        return None

    def gone(self, node: str) -> None:
        """Its stream ended; on the next one it is offered at once."""
        self._sent.pop(node, None)
