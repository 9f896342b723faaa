"""The model's process: loads the model it is told to, then answers questions, one at a time.

Started by `hub/reason/process.py` with one end of a socket pair as its standard input. It ends
when that end closes, dies with its parent, leaves no core file with evidence in it, and has no
more memory than its parent allows.
"""

import ctypes
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path
from time import monotonic

from appliance.errors import SentinelError
from hub.reason.errors import CancelledError
from hub.reason.frames import (
    Ask,
    ClosedError,
    Failed,
    Load,
    Ready,
    Stop,
    ToParent,
    receive_to_child,
    send,
)

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


def main(argv: list[str]) -> int:
    """Serve one parent: `child.py PARENT_PID MEMORY_LIMIT_BYTES`."""
    _confine(parent=int(argv[0]), memory_limit_bytes=int(argv[1]))
    end = socket.socket(fileno=0)
    end.settimeout(None)
    try:
        return _serve(end)
    except ClosedError:
        return 0


def _confine(*, parent: int, memory_limit_bytes: int) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked to be told
        raise SystemExit(0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # no core file, and no debugger of the same user
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_limit_bytes, memory_limit_bytes))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business


def _serve(end: socket.socket) -> int:
    wanted = receive_to_child(end)
    if not isinstance(wanted, Load):
        return 2
    try:
        began = monotonic()
        model, sha256 = _load(wanted)
    except (SentinelError, OSError, ValueError, MemoryError) as error:
        send(end, Failed(reason=_sentence(error)))
        return 1
    send(end, Ready(sha256=sha256, load_ms=round((monotonic() - began) * 1000)))
    while True:
        message = receive_to_child(end)
        if isinstance(message, Ask):  # a late Stop for an answer already sent is nothing to do
            send(end, _answered(model, message, end))


def _load(wanted: Load):  # type: ignore[no-untyped-def]  # noqa: ANN202 - its type is in llama.py
    from hub.reason.llama import LlamaModel, sha256_of  # noqa: PLC0415 - after the limits

    path = Path(wanted.path)
    sha256 = sha256_of(path)
    if wanted.sha256 is not None and sha256 != wanted.sha256:
        raise ValueError(f"its SHA-256 is {sha256}, expected {wanted.sha256}")
    model = LlamaModel(
        path, sha256=sha256, context_tokens=wanted.context_tokens, threads=wanted.threads
    )
    return model, sha256


def _answered(model, question: Ask, end: socket.socket) -> ToParent:  # type: ignore[no-untyped-def]  # noqa: ANN001
    def go_on() -> bool:
        if not select.select([end], [], [], 0)[0]:
            return True
        return not isinstance(receive_to_child(end), Stop)

    try:
        answer: ToParent = model.answer(question, go_on=go_on)
    except CancelledError:
        return Failed(reason="told to stop", stopped=True)
    except (SentinelError, ValueError, MemoryError) as error:
        return Failed(reason=_sentence(error))
    return answer


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"cannot read it: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
