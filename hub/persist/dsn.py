"""Connection strings that hold no secret, and the password that joins them in memory."""

from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from appliance.errors import SettingsError

_SECRET = ("password", "sslpassword", "oauth_client_secret")


def demand_without_secret(dsn: str, *, key: str) -> None:
    """Raise `SettingsError` when a connection string holds a password; it is not repeated."""
    held = [name for name in _SECRET if _parts(dsn, key=key).get(name)]
    if held:
        raise SettingsError(
            f"{key}: holds a {held[0]}, where others can read it; say where it is:"
            " password = `vault:PATH#FIELD` or `credential:NAME`"
        )


def with_password(dsn: str, password: str, *, key: str) -> str:
    """The same connection with its password; kept in memory, never shown."""
    _parts(dsn, key=key)
    return make_conninfo(dsn, password=password)


def client_pair(dsn: str) -> tuple[Path, Path] | None:
    """The certificate and key that PostgreSQL is shown, when the connection string names both."""
    parts = _parts(dsn, key="dsn")
    certificate, key = parts.get("sslcert"), parts.get("sslkey")
    return (Path(str(certificate)), Path(str(key))) if certificate and key else None


def _parts(dsn: str, *, key: str) -> dict[str, object]:
    try:
        return dict(conninfo_to_dict(dsn))
    except psycopg.ProgrammingError:
        # Its text repeats what it could not read, which may be a password.
        raise SettingsError(f"{key}: expected a connection string of PostgreSQL") from None
