"""A moment that no change of the clock moves: the wall clock, and how long this boot has lasted."""

import time
from datetime import UTC, datetime

from agent.proc import boot_id
from appliance.records import Record


class Moment(Record, frozen=True, kw_only=True):
    """When something was, by the wall clock and by the kernel."""

    at: datetime
    boot: str = ""  # the kernel's name for the boot; empty: not known
    up_s: float = 0.0  # since that boot, asleep or awake

    def age_s(self, earlier: "Moment") -> float:
        """How long ago something was.

        Within one boot the kernel counts, whatever the clock says. What was before this boot is at
        least as old as the boot; how much older only the clock can tell, and one that was set back
        tells nothing.
        """
        if earlier.boot and earlier.boot == self.boot:
            return max(0.0, self.up_s - earlier.up_s)
        return max(self.up_s, (self.at - earlier.at).total_seconds())


def now() -> Moment:
    """This moment."""
    return Moment(
        at=datetime.now(UTC), boot=boot_id(), up_s=time.clock_gettime(time.CLOCK_BOOTTIME)
    )
