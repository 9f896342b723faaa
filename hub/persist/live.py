"""The newest glimpse of what a node's running command printed: for the page, and nothing else."""

from datetime import datetime

from appliance.ids import is_uuid
from hub.persist.database import Database, Row

MOST_OUTPUT = 4096  # characters, as `agent/live_output.py` sends them
_MOST_STEP = 255


def heard(
    db: Database,
    *,
    node: str,
    order_id: str,
    step: int,
    undoing: bool,
    output: str,
    total: int,
    now: datetime,
) -> None:
    """Keep it in the place of the one before; what is of no order that runs there is dropped."""
    if not is_uuid(order_id):
        return
    with db.transaction() as work:
        work.run(
            "live_heard",
            node=node,
            order_id=order_id,
            step=min(step, _MOST_STEP),
            undoing=undoing,
            output=output[-MOST_OUTPUT:].replace("\0", ""),
            total=min(total, 2**53 - 1),
            now=now,
        )


def of(db: Database, incident_id: str) -> Row | None:
    """What runs for this incident now, as far as its node has said."""
    with db.transaction() as work:
        return work.one("live_of", incident_id=incident_id)
