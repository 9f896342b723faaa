"""Keys that a node makes for itself at the first start; they never leave it."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent.errors import JournalError
from appliance.envelope import load_key
from appliance.errors import EnvelopeError


def load_or_make(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key in this file (PEM, 0600); made, durably, when there is none.

    A file that is there and no key is an error: another key in its place would be noticed as
    another node.
    """
    if path.exists():
        try:
            return load_key(path)
        except EnvelopeError as error:
            raise JournalError(str(error)) from error
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_durably(path, private)
    return key


def write_durably(path: Path, data: bytes) -> None:
    """Put a file in place of the old one, on disk when this returns; a crash leaves either."""
    temporary = path.with_suffix(path.suffix + ".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise JournalError(f"{path}: cannot write: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """What was put into or out of this folder is on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
