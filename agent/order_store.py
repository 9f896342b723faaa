"""Orders that may still be rolled back, as they came: sealed, one file each, gone when it is over.

What a rollback runs is read from here and nowhere else. The journal's line holds the file's
SHA-256, so a file that was put in its place is not believed; the envelope's signature is checked
again, too. An order's id comes from outside, so a file is named by its digest.
"""

import hashlib
from collections.abc import Collection
from pathlib import Path

from agent.durable import sync_folder, write_durably
from agent.errors import JournalError


class OrderStore:
    """The folder of kept orders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, order_id: str, envelope: bytes) -> str:
        """Keep an order, on disk when this returns; its SHA-256 in hex."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            write_durably(self._file(order_id), envelope)
            sync_folder(self._folder.parent)
        except OSError as error:
            raise JournalError(f"{self._folder}: cannot write: {error.strerror}") from error
        return hashlib.sha256(envelope).hexdigest()

    def read(self, order_id: str, *, digest: str) -> bytes | None:
        """A kept order, or None when it is not there or not the one that was kept."""
        try:
            envelope = self._file(order_id).read_bytes()
        except OSError:
            return None
        return envelope if hashlib.sha256(envelope).hexdigest() == digest else None

    def forget(self, order_ids: Collection[str]) -> None:
        """These cannot be rolled back any more."""
        for order_id in order_ids:
            self._file(order_id).unlink(missing_ok=True)

    def only(self, order_ids: Collection[str]) -> None:
        """Forget all but these; also what a crash left half-written."""
        wanted = {self._file(order_id).name for order_id in order_ids}
        for path in self._folder.glob("*"):
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def _file(self, order_id: str) -> Path:
        return self._folder / f"{hashlib.sha256(order_id.encode()).hexdigest()}.order"
