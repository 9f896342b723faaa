"""The agents' streams over real mTLS: who speaks, what is durable, what is refused."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import grpc
import pytest

from appliance.channel import (
    CLIENT_LIMITS,
    SERVER_LIMITS,
    Identity,
    channel_credentials,
    server_credentials,
)
from appliance.ids import uuid7
from appliance.records import Event
from appliance.wire import sentinel_pb2 as pb
from appliance.wire import sentinel_pb2_grpc
from appliance.wire.convert import to_wire
from hub.admission import Admission
from hub.ingest import Ingest
from hub.log_tree import LogTree
from hub.nodes import Nodes
from hub.persist.database import Database
from hub.persist.ingest import store_events
from hub.transport import MOST_OFFERS, Transport
from hub.witnesses import Witnesses
from tests.hub.builders import NODE, NOW, event, finding, opened, outbox
from vault.pki import Issued, Pki

pytestmark = [pytest.mark.postgres, pytest.mark.vault]


def identity(issued: Issued) -> Identity:
    return Identity(certificate=issued.certificate, key=issued.key, ca=issued.ca)


@pytest.fixture(scope="module")
def hub_identity(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Identity:
    folder = tmp_path_factory.mktemp("hub")
    return identity(
        pki.issue(
            role="hub",
            name="localhost",
            uri="spiffe://sentinel/hub",
            folder=folder,
            dns=["localhost"],
            addresses=["127.0.0.1"],
        )
    )


@pytest.fixture(scope="module")
def node_identity(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Identity:
    folder = tmp_path_factory.mktemp("node")
    return identity(
        pki.issue(role="node", name=NODE, uri=f"spiffe://sentinel/node/{NODE}", folder=folder)
    )


class Served:
    """A hub's transport on a loopback port, in a thread with its own loop."""

    def __init__(
        self, db: Database, identity: Identity, admission: Admission | None = None
    ) -> None:
        self._db, self._identity, self._admission = db, identity, admission
        self.port = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._live(),))
        self._stop = asyncio.Event()
        self.transport: Transport | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _live(self) -> None:
        """As `asyncio.run` ends: no task is left for another test to meet."""
        await self._run()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _run(self) -> None:
        ingest = Ingest(lambda batch: store_events(self._db, batch, now=NOW))
        transport = Transport(
            ingest=ingest,
            nodes=Nodes(self._db),
            witnesses=Witnesses(self._db, LogTree(), ""),
            max_in_flight=16,
            admission=self._admission,
        )
        server = grpc.aio.server(options=SERVER_LIMITS)
        sentinel_pb2_grpc.add_HubServicer_to_server(transport, server)
        self.port = server.add_secure_port("127.0.0.1:0", server_credentials(self._identity))
        await server.start()
        task = asyncio.create_task(ingest.run())
        self.transport = transport
        self._ready.set()
        await self._stop.wait()
        await transport.close()
        await server.stop(1)
        task.cancel()


@pytest.fixture
def served(database: Database, hub_identity: Identity) -> Iterator[Served]:
    with Served(database, hub_identity) as one:
        yield one


HELLO = pb.FromAgent(hello=pb.Hello(agent_version="1", protocol=1, boot_id="b00t"))


@asynccontextmanager
async def conversation(
    served: Served, who: Identity, options: Any = CLIENT_LIMITS
) -> AsyncIterator[Any]:
    async with grpc.aio.secure_channel(
        f"localhost:{served.port}", channel_credentials(who), options=options
    ) as channel:
        yield sentinel_pb2_grpc.HubStub(channel).Converse()


