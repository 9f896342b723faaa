"""A hub of the wire contract only: real gRPC, real mTLS, and a memory it can lose or refuse."""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc

from agent.log_proof import NO_PROOF, LogProof
from appliance.channel import SERVER_LIMITS, Identity, node_name, server_credentials
from appliance.records import Event
from appliance.wire import sentinel_pb2 as pb
from appliance.wire import sentinel_pb2_grpc
from appliance.wire.convert import from_wire


class HubDouble(sentinel_pb2_grpc.HubServicer):
    """Notes what comes; acknowledges, refuses or stays silent as the test says."""

    def __init__(self, identity: Identity, *, port: int = 0, max_in_flight: int = 8) -> None:
        self.nodes: list[str] = []
        self.hellos: list[pb.Hello] = []
        self.events: list[Event] = []
        self.taken: list[str] = []
        self.states: list[tuple[int, pb.NodeState]] = []  # with how many events came before
        self.glimpses: list[pb.LiveOutput] = []
        self.acknowledges = True
        self.refuses: Callable[[Event], str | None] = lambda _event: None
        self._max_in_flight = max_in_flight
        self._changed = threading.Condition()
        self._orders: list[pb.SealedOrder] = []
        self._outs: list[queue.SimpleQueue[pb.FromHub | None]] = []
        self._server = grpc.server(ThreadPoolExecutor(8), options=SERVER_LIMITS)
        sentinel_pb2_grpc.add_HubServicer_to_server(self, self._server)
        self.port = self._server.add_secure_port(f"127.0.0.1:{port}", server_credentials(identity))
        self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.drop_streams()
        self._server.stop(grace=0.2).wait()

    def drop_streams(self) -> None:
        for out in self._outs:
            out.put(None)

    def order(self, order_id: str, envelope: bytes, proof: LogProof = NO_PROOF) -> None:
        sealed = pb.SealedOrder(
            order_id=order_id, envelope=envelope, log_from=proof.log_from, consistency=proof.path
        )
        self._orders.append(sealed)
        for out in self._outs:
            out.put(pb.FromHub(order=sealed))

    def say(self, message: pb.FromHub) -> None:
        for out in self._outs:
            out.put(message)

    def wait(self, condition: Callable[[], bool], *, within_s: float = 10) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, timeout=within_s)

    def Converse(  # noqa: N802 - the contract's own name
        self, messages: Iterator[pb.FromAgent], context: Any
    ) -> Iterator[pb.FromHub]:
        out: queue.SimpleQueue[pb.FromHub | None] = queue.SimpleQueue()
        self._outs.append(out)
        self.nodes.append(node_name(context.auth_context()))
        threading.Thread(target=self._read, args=(messages, out), daemon=True).start()
        while (message := out.get()) is not None:
            yield message

    def _read(
        self, messages: Iterator[pb.FromAgent], out: "queue.SimpleQueue[pb.FromHub | None]"
    ) -> None:
        try:
            for message in messages:
                with self._changed:
                    self._take(message, out)
                    self._changed.notify_all()
        except grpc.RpcError:
            pass
        finally:
            out.put(None)

    def _take(self, message: pb.FromAgent, out: "queue.SimpleQueue[pb.FromHub | None]") -> None:
        match message.WhichOneof("of"):
            case "hello":
                self.hellos.append(message.hello)
                out.put(pb.FromHub(welcome=pb.Welcome(max_in_flight=self._max_in_flight)))
                for order in self._orders:
                    if order.order_id not in self.taken:
                        out.put(pb.FromHub(order=order))
            case "event":
                event = from_wire(message.event, Event)
                self.events.append(event)
                reason = self.refuses(event)
                if reason is not None:
                    nack = pb.Nack(event_id=event.event_id, reason=reason)
                    out.put(pb.FromHub(nack=nack))
                elif self.acknowledges:
                    out.put(pb.FromHub(ack=pb.Ack(event_ids=[event.event_id])))
            case "live_output":
                self.glimpses.append(message.live_output)
            case "node_state":
                self.states.append((len(self.events), message.node_state))
            case "order_taken":
                self.taken.append(message.order_taken.order_id)
