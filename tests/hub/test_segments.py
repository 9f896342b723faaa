"""The log's files: killed, cut off from power, or on a bad disk, nothing acknowledged is lost."""

import errno
import itertools
import os
import random
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from audit.__main__ import main
from audit.entry import EntryDraft
from audit.errors import EntryError, NoteError, VkeyError
from audit.folder import latest, notes, segments
from audit.note import parse_vkey
from audit.recovery import MAX_UNSIGNED
from audit.report import Report, Verdict, as_text
from audit.signer import LocalSigner
from audit.verify import verify
from hub.errors import DiskLiesError, LogFullError, LogLockedError, NotaryError, RollbackError
from hub.segment_files import Disk
from hub.segment_tail import Appended
from hub.segments import IndexedState, SegmentLog
from tests.audit.builders import INCIDENT, ORIGIN, draft, signer, uuid_of

PER_SEGMENT = 8
OTHER_INCIDENT = uuid_of(98)


class QuickDisk(Disk):
    """Leaves syncing out: what a kill leaves does not depend on it, and tests share one disk."""

    def sync(self, fd: int) -> None:
        pass

    def sync_folder(self, fd: int) -> None:
        pass


@dataclass
class Index:
    """What Postgres is to the notary: ids, numbers within incidents, the last checkpoint."""

    rows: list[Appended] = field(default_factory=list)
    root: str | None = None

    @property
    def state(self) -> IndexedState:
        return IndexedState(size=len(self.rows), root=self.root)

    def number(self, incident: str) -> int:
        return sum(row.entry.incident == incident for row in self.rows)

    def take(self, log: SegmentLog) -> None:
        """The notary's transaction: rows and checkpoint together."""
        rows = list(log.unindexed())
        assert [row.seq for row in rows] == list(range(len(self.rows), log.size))
        self.rows += rows
        assert log.signed is not None
        self.root = log.signed.root.hex()
        log.indexed_to(log.size)


def start(
    folder: Path,
    index: Index,
    *,
    disk: Disk | None = None,
    key: LocalSigner | None = None,
    per_segment: int = PER_SEGMENT,
) -> SegmentLog:
    return SegmentLog.open(
        folder,
        origin=ORIGIN,
        signer=key or signer(),
        indexed=index.state,
        next_inc_seq=index.number,
        disk=disk or QuickDisk(),
        segment_entries=per_segment,
    )


def work(log: SegmentLog, index: Index, drafts: Sequence[EntryDraft]) -> None:
    """One group, as the notary does it; the index holds each id once."""
    log.append(drafts)
    log.checkpoint()
    index.take(log)


def check(folder: Path) -> Report:
    return verify(
        segments(folder),
        notes(folder),
        latest=latest(folder),
        vkeys=[parse_vkey(signer().vkey)],
        segment_entries=PER_SEGMENT,
    )


def assert_valid(folder: Path, size: int | None = None) -> None:
    report = check(folder)
    assert report.verdict is Verdict.VALID, as_text(report)
    assert size is None or report.size == size


def lines_of(folder: Path) -> list[bytes]:
    return [line for _, lines in segments(folder) for line in lines]


def fill(folder: Path, count: int = 20) -> Index:
    """A closed log with log.open and so many entries, indexed."""
    index = Index()
    log = start(folder, index)
    for first in range(1, count + 1, 3):
        work(log, index, [draft(n) for n in range(first, min(first + 3, count + 1))])
    log.close()
    return index


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".root"
    }


def test_a_new_log_begins_with_its_key_and_is_signed(tmp_path: Path) -> None:
    log = start(tmp_path, Index())
    assert log.size == 1
    opening = next(log.unindexed()).entry
    assert (opening.type, opening.body["vkey"]) == ("log.open", signer().vkey)
    assert (tmp_path / "log.vkey").read_text() == signer().vkey + "\n"
    assert (tmp_path / "checkpoint").read_text() == log.note
    assert_valid(tmp_path, 1)


def test_entries_go_through_segments_of_a_fixed_size_and_full_ones_are_sealed(
    tmp_path: Path,
) -> None:
    fill(tmp_path, 20)
    names = sorted(path.name for path in (tmp_path / "seg").glob("*.jsonl"))
    assert names == [f"{first:012}.jsonl" for first in (0, 8, 16)]
    modes = [(tmp_path / "seg" / name).stat().st_mode & 0o777 for name in names]
    assert modes == [0o440, 0o440, 0o640]
    assert_valid(tmp_path, 21)


