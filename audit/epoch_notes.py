"""What a log's checkpoints say about its keys: each epoch in its turn, linked to the one before.

Notes are read, not believed: `audit/verify.py` verifies every signature line of a key it knows.
Here the signatures between two epochs are verified once more, for on them everything hangs.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from audit.checkpoint import parse_text
from audit.counting import Counting, LogKey, Second
from audit.epoch_lines import Tell
from audit.epochs import Epoch, EpochList
from audit.errors import AuditRefusedError, NoteError
from audit.note import Vkey, claimed, open_note, parse_vkey


class Demands(msgspec.Struct, frozen=True, kw_only=True):
    """Whom an auditor believes: pinned keys, or the epochs of a root key; and second keys."""

    vkeys: tuple[Vkey, ...]  # of the log
    epochs: EpochList | None = None
    seconds: tuple[Second, ...] = ()

    @property
    def simple(self) -> bool:
        """Whether `audit/verify.py` alone checks all of it."""
        return self.epochs is None and not self.seconds

    @property
    def told(self) -> str:
        """The log's keys, for a reader."""
        if self.epochs is None:
            return str(self.vkeys[0])
        last = len(self.epochs.epochs) - 1
        return f"epochs 0 to {last} of list {self.epochs.sequence}, {self.epochs.digest}"

    @property
    def all_keys(self) -> list[Vkey]:
        """Every key whose signatures are verified, the log's own first."""
        seconds = {str(one.vkey): one.vkey for one in self.seconds}
        for epoch in self.epochs.epochs if self.epochs else ():
            if epoch.second is not None:
                seconds[epoch.second] = parse_vkey(epoch.second)
        return [*self.vkeys, *seconds.values()]

    @property
    def counting(self) -> Counting:
        """The same for one checkpoint alone; whose turn it was only shows in the whole log."""
        if self.epochs is None:
            keys = tuple(LogKey(vkey=vkey) for vkey in self.vkeys)
        else:
            keys = tuple(one.counting for one in self.epochs.epochs)
        return Counting(keys=keys, seconds=self.seconds)


