"""A key that changes while the machine may stop at any moment: never lost, never used again."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from audit.epoch_notes import Demands
from audit.epoch_rules import verify_demanding
from audit.epochs import EpochList, Ratchet, Request, plan, revoke
from audit.folder import latest, notes, segments
from audit.report import Report, Verdict
from hub.epoch_keys import NEXT_SUFFIX, EpochKeys, StateFile
from hub.errors import DiskLiesError, KeyEndedError, NotaryError, RollbackError
from hub.segment_files import Disk
from hub.segments import IndexedState, SegmentLog
from tests.audit.builders import ORIGIN, draft
from tests.audit.epoch_log import BEGIN, DAY, LONG, SECOND, list_of, ratchet_of


class DyingDisk(Disk):
    """Ends this process, as a power button does, before, in or after its n-th call."""

    def __init__(self, at: int, how: str) -> None:
        self.calls, self._at, self._how = 0, at, how
        self.writes: list[int] = []

    def _turn(self, call: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        self.calls += 1
        if self.calls != self._at:
            return call()
        if self._how == "after":
            call()
        if self._how == "half" and half is not None:
            half()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")

    def write(self, fd: int, data: memoryview) -> int:
        half = data[: len(data) // 2]
        self.writes.append(self.calls + 1)
        written: int = self._turn(lambda: super(DyingDisk, self).write(fd, data),
                                  lambda: super(DyingDisk, self).write(fd, half))  # fmt: skip
        return written

    def sync(self, fd: int) -> None:
        self._turn(lambda: super(DyingDisk, self).sync(fd))

    def sync_folder(self, fd: int) -> None:
        self._turn(lambda: super(DyingDisk, self).sync_folder(fd))

    def truncate(self, fd: int, size: int) -> None:
        self._turn(lambda: super(DyingDisk, self).truncate(fd, size))

    def replace(self, source: Path, target: Path) -> None:
        self._turn(lambda: super(DyingDisk, self).replace(source, target))


class FailingDisk(Disk):
    """Renames fail from now on."""

    broken = False

    def replace(self, source: Path, target: Path) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        super().replace(source, target)


class World:
    """A folder with a log and the key's state, and a clock."""

    def __init__(self, folder: Path, epochs: EpochList | None = None) -> None:
        self.folder, self.log = folder, folder / "log"
        self.state = folder / "epoch.state"
        self.epochs = epochs or list_of()
        self.now = BEGIN + timedelta(hours=1)
        self.put_state(ratchet_of())

    def put_state(self, ratchet: Ratchet, suffix: str = "") -> None:
        path = self.state.with_name(self.state.name + suffix)
        path.write_bytes(msgspec.json.encode(ratchet))

    def keys(self, disk: Disk | None = None) -> EpochKeys:
        return EpochKeys(self.epochs, StateFile(self.state, disk), now=lambda: self.now)

    def open(self, disk: Disk | None = None, keys: EpochKeys | None = None) -> SegmentLog:
        return SegmentLog.open(
            self.log,
            origin=ORIGIN,
            signer=keys or self.keys(disk),
            indexed=IndexedState(),
            next_inc_seq=lambda _: 0,
            disk=disk,
            now=lambda: self.now,
        )

    def epoch(self) -> int:
        return StateFile(self.state).read().epoch

    def write(self, log: SegmentLog, number: int) -> None:
        log.append([draft(number, at=self.now, type="config.change")])
        log.checkpoint()

    def rotate(self, log: SegmentLog, keys: EpochKeys, reason: str = "test") -> None:
        log.checkpoint()
        log.record("key.rotate", keys.begin(reason))

    def verify(self) -> Report:
        return verify_demanding(
            segments(self.log),
            notes(self.log),
            demands=Demands(vkeys=self.epochs.vkeys, epochs=self.epochs),
            latest=latest(self.log),
        )

    def types(self) -> list[str]:
        lines = [line for _, found in segments(self.log) for line in found]
        return [msgspec.json.decode(line)["type"] for line in lines]

    def secrets_on_disk(self) -> bytes:
        return b"".join(p.read_bytes() for p in self.folder.glob("epoch.state*"))


