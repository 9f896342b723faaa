"""What a log's lines say about its keys: when each epoch began, and what is too late for it.

Lines go through unchanged; only those that name keys, and those that are later than their epoch,
are read. What the notes say is `audit/epoch_notes.py`, both together `audit/epoch_rules.py`.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from audit.entry import Entry, decode, moment, timestamp
from audit.epochs import Epoch, EpochList
from audit.errors import EntryError

GRACE = timedelta(hours=1)  # clocks of the hub's machines may differ by this
_TS = b'"ts":"'  # the last key but two of a canonical line, so the last of this form is the entry's
_TS_LENGTH = 27
_TYPE_AFTER_TS = len(_TS) + _TS_LENGTH + len(b'","type":"')
_ABOUT_KEYS = (b"key.", b"log.open")

Tell = Callable[[int, str], None]
"""Takes the entry concerned and a sentence about what is wrong."""


class LineWatch:
    """Looks at lines on their way to the verifier. Memory: a few numbers an epoch."""

    def __init__(self, epochs: EpochList, tell: Tell, start: Epoch | None = None) -> None:
        self._by_vkey = {one.vkey: one for one in epochs.epochs}
        self._tell = tell
        self._epoch = start or epochs.epochs[0]
        self._limit = _last_moment(self._epoch)
        self._late: set[int] = set()
        self.changes: dict[int, tuple[int, int | None]] = {}
        """Epoch: its first `key.rotate`, and the epoch that this one says it follows."""
        self.list_seen: tuple[int, str, int] | None = None
        """The newest `key.epochs`: sequence, digest, and the entry's place."""

    def lines(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The same lines."""
        for raw in lines:
            at = raw.rfind(_TS)
            if raw.startswith(_ABOUT_KEYS, at + _TYPE_AFTER_TS):
                self._key_entry(raw)
            elif raw[at + len(_TS) : at + len(_TS) + _TS_LENGTH] > self._limit:
                self._too_late(raw)
            yield raw

    def _key_entry(self, raw: bytes) -> None:
        try:
            entry = decode(raw.rstrip(b"\n"))
        except EntryError:
            return  # the verifier says why
        match entry.type:
            case "log.open":
                self._opened(entry)
            case "key.epochs":
                self._list_in_force(entry)
            case "key.rotate":
                self._rotated(entry)

    def _opened(self, entry: Entry) -> None:
        first = self._epoch
        if entry.seq != 0:
            return
        if entry.body.get("vkey") != first.vkey:  # 1
            self._tell(0, "the log was begun under another key than that of epoch 0")
        if entry.ts < first.not_before:
            self._tell(0, f"the log was begun before the time of epoch 0 ({first.not_before})")

    def _list_in_force(self, entry: Entry) -> None:
        sequence, digest = entry.body.get("sequence"), entry.body.get("list_digest")
        if isinstance(sequence, int) and isinstance(digest, str):
            self.list_seen = max(self.list_seen or (0, "", 0), (sequence, digest, entry.seq))

    def _rotated(self, entry: Entry) -> None:
        new = self._by_vkey.get(str(entry.body.get("new_vkey")))
        old = self._by_vkey.get(str(entry.body.get("old_vkey")))
        if new is None:
            self._tell(entry.seq, f"entry {entry.seq} changes to a key that no epoch has")
            return
        if entry.ts < new.not_before:  # 3
            sentence = f"epoch {new.epoch} began at {entry.ts}, before its time"
            self._tell(entry.seq, f"{sentence} ({new.not_before})")
        self.changes.setdefault(new.epoch, (entry.seq, None if old is None else old.epoch))
        self._epoch, self._limit = new, _last_moment(new)

    def _too_late(self, raw: bytes) -> None:
        epoch = self._epoch
        if epoch.epoch in self._late:
            return
        try:
            entry = decode(raw.rstrip(b"\n"))
        except EntryError:
            return
        self._late.add(epoch.epoch)
        sentence = f"entry {entry.seq} of {entry.ts} is in epoch {epoch.epoch}"
        self._tell(entry.seq, f"{sentence}, which ended {epoch.not_after}")


def _last_moment(epoch: Epoch) -> bytes:
    return timestamp(moment(epoch.not_after) + GRACE).encode()