class NoteWatch:
    """Looks at notes on their way to the verifier. Memory: a few numbers an epoch."""

    def __init__(self, demands: Demands, tell: Tell, start: Epoch | None = None) -> None:
        self._demands, self._tell = demands, tell
        self._epochs = demands.epochs.epochs if demands.epochs else ()
        self._known = {(key.name, key.key_hash): key for key in demands.all_keys}
        self._epoch_of_key = {one.key: one for one in self._epochs}
        self._size = -1  # of the last kept note
        self._current = start  # None: a log from its beginning
        self.began: dict[int, tuple[int, int]] = {}
        """Epoch: size of its first note, and the epoch before it."""
        self.void: dict[int, tuple[int, int]] = {}
        """Revoked epoch: how many notes beyond what it is trusted for, and the largest of them."""

    def notes(self, notes: Iterable[str], latest: str | None) -> Iterator[str]:
        """The kept notes that count; the published one, if larger, is looked at as their last.

        After a crash it may be older than the last kept one; then the verifier compares its root.
        """
        yield from self.kept(notes)
        read = None if latest is None else self._read(latest)
        if latest is not None and read is not None and read[0] > self._size:
            self._accept(latest, *read)

    def kept(self, notes: Iterable[str]) -> Iterator[str]:
        """The notes that count; those that are none at all as well: the verifier says why."""
        for note in notes:
            read = self._read(note)
            if read is not None:
                self._size = read[0]
            if read is None or self._accept(note, *read):
                yield note

    def counts(self, note: str) -> bool:
        """Whether a single note would count."""
        read = self._read(note)
        if read is None:
            return False
        size, signers = read
        alive = self._alive(size, signers)
        count = bool(alive) if self._epochs else any(k in self._demands.vkeys for k in signers)
        return count and self._seconded(size, signers, alive[-1] if alive else None)

    def first_epoch(self, note: str) -> tuple[Epoch, int] | None:
        """The oldest epoch that counts among a note's signers, and the note's size."""
        read = self._read(note)
        alive = [] if read is None else self._alive(*read)
        return None if read is None or not alive else (alive[0], read[0])

    def _read(self, note: str) -> tuple[int, tuple[Vkey, ...]] | None:
        """Size and claimed signers; None when it is no checkpoint, which the verifier tells."""
        try:
            text, marks = claimed(note)
            signers = tuple(self._known[mark] for mark in marks if mark in self._known)
            return parse_text(text).size, signers
        except AuditRefusedError:
            return None

    def _epochs_of(self, signers: Sequence[Vkey]) -> list[Epoch]:
        return [self._epoch_of_key[key] for key in signers if key in self._epoch_of_key]

    def _alive(self, size: int, signers: Sequence[Vkey]) -> list[Epoch]:
        """The epochs of these signers whose keys count at this size, in order."""
        alive = [
            one
            for one in self._epochs_of(signers)
            if one.revoked is None or size <= one.revoked.trusted_size
        ]
        return sorted(alive, key=lambda one: one.epoch)

    def _accept(self, note: str, size: int, signers: tuple[Vkey, ...]) -> bool:
        if not any(key in self._demands.vkeys for key in signers):
            return True  # signed by nobody of the log: the verifier says so
        if not self._epochs:
            return self._seconded(size, signers, None)  # 5
        alive = self._alive(size, signers)
        if not alive:
            self._revoked(size, signers)  # 4
            return False
        return self._seconded(size, signers, alive[-1]) and self._in_turn(note, size, alive)

    def _revoked(self, size: int, signers: Sequence[Vkey]) -> None:
        for epoch in self._epochs_of(signers):
            count, largest = self.void.get(epoch.epoch, (0, 0))
            self.void[epoch.epoch] = count + 1, max(largest, size)

    def _seconded(self, size: int, signers: Sequence[Vkey], epoch: Epoch | None) -> bool:
        wanted = [one.vkey for one in self._demands.seconds if size >= one.from_size]
        if epoch is not None and epoch.second is not None:
            wanted.append(parse_vkey(epoch.second))
        lacking = [str(key) for key in wanted if key not in signers]
        if lacking:
            sentence = f"the checkpoint of {size} entries lacks the signature of {lacking[0]}"
            self._tell(max(0, size - 1), sentence)
        return not lacking

    def _in_turn(self, note: str, size: int, alive: list[Epoch]) -> bool:
        before, newest = self._current, alive[-1]
        if before is None:
            if newest.epoch != 0:  # 1
                sentence = f"the first checkpoint is of epoch {newest.epoch}"
                self._tell(0, f"{sentence}: those of the epochs before it are missing")
            self._current = newest
        elif newest.epoch < before.epoch:  # 2
            sentence = f"a checkpoint of {size} entries is signed by epoch {newest.epoch}"
            self._tell(max(0, size - 1), f"{sentence}, after epoch {before.epoch} had begun")
            return False
        elif newest.epoch > before.epoch:
            self._next_epoch(note, size, before, newest)
        elif len(alive) > 1 and self.began.get(newest.epoch, (0, 0))[0] != size:
            sentence = f"a checkpoint of {size} entries is signed by epoch {alive[0].epoch}"
            self._tell(max(0, size - 1), f"{sentence}, after epoch {newest.epoch} had begun")
        return True

    def _next_epoch(self, note: str, size: int, before: Epoch, newest: Epoch) -> None:
        skipped = [
            one.epoch
            for one in self._epochs
            if before.epoch < one.epoch < newest.epoch and one.revoked is None
        ]
        if skipped:  # 2
            sentence = f"epoch {newest.epoch} follows epoch {before.epoch}"
            self._tell(max(0, size - 1), f"{sentence}; epoch {skipped[0]} is missing")
        if not self._linked(note, size, before, newest):
            sentence = f"epoch {newest.epoch} begins with a checkpoint of {size} entries"
            self._tell(max(0, size - 1), f"{sentence} that epoch {before.epoch} did not sign")
        self.began[newest.epoch] = size, before.epoch
        self._current = newest

    def _linked(self, note: str, size: int, before: Epoch, newest: Epoch) -> bool:
        """Whether both keys signed, or revoked ones lie between, and all they are trusted for."""
        between = self._epochs[before.epoch : newest.epoch]
        trusted = [one.revoked.trusted_size for one in between if one.revoked is not None]
        if trusted and size >= max(trusted):
            return True
        try:
            return len(open_note(note, [before.key, newest.key]).keys) == 2  # noqa: PLR2004 - both
        except NoteError:
            return False
