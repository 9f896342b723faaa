"""A power cut: set a folder back to what was durable when its process was killed.

`crashpoint.c` noted what each file's bytes and each folder's names were when last synced. What a
disk keeps beyond that is its own affair, so there are four ways to lose:

    NOTHING   all that was written survives: a SIGKILL, no power cut
    ALL       nothing that was not synced survives, names neither
    HALF      names survive, and of the bytes that were not synced the first half: a torn write
    ZEROS     names and lengths survive, the bytes that were not synced are zero

Processes outside, and the machine's boot id, are not touched: for the order it is as if the same
host were back at once, which is harder on the executor than a real reboot.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

_BLOCK = 512  # bytes that a disk writes as one


class Loss(Enum):
    """How much a power cut takes."""

    NOTHING = "nothing"
    ALL = "all that was not synced"
    HALF = "half of the bytes that were not synced"
    ZEROS = "the bytes that were not synced, leaving zeros"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A folder's regular files and folders, as bytes and modes by relative path."""

    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> "Image":
        """The folder as it is."""
        image = cls()
        for path in sorted(root.rglob("*")):
            is_, name = path.lstat(), str(path.relative_to(root))
            if stat.S_ISDIR(is_.st_mode):
                image.folders[name] = is_.st_mode
            elif stat.S_ISREG(is_.st_mode):
                image.files[name] = (path.read_bytes(), is_.st_mode)
        return image

    def put(self, root: Path) -> None:
        """Make the folder so; sockets and the like go too."""
        for path in root.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for name, mode in self.folders.items():
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name).chmod(stat.S_IMODE(mode))
        for name, (data, mode) in self.files.items():
            (root / name).write_bytes(data)
            (root / name).chmod(stat.S_IMODE(mode))


def after_the_cut(root: Path, shadow: Path, loss: Loss) -> Image:
    """What a restart finds. The process must be dead, and the folder as it left it."""
    real = Image.of(root)
    if loss is Loss.NOTHING:
        return real
    if loss is Loss.ALL:
        return _durable(root, shadow)
    for name, (data, mode) in real.files.items():
        kept = shadow / f"f{(root / name).lstat().st_ino}"
        if kept.exists():
            synced = kept.read_bytes()
            mixed = _torn(synced, data) if loss is Loss.HALF else _zeroed(synced, data)
            real.files[name] = (mixed, mode)
    return real


def _torn(synced: bytes, written: bytes) -> bytes:
    """Half of what was appended; of what was written over, every second block."""
    over = bytearray(written[: len(synced)].ljust(len(synced), b"\0"))
    for start in range(0, len(over), 2 * _BLOCK):
        over[start : start + _BLOCK] = synced[start : start + _BLOCK]
    added = written[len(synced) :]
    return bytes(over) + added[: len(added) // 2]


def _zeroed(synced: bytes, written: bytes) -> bytes:
    return synced + bytes(max(0, len(written) - len(synced)))


def _durable(root: Path, shadow: Path) -> Image:
    """Only synced bytes under synced names."""
    now = {path.lstat().st_ino: path for path in (root, *root.rglob("*"))}
    image = Image()
    _walk(root.lstat().st_ino, "", now=now, shadow=shadow, image=image)
    return image


def _walk(inode: int, at: str, *, now: dict[int, Path], shadow: Path, image: Image) -> None:
    for entry, name in _names(inode, now, shadow):
        path = now.get(entry, shadow / f"h{entry}")
        if not path.exists():
            continue  # a socket or the like, gone since
        place, mode = os.path.join(at, name), path.lstat().st_mode  # noqa: PTH118 - a name
        if stat.S_ISDIR(mode):
            image.folders[place] = mode
            _walk(entry, place, now=now, shadow=shadow, image=image)
        elif stat.S_ISREG(mode):
            kept = shadow / f"f{entry}"
            image.files[place] = ((kept if kept.exists() else path).read_bytes(), mode)


def _names(inode: int, now: dict[int, Path], shadow: Path) -> Iterator[tuple[int, str]]:
    listing = shadow / f"d{inode}"
    if listing.exists():
        for line in listing.read_text().splitlines():
            number, _, name = line.partition(" ")
            yield int(number), name
    else:
        for path in sorted(now[inode].iterdir()):
            yield path.lstat().st_ino, path.name
