"""What the reasoner and the model's process say to each other: length, then JSON.

Both ends run our code, but what the child sends was made beside a model file from outside, so
the parent reads it as strictly as anything: bounded, typed, unknown fields refused.
"""

import socket
import struct
from collections.abc import Callable
from time import monotonic

import msgspec

from appliance.records import Digest, Record
from hub.reason.prompt import Prompt

MAX_FRAME_BYTES = 1024 * 1024
_LENGTH = struct.Struct("!I")


class Load(Record, frozen=True, kw_only=True, tag="load"):
    """First message to the child: which model to load, and how."""

    path: str
    sha256: str | None
    context_tokens: int
    threads: int


class Ask(Record, frozen=True, kw_only=True, tag="ask"):
    """One question; its answer belongs to the grammar."""

    prompt: Prompt
    grammar: str
    most_tokens: int
    seed: int


class Stop(Record, frozen=True, kw_only=True, tag="stop"):
    """Give up the question in hand."""


class Ready(Record, frozen=True, kw_only=True, tag="ready"):
    """The model is loaded."""

    sha256: Digest
    load_ms: int


class Answer(Record, frozen=True, kw_only=True, tag="answer"):
    """What the model answered, and how the answer was produced."""

    text: str
    model: str
    model_sha256: Digest
    seed: int
    parameters: dict[str, int | str]
    prompt_sha256: Digest
    prompt_tokens: int
    reused_tokens: int  # of the prompt, still in memory from the question before
    output_tokens: int  # sampled and forced
    forced_tokens: int  # appended where the grammar left one way
    prompt_ms: int
    output_ms: int


class Failed(Record, frozen=True, kw_only=True, tag="failed"):
    """No answer, and why, in one line."""

    reason: str
    stopped: bool = False  # because it was told to


ToChild = Load | Ask | Stop
ToParent = Ready | Answer | Failed


class ClosedError(Exception):
    """The other end is gone."""


def send(end: socket.socket, message: ToChild | ToParent) -> None:
    """Send one message; raises `ClosedError` when nobody reads any more."""
    body = msgspec.json.encode(message)
    try:
        end.sendall(_LENGTH.pack(len(body)) + body)
    except OSError as error:
        raise ClosedError(str(error)) from error


def receive_to_child(end: socket.socket) -> ToChild:
    """The next message to the child; waits for it."""
    message: ToChild = msgspec.json.decode(_frame(end, lambda: None), type=ToChild)
    return message


def receive_to_parent(end: socket.socket, *, deadline: float, tick: Callable[[], None]) -> ToParent:
    """The next message of the child, by a monotonic deadline; `tick` is called while waiting.

    Raises `TimeoutError`, `ClosedError`, or `msgspec.DecodeError` for what is no message.
    """

    def waiting() -> None:
        tick()
        if monotonic() > deadline:
            raise TimeoutError

    message: ToParent = msgspec.json.decode(_frame(end, waiting), type=ToParent)
    return message


def _frame(end: socket.socket, waiting: Callable[[], None]) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(end, _LENGTH.size, waiting))
    if length > MAX_FRAME_BYTES:
        raise ClosedError(f"a message of {length} bytes, at most {MAX_FRAME_BYTES}")
    return _exactly(end, length, waiting)


def _exactly(end: socket.socket, length: int, waiting: Callable[[], None]) -> bytes:
    data = bytearray()
    while len(data) < length:
        try:
            part = end.recv(length - len(data))
        except TimeoutError:  # the socket's own short time-out
            waiting()
            continue
        except OSError as error:
            raise ClosedError(str(error)) from error
        if not part:
            raise ClosedError("closed")
        data += part
    return bytes(data)
