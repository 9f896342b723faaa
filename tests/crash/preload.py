"""The tests' side of `crashpoint.c`: build it, arm it, read what it saw.

The library is compiled once per test session into a temporary folder; `crashpoint.c` says what it
does. A `Watched` is one process's folder under watch: its environment, its shared page, its trace.
"""

import errno
import mmap
import os
import shutil
import struct
import subprocess
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import pytest

from tests.crash.power import Loss

SOURCE = Path(__file__).with_name("crashpoint.c")
WHOLE = os.environ.get("SENTINEL_CRASH_POINTS") == "all"
_CONTROL = struct.Struct("7I240s")  # as in crashpoint.c
_ARMED = struct.Struct("I")


class Action(IntEnum):
    """What happens at the chosen call, as in `crashpoint.c`."""

    NOTHING = 0
    KILL = 1
    FAIL = 2
    SHORT = 3
    HANGUP = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One call of the write path: what it does to what, and the how-manieth of this kind."""

    label: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.label} #{self.occurrence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """What happens at a point."""

    point: Point
    action: Action = Action.KILL
    after: bool = False
    error: int = 0
    loss: Loss = Loss.NOTHING  # after a kill, where a world takes one way to lose at a time

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What may be lost there. A disk that fails is enough: the power stays."""
        if self.action is not Action.KILL:
            return (Loss.NOTHING,)
        return (Loss.NOTHING, Loss.ALL) if self.after else tuple(Loss)

    def __str__(self) -> str:
        what = self.action.name.lower() + (f" {errno.errorcode[self.error]}" if self.error else "")
        lost = "" if self.loss is Loss.NOTHING else f", losing {self.loss.value}"
        return f"{what} {'after' if self.after else 'before'} {self.point}{lost}"


def build(folder: Path) -> Path:
    """Compile the library; without a C compiler a proof fails, and a test is skipped."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        (pytest.fail if WHOLE else pytest.skip)("needs a C compiler")
    library = folder / "crashpoint.so"
    words = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*words, "-o", str(library), str(SOURCE), "-ldl", "-lpthread"], check=True)
    return library


class Watched:
    """A folder whose process is watched, and struck when armed."""

    def __init__(self, library: Path, root: Path, beside: Path) -> None:
        self.root = root
        self.shadow = beside / "shadow"
        self.shadow.mkdir(parents=True)
        self._trace = beside / "trace"
        self._trace.touch()
        page = beside / "control"
        page.write_bytes(bytes(mmap.PAGESIZE))
        with page.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.environment = {
            "LD_PRELOAD": str(library),
            "CRASH_ROOT": str(root),
            "CRASH_SHADOW": str(self.shadow),
            "CRASH_CONTROL": str(page),
            "CRASH_TRACE": str(self._trace),
        }

    def arm(self, blow: Blow) -> None:
        """Count from now on, and strike once."""
        point = blow.point
        self._page[: _CONTROL.size] = _CONTROL.pack(
            0, point.occurrence, 0, 0, blow.action, blow.after, blow.error, point.label.encode()
        )
        self._page[: _ARMED.size] = _ARMED.pack(1)

    def disarm(self) -> None:
        """Only watch."""
        self._page[: _ARMED.size] = _ARMED.pack(0)

    @property
    def struck(self) -> bool:
        """Whether the chosen call was reached since it was armed."""
        fields = _CONTROL.unpack(self._page[: _CONTROL.size])
        return bool(fields[3])

    def mark(self) -> int:
        """A place in the trace; `points` tells what came after it."""
        return self._trace.stat().st_size

    def points(self, since: int = 0) -> list[Point]:
        """The calls since a mark, in order."""
        seen: Counter[str] = Counter()
        found = []
        for label in self._trace.read_bytes()[since:].decode().splitlines():
            seen[label] += 1
            found.append(Point(label=label, occurrence=seen[label]))
        return found

    def forget(self) -> None:
        """Before a fresh process: all that is in the folder counts as durable."""
        shutil.rmtree(self.shadow)
        self.shadow.mkdir()

    def around(self) -> dict[str, str]:
        """The environment for the process."""
        return {**os.environ, **self.environment}
