"""Trust as it is when a command starts: what was judged under an earlier set is judged again.

An order may wait for its turn, and between its judgement and the start of a command signers may
take back the key it came under, a person or a rule. Who asks here holds the lock under which trust
changes until the start is in the journal: a change is either before the start, and counts, or
after it. What has started is not taken back by this; the kill switch is for that.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agent import order_check, undo_check
from agent.belief import Believed
from agent.errors import OrderRefusedError
from agent.execution_journal import Past
from agent.order_check import Checked, Runnable
from agent.order_store import OrderStore
from agent.proc import boot_id, started_ticks
from agent.trust import Trust
from agent.undo_check import Rollback
from appliance.records import Mode


@dataclass(frozen=True, slots=True)
class Taken:
    """An order that is used up and waits for its turn, still sealed."""

    order_id: str
    envelope: bytes


@dataclass(slots=True)
class Again:
    """The check of one order or rollback, to be repeated for the commands that are left.

    `first` is asked, and the start written down, while `unchanging` is held.
    """

    trust: Trust
    unchanging: "threading.Lock"  # under which trust changes
    check: Callable[[Collection[int]], Checked | Rollback]
    by: Believed | None  # the set that it passed under
    fresh: dict[int, Runnable] | None = None  # as they were judged last, when that was again

    def first(self, left: Sequence[Runnable]) -> Runnable:
        """The next command as it may run now; raises `OrderRefusedError` if it may not."""
        now = self.trust.believed
        if not _same(self.by, now):
            passed = self.check([one.index for one in left])
            self.fresh = {one.index: one for one in passed.steps}
        self.by = now
        if self.fresh is None:
            return left[0]
        if left[0].index not in self.fresh:
            raise OrderRefusedError("8 policy", "this command is for a person now")
        return self.fresh[left[0].index]


def order(
    taken: Taken, trust: Trust, *, now: datetime, left: Collection[int] | None = None
) -> Checked:
    """Checks 0 to 10 of an order, its signature too, by what is believed now.

    `now` is the moment of the first judgement: an order that began in time is in time.
    """
    opened = order_check.open_order(taken.envelope, trust)  # 1, 2
    live = trust.mode is Mode.LIVE and opened.shown.mode is Mode.LIVE
    trust.demand_trusted(live=live, clock=datetime.now(UTC))  # 0
    return order_check.check(
        opened, trust, now=now, boot_id=boot_id(), started=started_ticks, left=left
    )


def rollback(
    past: Past,
    store: OrderStore,
    trust: Trust,
    *,
    now: datetime,
    left: Collection[int] | None = None,
) -> Rollback:
    """The checks of a rollback by what is believed now."""
    trust.demand_trusted(live=True, clock=datetime.now(UTC))  # undo 0
    return undo_check.check(
        past, store, trust, now=now, boot_id=boot_id(), started=started_ticks, left=left
    )


def _same(before: Believed | None, now: Believed | None) -> bool:
    """Whether the two sets judge alike: a renewal of the online signatures changes nothing."""
    if before is now:
        return True
    if before is None or now is None:
        return False
    return (before.bundle.digest, before.people, before.keys) == (
        now.bundle.digest,
        now.people,
        now.keys,
    )
