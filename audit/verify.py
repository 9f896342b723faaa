"""Check a whole log against its signed checkpoints, reading each line once.

    # 1. a key we trust signed each checkpoint, it is of this log, and sizes never shrink
    # 2. each line is an entry of this log in its one canonical form
    # 3. it stands at its place, and carries the hash of the entry before it
    # 4. its number within its incident follows
    # 5. time does not run backwards by more than a minute (a warning: clocks do)
    # 6. at each checkpoint's size, the root of the lines is the signed root
    # 7. the checkpoint of the last audit is among them
    # 8. the log is as long as its last checkpoint: shorter is cut, longer is not yet signed
    # 9. the nodes' own numbers of their reports have no hole: what a hub left out shows

Sizes and roots are believed only from verified notes. Memory is constant but for one small record
a segment and a node and one number an open incident. Not checked here: witnesses' cosignatures, key
epochs, and the bodies' schemas, which are for readers. Files are opened by `__main__`.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice

from audit.branches import Branches
from audit.chain import GENESIS
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.entry import TYPES, Entry, decode, leaf_hash, moment
from audit.errors import EntryError
from audit.kept import by_size
from audit.node_reports import NodeReports
from audit.note import Vkey
from audit.report import MAX_LISTED, Findings, Report, SegmentResult, Status, Verdict

SEGMENT_ENTRIES = 65_536
BACKWARDS = timedelta(minutes=1)  # transactions commit in another order than they looked at a clock
PROGRESS_EVERY = 4096  # entries

Segments = Iterable[tuple[str, Iterable[bytes]]]
"""In order: the name, which is the first seq in decimal, and the lines with their newlines."""


def verify(
    segments: Segments,
    notes: Iterable[str],
    *,
    vkeys: Sequence[Vkey],
    latest: str | None = None,
    since: str | None = None,
    segment_entries: int = SEGMENT_ENTRIES,
    progress: Callable[[int], None] = lambda _: None,
) -> Report:
    """Verify a log. `notes` are its kept checkpoints in order, `latest` the published one.

    `since` is the note of an earlier audit: the log must extend it. Nothing about the log raises;
    a wrong `since` does (`NoteError`, `CheckpointError`), because it is the caller's.
    """
    run = _Run(notes, latest, vkeys=vkeys, since=since, segment_entries=segment_entries)
    for name, lines in segments:
        run.begin(int(name))
        for line in lines:
            run.take(line)
            if run.read % PROGRESS_EVERY == 0:
                progress(run.read)
    return run.finish()


class _Run:
    """The state between two lines."""

    def __init__(
        self,
        notes: Iterable[str],
        latest: str | None,
        *,
        vkeys: Sequence[Vkey],
        since: str | None,
        segment_entries: int,
    ) -> None:
        self.read = 0  # lines
        self._origin = vkeys[0].name
        self._found = Findings()
        self._pinned = None if since is None else open_checkpoint(since, vkeys)
        self._expected = by_size(  # 1 and 7
            notes,
            latest,
            self._pinned,
            vkeys=vkeys,
            wrong=partial(self._problem, Status.INVALID, None),
        )
        self._next = next(self._expected, None)
        self._last: Checkpoint | None = None  # the largest verified one met so far
        self._checkpoints = 0
        self._per_segment = segment_entries
        self._segments: list[tuple[int, int, Status | None]] = []  # first, lines, status if known
        self._segment = -1  # first seq of the current one
        self._lines = 0  # in it
        self._size = 0  # the place of the next entry
        self._pending: bytes | None = None  # leaf of the entry before, until the next confirms it
        self._prev: str | None = GENESIS  # what the next entry must carry; None: unknown
        self._tree = Branches()
        self._proven = 0  # entries under a root that was recomputed
        self._mismatch = False
        self._cut: bytes | None = None  # a line without its end, as the last one after a crash
        self._latest = ""  # the highest ts
        self._incidents: dict[str, int] = {}
        self._reports = NodeReports()

    # 2 to 5

    def begin(self, first: int) -> None:
        """The next segment starts at this entry, by its name."""
        self._end_segment()
        if first > self._size + 1:  # of a single missing entry, the one after it tells the leaf
            self._absent(first)
        self._segment, self._lines = first, 0

    def take(self, raw: bytes) -> None:
        """The next line."""
        self.read += 1
        self._lines += 1
        self._settle_cut()
        if raw[-1:] != b"\n":
            self._cut = raw
            return
        line = raw[:-1]
        leaf = leaf_hash(line)
        try:
            entry = decode(line)  # 2
            self._demand_ours(entry)
        except EntryError as error:
            self._problem(Status.INVALID, self._size, f"entry {self._size}: {error}")
            self._place(leaf)
            return
        if entry.seq != self._size and not self._skips(entry):  # 3
            return
        if self._prev is not None and entry.prev != self._prev:
            self._unlinked(entry)
        self._place(leaf)
        self._check_incident(entry)  # 4
        self._reports.take(entry)  # 9
        if entry.ts < self._latest:  # 5
            self._check_time(entry)
        else:
            self._latest = entry.ts
        if entry.type not in TYPES:
            self._found.warn(f"entry {entry.seq} is of a type unknown here: {entry.type[:60]}")

    def _settle_cut(self) -> None:
        """A line without its end, and yet something follows it or a checkpoint covers it."""
        if self._cut is not None:
            self._problem(Status.INVALID, self._size, f"entry {self._size}: the line has no end")
            self._place(leaf_hash(self._cut))
            self._cut = None

    def _demand_ours(self, entry: Entry) -> None:
        if entry.log != self._origin:
            raise EntryError(f"it is of the log {entry.log}, not of {self._origin}")

    def _skips(self, entry: Entry) -> bool:
        """Whether the entry stands further on; one that stood before is passed over."""
        if entry.seq < self._size:
            sentence = f"a line that says it is entry {entry.seq} stands where entry {self._size}"
            self._problem(Status.INVALID, entry.seq, f"{sentence} belongs", here=True)
            return False
        self._gap(entry.seq)
        if self._size == entry.seq - 1:  # one is missing: the entry after it tells its leaf
            self._place(bytes.fromhex(entry.prev))
        else:
            self._lose(entry.seq)
        return True

    def _unlinked(self, entry: Entry) -> None:
        if self._pending is None:  # entry 0 has no entry before it
            self._problem(Status.INVALID, 0, "entry 0 carries the hash of an entry before it")
        else:
            self._tree.append_doubtful(self._pending, bytes.fromhex(entry.prev))
            self._pending = None
            self._compare()

    def _place(self, leaf: bytes) -> None:
        """An entry takes the next place; the one before it is folded into the tree."""
        if self._pending is not None:
            self._tree.append(self._pending)
            if self._next is not None and self._next.size <= self._tree.size:
                self._compare()
        self._pending, self._prev = leaf, leaf.hex()
        self._size += 1

    def _lose(self, size: int) -> None:
        """So many leaves are missing that no later root can be computed."""
        self._flush()
        self._tree.lost = True
        self._size, self._prev = size, None

    def _check_incident(self, entry: Entry) -> None:
        if entry.incident is None or entry.inc_seq is None:
            return
        expected = self._incidents.get(entry.incident, 0)
        if entry.inc_seq != expected and not self._found.problem_count:
            sentence = f"entry {entry.seq} is number {entry.inc_seq} of its incident"
            self._problem(Status.INVALID, entry.seq, f"{sentence}, expected {expected}")
        self._incidents[entry.incident] = entry.inc_seq + 1
        counted = entry.body.get("entries") if entry.type == "incident.close" else None
        if counted is not None and counted != entry.inc_seq + 1:
            self._found.warn(
                f"entry {entry.seq} closes its incident with {counted} entries,"
                f" the log has {entry.inc_seq + 1}"
            )

    def _check_time(self, entry: Entry) -> None:
        back = moment(self._latest) - moment(entry.ts)
        if back > BACKWARDS:
            self._found.warn(f"entry {entry.seq} is {back} older than one before it")

    # 6

    def _compare(self) -> None:
        while self._next is not None and self._next.size <= self._tree.size:
            checkpoint, self._next = self._next, next(self._expected, None)
            if self._differs(checkpoint):
                continue
            self._last = checkpoint
            if self._tree.lost or self._mismatch or checkpoint.size < self._tree.size:
                continue
            reading = self._tree.settle(checkpoint.root)
            if reading is None:
                self._mismatch = True
                whose = "signed" if checkpoint is not self._pinned else "last audit's"
                self._problem(
                    Status.INVALID,
                    self._proven,
                    f"entries {self._proven} to {checkpoint.size - 1} do not lead to the {whose}"
                    f" root of the first {checkpoint.size} entries",
                )
                continue
            self._proven = checkpoint.size
            self._checkpoints += 1
            self._report(reading.altered, reading.links)

    def _differs(self, checkpoint: Checkpoint) -> bool:
        """Whether it is the second of its size; with another root, it is evidence."""
        if self._last is None or self._last.size != checkpoint.size:
            return False
        if self._last.root != checkpoint.root:
            sentence = f"two checkpoints of {checkpoint.size} entries have different roots"
            self._problem(Status.INVALID, max(0, checkpoint.size - 1), sentence)
        return True

    def _report(self, altered: list[int], links: list[int]) -> None:
        for seq in altered:
            self._problem(Status.INVALID, seq, f"entry {seq} is not the one that was signed")
        for seq in links:
            sentence = f"entry {seq} does not carry the hash of the entry before it"
            self._problem(Status.INVALID, seq, sentence)

    def _flush(self) -> None:
        if self._pending is not None:
            self._tree.append(self._pending)
            self._pending = None
            self._compare()

    # 8

    def finish(self) -> Report:
        """The end of the log."""
        if self._next is not None and self._next.size > self._size:
            self._settle_cut()
        self._flush()
        self._end_segment()
        reading = self._tree.unsettled()
        self._report(reading.altered, reading.links)
        while self._next is not None:  # checkpoints of entries that are not there
            if not self._differs(self._next):
                self._last = self._next
            self._next = next(self._expected, None)
        signed = 0 if self._last is None else self._last.size
        if signed > self._size:
            self._absent(signed)
        segments = tuple(self._result(*each) for each in self._segments)
        missing = self._reports.findings()  # 9
        verdict, sentence = self._judge(signed)
        if verdict is Verdict.VALID and missing:
            verdict, sentence = (
                Verdict.INCOMPLETE,
                f"{missing[0]}; the {signed} entries are as signed",
            )
        first = self._found.first
        return Report(
            verdict=verdict,
            sentence=sentence,
            origin=self._origin,
            size=max(self._size, signed),
            signed_size=signed,
            root=None if self._last is None else self._last.root.hex(),
            checkpoints=self._checkpoints,
            first_bad=None if first is None else first.seq,
            segments=segments,
            problems=tuple(self._found.problems),
            problem_count=self._found.problem_count,
            warnings=tuple(self._found.warnings),
            warning_count=self._found.warning_count,
            missing_reports=tuple(missing[:MAX_LISTED]),
            missing_report_count=len(missing),
        )

    def _judge(self, signed: int) -> tuple[Verdict, str]:
        found = self._found
        if found.problem_count:
            problem = found.first or found.problems[0]
            rest = ""
            if self._proven == signed > 0 and found.first is not None:
                rest = f"; what else is among the first {signed} entries is as signed"
            return Verdict.TAMPERED, problem.sentence + rest
        if self._last is None:
            what = "no checkpoint: nothing here is signed" if self._size else "there is no log here"
            return Verdict.INCOMPLETE, what
        if self._cut is not None:
            what = "the machine stopped, or the notary writes, in the middle of a line; the"
            return Verdict.INCOMPLETE, f"{what} {signed} signed entries are as signed"
        if self._size > signed:
            late = self._size - signed
            return (
                Verdict.INCOMPLETE,
                f"the last {late} entries are not signed yet; the {signed} before are as signed",
            )
        return Verdict.VALID, f"{signed} entries, all there and as signed"

    # Segments and problems

    def _end_segment(self) -> None:
        if self._segment >= 0:
            self._segments.append((self._segment, self._lines, None))
            self._segment = -1

    def _gap(self, upto: int) -> None:
        what = f"entry {self._size} is" if upto == self._size + 1 else ""
        what = what or f"entries {self._size} to {upto - 1} are"
        self._problem(Status.GAP, self._size, f"{what} missing")

    def _absent(self, upto: int) -> None:
        """No file holds the entries from here up to this one."""
        boundary = -(-self._size // self._per_segment) * self._per_segment
        if boundary > self._size:
            self._gap(min(upto, boundary))
        for first in islice(range(boundary, upto, self._per_segment), MAX_LISTED):
            self._segments.append((first, 0, Status.MISSING))
            sentence = f"the segment with entry {first} is missing"
            self._problem(Status.MISSING, first, sentence)
        self._lose(upto)

    def _problem(
        self, status: Status, seq: int | None, sentence: str, *, here: bool = False
    ) -> None:
        place = 0 if seq is None else seq - seq % self._per_segment
        segment = self._segment if here else place
        self._found.problem(status, seq, sentence, segment=segment)

    def _result(self, first: int, lines: int, status: Status | None) -> SegmentResult:
        problem = self._found.of_segment(first)
        if status is None and problem is not None:
            status = problem.status
        if status is None:
            proven = first + lines <= self._proven or not (self._tree.lost or self._mismatch)
            status = Status.VALID if proven else Status.UNPROVEN
        sentence = None if problem is None else problem.sentence
        if status is Status.UNPROVEN:
            start = max(first, self._proven)
            sentence = f"from entry {start} on linked, but no signed root can be recomputed"
        return SegmentResult(
            name=f"{first:012}",
            first_seq=first,
            entries=lines,
            status=status,
            sentence=sentence,
        )
