"""Detection, spool and watch together, on a host in memory."""

import base64
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.errors import SpoolError
from agent.limits import Limits
from agent.loop import Detection
from agent.settings import AgentSettings
from agent.spool import Spool
from agent.watch import Watch
from appliance.channel import Identity
from appliance.ids import uuid7
from appliance.records import Cleared, Condition, Event, Finding, Outcome, Persisting
from tests.agent.builders import event, report
from tests.agent.simulated_host import SimulatedHost

START = datetime(2026, 1, 1, tzinfo=UTC)


def settings(folder: Path) -> AgentSettings:
    here = folder / "none"
    return AgentSettings(
        hub="localhost:1",
        identity=Identity(certificate=here, key=here, ca=here),
        state_dir=folder,
        executor_socket=here,
        fire_after=2,
        clear_after=2,
        hold_s=30,
        limits=Limits(leak_window_s=30, leak_growth_mb=20),
    )


def envelope(order_id: str, finding_id: str, mode: str = "live") -> bytes:
    payload = {"order_id": order_id, "shown": {"finding_id": finding_id, "mode": mode}}
    inside = base64.b64encode(msgspec.json.encode(payload)).decode()
    return msgspec.json.encode({"payload": inside, "payload_type": "x"})


class World:
    """An agent without network on a simulated host; it can be restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = SimulatedHost()
        self.now = START
        self.start()

    def start(self) -> None:
        self.spool = Spool(self.folder / "spool.db", limit_bytes=10**7)
        self.watch = Watch(self.spool.kept("watch"))
        self.detection = Detection(settings(self.folder), self.host, self.spool, self.watch)

    def restart(self) -> None:
        self.spool.close()
        self.start()

    def cycle(self, times: int = 1) -> list[Any]:
        bodies = []
        for _ in range(times):
            self.host.pass_time()
            self.now += timedelta(seconds=5)
            bodies += [event.body for event in self.detection.cycle(now=self.now)]
        return bodies

    def spooled(self) -> list[Event]:
        return [one.event for one in self.spool.after(0, most=1000)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.spool.close()


def test_a_finding_is_in_the_spool_with_its_evidence(world: World) -> None:
    world.host.disks["/var"] = 95.0
    (finding,) = world.cycle(2)
    assert isinstance(finding, Finding)
    assert [event.body for event in world.spooled()] == [finding]
    assert [one.id for one in finding.evidence][:2] == ["e1", "e2"]
    assert finding.boot_id == "boot-1"


def test_a_condition_that_lasts_is_one_event(world: World) -> None:
    world.host.disks["/var"] = 95.0
    assert len(world.cycle(50)) == 1


def test_after_a_crash_the_same_finding_goes_on_and_ends_under_its_id(world: World) -> None:
    world.host.disks["/var"] = 95.0
    (finding,) = world.cycle(2)
    world.restart()
    assert world.cycle(10) == []
    world.host.disks["/var"] = 20.0
    (cleared,) = world.cycle(2)
    assert isinstance(cleared, Cleared)
    assert cleared.finding_id == finding.finding_id
    assert cleared.order_id is None


def test_a_full_disk_of_the_spool_loses_no_finding(world: World) -> None:
    fill_the_disk(world.spool)
    world.host.disks["/var"] = 95.0
    refused = 0
    for _ in range(5):
        try:
            assert world.cycle(1) == []
        except SpoolError:
            refused += 1
    assert refused == 4  # every cycle from the second bad sample on
    world.spool._db.execute("PRAGMA max_page_count = 100000")
    (finding,) = world.cycle(1)
    assert isinstance(finding, Finding)
    assert finding.first_bad_at == START + timedelta(seconds=5)


def test_a_finding_that_a_full_spool_dropped_fires_anew_when_there_is_room(world: World) -> None:
    world.host.disks["/var"] = 95.0
    (first,) = world.cycle(2)
    ballast = [
        Event(event_id=uuid7(), body=msgspec.structs.replace(first, finding_id=uuid7()))
        for _ in range(3)
    ]
    world.spool._limit_bytes = world.spool._bytes
    world.spool.put(ballast)  # the oldest, our finding, has to go
    assert first.finding_id not in {getattr(e.body, "finding_id", "") for e in world.spooled()}
    assert world.cycle(3) == []  # no room: to fire again would only drop again
    world.restart()
    world.spool.acknowledged([event.event_id for event in world.spooled()])
    (again,) = world.cycle(3)
    assert isinstance(again, Finding)
    assert (again.subject, again.condition) == (first.subject, first.condition)
    assert again.finding_id != first.finding_id
    assert world.cycle(10) == []  # once


def fill_the_disk(spool: Spool) -> None:
    """SQLite's own limit stands for a disk without room: not one more event fits."""
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count = {pages}")
    for size in (3000, 300, 1):
        with contextlib.suppress(SpoolError):
            while True:
                spool.put([event(text="x" * size)])


