"""Reports under a node's own key: believed, counted, missed, and told to the audit log."""

import itertools
from pathlib import Path

import jsonschema
import msgspec
import pytest

from appliance import report_chain
from appliance.ids import uuid7
from appliance.records import Outcome, Persisting
from audit.entry import Actor, EntryDraft
from audit.report import Verdict
from hub.errors import FleetError
from hub.persist import node_state
from hub.persist.database import Database
from hub.persist.ingest import store_events
from hub.persist.outbox import actor
from tests.audit.builders import Log, chain_of, note_of
from tests.hub.builders import (
    NODE,
    NOW,
    add_node,
    cleared,
    outbox,
    received,
    report,
    sql,
    state_of,
)
from tests.hub.reporter import Reporter, changed, dispatched, notes, troubles

pytestmark = pytest.mark.postgres
ADMIN = actor("operator", "ada")


@pytest.fixture
def node(database: Database) -> Reporter:
    add_node(database)
    one = Reporter()
    one.introduces_itself(database)
    return one


def entries(db: Database, *kinds: str) -> list[dict]:
    return [row for row in outbox(db) if row["type"] in kinds]


def reports_of(db: Database) -> int:
    return sql(db, "SELECT count(*) AS count FROM report")[0]["count"]


# Whose word it is --------------------------------------------------------------------------------


def test_the_first_key_is_pinned_and_told_to_the_log(database: Database, node: Reporter) -> None:
    (row,) = entries(database, "node.key")
    mark = report_chain.fingerprint(node.spelled)
    assert row["body"] == {"node": NODE, "result_key": mark, "state": "pinned"}
    node.introduces_itself(database)
    assert len(entries(database, "node.key")) == 1


def test_a_signed_report_moves_its_incident_and_its_entry_carries_number_and_digest(
    database: Database, node: Reporter
) -> None:
    incident, _, order = dispatched(database)
    one = node.next(order)
    assert node.tells(database, one) == [None]
    assert state_of(database, incident) == "executed"
    (row,) = entries(database, "exec.result")
    body = row["body"]
    assert (body["number"], body["previous"], body["signed"]) == (1, None, True)
    assert body["report_digest"] == report_chain.digest(one)
    assert body["result_key"] == report_chain.fingerprint(node.spelled)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_unsigned_word_on_what_ran_is_refused_once_the_node_has_a_key(
    database: Database, node: Reporter, outcome: Outcome
) -> None:
    incident, _, order = dispatched(database)
    (answer,) = node.tells(database, report(order, outcome))
    assert answer is not None
    assert "its signature" in answer
    assert state_of(database, incident) == "dispatched"
    assert reports_of(database) == 0


def test_the_agent_may_say_that_the_executor_did_not_take_an_order_and_it_is_marked_so(
    database: Database, node: Reporter
) -> None:
    incident, _, order = dispatched(database)
    said = report(order, Outcome.REFUSED, steps=(), refused_step="1 signature", reason="forged")
    assert node.tells(database, said) == [None]
    assert state_of(database, incident) == "refused"
    assert notes(database, incident)[-1].endswith("(not signed)")
    (row,) = entries(database, "exec.refuse")
    assert (row["body"]["number"], row["body"]["signed"]) == (0, False)
    assert troubles(database) == []


def test_a_lie_of_the_agent_does_not_hide_what_the_executor_says_later(
    database: Database, node: Reporter
) -> None:
    incident, _, order = dispatched(database)
    lie = report(order, Outcome.REFUSED, steps=(), refused_step="1 signature")
    node.tells(database, lie, node.next(order))
    assert "all commands ended with status 0" in notes(database, incident)[-1]
    assert len(entries(database, "exec.result")) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": Outcome.FAILED},
        {"number": 2},
        {"number": 0},
        {"signature": "AAAA"},
        {"reason": "another"},
    ],
)
def test_a_report_that_was_changed_on_its_way_is_refused(
    database: Database, node: Reporter, change: dict
) -> None:
    incident, _, order = dispatched(database)
    (answer,) = node.tells(database, changed(node.next(order), **change))
    assert answer is not None
    assert state_of(database, incident) == "dispatched"
    assert reports_of(database) == 0


def test_a_report_under_a_strangers_key_is_refused(database: Database, node: Reporter) -> None:
    incident, _, order = dispatched(database)
    (answer,) = node.tells(database, Reporter().next(order))
    assert answer is not None
    assert state_of(database, incident) == "dispatched"


def test_a_signed_report_on_another_nodes_order_is_refused(database: Database) -> None:
    incident, _, order = dispatched(database)
    add_node(database, "h2.test")
    other = Reporter(node="h2.test")
    other.introduces_itself(database)
    (answer,) = other.tells(database, other.next(order))
    assert answer is not None
    assert state_of(database, incident) == "dispatched"


