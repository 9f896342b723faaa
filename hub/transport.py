"""The hub's end of the agents' streams.

Who an agent is comes from its certificate. Events are acknowledged when they are durable; a
message that is not what the contract says is answered with a reason, and one that pretends ends
the stream. Orders go to the one stream of their node, again after every reconnect until taken.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc

from appliance import __version__
from appliance.errors import IdentityError, RefusedError
from appliance.ids import is_uuid
from appliance.journal import shown
from appliance.records import Event
from appliance.wire import sentinel_pb2 as pb
from appliance.wire.convert import from_wire
from hub.admission import Admission
from hub.errors import DatabaseError, NotaryError
from hub.ingest import Ingest
from hub.live import LiveOutputs
from hub.nodes import Nodes, WaitingOrder
from hub.persist.identity import Shown
from hub.persist.ingest import Received
from hub.trust_offers import TrustOffers
from hub.witnesses import Witnesses

PROTOCOL = 1
HELLO_WITHIN_S = 10.0
CLOSE_WITHIN_S = 3.0
MOST_OFFERS = 8  # of one order on one stream: a node that is never content waits for the next

_log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[pb.FromAgent, pb.FromHub]


@dataclass(eq=False)
class Stream:
    """One living conversation: what is on its way out, and which orders were already offered."""

    node: str
    shown: Shown  # the certificate of its handshake
    task: "asyncio.Task[object] | None" = None
    out: asyncio.Queue[pb.FromHub | None] = field(default_factory=asyncio.Queue)
    offered: set[str] = field(default_factory=set)
    stale: dict[str, int] = field(default_factory=dict)  # how often an order's proof was
    trust: dict[str, int] | None = None  # the versions its node believes; None: it has not said
    trust_offered: str = ""  # digest of the published set it was sent
    halts: set[tuple[str, bool]] = field(default_factory=set)  # told: which, and that it is over

    ended: bool = False

    def end(self) -> None:
        """Close after what is queued."""
        self.ended = True
        self.out.put_nowait(None)


class Transport:
    """The gRPC service `sentinel.v1.Hub`."""

    def __init__(
        self,
        *,
        ingest: Ingest,
        nodes: Nodes,
        witnesses: Witnesses,
        max_in_flight: int,
        trust: TrustOffers | None = None,
        live: LiveOutputs | None = None,
        admission: Admission | None = None,
    ) -> None:
        self._live = live
        self._admission = admission or Admission()
        self._witnesses = witnesses
        self._trust = trust
        self._ingest = ingest
        self._nodes = nodes
        self._max_in_flight = max_in_flight
        self._streams: dict[str, Stream] = {}
        self._all_gone = asyncio.Event()

    @property
    def connected(self) -> list[str]:
        """The nodes that have a stream now."""
        return sorted(self._streams)

    async def Converse(  # noqa: N802 - the contract's own name
        self, messages: AsyncIterator[pb.FromAgent], context: Context
    ) -> None:
        """One agent's conversation, from hello to the end of the stream."""
        try:
            shown_now = await self._admission.admit(context.auth_context())
            stream = Stream(shown_now.node, shown_now, asyncio.current_task())
            await self._greet(messages, stream)
        except (IdentityError, RefusedError) as error:
            _log.warning("stream from %s refused: %s", shown(context.peer()), error)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        except DatabaseError as error:
            _log.error("stream from %s has to wait: %s", shown(context.peer()), error)
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        reader = asyncio.create_task(self._read(messages, stream))
        try:
            await self._write(stream, context)
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await reader
            await self._leave(stream)

    async def offer_orders(self) -> None:
        """Offer each connected node the orders it has not taken."""
        for order in await self._nodes.waiting_orders(self.connected):
            stream = self._streams.get(order.node)
            if stream is not None and order.order_id not in stream.offered:
                stream.offered.add(order.order_id)
                await self._offer(order, stream)

    async def offer_log(self, *nodes: str) -> None:
        """Offer connected nodes the newest checkpoint, each with the proof from where it stands."""
        for node, advance in await self._witnesses.offers(nodes or self.connected):
            if stream := self._streams.get(node):
                stream.out.put_nowait(pb.FromHub(log_advance=advance))

    async def _offer(self, order: WaitingOrder, stream: Stream) -> None:
        try:
            log_from, path = await self._witnesses.proof(order.node, order.log_size)
        except (DatabaseError, NotaryError) as error:  # without a proof the node must see a fork
            stream.offered.discard(order.order_id)
            _log.warning("order %s waits for its proof: %s", order.order_id, error)
            return
        sealed = pb.SealedOrder(
            order_id=order.order_id,
            envelope=order.envelope,
            log_from=log_from,
            consistency=path,
        )
        stream.out.put_nowait(pb.FromHub(order=sealed))
        _log.info("order offered node=%s order=%s", order.node, order.order_id)

    async def offer_trust(self) -> None:
        """Send each node that has said what it believes what it lacks, once."""
        for stream in list(self._streams.values()):
            await self._offer_trust(stream)

    async def _offer_trust(self, stream: Stream) -> None:
        if self._trust is None or stream.trust is None:
            return
        offer = await self._trust.lacking(stream.trust)
        if offer is not None and offer.digest != stream.trust_offered:
            stream.trust_offered = offer.digest
            stream.out.put_nowait(offer.message)
            _log.info("signed trust offered node=%s", stream.node)

    async def _held(self, said: pb.TrustHeld, stream: Stream) -> None:
        if self._trust is not None:
            stream.trust = dict(said.versions)
            await self._trust.held(stream.node, said)
            await self._offer_trust(stream)

    async def tell_halts(self, *, again: Stream | None = None) -> None:
        """Tell each connected node what halts it, and whose signature lifts that.

        A node that says it is halted is told again: it may know more people by now.
        """
        if again is not None:
            again.halts = {mark for mark in again.halts if not mark[1]}
        for node, halt in await self._nodes.halts_for(self.connected):
            stream, mark = self._streams.get(node), (halt.halt_id, bool(halt.resume))
            if stream is not None and mark not in stream.halts:
                stream.halts.add(mark)
                stream.out.put_nowait(pb.FromHub(halt=halt))
                _log.warning(
                    "%s told node=%s halt=%s",
                    "resumption" if halt.resume else "halt",
                    node,
                    halt.halt_id,
                )

    async def end_unwelcome(self, *, rows: bool = True) -> None:
        """End the streams whose certificate was revoked or has ended; a deaf node's by force."""
        streams = list(self._streams.values())
        why = await self._admission.unwelcome([one.shown for one in streams], rows=rows)
        for stream in streams:
            if reason := why.get(stream.shown.serial):
                if stream.ended and stream.task is not None:
                    stream.task.cancel()
                stream.end()
                _log.warning("stream of node=%s is ended: %s", stream.node, shown(reason))

    async def close(self) -> None:
        """End every stream, and wait a moment until their nodes are marked as gone."""
        for stream in self._streams.values():
            stream.end()
        if self._streams:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await self._all_gone.wait()

    async def _greet(self, messages: AsyncIterator[pb.FromAgent], stream: Stream) -> None:
        try:
            async with asyncio.timeout(HELLO_WITHIN_S):
                first = await anext(messages)
        except (TimeoutError, StopAsyncIteration) as error:
            raise RefusedError("no hello came") from error
        if first.WhichOneof("of") != "hello" or first.hello.protocol != PROTOCOL:
            raise RefusedError(f"expected hello with protocol {PROTOCOL}")
        await self._nodes.connected(stream.node, first.hello)
        older = self._streams.get(stream.node)
        if older is not None:  # a node has one stream; the newer one is alive
            older.end()
        self._streams[stream.node] = stream
        self._all_gone.clear()
        welcome = pb.Welcome(hub_version=__version__, max_in_flight=self._max_in_flight)
        stream.out.put_nowait(pb.FromHub(welcome=welcome))
        _log.info("connected node=%s spooled=%d", stream.node, first.hello.spooled)
        await self.tell_halts()
        await self.offer_orders()

    async def _leave(self, stream: Stream) -> None:
        if self._streams.get(stream.node) is stream:
            del self._streams[stream.node]
            self._witnesses.gone(stream.node)
            _log.info("disconnected node=%s", stream.node)
            with contextlib.suppress(DatabaseError):  # the next start marks it so
                await self._nodes.disconnected(stream.node)
            if not self._streams:
                self._all_gone.set()

    async def _read(self, messages: AsyncIterator[pb.FromAgent], stream: Stream) -> None:
        """Take the agent's messages until its stream ends."""
        try:
            async for message in messages:
                match message.WhichOneof("of"):
                    case "event":
                        await self._event(message.event, stream)
                    case "order_taken":
                        await self._taken(message.order_taken.order_id, stream)
                    case "order_stale":
                        await self._stale(message.order_stale, stream)
                    case "log_seen":
                        await self._log_seen(message.log_seen, stream)
                    case "trust_held":
                        await self._held(message.trust_held, stream)
                    case "node_state":
                        await self._said(message.node_state, stream)
                    case "live_output":
                        await self._glimpse(message.live_output, stream)
                    case other:
                        _log.warning("node=%s sent %s out of turn", stream.node, other)
                        break
        finally:
            stream.end()

    async def _event(self, message: pb.Event, stream: Stream) -> None:
        event_id = message.event_id
        try:
            if not is_uuid(event_id):
                raise RefusedError("its id is not a UUID")  # noqa: TRY301 - one refusal path
            event = from_wire(message, Event)
        except RefusedError as error:
            _refuse(stream, event_id, str(error))
            return
        stored = await self._ingest.accept(Received(node=stream.node, event=event))
        stored.add_done_callback(lambda done: _answer(stream, event_id, done))

    async def _taken(self, order_id: str, stream: Stream) -> None:
        if is_uuid(order_id):
            await self._nodes.order_taken(stream.node, order_id)

    async def _stale(self, message: pb.OrderStale, stream: Stream) -> None:
        """The node has accepted more of the log, or less: the order goes out again, re-proven."""
        order_id = message.order_id
        if order_id not in stream.offered:
            return
        self._witnesses.stale(stream.node, message.seen_size)
        stream.stale[order_id] = stream.stale.get(order_id, 0) + 1
        if stream.stale[order_id] > MOST_OFFERS:
            _log.error("node=%s finds every proof of order %s stale", stream.node, order_id)
            return
        stream.offered.discard(order_id)
        with contextlib.suppress(DatabaseError):  # the next turn offers it
            await self.offer_orders()

    async def _log_seen(self, message: pb.LogSeen, stream: Stream) -> None:
        try:
            await self._witnesses.heard(stream.node, message)
            await self.offer_log(stream.node)
        except (DatabaseError, NotaryError) as error:
            _log.warning("what node=%s says of the log has to wait: %s", stream.node, error)

    async def _said(self, state: pb.NodeState, stream: Stream) -> None:
        """Durable before the next message is read: reports that follow need the key."""
        await self._nodes.said(stream.node, state)
        await self.tell_halts(again=stream if state.halted else None)

    async def _glimpse(self, message: pb.LiveOutput, stream: Stream) -> None:
        if self._live is not None:
            await self._live.heard(stream.node, message)

    async def _write(self, stream: Stream, context: Context) -> None:
        """Send what is queued; acknowledgements that wait together go together."""
        while (message := await stream.out.get()) is not None:
            ahead: list[pb.FromHub | None] = []
            while message.WhichOneof("of") == "ack" and not stream.out.empty():
                following = stream.out.get_nowait()
                if following is None or following.WhichOneof("of") != "ack":
                    ahead.append(following)
                    break
                message.ack.event_ids.extend(following.ack.event_ids)
            await context.write(message)
            for one in ahead:
                if one is None:
                    return
                await context.write(one)


def _answer(stream: Stream, event_id: str, done: asyncio.Future[str | None]) -> None:
    if done.cancelled():
        return
    why = done.result()
    if why is None:
        stream.out.put_nowait(pb.FromHub(ack=pb.Ack(event_ids=[event_id])))
    else:
        _refuse(stream, event_id, why)


def _refuse(stream: Stream, event_id: str, why: str) -> None:
    reason = shown(why)
    _log.warning(
        "event refused node=%s event=%s: %s", stream.node, shown(event_id, most=60), reason
    )
    stream.out.put_nowait(pb.FromHub(nack=pb.Nack(event_id=event_id[:200], reason=reason)))
