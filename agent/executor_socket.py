"""The Unix socket between agent and executor: one request, one answer, one connection.

A frame is four bytes of length (big endian) and JSON. The executor looks at the peer's user
(SO_PEERCRED) before it reads a byte. Requests:

    submit    an envelope → the order's id, which check refused it, or that its proof is stale
    reports   wait up to so many seconds → the reports the agent has not confirmed
    told      the agent has this report in its spool
    witness   a checkpoint of the audit log → where this node stands in it
    undo      an order did not help: take it back, if that was approved with it
    halt      run nothing more; or, with an administrator's signature, run again
    here      root on this node halts, resumes or asks; refused to anybody else
    believe   signed trust from the hub, unopened → what this node believes now, and why not this
"""

import logging
import os
import pwd
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec

from agent.errors import JournalError, LogStaleError, OrderRefusedError, SocketError
from agent.live import Live
from agent.log_proof import NO_PROOF, LogProof, Standing
from appliance.halt import Halt
from appliance.records import Record, Report

# Twice appliance.envelope.MAX_ENVELOPE_BYTES, which is not imported: the agent does without
# cryptography, and so with 10 MB less.
MAX_FRAME_BYTES = 2 * 1024 * 1024
MAX_WAIT_S = 30.0
_TIMEOUT_S = 10.0
_BELIEVE_S = 60.0  # a process of its own verifies; another engine checks every example anew
_CREDENTIALS = struct.Struct("3i")
_LENGTH = struct.Struct(">I")

_log = logging.getLogger(__name__)


class Submit(Record, frozen=True, kw_only=True, tag_field="ask", tag="submit"):
    """Take this order over."""

    envelope: bytes
    proof: LogProof = NO_PROOF


class Reports(Record, frozen=True, kw_only=True, tag_field="ask", tag="reports"):
    """Tell the reports that are not confirmed, as soon as there is one."""

    wait_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_WAIT_S)] = 0.0


class Told(Record, frozen=True, kw_only=True, tag_field="ask", tag="told"):
    """This report is in the agent's spool."""

    report_id: str


class Witness(Record, frozen=True, kw_only=True, tag_field="ask", tag="witness"):
    """Accept this checkpoint, or say why not; without one only say where this node stands."""

    note: Annotated[str, msgspec.Meta(max_length=64 * 1024)] = ""
    proof: LogProof = NO_PROOF


class Undo(Record, frozen=True, kw_only=True, tag_field="ask", tag="undo"):
    """The condition outlasted this order: run its plan's rollback."""

    order_id: str


class HaltNode(Record, frozen=True, kw_only=True, tag_field="ask", tag="halt"):
    """The hub's word: run nothing more; with `resume`, a signed resumption of a halt."""

    halt: Halt
    resume: bytes = b""


class Here(Record, frozen=True, kw_only=True, tag_field="ask", tag="here"):
    """What root does on the node itself."""

    act: Literal["halt", "resume", "state"]
    halt: Halt | None = None


class Believe(Record, frozen=True, kw_only=True, tag_field="ask", tag="believe"):
    """Verify and keep this signed trust; no files: only say what is believed."""

    files: dict[str, bytes] = msgspec.field(default_factory=dict)


Request = Submit | Reports | Told | Witness | Undo | HaltNode | Here | Believe


