"""The model in a process of its own, so that nothing it does can end the reasoner.

A crash (SIGSEGV, SIGABRT, out of memory), a corrupt file, a wrong digest or a passed deadline
costs one attempt and is told in one line with the model's file name. The process starts again at
the next question; a file that did not load is not tried again until it changes or a while passes.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import msgspec

from appliance.journal import shown
from hub.reason.errors import CancelledError, ModelError
from hub.reason.frames import (
    Answer,
    Ask,
    ClosedError,
    Failed,
    Load,
    Ready,
    Stop,
    ToParent,
    receive_to_parent,
    send,
)
from hub.reason.settings import ReasonSettings

TICK_S = 0.1  # how often a waiting parent looks whether it should go on waiting
GIVE_UP_S = 5.0  # how long a child may take to give up a question before it is killed
_PASSED_ON = ("PATH", "LANG", "LD_LIBRARY_PATH", "LLAMA_CPP_LIB_PATH", "PYTHONPATH", "TMPDIR")
REST_S = 60.0  # before a file that did not load is tried again


class Loaded(NamedTuple):
    """A model file, as it was when it was read."""

    name: str
    sha256: str


class ModelProcess:
    """The child that holds the model; started at the first question and kept between incidents."""

    def __init__(self, settings: ReasonSettings) -> None:
        if settings.model is None:
            raise ValueError("a model process needs a model")
        self._settings, self._path = settings, settings.model
        self._child: subprocess.Popen[bytes] | None = None
        self._end: socket.socket | None = None
        self._refused: tuple[str, tuple[int, ...], float] | None = None  # why, which file, when
        self._trouble: str | None = None
        self._loaded: Loaded | None = None

    @property
    def loaded(self) -> Loaded | None:
        """The model that was loaded last."""
        return self._loaded

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.pid if self._child else None

    @property
    def trouble(self) -> str | None:
        """What went wrong last, None while all is well."""
        return self._trouble

    def warm(self) -> None:
        """Load the model now; what goes wrong is remembered and told at the first question."""
        with contextlib.suppress(ModelError):
            self._started(lambda: None)

    def ask(self, question: Ask, *, go_on: Callable[[], bool]) -> Answer:
        """One answer within the deadline; raises `ModelError`, or `CancelledError`."""
        watch = _Watch(go_on)
        end = self._started(watch.tick)
        deadline = monotonic() + self._settings.deadline_s
        watch.on_stop = lambda: send(end, Stop())
        message = self._exchange(end, question, deadline=deadline, tick=watch.tick)
        if isinstance(message, Answer):
            self._trouble = None
            return message
        if isinstance(message, Failed) and message.stopped:
            raise CancelledError("the question was given up")
        raise self._error(message.reason if isinstance(message, Failed) else "it lost its place")

    def close(self) -> None:
        """End the child."""
        if self._end:
            self._end.close()
        if self._child:
            self._child.kill()
            self._child.wait()
        self._child = self._end = None

    def _started(self, tick: Callable[[], None]) -> socket.socket:
        if self._end is not None and self._child is not None and self._child.poll() is None:
            return self._end
        self.close()
        if self._refused:
            why, file, at = self._refused
            if file == _identity(self._path) and monotonic() - at < REST_S:
                raise self._error(why)
        wanted = Load(
            path=str(self._path.absolute()),
            sha256=self._settings.model_sha256,
            context_tokens=self._settings.context_tokens,
            threads=self._settings.usable_threads(),
        )
        end = self._spawn()
        deadline = monotonic() + self._settings.load_s
        try:
            message = self._exchange(end, wanted, deadline=deadline, tick=tick)
            if not isinstance(message, Ready):
                self.close()
                raise self._error(getattr(message, "reason", "it did not load"))
        except ModelError as error:
            why = str(error).removeprefix(f"model {self._path.name}: ")
            self._refused = (why, _identity(self._path), monotonic())
            raise
        self._refused = self._trouble = None
        self._loaded = Loaded(name=self._path.name, sha256=message.sha256)
        return end

    def _spawn(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(TICK_S)
        with theirs:
            self._child = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
                [
                    sys.executable,
                    "-m",
                    "hub.reason.child",
                    str(os.getpid()),
                    str(self._settings.memory_limit_bytes()),
                ],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # the library's own words; what matters comes as Failed
                env=_environment(),
            )
        self._end = ours
        return ours

    def _exchange(
        self, end: socket.socket, message: Load | Ask, *, deadline: float, tick: Callable[[], None]
    ) -> ToParent:
        try:
            send(end, message)
            return receive_to_parent(end, deadline=deadline, tick=tick)
        except ClosedError as error:
            raise self._error(self._ended()) from error
        except TimeoutError as error:
            self.close()
            raise self._error("no answer within the deadline; its process was killed") from error
        except msgspec.DecodeError as error:
            self.close()
            raise self._error("its process answered with something else") from error
        except CancelledError:
            self.close()
            raise

    def _ended(self) -> str:
        """How the child ended, in words."""
        if self._child is None:
            return "its process is gone"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=GIVE_UP_S)
        status = self._child.poll()
        self.close()
        if status is not None and status < 0:
            name = signal.Signals(-status).name
            hint = " (killed, perhaps for want of memory)" if name == "SIGKILL" else ""
            return f"its process crashed with {name}{hint}"
        return f"its process ended with status {status}"

    def _error(self, why: str) -> ModelError:
        self._trouble = f"model {self._path.name}: {shown(why, most=400)}"
        return ModelError(self._trouble)


def _environment() -> dict[str, str]:
    """What the child needs and nothing else of ours; no debugger is started when it crashes."""
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        "GGML_NO_BACKTRACE": "1",
    }


class _Watch:
    """Asks whether to go on while waiting; says stop once, and gives up when that is not heard."""

    def __init__(self, go_on: Callable[[], bool]) -> None:
        self._go_on = go_on
        self._stopped_at: float | None = None
        self.on_stop: Callable[[], None] | None = None

    def tick(self) -> None:
        if self._stopped_at is not None:
            if monotonic() - self._stopped_at > GIVE_UP_S:
                raise CancelledError("the question was given up, and its process killed")
            return
        if self._go_on():
            return
        if self.on_stop is None:
            raise CancelledError("given up while the model was loading")
        self._stopped_at = monotonic()
        self.on_stop()


def _identity(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