def talk(coroutine: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(15):
            return await coroutine()

    return asyncio.run(bounded())


async def how_it_ends(call: Any, message: pb.FromAgent) -> tuple[grpc.StatusCode, str]:
    """Send one message; the status with which the hub ends the stream."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.write(message)
        while await call.read() is not grpc.aio.EOF:
            pass
    return await call.code(), await call.details()


def wire(one: Event) -> pb.FromAgent:
    return pb.FromAgent(event=to_wire(one, pb.Event()))


async def greet(call: Any) -> None:
    await call.write(HELLO)
    assert (await call.read()).WhichOneof("of") == "welcome"


def test_an_event_is_acknowledged_when_it_is_durable(
    served: Served, node_identity: Identity, database: Database
) -> None:
    one = event(finding())

    async def send() -> list[str]:
        async with conversation(served, node_identity) as call:
            await greet(call)
            await call.write(wire(one))
            return list((await call.read()).ack.event_ids)

    assert talk(send) == [one.event_id]
    rows = outbox(database)
    assert [row["type"] for row in rows][:2] == ["node.connect", "incident.open"]
    assert rows[1]["actor"]["id"] == NODE  # the certificate's name: no message has a field for it


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (pb.Event(event_id="not-a-uuid"), "UUID"),
        (pb.Event(event_id=uuid7()), "missing required field"),
        (
            pb.Event(event_id=uuid7(), body=pb.Body(finding=pb.Finding(condition="nonsense"))),
            "nonsense",
        ),
        (to_wire(event(finding(summary="bell \a rings")), pb.Event()), "control characters"),
        (to_wire(event(finding(observed=float("nan"))), pb.Event()), "not finite"),
        (to_wire(event(finding(summary="x" * 5000)), pb.Event()), "4096"),
    ],
)
def test_an_event_that_is_not_what_the_contract_says_is_answered_and_the_stream_lives(
    served: Served,
    node_identity: Identity,
    database: Database,
    message: pb.Event,
    words: str,
) -> None:
    good = event(finding())

    async def send() -> tuple[str, list[str]]:
        async with conversation(served, node_identity) as call:
            await greet(call)
            await call.write(pb.FromAgent(event=message))
            refused = await call.read()
            await call.write(wire(good))
            return refused.nack.reason, list((await call.read()).ack.event_ids)

    reason, acknowledged = talk(send)
    assert words in reason
    assert acknowledged == [good.event_id]
    assert [row["type"] for row in outbox(database)].count("incident.open") == 1


def test_ten_megabytes_end_the_stream_and_store_nothing(
    served: Served, node_identity: Identity, database: Database
) -> None:
    huge = pb.FromAgent(event=pb.Event(event_id="x" * 10_000_000))

    boundless = [("grpc.max_send_message_length", -1)]

    async def send() -> grpc.StatusCode:
        async with conversation(served, node_identity, boundless) as call:
            await greet(call)
            return (await how_it_ends(call, huge))[0]

    assert talk(send) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "incident.open" not in [row["type"] for row in outbox(database)]


def test_who_says_no_hello_is_refused(served: Served, node_identity: Identity) -> None:
    async def send() -> tuple[grpc.StatusCode, str]:
        async with conversation(served, node_identity) as call:
            return await how_it_ends(call, wire(event(finding())))

    code, details = talk(send)
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "hello" in details


def test_a_console_certificate_of_the_same_ca_cannot_speak_as_a_node(
    served: Served, pki: Pki, tmp_path: Path, database: Database
) -> None:
    issued = pki.issue(
        role="console", name="localhost", uri="spiffe://sentinel/console", folder=tmp_path
    )

    async def send() -> grpc.StatusCode:
        async with conversation(served, identity(issued)) as call:
            return (await how_it_ends(call, HELLO))[0]

    assert talk(send) in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED}
    assert outbox(database) == []


def test_a_certificate_of_another_ca_gets_no_stream(
    served: Served, hub_identity: Identity, stranger: Identity, database: Database
) -> None:
    pretender = Identity(certificate=stranger.certificate, key=stranger.key, ca=hub_identity.ca)

    async def send() -> grpc.StatusCode:
        async with conversation(served, pretender) as call:
            return (await how_it_ends(call, HELLO))[0]

    assert talk(send) is grpc.StatusCode.UNAVAILABLE
    assert outbox(database) == []


@pytest.fixture(scope="module")
def stranger(bao: Any, tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A node of the same name, of somebody else's CA."""
    other = Pki(url=bao.url, token=bao.token, mount="another-pki")
    other.bootstrap()
    folder = tmp_path_factory.mktemp("stranger")
    return identity(
        other.issue(role="node", name=NODE, uri=f"spiffe://sentinel/node/{NODE}", folder=folder)
    )


def test_a_newer_stream_of_the_same_node_ends_the_older(
    served: Served, node_identity: Identity
) -> None:
    async def twice() -> bool:
        async with conversation(served, node_identity) as first:
            await greet(first)
            async with conversation(served, node_identity) as second:
                await greet(second)
                ended = await first.read()
                await second.write(wire(event(finding())))
                acknowledged = await second.read()
                return ended is grpc.aio.EOF and acknowledged.WhichOneof("of") == "ack"

    assert talk(twice)


def order_for(database: Database, note_size: int = 7) -> str:
    """A sealed order that waits for the node."""
    incident_id, _ = opened(database)
    order_id = uuid7()
    with database.transaction() as work:
        work.run(
            "add_order",
            order_id=order_id,
            incident_id=incident_id,
            node=NODE,
            envelope=b"sealed",
            now=NOW,
            not_after=datetime.now(UTC) + timedelta(hours=1),
            log_size=note_size,
        )
    return order_id


def test_an_order_whose_proof_is_stale_is_offered_again_with_another_a_few_times(
    served: Served, node_identity: Identity, database: Database
) -> None:
    order_id = order_for(database)

    async def send() -> list[int]:
        offers = []
        async with conversation(served, node_identity) as call:
            await greet(call)
            for seen_size in range(100, 100 + 3 * MOST_OFFERS):
                message = await call.read()
                assert message.order.order_id == order_id
                offers.append(message.order.log_from)
                stale = pb.OrderStale(order_id=order_id, seen_size=seen_size)
                await call.write(pb.FromAgent(order_stale=stale))
                if len(offers) > MOST_OFFERS:
                    break
            await call.write(wire(event(finding())))
            assert (await call.read()).WhichOneof("of") == "ack"  # and no order before it
        return offers

    assert talk(send) == [0, *range(100, 100 + MOST_OFFERS)]


def test_a_stale_order_that_was_never_offered_changes_nothing(
    served: Served, node_identity: Identity
) -> None:
    async def send() -> str:
        async with conversation(served, node_identity) as call:
            await greet(call)
            for order_id in ("", "x" * 10_000, uuid7()):
                stale = pb.OrderStale(order_id=order_id, seen_size=2**64 - 1)
                await call.write(pb.FromAgent(order_stale=stale))
            await call.write(wire(event(finding())))
            return str((await call.read()).WhichOneof("of"))

    assert talk(send) == "ack"


def test_what_a_node_says_of_the_log_is_stored_under_its_certificates_name(
    served: Served, node_identity: Identity, database: Database
) -> None:
    async def send() -> str:
        async with conversation(served, node_identity) as call:
            await greet(call)
            seen = pb.LogSeen(size=5, root="ab" * 32, fork="two histories", vkey="other+00+AA")
            await call.write(pb.FromAgent(log_seen=seen))
            await call.write(wire(event(finding())))
            return str((await call.read()).WhichOneof("of"))

    assert talk(send) == "ack"
    with database.transaction() as work:
        (alarm,) = work.all("view_forks")
    assert (alarm["node"], alarm["reason"]) == (NODE, "two histories")
    assert "witness.refuse" in [row["type"] for row in outbox(database)]
