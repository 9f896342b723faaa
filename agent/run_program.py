"""How a canonical program becomes processes: plans of what to start, decided before anything is.

No shell is involved. Pipes are ours, `&&`, `||` and `;` are ours, and the environment is small
and fixed. Starting processes is left to `agent/execute.py`.
"""

import hashlib
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class Output:
    """What a command printed: all of it counted and hashed, the first 64 KiB kept."""

    total: int = 0
    kept: bytearray = field(default_factory=bytearray)
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, data: bytes) -> None:
        """Take in what was read."""
        self.total += len(data)
        self.digest.update(data)
        self.kept += data[: MAX_OUTPUT_BYTES - len(self.kept)]

    def text(self) -> str:
        """What was kept, as text: control characters visible, lines and tabs kept."""
        return self.kept.decode("utf-8", "replace").translate(_SHOWN)[:MAX_OUTPUT_BYTES]
