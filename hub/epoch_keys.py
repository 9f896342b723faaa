"""The notary's keys over time: the ratchet's state on disk, who signs next, what is forgotten.

Formats and derivation are in `audit/epochs.py`. A rotation goes:

    1. all that is written is signed by the old key
    2. `key.rotate` is written and synced
    3. one checkpoint over it is signed by both keys, and kept
    4. the state is replaced by the next one; the old key is gone

A crash before 2 is none. One between 2 and 3 leaves the entry unsigned, and a restart signs with
both; one between 3 and 4 leaves a checkpoint of the new key, and a restart does 4. So the state is
always the log's epoch or the one before it; anything else is a log, or a state, that was set back.
"""

import contextlib
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from audit.entry import moment
from audit.epochs import REQUEST_SUFFIX, Epoch, EpochList, Ratchet, Request
from audit.errors import EpochError
from audit.note import Signer, Vkey, claimed
from hub.errors import KeyEndedError, NotaryError, RollbackError
from hub.segment_files import Disk

LEFTOVERS = timedelta(minutes=10)  # what was taken in an epoch may be signed so long after its end
NEXT_SUFFIX = ".next"  # beside the state: the secret that goes on where this one's epochs end

_log = logging.getLogger(__name__)


class StateFile:
    """The one file with the ratchet's state; replacing it destroys what was there before.

    Promised: the name leads to the old state or the new one, whenever the machine stops, and the
    old file's blocks are overwritten in place. Not promised: what a copy-on-write file system, a
    snapshot, a backup, a flash chip's spare blocks or the memory of a running process still hold.
    """

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self.path = path
        self._disk = disk or Disk()

    def read(self) -> Ratchet:
        """The state. Raises `NotaryError`."""
        return self._read(self.path)

    def read_next(self) -> Ratchet | None:
        """The secret that the security officer made for the epochs after this one's, if any."""
        path = self.path.with_name(self.path.name + NEXT_SUFFIX)
        return self._read(path) if path.exists() and path.read_bytes().strip() else None

    def replace(self, new: Ratchet) -> None:
        """Put another state in the place of this one; when it returns, that is so on disk."""
        fresh = self.path.with_name(self.path.name + ".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self._write(fd, msgspec.json.encode(new))
        finally:
            os.close(fd)
        old = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._disk.replace(fresh, self.path)
            self._sync_folder()
            # From here on a restart finds the new state; what is left to do is to destroy the old.
            self._write(old, secrets.token_bytes(os.fstat(old).st_size))
        finally:
            os.close(old)
        self.destroy_used(new.epoch)

    def destroy_used(self, epoch: int) -> None:
        """The secret that was laid beside is in use now, and soon it would be a key of the past."""
        beside = self.read_next()
        if beside is None or beside.epoch > epoch:
            return
        path = self.path.with_name(self.path.name + NEXT_SUFFIX)
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._write(fd, b" " * os.fstat(fd).st_size)
        finally:
            os.close(fd)
        # A crash here leaves blanks, which hold no secret and are read as none.
        path.unlink()
        self._sync_folder()

    def request(self) -> Request | None:
        """What `sentinel-audit keys rotate` asked."""
        try:
            return msgspec.json.decode(self._request.read_bytes(), type=Request)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            _log.error("%s: not a request to rotate: %s", self._request, error)
            self.answered()
            return None

    def answered(self) -> None:
        """The request is done, or was none."""
        with contextlib.suppress(OSError):
            self._request.unlink()

    @property
    def _request(self) -> Path:
        return self.path.with_name(self.path.name + REQUEST_SUFFIX)

    @staticmethod
    def _read(path: Path) -> Ratchet:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Ratchet)
        except OSError as error:
            raise NotaryError(f"{path}: cannot read the key's state: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise NotaryError(f"{path}: not the state of an epoch key: {error}") from error

    def _write(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._disk.write(fd, view) :]
        self._disk.sync(fd)

    def _sync_folder(self) -> None:
        fd = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._disk.sync_folder(fd)
        finally:
            os.close(fd)


class EpochKeys:
    """Signs with the current epoch's key, and during a rotation with the next one's as well."""

    def __init__(
        self,
        epochs: EpochList,
        state: StateFile,
        *,
        second: Signer | None = None,
        rotate_before: timedelta = timedelta(0),
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.epochs, self._state, self._second = epochs, state, second
        self._rotate_before = rotate_before
        self._now = now or partial(datetime.now, UTC)
        self._ratchet = state.read()
        self._next: Ratchet | None = None  # while a rotation is under way
        self._warned = False
        self.trusted: Sequence[Vkey] = epochs.vkeys
        self._demand_fit(self._ratchet)
        state.destroy_used(self._ratchet.epoch)

    @property
    def opening(self) -> str:
        """The key of epoch 0."""
        return self.epochs.epochs[0].vkey

    @property
    def current(self) -> Epoch:
        """The epoch whose key signs."""
        return self.epochs.epochs[self._ratchet.epoch]

    def signers(self) -> Sequence[Signer]:
        """The current key, in a rotation the next one, and the second one where there is one."""
        epoch = self.current
        if epoch.revoked is not None:
            raise KeyEndedError(
                f"the key of epoch {epoch.epoch} was revoked ({epoch.revoked.reason}):"
                " the notary needs the new secret"
            )
        if self._next is None and self._now() > moment(epoch.not_after) + LEFTOVERS:
            self.demand_time()
        signers: list[Signer] = [self._ratchet.signer()]
        if self._next is not None:
            signers.append(self._next.signer())
            epoch = self.epochs.epochs[self._next.epoch]
        if epoch.second is not None and (self._second is None or self._second.vkey != epoch.second):
            raise KeyEndedError(f"epoch {epoch.epoch} demands a second signature by {epoch.second}")
        return [*signers, self._second] if self._second is not None else signers

    def demand_time(self) -> None:
        """Raise `KeyEndedError` when the last epoch of the list is over: nothing more is taken."""
        epoch = self.current
        if self._over() and self.epochs.after(epoch.epoch) is None:
            raise KeyEndedError(
                f"epoch {epoch.epoch} ended {epoch.not_after}, and it is the last of the list"
            )

    def resume(self, note: str, left: dict[str, Any] | None) -> dict[str, Any] | None:
        """Go on where the log stands; raises `RollbackError` where it does not fit the state."""
        # 1. a new log begins with epoch 0        4. the state is ahead: only after a revocation,
        # 2. the log is ahead: step 4 of a           then the new secret takes over
        #    rotation is still to be done         5. `key.rotate` is unsigned: both keys sign it
        if not note:  # 1
            if self._ratchet.epoch != 0:
                raise NotaryError(f"a log begins with epoch 0, the state is {self._ratchet.epoch}")
            if left is None and self._over():
                raise KeyEndedError("epoch 0 is over: a new log needs a list that begins now")
            return None
        reached = self._epoch_of(note)
        if reached > self._ratchet.epoch:  # 2
            self._forget(self._following(reached))
            return None
        if reached < self._ratchet.epoch:  # 4
            return self._take_over(reached, left)
        if left is not None:  # 5
            following = self.epochs.after(self._ratchet.epoch)  # in time: it had begun
            if following is None:
                raise RollbackError("the log changes to a key that the list has not")
            self._next = self._following(following.epoch)
            if left.get("new_vkey") != self._next.signer().vkey:
                raise RollbackError("the log changes to another key than the list's next one")
        return None

    def due(self) -> str | None:
        """Why the key must change now, in words for the log; None when it need not."""
        if self._next is not None:
            return None
        request = self._state.request()
        if request is not None:
            if request.epoch == self._ratchet.epoch:
                return request.reason
            self._state.answered()
        following = self.epochs.after(self._ratchet.epoch)
        end = moment(self.current.not_after) - self._rotate_before
        if following is None or self._now() < max(end, moment(following.not_before)):
            return None
        if not self._over() and not self._has_secret(following):
            return None  # it may still be brought
        return "the epoch ends"

    def overdue(self) -> dict[str, Any] | None:
        """A machine that was off over its epoch's end changes keys before it writes anything."""
        due = self._over() and self._next is None and self.epochs.after(self._ratchet.epoch)
        return self.begin("the epoch ended") if due else None

    def begin(self, reason: str) -> dict[str, Any]:
        """From now on both keys sign; the body of the `key.rotate` to be written."""
        try:
            following = self._after()
            self._next = self._following(following.epoch)
        except (KeyEndedError, EpochError):
            self._state.answered()  # asked again it would be the same
            raise
        return self._body(self.current, following, reason)

    def signed(self, note: str) -> None:
        """Once the next key has signed, the old one is gone."""
        if self._next is not None and self._epoch_of(note) >= self._next.epoch:
            self._forget(self._next)

    def _take_over(self, reached: int, left: dict[str, Any] | None) -> dict[str, Any] | None:
        between = self.epochs.epochs[reached : self._ratchet.epoch]
        if any(one.revoked is None for one in between):
            raise RollbackError(
                f"the key is in epoch {self._ratchet.epoch}, the log in epoch {reached}:"
                " the log was set back, or the state is that of another"
            )
        if left is not None and left.get("new_vkey") == self.current.vkey:
            return None
        old = self.epochs.epochs[reached]
        reason = old.revoked.reason if old.revoked else ""
        return self._body(old, self.current, f"revoked: {reason}")

    def _after(self) -> Epoch:
        """The next epoch, if it may begin already."""
        following = self.epochs.after(self._ratchet.epoch)
        if following is None:
            raise KeyEndedError(
                f"epoch {self._ratchet.epoch} is the last of list {self.epochs.sequence}:"
                " the security officer must certify more"
            )
        if self._now() < moment(following.not_before):
            raise KeyEndedError(
                f"epoch {following.epoch} may not begin before {following.not_before}"
            )
        return following

    def _following(self, epoch: int) -> Ratchet:
        """The secret of a later epoch: of this ratchet, or of the one laid beside it."""
        vkey = self.epochs.epochs[epoch].vkey
        found = self._ratchet.at(epoch)
        if found.signer().vkey != vkey:
            beside = self._state.read_next()
            if beside is None or beside.epoch > epoch or beside.at(epoch).signer().vkey != vkey:
                raise KeyEndedError(
                    f"epoch {epoch} has a secret of its own, which is not in"
                    f" {self._state.path.name}{NEXT_SUFFIX}"
                )
            found = beside.at(epoch)
        return found

    def _over(self) -> bool:
        return self._now() >= moment(self.current.not_after)

    def _has_secret(self, following: Epoch) -> bool:
        try:
            self._following(following.epoch)
        except KeyEndedError as error:
            if not self._warned:
                _log.warning("%s", error)
                self._warned = True
            return False
        return True

    def _forget(self, new: Ratchet) -> None:
        before = self._ratchet.epoch
        self._state.replace(new)
        # From here on nothing is signed with the old key any more, by nobody.
        self._ratchet, self._next = new, None
        self._state.answered()
        _log.info("epoch %d signs; the key of epoch %d is gone", new.epoch, before)

    def _epoch_of(self, note: str) -> int:
        marks = claimed(note)[1]  # the note is ours, or was verified when it was read
        return max(
            number for number, key in enumerate(self.trusted) if (key.name, key.key_hash) in marks
        )

    def _demand_fit(self, ratchet: Ratchet) -> None:
        epochs = self.epochs.epochs
        if ratchet.log != self.epochs.log or ratchet.epoch >= len(epochs):
            raise NotaryError(f"{self._state.path}: it is of another log than the epoch list")
        if ratchet.signer().vkey != epochs[ratchet.epoch].vkey:
            raise NotaryError(f"{self._state.path}: epoch {ratchet.epoch} has another key")

    @staticmethod
    def _body(old: Epoch, new: Epoch, reason: str) -> dict[str, Any]:
        return {
            "old_vkey": old.vkey,
            "new_vkey": new.vkey,
            "old_epoch": old.epoch,
            "epoch": new.epoch,
            "reason": reason[:500],
        }
