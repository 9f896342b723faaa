"""The page of the nodes: the switch that stops them, their keys, and holes in their reports."""

from collections.abc import Callable

import pytest

from appliance.ids import uuid7
from appliance.records import Outcome
from appliance.report_chain import fingerprint
from hub.persist import halts, node_state
from hub.persist.database import Database
from hub.persist.outbox import actor
from tests.console import seed
from tests.console.conftest import Browser
from tests.hub.builders import outbox
from tests.hub.reporter import Reporter

pytestmark = pytest.mark.postgres
SignedIn = Callable[[str], Browser]
NODE = "node-1"


def stop(browser: Browser, *, node: str = "", reason: str = "a strange hub") -> int:
    return browser.post("/nodes/halt", {"node": node, "reason": reason}, page="/nodes").status_code


def test_an_administrator_stops_all_nodes_and_every_page_says_so(
    signed_in: SignedIn, database: Database
) -> None:
    admin, viewer = signed_in("admin-1"), signed_in("viewer-1")
    assert "a strange hub" not in viewer.get("/incidents").text
    assert stop(admin) == 303
    (halt,) = halts.in_force(database)
    assert (halt["node"], halt["reason"], halt["ordered_by"]) == (None, "a strange hub", "admin-1")
    for path in ("/incidents", "/nodes", "/audit", "/status", "/account"):
        text = viewer.get(path).text
        assert "All nodes stopped: a strange hub" in text, path
        assert 'class="banner bad" role="alert"' in text, path
    (row,) = [row for row in outbox(database) if row["type"] == "node.halt"]
    assert row["actor"]["id"] == "admin-1"


def test_the_page_tells_who_has_obeyed_and_who_was_not_heard(
    signed_in: SignedIn, database: Database
) -> None:
    seed.node(database, "node-2")
    admin = signed_in("admin-1")
    stop(admin)
    text = admin.get("/nodes").text
    assert "0 of 2 say that they are halted" in text
    Reporter(node=NODE).introduces_itself(database, halted=True, reason="a strange hub")
    text = admin.get("/nodes").text
    assert "1 of 2 say that they are halted" in text
    assert "node-2 (connected)" in text
    assert "sentinel resume --halt" in text


def test_a_node_that_stays_halted_after_all_is_lifted_is_still_seen_everywhere(
    signed_in: SignedIn, database: Database
) -> None:
    """The hub carries a signature; whether it was good is the node's word."""
    viewer = signed_in("viewer-1")
    Reporter(node=NODE).introduces_itself(database, halted=True, reason="root said so")
    assert halts.in_force(database) == []
    for path in ("/incidents", "/status"):
        assert "1 node says that it is halted" in viewer.get(path).text
    assert "root said so" in viewer.get("/nodes").text


@pytest.mark.parametrize("name", ["viewer-1", "operator-1"])
def test_only_administrators_stop_nodes_and_accept_keys(
    signed_in: SignedIn, database: Database, name: str
) -> None:
    browser = signed_in(name)
    assert "Stop nodes" not in browser.get("/nodes").text
    assert stop_from(browser, "/account", "/nodes/halt") == 403
    assert stop_from(browser, "/account", f"/nodes/{NODE}/key") == 403
    assert halts.in_force(database) == []


def stop_from(browser: Browser, page: str, path: str) -> int:
    """The form token of another page, which this role may see."""
    import re  # noqa: PLC0415 - beside its one use

    found = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(page).text)
    assert found
    return browser.raw_post(path, {"csrf_token": found[1], "reason": "x"}).status_code


def test_a_halt_without_a_reason_or_for_nobody_is_refused_in_words(
    signed_in: SignedIn, database: Database
) -> None:
    admin = signed_in("admin-1")
    assert stop(admin, reason="  ") == 409
    assert stop(admin, node="node-9") == 409
    assert halts.in_force(database) == []
    assert stop(admin, node=NODE) == 303
    assert "node-1 stopped" in admin.get("/incidents").text


def test_a_reason_is_shown_as_text(signed_in: SignedIn) -> None:
    admin = signed_in("admin-1")
    stop(admin, reason="<script>alert(1)</script>")
    assert "<script>alert(1)" not in admin.get("/nodes").text


