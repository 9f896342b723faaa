"""Wait for PostgreSQL to say that a queue has something new (LISTEN/NOTIFY).

A notification is a hint: it may be lost with the connection, so every waiter also looks at its
queue when the time-out passes.
"""

from collections.abc import Sequence
from time import monotonic, sleep

import psycopg
from psycopg import sql

_RETRY_S = 1.0


class Listener:
    """One connection that listens on some channels, and reconnects when it must."""

    def __init__(self, dsn: str, *, channels: Sequence[str]) -> None:
        self._dsn = dsn
        self._channels = tuple(channels)
        self._connection: psycopg.Connection | None = None

    def wait(self, timeout_s: float) -> str | None:
        """The channel of the next notification, or None when the time passed without one."""
        deadline = monotonic() + timeout_s
        try:
            connection = self._connected()
            for notice in connection.notifies(
                timeout=max(0.0, deadline - monotonic()), stop_after=1
            ):
                return notice.channel
        except psycopg.Error:
            self.close()
            sleep(min(_RETRY_S, max(0.0, deadline - monotonic())))
        return None

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=5)
            for channel in self._channels:
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            self._connection = connection
        return self._connection
