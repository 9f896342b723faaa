"""A log of one key goes on under epochs, wherever the machine stops; and not half, nor back."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from audit.epochs import Epoch, EpochList, plan, revoke
from audit.errors import NoteError, VkeyError
from audit.report import Verdict
from audit.signer import LocalSigner, LogKeys, PinnedKeys
from hub.epoch_keys import EpochKeys, StateFile
from hub.errors import KeyEndedError, NotaryError, RollbackError
from hub.moved_keys import MovedKeys, OldKey
from hub.segment_files import Disk
from tests.audit.builders import ORIGIN
from tests.audit.epoch_log import BEGIN, DAY, LONG, ratchet_of
from tests.hub.test_epoch_keys import DyingDisk, World

SECRET = bytes(range(32))
PEM = Ed25519PrivateKey.from_private_bytes(SECRET).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)
OLD = LocalSigner.from_pem(ORIGIN, PEM)


def adopted(count: int = 4) -> EpochList:
    """The old key as epoch 0, then epochs of a secret."""
    end = "2026-01-11T00:00:00.000000Z"
    first = Epoch(epoch=0, vkey=OLD.vkey, not_before="2025-01-01T00:00:00.000000Z", not_after=end)
    ends = [BEGIN + LONG * n for n in range(2, count + 2)]
    more = plan(
        ratchet_of(epoch=1), begin=BEGIN, ends=ends, early=[BEGIN, BEGIN + LONG, *ends[:-2]]
    )
    return EpochList(log=ORIGIN, sequence=1, epochs=(first, *more))


class OldWorld(World):
    """A log of some entries under one key, and what its officer brings."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, adopted())
        self.put_state(ratchet_of(epoch=1))
        self.key = folder / "log.key"
        self.key.write_bytes(PEM)
        log = self.open(keys=PinnedKeys(OLD))  # type: ignore[arg-type]
        for number in range(1, 4):
            self.write(log, number)
        log.close()

    def keys(self, disk: Disk | None = None) -> EpochKeys:
        old = OldKey(self.key, ORIGIN, disk)
        return MovedKeys(self.epochs, StateFile(self.state, disk), old, now=lambda: self.now)

    def everything(self) -> dict[str, bytes]:
        files = sorted(path for path in self.log.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files}


class Stop(Disk):
    """Stops the process before the old key's file is overwritten."""

    def __init__(self, world: OldWorld) -> None:
        self._inode = world.key.stat().st_ino

    def write(self, fd: int, data: memoryview) -> int:
        if os.fstat(fd).st_ino == self._inode:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(fd, data)


def a_move(world: OldWorld, disk: Disk | None) -> None:
    keys = world.keys(disk)
    log = world.open(disk, keys)
    world.write(log, 5)
    world.now = BEGIN + LONG + DAY
    if keys.current.epoch < 2:
        world.rotate(log, keys)
    world.write(log, 6)
    log.close()


def test_a_log_of_one_key_goes_on_under_epochs(tmp_path: Path) -> None:
    world = OldWorld(tmp_path)
    before = world.everything()
    held = os.open(world.key, os.O_RDONLY)
    a_move(world, None)
    report = world.verify()
    assert report.verdict is Verdict.VALID, report
    assert not report.warnings
    assert world.types().count("key.rotate") == 2
    assert world.epoch() == 2
    assert not world.key.exists()
    assert os.pread(held, 1000, 0) != PEM  # overwritten where it was
    os.close(held)
    for name, data in before.items():
        if name.endswith((".jsonl", ".notes")):
            assert Path(name).read_bytes().startswith(data)
    a_move(world, None)  # the settings may stay as they were for the move
    assert world.verify().verdict is Verdict.VALID


@pytest.mark.parametrize("how", ["half", "after"])
def test_killed_at_every_write_of_the_move_the_log_is_moved_once(tmp_path: Path, how: str) -> None:
    (tmp_path / "count").mkdir()
    world, counted = OldWorld(tmp_path / "count"), DyingDisk(0, "never")
    a_move(world, counted)
    assert counted.calls > 20
    for at in counted.writes if how == "half" else range(1, counted.calls + 1):
        folder = tmp_path / f"{at}"
        folder.mkdir()
        world = OldWorld(folder)
        child = os.fork()
        if child == 0:
            a_move(world, DyingDisk(at, how))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        a_move(world, None)
        report, where = world.verify(), f"{how} call {at}"
        assert report.verdict is Verdict.VALID, (where, report)
        assert world.types().count("key.rotate") == 2, (where, world.types())
        assert not world.key.exists(), where


