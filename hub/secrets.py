"""What the hub's processes need to know and no file of settings holds: resolved once, at the start.

A daemon waits for a Vault that is absent, sealed or slow, says so in one line, and goes on by
itself; a command says so and ends. A Vault that answers and refuses ends both: somebody has to
look. The secrets live in memory only; what is told of the settings are the references.
"""

import logging
import threading
from pathlib import Path
from typing import Protocol

from hub.persist.dsn import demand_without_secret, with_password
from vault import secret
from vault.access import VaultAccess
from vault.errors import VaultAwayError
from vault.references import CredentialSecret, Reference, is_reference, parse

RETRY_S = 2.0

_log = logging.getLogger(__name__)


class WithDatabase(Protocol):
    """Settings of a part that connects to PostgreSQL."""

    @property
    def dsn(self) -> str:
        """The connection, without its password."""
        ...

    @property
    def password(self) -> str | None:
        """Where the password is."""
        ...

    @property
    def secrets(self) -> VaultAccess | None:
        """How to sign in to Vault."""
        ...


def dsn_of(settings: WithDatabase, *, wait: threading.Event | None = None) -> str:
    """The connection string with its password; with `wait`, as soon as Vault has it, or set."""
    demand_without_secret(settings.dsn, key="dsn")
    if settings.password is None:
        return settings.dsn
    password = resolve(parse(settings.password, key="password"), settings.secrets, wait=wait)
    return with_password(settings.dsn, password, key="dsn")


def check(settings: WithDatabase, *more: Path) -> None:
    """Read what a start would read, but for Vault, which need not be there yet."""
    demand_without_secret(settings.dsn, key="dsn")
    if settings.secrets is not None:
        settings.secrets.demand_usable()
    named = [("password", settings.password)] if settings.password is not None else []
    named += [("session_key", str(path)) for path in more if is_reference(str(path))]
    for key, text in named:
        reference = parse(text, key=key)
        if isinstance(reference, CredentialSecret) or settings.secrets is None:
            secret.read(reference, settings.secrets)


def resolve(
    reference: Reference,
    access: VaultAccess | None,
    *,
    wait: threading.Event | None = None,
    retry_s: float = RETRY_S,
) -> str:
    """The secret. With `wait`, a Vault that is away is asked again until it is there.

    Raises `VaultAwayError` when the event is set before Vault is there.
    """
    complained = False
    while True:
        try:
            found = secret.read(reference, access)
        except VaultAwayError as error:
            if wait is None or wait.is_set():
                raise
            if not complained:
                _log.warning("waiting for %s: %s", reference, error)
                complained = True
            wait.wait(retry_s)
        else:
            if complained:
                _log.info("%s is there, going on", reference)
            return found
