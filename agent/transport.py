"""The agent's end of the wire: one long mutual-TLS stream to the hub, for ever made anew.

Everything that must arrive goes through the spool and is deleted there only when the hub says that
it is durable. An event may be sent twice, its id makes that harmless. The certificate files are
read again for every stream, so a renewed certificate needs no restart.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import grpc

from agent import hub_certificate, log_proof
from agent.errors import SpoolError
from agent.live import Live
from agent.log_proof import LogProof, Standing
from agent.spool import Spool
from appliance import __version__
from appliance.channel import CLIENT_LIMITS, Identity, channel_credentials
from appliance.errors import SentinelError
from appliance.halt import Halt
from appliance.journal import shown
from appliance.wire import sentinel_pb2 as pb
from appliance.wire import sentinel_pb2_grpc
from appliance.wire.convert import to_wire

PROTOCOL = 1
LEAST_WAIT_S = 0.5
MOST_WAIT_S = 30.0
WELCOME_WITHIN_S = 15.0
LOOK_AGAIN_S = 600.0  # the hub's certificate may have been revoked meanwhile
_STEADY_S = 60.0  # a stream that lasted so long was a good one: start with short waits again

log = logging.getLogger(__name__)

TakeOrder = Callable[[str, bytes, LogProof], None]
"""An order's id as the hub says it, its sealed envelope, its proof; returns at once."""

TakeLog = Callable[[str, LogProof], None]
"""A checkpoint of the audit log and its proof; returns at once."""


TakeTrust = Callable[[dict[str, bytes]], None]
"""A set of signed trust, unopened; returns at once."""

TakeHalt = Callable[[Halt, bytes], None]
"""A halt, and the resumption that comes with it, if one does; returns at once."""


class StateOf(Protocol):
    """What the executor last said of itself."""

    @property
    def halted(self) -> bool:
        """Whether it runs nothing."""
        ...

    @property
    def reason(self) -> str:
        """Why."""
        ...

    @property
    def result_key(self) -> str:
        """The public key of its reports."""
        ...


