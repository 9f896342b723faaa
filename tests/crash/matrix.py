"""Which blows a matrix strikes: all of them in `make prove`, a sample of them in `make test`.

The points are enumerated by running the process once, so a write path that is added is struck
without anybody naming it. SENTINEL_CRASH_POINTS=all strikes them all.
"""

import errno
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle

from tests.crash.power import Loss
from tests.crash.preload import WHOLE, Action, Blow, Point

_COMMITS = "sql! COMMIT"
_ALREADY = 2  # complaints of one matrix that are told in full


def kills(points: Iterable[Point]) -> list[Blow]:
    """Before and after each call."""
    return [Blow(point=point, after=after) for point in points for after in (False, True)]


def failures(points: Iterable[Point]) -> list[Blow]:
    """Each call refused, and each write cut short, with and without an error behind it."""
    blows = []
    for point in points:
        blows.append(Blow(point=point, action=Action.FAIL, error=errno.EIO))
        if point.label.startswith("write"):
            blows.append(Blow(point=point, action=Action.FAIL, error=errno.ENOSPC))
            blows.append(Blow(point=point, action=Action.SHORT, error=errno.ENOSPC))
            blows.append(Blow(point=point, action=Action.SHORT))
    return blows


def hangups(points: Iterable[Point]) -> list[Blow]:
    """The connection is gone: before the statement arrived, and after, when nobody knows."""
    blows = []
    for point in points:
        blows.append(Blow(point=point, action=Action.FAIL, error=errno.ECONNRESET))
        blows.append(Blow(point=point, action=Action.HANGUP))
    return blows


def of_commits(points: Sequence[Point]) -> list[Blow]:
    """For SQLite, which writes many pages and then syncs: each sync, and the ends of each writing.

    What can be lost before a sync is lost in one way after the other, from point to point.
    """
    blows = []
    losses, disks = cycle((Loss.ALL, Loss.HALF, Loss.ZEROS)), cycle((True, False))
    for number, point in enumerate(points):
        around = points[max(0, number - 1) : number + 2]
        if "sync" in point.label:
            blows.append(Blow(point=point, loss=next(losses)))
            blows.append(Blow(point=point, after=True, loss=Loss.ALL))
            blows += failures([point]) if next(disks) else []
        elif any(other.label != point.label for other in around):
            dies = Blow(point=point, after=True, loss=next(losses))
            blows.append(failures([point])[-1] if next(disks) else dies)
    return blows


def of_statements(points: Iterable[Point]) -> list[Blow]:
    """At the end of a transaction all that can happen; within one, a kill and a lost connection."""
    blows = []
    for number, point in enumerate(points):
        if point.label.startswith(_COMMITS):
            blows += [*kills([point]), *hangups([point])]
        elif number % 2:
            blows.append(Blow(point=point, after=True))
        else:
            blows.append(Blow(point=point, action=Action.FAIL, error=errno.ECONNRESET))
    return blows


def of_files(points: Iterable[Point]) -> list[Point]:
    """Those that change files."""
    return [point for point in points if not point.label.startswith("sql")]


def of_sql(points: Iterable[Point]) -> list[Point]:
    """Statements that change something in the database, and the ends of their transactions."""
    return [point for point in points if point.label.startswith("sql!")]


def part_of(blows: Sequence[Blow], part: int, parts: int, *, sample: int) -> list[Blow]:
    """This part's blows: of the whole, or of a sample of so many spread over all."""
    assert blows, "there is nothing to strike: does the tool see the process?"
    if not WHOLE:
        step = max(1, len(blows) // sample)
        blows = blows[step // 2 :: step][:sample]
    return list(blows[part::parts])


def strike_all(
    blows: Sequence[Blow],
    strike: Callable[[Blow], None],
    *,
    struck: Callable[[], bool] = lambda: True,
) -> None:
    """Strike each, and tell which of them hurt.

    What several threads do by the clock is not done as often in every run: where `struck` is asked,
    a few blows may miss.
    """
    hurt, missed = [], []
    for blow in blows:
        try:
            strike(blow)
        except AssertionError as error:
            hurt.append(f"{blow}:\n{error}" if len(hurt) < _ALREADY else str(blow))
        missed += [] if struck() else [str(blow)]
    assert not hurt, f"{len(hurt)} of {len(blows)} blows:\n" + "\n".join(hurt)
    assert len(missed) <= len(blows) // 4, f"calls that were not made this time: {missed}"
