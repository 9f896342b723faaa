"""How a canonical program becomes processes: plans of what to start, decided before anything is.

No shell is involved. Pipes are ours, `&&`, `||` and `;` are ours, and the environment is small
and fixed. Starting processes is left to `agent/execute.py`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.ended import Ended
from agent.redact import secrets_hidden
from agent.sandbox import Sandbox
from appliance.records import MAX_OUTPUT_BYTES
from policy.reader import Pipeline

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",
    "PAGER": "cat",
    "SYSTEMD_PAGER": "cat",
    "SYSTEMD_COLORS": "0",
    "GIT_PAGER": "cat",
}
WORKING_FOLDER = "/"

_SHOWN = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), 127, *range(128, 160))}


def runs_next(pipeline: Pipeline, status: int) -> bool:
    """Whether a pipeline runs after one that ended with this status."""
    return {"": True, ";": True, "&&": status == 0, "||": status != 0}[pipeline.join]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command that passed every check: what to start, and what it is granted."""

    name: str  # of the order, the step and the place in it; for the unit
    file: str  # absolute
    argv: tuple[str, ...]  # as it was judged; the first is the name the plan wrote
    sandbox: Sandbox


class Process(Protocol):
    """What is used of `subprocess.Popen`."""

    pid: int
    returncode: int

    def poll(self) -> int | None:
        """Its status, when it has ended."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Its status, once it has ended; raises `subprocess.TimeoutExpired`."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...


Started = Sequence[tuple[Command, Process]]


class Place(Protocol):
    """Where commands run: a systemd unit each, or a process with limits."""

    @property
    def words(self) -> str:
        """What kind of place this is, for people."""
        ...

    def begin(self) -> None:
        """A step is about to run; nothing of it has been started."""
        ...

    def argv(self, command: Command, *, seconds: float) -> list[str]:
        """What to start, so that the command runs here."""
        ...

    def watch(self, started: Started) -> str:
        """Words when what was started passes a limit that only this place sees."""
        ...

    def end(self, started: Started, *, in_time: bool) -> list[Ended]:
        """When this returns nothing of what was started runs any more; how each ended."""
        ...


_SPARE_BYTES = 8 * 1024  # kept to recognise a secret that the cut would divide; never shown


@dataclass(slots=True)
class Output:
    """What a command printed: all of it counted and hashed, the first 64 KiB kept.

    The hash is over the bytes as they came, before anything is redacted or cut: it shows that two
    outputs were the same, and whoever still has the output that it is this one. From the redacted
    text an auditor cannot compute it again.
    """

    total: int = 0
    kept: bytearray = field(default_factory=bytearray)
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, data: bytes) -> None:
        """Take in what was read."""
        self.total += len(data)
        self.digest.update(data)
        self.kept += data[: MAX_OUTPUT_BYTES + _SPARE_BYTES - len(self.kept)]

    def text(self) -> str:
        """What was kept, as text without secrets: control characters visible, lines kept.

        Secrets are looked for in a little more than is shown: half a token at the cut is no token
        any more, and half a secret.
        """
        text = secrets_hidden(self.kept.decode("utf-8", "replace").translate(_SHOWN))
        if self.total > len(self.kept):
            text = text[:-_SPARE_BYTES]
        return text[:MAX_OUTPUT_BYTES]
