"""The life of an incident: one list of states, in Python and in SQL."""

import re
from itertools import product
from pathlib import Path

import psycopg
import pytest

from appliance import lifecycle
from appliance.lifecycle import FINAL, MOVES, State, may_move
from hub.persist.database import Database
from hub.persist.migrate import MIGRATIONS
from tests.hub.builders import opened, sql, state_of

pytestmark = pytest.mark.postgres


def test_the_sql_enum_has_the_same_states_with_the_same_comments() -> None:
    sql = (MIGRATIONS / "0001.spine.sql").read_text()
    block = sql[sql.index("CREATE TYPE incident_state") : sql.index("CREATE TABLE node")]
    in_sql = re.findall(r"'([a-z_]+)',?\s+-- (.*)", block)
    source = Path(lifecycle.__file__).read_text()
    in_python = re.findall(r'    [A-Z_]+ = "([a-z_]+)"  # (.*)', source)
    assert in_sql == in_python
    assert [name for name, _ in in_python] == [state.value for state in State]


def test_the_sql_moves_are_the_same(database: Database) -> None:
    rows = sql(database, "SELECT before::text, after::text FROM incident_move")
    in_sql = {(row["before"], row["after"]) for row in rows}
    in_python = {(before.value, after.value) for before in MOVES for after in MOVES[before]}
    assert in_sql == in_python


def test_every_state_can_be_left_or_is_final() -> None:
    assert {State.RESOLVED, State.RECOVERED, State.CLOSED} == FINAL
    reached = {after for onward in MOVES.values() for after in onward}
    assert reached == set(State)


def test_the_database_lets_no_other_move_through(database: Database) -> None:
    incident_id, _ = opened(database)
    for state in set(State) - {State.OPEN} - MOVES[State.OPEN]:
        with pytest.raises(psycopg.errors.CheckViolation, match="may not move"):
            sql(
                database,
                "UPDATE incident SET state = %(state)s WHERE incident_id = %(incident_id)s",
                incident_id=incident_id,
                state=state.value,
            )
        assert state_of(database, incident_id) == "open"


def test_nothing_that_may_run_is_reached_without_an_approval() -> None:
    for before, after in product(State, (State.DISPATCHED,)):
        assert may_move(before, after) == (before is State.APPROVED)
    for before in State:
        assert may_move(before, State.APPROVED) == (before is State.AWAITING)
