"""Whether this node runs anything: the halts in force, in a small file that outlives everything.

Halting is anybody's who may speak to the executor; it can only make the node do less. A halt of
the hub is lifted by an administrator's own signature (`agent/resume.py`), every halt by root on
the node itself. A file that cannot be read halts the node: doubt is a no.
"""

import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from agent.durable import write_durably
from appliance.errors import RefusedError
from appliance.halt import Halt
from appliance.records import Record, from_json, to_json

MOST_IN_FORCE = 64  # a hub that sends halts without end fills no disk; one is enough to stop
MOST_LIFTED = 1000

Whose = Literal["hub", "node"]


class InForce(Record, frozen=True, kw_only=True):
    """One halt, since when, and whose word it was."""

    halt: Halt
    whose: Whose
    at: datetime


class _Kept(Record, frozen=True, kw_only=True):
    in_force: tuple[InForce, ...] = ()
    lifted: tuple[str, ...] = ()  # ids that are used up, the newest last


class Halts:
    """The halts of one node. Safe between threads, and beside another process that writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._mark: tuple[int, int, int] | None = None
        self._kept = _Kept()
        self._read = False

    @property
    def in_force(self) -> tuple[InForce, ...]:
        """What halts this node now; empty: it runs what passes."""
        with self._lock:
            return self._now().in_force

    @property
    def reason(self) -> str:
        """Why it is halted, in one line; empty when it is not."""
        return "; ".join(one.halt.reason or "no reason was given" for one in self.in_force)

    def halt(self, halt: Halt, *, whose: Whose, now: datetime) -> bool:
        """Put a halt in force, on disk when this returns; False when its id is used up."""
        with self._lock:
            kept = self._now()
            if halt.halt_id in kept.lifted:
                return False
            known = any(one.halt.halt_id == halt.halt_id for one in kept.in_force)
            if not known and len(kept.in_force) < MOST_IN_FORCE:
                added = InForce(halt=halt, whose=whose, at=now)
                self._write(msgspec.structs.replace(kept, in_force=(*kept.in_force, added)))
            return True

    def of(self, halt_id: str) -> InForce | None:
        """The halt of this id, if it is in force."""
        return next((one for one in self.in_force if one.halt.halt_id == halt_id), None)

    def lift(self, halt_id: str) -> None:
        """End this halt, for good."""
        with self._lock:
            kept = self._now()
            left = tuple(one for one in kept.in_force if one.halt.halt_id != halt_id)
            self._write(_Kept(in_force=left, lifted=(*kept.lifted, halt_id)[-MOST_LIFTED:]))

    def lift_all(self) -> None:
        """End every halt, for good."""
        with self._lock:
            kept = self._now()
            gone = tuple(one.halt.halt_id for one in kept.in_force)
            self._write(_Kept(lifted=(*kept.lifted, *gone)[-MOST_LIFTED:]))

    def _now(self) -> _Kept:
        """What the file says; it is read again only when it is another than last time."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - asked twenty times a second
            mark = (found.st_ino, found.st_mtime_ns, found.st_size)
        except FileNotFoundError:
            mark = None
        except OSError:
            return _unreadable()
        if mark != self._mark or not self._read:
            self._kept = _load(self._path) if mark else _Kept()
            self._mark, self._read = mark, True
        return self._kept

    def _write(self, kept: _Kept) -> None:
        # From here on a restart finds the node as halted, or not, as is now said.
        write_durably(self._path, to_json(kept))


def _load(path: Path) -> _Kept:
    try:
        return from_json(path.read_bytes(), _Kept)
    except (OSError, RefusedError):
        return _unreadable()


def _unreadable() -> _Kept:
    halt = Halt(halt_id="unreadable", reason="the file of halts cannot be read")
    return _Kept(in_force=(InForce(halt=halt, whose="node", at=datetime.fromtimestamp(0, UTC)),))
