"""The real host: processes, filesystems, and a child that really leaks."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import probes
from agent.capture import capture
from agent.detect import Fired, Memory, detect
from agent.history import History
from agent.limits import Limits
from agent.readings import Readings
from agent.walk import walk
from appliance.ids import uuid7
from appliance.records import (
    MAX_EVIDENCE_BYTES,
    Condition,
    DirectoryEvidence,
    FileEvidence,
    Finding,
    MetricEvidence,
    MountEvidence,
    ProcessEvidence,
    to_json,
)

LEAK = """
import time
kept = []
while True:
    kept.append(bytearray(b"x") * (1024 * 1024))
    time.sleep(0.02)
"""

NAMED = "import sys,time; open('/proc/self/comm', 'w').write(sys.argv[1]); time.sleep(60)"


def see(
    limits: Limits,
    wanted: Condition,
    about: str = "",
    *,
    within_s: float = 20,
    cycle_s: float = 0.05,
) -> tuple[Fired, Readings, History]:
    """Run the detector on this host until a condition fires, about this subject if one is named."""
    probe, history = probes.HostProbe(), History(window_s=limits.leak_window_s)
    memory = Memory(boot_id=probe.boot_id)
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        readings = probe.read()
        history.add(readings)
        turn = detect(
            readings, history, memory, limits,
            fire_after=3, clear_after=3, now=datetime.now(UTC), new_id=uuid7,
        )  # fmt: skip
        memory = turn.memory
        for fired in turn.fired:
            if fired.measure.condition is wanted and about in f"{fired.measure.subject} ":
                return fired, readings, history
        time.sleep(cycle_s)
    raise AssertionError("nothing fired")


def captured(fired: Fired, readings: Readings, history: History) -> Finding:
    return capture(fired, readings, history, now=datetime.now(UTC), ours=frozenset({os.getpid()}))


QUIET = {
    "host_memory_percent": 100.0,
    "process_memory_percent": 100.0,
    "cpu_percent": 100.0,
    "load_per_cpu": 1e9,
    "disk_percent": 100.0,
    "inodes_percent": 100.0,
}


def test_a_reading_holds_this_very_process() -> None:
    readings = probes.HostProbe().read()
    (own,) = [one for one in readings.processes if one.pid == os.getpid()]
    assert own.rss_bytes > 10 * 1024 * 1024
    assert own.parent == os.getppid()
    assert own.key == (probes.process(os.getpid()) or own).key
    assert readings.memory.total_bytes > readings.memory.available_bytes > 0
    assert readings.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_the_filesystem_of_the_root_is_seen_as_df_sees_it() -> None:
    (root,) = [one for one in probes.mounts() if one.mount == "/"]
    asked = subprocess.run(
        ["df", "-B1", "--output=used,avail", "/"], capture_output=True, text=True, check=True
    )
    used, available = (int(word) for word in asked.stdout.splitlines()[1].split())
    assert root.used_percent == pytest.approx(100 * used / (used + available), abs=0.5)
    assert not {one.fstype for one in probes.mounts()} & {"proc", "sysfs", "cgroup2", "devpts"}


@given(st.binary(max_size=40), st.integers(1, 2**40))
def test_a_process_name_cannot_confuse_the_reader(name: bytes, ticks: int) -> None:
    fields = [b"0"] * 50
    fields[0], fields[1], fields[19], fields[21] = b"S", b"1", b"%d" % ticks, b"5"
    line = b"7 (" + name + b") " + b" ".join(fields)
    found = probes.parse_stat(7, line)
    assert found is not None
    assert (found.started_ticks, found.parent) == (ticks, 1)


def test_details_of_a_process_with_another_start_time_are_not_given() -> None:
    own = probes.process(os.getpid())
    assert own is not None
    assert probes.details(own) is not None
    other = type(own)(
        pid=own.pid, started_ticks=own.started_ticks - 1, parent=1, name="x", rss_bytes=0, cpu_s=0
    )
    assert probes.details(other) is None


def test_a_child_that_really_leaks_is_found_and_captured_without_its_secret() -> None:
    with subprocess.Popen([sys.executable, "-c", LEAK, "--password=hunter2-really"]) as child:
        try:
            limits = Limits(**QUIET, leak_window_s=1.5, leak_growth_mb=15)
            fired, readings, history = see(limits, Condition.PROCESS_LEAK, f"pid {child.pid} ")
            finding = captured(fired, readings, history)
        finally:
            child.kill()
    assert finding.condition is Condition.PROCESS_LEAK
    metric, subject = finding.evidence[:2]
    assert isinstance(metric, MetricEvidence)
    assert isinstance(subject, ProcessEvidence)
    assert subject.pid == child.pid
    assert subject.growth_bytes_per_s > 10 * 1024 * 1024
    assert subject.protected is None
    assert "hunter2" not in to_json(finding).decode()
    assert "[redacted]" in subject.command
    protected = {one.pid for one in finding.evidence if getattr(one, "protected", None)}
    assert os.getpid() in protected or os.getpid() not in {
        one.pid for one in finding.evidence if isinstance(one, ProcessEvidence)
    }


@pytest.fixture
def small_filesystem(tmp_path: Path) -> Iterator[Path]:
    """A real filesystem of 8 MB; where mounting is not allowed, the test has no subject."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=200", "tmpfs", str(folder)], check=False
    )
    if done.returncode != 0:
        pytest.skip("this user may not mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_real_filesystem_that_fills_is_found_with_its_biggest_folder(
    small_filesystem: Path,
) -> None:
    (small_filesystem / "logs").mkdir()
    (small_filesystem / "logs" / "big.log").write_bytes(b"x" * 7_800_000)
    (small_filesystem / "small.txt").write_bytes(b"x" * 10_000)
    fired, readings, history = see(Limits(**QUIET | {"disk_percent": 92.0}), Condition.DISK_SPACE)
    finding = captured(fired, readings, history)
    assert (finding.condition, finding.subject) == (Condition.DISK_SPACE, str(small_filesystem))
    kinds = {type(one) for one in finding.evidence}
    assert kinds >= {MetricEvidence, MountEvidence, DirectoryEvidence, FileEvidence}
    folders = [one for one in finding.evidence if isinstance(one, DirectoryEvidence)]
    files = [one for one in finding.evidence if isinstance(one, FileEvidence)]
    assert folders[0].path == str(small_filesystem / "logs")
    assert folders[0].complete
    assert files[0].path == str(small_filesystem / "logs" / "big.log")


