"""Readings, limits and memory in; findings that fire and findings that end, out.

No clock, no disk, no random numbers: the same arguments always give the same answer. A condition
fires after N bad samples in a row and ends after M good ones; in between it is one finding,
however long it lasts. What must survive a restart is `Memory`, which the caller keeps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from agent.history import History
from agent.limits import Limits
from agent.measure import Measure, measures
from agent.readings import ProcessKey, Readings
from appliance.records import Condition, Record

_SAMPLES = 30  # observed values shown with a finding

_OF_A_PROCESS = frozenset({Condition.PROCESS_MEMORY, Condition.PROCESS_LEAK})


class Track(Record, frozen=True, kw_only=True):
    """How often in a row one condition was bad or good, and the finding it made."""

    condition: Condition
    bad: int
    good: int
    first_bad_at: datetime
    observed: float
    limit: float
    samples: tuple[float, ...]
    process: ProcessKey | None = None
    finding_id: str | None = None  # set from firing until it ends


class Memory(Record, frozen=True, kw_only=True):
    """Everything detection must remember from one cycle to the next."""

    boot_id: str
    tracks: dict[str, Track] = msgspec.field(default_factory=dict)

    def open_findings(self) -> dict[str, Track]:
        """The findings that have fired and not ended, by their ids."""
        return {track.finding_id: track for track in self.tracks.values() if track.finding_id}


def without(memory: Memory, findings: frozenset[str]) -> Memory:
    """The memory as if these findings had never fired; their conditions are counted anew."""
    kept = {key: track for key, track in memory.tracks.items() if track.finding_id not in findings}
    return Memory(boot_id=memory.boot_id, tracks=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """A condition has lasted long enough to be believed."""

    finding_id: str
    measure: Measure
    first_bad_at: datetime
    samples: tuple[float, ...]  # oldest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A finding's condition is gone, or its process is."""

    finding_id: str
    observed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one cycle decided, and what to remember for the next."""

    memory: Memory
    fired: tuple[Fired, ...]
    ended: tuple[Ended, ...]


def detect(
    readings: Readings,
    history: History,
    memory: Memory,
    limits: Limits,
    *,
    fire_after: int,
    clear_after: int,
    now: datetime,
    new_id: Callable[[], str],
) -> Turn:
    """Judge one reading; `history` has it already."""
    tracks: dict[str, Track] = {}
    fired: list[Fired] = []
    ended: list[Ended] = []
    seen = {measure.key: measure for measure in measures(readings, history, limits)}
    for key, measure in seen.items():
        track = memory.tracks.get(key)
        if track is None and not measure.bad:
            continue
        track = _counted(track, measure, now)
        if track.finding_id is None and track.bad >= fire_after:
            track = msgspec.structs.replace(track, finding_id=new_id())
            fired.append(_fired(track, measure))
        if track.good >= clear_after:
            if track.finding_id:
                ended.append(Ended(finding_id=track.finding_id, observed=track.observed))
        elif track.bad or track.finding_id:
            tracks[key] = track
    for key, track in memory.tracks.items():
        if key not in seen and (kept := _absent(track, readings, memory, clear_after)):
            tracks[key] = kept
        elif key not in seen and track.finding_id:
            ended.append(Ended(finding_id=track.finding_id, observed=0.0))
    return Turn(
        memory=Memory(boot_id=readings.boot_id, tracks=tracks),
        fired=tuple(fired),
        ended=tuple(ended),
    )


def _counted(track: Track | None, measure: Measure, now: datetime) -> Track:
    if track is None:
        return Track(
            condition=measure.condition,
            bad=1,
            good=0,
            first_bad_at=now,
            observed=measure.observed,
            limit=measure.limit,
            samples=(measure.observed,),
            process=measure.process,
        )
    return msgspec.structs.replace(
        track,
        bad=track.bad + 1 if measure.bad else 0,
        # One bad sample starts the way back again; within the margin neither counter moves.
        good=0 if measure.bad else track.good + int(measure.good),
        observed=measure.observed,
        limit=measure.limit,
        samples=(*track.samples, measure.observed)[-_SAMPLES:],
    )


def _fired(track: Track, measure: Measure) -> Fired:
    assert track.finding_id is not None  # noqa: S101 - for the type checker
    return Fired(
        finding_id=track.finding_id,
        measure=measure,
        first_bad_at=track.first_bad_at,
        samples=track.samples,
    )


def _absent(track: Track, readings: Readings, memory: Memory, clear_after: int) -> Track | None:
    """What becomes of a track whose subject was not measured; None: it ends."""
    if track.condition in _OF_A_PROCESS:
        alive = {process.key for process in readings.processes}
        same_boot = memory.boot_id == readings.boot_id
        # A living process without a measure: the window fills again after our own restart.
        return track if same_boot and track.process in alive and track.finding_id else None
    if track.condition is Condition.UNIT_FAILED and readings.failed_units is None:
        return track  # systemd did not answer; that is no news
    if track.condition is Condition.CPU_SATURATION:
        return track  # the first reading has no difference to judge
    if track.good + 1 >= clear_after or not track.finding_id:
        return None
    return msgspec.structs.replace(track, good=track.good + 1, bad=0)
