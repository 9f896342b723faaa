"""Events: durable before they are acknowledged, once, from whom the certificate says."""

import asyncio
import threading

import pytest

from appliance.ids import uuid7
from appliance.records import Dropped, Outcome
from hub.errors import DatabaseError, EventError
from hub.ingest import Ingest
from hub.persist.database import Database
from hub.persist.ingest import Received, store_events
from tests.hub.builders import (
    NODE,
    NOW,
    add_node,
    cleared,
    event,
    finding,
    incident_for,
    opened,
    outbox,
    received,
    report,
    sql,
    state_of,
)

pytestmark = pytest.mark.postgres


def test_a_finding_makes_one_incident_and_its_audit_rows(database: Database) -> None:
    incident_id, _ = opened(database)
    assert state_of(database, incident_id) == "open"
    assert [row["type"] for row in outbox(database)] == ["incident.open"]


def test_the_same_event_again_changes_nothing(database: Database) -> None:
    add_node(database)
    one = received(finding())
    assert store_events(database, [one, one], now=NOW) == [None, None]
    assert store_events(database, [one], now=NOW) == [None]
    assert len(outbox(database)) == 1


def test_the_same_finding_under_another_event_id_changes_nothing(database: Database) -> None:
    add_node(database)
    one = finding()
    for _ in range(3):
        assert store_events(database, [received(one)], now=NOW) == [None]
    assert len(outbox(database)) == 1


def test_the_end_of_the_condition_recovers_the_incident_and_closes_it(database: Database) -> None:
    incident_id, one = opened(database)
    assert store_events(database, [received(cleared(one))], now=NOW) == [None]
    assert state_of(database, incident_id) == "recovered"
    types = [row["type"] for row in outbox(database)]
    assert types == ["incident.open", "incident.recover", "incident.state", "incident.close"]


def test_another_node_cannot_end_this_nodes_incident(database: Database) -> None:
    incident_id, one = opened(database)
    add_node(database, "h2.test")
    answer = store_events(database, [received(cleared(one), node="h2.test")], now=NOW)
    assert answer[0] is not None
    assert "no incident of h2.test" in answer[0]
    assert state_of(database, incident_id) == "open"


def test_a_report_on_an_order_that_was_never_given_is_refused_and_others_commit(
    database: Database,
) -> None:
    add_node(database)
    good = finding()
    batch = [received(report(uuid7(), Outcome.SUCCEEDED)), received(good)]
    answers = store_events(database, batch, now=NOW)
    assert answers[0] is not None
    assert answers[1] is None
    assert state_of(database, incident_for(database, good.finding_id)) == "open"
    # The refused event was not remembered: were it ever true, it could come again.
    again = store_events(database, batch[:1], now=NOW)
    assert again[0] is not None


def test_dropped_events_are_counted(database: Database) -> None:
    add_node(database)
    dropped = Dropped(count=7, first_at=NOW, last_at=NOW)
    one = received(dropped)
    store_events(database, [one], now=NOW)
    store_events(database, [one], now=NOW)
    assert sql(database, "SELECT dropped FROM node") == [{"dropped": 7}]


def test_what_the_database_cannot_hold_spoils_no_other_event(database: Database) -> None:
    add_node(database)
    good, bad = received(finding()), Received(node=NODE, event=event(finding(summary="a\0b")))

    async def store_both() -> list[str | None]:
        ingest = Ingest(lambda batch: store_events(database, batch, now=NOW))
        waiting = [await ingest.accept(one) for one in (bad, good)]
        task = asyncio.create_task(ingest.run())
        answers = [await one for one in waiting]
        task.cancel()
        return answers

    answers = asyncio.run(store_both())
    assert answers[0] is not None
    assert answers[1] is None
    assert len(outbox(database)) == 1


def test_nothing_is_acknowledged_while_the_database_is_away_and_nothing_is_lost() -> None:
    calls: list[int] = []
    back = threading.Event()

    def store(batch: object) -> list[str | None]:
        calls.append(len(batch))  # type: ignore[arg-type]
        if len(calls) == 1:
            back.set()
            raise DatabaseError("PostgreSQL does not answer")
        return [None] * calls[-1]

    async def one_event() -> tuple[bool, str | None]:
        ingest = Ingest(store)
        waiting = await ingest.accept(received(finding()))
        task = asyncio.create_task(ingest.run())
        await asyncio.to_thread(back.wait, 5)
        early = waiting.done()
        answer = await waiting
        task.cancel()
        return early, answer

    assert asyncio.run(one_event()) == (False, None)
    assert calls == [1, 1]


def test_done_but_reported_as_failed_is_stored_once(database: Database) -> None:
    """The commit succeeded, its answer was lost: the group comes again and changes nothing."""
    add_node(database)
    one = received(finding())
    store_events(database, [one], now=NOW)

    def store(batch: object) -> list[str | None]:
        return store_events(database, batch, now=NOW)  # type: ignore[arg-type]

    async def again() -> str | None:
        ingest = Ingest(store)
        waiting = await ingest.accept(one)
        task = asyncio.create_task(ingest.run())
        answer = await waiting
        task.cancel()
        return answer

    assert asyncio.run(again()) is None
    assert len(outbox(database)) == 1


def test_data_errors_have_their_own_name(database: Database) -> None:
    add_node(database)
    with pytest.raises(EventError):
        store_events(database, [received(finding(summary="a\0b"))], now=NOW)