def test_a_report_on_an_order_that_this_hub_did_not_give_is_an_alarm(
    database: Database, node: Reporter
) -> None:
    """Somebody has the order key, or this hub was set back: it must not go unnoticed."""
    assert node.tells(database, node.next(uuid7())) == [None]
    assert troubles(database) == [("stranger", 1, 1)]
    assert len(entries(database, "exec.result")) == 1
    assert entries(database, "exec.gap")[0]["body"]["kind"] == "stranger"


# Another key -------------------------------------------------------------------------------------


def test_reports_under_a_new_key_are_held_and_believed_when_it_is_accepted(
    database: Database, node: Reporter
) -> None:
    incident, _, order = dispatched(database)
    new = Reporter()
    new.introduces_itself(database)
    assert new.tells(database, new.next(order)) == [None]
    assert state_of(database, incident) == "dispatched"
    mark = report_chain.fingerprint(new.spelled)
    with pytest.raises(FleetError):
        node_state.accept_key(database, node=NODE, fingerprint="0" * 64, by=ADMIN, now=NOW)
    assert state_of(database, incident) == "dispatched"
    node_state.accept_key(database, node=NODE, fingerprint=mark, by=ADMIN, now=NOW)
    assert state_of(database, incident) == "executed"
    assert troubles(database) == []
    states = [row["body"]["state"] for row in entries(database, "node.key")]
    assert states == ["pinned", "offered", "accepted"]
    assert sql(database, "SELECT count(*) AS count FROM held_report")[0]["count"] == 0


def test_a_node_that_shows_its_old_key_again_needs_nobody(
    database: Database, node: Reporter
) -> None:
    Reporter().introduces_itself(database)
    node.introduces_itself(database)
    with pytest.raises(FleetError):
        node_state.accept_key(database, node=NODE, fingerprint="0" * 64, by=ADMIN, now=NOW)
    incident, _, order = dispatched(database)
    assert node.tells(database, node.next(order)) == [None]
    assert state_of(database, incident) == "executed"


def test_a_report_that_comes_before_its_key_waits_for_it(database: Database) -> None:
    incident, _, order = dispatched(database)
    node = Reporter()
    assert node.tells(database, node.next(order)) == [None]
    assert state_of(database, incident) == "dispatched"
    node.introduces_itself(database)
    assert state_of(database, incident) == "executed"


@pytest.mark.parametrize("key", ["nonsense", "A" * 44, "é", "A" * 255])
def test_a_key_that_is_none_is_not_pinned(database: Database, key: str) -> None:
    add_node(database)
    node_state.said(database, node=NODE, halted=False, reason="", result_key=key, now=NOW)
    assert entries(database, "node.key") == []
    assert sql(database, "SELECT result_key FROM node") == [{"result_key": None}]


# Numbers -----------------------------------------------------------------------------------------


def test_a_missing_report_is_an_alarm_until_it_comes(database: Database, node: Reporter) -> None:
    told = [node.next(dispatched(database)[2]) for _ in range(5)]
    node.tells(database, told[0], told[4])
    assert troubles(database) == [("gap", 2, 4)]
    node.tells(database, told[2])
    assert troubles(database) == [("gap", 2, 2), ("gap", 4, 4)]
    node.tells(database, told[3], told[1])
    assert troubles(database) == []
    states = [row["body"]["state"] for row in entries(database, "exec.gap")]
    assert states == ["open", "closed", "closed", "closed"]


def test_in_whatever_order_they_come_nothing_is_missed_at_the_end(database: Database) -> None:
    for order in itertools.permutations(range(4)):
        node = Reporter(node=f"h{order[0]}{order[1]}{order[2]}.test")
        add_node(database, node.node)
        node.introduces_itself(database)
        told = [node.next(uuid7()) for _ in order]
        node.tells(database, *(told[place] for place in order))
    assert {kind for kind, _, _ in troubles(database)} == {"stranger"}


def test_a_repeat_changes_nothing_and_one_with_other_content_is_an_alarm(
    database: Database, node: Reporter
) -> None:
    order = dispatched(database)[2]
    one = node.next(order)
    node.tells(database, one, one)
    assert (troubles(database), reports_of(database)) == ([], 1)
    node.last, node.previous = 0, ""  # the node's disk was set back: the number comes again
    assert node.tells(database, node.next(dispatched(database)[2])) == [None]
    assert troubles(database) == [("repeat", 1, 1)]


def test_a_report_that_does_not_fit_into_the_chain_is_an_alarm(
    database: Database, node: Reporter
) -> None:
    node.tells(database, node.next(dispatched(database)[2]))
    node.previous = "cc" * 32
    node.tells(database, node.next(dispatched(database)[2]))
    assert troubles(database) == [("chain", 2, 2)]


def test_a_number_without_measure_is_one_alarm_and_fills_no_table(
    database: Database, node: Reporter
) -> None:
    node.last = 2**53 - 2
    node.tells(database, node.next(dispatched(database)[2]))
    assert troubles(database) == [("gap", 1, 2**53 - 2)]