def test_another_key_is_an_alarm_until_an_administrator_has_compared_it(
    signed_in: SignedIn, database: Database
) -> None:
    admin = signed_in("admin-1")
    Reporter(node=NODE).introduces_itself(database)
    assert "another key" not in admin.get("/nodes").text
    new = Reporter(node=NODE)
    new.introduces_itself(database)
    mark = fingerprint(new.spelled)
    text = admin.get("/nodes").text
    assert "another key" in text
    assert mark in text
    assert "The reports of 1 node are not in order" in admin.get("/incidents").text
    path = f"/nodes/{NODE}/key"
    wrong = admin.post(path, {"fingerprint": "0" * 64}, page="/nodes")
    assert wrong.status_code == 409
    assert node_state.offered_fingerprint(database, NODE) == mark
    assert admin.post(path, {"fingerprint": mark}, page="/nodes").status_code == 303
    assert "another key" not in admin.get("/nodes").text


def test_a_hole_in_a_nodes_reports_is_named_until_it_is_filled(
    signed_in: SignedIn, database: Database
) -> None:
    viewer, node = signed_in("viewer-1"), Reporter(node=NODE)
    node.introduces_itself(database)
    told = [node.next(order_of(database)) for _ in range(3)]
    assert node.tells(database, told[0], told[2]) == [None, None]
    assert "report 2 is missing" in viewer.get("/nodes").text
    assert "are not in order" in viewer.get("/incidents").text
    node.tells(database, told[1])
    text = viewer.get("/nodes").text
    assert "is missing" not in text
    assert "not in order" not in text
    assert "3, in order" in text


def order_of(db: Database) -> str:
    seeded = seed.judged(db)
    order_id = uuid7()
    with db.transaction() as work:
        work.run(
            "add_order", order_id=order_id, incident_id=seeded.incident_id, node=NODE,
            envelope=b"{}", now=seed.now(), not_after=seed.now(), log_size=0,
        )  # fmt: skip
    seed.moved(db, seeded, seed.State.APPROVED, seed.State.DISPATCHED)
    return order_id


def test_the_result_shows_the_rollback_and_whose_word_it_is(
    signed_in: SignedIn, database: Database
) -> None:
    node = Reporter(node=NODE)
    node.introduces_itself(database)
    order = order_of(database)
    first = node.next(order)
    node.tells(database, first, node.next(order, undo_of=first.report_id))
    with database.transaction() as work:
        row = work.one("lock_order", order_id=order)
    assert row is not None
    text = signed_in("viewer-1").get(f"/incidents/{row['incident_id']}").text
    assert "<strong>Rollback</strong>" in text
    assert "rolled back: 1 commands" in text
    assert "report 2, signed by the node" in text
    assert "not signed" not in text


def test_a_report_without_a_signature_is_marked_as_the_agents_word(
    signed_in: SignedIn, database: Database
) -> None:
    seeded = seed.judged(database)
    seed.reported(database, seeded, Outcome.SUCCEEDED)
    text = signed_in("viewer-1").get(f"/incidents/{seeded.incident_id}").text
    assert "not signed: the agent" in text


def test_what_nodes_are_told_is_done_in_the_name_of_who_clicked(database: Database) -> None:
    seed.node(database)
    made = halts.order(database, node=None, reason="x", by=actor("operator", "ada"), now=seed.now())
    assert halts.in_force(database)[0]["halt_id"].hex == made.halt_id.replace("-", "")


@pytest.mark.parametrize("who", ["viewer-1", "operator-1", ""])
def test_who_is_no_administrator_ends_no_halt(
    signed_in: SignedIn, database: Database, who: str
) -> None:
    stop(signed_in("admin-1"))
    (row,) = halts.in_force(database)
    form = {"halt_id": str(row["halt_id"]), "credential_id": "x", "signature": "x"}
    browser = signed_in(who or "admin-1")
    if who:
        assert browser.post("/nodes/resume", form, page="/nodes").status_code == 403
    else:  # an administrator by the database alone, whose key nobody published
        answer = browser.post("/nodes/resume", form, page="/nodes")
        assert answer.status_code == 409
        assert "the halt stays" in answer.text.lower()
    assert len(halts.in_force(database)) == 1
    assert "node.resume" not in [one["type"] for one in outbox(database)]


def test_a_halt_is_not_ended_without_the_forms_token(
    signed_in: SignedIn, database: Database
) -> None:
    admin = signed_in("admin-1")
    stop(admin)
    (row,) = halts.in_force(database)
    answer = admin.raw_post("/nodes/resume", {"halt_id": str(row["halt_id"])})
    assert answer.status_code == 400
    assert len(halts.in_force(database)) == 1
