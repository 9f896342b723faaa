"""What can be measured on one piece of evidence in the light of all of it.

Each measure is a small pure function to a number, 0 when it does not apply; the catalogue says how
much of it counts and in which direction. Names and log texts come from the host and may say
anything, so they are compared with words of the catalogue and never interpreted.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence

from appliance.records import (
    DirectoryEvidence,
    Evidence,
    FileEvidence,
    Finding,
    LogEvidence,
    MetricEvidence,
    MountEvidence,
    ProcessEvidence,
    UnitEvidence,
)

Measure = Callable[[Finding, Evidence, Sequence[str]], float]

CLEANABLE = ("/tmp", "/var/tmp", "/var/cache")  # noqa: S108 - compared with, never written to
_SUBJECT_PID = re.compile(r"pid ([1-9][0-9]{0,9}) \(")
_FRESH_S = 3600.0  # a file changed within the last hour is still being written


def is_subject(finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """1 when the finding is about exactly this item."""
    match item:
        case ProcessEvidence():
            found = _SUBJECT_PID.match(finding.subject)
            return float(found is not None and int(found[1]) == item.pid)
        case UnitEvidence():
            return float(item.unit == finding.subject)
        case MountEvidence():
            return float(item.mount == finding.subject)
        case MetricEvidence():
            return 1.0
        case _:
            return 0.0


def rss_share(finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """This process's part of the resident memory of all processes in evidence."""
    if not isinstance(item, ProcessEvidence):
        return 0.0
    return _share(item.rss_bytes, (one.rss_bytes for one in _processes(finding)))


def rss_bytes(_finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """Resident memory."""
    return float(item.rss_bytes) if isinstance(item, ProcessEvidence) else 0.0


def growth_bytes_per_s(_finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """How fast a process grows."""
    return max(0.0, item.growth_bytes_per_s) if isinstance(item, ProcessEvidence) else 0.0


def growth_share(finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """This process's part of all growth in evidence."""
    if not isinstance(item, ProcessEvidence):
        return 0.0
    return _share(
        max(0.0, item.growth_bytes_per_s),
        (max(0.0, one.growth_bytes_per_s) for one in _processes(finding)),
    )


def cpu_percent(_finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """Processor use, in percent of one processor."""
    return item.cpu_percent if isinstance(item, ProcessEvidence) else 0.0


def cpu_share(finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """This process's part of the processor use of all processes in evidence."""
    if not isinstance(item, ProcessEvidence):
        return 0.0
    return _share(item.cpu_percent, (one.cpu_percent for one in _processes(finding)))


def idle_processes(finding: Finding, _item: Evidence, _texts: Sequence[str]) -> float:
    """1 when no process in evidence uses a fifth of a processor: what waits, waits for a disk."""
    return float(all(one.cpu_percent < 20.0 for one in _processes(finding)))  # noqa: PLR2004


def same_program(finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """How many processes in evidence run the same program for the same owner."""
    if not isinstance(item, ProcessEvidence):
        return 0.0
    return float(
        sum(one.name == item.name and one.owner == item.owner for one in _processes(finding))
    )


def is_protected(_finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """1 for a process that must not be signalled."""
    return float(isinstance(item, ProcessEvidence) and item.protected is not None)


def bytes_share(finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """The part of the filesystem's used bytes that this directory or file holds."""
    if not isinstance(item, DirectoryEvidence | FileEvidence):
        return 0.0
    used = _subject_mount(finding)
    return item.bytes / used.used_bytes if used and used.used_bytes else 0.0


def files_share(finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """The part of the filesystem's used inodes that lies below this directory."""
    if not isinstance(item, DirectoryEvidence):
        return 0.0
    used = _subject_mount(finding)
    return item.files / used.inodes_used if used and used.inodes_used else 0.0


def is_deepest(finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """1 when no directory in evidence below this one holds most of what it holds."""
    if not isinstance(item, DirectoryEvidence):
        return 0.0
    below = (
        one
        for one in finding.evidence
        if isinstance(one, DirectoryEvidence) and one.path != item.path
        if is_under(one.path, (item.path,))
    )
    inodes = finding.condition.value == "disk_inodes"
    mine = item.files if inodes else item.bytes
    return float(all((one.files if inodes else one.bytes) * 2 <= mine for one in below))


def is_cleanable(_finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """1 below a place for temporary files and caches."""
    return float(is_under(_path(item), CLEANABLE))


def is_log_place(_finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """1 below /var/log, but not the journal's own files."""
    path = _path(item)
    return float(is_under(path, ("/var/log",)) and not is_under(path, ("/var/log/journal",)))


def is_journal_place(_finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """1 for the journal's directory and what is in it."""
    return float(is_under(_path(item), ("/var/log/journal", "/run/log/journal")))


def is_fresh(finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """1 for a file changed shortly before the finding: something is still writing to it."""
    if not isinstance(item, FileEvidence):
        return 0.0
    return float((finding.fired_at - item.modified_at).total_seconds() < _FRESH_S)


def result_is(_finding: Finding, item: Evidence, texts: Sequence[str]) -> float:
    """1 when systemd gives one of these results for the unit."""
    return float(isinstance(item, UnitEvidence) and item.result in texts)


def exit_status_is(_finding: Finding, item: Evidence, texts: Sequence[str]) -> float:
    """1 when the unit's main process ended with one of these numbers."""
    return float(isinstance(item, UnitEvidence) and str(item.exit_status) in texts)


def restarts(_finding: Finding, item: Evidence, _texts: Sequence[str]) -> float:
    """How often systemd restarted the unit."""
    return float(item.restarts) if isinstance(item, UnitEvidence) else 0.0


def own_log_says(finding: Finding, item: Evidence, texts: Sequence[str]) -> float:
    """1 when a log line whose source is this unit contains one of these words."""
    if not isinstance(item, UnitEvidence):
        return 0.0
    own = (
        one.line.lower()
        for one in finding.evidence
        if isinstance(one, LogEvidence) and one.source in (item.unit, item.unit.split(".")[0])
    )
    return float(any(text in line for line in own for text in texts))


def is_under(path: str, roots: Iterable[str]) -> bool:
    """Whether a plain absolute path lies strictly below, or is, one of the roots."""
    if not path.startswith("/") or posixpath.normpath(path) != path:
        return False
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def _path(item: Evidence) -> str:
    return item.path if isinstance(item, DirectoryEvidence | FileEvidence) else ""


def _processes(finding: Finding) -> list[ProcessEvidence]:
    return [one for one in finding.evidence if isinstance(one, ProcessEvidence)]


def _subject_mount(finding: Finding) -> MountEvidence | None:
    mounts = [one for one in finding.evidence if isinstance(one, MountEvidence)]
    named = [one for one in mounts if one.mount == finding.subject]
    return next(iter(named or sorted(mounts, key=lambda one: one.mount)), None)


def _share(mine: float, everyone: Iterable[float]) -> float:
    total = sum(sorted(everyone))  # sorted: the sum of floats depends on their order
    return mine / total if total > 0 else 0.0


MEASURES: dict[str, Measure] = {
    measure.__name__: measure
    for measure in (
        is_subject,
        rss_share,
        rss_bytes,
        growth_bytes_per_s,
        growth_share,
        cpu_percent,
        cpu_share,
        idle_processes,
        same_program,
        is_protected,
        bytes_share,
        files_share,
        is_deepest,
        is_cleanable,
        is_log_place,
        is_journal_place,
        is_fresh,
        result_is,
        exit_status_is,
        restarts,
        own_log_says,
    )
}