def test_entries_that_were_not_signed_are_signed_by_the_old_key_before_the_change(
    tmp_path: Path,
) -> None:
    world = OldWorld(tmp_path)
    (world.log / "checkpoint").unlink()
    for kept in (world.log / "checkpoints").iterdir():
        notes = kept.read_text().split("\n\n")
        kept.write_text("\n\n".join(notes[:2]) + "\n\n")  # of entry 0 alone
    a_move(world, None)
    assert world.verify().verdict is Verdict.VALID
    text = next((world.log / "checkpoints").iterdir()).read_text()
    sizes = [note.split("\n")[1] for note in text.split("\n\n")[:-1:2] if note]
    assert "4" in sizes  # all that was there, before the change made five


def refused(
    world: OldWorld, error: type[Exception], said: str, keys: LogKeys | None = None
) -> None:
    """The start is refused, and nothing of the log or the keys is changed."""
    before = world.everything()
    with pytest.raises(error, match=said):
        world.open(keys=keys or world.keys())  # type: ignore[arg-type]
    assert world.everything() == before


def test_a_move_without_the_old_key_is_refused(tmp_path: Path) -> None:
    world = OldWorld(tmp_path)
    world.key.unlink()
    refused(world, NotaryError, "is not there, and it must sign")
    world.key.write_bytes(b"noise")
    refused(world, NotaryError, "is not there, and it must sign")
    assert world.key.exists()


def test_another_key_than_epoch_0_is_refused(tmp_path: Path) -> None:
    world = OldWorld(tmp_path)
    other = Ed25519PrivateKey.generate()
    world.key.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(NotaryError, match="not the key of the list's epoch 0"):
        world.keys()


def test_a_move_after_epoch_0_is_over_or_to_a_later_secret_is_refused(tmp_path: Path) -> None:
    world = OldWorld(tmp_path)
    world.now = BEGIN + LONG
    refused(world, KeyEndedError, "epoch 0 ended")
    world.now = BEGIN + DAY
    world.put_state(ratchet_of(epoch=1).next())
    refused(world, RollbackError, "the secret in 2")
    assert world.key.read_bytes() == PEM


def test_a_new_log_is_not_begun_by_a_move(tmp_path: Path) -> None:
    world = OldWorld(tmp_path)
    world.log = tmp_path / "new"
    with pytest.raises(NotaryError, match="only one that has entries"):
        world.open()


def test_the_old_settings_do_not_go_on_with_a_moved_log(tmp_path: Path) -> None:
    world = OldWorld(tmp_path)
    child = os.fork()
    if child == 0:
        a_move(world, Stop(world))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert world.key.read_bytes() == PEM  # both have signed, the old one is still there
    refused(world, VkeyError, "cannot go on", PinnedKeys(OLD))
    a_move(world, None)
    refused(world, NoteError, "none of the keys we trust", PinnedKeys(OLD))


def test_a_stolen_old_key_is_revoked_before_the_move(tmp_path: Path) -> None:
    world = OldWorld(tmp_path)
    secret = ratchet_of(50, epoch=len(world.epochs.epochs))
    ends = [BEGIN + LONG * (n + 1) for n in range(3)]
    new = plan(secret, begin=BEGIN, ends=ends)
    world.epochs = revoke(world.epochs, epoch=0, trusted_size=4, reason="stolen", new=new)
    world.put_state(secret)
    log = world.open()
    world.write(log, 7)
    log.close()
    assert world.verify().verdict is Verdict.VALID
    assert msgspec.json.decode(world.state.read_bytes())["epoch"] == secret.epoch


def test_a_key_that_cannot_be_overwritten_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a credential of systemd, which is read-only; root may write everything else."""
    world = OldWorld(tmp_path)
    real = os.open

    def read_only(path: "os.PathLike[str]", flags: int, *more: int) -> int:
        if Path(path) == world.key and flags & os.O_WRONLY:
            raise OSError(30, "Read-only file system")
        return real(path, flags, *more)

    monkeypatch.setattr("hub.moved_keys.os.open", read_only)
    world.now = BEGIN + timedelta(hours=2)
    a_move(world, None)
    assert "destroy it by hand" in caplog.text
    assert world.verify().verdict is Verdict.VALID
