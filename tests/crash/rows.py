"""All rows of a database, to go back to them: quicker than a copy of the database."""

from dataclasses import dataclass

import psycopg
from psycopg import sql

_TABLES = """
SELECT tablename FROM pg_tables
WHERE schemaname = 'public' AND tablename NOT LIKE '%yoyo%' ORDER BY tablename
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the product's tables hold, as COPY writes it. Sequences go on, as after a crash."""

    tables: dict[str, bytes]

    @classmethod
    def of(cls, dsn: str) -> "Rows":
        """What is committed now."""
        with psycopg.connect(dsn) as connection:
            found = {}
            for (name,) in connection.execute(_TABLES).fetchall():
                copy = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(name))
                with connection.cursor().copy(copy) as data:
                    found[name] = b"".join(bytes(part) for part in data)
        return cls(tables=found)

    def put(self, dsn: str) -> None:
        """Make the tables so. Nobody else may be writing; no trigger fires."""
        names = sql.SQL(", ").join(sql.Identifier(name) for name in self.tables)
        with psycopg.connect(dsn) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(sql.SQL("TRUNCATE {}").format(names))
            for name, rows in self.tables.items():
                copy = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(name))
                with connection.cursor().copy(copy) as data:
                    data.write(rows)
