"""The crash tool on a connection to PostgreSQL: which statement it is, and who hears of it."""

import errno
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from tests.crash.preload import Action, Blow, Point, Watched

pytestmark = pytest.mark.postgres
TIMES = 8  # from the sixth on psycopg has prepared it
CODE = """
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute("CREATE TABLE numbers (n int)")
for number in range(int(sys.argv[2])):
    if not number:
        connection = psycopg.connect(sys.argv[1])
    connection.execute("-- a number --\\nINSERT INTO numbers VALUES (%s)", (number,))
    connection.execute("SELECT count(*) FROM numbers")
    connection.commit()
"""


@pytest.fixture
def watched(library: Path, tmp_path: Path) -> Watched:
    (tmp_path / "root").mkdir()
    return Watched(library, tmp_path / "root", tmp_path / "beside")


def run(watched: Watched, dsn: str) -> int:
    words = [sys.executable, "-c", CODE, dsn, str(TIMES)]
    return subprocess.run(words, env=watched.around(), capture_output=True, check=False).returncode


def numbers(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        (row,) = connection.execute("SELECT count(*) FROM numbers").fetchall()
        return int(row[0])


def test_each_statement_is_named_once_also_when_it_was_prepared(watched: Watched, dsn: str) -> None:
    assert run(watched, dsn) == 0
    seen = Counter(point.label for point in watched.points())
    assert seen["sql! a number --"] == TIMES
    assert seen["sql! COMMIT of: a number --"] == TIMES
    assert seen["sql? SELECT count(*) FROM numbers"] == TIMES


@pytest.mark.parametrize(
    ("action", "after", "left"),
    [
        (Action.KILL, False, 1),
        (Action.KILL, True, 2),
        (Action.FAIL, False, 1),
        (Action.HANGUP, False, 2),
    ],
)
def test_a_commit_that_was_sent_is_carried_out_and_one_that_was_not_is_not(
    watched: Watched, dsn: str, action: Action, *, after: bool, left: int
) -> None:
    point = Point(label="sql! COMMIT of: a number --", occurrence=2)
    error = errno.ECONNRESET if action is Action.FAIL else 0
    watched.arm(Blow(point=point, action=action, after=after, error=error))
    assert run(watched, dsn) != 0
    assert watched.struck
    with psycopg.connect(dsn) as connection:  # the server's part of a lost one has ended
        connection.execute("LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE")
    assert numbers(dsn) == left
