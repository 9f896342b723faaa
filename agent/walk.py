"""Find what fills a filesystem: the biggest directories and files below a mount point.

Bounded in time and entries, on one filesystem, following no links; figures of an unfinished walk
are marked as such.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import nlargest

MAX_ENTRIES = 200_000
MAX_S = 2.0  # capture stands still meanwhile
_DEPTH = 3  # directories are told apart down to this level below the mount
_CANDIDATES = 200
_NEARLY_ALL = 0.9  # of a folder stands in one folder below it: that one is named
_BLOCK_BYTES = 512  # st_blocks counts these, whatever the filesystem's block is


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A large file."""

    path: str
    bytes: int
    modified_s: float


@dataclass(slots=True)
class FoundDirectory:
    """A directory and all below it."""

    path: str
    bytes: int = 0
    files: int = 0


@dataclass(slots=True)
class Walk:
    """What a walk found."""

    complete: bool = True
    directories: dict[str, FoundDirectory] = field(default_factory=dict)
    files: list[FoundFile] = field(default_factory=list)

    def biggest_directories(self, count: int, *, by_files: bool) -> list[FoundDirectory]:
        """The fullest first; a folder whose content is nearly all in one below it is left out."""
        measure: Callable[[FoundDirectory], int] = (
            (lambda found: found.files) if by_files else (lambda found: found.bytes)
        )
        ranked = nlargest(_CANDIDATES, self.directories.values(), key=measure)
        chosen = [
            found
            for found in ranked
            if measure(found) > 0
            and not any(
                one.path.startswith(found.path.rstrip("/") + "/")
                and measure(one) >= _NEARLY_ALL * measure(found)
                for one in ranked
            )
        ]
        return chosen[:count]


def walk(mount: str, *, clock: Callable[[], float], max_entries: int = MAX_ENTRIES) -> Walk:
    """Look below a mount point until done or until a bound is reached."""
    result, deadline, seen = Walk(), clock() + MAX_S, 0
    try:
        device = os.lstat(mount).st_dev
    except OSError:
        return Walk(complete=False)
    waiting: list[tuple[str, tuple[FoundDirectory, ...]]] = [(mount, ())]
    while waiting:
        path, parents = waiting.pop(0)
        if len(parents) < _DEPTH:
            parents = (*parents, result.directories.setdefault(path, FoundDirectory(path)))
        if clock() > deadline:
            result.complete = False
            break
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    seen += 1
                    _take(entry, device, parents, waiting, result)
                    if seen > max_entries:
                        result.complete = False
                        return result
        except OSError:  # not ours to read, or gone
            result.complete = False
    return result


def _take(
    entry: os.DirEntry[str],
    device: int,
    parents: tuple[FoundDirectory, ...],
    waiting: list[tuple[str, tuple[FoundDirectory, ...]]],
    result: Walk,
) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return
    if status.st_dev != device:
        return
    size = status.st_blocks * _BLOCK_BYTES  # what it takes, not how long it says it is
    for parent in parents:
        parent.bytes += size
        parent.files += 1
    if stat.S_ISDIR(status.st_mode):
        waiting.append((entry.path, parents))
    elif stat.S_ISREG(status.st_mode):
        result.files.append(FoundFile(path=entry.path, bytes=size, modified_s=status.st_mtime))
        if len(result.files) > 4096:  # noqa: PLR2004 - keep the candidates few
            result.files = nlargest(64, result.files, key=lambda found: found.bytes)