def a_life(world: World, disk: Disk | None) -> None:
    """Two changes of the key, with entries around them."""
    keys = world.keys(disk)
    log = world.open(disk, keys)
    world.write(log, 1)
    if keys.current.epoch < 1:
        world.rotate(log, keys)
    world.write(log, 2)
    world.now = BEGIN + LONG + DAY  # epoch 2 may begin when epoch 1 was to
    if keys.current.epoch < 2:
        world.rotate(log, keys)
    world.write(log, 3)
    log.close()


def calls_in_a_life(folder: Path) -> DyingDisk:
    disk = DyingDisk(0, "never")
    a_life(World(folder), disk)
    return disk


def test_a_life_without_a_crash_is_valid(tmp_path: Path) -> None:
    assert calls_in_a_life(tmp_path).calls > 40  # so that the next test means something
    (tmp_path / "other").mkdir()
    world = World(tmp_path / "other")
    a_life(world, None)
    report = world.verify()
    assert report.verdict is Verdict.VALID, report
    assert world.types().count("key.rotate") == 2
    assert world.epoch() == 2


@pytest.mark.parametrize("how", ["half", "after"])  # before one call is after the one before it
def test_killed_at_every_write_the_key_is_neither_lost_nor_used_again(
    tmp_path: Path, how: str
) -> None:
    (tmp_path / "count").mkdir()
    counted = calls_in_a_life(tmp_path / "count")
    for at in counted.writes if how == "half" else range(1, counted.calls + 1):
        folder = tmp_path / f"{at}"
        folder.mkdir()
        world = World(folder)
        child = os.fork()
        if child == 0:
            a_life(world, DyingDisk(at, how))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        world.now = BEGIN + DAY  # for some, the clock was set back meanwhile
        a_life(world, None)
        where = f"{how} call {at}"
        report = world.verify()
        assert report.verdict is Verdict.VALID, (where, report)
        assert world.epoch() == 2, where
        assert world.types().count("key.rotate") == 2, (where, world.types())
        for forgotten in (0, 1):
            key = ratchet_of().at(forgotten).key.encode()
            assert key not in world.secrets_on_disk(), (where, forgotten)


def test_the_old_state_is_overwritten_where_it_was(tmp_path: Path) -> None:
    world = World(tmp_path)
    keys = world.keys()
    log = world.open(keys=keys)
    held = os.open(world.state, os.O_RDONLY)  # the old file, whose name will be gone
    world.rotate(log, keys)
    assert ratchet_of().key.encode() not in os.pread(held, 1000, 0)
    os.close(held)
    assert world.state.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_fails_while_the_state_changes_closes_the_log(tmp_path: Path) -> None:
    world = World(tmp_path)
    disk = FailingDisk()
    keys = world.keys(disk)
    log = world.open(keys=keys)
    body = keys.begin("test")
    disk.broken = True
    with pytest.raises(DiskLiesError):
        log.record("key.rotate", body)
    with pytest.raises(DiskLiesError):
        world.write(log, 1)
    log.close()
    again = world.keys()
    log = world.open(keys=again)  # both keys have signed: the restart forgets the old one
    assert world.epoch() == 1
    world.write(log, 1)
    assert world.verify().verdict is Verdict.VALID