def test_an_end_after_our_order_names_the_order(world: World) -> None:
    world.host.disks["/var"] = 95.0
    (finding,) = world.cycle(2)
    world.watch.taken(envelope("o1", finding.finding_id), now=world.now)
    world.watch.reported(report(order_id="o1"), now=world.now)
    world.host.disks["/var"] = 20.0
    (cleared,) = world.cycle(2)
    assert cleared.order_id == "o1"


def test_a_condition_that_outlasts_the_hold_time_is_told_once(world: World) -> None:
    world.host.disks["/var"] = 95.0
    (finding,) = world.cycle(2)
    world.watch.taken(envelope("o1", finding.finding_id), now=world.now)
    world.watch.reported(report(order_id="o1"), now=world.now)
    assert world.cycle(5) == []
    (persisting,) = world.cycle(20)
    assert persisting == Persisting(
        finding_id=finding.finding_id,
        order_id="o1",
        measured_at=START + timedelta(seconds=40),
        observed=pytest.approx(95.0, abs=0.1),
        limit=90.0,
    )


def test_the_watch_goes_on_after_a_restart(world: World) -> None:
    world.host.disks["/var"] = 95.0
    (finding,) = world.cycle(2)
    world.watch.taken(envelope("o1", finding.finding_id), now=world.now)
    world.watch.reported(report(order_id="o1"), now=world.now)
    world.spool.put([], kept={"watch": world.watch.kept()})
    world.restart()
    (persisting,) = world.cycle(10)
    assert persisting.order_id == "o1"


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.TIMED_OUT])
def test_the_rollback_of_an_order_that_did_not_help_is_due_after_that_was_spooled(
    world: World, outcome: Outcome
) -> None:
    world.host.disks["/var"] = 95.0
    (finding,) = world.cycle(2)
    world.watch.taken(envelope("o1", finding.finding_id), now=world.now)
    world.watch.reported(report(order_id="o1", outcome=outcome), now=world.now)
    assert world.cycle(5) == []
    assert world.watch.to_undo() == []
    (persisting,) = world.cycle(20)
    assert isinstance(persisting, Persisting)
    assert world.watch.to_undo() == ["o1"]
    taken_back = msgspec.structs.replace(report(order_id="o1"), undo_of="r1")
    world.watch.reported(taken_back, now=world.now)
    world.watch.undo_answered("o1")
    assert world.watch.to_undo() == []
    assert world.cycle(50) == []  # what was taken back is not watched as if it were the order
    world.host.disks["/var"] = 20.0
    (cleared,) = world.cycle(2)
    assert cleared.order_id == "o1"


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.DRY_RUN, Outcome.UNKNOWN])
def test_of_an_order_that_ran_nothing_or_nobody_knows_what_nothing_is_taken_back(
    world: World, outcome: Outcome
) -> None:
    world.host.disks["/var"] = 95.0
    (finding,) = world.cycle(2)
    world.watch.taken(envelope("o1", finding.finding_id), now=world.now)
    world.watch.reported(report(order_id="o1", outcome=outcome), now=world.now)
    assert world.cycle(50) == []
    assert world.watch.to_undo() == []


def test_a_condition_that_ends_within_the_hold_time_takes_nothing_back(world: World) -> None:
    world.host.disks["/var"] = 95.0
    (finding,) = world.cycle(2)
    world.watch.taken(envelope("o1", finding.finding_id), now=world.now)
    world.watch.reported(report(order_id="o1", outcome=Outcome.FAILED), now=world.now)
    world.host.disks["/var"] = 20.0
    world.cycle(20)
    assert world.watch.to_undo() == []


def test_each_condition_may_have_a_hold_time_of_its_own(tmp_path: Path) -> None:
    of = {Condition.DISK_SPACE: 600.0}
    hold = msgspec.structs.replace(settings(tmp_path), hold_s_of=of).hold
    assert hold(Condition.DISK_SPACE) == timedelta(minutes=10)
    assert hold(Condition.HOST_MEMORY) == timedelta(seconds=30)


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.DRY_RUN])
def test_an_order_that_ran_nothing_is_not_given_the_credit(world: World, outcome: Outcome) -> None:
    world.host.disks["/var"] = 95.0
    (finding,) = world.cycle(2)
    world.watch.taken(envelope("o1", finding.finding_id), now=world.now)
    world.watch.reported(report(order_id="o1", outcome=outcome), now=world.now)
    world.host.disks["/var"] = 20.0
    (cleared,) = world.cycle(2)
    assert cleared.order_id is None


def test_a_rehearsal_is_not_watched(world: World) -> None:
    world.watch.taken(envelope("o1", "f1", mode="dry_run"), now=world.now)
    assert world.watch.order_of("f1") is None


@pytest.mark.parametrize("junk", [b"", b"{}", b'{"payload": 7}', b'{"payload": "%%"}', b"\xff"])
def test_an_envelope_that_is_none_teaches_the_watch_nothing(world: World, junk: bytes) -> None:
    world.watch.taken(junk, now=world.now)
    assert world.watch.kept() == b"{}"
