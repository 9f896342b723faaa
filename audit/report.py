"""What a verification found, as values: for programs as JSON, for people as sentences."""

from enum import StrEnum

import msgspec

MAX_LISTED = 20  # problems and warnings kept word for word; the rest is counted


class Verdict(StrEnum):
    """Of the whole log."""

    VALID = "VALID"  # everything is there and as it was signed
    TAMPERED = "TAMPERED"  # something was changed, cut or put in
    INCOMPLETE = "INCOMPLETE"  # nothing wrong, but not everything is signed, or is there


class Status(StrEnum):
    """Of one segment, or of one problem."""

    VALID = "VALID"
    INVALID = "INVALID"  # an entry, or a root, is not as it was signed
    GAP = "GAP"  # entries are missing
    MISSING = "MISSING"  # the file is missing
    UNPROVEN = "UNPROVEN"  # linked within itself, but damage before it leaves no root to compare


EXIT_STATUS = {Verdict.VALID: 0, Verdict.TAMPERED: 1, Verdict.INCOMPLETE: 2}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong."""

    status: Status
    seq: int | None  # of the first entry concerned; None when it is a checkpoint
    sentence: str


class SegmentResult(msgspec.Struct, frozen=True, kw_only=True):
    """One segment file."""

    name: str
    first_seq: int
    entries: int
    status: Status
    sentence: str | None = None  # of its first problem


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one verification."""

    verdict: Verdict
    sentence: str  # for a person
    origin: str
    size: int  # entries found
    signed_size: int  # of the last verified checkpoint
    root: str | None  # hex, of that checkpoint
    checkpoints: int  # verified notes whose root was recomputed and equal
    first_bad: int | None
    segments: tuple[SegmentResult, ...]
    problems: tuple[Problem, ...]  # at most MAX_LISTED
    problem_count: int
    warnings: tuple[str, ...]  # at most MAX_LISTED
    warning_count: int
    missing_reports: tuple[str, ...] = ()  # holes in the nodes' own numbers, at most MAX_LISTED
    missing_report_count: int = 0

    @property
    def exit_status(self) -> int:
        """0 valid, 1 tampered, 2 incomplete."""
        return EXIT_STATUS[self.verdict]

    def with_problem(self, sentence: str) -> "Report":
        """The report of a log of which something else is wrong, too."""
        problem = Problem(status=Status.INVALID, seq=None, sentence=sentence)
        problems = (*self.problems, problem)[-MAX_LISTED:]
        first = self.sentence if self.verdict is Verdict.TAMPERED else sentence
        return msgspec.structs.replace(
            self,
            verdict=Verdict.TAMPERED,
            sentence=first,
            problems=problems,
            problem_count=self.problem_count + 1,
        )


class Findings:
    """Collects problems and warnings, keeping few of them whole and the rest as numbers."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.problem_count = self.warning_count = 0
        self.first: Problem | None = None  # the one of the lowest entry
        self._by_segment: dict[int, Problem] = {}

    def problem(self, status: Status, seq: int | None, sentence: str, *, segment: int) -> None:
        """Note what is wrong, in the segment that starts at entry `segment`."""
        problem = Problem(status=status, seq=seq, sentence=sentence)
        self.problem_count += 1
        if len(self.problems) < MAX_LISTED:
            self.problems.append(problem)
        if seq is None:
            return
        before = self._by_segment.get(segment)
        if before is None or before.seq is None or seq < before.seq:
            self._by_segment[segment] = problem
        if self.first is None or self.first.seq is None or seq < self.first.seq:
            self.first = problem

    def warn(self, sentence: str) -> None:
        """Note what is odd but proves nothing."""
        self.warning_count += 1
        if len(self.warnings) < MAX_LISTED:
            self.warnings.append(sentence)

    def of_segment(self, first_seq: int) -> Problem | None:
        """The first problem of one segment."""
        return self._by_segment.get(first_seq)


def as_text(report: Report) -> str:
    """The report for a terminal."""
    lines = [f"{report.verdict}: {report.sentence}"]
    if report.root is not None:
        lines.append(f"  signed: {report.signed_size} entries of {report.origin}")
        lines.append(f"  root:   {report.root} ({report.checkpoints} checkpoints recomputed)")
    bad = [segment for segment in report.segments if segment.status is not Status.VALID]
    lines.append(f"  segments: {len(report.segments) - len(bad)} of {len(report.segments)} valid")
    lines += [f"    {s.name}  {s.status}  {s.sentence or ''}".rstrip() for s in bad]
    lines += [f"  {problem.status}: {problem.sentence}" for problem in report.problems[1:]]
    if report.problem_count > len(report.problems):
        lines.append(f"  and {report.problem_count - len(report.problems)} more problems")
    lines += [f"  {sentence}" for sentence in report.missing_reports]
    if report.missing_report_count > len(report.missing_reports):
        more = report.missing_report_count - len(report.missing_reports)
        lines.append(f"  and {more} more holes in the nodes' numbers")
    lines += [f"  warning: {warning}" for warning in report.warnings]
    if report.warning_count > len(report.warnings):
        lines.append(f"  and {report.warning_count - len(report.warnings)} more warnings")
    return "\n".join(lines)