def test_one_group_may_fill_several_segments(tmp_path: Path) -> None:
    index = Index()
    log = start(tmp_path, index)
    work(log, index, [draft(n) for n in range(1, 40)])
    assert_valid(tmp_path, 40)
    assert [row.entry.id for row in index.rows[1:]] == [uuid_of(n) for n in range(1, 40)]


def test_the_command_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = Index()
    log = start(tmp_path, index, disk=Disk(), per_segment=65_536)
    work(log, index, [draft(n) for n in range(1, 40)])
    assert main(["verify", str(tmp_path), "--vkey", signer().vkey]) == 0
    assert main(["prove", str(tmp_path), "17"]) == 0
    capsys.readouterr()


def test_a_log_is_verified_while_the_notary_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = start(tmp_path, Index(), per_segment=65_536)
    log.append([draft(1), draft(2)])
    log.checkpoint()
    log.append([draft(3)])  # not signed yet
    assert main(["verify", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("VALID: 3 entries")
    assert "A notary has this log open" in said
    log.close()
    assert main(["verify", str(tmp_path)]) == 2


def test_an_id_of_the_unindexed_tail_is_not_written_twice(tmp_path: Path) -> None:
    log = start(tmp_path, Index())
    first = log.append([draft(1), draft(2)])
    again = log.append([draft(2), draft(3), draft(3), draft(1)])
    assert [made.seq for made in again] == [2, 3, 3, 1]
    assert again[0] == first[1]
    assert log.size == 4
    log.checkpoint()
    assert_valid(tmp_path, 4)


def test_an_id_written_before_a_crash_is_not_written_after_it(tmp_path: Path) -> None:
    log = start(tmp_path, Index())
    before = log.append([draft(1), draft(2)])
    log.close()
    log = start(tmp_path, Index())
    assert log.append([draft(1), draft(2)]) == before
    assert_valid(tmp_path, 3)


def test_numbers_within_an_incident_follow_through_index_tail_and_restart(tmp_path: Path) -> None:
    index = Index()
    log = start(tmp_path, index)

    def add(*numbers: int, incident: str = INCIDENT) -> list[int | None]:
        made = log.append([draft(n, incident=incident) for n in numbers])
        return [one.entry.inc_seq for one in made]

    assert add(1, 2) == [0, 1]
    assert add(3, incident=OTHER_INCIDENT) == [0]
    log.checkpoint()
    index.take(log)
    assert add(4) == [2]  # from the index
    assert add(5, 6) == [3, 4]  # from the tail
    log.close()
    log = start(tmp_path, index)
    assert add(7) == [5]  # from the tail found at start
    log.checkpoint()
    index.take(log)
    log.close()
    log = start(tmp_path, index)
    assert add(8, incident=OTHER_INCIDENT) == [1]
    log.checkpoint()
    assert_valid(tmp_path, 9)


def test_a_draft_without_a_line_refuses_the_whole_group_and_changes_nothing(
    tmp_path: Path,
) -> None:
    log = start(tmp_path, Index())
    before = snapshot(tmp_path)
    with pytest.raises(EntryError, match="float"):
        log.append([draft(1, incident=INCIDENT), draft(2, body={"share": 0.5})])
    assert snapshot(tmp_path) == before
    assert log.append([draft(3, incident=INCIDENT)])[0].entry.inc_seq == 0


def test_signing_the_same_size_again_is_the_same_note(tmp_path: Path) -> None:
    log = start(tmp_path, Index())
    log.append([draft(1)])
    assert log.checkpoint() == log.checkpoint() == log.note
    assert (tmp_path / "checkpoints/000000000000.notes").read_text().count(ORIGIN + "\n") == 2


def test_a_line_is_read_back_by_its_number(tmp_path: Path) -> None:
    index = Index()
    log = start(tmp_path, index)
    made = log.append([draft(n) for n in range(1, 20)])
    assert [log.line(one.seq) for one in made] == [one.line for one in made]
    with pytest.raises(EntryError, match="no entry 20"):
        log.line(20)


def test_only_one_notary_has_the_log(tmp_path: Path) -> None:
    log = start(tmp_path, Index())
    with pytest.raises(LogLockedError):
        start(tmp_path, Index())
    log.close()
    start(tmp_path, Index()).close()


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    log = start(tmp_path, Index())
    log.close()
    with pytest.raises(NotaryError, match="closed"):
        log.append([draft(1)])


def test_a_signer_that_fails_leaves_the_log_as_it_was_and_may_be_tried_again(
    tmp_path: Path,
) -> None:
    class Sometimes(LocalSigner):
        down = False

        def sign(self, message: bytes) -> bytes:
            if self.down:
                raise NoteError("the vault is sealed")
            return super().sign(message)

    key = Sometimes(ORIGIN, signer()._key)
    log = start(tmp_path, Index(), key=key)
    log.append([draft(1)])
    before = snapshot(tmp_path)
    key.down = True
    with pytest.raises(NoteError, match="sealed"):
        log.checkpoint()
    assert snapshot(tmp_path) == before
    key.down = False
    log.checkpoint()
    assert_valid(tmp_path, 2)


def test_so_many_entries_never_wait_for_a_signature(tmp_path: Path) -> None:
    log = start(tmp_path, Index(), per_segment=65_536)
    for first in (1, 2001, 4001):
        log.append([draft(n) for n in range(first, first + 2000)])
    assert log.signed is not None
    assert log.size - log.signed.size <= MAX_UNSIGNED
    with pytest.raises(ValueError, match="at most"):
        log.append([draft(1)] * (MAX_UNSIGNED + 1))


# What is found at start


def test_a_file_ahead_of_the_index_gives_its_entries_to_be_indexed(tmp_path: Path) -> None:
    index = fill(tmp_path, 20)
    behind = Index(rows=index.rows[:5])
    log = start(tmp_path, behind)
    assert list(log.unindexed()) == index.rows[5:]
    behind.take(log)
    assert behind.state == index.state
    lost = Index()
    log.close()
    log = start(tmp_path, lost)  # the whole database is gone
    lost.take(log)
    assert lost.state == index.state


def test_a_chained_tail_without_signature_is_signed(tmp_path: Path) -> None:
    index = fill(tmp_path, 4)
    log = start(tmp_path, index)
    log.append([draft(n) for n in range(5, 15)])
    log.close()
    assert check(tmp_path).verdict is Verdict.INCOMPLETE
    log = start(tmp_path, index)
    assert_valid(tmp_path, 15)
    assert len(list(log.unindexed())) == 10


@pytest.mark.parametrize("torn", [b"{", b'{"actor":', b"\x00" * 4096, b"garbage\nmore\n", b"\n"])
def test_bytes_that_do_not_follow_are_moved_away_and_recorded(tmp_path: Path, torn: bytes) -> None:
    index = fill(tmp_path, 4)
    with (tmp_path / "seg/000000000000.jsonl").open("ab") as file:
        file.write(torn)
    log = start(tmp_path, index)
    (kept,) = (tmp_path / "torn").iterdir()
    assert kept.suffix == ".bin"
    assert kept.read_bytes() == torn
    (made,) = log.unindexed()
    assert (made.entry.type, made.entry.id) == ("log.recovery", kept.stem)
    assert made.entry.body["length"] == len(torn)
    assert_valid(tmp_path, 6)


def test_a_torn_line_at_every_length_keeps_the_whole_ones(tmp_path: Path) -> None:
    index = fill(tmp_path / "log", 2)
    path = tmp_path / "log/seg/000000000000.jsonl"
    signed = path.stat().st_size
    log = start(tmp_path / "log", index)
    log.append([draft(3), draft(4)])
    log.close()
    data = path.read_bytes()
    first_end = data.index(b"\n", signed) + 1
    for cut in range(signed, len(data), 7):
        path.write_bytes(data[:cut])
        log = start(tmp_path / "log", index)
        whole = 0 if cut < first_end else 1
        torn = cut not in {signed, first_end}
        assert log.size == 3 + whole + torn
        assert_valid(tmp_path / "log", log.size)
        log.close()
        restore(tmp_path / "log", data[:signed])


def restore(folder: Path, segment: bytes) -> None:
    """Back to just after the third entry, as the crash left it."""
    (folder / "seg/000000000000.jsonl").write_bytes(segment)
    notes_path = folder / "checkpoints/000000000000.notes"
    kept = [note for note in notes(folder) if int(note.split("\n")[1]) <= 3]
    notes_path.write_text("".join(f"{note}\n" for note in kept))
    (folder / "checkpoint").write_text(kept[-1])
    for path in (folder / "torn").iterdir():
        path.unlink()


def test_a_torn_checkpoint_is_moved_away_and_the_log_signed_again(tmp_path: Path) -> None:
    index = fill(tmp_path, 4)
    path = tmp_path / "checkpoints/000000000000.notes"
    with path.open("ab") as file:
        file.write(b"log.example/hub\n6\nAAAA")
    log = start(tmp_path, index)
    assert [made.entry.type for made in log.unindexed()] == ["log.recovery"]
    assert_valid(tmp_path, 6)


def test_a_lost_checkpoint_file_is_written_again_from_the_kept_notes_and_back(
    tmp_path: Path,
) -> None:
    index = fill(tmp_path, 4)
    before = snapshot(tmp_path)
    (tmp_path / "checkpoint").unlink()
    start(tmp_path, index).close()
    assert snapshot(tmp_path) == before
    (tmp_path / "checkpoints/000000000000.notes").unlink()
    start(tmp_path, index).close()
    assert snapshot(tmp_path)["checkpoint"] == before["checkpoint"]
    assert_valid(tmp_path, 5)


def test_lost_or_wrong_helper_files_change_nothing(tmp_path: Path) -> None:
    index = fill(tmp_path, 20)
    start(tmp_path, index).close()
    roots = sorted((tmp_path / "seg").glob("*.root"))
    assert len(roots) == 2
    roots[0].write_text("00" * 32)
    roots[1].write_text("no hash")
    log = start(tmp_path, index)
    work(log, index, [draft(50)])
    assert_valid(tmp_path, 22)


# Rollback and damage: not continued, nothing touched


def drop_last_lines(folder: Path) -> None:
    path = folder / "seg/000000000016.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


def edit_below_signed(folder: Path) -> None:
    path = folder / "seg/000000000016.jsonl"
    path.write_bytes(path.read_bytes().replace(b"192.0.2.", b"198.51.1", 1))


def remove_segment(folder: Path) -> None:
    (folder / "seg/000000000008.jsonl").unlink()
    for path in (folder / "seg").glob("*.root"):
        path.unlink()


def remove_last_segment(folder: Path) -> None:
    (folder / "seg/000000000016.jsonl").unlink()


def remove_all_segments(folder: Path) -> None:
    for path in (folder / "seg").glob("*.jsonl"):
        path.unlink()


def another_history(folder: Path) -> None:
    other = folder.parent / "other"
    index = Index()
    log = start(other, index)
    work(log, index, [draft(n, outcome="other") for n in range(1, 21)])
    log.close()
    for path in (other / "seg").glob("*.jsonl"):
        target = folder / "seg" / path.name
        target.chmod(0o640)
        target.write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    "damage",
    [
        drop_last_lines,
        edit_below_signed,
        remove_segment,
        remove_last_segment,
        remove_all_segments,
        another_history,
    ],
)
def test_a_log_that_is_shorter_or_other_than_signed_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    index = fill(tmp_path / "log", 20)
    damage(tmp_path / "log")
    before = snapshot(tmp_path / "log")
    with pytest.raises(RollbackError):
        start(tmp_path / "log", index)
    with pytest.raises(RollbackError):
        start(tmp_path / "log", Index())  # the signed checkpoint alone is enough to know
    assert snapshot(tmp_path / "log") == before


def test_yesterdays_disk_under_todays_database_is_refused(tmp_path: Path) -> None:
    index = fill(tmp_path, 10)
    yesterday = snapshot(tmp_path)
    log = start(tmp_path, index)
    work(log, index, [draft(n) for n in range(11, 14)])
    log.close()
    for name, data in yesterday.items():
        (tmp_path / name).chmod(0o640)
        (tmp_path / name).write_bytes(data)
    with pytest.raises(RollbackError, match=r"the database knows 14 entries.* hold 11"):
        start(tmp_path, index)


def test_a_database_of_another_history_is_refused(tmp_path: Path) -> None:
    index = fill(tmp_path, 10)
    index.root = "ab" * 32
    with pytest.raises(RollbackError, match="the database has another root"):
        start(tmp_path, index)


def test_a_log_whose_checkpoints_were_removed_is_not_signed_anew(tmp_path: Path) -> None:
    index = Index()
    log = start(tmp_path, index, per_segment=65_536)
    for first in (1, 3001):
        work(log, index, [draft(n) for n in range(first, first + 3000)])
    log.close()
    (tmp_path / "checkpoint").unlink()
    (tmp_path / "checkpoints/000000000000.notes").unlink()
    with pytest.raises(RollbackError, match="checkpoints were removed"):
        start(tmp_path, Index(), per_segment=65_536)


def test_a_log_of_another_key_is_refused(tmp_path: Path) -> None:
    index = fill(tmp_path, 4)
    with pytest.raises(NotaryError, match="another key"):
        start(tmp_path, index, key=signer(2))
    (tmp_path / "log.vkey").unlink()
    with pytest.raises(NoteError, match="none of the keys"):
        start(tmp_path, index, key=signer(2))
    with pytest.raises(NotaryError, match="the log is"):
        start(tmp_path, index, key=signer(name="other.example"))


# Killed, cut off, or on a bad disk


class CountingDisk(QuickDisk):
    """Does what it is told, and lets a test in before each call."""

    def __init__(self) -> None:
        self.calls = 0

    def before(self, call: str, fd: int | None = None, data: memoryview | None = None) -> None:
        self.calls += 1

    def write(self, fd: int, data: memoryview) -> int:
        self.before("write", fd, data)
        return super().write(fd, data)

    def sync(self, fd: int) -> None:
        self.before("sync", fd)
        super().sync(fd)

    def sync_folder(self, fd: int) -> None:
        self.before("sync_folder", fd)
        super().sync_folder(fd)

    def truncate(self, fd: int, size: int) -> None:
        self.before("truncate", fd)
        super().truncate(fd, size)

    def replace(self, source: Path, target: Path) -> None:
        self.before("replace")
        super().replace(source, target)


class KillingDisk(CountingDisk):
    """Kills its process before the n-th call, with half of the data written if it is a write."""

    def __init__(self, at: int, *, half: bool) -> None:
        super().__init__()
        self._at, self._half = at, half

    def before(self, call: str, fd: int | None = None, data: memoryview | None = None) -> None:
        super().before(call, fd, data)
        if self.calls == self._at:
            if self._half and fd is not None and data is not None:
                os.write(fd, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)


GROUPS = [
    [draft(n, incident=INCIDENT if n % 2 else None) for n in numbers]
    for numbers in ([1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [12, 13], list(range(14, 34)))
]
ALL_IDS = [each.id for group in GROUPS for each in group]


def write_groups(
    folder: Path, index: Index, disk: Disk, said: Callable[[Sequence[str]], None]
) -> None:
    """The notary's life: open, index what is there, write what the index lacks, acknowledge."""
    log = start(folder, index, disk=disk)
    try:
        index.take(log)
        for group in GROUPS:
            known = {row.entry.id for row in index.rows}
            work(log, index, [each for each in group if each.id not in known])
            said([each.id for each in group])
    finally:
        log.close()


def assert_all_once(folder: Path, acknowledged: Sequence[str] = ()) -> None:
    """After a restart and the same work again, each entry is there exactly once."""
    assert check(folder).verdict is not Verdict.TAMPERED or torn(folder)
    index = Index()
    log = start(folder, index)
    present = {made.entry.id for made in log.unindexed()}
    assert set(acknowledged) <= present
    index.take(log)
    log.close()
    assert_valid(folder)
    write_groups(folder, index, QuickDisk(), lambda _: None)
    assert_valid(folder)
    ids = [row.entry.id for row in index.rows if row.entry.id in ALL_IDS]
    assert ids == ALL_IDS
    assert [row.entry.type for row in index.rows].count("log.open") == 1


def torn(folder: Path) -> bool:
    """Whether nothing was signed yet: before the first checkpoint anything may be half there."""
    return not list(notes(folder))


def calls_of_a_life(folder: Path) -> int:
    disk = CountingDisk()
    write_groups(folder, Index(), disk, lambda _: None)
    return disk.calls


def tell(pipe: int, ids: Sequence[str]) -> None:
    os.write(pipe, "".join(f"{each}\n" for each in ids).encode())


@pytest.mark.parametrize("half", [False, True], ids=["before the call", "half of it done"])
def test_killed_at_every_system_call_nothing_acknowledged_is_lost_and_nothing_doubled(
    tmp_path: Path,
    half: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    calls = calls_of_a_life(tmp_path / "count")
    assert calls > 40
    for at in range(1, calls + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                disk = KillingDisk(at, half=half)
                write_groups(folder, Index(), disk, partial(tell, writer))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            acknowledged = pipe.read().split()
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"call {at} was not reached"
        assert_all_once(folder, acknowledged)


def test_killed_during_recovery_too_it_recovers(tmp_path: Path) -> None:
    index = fill(tmp_path / "whole", 4)
    for at in itertools.count(1):
        folder = tmp_path / str(at)
        index = fill(folder, 4)
        with (folder / "seg/000000000000.jsonl").open("ab") as file:
            file.write(b"torn")
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                start(folder, index, disk=KillingDisk(at, half=True))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        log = start(folder, index)
        made = list(log.unindexed())
        assert {one.entry.type for one in made} == {"log.recovery"}
        # The entry about the torn bytes may itself have been torn, and then has its own entry.
        torn = {path.stem: path.read_bytes() for path in (folder / "torn").glob("*.bin")}
        assert list(torn.values()).count(b"torn") == 1
        assert {one.entry.id for one in made} == set(torn)
        assert len(made) == len(torn)
        log.close()
        assert_valid(folder)
        if not os.WIFSIGNALED(status):
            break
    assert at > 8


class PowerCutError(Exception):
    """The machine is off."""


class VolatileDisk(CountingDisk):
    """Keeps only what was synced: at the n-th call the power goes, and unsynced bytes with it."""

    def __init__(self, at: int, chance: random.Random) -> None:
        super().__init__()
        self._at, self._chance = at, chance
        self._synced: dict[Path, int] = {}
        self._renames: list[tuple[Path, bytes | None, bytes]] = []  # since the folder was synced
        self._off = False

    def before(self, call: str, fd: int | None = None, data: memoryview | None = None) -> None:
        if self._off:
            raise PowerCutError
        super().before(call, fd, data)
        path = None if fd is None else Path(f"/proc/self/fd/{fd}").readlink()
        if path is not None and path.is_file():
            self._synced.setdefault(path, path.stat().st_size)
        if self.calls == self._at:
            self._lose()
            raise PowerCutError
        if path is not None and call == "sync":
            self._synced[path] = path.stat().st_size
        if call == "sync_folder":
            self._renames = [r for r in self._renames if r[0].parent != path]

    def replace(self, source: Path, target: Path) -> None:
        before = target.read_bytes() if target.exists() else None
        data = source.read_bytes()
        super().replace(source, target)
        self._synced[target] = len(data)
        self._renames.append((target, before, data))

    def _lose(self) -> None:
        self._off = True
        for path, size in self._synced.items():
            if path.exists() and path.stat().st_size > size:
                path.chmod(0o640)
                os.truncate(path, self._chance.randint(size, path.stat().st_size))
        for target, before, data in self._renames:
            if self._chance.random() < 0.5 and before is not None:
                target.with_suffix(".lost").write_bytes(data)
                target.write_bytes(before)


@pytest.mark.parametrize("seed", range(3))
def test_with_the_power_cut_at_every_system_call_nothing_acknowledged_is_lost(
    tmp_path: Path, seed: int
) -> None:
    calls = calls_of_a_life(tmp_path / "count")
    for at in range(1, calls + 1):
        folder = tmp_path / str(at)
        acknowledged: list[str] = []
        disk = VolatileDisk(at, random.Random(f"{seed} {at}"))
        with pytest.raises(PowerCutError):
            write_groups(folder, Index(), disk, acknowledged.extend)
        assert_all_once(folder, acknowledged)


class FailingDisk(CountingDisk):
    """Fails one call: refused, or done and yet reported as failed."""

    def __init__(self, at: int, number: int, *, done: bool) -> None:
        super().__init__()
        self._at, self._number, self._done = at, number, done
        self.failed = ""

    def _fail(self, call: str, do: Callable[[], Any]) -> Any:
        self.calls += 1
        if self.calls != self._at:
            return do()
        self.failed = call
        if self._done:
            do()
        raise OSError(self._number, os.strerror(self._number))

    def write(self, fd: int, data: memoryview) -> int:
        size: int = self._fail("write", lambda: os.write(fd, data))
        return size

    def sync(self, fd: int) -> None:
        self._fail("sync", lambda: None)

    def sync_folder(self, fd: int) -> None:
        self._fail("sync_folder", lambda: None)

    def truncate(self, fd: int, size: int) -> None:
        self._fail("truncate", lambda: os.ftruncate(fd, size))

    def replace(self, source: Path, target: Path) -> None:
        self._fail("replace", lambda: source.replace(target))


@pytest.mark.parametrize("done", [False, True], ids=["refused", "done but reported as failed"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_an_error_at_any_system_call_ends_the_log_and_a_restart_loses_nothing(
    tmp_path: Path,
    number: int,
    done: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    calls = calls_of_a_life(tmp_path / "count")
    expected = DiskLiesError if number == errno.EIO else LogFullError
    for at in range(1, calls + 1):
        folder, acknowledged = tmp_path / str(at), list[str]()
        disk = FailingDisk(at, number, done=done)
        with pytest.raises(expected):
            write_groups(folder, Index(), disk, acknowledged.extend)
        assert disk.failed
        assert disk.calls <= at + 1, "after an error nothing is tried again, but one set-back"
        assert_all_once(folder, acknowledged)


def test_after_an_error_of_the_disk_every_further_use_is_refused(tmp_path: Path) -> None:
    disk = FailingDisk(0, errno.EIO, done=True)
    log = start(tmp_path, Index(), disk=disk)
    disk._at = disk.calls + 2  # the sync of the next line
    with pytest.raises(DiskLiesError):
        log.append([draft(1)])
    before = snapshot(tmp_path)
    for use in (lambda: log.append([draft(2)]), log.checkpoint):
        with pytest.raises(DiskLiesError):
            use()
    assert snapshot(tmp_path) == before


def test_a_full_disk_is_set_back_to_whole_lines(tmp_path: Path) -> None:
    class Full(Disk):
        room = 10**9

        def write(self, fd: int, data: memoryview) -> int:
            if self.room == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken = os.write(fd, data[: min(len(data), self.room)])
            self.room -= taken
            return taken

    disk = Full()
    log = start(tmp_path, Index(), disk=disk)
    before = snapshot(tmp_path)
    disk.room = 100
    with pytest.raises(LogFullError, match="No space"):
        log.append([draft(1)])
    assert snapshot(tmp_path) == before
    log.close()
    start(tmp_path, Index()).close()
    assert not list((tmp_path / "torn").iterdir())


def test_a_disk_that_takes_little_at_a_time_is_given_all(tmp_path: Path) -> None:
    class Slow(Disk):
        def write(self, fd: int, data: memoryview) -> int:
            return os.write(fd, data[:7])

    log = start(tmp_path, Index(), disk=Slow())
    log.append([draft(n) for n in range(1, 12)])
    log.checkpoint()
    assert_valid(tmp_path, 12)


def test_a_pem_file_gives_the_signer(tmp_path: Path) -> None:
    pem = signer()._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = LocalSigner.from_pem(ORIGIN, pem)
    log = start(tmp_path, Index(), key=key)
    assert_valid(tmp_path, log.size)
    with pytest.raises(VkeyError):
        LocalSigner.from_pem(ORIGIN, pem[:40])


def test_an_appended_entry_is_a_value(tmp_path: Path) -> None:
    (made,) = start(tmp_path, Index()).append([draft(1)])
    assert made.seq == made.entry.seq == 1
    with pytest.raises(AttributeError):
        made.line = b""  # type: ignore[misc]
    assert msgspec.structs.replace(made) == made
