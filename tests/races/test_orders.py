"""What happens to an order at once: two dispatchers, the clock, a recovery, a report that doubles.

Each pair is raced in both orders by force, and then many times from a barrier. One approval makes
one order, one order has one report, and the incident is where its history ends.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from appliance.lifecycle import State
from appliance.records import Event, Finding, Outcome
from hub.persist.ingest import Received, store_events
from tests.crash.preload import WHOLE
from tests.hub.builders import NODE, cleared, event, finding, received, report
from tests.races.arena import Call, at_once, demand_one_story, in_order, told
from tests.races.conftest import Hub

pytestmark = pytest.mark.postgres
ROUNDS = 30 if WHOLE else 6

Actor = Callable[[Hub, str, str], Call]


def _now() -> datetime:
    return datetime.now(UTC)


def _dispatch(hub: Hub, _: str, __: str) -> Call:
    return lambda: hub.pipeline.dispatch_next(_now())


def _dispatch_too(hub: Hub, _: str, __: str) -> Call:
    """Another hub, with another copy of the log's leaves."""
    desk = replace(hub.pipeline.desk, _leaves=bytearray(), _subtrees=None)
    return lambda: replace(hub.pipeline, desk=desk).dispatch_next(_now())


def _recover(hub: Hub, _: str, found: str) -> Call:
    one = received(cleared(finding(finding_id=found)))
    return lambda: store_events(hub.db, [one], now=_now())


def _answer_expires(hub: Hub, _: str, __: str) -> Call:
    return lambda: hub.pipeline.expire_late(_now() + timedelta(hours=2))


# Before the order leaves: where it ends, when the first is in the middle as the second comes. Who
# skips what is locked comes again two seconds later.
BEFORE = {
    (_dispatch, _dispatch_too): State.DISPATCHED,
    (_dispatch, _recover): State.DISPATCHED,
    (_dispatch, _answer_expires): State.DISPATCHED,
    (_recover, _dispatch): State.RECOVERED,
    (_recover, _answer_expires): State.RECOVERED,
    (_answer_expires, _dispatch): State.EXPIRED,
    (_answer_expires, _recover): State.RECOVERED,
}


def _named(value: object) -> str:
    return value.__name__.strip("_") if callable(value) else str(value)


@pytest.mark.parametrize(("first", "second"), BEFORE, ids=_named)
def test_before_an_order_leaves_the_first_decides_whether_it_does(
    hub: Hub, first: Actor, second: Actor
) -> None:
    incident, found = hub.approved()
    racers = in_order(hub.dsn, first(hub, incident, found), second(hub, incident, found))
    assert all(racer.won for racer in racers), [racer.error for racer in racers]
    story = demand_one_story(hub.dsn, incident)
    assert story.state == BEFORE[first, second]
    assert len(story.orders) == (story.state == State.DISPATCHED)


@pytest.mark.parametrize("second", [_dispatch_too, _recover, _answer_expires], ids=_named)
def test_from_a_barrier_one_approval_makes_at_most_one_order(hub: Hub, second: Actor) -> None:
    for number in range(ROUNDS):
        incident, found = hub.approved()
        calls = [_dispatch(hub, incident, found), second(hub, incident, found)]
        racers = at_once(*(calls if number % 2 else reversed(calls)))
        assert all(racer.won for racer in racers), [racer.error for racer in racers]
        story = demand_one_story(hub.dsn, incident)
        left = story.state in {State.DISPATCHED, State.UNKNOWN}  # that clock is far ahead
        assert left == (len(story.orders) == 1)
        hub.pipeline.turn(_now())
        assert len(demand_one_story(hub.dsn, incident).orders) == len(story.orders)
        _end(hub, incident, found)


def _dispatched(hub: Hub) -> tuple[str, str, str]:
    incident, found = hub.approved()
    assert hub.pipeline.dispatch_next(_now())
    return incident, found, told(hub.dsn, incident).orders[0]


def _reported(hub: Hub, one: Event) -> Call:
    return lambda: store_events(hub.db, [Received(node=NODE, event=one)], now=_now())


def _is_overdue(hub: Hub) -> Call:
    return lambda: hub.pipeline.expire_late(_now() + timedelta(hours=2))


def _end(hub: Hub, incident: str, found: str) -> None:
    """Let the incident go, so that the next round's clock does not find it."""
    _recover(hub, incident, found)()
    for order in told(hub.dsn, incident).orders:
        store_events(hub.db, [received(report(order, Outcome.SUCCEEDED))], now=_now())


