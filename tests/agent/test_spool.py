"""The spool keeps, counts and survives: on a real disk, with a real SIGKILL."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import SpoolError
from agent.spool import Spool
from appliance.ids import uuid7
from appliance.records import Dropped, Event, Finding, Report
from tests.agent.builders import event, report

MB = 1024 * 1024


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool.db", limit_bytes=MB)
    yield spool
    spool.close()


def ids(spool: Spool, *, after: int = 0, most: int = 1000) -> list[str]:
    return [one.event.event_id for one in spool.after(after, most=most)]


def test_events_come_out_in_order_until_acknowledged(spool: Spool) -> None:
    events = [event() for _ in range(5)]
    for one in events:
        spool.put([one])
    assert ids(spool) == [one.event_id for one in events]
    spool.acknowledged([events[1].event_id, events[0].event_id])
    assert ids(spool) == [one.event_id for one in events[2:]]


def test_a_window_is_taken_step_by_step(spool: Spool) -> None:
    spool.put([event() for _ in range(5)])
    first = spool.after(0, most=2)
    second = spool.after(first[-1].seq, most=10)
    assert (len(first), len(second)) == (2, 3)


def test_the_same_event_id_is_kept_once(spool: Spool) -> None:
    one = Event(event_id=uuid7(), body=report())
    spool.put([one])
    spool.put([one])
    assert ids(spool) == [one.event_id]


def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    path, one = tmp_path / "spool.db", event()
    first = Spool(path, limit_bytes=MB)
    first.put([one], kept={"memory": b"remembered"})
    first.close()
    second = Spool(path, limit_bytes=MB)
    assert ids(second) == [one.event_id]
    assert second.kept("memory") == b"remembered"
    second.close()


def test_when_it_is_full_the_oldest_go_first_and_are_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", limit_bytes=20_000)
    events = [event(text="x" * 3000, minutes=index) for index in range(12)]
    for one in events:
        spool.put([one])
    bodies = [one.event.body for one in spool.after(0, most=100)]
    counts = [body for body in bodies if isinstance(body, Dropped)]
    kept = [body.finding_id for body in bodies if isinstance(body, Finding)]
    everything = [one.body for one in events if isinstance(one.body, Finding)]
    lost = len(events) - len(kept)
    assert kept == [one.finding_id for one in everything[lost:]]
    assert [(one.count, one.first_at, one.last_at) for one in counts] == [
        (lost, everything[0].fired_at, everything[lost - 1].fired_at)
    ]
    assert spool.counts().dropped == lost
    spool.close()


def test_the_outcome_of_an_order_is_dropped_last(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", limit_bytes=15_000)
    spool.put([Event(event_id=uuid7(), body=report())])
    for _ in range(10):
        spool.put([event(text="x" * 3000)])
    assert any(isinstance(one.event.body, Report) for one in spool.after(0, most=100))
    spool.close()


def test_a_count_is_told_once_and_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path, limit_bytes=8_000)
    for _ in range(6):
        spool.put([event(text="x" * 3000)])
    spool.close()
    spool = Spool(path, limit_bytes=8_000)
    told = [one.event for one in spool.after(0, most=100) if isinstance(one.event.body, Dropped)]
    again = [one.event for one in spool.after(0, most=100) if isinstance(one.event.body, Dropped)]
    assert len(told) == 1
    assert [one.event_id for one in again] == [one.event_id for one in told]
    spool.close()


def test_a_refused_event_is_set_aside_with_its_reason(spool: Spool, tmp_path: Path) -> None:
    bad, good = event(), event()
    spool.put([bad, good])
    spool.set_aside(bad.event_id, reason="never heard of it")
    assert ids(spool) == [good.event_id]
    assert spool.counts().aside == 1


def test_a_damaged_file_is_moved_away_and_a_new_one_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"this is no database at all" * 500)
    spool = Spool(path, limit_bytes=MB)
    spool.put([event()])
    assert spool.counts().waiting == 1
    assert list(tmp_path.glob("spool.db.damaged-*"))
    assert "damaged" in caplog.text
    spool.close()


def test_a_full_disk_is_one_line_and_nothing_is_half_done(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", limit_bytes=100 * MB)
    spool.put([event()], kept={"memory": b"before"})
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own "disk is full"
    with pytest.raises(SpoolError, match="full") as refused:
        spool.put([event(text="x" * 4000) for _ in range(8)], kept={"memory": b"after"})
    assert "\n" not in str(refused.value)
    assert spool.counts().waiting == 1
    assert spool.kept("memory") == b"before"
    spool._db.execute("PRAGMA max_page_count = 100000")
    spool.put([event(text="x" * 4000)])
    assert spool.counts().waiting == 2
    spool.close()


def test_a_folder_that_is_not_there_is_one_line() -> None:
    with pytest.raises(SpoolError, match="cannot open the spool"):
        Spool(Path("/nonexistent/spool.db"), limit_bytes=MB)


def test_listeners_hear_of_new_events_only(spool: Spool) -> None:
    heard = threading.Semaphore(0)
    spool.on_news(heard.release)
    spool.put([], kept={"memory": b"x"})
    assert not heard.acquire(blocking=False)
    spool.put([event()])
    assert heard.acquire(blocking=False)


WRITER = """
import sys
from pathlib import Path
from agent.spool import Spool
from tests.agent.builders import event
spool = Spool(Path(sys.argv[1]), limit_bytes=10**9)
number = 0
while True:
    one = event()
    number += 1
    spool.put([one], kept={"memory": str(number).encode()})
    print(one.event_id, flush=True)
"""


@pytest.mark.parametrize("moment", range(3))
def test_what_was_put_survives_a_kill_at_any_moment(tmp_path: Path, moment: int) -> None:
    path = tmp_path / "spool.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as writer:
        assert writer.stdout is not None
        promised = [writer.stdout.readline().strip() for _ in range(5 + 17 * moment)]
        os.kill(writer.pid, signal.SIGKILL)
        promised += [line.strip() for line in writer.stdout if line.endswith("\n")]
    spool = Spool(path, limit_bytes=10**9)
    found = ids(spool, most=10**6)
    assert found[: len(promised)] == promised
    # The memory is as old as the events: never one without the other.
    assert spool.kept("memory") == str(len(found)).encode()
    spool.close()
