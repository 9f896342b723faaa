"""The one door to PostgreSQL: a pool, transactions, and queries by their names.

SQL lives in the `.sql` files beside this module; each query has a name and a sentence. What the
database refuses becomes a `DatabaseError` with one readable line.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb, set_json_dumps
from psycopg_pool import ConnectionPool, PoolTimeout

from appliance import records
from appliance.people import People
from hub.errors import DatabaseError, EventError, MoveError

_FOLDER = Path(__file__).parent
_CONNECT_TIMEOUT_S = 5

set_json_dumps(records.to_json)


Row = dict[str, Any]

as_json = Jsonb  # marks a record, list or dict as a `jsonb` parameter


@cache
def queries() -> dict[str, str]:
    """All named queries: `-- name --`, a line that says what it is for, then SQL."""
    found: dict[str, str] = {}
    for path in sorted(_FOLDER.glob("*.sql")):
        name, lines = "", list[str]()
        for line in [*path.read_text(encoding="utf-8").splitlines(), "-- end --"]:
            if line.startswith("-- ") and line.endswith(" --"):
                if name:
                    _add(found, name, "\n".join(lines), path)
                name, lines = line[3:-3], []
            else:
                lines.append(line)
    return found


def _add(found: dict[str, str], name: str, text: str, path: Path) -> None:
    if name in found:
        raise DatabaseError(f"{path}: query {name} is named twice")
    found[name] = text


class PeopleSource(Protocol):
    """Where a process has the people in force from, if not from the database's own word."""

    def people(self, work: "Work", *, now: datetime) -> People | None:
        """Who may say yes at this moment; None: nobody."""
        ...


class Work:
    """One transaction; named queries with named parameters."""

    def __init__(
        self, connection: psycopg.Connection[DictRow], *, people: "PeopleSource | None" = None
    ) -> None:
        self._connection = connection
        self.people = people  # where the people in force come from; see hub/persist/people.py

    def one(self, query: str, **parameters: Any) -> dict[str, Any] | None:
        """The first row, or None."""
        return self._execute(query, parameters).fetchone()

    def all(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """All rows."""
        return self._execute(query, parameters).fetchall()

    def run(self, query: str, **parameters: Any) -> int:
        """Run it; how many rows it touched."""
        return self._execute(query, parameters).rowcount

    def many(self, query: str, rows: list[dict[str, Any]]) -> None:
        """Run it once for each row of parameters, in one round trip."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_text(query), rows)

    def _execute(self, query: str, parameters: dict[str, Any]) -> psycopg.Cursor[DictRow]:
        return self._connection.execute(_text(query), parameters)


class Database:
    """A pool of connections to one PostgreSQL."""

    def __init__(self, dsn: str, *, size: int = 4) -> None:
        self.dsn = dsn
        self.people: PeopleSource | None = None  # set where the list is published as signed trust
        self._pool: ConnectionPool[psycopg.Connection[DictRow]] = ConnectionPool(
            dsn,
            min_size=1,
            max_size=size,
            timeout=_CONNECT_TIMEOUT_S,
            kwargs={"row_factory": dict_row, "connect_timeout": _CONNECT_TIMEOUT_S},
            check=ConnectionPool.check_connection,
            open=True,
        )

    @contextmanager
    def transaction(self) -> Iterator[Work]:
        """A transaction: commits at the end of the block, rolls back on any exception."""
        try:
            with self._pool.connection() as connection:
                yield Work(connection, people=self.people)
        except PoolTimeout as error:
            raise DatabaseError("PostgreSQL does not answer; see its log") from error
        except psycopg.errors.CheckViolation as error:
            raise MoveError(_first_line(error)) from error
        except psycopg.DataError as error:
            raise EventError(f"PostgreSQL cannot hold it: {_first_line(error)}") from error
        except psycopg.Error as error:
            raise DatabaseError(f"PostgreSQL: {_first_line(error)}") from error

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _text(query: str) -> bytes:
    """A query's text; names come from our own code, never from outside."""
    return queries()[query].encode()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