@pytest.mark.parametrize("report_first", [True, False])
def test_a_report_against_the_clock_is_taken_whoever_is_first(
    hub: Hub, *, report_first: bool
) -> None:
    incident, _, order = _dispatched(hub)
    calls = [_reported(hub, event(report(order, Outcome.SUCCEEDED))), _is_overdue(hub)]
    in_order(hub.dsn, *(calls if report_first else reversed(calls)))
    story = demand_one_story(hub.dsn, incident)
    assert story.state == State.EXECUTED
    assert ((State.DISPATCHED, State.UNKNOWN) in story.moves) == (not report_first)
    assert len(story.reports) == 1


def test_from_a_barrier_a_report_is_never_lost_to_the_clock(hub: Hub) -> None:
    for _ in range(ROUNDS):
        incident, found, order = _dispatched(hub)
        at_once(_is_overdue(hub), _reported(hub, event(report(order, Outcome.SUCCEEDED))))
        story = demand_one_story(hub.dsn, incident)
        assert story.state == State.EXECUTED
        assert len(story.reports) == 1
        _end(hub, incident, found)


def test_one_event_on_two_streams_at_once_is_stored_once(hub: Hub) -> None:
    for _ in range(ROUNDS):
        incident, found, order = _dispatched(hub)
        one = event(report(order, Outcome.SUCCEEDED))
        racers = at_once(*[_reported(hub, one)] * 3)
        assert [racer.answer for racer in racers] == [[None]] * 3  # each stream may acknowledge
        story = demand_one_story(hub.dsn, incident)
        assert story.state == State.EXECUTED
        assert len(story.reports) == 1
        _end(hub, incident, found)


def test_one_report_under_two_event_ids_at_once_is_one_report(hub: Hub) -> None:
    for _ in range(ROUNDS):
        incident, found, order = _dispatched(hub)
        body = report(order, Outcome.SUCCEEDED)
        racers = at_once(*[_reported(hub, event(body)) for _ in range(2)])
        assert [racer.answer for racer in racers] == [[None]] * 2
        assert len(demand_one_story(hub.dsn, incident).reports) == 1
        _end(hub, incident, found)


def test_one_finding_under_two_event_ids_at_once_opens_one_incident(hub: Hub) -> None:
    hub.awaiting()  # the node is known
    for _ in range(ROUNDS):
        one = finding()
        racers = at_once(*[_reported(hub, event(one)) for _ in range(2)])
        assert all(racer.won for racer in racers), [racer.error for racer in racers]
        with hub.db.transaction() as work:
            row = work.one("lock_finding", node=NODE, finding_id=one.finding_id)
        assert row is not None
        story = told(hub.dsn, str(row["incident_id"]))
        assert (story.state, story.count("incident.open")) == (State.OPEN, 1)


def test_batches_that_overlap_in_opposite_order_are_stored_once_in_the_end(hub: Hub) -> None:
    """Two hubs, and a node that changed from one to the other: the same events, crosswise.

    Each waits for rows of the other, so PostgreSQL may end one of them. It stored nothing then, and
    does it again, as `hub/ingest.py` does.
    """
    hub.awaiting()  # the node is known
    for _ in range(ROUNDS // 3):  # PostgreSQL looks for deadlocks after a second
        events = [received(finding()) for _ in range(8)]
        batches = (events, events[::-1])
        racers = at_once(*[lambda batch=batch: _stored(hub, batch) for batch in batches])
        for racer, batch in zip(racers, batches, strict=True):
            if not racer.won:
                assert "deadlock" in str(racer.error)
                assert _stored(hub, batch) == [None] * len(batch)
        for one in events:
            assert isinstance(one.event.body, Finding)
            with hub.db.transaction() as work:
                row = work.one("lock_finding", node=NODE, finding_id=one.event.body.finding_id)
            assert row is not None
            assert told(hub.dsn, str(row["incident_id"])).count("incident.open") == 1


def _stored(hub: Hub, events: list[Received]) -> object:
    return store_events(hub.db, events, now=_now())


def test_the_end_of_a_condition_while_its_report_comes_resolves_the_incident(hub: Hub) -> None:
    for _ in range(ROUNDS):
        incident, found, order = _dispatched(hub)
        one = event(report(order, Outcome.SUCCEEDED))
        racers = at_once(_recover(hub, incident, found), _reported(hub, one))
        assert all(racer.won for racer in racers), [racer.error for racer in racers]
        assert demand_one_story(hub.dsn, incident).state == State.RESOLVED
