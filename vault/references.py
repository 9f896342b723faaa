"""How settings say where a secret is: a field in Vault's KV, or a credential from systemd.

    password = "vault:database#password"      # KV version 2, path and field
    password = "credential:database-password" # the file of that name in $CREDENTIALS_DIRECTORY

Settings hold such a reference and never the secret. Every error names the reference; what cannot
be read as one is not repeated, for it may be the secret itself.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from appliance.errors import SettingsError

MOST_BYTES = 64 * 1024  # of a credential; a disk full of zeroes is not a password

_VAULT = re.compile(r"vault:(?P<path>[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)#(?P<field>[A-Za-z0-9_-]+)")
_CREDENTIAL = re.compile(r"credential:(?P<name>[A-Za-z0-9_-][A-Za-z0-9_.-]*)")


class VaultSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a secret in the KV mount."""

    path: str
    field: str

    def __str__(self) -> str:
        return f"vault:{self.path}#{self.field}"


class CredentialSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A credential of systemd (`LoadCredential=` or `LoadCredentialEncrypted=`)."""

    name: str

    def __str__(self) -> str:
        return f"credential:{self.name}"


Reference = VaultSecret | CredentialSecret


def is_reference(text: str) -> bool:
    """Whether this means to be a reference, be it a right one or not."""
    return text.startswith(("vault:", "credential:"))


def parse(text: str, *, key: str) -> Reference:
    """The reference that a setting holds; raises `SettingsError` with the setting's key alone."""
    if found := _VAULT.fullmatch(text):
        if not {".", ".."} & set(found["path"].split("/")):
            return VaultSecret(path=found["path"], field=found["field"])
    elif found := _CREDENTIAL.fullmatch(text):
        return CredentialSecret(name=found["name"])
    raise SettingsError(f"{key}: expected `vault:PATH#FIELD` or `credential:NAME`, got neither")


def credential(reference: CredentialSecret, *, environment: Mapping[str, str] = os.environ) -> str:
    """What systemd put into the service's own folder, without the line's end."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise SettingsError(f"{reference}: there is no $CREDENTIALS_DIRECTORY; systemd sets it")
    try:
        with Path(folder, reference.name).open("rb") as file:
            text = file.read(MOST_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise SettingsError(f"{reference}: cannot read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{reference}: it is no text") from None  # the cause holds the bytes
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(text) > MOST_BYTES or "\0" in text:
        raise SettingsError(f"{reference}: it is empty, too long, or holds a zero byte")
    return text
