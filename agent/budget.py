"""How many commands that change something a node runs in an hour, whatever it is ordered.

Counted from the execution journal, so a restart refills nothing; counted by the kernel's clock
within a boot, so setting the wall clock refills nothing either. A rollback counts, and is never
refused for it: it only takes back what was already counted, and a node that may break something
must be able to mend it.
"""

from collections.abc import Iterable

from agent.errors import OrderRefusedError
from agent.execution_journal import Action
from agent.moment import Moment

WINDOW_S = 3600.0


def used(actions: Iterable[Action], *, now: Moment) -> int:
    """How many acting commands were begun in the last hour."""
    return sum(one.count for one in actions if now.age_s(one.at) < WINDOW_S)


def demand_room(actions: Iterable[Action], *, wanted: int, most: int, now: Moment) -> None:
    """Check 11: so many more fit into the hour; says when there is room again."""
    recent = sorted(
        ((now.age_s(one.at), one.count) for one in actions if now.age_s(one.at) < WINDOW_S),
        reverse=True,  # the oldest first: it is the first to fall out
    )
    over = sum(count for _, count in recent) + wanted - most
    if over <= 0 or not wanted:
        return
    if wanted > most:
        raise OrderRefusedError(
            "11 budget", f"it has {wanted} acting commands, this node runs at most {most} an hour"
        )
    wait_s = 0.0
    for age_s, count in recent:
        wait_s, over = WINDOW_S - age_s, over - count
        if over <= 0:
            break
    raise OrderRefusedError(
        "11 budget",
        f"{sum(count for _, count in recent)} acting commands ran in the last hour, at most {most};"
        f" there is room for {wanted} in {max(1, round(wait_s / 60))} min",
    )
