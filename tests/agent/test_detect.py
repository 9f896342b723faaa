"""Conditions fire, last and end as one finding each, on a host in memory."""

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.detect import Ended, Fired, Memory, detect
from agent.history import History
from agent.limits import Limits
from agent.trend import steady_growth
from appliance.records import Condition, from_json, to_json
from tests.agent.simulated_host import MB, SimulatedHost

LIMITS = Limits(leak_window_s=60, leak_growth_mb=50)
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Watcher:
    """Runs the detector cycle after cycle and keeps what it said."""

    host: SimulatedHost
    limits: Limits = LIMITS
    fired: list[Fired] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    cycles: int = 0

    def __post_init__(self) -> None:
        self.memory = Memory(boot_id=self.host.boot_id)
        self.history = History(window_s=self.limits.leak_window_s)
        self._ids = itertools.count(1)

    def cycle(self, times: int = 1) -> None:
        for _ in range(times):
            readings = self.host.read()
            self.history.add(readings)
            turn = detect(
                readings,
                self.history,
                self.memory,
                self.limits,
                fire_after=3,
                clear_after=2,
                now=START + timedelta(seconds=5 * self.cycles),
                new_id=lambda: f"f{next(self._ids)}",
            )
            self.memory = turn.memory
            self.fired += turn.fired
            self.ended += turn.ended
            self.cycles += 1
            self.host.pass_time()

    def restart(self) -> None:
        """What an agent's restart keeps: the memory, not the history."""
        self.memory = from_json(to_json(self.memory), Memory)
        self.history = History(window_s=self.limits.leak_window_s)

    @property
    def conditions(self) -> list[tuple[Condition, str]]:
        return [(one.measure.condition, one.measure.subject) for one in self.fired]


@pytest.fixture
def host() -> SimulatedHost:
    return SimulatedHost()


@pytest.fixture
def watcher(host: SimulatedHost) -> Watcher:
    return Watcher(host)


def test_a_quiet_host_has_no_findings(watcher: Watcher) -> None:
    watcher.host.start(10, "steady", rss_mb=500)
    watcher.cycle(50)
    assert watcher.fired == []
    assert watcher.memory.tracks == {}


def test_a_full_disk_fires_after_three_bad_samples_and_once(watcher: Watcher) -> None:
    watcher.host.disks["/var"] = 95.0
    watcher.cycle(2)
    assert watcher.fired == []
    watcher.cycle(40)
    assert watcher.conditions == [(Condition.DISK_SPACE, "/var")]
    assert watcher.fired[0].first_bad_at == START


def test_every_filesystem_is_watched_not_only_the_first(watcher: Watcher) -> None:
    watcher.host.disks |= {"/": 99.0, "/srv": 91.0}
    watcher.cycle(3)
    assert watcher.conditions == [(Condition.DISK_SPACE, "/"), (Condition.DISK_SPACE, "/srv")]


def test_inodes_run_out_while_bytes_are_free(watcher: Watcher) -> None:
    watcher.host.inodes["/var"] = 97.0
    watcher.cycle(3)
    assert watcher.conditions == [(Condition.DISK_INODES, "/var")]


def test_a_single_bad_sample_is_noise(watcher: Watcher) -> None:
    for used in (95.0, 95.0, 50.0) * 10:
        watcher.host.disks["/"] = used
        watcher.cycle()
    assert watcher.fired == []


def test_a_finding_ends_once_after_two_good_samples(watcher: Watcher) -> None:
    watcher.host.disks["/"] = 95.0
    watcher.cycle(5)
    watcher.host.disks["/"] = 50.0
    watcher.cycle(1)
    assert watcher.ended == []
    watcher.cycle(20)
    assert watcher.ended == [Ended(finding_id="f1", observed=50.0)]


def test_a_value_that_swings_around_its_limit_is_one_finding(watcher: Watcher) -> None:
    watcher.host.disks["/"] = 91.0
    watcher.cycle(3)
    for used in (89.5, 90.5) * 20:  # within the margin below 90 and above it
        watcher.host.disks["/"] = used
        watcher.cycle()
    assert len(watcher.fired) == 1
    assert watcher.ended == []


def test_the_same_condition_may_come_back_as_a_new_finding(watcher: Watcher) -> None:
    for used in (95.0, 50.0, 95.0):
        watcher.host.disks["/"] = used
        watcher.cycle(4)
    assert [one.finding_id for one in watcher.fired] == ["f1", "f2"]
    assert [one.finding_id for one in watcher.ended] == ["f1"]


def test_a_restart_of_the_agent_goes_on_with_the_same_finding(watcher: Watcher) -> None:
    watcher.host.disks["/"] = 95.0
    watcher.cycle(4)
    watcher.restart()
    watcher.cycle(10)
    assert len(watcher.fired) == 1
    watcher.host.disks["/"] = 10.0
    watcher.cycle(2)
    assert [one.finding_id for one in watcher.ended] == ["f1"]


