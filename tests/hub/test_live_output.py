"""What a node says of a running command, at a hub: for the page alone, bounded, not believed."""

import asyncio
from typing import Any

import pytest

from appliance.channel import Identity
from appliance.ids import uuid7
from appliance.records import Outcome
from appliance.wire import sentinel_pb2 as pb
from hub.live import LiveOutputs
from hub.persist import live
from hub.persist.database import Database
from tests.hub.builders import NODE, NOW, outbox, sql
from tests.hub.test_halts import messages
from tests.hub.test_transport import Served, hub_identity, node_identity, order_for, served

__all__ = ["hub_identity", "node_identity", "served"]

pytestmark = [pytest.mark.postgres, pytest.mark.vault]
NOBODYS = "01a20edc-2d40-7cfd-b228-be91950c99a7"


@pytest.fixture
def order(database: Database) -> str:
    return order_for(database)


def said(order_id: str, text: str = "working", **more: Any) -> pb.LiveOutput:
    return pb.LiveOutput(order_id=order_id, text=text, total=len(text), **more)


def heard(database: Database, *glimpses: pb.LiveOutput, node: str = NODE) -> list[dict[str, Any]]:
    """These come one after the other, none too soon."""
    for one in glimpses:
        asyncio.run(LiveOutputs(database).heard(node, one))
    return sql(database, "SELECT node, order_id::text, step, undoing, output FROM live_output")


def test_a_glimpse_on_the_stream_is_kept_and_the_next_replaces_it(
    served: Served, node_identity: Identity, database: Database, order: str
) -> None:
    assert served.transport is not None
    served.transport._live = LiveOutputs(database)
    before = outbox(database)
    glimpse = pb.FromAgent(live_output=said(order, "one\ntwo"))
    again = pb.FromAgent(live_output=said(order, "too soon"))
    messages(served, node_identity, glimpse, again)
    (row,) = sql(database, "SELECT output, total FROM live_output")
    assert row == {"output": "one\ntwo", "total": 7}
    new = {one["type"] for one in outbox(database) if one not in before}
    assert new <= {"node.connect", "node.disconnect"}
    (row,) = heard(database, said(order, "three", step=1))
    assert (row["output"], row["step"]) == ("three", 1)


def test_a_hub_without_a_place_for_it_goes_on(
    served: Served, node_identity: Identity, database: Database, order: str
) -> None:
    messages(served, node_identity, pb.FromAgent(live_output=said(order)))
    assert sql(database, "SELECT 1 FROM live_output") == []


@pytest.mark.parametrize(
    ("node", "order_id"),
    [("h2.test", None), (NODE, "no-id"), (NODE, ""), (NODE, NOBODYS), (NODE, "'; DROP TABLE node")],
)
def test_of_another_nodes_order_or_of_none_nothing_is_kept(
    database: Database, order: str, node: str, order_id: str | None
) -> None:
    assert heard(database, said(order if order_id is None else order_id), node=node) == []


def test_too_much_is_cut_and_what_no_database_takes_is_dropped(
    database: Database, order: str
) -> None:
    huge = said(order, "begin" + "x" * 100_000 + "\0end", step=2**32 - 1)
    huge.total = 2**64 - 1
    (row,) = heard(database, huge)
    assert len(row["output"]) <= live.MOST_OUTPUT
    assert row["output"].endswith("xend")
    assert row["step"] == 255


def test_what_comes_after_the_report_is_not_kept_and_what_came_before_is_not_shown(
    database: Database, order: str
) -> None:
    (row,) = sql(database, "SELECT incident_id::text AS id FROM exec_order")
    heard(database, said(order, "before"))
    found = live.of(database, row["id"])
    assert found is not None
    assert found["output"] == "before"
    sql(
        database,
        "INSERT INTO report (report_id, order_id, received_at, outcome, body)"
        " VALUES (%(id)s, %(order)s, %(now)s, %(outcome)s, '{}')",
        id=uuid7(), order=order, now=NOW, outcome=Outcome.SUCCEEDED.value,
    )  # fmt: skip
    assert live.of(database, row["id"]) is None
    assert heard(database, said(order, "after"))[0]["output"] == "before"
    heard(database, said(order, "taking back", undoing=True))
    found = live.of(database, row["id"])
    assert found is not None
    assert (found["output"], found["undoing"]) == ("taking back", True)


def test_a_database_that_is_gone_loses_the_glimpse_and_not_the_stream(database: Database) -> None:
    gone = Database("host=127.0.0.1 port=1 dbname=x connect_timeout=1", size=1)
    asyncio.run(LiveOutputs(gone).heard(NODE, said(uuid7())))
    gone.close()
