"""Two who answer one plan at once, or a person and the clock, or a person and the detector.

Each pair is raced in both orders by force, and then many times from a barrier. Exactly one move
leaves `awaiting`, what the loser hears is a refusal, and the history says what happened.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from appliance.lifecycle import State
from hub.approve import close, reject
from hub.errors import MoveError
from hub.persist.ingest import store_events
from tests.crash.preload import WHOLE
from tests.hub.builders import cleared, finding, received
from tests.races.arena import Call, at_once, demand_one_story, in_order
from tests.races.conftest import FIRST, SECOND, Hub

pytestmark = pytest.mark.postgres
ROUNDS = 30 if WHOLE else 6

Actor = Callable[[Hub, str, str], Call]
"""What one does to an incident (and its finding), to be done later."""


def _approve(hub: Hub, incident: str, _: str) -> Call:
    return hub.approve(incident, FIRST)


def _approve_too(hub: Hub, incident: str, _: str) -> Call:
    return hub.approve(incident, SECOND)


def _reject(hub: Hub, incident: str, _: str) -> Call:
    with hub.db.transaction() as work:
        row = work.one("lock_judgement", incident_id=incident)
    assert row is not None
    return lambda: reject(
        hub.db, incident_id=incident, who=SECOND, shown_digest=row["shown_digest"],
        comment="no", now=_now(),
    )  # fmt: skip


def _close(hub: Hub, incident: str, _: str) -> Call:
    return lambda: close(hub.db, incident_id=incident, who=SECOND, note="by hand", now=_now())


def _recover(hub: Hub, _: str, found: str) -> Call:
    event = received(cleared(finding(finding_id=found)))
    return lambda: store_events(hub.db, [event], now=_now())


def _expire(hub: Hub, _: str, __: str) -> Call:
    late = _now() + timedelta(hours=2)
    return lambda: hub.pipeline.expire_late(late)


def _now() -> datetime:
    return datetime.now(UTC)


# Where it ends when the first is in the middle of its transaction as the second comes. The clock
# skips what is locked, and comes again in two seconds.
ENDS = {
    (_approve, _approve_too): State.APPROVED,
    (_approve, _reject): State.APPROVED,
    (_approve, _close): State.APPROVED,
    (_approve, _recover): State.RECOVERED,
    (_approve, _expire): State.APPROVED,
    (_reject, _approve): State.REJECTED,
    (_reject, _close): State.CLOSED,
    (_reject, _recover): State.RECOVERED,
    (_reject, _expire): State.REJECTED,
    (_close, _approve): State.CLOSED,
    (_close, _reject): State.CLOSED,
    (_close, _recover): State.CLOSED,
    (_close, _expire): State.CLOSED,
    (_recover, _approve): State.RECOVERED,
    (_recover, _reject): State.RECOVERED,
    (_recover, _close): State.RECOVERED,
    (_recover, _expire): State.RECOVERED,
    (_expire, _approve): State.EXPIRED,
    (_expire, _reject): State.EXPIRED,
    (_expire, _close): State.CLOSED,
    (_expire, _recover): State.RECOVERED,
}
PAIRS = [pair for pair in ENDS if (pair[1], pair[0]) not in list(ENDS)[: list(ENDS).index(pair)]]


def _named(pair: object) -> str:
    return pair.__name__.strip("_") if callable(pair) else str(pair)


@pytest.mark.parametrize(("first", "second"), ENDS, ids=_named)
def test_the_first_wins_and_the_second_finds_what_the_first_left(
    hub: Hub, first: Actor, second: Actor
) -> None:
    incident, found = hub.awaiting()
    racers = in_order(hub.dsn, first(hub, incident, found), second(hub, incident, found))
    story = demand_one_story(hub.dsn, incident)
    assert story.state == ENDS[first, second]
    assert racers[0].won
    loser = racers[1].error
    assert loser is None or isinstance(loser, MoveError), loser
    accepted = second in (_recover, _expire) or (second, story.state) == (_close, State.CLOSED)
    assert (loser is None) == accepted


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=_named)
def test_from_a_barrier_exactly_one_answers_and_all_is_on_record(
    hub: Hub, first: Actor, second: Actor
) -> None:
    for number in range(ROUNDS):
        incident, found = hub.awaiting()
        calls = [first(hub, incident, found), second(hub, incident, found)]
        racers = at_once(*(calls if number % 2 else reversed(calls)))
        story = demand_one_story(hub.dsn, incident)
        assert [move for move in story.moves if move[0] == State.AWAITING]
        assert any(racer.won for racer in racers)
        assert all(isinstance(racer.error, MoveError) for racer in racers if not racer.won)
        hub.log()
        assert demand_one_story(hub.dsn, incident).state == story.state


def test_of_many_approvals_at_once_exactly_one_counts(hub: Hub) -> None:
    for _ in range(ROUNDS):
        incident, _found = hub.awaiting()
        racers = at_once(*[hub.approve(incident, who) for who in (FIRST, SECOND, FIRST, SECOND)])
        assert sum(racer.won for racer in racers) == 1
        story = demand_one_story(hub.dsn, incident)
        assert story.state == State.APPROVED
        assert len(story.approvals) == 1


def test_an_approval_while_the_condition_ends_and_the_clock_strikes_is_one_story(hub: Hub) -> None:
    for _ in range(ROUNDS):
        incident, found = hub.awaiting()
        at_once(*[act(hub, incident, found) for act in (_approve, _recover, _expire, _close)])
        story = demand_one_story(hub.dsn, incident)
        assert story.state in {State.APPROVED, State.RECOVERED, State.EXPIRED, State.CLOSED}