def test_every_entry_fits_its_schema(database: Database, node: Reporter) -> None:
    schemas = Path(__file__).parents[2] / "audit" / "schemas"
    order = dispatched(database)[2]
    first = node.next(order)
    node.tells(database, first)
    node.tells(database, node.next(order, undo_of=first.report_id))
    node.next(order)  # and this one never comes
    node.tells(database, node.next(dispatched(database)[2], Outcome.REFUSED, steps=()))
    Reporter().introduces_itself(database, halted=True, reason="stop")
    node.introduces_itself(database)
    rows = outbox(database)
    kinds = {row["type"] for row in rows}
    assert {"exec.rollback", "exec.gap", "exec.refuse", "node.key", "node.halt"} <= kinds
    assert "node.resume" in kinds
    for row in rows:
        schema = msgspec.json.decode((schemas / f"{row['type']}.json").read_bytes())
        jsonschema.validate(row["body"], schema)


# A hub that drops one ----------------------------------------------------------------------------


def log_of(rows: list[dict]) -> Log:
    """What a notary makes of these rows."""
    drafts = [
        EntryDraft(
            id=str(row["entry_id"]),
            at=row["at"],
            type=row["type"],
            actor=Actor(**row["actor"]),
            body=row["body"],
            incident=str(row["incident"]) if row["incident"] else None,
            outcome=row["outcome"],
        )
        for row in rows
    ]
    lines = chain_of(drafts)
    return Log(lines=lines, notes=[note_of(lines)])


def test_a_hub_that_drops_a_report_is_found_by_the_auditor_and_one_that_does_not_is_not(
    database: Database, node: Reporter
) -> None:
    told = [node.next(dispatched(database)[2]) for _ in range(3)]
    node.tells(database, *told)
    rows = outbox(database)
    assert log_of(rows).verify().verdict is Verdict.VALID
    dropped = [row for row in rows if row["body"].get("report_id") != told[1].report_id]
    assert len(dropped) == len(rows) - 1
    # A hub that owns the log writes what it likes into it; its own count of entries may fit, too.
    dropped = [row for row in dropped if row["type"] != "incident.close"]
    verdict = log_of(dropped).verify()
    assert (verdict.verdict, verdict.exit_status) == (Verdict.INCOMPLETE, 2)
    assert f"report 2 of {NODE} is missing" in verdict.sentence


# Rollbacks ---------------------------------------------------------------------------------------


def persisting(finding: object, order: str) -> Persisting:
    return Persisting(
        finding_id=finding.finding_id, order_id=order, measured_at=NOW, observed=9.0, limit=1.0
    )


def test_a_rollback_ends_unresolved_with_its_line_and_its_entry_and_may_still_recover(
    database: Database, node: Reporter
) -> None:
    incident, finding, order = dispatched(database)
    first = node.next(order)
    node.tells(database, first)
    store_events(database, [received(persisting(finding, order))], now=NOW)
    assert state_of(database, incident) == "unresolved"
    node.tells(database, node.next(order, undo_of=first.report_id))
    assert state_of(database, incident) == "unresolved"
    assert notes(database, incident)[-1] == "rolled back: 1 commands ended with status 0"
    (row,) = entries(database, "exec.rollback")
    assert row["body"]["undo_of"] == first.report_id
    assert row["body"]["number"] == 2
    store_events(database, [received(cleared(finding, order))], now=NOW)
    assert state_of(database, incident) == "recovered"


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome.REFUSED, "not rolled back: refused at undo 7 policy"),
        (Outcome.FAILED, "rolled back in part"),
        (Outcome.TIMED_OUT, "rolled back in part"),
        (Outcome.UNKNOWN, "whether it was rolled back is unknown"),
    ],
)
def test_whatever_comes_of_a_rollback_a_person_is_told(
    database: Database, node: Reporter, outcome: Outcome, words: str
) -> None:
    incident, _, order = dispatched(database)
    first = node.next(order, Outcome.FAILED)
    node.tells(database, first)
    undo = node.next(
        order, outcome, undo_of=first.report_id, refused_step="undo 7 policy", reason="why"
    )
    node.tells(database, undo)
    assert state_of(database, incident) == "unresolved"
    assert words in notes(database, incident)[-1]


def test_a_rollback_whose_order_was_never_reported_still_waits_for_a_person(
    database: Database, node: Reporter
) -> None:
    incident, _, order = dispatched(database)
    lost = node.next(order)
    node.tells(database, node.next(order, undo_of=lost.report_id))
    assert state_of(database, incident) == "unresolved"
    assert troubles(database) == [("gap", 1, 1)]
    node.tells(database, lost)
    assert troubles(database) == []
    assert state_of(database, incident) == "unresolved"


def test_an_unsigned_rollback_is_refused(database: Database, node: Reporter) -> None:
    incident, _, order = dispatched(database)
    first = node.next(order)
    node.tells(database, first)
    undo = report(order, Outcome.REFUSED, steps=(), undo_of=first.report_id)
    (answer,) = node.tells(database, undo)
    assert answer is not None
    assert state_of(database, incident) == "executed"
