"""Readings and limits → measures: what was observed of each subject, and is it bad or good.

Between bad and good lies the margin of `clear_margin_percent`, where neither counter moves.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from agent.history import History
from agent.limits import Limits
from agent.readings import MountReading, ProcessKey, ProcessReading, Readings
from agent.trend import steady_growth
from appliance.records import Condition, Severity

_MB = 1024 * 1024
_CRITICAL_PERCENT = 97.0  # from here on a host has minutes, not hours
_CRITICAL_MEMORY_PERCENT = 85.0  # a leak on a host this full is urgent


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One condition of one subject at one moment."""

    condition: Condition
    key: str  # condition and subject, unique and stable
    subject: str
    observed: float
    limit: float
    unit: str
    bad: bool
    good: bool  # both False: within the margin, or not known yet
    severity: Severity
    summary: str
    process: ProcessKey | None = None


def measures(readings: Readings, history: History, limits: Limits) -> Iterator[Measure]:
    """Every measure that could be taken of this reading."""
    yield _host_memory(readings, limits)
    yield from _processors(readings, history, limits)
    for mount in readings.mounts:
        if mount.mount not in limits.ignore_mounts:
            yield from _filesystem(mount, limits)
    for process in readings.processes:
        yield _process_memory(process, readings, limits)
        if measure := _process_leak(process, readings, history, limits):
            yield measure
    for unit in readings.failed_units or ():
        if unit not in limits.ignore_units:
            yield _failed_unit(unit)


def _level(
    condition: Condition,
    subject: str,
    observed: float,
    limit: float,
    limits: Limits,
    *,
    unit: str,
    summary: str,
    severity: Severity = Severity.WARNING,
    process: ProcessReading | None = None,
) -> Measure:
    """A measure that is bad above its limit."""
    name = f"{process.pid}:{process.started_ticks}" if process else subject
    return Measure(
        condition=condition,
        key=f"{condition}:{name}",
        subject=subject,
        observed=observed,
        limit=limit,
        unit=unit,
        bad=observed >= limit,
        good=observed < limit * (1.0 - limits.clear_margin_percent / 100.0),
        severity=severity,
        summary=summary,
        process=process.key if process else None,
    )


def _host_memory(readings: Readings, limits: Limits) -> Measure:
    used, memory = readings.memory.used_percent, readings.memory
    return _level(
        Condition.HOST_MEMORY,
        "host",
        used,
        limits.host_memory_percent,
        limits,
        unit="%",
        severity=_by_percent(used),
        summary=f"{used:.1f} % of memory is in use, {memory.available_bytes // _MB} MB are left",
    )


def _processors(readings: Readings, history: History, limits: Limits) -> Iterator[Measure]:
    busy, load = history.cpu_busy_percent, readings.load_1min / readings.processors
    if busy is not None:
        yield _level(
            Condition.CPU_SATURATION,
            "host",
            busy,
            limits.cpu_percent,
            limits,
            unit="%",
            summary=f"{readings.processors} processors are {busy:.0f} % busy",
        )
    yield _level(
        Condition.LOAD_SATURATION,
        "host",
        load,
        limits.load_per_cpu,
        limits,
        unit="per processor",
        summary=f"load {readings.load_1min:.1f} on {readings.processors} processors",
    )


def _filesystem(mount: MountReading, limits: Limits) -> Iterator[Measure]:
    used, inodes = mount.used_percent, mount.inodes_percent
    yield _level(
        Condition.DISK_SPACE,
        mount.mount,
        used,
        limits.disk_percent,
        limits,
        unit="%",
        severity=_by_percent(used),
        summary=f"{mount.mount} is {used:.1f} % full, {mount.available_bytes // _MB} MB are left",
    )
    if mount.inodes:
        yield _level(
            Condition.DISK_INODES,
            mount.mount,
            inodes,
            limits.inodes_percent,
            limits,
            unit="%",
            severity=_by_percent(inodes),
            summary=f"{mount.mount} has {inodes:.1f} % of its {mount.inodes} inodes in use",
        )


def _process_memory(process: ProcessReading, readings: Readings, limits: Limits) -> Measure:
    own = limits.process_memory_mb.get(process.name)
    share = readings.memory.total_bytes / _MB * limits.process_memory_percent / 100.0
    used = process.rss_bytes / _MB
    return _level(
        Condition.PROCESS_MEMORY,
        _subject(process),
        used,
        float(own) if own is not None else share,
        limits,
        unit="MB",
        severity=_by_host(readings),
        summary=f"process {process.name} (pid {process.pid}) uses {used:.0f} MB of memory",
        process=process,
    )


def _process_leak(
    process: ProcessReading, readings: Readings, history: History, limits: Limits
) -> Measure | None:
    samples = history.samples(process.key)
    covered = samples[-1][0] - samples[0][0] if samples else 0.0
    if covered < limits.leak_window_s * 0.9:
        return None  # not watched long enough to say either
    growth = (samples[-1][1] - samples[0][1]) / _MB
    leaking = steady_growth(
        samples, window_s=limits.leak_window_s, least_bytes=limits.leak_growth_mb * _MB
    )
    return Measure(
        condition=Condition.PROCESS_LEAK,
        key=f"{Condition.PROCESS_LEAK}:{process.pid}:{process.started_ticks}",
        subject=_subject(process),
        observed=growth,
        limit=float(limits.leak_growth_mb),
        unit="MB",
        bad=leaking,
        good=not leaking and growth < limits.leak_growth_mb / 2,
        severity=_by_host(readings),
        summary=(
            f"process {process.name} (pid {process.pid}) grew steadily by {growth:.0f} MB"
            f" in {covered:.0f} s and holds {process.rss_bytes / _MB:.0f} MB"
        ),
        process=process.key,
    )


def _failed_unit(unit: str) -> Measure:
    return Measure(
        condition=Condition.UNIT_FAILED,
        key=f"{Condition.UNIT_FAILED}:{unit}",
        subject=unit,
        observed=1.0,
        limit=0.0,
        unit="failed",
        bad=True,
        good=False,
        severity=Severity.CRITICAL,
        summary=f"systemd unit {unit} has failed",
    )


def _subject(process: ProcessReading) -> str:
    return f"pid {process.pid} ({process.name})"


def _by_percent(used: float) -> Severity:
    return Severity.CRITICAL if used >= _CRITICAL_PERCENT else Severity.WARNING


def _by_host(readings: Readings) -> Severity:
    full = readings.memory.used_percent >= _CRITICAL_MEMORY_PERCENT
    return Severity.CRITICAL if full else Severity.WARNING
