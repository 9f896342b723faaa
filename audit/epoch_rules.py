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
binds the one's history to the other's. A part of a log begins in whatever epoch its first
checkpoint is of. Who has a key of today can sign from today on; for an
earlier epoch there is the checkpoint that ended it, and the key that signed that one is gone.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import itemgetter

import msgspec

from audit.epoch_lines import LineWatch, Tell
from audit.epoch_notes import Demands, NoteWatch
from audit.epochs import Epoch
from audit.errors import NoteError
from audit.report import MAX_LISTED, Findings, Report, Status, Verdict
from audit.verify import NO_REMARKS, SEGMENT_ENTRIES, WHOLE, Before, Remarks, Segments, verify


def verify_demanding(
    segments: Segments,
    notes: Iterable[str],
    *,
    demands: Demands,
    latest: str | None = None,
    since: str | None = None,
    segment_entries: int = SEGMENT_ENTRIES,
    progress: Callable[[int], None] = lambda _: None,
    before: Before = WHOLE,
    remarks: Remarks = NO_REMARKS,
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
            before=before,
            remarks=remarks,
        )
    watch = _Watch(demands)
    if since is not None and not watch.notes.counts(since):
        raise NoteError("the checkpoint of the last audit is not signed by keys that count")
    kept = list(watch.notes.kept([latest])) if latest is not None else []
    start, notes = _start(demands, notes, latest) if before.size else (None, notes)
    watch = _Watch(demands, start)  # the published one comes last
    report = verify(
        watch.segments(segments),
        watch.notes.notes(notes, latest),
        vkeys=demands.all_keys,
        latest=kept[0] if kept else None,
        since=since,
        segment_entries=segment_entries,
        progress=progress,
        before=before,
        remarks=remarks,
    )
    return watch.judged(report)


def _start(
    demands: Demands, notes: Iterable[str], latest: str | None
) -> tuple[tuple[Epoch, int] | None, Iterable[str]]:
    """The epoch in which a part of a log begins, with its first checkpoint's size; all notes."""
    watch, seen = NoteWatch(demands, lambda _seq, _sentence: None), list[str]()
    notes = iter(notes)
    for note in notes:
        seen.append(note)
        if (start := watch.first_epoch(note)) is not None:
            return start, chain(seen, notes)
    return (None if latest is None else watch.first_epoch(latest)), seen


class _Watch:
    """Lines and notes, watched together."""

    def __init__(self, demands: Demands, start: tuple[Epoch, int] | None = None) -> None:
        self._list = demands.epochs
        # Lines are read ahead of the notes over them: apart, so that the order is always the same.
        self._of_lines, self._of_notes, self._found = Findings(), Findings(), Findings()
        self._start = start  # of a part of a log: its first epoch, and its first checkpoint's size
        first = None if start is None else start[0]
        self._lines = (
            None if self._list is None else LineWatch(self._list, self._tell(self._of_lines), first)
        )
        self.notes = NoteWatch(demands, self._tell(self._of_notes), first)

    def segments(self, segments: Segments) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The same lines."""
        for name, lines in segments:
            yield name, (self._lines.lines(lines) if self._lines else iter(lines))

    def judged(self, report: Report) -> Report:
        """The verifier's report with what is wrong about the keys."""
        signed = report.signed_size
        if self._lines is not None:
            self._compare_changes(self._lines, signed)
            self._compare_lists(self._lines)
        for epoch, (count, largest) in sorted(self.notes.void.items()):
            self._say_void(epoch, count, largest, signed)
        return _with(report, self._of_lines, self._of_notes, self._found)

    def _compare_changes(self, lines: LineWatch, signed: int) -> None:
        """2: each epoch begins with its entry, and each such entry begins one."""
        for epoch in sorted({*self.notes.began, *lines.changes}):
            size, before = self.notes.began.get(epoch, (None, None))
            seq, told = lines.changes.get(epoch, (None, None))
            if seq is not None and size is None and seq >= signed:
                continue  # not signed yet
            if size is None and seq is not None and self._is_void(epoch, seq + 1):
                continue
            if seq is not None and self._begins_with(epoch, seq + 1):
                continue  # a part that begins with a change from a revoked key
            if seq is None or size != seq + 1:
                place = seq if seq is not None else max(0, (size or 1) - 1)
                sentence = f"epoch {epoch} does not begin with a checkpoint over its `key.rotate`"
                self._problem(place, sentence)
            elif told != before and not (told is not None and self._is_void(told, size)):
                self._problem(seq, f"entry {seq} changes the key from another than epoch {before}")

    def _begins_with(self, number: int, size: int) -> bool:
        return self._start is not None and (self._start[0].epoch, self._start[1]) == (number, size)

    def _is_void(self, number: int, size: int) -> bool:
        epoch = self._list.epochs[number] if self._list else None
        return epoch is not None and epoch.revoked is not None and epoch.revoked.trusted_size < size

    def _compare_lists(self, lines: LineWatch) -> None:
        """6."""
        if self._list is None or lines.list_seen is None:
            return
        sequence, digest, seq = lines.list_seen
        ours = self._list.sequence
        if sequence > ours:
            sentence = f"entry {seq} put epoch list {sequence} in force"
            self._problem(seq, f"{sentence}; the one at hand is an older one, {ours}")
        elif sequence == ours and digest != self._list.digest:
            sentence = f"entry {seq} put another epoch list {sequence} in force"
            self._problem(seq, f"{sentence} than the one at hand")

    def _say_void(self, number: int, count: int, largest: int, signed: int) -> None:
        """4."""
        epoch = self._list.epochs[number] if self._list else None
        if epoch is None or epoch.revoked is None:
            return
        trusted = epoch.revoked.trusted_size
        what = f"the key of epoch {number}, which was revoked ({epoch.revoked.reason})"
        if largest > signed:
            start = max(signed, trusted)
            sentence = f"entries {start} to {largest - 1} are signed by nobody but {what}"
            self._problem(start, sentence)
        else:
            self._found.warn(
                f"{count} checkpoints beyond {trusted} entries are signed by {what};"
                f" they do not count, a later one over {signed} entries does"
            )

    def _problem(self, seq: int, sentence: str) -> None:
        self._tell(self._found)(seq, sentence)

    @staticmethod
    def _tell(found: Findings) -> Tell:
        return lambda seq, sentence: found.problem(Status.INVALID, seq, sentence, segment=0)


def _with(report: Report, *found: Findings) -> Report:
    report = msgspec.structs.replace(
        report,
        warnings=(*report.warnings, *chain.from_iterable(f.warnings for f in found))[:MAX_LISTED],
        warning_count=report.warning_count + sum(each.warning_count for each in found),
    )
    firsts = [(f.first.seq, f.first.sentence) for f in found if f.first and f.first.seq is not None]
    if not firsts:
        return report
    seq, sentence = min(firsts, key=itemgetter(0))
    if report.verdict is Verdict.TAMPERED and seq >= (report.first_bad or 0):
        sentence = report.sentence
    problems = chain.from_iterable(each.problems for each in found)
    return msgspec.structs.replace(
        report,
        verdict=Verdict.TAMPERED,
        sentence=sentence,
        first_bad=seq if report.first_bad is None else min(seq, report.first_bad),
        problems=(*problems, *report.problems)[:MAX_LISTED],
        problem_count=report.problem_count + sum(each.problem_count for each in found),
    )
