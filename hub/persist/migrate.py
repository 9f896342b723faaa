"""Bring a database to the schema this version needs (yoyo-migrations, one file a step)."""

from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from yoyo import get_backend, read_migrations

from hub.errors import DatabaseError

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(dsn: str) -> list[str]:
    """Apply what is missing, each in a transaction, under a lock; the names of what was applied."""
    try:
        with get_backend(_url(dsn)) as backend, backend.lock(timeout=30):
            waiting = backend.to_apply(read_migrations(str(MIGRATIONS)))
            backend.apply_migrations(waiting)
            return [migration.id for migration in waiting]
    except psycopg.Error as error:
        raise DatabaseError(f"migration failed: {str(error).strip().splitlines()[0]}") from error


def pending(dsn: str) -> list[str]:
    """The names of migrations this version has and the database has not."""
    try:
        with get_backend(_url(dsn)) as backend:
            return [
                migration.id for migration in backend.to_apply(read_migrations(str(MIGRATIONS)))
            ]
    except psycopg.Error as error:
        raise DatabaseError(f"PostgreSQL: {str(error).strip().splitlines()[0]}") from error


def _url(dsn: str) -> str:
    """The same connection as the URL that yoyo reads."""
    parts = {key: str(value) for key, value in conninfo_to_dict(dsn).items()}
    user, name = parts.get("user", ""), parts.get("dbname", "")
    password = f":{quote(parts['password'], safe='')}" if "password" in parts else ""
    host = parts.get("host", "")
    if host.startswith("/"):
        query = f"?host={quote(host, safe='')}" + (
            f"&port={parts['port']}" if "port" in parts else ""
        )
        return f"postgresql+psycopg://{quote(user)}{password}@/{quote(name)}{query}"
    port = f":{parts['port']}" if "port" in parts else ""
    return f"postgresql+psycopg://{quote(user)}{password}@{host}{port}/{quote(name)}"