def test_an_epoch_that_is_over_ends_by_itself_and_one_that_is_asked_to_at_once(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    keys = world.keys()
    assert keys.due() is None
    request = Request(epoch=0, reason="a disk was replaced")
    asked = tmp_path / "epoch.state.rotate"
    asked.write_bytes(msgspec.json.encode(request))
    assert keys.due() == "a disk was replaced"
    log = world.open(keys=keys)
    world.rotate(log, keys, keys.due() or "")
    assert not asked.exists()
    asked.write_bytes(msgspec.json.encode(request))  # once more for an epoch that has ended
    assert keys.due() is None
    assert not asked.exists()
    asked.write_bytes(b"please")
    assert keys.due() is None
    assert not asked.exists()
    world.now = BEGIN + 2 * LONG
    assert keys.due() == "the epoch ends"


def test_an_epoch_may_not_begin_before_its_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    keys = world.keys()
    log = world.open(keys=keys)
    world.rotate(log, keys)
    with pytest.raises(KeyEndedError, match="may not begin before"):
        keys.begin("too early")
    world.write(log, 1)
    assert world.verify().verdict is Verdict.VALID


def test_a_machine_that_was_off_over_the_end_changes_keys_before_it_writes(tmp_path: Path) -> None:
    world = World(tmp_path)
    log = world.open()
    log.append([draft(1, at=world.now, type="config.change")])  # and the power fails: not signed
    log.close()
    torn = next((world.log / "seg").glob("*.jsonl"))
    torn.write_bytes(torn.read_bytes() + b'{"torn')
    world.now = BEGIN + 3 * LONG + DAY
    world.open().close()
    assert world.types() == [
        "log.open", "config.change", "key.rotate", "key.rotate", "key.rotate", "log.recovery",
    ]  # fmt: skip
    report = world.verify()
    assert report.verdict is Verdict.VALID, report
    assert world.epoch() == 3


def test_the_last_epoch_of_a_list_ends_the_log_until_there_are_more(tmp_path: Path) -> None:
    world = World(tmp_path, list_of(1))
    keys = world.keys()
    log = world.open(keys=keys)
    world.now = BEGIN + LONG - timedelta(seconds=1)
    log.append([draft(1, at=world.now, type="config.change")])
    world.now = BEGIN + LONG + timedelta(seconds=1)
    with pytest.raises(KeyEndedError, match="last of the list"):
        keys.demand_time()  # nothing more is taken …
    log.checkpoint()  # … and what was taken in time is signed
    assert world.verify().verdict is Verdict.VALID
    world.now = BEGIN + LONG + DAY
    log.append([draft(2, at=world.now, type="config.change")])
    with pytest.raises(KeyEndedError, match="last of the list"):
        log.checkpoint()


def test_the_secret_laid_beside_goes_on_where_the_first_one_ends(tmp_path: Path) -> None:
    new = ratchet_of(60, epoch=2)
    first = list_of(2)
    ends = [BEGIN + LONG * (n + 3) for n in range(3)]
    early = [BEGIN + LONG, BEGIN + 2 * LONG, BEGIN + 3 * LONG]
    more = plan(new, begin=BEGIN + 2 * LONG, ends=ends, early=early)
    epochs = EpochList(log=ORIGIN, sequence=2, epochs=(*first.epochs, *more))
    world = World(tmp_path, epochs)
    keys = world.keys()
    log = world.open(keys=keys)
    world.rotate(log, keys)
    world.now = BEGIN + 2 * LONG - timedelta(minutes=1)
    assert keys.due() is None
    world.now = BEGIN + 2 * LONG
    with pytest.raises(KeyEndedError, match="secret of its own"):
        world.rotate(log, keys)
    world.put_state(new, NEXT_SUFFIX)
    world.rotate(log, keys)
    assert world.epoch() == 2
    assert not (tmp_path / f"epoch.state{NEXT_SUFFIX}").exists()
    world.write(log, 1)
    assert world.verify().verdict is Verdict.VALID


def test_a_secret_of_the_past_left_beside_is_destroyed_at_the_next_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.put_state(ratchet_of(), NEXT_SUFFIX)
    world.keys()
    assert not (tmp_path / f"epoch.state{NEXT_SUFFIX}").exists()


def revoked(world: World, epoch: int, size: int) -> Ratchet:
    new = ratchet_of(50, epoch=len(world.epochs.epochs))
    more = plan(new, begin=world.now, ends=[world.now + LONG * (n + 1) for n in range(3)])
    world.epochs = revoke(world.epochs, epoch=epoch, trusted_size=size, reason="stolen", new=more)
    return new


def test_a_revoked_key_signs_no_more_and_a_new_secret_takes_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    keys = world.keys()
    log = world.open(keys=keys)
    world.rotate(log, keys)
    world.write(log, 1)
    log.close()
    new = revoked(world, 1, log.size - 1)
    old = world.keys()
    with pytest.raises(KeyEndedError, match="revoked"):
        old.signers()
    world.put_state(new)
    log = world.open()
    world.write(log, 2)
    log.close()
    assert world.types()[-2:] == ["key.rotate", "config.change"]
    report = world.verify()
    assert report.verdict is Verdict.VALID, report
    assert world.epoch() == 6


def test_killed_while_a_new_secret_takes_over_it_takes_over_once(tmp_path: Path) -> None:
    for at in range(1, 20):
        folder = tmp_path / f"{at}"
        folder.mkdir()
        world = World(folder)
        log = world.open()
        world.write(log, 1)
        log.close()
        world.put_state(revoked(world, 0, log.size))
        child = os.fork()
        if child == 0:
            one = world.open(DyingDisk(at, "after"))
            world.write(one, 2)
            os._exit(0)
        os.waitpid(child, 0)
        log = world.open()
        world.write(log, 3)
        log.close()
        assert world.types().count("key.rotate") == 1, at
        assert world.verify().verdict is Verdict.VALID, at


# What does not fit


def test_a_state_ahead_of_the_log_is_a_log_that_was_set_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    log = world.open()
    world.write(log, 1)
    log.close()
    before = {p: p.read_bytes() for p in world.log.rglob("*") if p.is_file()}
    world.put_state(ratchet_of().at(2))
    world.now = BEGIN + 2 * LONG
    with pytest.raises(RollbackError, match="set back"):
        world.open()
    assert before == {p: p.read_bytes() for p in world.log.rglob("*") if p.is_file()}


def test_an_old_state_that_was_restored_signs_nothing_with_its_old_key(tmp_path: Path) -> None:
    world = World(tmp_path)
    keys = world.keys()
    log = world.open(keys=keys)
    world.rotate(log, keys)
    world.now = BEGIN + LONG + DAY
    world.rotate(log, keys)
    log.close()
    world.put_state(ratchet_of())
    log = world.open()
    assert world.epoch() == 2
    world.write(log, 1)
    assert world.verify().verdict is Verdict.VALID


def test_a_new_log_begins_with_epoch_zero_only_and_in_its_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.now = BEGIN + LONG
    with pytest.raises(NotaryError, match="is over"):
        world.open()
    world.now = BEGIN
    world.put_state(ratchet_of().at(1))
    with pytest.raises(NotaryError, match="begins with epoch 0"):
        world.open()


def test_the_state_of_another_list_or_log_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    for wrong in (
        ratchet_of(9),
        ratchet_of(epoch=17),
        Ratchet(log="else.example", epoch=0, key=ratchet_of().key),
    ):
        world.put_state(wrong)
        with pytest.raises(NotaryError):
            world.keys()
    world.state.write_bytes(b"{}")
    with pytest.raises(NotaryError, match="not the state"):
        world.keys()
    world.state.unlink()
    with pytest.raises(NotaryError, match="cannot read"):
        world.keys()


def test_where_a_second_signature_is_demanded_and_nobody_makes_it_nothing_is_signed(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, list_of(second=SECOND))
    with pytest.raises(KeyEndedError, match="demands a second signature"):
        world.open()
    keys = EpochKeys(world.epochs, StateFile(world.state), second=SECOND, now=lambda: world.now)
    log = world.open(keys=keys)
    world.write(log, 1)
    assert log.note.count("\n\u2014 ") == 2


def test_an_aware_clock_is_used_by_default(tmp_path: Path) -> None:
    begin = datetime.now(UTC) - DAY
    epochs = EpochList(
        log=ORIGIN, sequence=1, epochs=tuple(plan(ratchet_of(), begin=begin, ends=[begin + LONG]))
    )
    world = World(tmp_path, epochs)
    assert EpochKeys(epochs, StateFile(world.state)).due() is None
