"""The executor, killed, cut from power or let down by its disk at every call of its write path.

One honest order of two commands goes through the real process each time. Whatever happens: each
command ran at most once, the second not before the first, what ran was told as run, what was told
as done is done, nothing that was acknowledged is lost, and the journal opens again.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.records import Outcome
from tests.crash.executor_world import World, demand, world
from tests.crash.matrix import failures, kills, part_of, strike_all
from tests.crash.power import Image
from tests.crash.preload import WHOLE, Blow, Point

pytestmark = pytest.mark.crash
PARTS = 6 if WHOLE else 1


@pytest.fixture
def node(tmp_path: Path, library: Path) -> Iterator[World]:
    with world(tmp_path, library) as one:
        yield one


def of_the_start(node: World) -> list[Point]:
    """The calls of a start, from the folder as it is."""
    before, mark = Image.of(node.watched.root), node.watched.mark()
    node.start()
    node.stop()
    before.put(node.watched.root)
    return node.watched.points(mark)


def of_the_order(node: World) -> list[Point]:
    """The calls from an order's arrival to the confirmation of its report."""
    node.start()
    mark, story = node.watched.mark(), node.story()
    node.live(story)
    node.stop()
    demand(story, (1, 1))
    assert story.confirmed
    return node.watched.points(mark)


def strike_order(node: World, blow: Blow) -> None:
    """Run an order into the blow, then see what each restart makes of it."""
    node.renew()
    node.start()
    story = node.story()
    node.watched.arm(blow)
    node.live(story)
    assert node.watched.struck, "the call was never made"
    node.aftermath(story, blow)


def strike_start(node: World, blow: Blow) -> None:
    """Start into the blow; what comes after must start, and run an order."""
    answers = node.start(blow)
    assert node.watched.struck, "the call was never made"
    story = node.story()
    if answers:
        node.live(story)
    node.aftermath(story, blow)


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_or_cut_from_power_at_each_call_an_order_runs_at_most_once_and_is_told(
    node: World, part: int
) -> None:
    blows = part_of(kills(of_the_order(node)), part, PARTS, sample=4)
    strike_all(blows, lambda blow: strike_order(node, blow))


@pytest.mark.parametrize("part", range(PARTS))
def test_let_down_by_its_disk_at_each_call_an_order_runs_at_most_once_and_is_told(
    node: World, part: int
) -> None:
    blows = part_of(failures(of_the_order(node)), part, PARTS, sample=3)
    strike_all(blows, lambda blow: strike_order(node, blow))


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_or_let_down_at_each_call_of_its_first_start_it_starts_again(
    node: World, part: int
) -> None:
    points = of_the_start(node)

    def strike(blow: Blow) -> None:
        node.renew()
        strike_start(node, blow)

    strike_all(part_of([*kills(points), *failures(points)], part, PARTS, sample=2), strike)


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_or_let_down_at_each_call_of_its_recovery_it_still_tells_the_order_as_unknown(
    node: World, part: int
) -> None:
    order = of_the_order(node)
    node.start()
    story = node.story()
    node.watched.arm(Blow(point=second_start_of_a_command(order)))
    node.live(story)
    node.stop()
    crashed = Image.of(node.watched.root)
    ran = node.counts()
    points = of_the_start(node)

    def strike(blow: Blow) -> None:
        node.stop()
        crashed.put(node.watched.root)
        node.start(blow)
        assert node.watched.struck, "the call was never made"
        node.aftermath(story, blow)
        assert node.counts() == ran, "it ran again"

    strike_all(part_of([*kills(points), *failures(points)], part, PARTS, sample=2), strike)
    crashed.put(node.watched.root)
    node.start()
    node.live(story)
    assert story.report is not None
    assert story.report.outcome is Outcome.UNKNOWN


def second_start_of_a_command(points: list[Point]) -> Point:
    """The sync before the second command, which is in the middle of an order: the first has run."""
    syncs = [point for point in points if point.label == "fdatasync journal.jsonl"]
    return syncs[len(syncs) // 2]
