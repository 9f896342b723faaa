"""A log that was begun under one key goes on under epochs: that key is epoch 0 of the list.

The security officer's list names the old key as epoch 0; the secret of the state is of epoch 1 or
later. The move is made at the first start with both in the settings, and goes like any rotation:

    1. all that is written is signed by the old key
    2. `key.rotate` is written and synced
    3. one checkpoint over it is signed by both keys, and kept
    4. the old key's file is overwritten and removed

A crash before 2 is none. One between 2 and 3 leaves the entry unsigned, and a restart signs with
both; one between 3 and 4 leaves the old key, and a restart does 4. Before 2 the settings can be
taken back; after it, who starts with the old ones is refused.
"""

import errno
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from audit.entry import moment
from audit.epochs import EpochList
from audit.errors import VkeyError
from audit.note import Signer
from audit.signer import LocalSigner
from hub.epoch_keys import EpochKeys, StateFile
from hub.errors import KeyEndedError, NotaryError, RollbackError
from hub.segment_files import Disk

NOT_OURS = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})  # as a systemd credential is

_log = logging.getLogger(__name__)


class OldKey:
    """The file of the one key under which the log was begun."""

    def __init__(self, path: Path, origin: str, disk: Disk | None = None) -> None:
        self.path = path
        self._origin, self._disk = origin, disk or Disk()

    def signer(self) -> LocalSigner | None:
        """Who signs; None when the file is gone, or overwritten."""
        try:
            return LocalSigner.from_pem(self._origin, self.path.read_bytes())
        except (FileNotFoundError, VkeyError):
            return None

    def destroy(self) -> None:
        """Overwrite it where it lies, then remove it; a file that is not ours only gets said."""
        if not self.path.exists():
            return
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                view = memoryview(secrets.token_bytes(os.fstat(fd).st_size))
                while view:
                    view = view[self._disk.write(fd, view) :]
                self._disk.sync(fd)
            finally:
                os.close(fd)
            # A crash here leaves a file that is no key: a restart removes it.
            self.path.unlink()
        except OSError as error:
            if error.errno not in NOT_OURS:
                raise
            _log.warning("%s: the log's old key counts no more; destroy it by hand", self.path)
            return
        _log.info("%s: the log's old key is gone", self.path)


class MovedKeys(EpochKeys):
    """Epoch keys, and before them the one key of epoch 0 until it has signed the change."""

    def __init__(
        self,
        epochs: EpochList,
        state: StateFile,
        old: OldKey,
        *,
        second: Signer | None = None,
        rotate_before: timedelta = timedelta(0),
        now: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(epochs, state, second=second, rotate_before=rotate_before, now=now)
        self._old = old
        self._signer: LocalSigner | None = None  # of epoch 0, while it signs
        self._both = False
        found = old.signer()
        if self._ratchet.epoch == 0 or (found and found.vkey != self.opening):
            raise NotaryError(f"{old.path}: it is not the key of the list's epoch 0")

    def signers(self) -> Sequence[Signer]:
        """The old key alone up to the change, both for the change, then the epoch's."""
        if self._signer is None:
            return super().signers()
        if self._both:
            return [self._signer, *super().signers()]
        return [self._signer] if self._second is None else [self._signer, self._second]

    def resume(self, note: str, left: dict[str, Any] | None) -> dict[str, Any] | None:
        """As that of epoch keys; where the last note is of epoch 0, the change is made first."""
        # 1. there is a signed log to be moved      3. the old key is there, and its time not over
        # 2. it was moved before: the old key goes  4. `key.rotate` is unsigned: both keys sign it
        self._signer, self._both = None, False
        if not note:  # 1
            raise NotaryError("a new log begins under epochs: only one that has entries is moved")
        first = self.epochs.epochs[0]
        if self._epoch_of(note) > 0:  # 2
            self._old.destroy()
            return super().resume(note, left)
        if first.revoked is not None:
            return super().resume(note, left)
        signer = self._old.signer()
        if signer is None:  # 3
            raise NotaryError(
                f"{self._old.path}: the key of epoch 0 is not there, and it must sign"
            )
        if self._now() >= moment(first.not_after) and left is None:
            raise KeyEndedError(f"epoch 0 ended {first.not_after}: certify another list, from now")
        following = self.epochs.after(0)
        if following is None or following.epoch != self.current.epoch:
            raise RollbackError(f"the log is in epoch 0, the secret in {self.current.epoch}")
        if left is not None and left.get("new_vkey") != following.vkey:  # 4
            raise RollbackError("the log changes to another key than the list's next one")
        self._signer, self._both = signer, left is not None
        return None

    def overdue(self) -> dict[str, Any] | None:
        """Once all is signed by the old key, the change itself."""
        if self._signer is None:
            return super().overdue()
        self._both = True
        first = self.epochs.epochs[0]
        return self._body(first, self.current, "the log goes on under keys that change")

    def signed(self, note: str) -> None:
        """Once both have signed, the old key is gone."""
        if self._signer is not None and self._epoch_of(note) > 0:
            self._old.destroy()
            # From here on nothing is signed with the old key any more, by nobody.
            self._signer, self._both = None, False
        super().signed(note)
