"""A rollback under the same blows: taken back at most once, and never silently.

The order signals the first victim; its rollback, approved with it, signals the second. So what was
done and what was taken back are counted apart. The order itself has run and is told before the
blow; the agent asks for the rollback until it has a report on it, as the real one does.
"""

from dataclasses import dataclass

from agent.errors import SocketError
from appliance.records import Outcome, Report
from tests.attacks.forge import wait_for
from tests.crash.executor_world import NOT_RUN, Story, World
from tests.crash.preload import Blow


@dataclass(slots=True, kw_only=True)
class Taking:
    """A rollback on its way, and what its asker was told of it so far."""

    story: Story
    before: tuple[int, ...]
    taken: bool = False
    report: Report | None = None
    confirmed: bool = False


def ready(world: World) -> Taking:
    """An order that ran and is told; it did not help."""
    first, second = world.victims
    finding = world.forge.finding(first.pid, second.pid)
    order = world.forge.order(finding, first.command, undos=(second.command,))
    story = Story(order=order, sealed=world.forge.seal(order), before=world.counts())
    world.live(story)
    assert story.confirmed
    assert story.report is not None
    assert story.report.outcome is Outcome.SUCCEEDED, story.report
    return Taking(story=story, before=world.counts())


def take_back(world: World, taking: Taking) -> None:
    """Ask, wait for the report, confirm it; the process may die meanwhile."""
    client = world.executor.client
    try:
        answer = client.undo(taking.story.order.order_id)
        assert not answer.refused, f"the rollback is lost: {answer}"
        taking.taken = True
        wait_for(lambda: _reported(world, taking) or world.ended(), within_s=20)
        if taking.report is not None:
            client.told(taking.report.report_id)
            taking.confirmed = True
    except SocketError:
        wait_for(world.ended, within_s=20)


def aftermath(world: World, taking: Taking, blow: Blow) -> None:
    """In each world that the crash can leave: ask again, and look whether all holds."""
    world.stop()
    effects = _effects(world, taking)
    for loss, image in list(world.losses(blow)):
        image.put(world.watched.root)
        already = Taking(
            story=taking.story,
            before=tuple(now - ran for now, ran in zip(world.counts(), effects, strict=True)),
            report=taking.report,
            confirmed=taking.confirmed,
        )
        try:
            _go_on(world, already)
        except AssertionError as error:
            left = "\n".join(f"    {line}" for line in world.journal()[-6:])
            raise AssertionError(f"  after losing {loss.value}: {error}\n{left}") from error
        finally:
            world.stop()


def demand(taking: Taking, effects: tuple[int, ...]) -> None:
    """At most once, never a silent one, and the order itself never again."""
    report = taking.report
    assert report is not None, f"silent: taken back {effects} times, and no report"
    said = f"{report.outcome.value} ({report.refused_step}: {report.reason}), ran {effects} times"
    assert effects[0] == 0, f"the order ran again: {said}"
    assert effects[1] <= 1, f"taken back twice: {said}"
    if effects[1]:
        assert report.outcome not in NOT_RUN, f"it ran and is told as not run: {said}"
    if report.outcome is Outcome.SUCCEEDED:
        assert effects[1] == 1, f"told as done and not done: {said}"


def _go_on(world: World, taking: Taking) -> None:
    first = taking.report
    assert world.start(), "the journal does not open again"
    if not taking.confirmed:
        take_back(world, taking)
        assert first in (None, taking.report), "the same rollback was reported in two ways"
    effects = _effects(world, taking)
    demand(taking, effects)
    world.executor.client.undo(taking.story.order.order_id)
    world.submit(taking.story.sealed, taking.story.order)
    world.demand_used_up(taking.story, taking.report)
    assert _effects(world, taking) == effects, "it ran again"


def _effects(world: World, taking: Taking) -> tuple[int, ...]:
    return tuple(now - then for now, then in zip(world.counts(), taking.before, strict=True))


def _reported(world: World, taking: Taking) -> bool:
    reports = world.executor.client.reports(wait_s=0.2)
    assert len(reports) <= 1, f"one rollback, several reports: {reports}"
    if reports:
        assert taking.story.report is not None
        assert reports[0].undo_of == taking.story.report.report_id
        taking.report = reports[0]
    return taking.report is not None
