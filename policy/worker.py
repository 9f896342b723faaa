"""Keep bashlex behind a wall: its own process, little memory, a quarter of a second a line.

bashlex never returns on some lines while its memory grows, so the parent kills and restarts the
process and says "could not tell". The only module of this room that starts a process.
"""

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from policy.errors import CouldNotTellError

LINE_SECONDS = 0.25  # bashlex needs 0.2 ms for an ordinary line
START_SECONDS = 10.0  # importing bashlex on a busy machine, once for each start
MEMORY_BYTES = 192 * 1024 * 1024  # the hanging inputs eat a gigabyte in seconds
MAX_TEXT_BYTES = 16 * 1024  # four times what the strict reader accepts

_LENGTH = struct.Struct(">I")
_READY = b"[]"
_ARGVS, _HIDDEN = b"a", b"h"  # the first byte of a question
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import policy.worker as w; w.serve()"
)


# Where this very package is: an editable install finds it by a hook that the child does without.
_HOME = str(Path(__file__).absolute().parents[1])


class GuardedReader:
    """The second reader for daemons: starts its worker at the first line, safe between threads."""

    def __init__(
        self, *, line_seconds: float = LINE_SECONDS, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._line_seconds = line_seconds
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # the process that started the worker; a fork must not share its pipes
        self._stop: weakref.finalize[..., GuardedReader] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The worker's process id while there is one."""
        return self._process.pid if self._process else None

    def argvs(self, text: str) -> tuple[tuple[str, ...], ...]:
        """The argument vectors bashlex sees; raises `CouldNotTellError` when it is not sure."""
        return tuple(tuple(argv) for argv in self._question(_ARGVS, text))

    def hidden(self, text: str) -> tuple[str, ...]:
        """What bash would run besides the plain commands; nothing when bashlex is not sure."""
        try:
            return tuple(self._question(_HIDDEN, text))
        except CouldNotTellError:
            return ()

    def close(self) -> None:
        """End the worker; the next line starts a new one."""
        with self._lock:
            self._discard()

    def _question(self, kind: bytes, text: str) -> list[Any]:
        data = kind + text.encode("utf-8", "surrogatepass")
        if len(data) > MAX_TEXT_BYTES:
            raise CouldNotTellError("the line is too long for the second reader")
        with self._lock:
            answer = json.loads(self._ask(data))
        if isinstance(answer, str):
            raise CouldNotTellError(answer)
        return list(answer)

    def _ask(self, data: bytes) -> bytes:
        """Send one line; a worker found dead since the last line is replaced once."""
        for attempt in (1, 2):
            fresh = self._process is None or self._owner != os.getpid()
            process = self._start() if fresh else self._process
            try:
                return _exchange(process, data, self._line_seconds)  # type: ignore[arg-type]  # started above
            except TimeoutError as error:
                self._discard()
                raise CouldNotTellError("the second reader ran out of time") from error
            except (EOFError, OSError) as error:
                self._discard()
                if fresh or attempt == 2:  # noqa: PLR2004
                    raise CouldNotTellError("the second reader ended unexpectedly") from error
        raise CouldNotTellError("the second reader does not start")

    def _start(self) -> subprocess.Popen[bytes]:
        self._discard()
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and our own module
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                _CHILD,
                json.dumps([_HOME, *(str(Path(entry).absolute()) for entry in sys.path)]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env={"SENTINEL_WORKER": f"{os.getpid()} {self._memory_bytes} {self._line_seconds}"},
        )
        self._process, self._owner = process, os.getpid()
        self._stop = weakref.finalize(self, _end, process, self._owner)
        try:
            ready = _receive(process, time.monotonic() + START_SECONDS)
        except (EOFError, OSError) as error:
            self._discard()
            raise CouldNotTellError("the second reader does not start") from error
        if ready != _READY:
            self._discard()
            raise CouldNotTellError("the second reader started wrongly")
        return process

    def _discard(self) -> None:
        if self._stop:
            self._stop()
        self._process = self._stop = None


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Close the pipes and kill the worker; it holds nothing that could be lost."""
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
    if os.getpid() != owner:
        process.returncode = 0  # a fork's copy: the worker is another process's child
        return
    process.kill()
    process.wait()


def _exchange(process: subprocess.Popen[bytes], data: bytes, seconds: float) -> bytes:
    if process.stdin is None:
        raise EOFError
    process.stdin.write(_LENGTH.pack(len(data)) + data)
    return _receive(process, time.monotonic() + seconds)


def _receive(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    (length,) = _LENGTH.unpack(_read_exactly(process, _LENGTH.size, deadline))
    return _read_exactly(process, length, deadline)


def _read_exactly(process: subprocess.Popen[bytes], size: int, deadline: float) -> bytes:
    if process.stdout is None:
        raise EOFError
    pipe = process.stdout.fileno()
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    data = b""
    while len(data) < size:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError
        piece = os.read(pipe, size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def serve() -> None:
    """The worker's life: limits first, then one answer for each line until the pipe closes."""
    parent, memory, seconds = os.environ["SENTINEL_WORKER"].split()
    _limit(int(memory))
    from policy import syntax  # noqa: PLC0415  # bashlex is loaded in the worker only

    if os.getppid() != int(parent):
        return  # the parent died before the death signal was armed
    _send(_READY)
    while (head := sys.stdin.buffer.read(_LENGTH.size)) and len(head) == _LENGTH.size:
        data = sys.stdin.buffer.read(_LENGTH.unpack(head)[0])
        # The default action of SIGALRM ends us even when the parent is gone or stopped.
        signal.setitimer(signal.ITIMER_REAL, float(seconds) * 2)
        try:
            text = data[1:].decode("utf-8", "surrogatepass")
            answer: object = syntax.hidden(text) if data[:1] == _HIDDEN else syntax.read(text)
        except CouldNotTellError as error:
            answer = str(error)[:500]
        _send(json.dumps(answer).encode())
        signal.setitimer(signal.ITIMER_REAL, 0)


def _send(data: bytes) -> None:
    sys.stdout.buffer.write(_LENGTH.pack(len(data)) + data)
    sys.stdout.buffer.flush()


def _limit(memory_bytes: int) -> None:
    import ctypes  # noqa: PLC0415  # the parent needs neither of the two
    import resource  # noqa: PLC0415

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
