"""Where systemd does not run: each command a process with limits, confined as the kernel can.

`agent/confine.py` makes itself small and becomes the program. All that a command leaves behind is
found and ended, too: this process adopts orphans (`prctl.adopt_orphans`), so what called setsid
comes back as a child of ours. What this place cannot do, a unit can: limit the memory of all
processes of a command together, and their number under root other than by counting them.
"""

import contextlib
import dataclasses
import os
import signal
import socket
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import msgspec

from agent import confine, prctl
from agent.command_limits import CommandLimits
from agent.ended import Ended, of_status
from agent.run_program import Command, Started
from agent.sandbox import CAPABILITIES, Sandbox

_LAUNCHER = str(Path(__file__).with_name("confine.py"))
_MB = 1024 * 1024
_COUNT_EVERY_S = 0.1
_ORPHANS_S = 10.0
_ADDRESS_SPACE = 8  # times the memory: libraries, mapped files and what is only reserved count, too


class Plain:
    """A process with limits as the place where commands run."""

    def __init__(self, limits: CommandLimits | None = None) -> None:
        self.limits = limits or CommandLimits()
        self.known: frozenset[int] = frozenset()  # children that are not a command's
        self._next = 0.0
        version = confine.landlock_version()
        parts = ["limits"]
        parts += [f"Landlock {version}"] if version else []
        parts += ["seccomp"] if confine.has_seccomp() else []
        self.words = f"no systemd here; each command in a process with {', '.join(parts)}"

    def argv(self, command: Command, *, seconds: float) -> list[str]:
        """The launcher that becomes the command."""
        spec = msgspec.json.encode(self._spec(command.sandbox, seconds)).decode()
        launcher = [sys.executable, "-I", "-S", "-B", _LAUNCHER]
        return [*launcher, spec, command.file, *command.argv]

    def begin(self) -> None:
        """What is our child now is no orphan of a command."""
        prctl.adopt_orphans()
        self.known = frozenset(strangers())

    def watch(self, started: Started) -> str:
        """Words when there are too many processes: the kernel does not count those of root."""
        now = time.monotonic()
        if now < self._next:
            return ""
        self._next = now + _COUNT_EVERY_S
        if len(below({process.pid for _, process in started})) <= self.limits.tasks:
            return ""
        return f"it started more than {self.limits.tasks} processes"

    def end(self, started: Started, *, in_time: bool) -> list[Ended]:  # noqa: ARG002 - all goes
        """How each command ended; what is left of them is killed."""
        for _, process in started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        statuses = [process.wait() for _, process in started]
        left = end_orphans(self.known)
        ends = [of_status(status, self.limits) for status in statuses]
        if left:
            ends[-1] = dataclasses.replace(ends[-1], because=left)
        return ends

    def _spec(self, sandbox: Sandbox, seconds: float) -> dict[str, object]:
        limits = self.limits
        free = sandbox.whole_host
        # Landlock keeps a program from looking into processes outside, and from mounting.
        fitting = sandbox.needs.isdisjoint(("processes", "remount", "whole-host"))
        return {
            "limits": {
                "RLIMIT_CPU": max(1, round(seconds * max(1.0, limits.cpu_percent / 100)) + 1),
                "RLIMIT_DATA": limits.memory_mb * _MB,
                "RLIMIT_AS": limits.memory_mb * _MB * _ADDRESS_SPACE,
                "RLIMIT_FSIZE": limits.file_mb * _MB,
                "RLIMIT_NOFILE": limits.open_files,
                "RLIMIT_CORE": 0,
            },
            "umask": 0o022 if free else 0o077,
            "capabilities": None if free else [CAPABILITIES[name] for name in sandbox.capabilities],
            "families": None if free else [_family(name) for name in sandbox.families],
            "landlock": {
                "writes": [*sandbox.writes, *(["/dev"] if "devices" in sandbox.needs else [])],
                "network": sandbox.network,
                "sockets": "AF_UNIX" in sandbox.families,
                "signals": sandbox.signals,
            }
            if fitting
            else None,
        }


def _family(name: str) -> int:
    return int(getattr(socket, name))


def below(roots: Collection[int]) -> set[int]:
    """All living processes that descend from these, themselves included."""
    parents = {pid: one.parent for pid, one in _processes().items() if one.alive}
    found = set(roots) & parents.keys()
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def strangers() -> set[int]:
    """Our children in sessions of others, those included that were not waited for.

    A command begins a session, and nothing it starts comes into ours. Other processes that this
    one starts, for questions, stay in it.
    """
    here, session = os.getpid(), os.getsid(0)
    return {
        pid for pid, one in _processes().items() if one.parent == here and one.session != session
    }


def end_orphans(known: Collection[int]) -> str:
    """Kill and reap what came back to us and is not known; words when that does not end.

    Again until there is none: killing a parent brings us its children.
    """
    until = time.monotonic() + _ORPHANS_S
    while left := strangers() - set(known):
        for pid in below(left):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        if time.monotonic() > until:
            return "what it left running starts itself again faster than it can be killed"
    return ""


class _Process(NamedTuple):
    parent: int
    session: int
    alive: bool


def _processes() -> dict[int, _Process]:
    """Every process of this host (proc(5), fields 3, 4 and 6 of stat)."""
    found: dict[int, _Process] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - quick, while a bomb goes off
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError):
                with open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123 - as above
                    data = file.read()
                state, parent, _, session = data[data.rindex(b")") + 2 :].split(None, 4)[:4]
                alive = state not in {b"Z", b"X"}
                found[int(entry)] = _Process(int(parent), int(session), alive)
    return found
