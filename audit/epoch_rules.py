"""Check a log whose keys change over time: each epoch in its time, none missing, none too many.

    # 1. the log begins with epoch 0, as `log.open` says
    # 2. the next epoch begins with a checkpoint that ends in `key.rotate` and that both keys
    #    signed; no epoch is skipped but revoked ones, and none comes back
    # 3. it begins not before its time, and signs nothing that is later than its end
    # 4. a revoked key counts up to its last trusted size; what follows needs another key over it
    # 5. where a second key is demanded, each checkpoint carries its signature, too
    # 6. the list of epochs is not older than the log knows, and not another one

Everything else about the log is `audit/verify.py`, through which lines and notes go unchanged:
it verifies every signature and recomputes every root, so that the checkpoint between two epochs
binds the one's history to the other's. Who has a key of today can sign from today on; for an
earlier epoch there is the checkpoint that ended it, and the key that signed that one is gone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta

import msgspec

from audit.checkpoint import parse_text
from audit.entry import Entry, decode, moment, timestamp
from audit.epochs import Epoch, EpochList
from audit.errors import AuditRefusedError, EntryError, NoteError
from audit.note import Vkey, claimed, open_note, parse_vkey
from audit.report import MAX_LISTED, Problem, Report, Status, Verdict
from audit.trust import Second
from audit.verify import SEGMENT_ENTRIES, Segments, verify

GRACE = timedelta(hours=1)  # clocks of the hub's machines may differ by this
_TS = b'"ts":"'  # the last key but two of a canonical line, so the last of this form is the entry's
_TS_LENGTH = 27
_OURS = (b"key.", b"log.open")
_TYPE_AFTER_TS = len(_TS) + _TS_LENGTH + len(b'","type":"')


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
    def all_keys(self) -> list[Vkey]:
        """Every key whose signatures are verified, the log's own first."""
        seconds = {str(one.vkey): one.vkey for one in self.seconds}
        for epoch in self.epochs.epochs if self.epochs else ():
            if epoch.second is not None:
                seconds[epoch.second] = parse_vkey(epoch.second)
        return [*self.vkeys, *seconds.values()]


def verify_demanding(
    segments: Segments,
    notes: Iterable[str],
    *,
    demands: Demands,
    latest: str | None = None,
    since: str | None = None,
    segment_entries: int = SEGMENT_ENTRIES,
    progress: Callable[[int], None] = lambda _: None,
) -> Report:
    """As `verify`, under all that is demanded of the keys."""
    if demands.simple:
        return verify(
            segments,
            notes,
            vkeys=demands.vkeys,
            latest=latest,
            since=since,
            segment_entries=segment_entries,
            progress=progress,
        )
    watch = _Watch(demands)
    if since is not None and not watch.counts(since):
        raise NoteError("the checkpoint of the last audit is not signed by keys that count")
    kept = list(watch.kept([latest])) if latest is not None else []
    watch = _Watch(demands)  # the published one comes last
    report = verify(
        watch.segments(segments),
        watch.notes(notes, latest),
        vkeys=demands.all_keys,
        latest=kept[0] if kept else None,
        since=since,
        segment_entries=segment_entries,
        progress=progress,
    )
    return watch.judged(report)


