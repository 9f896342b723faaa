"""Small files that must be on disk before they are acted upon: read whole, replaced whole."""

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.errors import JournalError

R = TypeVar("R", bound=msgspec.Struct)


def remembered(path: Path, kind: type[R], what: str) -> R | None:
    """The record, or None when there is none; raises `JournalError` when it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise JournalError(f"{path}: {what} cannot be read: {error}") from error


def remember(path: Path, record: msgspec.Struct) -> None:
    """Put the record in place of what was there; when this returns, it is on disk."""
    write_durably(path, msgspec.json.encode(record))


def write_durably(path: Path, data: bytes) -> None:
    """Put a file, for its owner only, in place of the old one; when this returns, it is on disk."""
    temporary = path.with_suffix(path.suffix + ".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)  # a crash here leaves the old one or the new
        sync_folder(path.parent)
    except OSError as error:
        raise JournalError(f"{path}: cannot write: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """Let the folder's names be on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
