"""What the console keeps in memory alone: the database's password and the form tokens' key."""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import SettingsError
from hub.console.settings import ConsoleSettings
from hub.secrets import dsn_of, resolve
from vault.references import is_reference, parse

_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSecrets:
    """Resolved once, before the first request is taken; never shown."""

    dsn: str = field(repr=False)
    session_key: bytes = field(repr=False)


def secrets_of(settings: ConsoleSettings, *, wait: threading.Event | None = None) -> ConsoleSecrets:
    """All of them; with `wait`, as soon as Vault is there."""
    return ConsoleSecrets(
        dsn=dsn_of(settings, wait=wait), session_key=session_key(settings, wait=wait)
    )


def session_key(settings: ConsoleSettings, *, wait: threading.Event | None = None) -> bytes:
    """The secret that signs form tokens, from where the settings say it is."""
    text = str(settings.session_key)
    if not is_reference(text):
        return session_key_file(settings.session_key)
    secret = resolve(parse(text, key="session_key"), settings.secrets, wait=wait).encode()
    if len(secret) < _KEY_BYTES:
        raise SettingsError(f"session_key: {text} holds fewer than {_KEY_BYTES} bytes")
    return secret


def session_key_file(path: Path) -> bytes:
    """The secret that signs form tokens; a missing one is made, readable by its owner only."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(os.urandom(_KEY_BYTES))
    except FileExistsError:
        pass
    except OSError as error:
        raise SettingsError(f"session_key: cannot make {path}: {error.strerror}") from error
    try:
        secret = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"session_key: cannot read {path}: {error.strerror}") from error
    if len(secret) < _KEY_BYTES:
        raise SettingsError(f"session_key: {path} holds fewer than {_KEY_BYTES} bytes; remove it")
    return secret