class Transport:
    """Keeps the conversation with the hub going in threads of its own."""

    def __init__(
        self,
        *,
        hub: str,
        hub_name: str,
        identity: Identity,
        spool: Spool,
        boot_id: str,
        dry_run: Callable[[], bool],
        take_order: TakeOrder,
        take_log: TakeLog = lambda _note, _proof: None,
        take_trust: TakeTrust = lambda _: None,
        on_welcome: Callable[[], None] = lambda: None,
        take_halt: TakeHalt = lambda _halt, _resume: None,
        node_state: Callable[[], StateOf | None] = lambda: None,
        crl: Path | None = None,
        crl_required: bool = False,
    ) -> None:
        self._crl, self._crl_required = crl, crl_required
        self._looked, self._seen = -LOOK_AGAIN_S, b""
        self._going_over = threading.Event()
        self._take_trust = take_trust
        self._on_welcome = on_welcome
        self._hub = hub
        self._hub_name = hub_name
        self._identity = identity
        self._spool = spool
        self._boot_id = boot_id
        self._dry_run = dry_run
        self._take_order = take_order
        self._take_log = take_log
        self._on_welcome = on_welcome
        self._take_halt = take_halt
        self._node_state = node_state
        self._stopping = threading.Event()
        self._conversation: _Conversation | None = None
        self._thread = threading.Thread(target=self._run, name="transport", daemon=True)
        self.trouble = "not connected yet"  # why there is no stream; empty while there is one

    @property
    def connected(self) -> bool:
        """Whether the hub has welcomed us on the present stream."""
        conversation = self._conversation
        return conversation is not None and conversation.welcomed

    def start(self) -> None:
        """Begin to talk to the hub."""
        self._spool.on_news(self._wake)
        self._thread.start()

    def stop(self) -> None:
        """End the stream and wait until it has ended."""
        self._stopping.set()
        if conversation := self._conversation:
            conversation.end()
        self._thread.join(timeout=5)

    def order_taken(self, order_id: str) -> None:
        """Tell the hub that the executor has this order; without a stream it offers it again."""
        if conversation := self._conversation:
            conversation.say(pb.FromAgent(order_taken=pb.OrderTaken(order_id=order_id)))

    def order_stale(self, order_id: str, seen_size: int) -> None:
        """Tell the hub that this order's proof does not start where this node stands."""
        if conversation := self._conversation:
            stale = pb.OrderStale(order_id=order_id, seen_size=seen_size)
            conversation.say(pb.FromAgent(order_stale=stale))

    def log_seen(self, standing: Standing) -> None:
        """Tell the hub where this node stands in the audit log; without a stream it asks again."""
        if conversation := self._conversation:
            seen = pb.LogSeen(
                size=standing.size,
                root=standing.root,
                cosignature=standing.cosignature,
                refusal=standing.refusal,
                kept=standing.kept,
                vkey=standing.vkey,
                fork=standing.fork,
            )
            conversation.say(pb.FromAgent(log_seen=seen))

    def say(self, message: pb.FromAgent) -> None:
        """Tell the hub something that is true now; without a stream it is not said."""
        if conversation := self._conversation:
            conversation.say(message)

    def say_live(self, newest: Live) -> None:
        """Show the hub what runs now; one that did not leave yet is replaced."""
        if conversation := self._conversation:
            glimpse = pb.LiveOutput(
                order_id=newest.order_id,
                step=newest.index,
                undoing=newest.undoing,
                text=newest.text,
                total=newest.total,
            )
            conversation.say_live(pb.FromAgent(live_output=glimpse))

    def say_state(self) -> None:
        """The executor's state is another now; every stream begins with it, too."""
        if (conversation := self._conversation) and (state := self._state()):
            conversation.say(state)

    def _state(self) -> pb.FromAgent | None:
        state = self._node_state()
        if state is None:
            return None
        said = pb.NodeState(halted=state.halted, reason=state.reason, result_key=state.result_key)
        return pb.FromAgent(node_state=said)

    def _wake(self) -> None:
        if conversation := self._conversation:
            conversation.wake()

    def _run(self) -> None:
        wait_s = LEAST_WAIT_S
        while not self._stopping.is_set():
            began = time.monotonic()
            trouble = self._converse()
            if self._stopping.is_set():
                return
            if self._going_over.is_set():
                self._going_over.clear()
                log.info("going over to the renewed certificate")
                continue
            if trouble != self.trouble:  # said once, not every half minute
                log.warning("hub %s: %s; trying again", self._hub, trouble)
            self.trouble = trouble
            if time.monotonic() - began > _STEADY_S:
                wait_s = LEAST_WAIT_S
            # Full jitter: after a hub's restart not every agent comes at the same moment.
            self._stopping.wait(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            wait_s = min(MOST_WAIT_S, wait_s * 2)

    def _converse(self) -> str:
        """One stream from its first to its last message; why it ended."""
        options: list[tuple[str, int | str]] = [*CLIENT_LIMITS]
        if self._hub_name:
            options.append(("grpc.ssl_target_name_override", self._hub_name))
        try:
            seen = self._looked_at()
            credentials = channel_credentials(self._identity, believes=seen)
        except SentinelError as error:
            return str(error)
        with grpc.secure_channel(self._hub, credentials, options=options) as channel:
            stub = sentinel_pb2_grpc.HubStub(channel)  # type: ignore[no-untyped-call]  # generated
            first = [pb.FromAgent(hello=self._hello()), self._state()]
            conversation = _Conversation(
                stub=stub,
                spool=self._spool,
                first=first,
                take=self._take_order,
                take_log=self._take_log,
                take_trust=self._take_trust,
                take_halt=self._take_halt,
            )
            self._conversation = conversation
            if self._stopping.is_set():
                conversation.end()
            try:
                conversation.run(on_welcome=self._welcomed)
            except grpc.RpcError as error:
                self._looked = -LOOK_AGAIN_S
                return explain(error, self._identity.certificate)
            except SpoolError as error:
                return str(error)
            finally:
                conversation.end()
                self._conversation = None
        return "the hub ended the stream"

    def _looked_at(self) -> bytes:
        """The hub's certificate as it was looked at, not too long ago."""
        if time.monotonic() - self._looked >= LOOK_AGAIN_S:
            self._seen = hub_certificate.look(
                self._hub, self._hub_name, self._identity, self._crl, required=self._crl_required
            )
            self._looked = time.monotonic()
        return self._seen

    def renew_stream(self) -> bool:
        """Go over to the renewed certificate: a new stream at once, when nothing is on its way."""
        conversation = self._conversation
        if conversation is None or not conversation.idle:
            return conversation is None
        self._going_over.set()
        conversation.end()
        return True

    def _welcomed(self, welcome: pb.Welcome) -> None:
        self.trouble = ""
        log.info("connected to hub %s, version %s", self._hub, shown(welcome.hub_version, most=40))
        self._on_welcome()

    def _hello(self) -> pb.Hello:
        return pb.Hello(
            agent_version=__version__,
            protocol=PROTOCOL,
            boot_id=self._boot_id,
            spooled=self._spool.counts().waiting,
            dry_run=self._dry_run(),
        )


class _Conversation:
    """One stream: a reader in the caller's thread, a writer in gRPC's."""

    def __init__(
        self,
        *,
        stub: "sentinel_pb2_grpc.HubStub",
        spool: Spool,
        first: Sequence[pb.FromAgent | None],
        take: TakeOrder,
        take_log: TakeLog,
        take_trust: TakeTrust,
        take_halt: TakeHalt,
    ) -> None:
        self._take_trust = take_trust
        self._stub = stub
        self._spool = spool
        self._first = [message for message in first if message is not None]
        self._take = take
        self._take_log = take_log
        self._take_halt = take_halt
        self._news = threading.Condition()
        self._ended = False
        self._window = 0  # how many events may be on their way; the hub says it in its welcome
        self._in_flight: set[str] = set()
        self._last_seq = 0
        self._sayings: deque[pb.FromAgent] = deque()
        self._glimpse: pb.FromAgent | None = None
        self._call: grpc.Call | None = None

    @property
    def welcomed(self) -> bool:
        """Whether the hub has answered our hello."""
        return self._window > 0 and not self._ended

    @property
    def idle(self) -> bool:
        """Whether the hub has acknowledged all that was sent."""
        with self._news:
            return not self._in_flight and not self._sayings

    def run(self, *, on_welcome: Callable[[pb.Welcome], None]) -> None:
        """Talk until the stream ends; raises `grpc.RpcError` with the reason."""
        call = self._stub.Converse(self._outgoing())
        self._call = call
        late = threading.Timer(WELCOME_WITHIN_S, self._give_up)
        late.daemon = True
        late.start()
        try:
            for message in call:
                self._receive(message, on_welcome)
        finally:
            late.cancel()

    def say(self, message: pb.FromAgent) -> None:
        """Queue a message that is not an event."""
        with self._news:
            self._sayings.append(message)
            self._news.notify_all()

    def say_live(self, message: pb.FromAgent) -> None:
        """Say this in the place of the last one of its kind, if that has not left."""
        with self._news:
            self._glimpse = message
            self._news.notify_all()

    def wake(self) -> None:
        """There may be something new to send."""
        with self._news:
            self._news.notify_all()

    def end(self) -> None:
        """Let both directions end."""
        with self._news:
            self._ended = True
            self._news.notify_all()
        if self._call is not None:
            self._call.cancel()  # type: ignore[no-untyped-call]

    def _give_up(self) -> None:
        if not self.welcomed:
            self.end()

    def _outgoing(self) -> Iterator[pb.FromAgent]:
        """What gRPC sends, in its own thread: hello and state, then events as the window allows."""
        yield from self._first
        while True:
            try:
                batch = self._next()
            except SpoolError as error:
                log.warning("%s", error)
                self.end()
                return
            if batch is None:
                return
            yield from batch

    def _next(self) -> list[pb.FromAgent] | None:
        """Wait for something to say; None when the stream is over."""
        with self._news:
            while not self._ended:
                said, self._sayings = list(self._sayings), deque()
                if self._glimpse is not None:
                    said.append(self._glimpse)
                    self._glimpse = None
                room = self._window - len(self._in_flight)
                waiting = self._spool.after(self._last_seq, most=room) if room > 0 else []
                for one in waiting:
                    self._in_flight.add(one.event.event_id)
                    self._last_seq = one.seq
                    said.append(pb.FromAgent(event=to_wire(one.event, pb.Event())))
                if said:
                    return said
                self._news.wait()
        return None

    def _receive(self, message: pb.FromHub, on_welcome: Callable[[pb.Welcome], None]) -> None:
        match message.WhichOneof("of"):
            case "welcome":
                on_welcome(message.welcome)
                with self._news:
                    self._window = max(1, message.welcome.max_in_flight)
                    self._news.notify_all()
            case "ack":
                self._spool.acknowledged(message.ack.event_ids)
                self._landed(message.ack.event_ids)
            case "nack":
                nack = message.nack
                log.warning(
                    "the hub refuses event %s: %s", shown(nack.event_id), shown(nack.reason)
                )
                self._spool.set_aside(nack.event_id, reason=nack.reason)
                self._landed([nack.event_id])
            case "order":
                order = message.order
                if proof := _proof(order):
                    self._take(order.order_id, order.envelope, proof)
            case "log_advance":
                if proof := _proof(message.log_advance, message.log_advance.decision):
                    self._take_log(message.log_advance.note, proof)
            case "trust":
                self._take_trust(dict(message.trust.files))
            case "halt":
                said = message.halt
                halt = Halt(halt_id=said.halt_id[:255], reason=said.reason[:4096])
                self._take_halt(halt, said.resume)
            case _:
                log.warning("the hub sent a message that this version does not know")

    def _landed(self, event_ids: "list[str] | object") -> None:
        with self._news:
            self._in_flight.difference_update(event_ids)  # type: ignore[arg-type]  # repeated field
            self._news.notify_all()


def _proof(message: pb.SealedOrder | pb.LogAdvance, decision: bytes = b"") -> LogProof | None:
    found = log_proof.read(message.log_from, message.consistency, decision)
    if found is None:
        log.warning("the hub sent a proof that has not the form of one")
    return found


_SENTENCES = (  # what gRPC's TLS says → what an administrator can act upon
    ("certificate has expired", "the hub's certificate has expired"),
    ("certificate is not yet valid", "the hub's certificate is not valid yet; is the clock right?"),
    ("self signed certificate", "the hub's certificate is from another CA than identity.ca"),
    ("self-signed certificate", "the hub's certificate is from another CA than identity.ca"),
    ("unable to get local issuer", "the hub's certificate is from another CA than identity.ca"),
    ("CERTIFICATE_VERIFY_FAILED", "the hub's certificate does not verify under identity.ca"),
    ("Hostname Verification Check failed", "the hub's certificate is for another name"),
    ("Peer name", "the hub's certificate is for another name than hub_name or hub say"),
    ("ertificate_unknown", "the hub does not accept this node's certificate"),
    ("CERTIFICATE_EXPIRED", "this node's certificate has expired"),
    ("UNKNOWN_CA", "this node's certificate is from a CA that the hub does not know"),
    ("Connection refused", "nothing listens there"),
    ("DNS resolution failed", "its name cannot be resolved"),
    ("WRONG_VERSION_NUMBER", "what listens there does not speak TLS"),
)


def explain(error: grpc.RpcError, certificate: Path) -> str:
    """Why a stream ended, in one line."""
    code, details = error.code(), shown(error.details() or "", most=400)
    for mark, sentence in _SENTENCES:
        if mark in details:
            return sentence
    if "handshak" in details.lower() or "Ssl" in details:
        return f"the TLS handshake failed; does the hub accept {certificate}? ({details})"
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return f"the hub does not admit this node: {details}"
    return f"{code.name.lower().replace('_', ' ')}: {details}"
