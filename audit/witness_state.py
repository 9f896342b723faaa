"""What a witness holds of each log, on disk before it answers, and evidence of what it refused.

One file a log in one folder, replaced whole. Checking and replacing are one step under one lock, so
that a slower request never takes back what a quicker one was told.
"""

import fcntl
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from audit.add_checkpoint import Held
from audit.errors import WitnessError

MOST_EVIDENCE = 64  # notes that a log's own key signed; only it can make more

_log = logging.getLogger(__name__)


class WitnessState:
    """The folder, held by one process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WitnessError(f"{folder}: another witness uses it") from error
        except OSError as error:
            raise WitnessError(f"{folder}: cannot use: {error.strerror}") from error

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """What is read here and replaced here is one step."""
        with self._lock:
            yield

    def held(self, origin: str) -> Held:
        """What was cosigned last of this log; raises `WitnessError` when that cannot be read."""
        path = self._file(origin)
        try:
            return msgspec.json.decode(path.read_bytes(), type=Held)
        except FileNotFoundError:
            return Held()
        except (OSError, msgspec.DecodeError) as error:
            raise WitnessError(f"{path}: cannot be read: {error}") from error

    def hold(self, origin: str, held: Held) -> None:
        """When this returns, a restart holds it."""
        self._write(self._file(origin), msgspec.json.encode(held))

    def keep_evidence(self, origin: str, held: Held, note: str) -> None:
        """Two notes of one key of which nobody showed that they are of one history."""
        digest = hashlib.sha256(note.encode()).hexdigest()[:16]
        folder = self._folder / "evidence"
        path = folder / f"{self._file(origin).stem}-{digest}.notes"
        folder.mkdir(mode=0o700, exist_ok=True)
        if not path.exists() and len(list(folder.glob("*.notes"))) < MOST_EVIDENCE:
            self._write(path, f"{held.note}\n{note}\n".encode())

    def close(self) -> None:
        """Let the folder go."""
        os.close(self._held)

    def _file(self, origin: str) -> Path:
        """An origin is whatever a log calls itself, so a file is named by its digest."""
        return self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.json"

    def _write(self, path: Path, data: bytes, sync: Callable[[int], None] = os.fsync) -> None:
        temporary = path.with_suffix(".new")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                sync(file.fileno())
            temporary.replace(path)  # a crash here leaves the old one or the new
            names = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                sync(names)
            finally:
                os.close(names)
        except OSError as error:
            raise WitnessError(f"{path}: cannot write: {error.strerror}") from error