class Held(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What an executor believes of signed trust."""

    # By TUF role; none: nothing is believed.
    versions: dict[str, int] = msgspec.field(default_factory=dict)
    refusal: str = ""  # why the offered set was not taken
    trouble: str = ""  # why no live order runs under what is believed


class Answer(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The executor's answer; `refused` is the check that said no, `reason` why."""

    order_id: str = ""
    refused: str = ""
    reason: str = ""
    reports: tuple[Report, ...] = ()
    stale: bool = False  # the proof does not start where this node stands, which is `seen_size`
    seen_size: int = 0
    standing: Standing | None = None  # with the answer to `witness`
    dry_run: bool = True  # this node's own setting; with the answer to `reports`
    halted: bool = False  # this and what follows: with the answers to `reports` and `here`
    halt_reason: str = ""
    result_key: str = ""  # public half of the key that signs reports, base64
    last_report: int = 0  # its number
    actions: int = 0  # acting commands of the last hour
    held: Held | None = None  # with the answer to `believe`
    live: Live | None = None  # what runs now, a glimpse; with the answer to `reports`


class Desk(Protocol):
    """What the socket needs of an executor."""

    news: threading.Condition

    def state(self) -> Answer:
        """What the executor says of itself."""
        ...

    def undo(self, order_id: str) -> str:
        """Take the rollback of an order over; its id."""
        ...

    def halt(self, halt: Halt, *, by_root: bool) -> None:
        """Run nothing more."""
        ...

    def resume(self, resumption: bytes) -> None:
        """End a halt of the hub, if an administrator signed that."""
        ...

    def resume_here(self) -> None:
        """End every halt."""
        ...

    def submit(self, envelope: bytes, proof: LogProof) -> str:
        """Take an order over; its id."""
        ...

    def witness(self, note: str, proof: LogProof) -> Standing:
        """Accept a checkpoint, or not; where this node stands."""
        ...

    def believe(self, files: dict[str, bytes]) -> Held:
        """Take signed trust over if it verifies; what is believed now."""
        ...

    def untold(self) -> list[Report]:
        """Reports the agent does not have yet."""
        ...

    def told(self, report_id: str) -> None:
        """The agent has it."""
        ...


class Server:
    """Listens on the socket; each connection has a thread for as long as it takes."""

    def __init__(self, path: Path, desk: Desk, *, agent_user: str | None) -> None:
        self._desk = desk
        self._allowed = {os.geteuid()} | ({_uid(agent_user)} if agent_user else set())
        self._path = path
        self._stopping = threading.Event()
        self.failed = False
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)
            self._listening.bind(str(path))
            path.chmod(0o660)
            if agent_user:
                os.chown(path, -1, pwd.getpwnam(agent_user).pw_gid)
            self._listening.listen(8)
        except OSError as error:
            raise SocketError(f"{path}: cannot listen: {error.strerror or error}") from error
        self._listening.settimeout(0.5)

    def serve(self) -> None:
        """Answer until `stop`."""
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                connection, _ = self._listening.accept()
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()
        self._listening.close()
        self._path.unlink(missing_ok=True)

    def stop(self, *, failed: bool = False) -> None:
        """End `serve` soon."""
        self.failed = self.failed or failed
        self._stopping.set()

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(_TIMEOUT_S)
            try:
                uid = self._demand_known(connection)
                request = msgspec.json.decode(receive(connection), type=Request)
                send(connection, msgspec.json.encode(self._answer_or_refuse(request, uid)))
            except (OSError, msgspec.DecodeError, SocketError) as error:
                _log.warning("a request was not answered: %s", error)
            except JournalError as error:
                _log.critical("%s; nothing more is run", error)
                self.stop(failed=True)

    def _demand_known(self, connection: socket.socket) -> int:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        if uid not in self._allowed:
            raise SocketError(f"refused: process {pid} of user {uid} is not the agent")
        return int(uid)

    def _answer_or_refuse(self, request: Request, uid: int) -> Answer:
        try:
            return self._answer(request, uid)
        except LogStaleError as error:
            standing = self._desk.witness("", NO_PROOF)
            return Answer(stale=True, seen_size=error.seen_size, standing=standing)
        except OrderRefusedError as error:
            _log.warning("%s refused at %s", request.__struct_config__.tag, error)
            return Answer(refused=error.step, reason=error.because)

    def _answer(self, request: Request, uid: int) -> Answer:
        match request:
            case Submit(envelope=envelope, proof=proof):
                return Answer(order_id=self._desk.submit(envelope, proof))
            case Reports(wait_s=wait_s):
                return self._wait(wait_s)
            case Told(report_id=report_id):
                self._desk.told(report_id)
            case Witness(note=note, proof=proof):
                return Answer(standing=self._desk.witness(note, proof))
            case Undo(order_id=order_id):
                return Answer(order_id=self._desk.undo(order_id))
            case HaltNode(halt=halt, resume=b""):
                self._desk.halt(halt, by_root=False)
            case HaltNode(resume=resume):
                self._desk.resume(resume)
            case Here():
                return self._here(request, uid)
            case Believe(files=files):
                return Answer(held=self._desk.believe(files))
        return Answer()

    def _here(self, request: Here, uid: int) -> Answer:
        if uid != os.geteuid():  # the agent may stop us, not let us go on
            raise OrderRefusedError("0 halted", "only root on this node may do this")
        if request.act == "halt" and request.halt is not None:
            self._desk.halt(request.halt, by_root=True)
        elif request.act == "resume":
            self._desk.resume_here()
        return self._desk.state()

    def _wait(self, wait_s: float) -> Answer:
        """Reports, or a change of state, or the end of the time."""
        before = _condition(self._desk.state())
        with self._desk.news:
            self._desk.news.wait_for(
                lambda: (
                    self._stopping.is_set()
                    or bool(self._desk.untold())
                    or _condition(self._desk.state()) != before
                ),
                timeout=wait_s,
            )
        state = self._desk.state()
        return msgspec.structs.replace(state, reports=tuple(self._desk.untold()))


