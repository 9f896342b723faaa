"""Diagnose a finding from its typed evidence: which item is to blame, why, and what would help.

Pure and deterministic: the same finding gives the same ranking in whatever order its evidence
stands, and no text from the host is ever interpreted. With no model at all this is the diagnosis.
"""

from collections.abc import Iterable

from appliance.journal import shown
from appliance.records import (
    Candidate,
    DirectoryEvidence,
    Evidence,
    FileEvidence,
    Finding,
    LogEvidence,
    MetricEvidence,
    MountEvidence,
    ProcessEvidence,
    Record,
    UnitEvidence,
)
from hub.reason.catalogue import Catalogue, Cause, Sign, shipped
from hub.reason.measures import MEASURES
from hub.reason.remedy import Ground, Remedy, fit

MAX_SUSPECTS = 16  # as many as a plan carries
MIN_SCORE = 10  # below this nothing speaks for it
CLOSE = 10  # points; nearer than this, the ranking is no more than a guess

KINDS: dict[str, type[Evidence]] = {
    "process": ProcessEvidence,
    "mount": MountEvidence,
    "directory": DirectoryEvidence,
    "file": FileEvidence,
    "unit": UnitEvidence,
    "metric": MetricEvidence,
}


class Suspect(Record, frozen=True, kw_only=True):
    """One candidate culprit with what would help against it, the preferred remedy first."""

    candidate: Candidate
    title: str  # the cause in words
    runbook: str
    remedies: tuple[Remedy, ...]  # empty: nothing may be done to it by a command
    notes: tuple[str, ...]  # why remedies were left out


class Diagnosis(Record, frozen=True, kw_only=True):
    """The ranked suspects, best first; `is_close` when the first two cannot be told apart."""

    summary: str
    suspects: tuple[Suspect, ...]
    is_close: bool


def diagnose(finding: Finding, catalogue: Catalogue | None = None) -> Diagnosis:
    """Rank what may be to blame for a finding."""
    book = catalogue or shipped()
    causes = [cause for cause in book.cause if finding.condition in cause.conditions]
    ground = Ground(
        untouchable=book.untouchable_units,
        units=frozenset(one.unit for one in finding.evidence if isinstance(one, UnitEvidence)),
    )
    best = [
        max(options, key=lambda one: (one.candidate.score, one.candidate.cause))
        for item in finding.evidence
        if (options := list(_suspects(finding, item, causes, ground)))
    ]
    ranked = sorted(best, key=_order)[:MAX_SUSPECTS]
    scores = [one.candidate.score for one in ranked[:2]]
    return Diagnosis(
        summary=_summary(finding, ranked),
        suspects=tuple(ranked),
        is_close=len(scores) > 1 and scores[0] - scores[1] < CLOSE,
    )


def label(item: Evidence) -> str:
    """What a person calls this piece of evidence; control characters are shown, length bounded."""
    text = item.id
    match item:
        case ProcessEvidence():
            text = f"{shown(item.name, most=80)} (pid {item.pid})"
        case MountEvidence():
            text = item.mount
        case DirectoryEvidence() | FileEvidence():
            text = item.path
        case UnitEvidence():
            text = item.unit
        case MetricEvidence():
            text = item.name
        case LogEvidence():
            text = item.source
    return shown(text, most=200)


def _suspects(
    finding: Finding, item: Evidence, causes: Iterable[Cause], ground: Ground
) -> Iterable[Suspect]:
    for cause in causes:
        if not isinstance(item, KINDS[cause.target]):
            continue
        score, words = _weigh(finding, item, cause)
        if score < MIN_SCORE:
            continue
        remedies, notes = fit(cause.remedy, item, ground)
        why = "; ".join(words) or "nothing else in evidence explains it better"
        yield Suspect(
            candidate=Candidate(
                evidence_id=item.id, label=label(item), cause=cause.key, score=score, why=why
            ),
            title=cause.title,
            runbook=cause.runbook,
            remedies=remedies,
            notes=notes,
        )


def _weigh(finding: Finding, item: Evidence, cause: Cause) -> tuple[int, list[str]]:
    points, words = float(cause.base), []
    for sign in cause.sign:
        strength = _strength(finding, item, sign)
        points += sign.weight * strength
        if sign.words and strength >= 0.5:  # noqa: PLR2004 - at least half present
            words.append(_said(sign.words, item))
    return round(min(100.0, max(0.0, points))), words


def _strength(finding: Finding, item: Evidence, sign: Sign) -> float:
    value = MEASURES[sign.measure](finding, item, sign.texts)
    return min(1.0, max(0.0, value / sign.full)) if value == value else 0.0  # noqa: PLR0124 - NaN


def _said(words: str, item: Evidence) -> str:
    """The catalogue's words with the item's own figures in them."""
    figures: dict[str, str] = {}
    match item:
        case ProcessEvidence():
            figures = {
                "{rss}": size(item.rss_bytes),
                "{growth}": f"{size(item.growth_bytes_per_s)}/s",
                "{cpu}": f"{item.cpu_percent:.0f} %",
            }
        case FileEvidence():
            figures = {"{bytes}": size(item.bytes)}
        case DirectoryEvidence():
            figures = {"{bytes}": size(item.bytes), "{files}": str(item.files)}
        case UnitEvidence():
            figures = {
                "{result}": shown(item.result, most=40),
                "{exit_status}": str(item.exit_status),
                "{restarts}": str(item.restarts),
            }
    for hole, figure in figures.items():
        words = words.replace(hole, figure)
    return words


def size(amount: float) -> str:
    """Bytes as a person reads them, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:  # noqa: PLR2004
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def _order(suspect: Suspect) -> tuple[int, str, int]:
    """Best first; ties by label, then by evidence number, never by where the item stood."""
    candidate = suspect.candidate
    return -candidate.score, candidate.label, int(candidate.evidence_id[1:])


def _summary(finding: Finding, ranked: list[Suspect]) -> str:
    if not ranked:
        return f"{shown(finding.summary, most=400)} Nothing in evidence explains it."
    first = ranked[0]
    return f"{first.candidate.label}: {first.title}; {first.candidate.why}."
