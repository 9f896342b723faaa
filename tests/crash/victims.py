"""Processes that count what is done to them: the effect of an order, seen from outside."""

import contextlib
import signal
import subprocess
import sys
from typing import Self

# Signals that wait are taken in the order of their numbers, so a mark comes after what was sent
# before it: SIGTERM is 15, SIGRTMIN at least 32.
_CODE = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode())
both = {signal.SIGTERM, signal.SIGRTMIN}
signal.pthread_sigmask(signal.SIG_BLOCK, both)
os.write(1, b"!")
while True:
    os.write(1, b"T" if signal.sigwait(both) == signal.SIGTERM else b"!")
"""


class Victim:
    """Survives SIGTERM and counts it: an order's `kill -TERM` is one effect."""

    def __init__(self, name: str = "victim") -> None:
        words = [sys.executable, "-c", _CODE, name]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE)
        self._seen = 0
        self._until_the_mark()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def command(self) -> str:
        """The command whose effect is counted."""
        return f"kill -TERM {self.pid}"

    def count(self) -> int:
        """How often it was signalled so far; nothing sent before is missed."""
        self._process.send_signal(signal.SIGRTMIN)
        self._until_the_mark()
        return self._seen

    def end(self) -> None:
        self._process.kill()
        with contextlib.suppress(ValueError, OSError):
            self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _until_the_mark(self) -> None:
        assert self._process.stdout is not None
        while (sign := self._process.stdout.read(1)) != b"!":
            assert sign == b"T", "the victim has ended"
            self._seen += 1
