"""The hub, killed or cut off from its database at every statement that changes something.

Each time one incident goes from its finding to `resolved` through the real hub, which is started
again when it dies. Whatever happens: every step is made once and told once, one approval becomes
one order, the node runs it once, and the log verifies. "Cut off" goes both ways: the statement
never arrived, or it was carried out and the answer was lost.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.hub_world import World, world
from tests.crash.matrix import hangups, kills, of_sql, of_statements, part_of, strike_all
from tests.crash.preload import WHOLE, Point

pytestmark = [pytest.mark.postgres, pytest.mark.crash]
PARTS = 12 if WHOLE else 1


@pytest.fixture
def site(
    tmp_path: Path, library: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.setattr("agent.transport.LEAST_WAIT_S", 0.1)
    monkeypatch.setattr("agent.transport.MOST_WAIT_S", 0.3)
    with world(tmp_path, library, dsn) as one:
        yield one


def of_a_life(site: World) -> list[Point]:
    """The statements of one incident's life, without those of the heartbeat."""
    mark = site.hub.watched.mark()
    site.live()
    points = of_sql(site.hub.watched.points(mark))
    return [point for point in points if not any(word in point.label for word in _BEATS)]


_BEATS = ("A part says that it lives", "These nodes have a living stream")


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_or_cut_off_at_each_statement_an_incident_goes_its_way_once(
    site: World, part: int
) -> None:
    site.live()  # from here on statements are prepared, and counted as in the run to be struck
    blows = part_of(of_statements(of_a_life(site)), part, PARTS, sample=3)
    strike_all(blows, site.live, struck=lambda: site.hub.watched.struck)
    assert site.verify() == 0


def test_killed_or_cut_off_at_each_statement_of_its_start_it_starts_again(site: World) -> None:
    mark = site.hub.watched.mark()
    site.hub.start()
    site.live()
    points = [
        point
        for point in of_sql(site.hub.watched.points(mark))
        if "policy" in point.label or "no streams" in point.label
    ]
    assert points
    for blow in part_of([*kills(points), *hangups(points)], 0, 1, sample=1):
        site.begin(blow)
        site.live()
    assert site.verify() == 0