def test_a_steady_leak_is_found_and_ends_when_its_process_is_gone(watcher: Watcher) -> None:
    watcher.host.start(4711, "leaky", rss_mb=20, grows_mb_per_s=2)
    watcher.cycle(20)
    assert watcher.conditions == [(Condition.PROCESS_LEAK, "pid 4711 (leaky)")]
    watcher.host.end(4711)
    watcher.cycle()
    assert [one.finding_id for one in watcher.ended] == ["f1"]


def test_a_leak_survives_a_restart_of_the_agent_as_the_same_finding(watcher: Watcher) -> None:
    watcher.host.start(4711, "leaky", rss_mb=20, grows_mb_per_s=2)
    watcher.cycle(20)
    watcher.restart()
    watcher.cycle(30)
    assert len(watcher.fired) == 1
    assert watcher.ended == []


def test_a_leak_that_stops_growing_ends(watcher: Watcher) -> None:
    leaky = watcher.host.start(4711, "leaky", rss_mb=20, grows_mb_per_s=2)
    watcher.cycle(20)
    leaky.grows_mb_per_s = 0
    watcher.cycle(20)
    assert len(watcher.ended) == 1


def test_a_pid_used_again_is_another_process(watcher: Watcher) -> None:
    watcher.host.start(4711, "leaky", rss_mb=20, grows_mb_per_s=2)
    watcher.cycle(20)
    watcher.host.end(4711)
    watcher.host.start(4711, "innocent", rss_mb=20)
    watcher.cycle(1)
    assert len(watcher.ended) == 1
    watcher.cycle(30)
    assert len(watcher.fired) == 1


def test_a_process_finding_does_not_outlive_its_boot(watcher: Watcher) -> None:
    old = watcher.host.start(4711, "leaky", rss_mb=20, grows_mb_per_s=2)
    watcher.cycle(20)
    watcher.host.reboot()
    watcher.host.start(4711, "leaky").started_ticks = old.started_ticks
    watcher.restart()
    watcher.cycle(1)
    assert len(watcher.ended) == 1


def test_a_burst_at_start_up_is_no_leak(watcher: Watcher) -> None:
    burst = watcher.host.start(10, "java", rss_mb=20)
    for rss in (200, 400, 600, 640, *([642] * 40)):
        burst.rss_mb = rss
        watcher.cycle()
    assert watcher.fired == []


def test_a_cache_that_fills_and_empties_is_no_leak(watcher: Watcher) -> None:
    cache = watcher.host.start(10, "cache", rss_mb=100)
    for step in range(120):
        cache.rss_mb = 100 + 20 * (step % 6)
        watcher.cycle()
    assert watcher.fired == []


def test_a_process_over_its_own_limit_fires(host: SimulatedHost) -> None:
    watcher = Watcher(host, limits=Limits(process_memory_mb={"db": 300}))
    host.start(10, "db", rss_mb=400)
    host.start(11, "other", rss_mb=400)
    watcher.cycle(3)
    assert watcher.conditions == [(Condition.PROCESS_MEMORY, "pid 10 (db)")]


def test_memory_processors_and_load_saturate(watcher: Watcher) -> None:
    watcher.host.other_mb, watcher.host.busy_percent, watcher.host.load = 8000, 99.9, 40.0
    watcher.cycle(5)
    assert {condition for condition, _ in watcher.conditions} == {
        Condition.HOST_MEMORY,
        Condition.CPU_SATURATION,
        Condition.LOAD_SATURATION,
    }


def test_a_failed_unit_fires_and_ends_when_it_runs_again(watcher: Watcher) -> None:
    watcher.host.units = ("nginx.service",)
    watcher.cycle(4)
    assert watcher.conditions == [(Condition.UNIT_FAILED, "nginx.service")]
    watcher.host.units = None  # systemd does not answer: that is no recovery
    watcher.cycle(10)
    assert watcher.ended == []
    watcher.host.units = ()
    watcher.cycle(3)
    assert len(watcher.ended) == 1


def test_an_unmounted_filesystem_ends_its_finding(watcher: Watcher) -> None:
    watcher.host.disks["/mnt"] = 99.0
    watcher.cycle(4)
    del watcher.host.disks["/mnt"]
    watcher.cycle(3)
    assert len(watcher.ended) == 1


def test_the_same_arguments_give_the_same_answer(host: SimulatedHost) -> None:
    def run() -> list[Fired]:
        own = Watcher(SimulatedHost())
        own.host.disks["/"] = 95.0
        own.cycle(10)
        return own.fired

    assert run() == run()


@given(st.lists(st.integers(0, 2000), min_size=5, max_size=24))
def test_a_series_that_ends_where_it_began_never_leaks(values: list[int]) -> None:
    closed = [*values, values[0]]
    samples = [(index * 5.0, value * MB) for index, value in enumerate(closed)]
    assert not steady_growth(samples, window_s=20, least_bytes=MB)


@given(st.integers(10, 24), st.floats(1.0, 50.0))
def test_a_straight_line_upwards_always_leaks(count: int, mb_per_sample: float) -> None:
    samples = [(index * 5.0, int(index * mb_per_sample * MB)) for index in range(count)]
    assert steady_growth(samples, window_s=5.0 * (count - 1), least_bytes=5 * MB)