class _Watch:
    """Looks at lines and notes on their way to the verifier, and remembers what it takes to judge.

    Memory: a few numbers an epoch.
    """

    def __init__(self, demands: Demands) -> None:
        self._demands = demands
        self._epochs = demands.epochs
        self._known = {(key.name, key.key_hash): key for key in demands.all_keys}
        self._epoch_of_key = {one.key: one for one in (self._epochs.epochs if self._epochs else ())}
        self._size = -1  # of the last kept note
        self._problems: list[Problem] = []
        self._warnings: list[str] = []
        self._current: Epoch | None = None  # of the notes
        self._began: dict[int, tuple[int, int]] = {}  # epoch: size of its first note, epoch before
        self._ended: dict[int, int] = {}  # epoch: size of its last note
        self._changes: dict[int, tuple[int, int | None]] = {}  # epoch: its key.rotate, epoch before
        self._line_epoch = demands.epochs.epochs[0] if demands.epochs else None
        self._limit = self._last_moment()
        self._late: set[int] = set()
        self._void: dict[int, tuple[int, int]] = {}  # revoked epoch: notes beyond, largest of them
        self._list_seen: tuple[int, str, int] | None = None  # sequence, digest, entry

    # The way in

    def segments(self, segments: Segments) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The same lines."""
        for name, lines in segments:
            yield name, (self._lines(lines) if self._epochs else iter(lines))

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

    # 3, and what the lines say

    def _lines(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for raw in lines:
            at = raw.rfind(_TS)
            if raw.startswith(_OURS, at + _TYPE_AFTER_TS):
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
        first = self._line_epoch
        if first is None or entry.seq != 0:
            return
        if entry.body.get("vkey") != first.vkey:  # 1
            self._problem(0, "the log was begun under another key than that of epoch 0")
        if entry.ts < first.not_before:
            self._problem(0, f"the log was begun before the time of epoch 0 ({first.not_before})")

    def _list_in_force(self, entry: Entry) -> None:
        sequence, digest = entry.body.get("sequence"), entry.body.get("list_digest")
        if isinstance(sequence, int) and isinstance(digest, str):
            self._list_seen = max(self._list_seen or (0, "", 0), (sequence, digest, entry.seq))

    def _rotated(self, entry: Entry) -> None:
        new = self._epoch_of(entry.body.get("new_vkey"))
        old = self._epoch_of(entry.body.get("old_vkey"))
        if new is None:
            self._problem(entry.seq, f"entry {entry.seq} changes to a key that no epoch has")
            return
        if entry.ts < new.not_before:  # 3
            sentence = f"epoch {new.epoch} began at {entry.ts}, before its time"
            self._problem(entry.seq, f"{sentence} ({new.not_before})")
        self._changes.setdefault(new.epoch, (entry.seq, None if old is None else old.epoch))
        self._line_epoch = new
        self._limit = self._last_moment()

    def _too_late(self, raw: bytes) -> None:
        epoch = self._line_epoch
        if epoch is None or epoch.epoch in self._late:
            return
        try:
            entry = decode(raw.rstrip(b"\n"))
        except EntryError:
            return
        self._late.add(epoch.epoch)
        sentence = f"entry {entry.seq} of {entry.ts} is in epoch {epoch.epoch}"
        self._problem(entry.seq, f"{sentence}, which ended {epoch.not_after}")

    def _last_moment(self) -> bytes:
        epoch = self._line_epoch
        return b"" if epoch is None else timestamp(moment(epoch.not_after) + GRACE).encode()

    def _epoch_of(self, vkey: object) -> Epoch | None:
        if self._epochs is None:
            return None
        return next((one for one in self._epochs.epochs if one.vkey == vkey), None)

    # 1, 2, 4 and 5: what the notes say

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
        if self._epochs is None:
            return self._seconded(size, signers, None)  # 5
        alive = self._alive(size, signers)
        if not alive:
            self._revoked(size, signers)  # 4
            return False
        return self._seconded(size, signers, alive[-1]) and self._in_turn(note, size, alive)

    def _revoked(self, size: int, signers: Sequence[Vkey]) -> None:
        for epoch in self._epochs_of(signers):
            count, largest = self._void.get(epoch.epoch, (0, 0))
            self._void[epoch.epoch] = count + 1, max(largest, size)

    def _seconded(self, size: int, signers: Sequence[Vkey], epoch: Epoch | None) -> bool:
        wanted = [one.vkey for one in self._demands.seconds if size >= one.from_size]
        if epoch is not None and epoch.second is not None:
            wanted.append(parse_vkey(epoch.second))
        lacking = [str(key) for key in wanted if key not in signers]
        if lacking:
            sentence = f"the checkpoint of {size} entries lacks the signature of {lacking[0]}"
            self._problem(max(0, size - 1), sentence)
        return not lacking

    def _in_turn(self, note: str, size: int, alive: list[Epoch]) -> bool:
        before, newest = self._current, alive[-1]
        if before is None:
            if newest.epoch != 0:  # 1
                sentence = f"the first checkpoint is of epoch {newest.epoch}"
                self._problem(0, f"{sentence}: those of the epochs before it are missing")
            self._current = newest
        elif newest.epoch < before.epoch:  # 2
            sentence = f"a checkpoint of {size} entries is signed by epoch {newest.epoch}"
            self._problem(max(0, size - 1), f"{sentence}, after epoch {before.epoch} had begun")
            return False
        elif newest.epoch > before.epoch:
            self._next_epoch(note, size, before, newest)
        elif len(alive) > 1 and self._began.get(newest.epoch, (0, 0))[0] != size:
            sentence = f"a checkpoint of {size} entries is signed by epoch {alive[0].epoch}"
            self._problem(max(0, size - 1), f"{sentence}, after epoch {newest.epoch} had begun")
        self._ended[newest.epoch] = size
        return True

    def _next_epoch(self, note: str, size: int, before: Epoch, newest: Epoch) -> None:
        skipped = [
            one.epoch
            for one in (self._epochs.epochs if self._epochs else ())
            if before.epoch < one.epoch < newest.epoch and one.revoked is None
        ]
        if skipped:  # 2
            sentence = f"epoch {newest.epoch} follows epoch {before.epoch}"
            self._problem(max(0, size - 1), f"{sentence}; epoch {skipped[0]} is missing")
        if not self._linked(note, size, before, newest):
            sentence = f"epoch {newest.epoch} begins with a checkpoint of {size} entries"
            self._problem(max(0, size - 1), f"{sentence} that epoch {before.epoch} did not sign")
        self._began[newest.epoch] = size, before.epoch
        self._current = newest

    def _linked(self, note: str, size: int, before: Epoch, newest: Epoch) -> bool:
        """Whether both keys signed, or revoked ones lie between, and all they are trusted for."""
        between = self._epochs.epochs[before.epoch : newest.epoch] if self._epochs else ()
        trusted = [one.revoked.trusted_size for one in between if one.revoked is not None]
        if trusted and size >= max(trusted):
            return True
        try:
            return len(open_note(note, [before.key, newest.key]).keys) == 2  # noqa: PLR2004 - both
        except NoteError:
            return False

    # The end

    def judged(self, report: Report) -> Report:
        """The verifier's report with what is wrong about the keys."""
        signed = report.signed_size
        self._compare_changes(signed)
        self._compare_lists()
        for epoch, (count, largest) in self._void.items():
            self._say_void(epoch, count, largest, signed)
        return _with(report, self._problems, self._warnings)

    def _compare_changes(self, signed: int) -> None:
        """2: each epoch begins with its entry, and each such entry begins one."""
        for epoch in sorted({*self._began, *self._changes}):
            size, before = self._began.get(epoch, (None, None))
            seq, told = self._changes.get(epoch, (None, None))
            if seq is not None and size is None and seq >= signed:
                continue  # not signed yet
            if size is None and seq is not None and self._is_void(epoch, seq + 1):
                continue
            if seq is None or size != seq + 1:
                place = seq if seq is not None else max(0, (size or 1) - 1)
                sentence = f"epoch {epoch} does not begin with a checkpoint over its `key.rotate`"
                self._problem(place, sentence)
            elif told != before and not (told is not None and self._is_void(told, size)):
                self._problem(seq, f"entry {seq} changes the key from another than epoch {before}")

    def _is_void(self, number: int, size: int) -> bool:
        epoch = self._epochs.epochs[number] if self._epochs else None
        return epoch is not None and epoch.revoked is not None and epoch.revoked.trusted_size < size

    def _compare_lists(self) -> None:
        """6."""
        if self._epochs is None or self._list_seen is None:
            return
        sequence, digest, seq = self._list_seen
        ours = self._epochs.sequence
        if sequence > ours:
            sentence = f"entry {seq} put epoch list {sequence} in force"
            self._problem(seq, f"{sentence}; the one at hand is an older one, {ours}")
        elif sequence == ours and digest != self._epochs.digest:
            sentence = f"entry {seq} put another epoch list {sequence} in force"
            self._problem(seq, f"{sentence} than the one at hand")

    def _say_void(self, number: int, count: int, largest: int, signed: int) -> None:
        """4."""
        epoch = self._epochs.epochs[number] if self._epochs else None
        if epoch is None or epoch.revoked is None:
            return
        trusted = epoch.revoked.trusted_size
        what = f"the key of epoch {number}, which was revoked ({epoch.revoked.reason})"
        if largest > signed:
            start = max(signed, trusted)
            sentence = f"entries {start} to {largest - 1} are signed by nobody but {what}"
            self._problem(start, sentence)
        else:
            self._warnings.append(
                f"{count} checkpoints beyond {trusted} entries are signed by {what};"
                f" they do not count, a later one over {signed} entries does"
            )

    def _problem(self, seq: int, sentence: str) -> None:
        self._problems.append(Problem(status=Status.INVALID, seq=seq, sentence=sentence))


def _with(report: Report, problems: list[Problem], warnings: list[str]) -> Report:
    report = msgspec.structs.replace(
        report,
        warnings=(*report.warnings, *warnings)[:MAX_LISTED],
        warning_count=report.warning_count + len(warnings),
    )
    if not problems:
        return report
    first = min(problems, key=lambda one: one.seq or 0)
    sentence = report.sentence
    if report.verdict is not Verdict.TAMPERED or (first.seq or 0) < (report.first_bad or 0):
        sentence = first.sentence
    bad = first.seq if report.first_bad is None else min(first.seq or 0, report.first_bad)
    return msgspec.structs.replace(
        report,
        verdict=Verdict.TAMPERED,
        sentence=sentence,
        first_bad=bad,
        problems=(*sorted(problems, key=lambda one: one.seq or 0), *report.problems)[:MAX_LISTED],
        problem_count=report.problem_count + len(problems),
    )
