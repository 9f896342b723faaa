"""A finding's evidence: typed, numbered e1…en, bounded in bytes, without secrets.

Everything a plan may later refer to is captured here, at the moment the condition is believed. The
first piece is always the measure that fired.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from heapq import nlargest

from agent import probes, protected, redact, systemd
from agent.detect import Fired
from agent.history import History
from agent.readings import MountReading, ProcessReading, Readings
from agent.trend import slope
from agent.walk import Walk, walk
from appliance.journal import shown
from appliance.records import (
    MAX_EVIDENCE_BYTES,
    Condition,
    DirectoryEvidence,
    Evidence,
    FileEvidence,
    Finding,
    LogEvidence,
    MetricEvidence,
    MountEvidence,
    ProcessEvidence,
    UnitEvidence,
    to_json,
)

_PROCESSES = 8
_DIRECTORIES = 8
_FILES = 12
_LOG_LINES = 20
_MARGIN_BYTES = 8 * 1024  # for the finding around its evidence

Weigh = Callable[[ProcessReading], float]
Piece = Callable[[str], Evidence | None]
"""Given its number, a piece of evidence; None when it is gone meanwhile."""


def capture(
    fired: Fired,
    readings: Readings,
    history: History,
    *,
    now: datetime,
    ours: frozenset[int],
    role: str | None = None,
) -> Finding:
    """The finding with its evidence; `ours` are the pids of agent and executor."""
    measure = fired.measure
    evidence: list[Evidence] = []
    room = MAX_EVIDENCE_BYTES - _MARGIN_BYTES
    for make in _pieces(fired, readings, history, ours):
        piece = make(f"e{len(evidence) + 1}")
        if piece is None:
            continue
        room -= len(to_json(piece)) + 1
        if room < 0:
            break
        evidence.append(piece)
    return Finding(
        finding_id=fired.finding_id,
        condition=measure.condition,
        subject=shown(measure.subject),
        severity=measure.severity,
        summary=redact.text(measure.summary),
        observed=measure.observed,
        limit=measure.limit,
        unit=measure.unit,
        first_bad_at=fired.first_bad_at,
        fired_at=now,
        boot_id=readings.boot_id,
        evidence=tuple(evidence),
        role=role,
    )


def _pieces(
    fired: Fired, readings: Readings, history: History, ours: frozenset[int]
) -> Iterator[Piece]:
    yield _metric(fired)
    match fired.measure.condition:
        case Condition.HOST_MEMORY:
            yield from _top(readings, history, lambda one: one.rss_bytes, ours)
        case Condition.PROCESS_MEMORY | Condition.PROCESS_LEAK:
            key = fired.measure.process
            # The subject first, whatever its rank.
            yield from _top(
                readings,
                history,
                lambda one: float("inf") if one.key == key else one.rss_bytes,
                ours,
            )
        case Condition.CPU_SATURATION | Condition.LOAD_SATURATION:
            yield from _top(readings, history, lambda one: history.cpu_percent(one.key), ours)
        case Condition.DISK_SPACE | Condition.DISK_INODES:
            by_files = fired.measure.condition is Condition.DISK_INODES
            yield from _disk(fired.measure.subject, readings, by_files=by_files)
        case Condition.UNIT_FAILED:
            yield _unit(fired.measure.subject)
            yield from _log_lines(fired.measure.subject)


def _metric(fired: Fired) -> Piece:
    measure = fired.measure
    return lambda number: MetricEvidence(
        id=number,
        name=measure.condition.value,
        value=measure.observed,
        limit=measure.limit,
        unit=measure.unit,
        samples=fired.samples,
    )


def _top(
    readings: Readings, history: History, weigh: Weigh, ours: frozenset[int]
) -> Iterator[Piece]:
    for reading in nlargest(_PROCESSES, readings.processes, key=weigh):
        if weigh(reading) > 0:
            yield _process(reading, history, ours)


def _process(reading: ProcessReading, history: History, ours: frozenset[int]) -> Piece:
    def make(number: str) -> Evidence | None:
        details = probes.details(reading)
        if details is None:
            return None
        return ProcessEvidence(
            id=number,
            pid=reading.pid,
            started_ticks=reading.started_ticks,
            name=shown(reading.name),
            command=redact.command_line(details.command),
            owner=shown(details.owner, most=200),
            rss_bytes=reading.rss_bytes,
            growth_bytes_per_s=slope(history.samples(reading.key)),
            cpu_percent=history.cpu_percent(reading.key),
            unit=shown(details.unit, most=200) if details.unit else None,
            protected=protected.why(
                pid=reading.pid, name=reading.name, command=details.command, ours=ours
            ),
        )

    return make


def _disk(mount: str, readings: Readings, *, by_files: bool) -> Iterator[Piece]:
    reading = next((one for one in readings.mounts if one.mount == mount), None)
    if reading is None:
        return
    yield _mount(reading)
    found = walk(mount, clock=time.monotonic)
    yield from _directories(found, by_files=by_files)
    if not by_files:
        yield from _files(found)


def _mount(reading: MountReading) -> Piece:
    return lambda number: MountEvidence(
        id=number,
        mount=shown(reading.mount),
        device=shown(reading.device),
        fstype=shown(reading.fstype, most=200),
        size_bytes=reading.size_bytes,
        used_bytes=reading.used_bytes,
        inodes=reading.inodes,
        inodes_used=reading.inodes_used,
    )


def _directories(found: Walk, *, by_files: bool) -> Iterator[Piece]:
    for one in found.biggest_directories(_DIRECTORIES, by_files=by_files):
        yield lambda number, one=one: DirectoryEvidence(  # type: ignore[misc]  # default binds it
            id=number,
            path=shown(one.path, most=4000),
            bytes=one.bytes,
            files=one.files,
            complete=found.complete,
        )


def _files(found: Walk) -> Iterator[Piece]:
    for one in nlargest(_FILES, found.files, key=lambda file: file.bytes):
        if one.bytes == 0:
            return
        yield lambda number, one=one: FileEvidence(  # type: ignore[misc]  # default binds it
            id=number,
            path=shown(one.path, most=4000),
            bytes=one.bytes,
            modified_at=datetime.fromtimestamp(max(0.0, one.modified_s), tz=UTC),
        )


def _unit(unit: str) -> Piece:
    def make(number: str) -> Evidence | None:
        state = systemd.show(unit)
        if not state:
            return None
        return UnitEvidence(
            id=number,
            unit=shown(unit, most=200),
            active_state=shown(state.get("ActiveState", ""), most=100),
            sub_state=shown(state.get("SubState", ""), most=100),
            result=shown(state.get("Result", ""), most=100),
            exit_status=_number(state.get("ExecMainStatus", "")),
            restarts=max(0, _number(state.get("NRestarts", ""))),
        )

    return make


def _log_lines(unit: str) -> Iterator[Piece]:
    for line in systemd.last_lines(unit, count=_LOG_LINES):
        yield lambda number, line=line: LogEvidence(  # type: ignore[misc]  # default binds it
            id=number, source=shown(f"journal {unit}", most=200), line=redact.text(line)
        )


def _number(text: str) -> int:
    return int(text) if text.lstrip("-").isdigit() else 0
