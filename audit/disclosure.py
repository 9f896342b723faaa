"""Check one incident shown alone: its entries, each with its own proof, and no other entry.

    # 1. a key we trust signed the checkpoint
    # 2. each line is an entry of this incident of this log, in canonical form and in order
    # 3. its inclusion proof leads from the line to the signed root
    # 4. the numbers within the incident are 0, 1, 2, ... without holes
    # 5. the closing entry counts them: what is left out at the end would be missed

Without a closing entry nobody can tell whether later ones were left out: incomplete.
"""

from collections.abc import Callable, Iterable, Sequence

from audit.checkpoint import Checkpoint, open_checkpoint
from audit.entry import Entry, decode, leaf_hash
from audit.errors import AuditRefusedError, EntryError, ProofError
from audit.merkle import verify_inclusion
from audit.note import Vkey
from audit.report import Findings, Report, SegmentResult, Status, Verdict
from audit.verify import Remarks

PathOf = Callable[[int], Sequence[bytes]]
"""The inclusion path of one entry. Raises `ProofError` when there is none."""


def verify_disclosure(
    lines: Iterable[bytes],
    path_of: PathOf,
    *,
    incident: str,
    first: int,
    note: str | None,
    vkeys: Sequence[Vkey],
    remarks: Remarks,
) -> Report:
    """Verify the lines (with newlines) of one incident under one checkpoint."""
    check = _Check(incident=incident, first=first, origin=vkeys[0].name, path_of=path_of)
    try:
        check.checkpoint = None if note is None else open_checkpoint(note, vkeys)  # 1
    except AuditRefusedError as error:
        check.problem(None, f"published checkpoint 1: {error}")
    for sentence in remarks.problems:
        check.problem(None, sentence)
    for sentence in remarks.warnings:
        check.found.warn(sentence)
    for line in lines:
        check.take(line)
    return check.report()


class _Check:
    """The state between two lines."""

    def __init__(self, *, incident: str, first: int, origin: str, path_of: PathOf) -> None:
        self.checkpoint: Checkpoint | None = None
        self.found = Findings()
        self._incident, self._first, self._origin = incident, first, origin
        self._path_of = path_of
        self._lines = 0
        self._before = -1  # the entry before, which was good
        self._number = 0  # what the next must carry within the incident
        self._closed = 0  # how many entries the last fitting closing counted

    def problem(self, seq: int | None, sentence: str, *, status: Status = Status.INVALID) -> None:
        """All of them belong to the one file of entries."""
        self.found.problem(status, seq, sentence, segment=self._first)

    def take(self, raw: bytes) -> None:
        """The next line."""
        self._lines += 1
        try:
            entry = self._proven(raw)
        except (AuditRefusedError, EntryError) as error:
            sentence = f"line {self._lines} of entries.jsonl: {error}"
            self.problem(self._before + 1, sentence)
            return
        self._before = entry.seq
        number = -1 if entry.inc_seq is None else entry.inc_seq
        if number != self._number:  # 4
            status = Status.GAP if number > self._number else Status.INVALID
            sentence = f"entry {entry.seq} is number {number} of its incident"
            self.problem(entry.seq, f"{sentence}, expected {self._number}", status=status)
        self._number = number + 1
        if entry.type == "incident.close" and entry.body.get("entries") == number + 1:  # 5
            self._closed = number + 1

    def _proven(self, raw: bytes) -> Entry:
        line = raw[:-1]
        entry = decode(line)  # 2
        if raw[-1:] != b"\n" or entry.log != self._origin or entry.incident != self._incident:
            raise EntryError(f"it is not of this incident of {self._origin}")
        size = 0 if self.checkpoint is None else self.checkpoint.size
        if self.checkpoint is None or not self._before < entry.seq < size:
            raise EntryError(
                f"entry {entry.seq} stands after entry {self._before}, and {size} are signed"
            )
        path = self._path_of(entry.seq)
        try:
            verify_inclusion(entry.seq, size, leaf_hash(line), path, self.checkpoint.root)  # 3
        except ProofError as error:
            raise ProofError(f"entry {entry.seq} is not the one that was signed") from error
        return entry

    def report(self) -> Report:
        """The outcome."""
        verdict, sentence = self._judge()
        found, first = self.found, self.found.first
        worst = found.of_segment(self._first)
        segment = SegmentResult(
            name=f"{self._first:012}",
            first_seq=self._first,
            entries=self._lines,
            status=Status.VALID if worst is None else worst.status,
            sentence=None if worst is None else worst.sentence,
        )
        size = 0 if self.checkpoint is None else self.checkpoint.size
        return Report(
            verdict=verdict,
            sentence=sentence,
            origin=self._origin,
            size=size,
            signed_size=size,
            root=None if self.checkpoint is None else self.checkpoint.root.hex(),
            checkpoints=int(self._before >= 0),
            first_bad=None if first is None else first.seq,
            segments=(segment,),
            problems=tuple(found.problems),
            problem_count=found.problem_count,
            warnings=tuple(found.warnings),
            warning_count=found.warning_count,
        )

    def _judge(self) -> tuple[Verdict, str]:
        if self.found.problem_count:
            return Verdict.TAMPERED, (self.found.first or self.found.problems[0]).sentence
        what = f"incident {self._incident}"
        if not self._closed:
            what = f"{what}: {self._number} entries as signed, but not its closing"
            return Verdict.INCOMPLETE, f"{what}: whether there are later ones is not shown"
        later = self._number - self._closed
        after = f" and {later} after it" if later else ""
        what = f"{what}: all {self._closed} entries to its closing{after}, as signed"
        return Verdict.VALID, what
