"""The agent, killed, cut from power or let down by its disk at each call that its spool makes.

Each time it finds something, hands an order to a real executor, and tells report and recovery; who
dies is started again on what the crash left. Whatever happens: the finding is one finding, the
order ran once, its report arrives under one id, the end is told with the order it is due to, and
the spool opens again with all that it promised.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.agent_world import World, world
from tests.crash.matrix import of_commits, part_of, strike_all
from tests.crash.preload import WHOLE, Point

pytestmark = pytest.mark.crash
PARTS = 12 if WHOLE else 1
STATUS_CYCLES = 2  # its file is written in every cycle: as often as there is time


@pytest.fixture
def site(tmp_path: Path, library: Path) -> Iterator[World]:
    with world(tmp_path, library) as one:
        yield one


def of_a_life(site: World) -> list[Point]:
    """The calls from the first start to the end of a finding."""
    mark = site.agent.watched.mark()
    site.live()
    points = site.agent.watched.points(mark)
    return [
        point
        for point in points
        if "status.json" not in point.label or point.occurrence <= STATUS_CYCLES
    ]


@pytest.mark.parametrize("part", range(PARTS))
def test_struck_at_each_call_of_its_spool_all_is_told_once(site: World, part: int) -> None:
    blows = part_of(of_commits(of_a_life(site)), part, PARTS, sample=4)
    strike_all(blows, site.live, struck=lambda: site.agent.watched.struck)
