"""Change windows: the times, in UTC, at which a rule with `change_window` lets a command run.

They are part of the policy, so hub and node look at the same ones, each with its own clock.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """From `start` to before `end`, in minutes of the day, UTC; over midnight if `end` is less."""

    days: frozenset[int]  # of its start, Monday is 0
    start: int
    end: int

    def holds(self, at: datetime) -> bool:
        """Whether the moment is in the window."""
        moment = at.astimezone(UTC)
        minute, day = moment.hour * 60 + moment.minute, moment.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        began_yesterday = (day - 1) % 7 in self.days and minute < self.end
        return (day in self.days and minute >= self.start) or began_yesterday


def is_open(windows: Iterable[Window], at: datetime) -> bool:
    """Whether one of the windows is open; without windows none ever is."""
    return any(window.holds(at) for window in windows)


def window(days: Iterable[str], start: str, end: str) -> Window:
    """The window of a rule file; raises `ValueError` that says what is wrong."""
    unknown = sorted(set(days) - set(DAYS))
    if unknown:
        raise ValueError(f"no day is called {unknown[0]!r}; write {' '.join(DAYS)}")
    found = Window(
        days=frozenset(DAYS.index(day) for day in days) or frozenset(range(7)),
        start=_minutes(start),
        end=_minutes(end),
    )
    if found.start == found.end:
        raise ValueError("it starts and ends at the same time")
    return found


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    if not (len(clock) == len("00:00") and hours.isdecimal() and minutes.isdecimal()):
        raise ValueError(f"{clock!r} is no time of day; write 22:00")
    total = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or total >= _DAY_MINUTES:  # noqa: PLR2004
        raise ValueError(f"{clock!r} is no time of day; write 00:00 to 23:59")
    return total