def _condition(state: Answer) -> tuple[bool, str, Live | None]:
    return state.halted, state.halt_reason, state.live


class Client:
    """The agent's side of the socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def submit(self, envelope: bytes, proof: LogProof = NO_PROOF) -> Answer:
        """Hand an order over; when this returns, and is not stale, it is in the journal."""
        return self._ask(Submit(envelope=envelope, proof=proof))

    def witness(self, note: str = "", proof: LogProof = NO_PROOF) -> Answer:
        """Offer a checkpoint of the log; without one, ask where this node stands."""
        return self._ask(Witness(note=note, proof=proof))

    def reports(self, *, wait_s: float = 0.0) -> tuple[Report, ...]:
        """Reports that were not confirmed, waiting up to so long for one."""
        return self.news(wait_s=wait_s).reports

    def news(self, *, wait_s: float = 0.0) -> Answer:
        """The same, with what the executor says about itself."""
        return self._ask(Reports(wait_s=wait_s), patience_s=wait_s)

    def told(self, report_id: str) -> None:
        """Confirm a report; only once it is in the spool."""
        self._ask(Told(report_id=report_id))

    def undo(self, order_id: str) -> Answer:
        """Ask for the rollback of an order; when this returns it is used up, or refused."""
        return self._ask(Undo(order_id=order_id))

    def halt(self, halt: Halt, *, resume: bytes = b"") -> Answer:
        """Pass on the hub's halt, or a resumption; when this returns it is in force."""
        return self._ask(HaltNode(halt=halt, resume=resume))

    def halt_here(self, halt: Halt) -> Answer:
        """Root halts this node."""
        return self._ask(Here(act="halt", halt=halt))

    def resume_here(self) -> Answer:
        """Root ends every halt of this node."""
        return self._ask(Here(act="resume"))

    def state(self) -> Answer:
        """What the executor says of itself."""
        return self._ask(Here(act="state"))

    def believe(self, files: dict[str, bytes]) -> Held:
        """Hand signed trust over, or with no files ask what is believed."""
        answer = self._ask(Believe(files=files), patience_s=_BELIEVE_S)
        if answer.held is None:
            raise SocketError(f"{self._path}: the executor knows nothing of signed trust")
        return answer.held

    def _ask(self, request: Request, *, patience_s: float = 0.0) -> Answer:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_S + patience_s)
            try:
                connection.connect(str(self._path))
                send(connection, msgspec.json.encode(request))
                return msgspec.json.decode(receive(connection), type=Answer)
            except (OSError, msgspec.DecodeError) as error:
                raise SocketError(f"{self._path}: the executor does not answer: {error}") from error


def send(connection: socket.socket, data: bytes) -> None:
    """Send one frame."""
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket) -> bytes:
    """Receive one frame; raises `SocketError` when it is too long or cut off."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise SocketError(f"a frame of {length} bytes, at most {MAX_FRAME_BYTES}")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(65536, count - len(data)))
        if not part:
            raise SocketError("the other end closed in the middle of a frame")
        data += part
    return bytes(data)


def _uid(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError as error:
        raise SocketError(f"there is no user {user} on this host") from error
