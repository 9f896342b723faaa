"""One host with systemd as process 1, in a network without a way out: what the lab script makes."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

NAME = "h1"


class Host:
    """A running host; its files are seen from outside through its first process."""

    def __init__(self, script: str) -> None:
        self._script = script

    @classmethod
    @contextlib.contextmanager
    def up(cls) -> Iterator["Host"]:
        """Made, booted, and gone afterwards."""
        host = cls(os.environ["SENTINEL_LAB"])
        host.lab("prep")
        host.lab("up", "1")
        try:
            yield host
        finally:
            host.lab("down")

    def lab(self, *words: str, data: bytes | None = None) -> str:
        """Ask the lab script; its output."""
        done = subprocess.run(
            ["/bin/bash", self._script, *words], input=data, capture_output=True, check=False
        )
        assert done.returncode == 0, (words, done.stdout.decode(), done.stderr.decode())
        return done.stdout.decode()

    def run(self, *words: str, check: bool = True) -> str:
        """Run a command in the host as its administrator would; its output."""
        done = subprocess.run(
            ["/bin/bash", self._script, "exec", NAME, *words],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        said = done.stdout.decode("utf-8", "replace")
        if check:
            assert done.returncode == 0, (words, said, done.stderr.decode("utf-8", "replace"))
        return said

    def sh(self, text: str, *, check: bool = True) -> str:
        """A line for the host's shell."""
        return self.run("/bin/sh", "-c", text, check=check)

    @property
    def root(self) -> Path:
        """The host's file system as seen from here."""
        (line,) = [line for line in self.lab("status").splitlines() if "leader=" in line]
        return Path("/proc", line.split("leader=")[1].split()[0], "root")

    def put(self, source: Path, folder: str) -> None:
        """Copy a file or a tree into a folder of the host."""
        self.run("mkdir", "-p", folder)
        self.lab("put", NAME, str(source), folder)

    def write(self, path: str, text: str, *, mode: str = "644") -> None:
        """A file of root's in the host."""
        self.lab("exec", NAME, "/bin/sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path}",
                 data=text.encode())  # fmt: skip
        self.run("chmod", mode, path)

    def units(self, pattern: str = "sentinel-order-*") -> list[str]:
        """The units of orders that systemd knows."""
        listed = self.run("systemctl", "list-units", "--all", "--plain", "--no-legend", pattern)
        return [line.split()[0] for line in listed.splitlines() if line.strip()]

    def alive(self, pid: int) -> bool:
        """Whether the host has this process, and it is no zombie."""
        try:
            data = (self.root / f"proc/{pid}/stat").read_text()
        except OSError:
            return False
        return data.rpartition(")")[2].split()[0] not in "ZX"


def wait_for(condition: Callable[[], Any], *, within_s: float = 20) -> Any:
    """Until the condition holds; what it gave."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
    return found