def test_a_real_filesystem_out_of_inodes_is_found(small_filesystem: Path) -> None:
    (small_filesystem / "many").mkdir()
    for number in range(190):
        (small_filesystem / "many" / str(number)).touch()
    fired, readings, history = see(
        Limits(**QUIET | {"inodes_percent": 92.0}), Condition.DISK_INODES
    )
    finding = captured(fired, readings, history)
    assert (finding.condition, finding.subject) == (Condition.DISK_INODES, str(small_filesystem))
    (folder, *_) = [one for one in finding.evidence if isinstance(one, DirectoryEvidence)]
    assert (folder.path, folder.files) == (str(small_filesystem / "many"), 190)


def test_a_walk_stops_at_its_bound_and_says_so(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / str(number)).touch()
    found = walk(str(tmp_path), clock=time.monotonic, max_entries=20)
    assert not found.complete
    assert found.directories[str(tmp_path)].files <= 21


def test_a_walk_follows_no_links_and_stays_on_its_filesystem(tmp_path: Path) -> None:
    (tmp_path / "proc").symlink_to("/proc")
    (tmp_path / "file").write_bytes(b"x" * 5000)
    found = walk(str(tmp_path), clock=time.monotonic)
    assert set(found.directories) == {str(tmp_path)}
    assert walk("/nonexistent", clock=time.monotonic).complete is False


def test_evidence_stays_within_its_bound_whatever_the_names_are() -> None:
    words = [sys.executable, "-c", NAMED, "a\tb", "\x1b[31m" + "y" * 100_000]
    with subprocess.Popen(words) as child:
        try:
            limits = Limits(**QUIET, process_memory_mb={"a\tb": 1})
            fired, readings, history = see(limits, Condition.PROCESS_MEMORY)
            finding = captured(fired, readings, history)
        finally:
            child.kill()
    subject = finding.evidence[1]
    assert isinstance(subject, ProcessEvidence)
    assert (subject.pid, subject.name) == (child.pid, "a\\x09b")
    assert len(subject.command) <= 4096
    assert "\x1b" not in subject.command
    assert sum(len(to_json(one)) for one in finding.evidence) <= MAX_EVIDENCE_BYTES
    assert [one.id for one in finding.evidence] == [
        f"e{index}" for index in range(1, len(finding.evidence) + 1)
    ]
