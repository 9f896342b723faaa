"""One executor at a time over one state folder.

A second one, started by hand beside the service, would have read the journal before the first
wrote on: an order that both are given would run twice, and one that runs would be told as unknown.
The lock goes with the process that holds it, however it ends.
"""

import fcntl
import os
from pathlib import Path

from agent.errors import JournalError


def hold(folder: Path) -> int:
    """Take the folder, or raise `JournalError`; it is held until the process ends."""
    path = folder / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise JournalError(f"{path}: cannot open: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise JournalError(f"{folder}: another executor is at work here") from error
    return descriptor
