"""The agent's end of the wire against a real gRPC server with real certificates."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from agent import transport as module
from agent.handover import NodeState
from agent.live import Live
from agent.spool import Spool
from agent.transport import Transport
from appliance.channel import Identity
from appliance.halt import Halt
from appliance.wire import sentinel_pb2 as pb
from tests.agent.builders import event
from tests.agent.certificates import Authority
from tests.agent.hub_double import HubDouble

NODE = "spiffe://sentinel/node/n1"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(autouse=True)
def quick_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_WAIT_S", 0.02)
    monkeypatch.setattr(module, "MOST_WAIT_S", 0.1)


@pytest.fixture
def hub_identity(authority: Authority, tmp_path: Path) -> Identity:
    return authority.issue(tmp_path / "hub", uri="spiffe://sentinel/hub")


@pytest.fixture
def node_identity(authority: Authority, tmp_path: Path) -> Identity:
    return authority.issue(tmp_path / "node", uri=NODE, dns="n1")


@pytest.fixture
def hub(hub_identity: Identity) -> Iterator[HubDouble]:
    with HubDouble(hub_identity) as hub:
        yield hub


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool.db", limit_bytes=10**7)
    yield spool
    spool.close()


class Starter:
    """Starts transports and stops them at the end of a test."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.orders: list[tuple[str, bytes]] = []
        self.started: list[Transport] = []
        self.halts: list[tuple[Halt, bytes]] = []
        self.state: NodeState | None = None

    def __call__(self, port: int, identity: Identity, *, name: str = "localhost") -> Transport:
        transport = Transport(
            hub=f"127.0.0.1:{port}",
            hub_name=name,
            identity=identity,
            spool=self.spool,
            boot_id="boot",
            dry_run=lambda: False,
            take_order=lambda order_id, envelope, _proof: self.orders.append((order_id, envelope)),
            take_halt=lambda halt, resume: self.halts.append((halt, resume)),
            node_state=lambda: self.state,
        )
        transport.start()
        self.started.append(transport)
        return transport


@pytest.fixture
def start(spool: Spool) -> Iterator[Starter]:
    starter = Starter(spool)
    yield starter
    for transport in starter.started:
        transport.stop()


def eventually(condition: Callable[[], bool], *, within_s: float = 10) -> bool:
    deadline = time.monotonic() + within_s
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return true


def test_spooled_events_are_sent_and_forgotten_when_acknowledged(
    hub: HubDouble, start: Starter, node_identity: Identity
) -> None:
    events = [event() for _ in range(30)]
    start.spool.put(events[:20])
    transport = start(hub.port, node_identity)
    start.spool.put(events[20:])
    assert hub.wait(lambda: len(hub.events) == 30)
    assert hub.events == events
    assert eventually(lambda: start.spool.counts().waiting == 0)
    assert transport.connected
    assert hub.nodes == ["n1"]
    assert not hub.hellos[0].dry_run


def test_an_event_stays_until_the_hub_says_that_it_is_durable(
    hub: HubDouble, start: Starter, node_identity: Identity
) -> None:
    hub.acknowledges = False
    one = event()
    start.spool.put([one])
    start(hub.port, node_identity)
    assert hub.wait(lambda: len(hub.events) == 1)
    assert start.spool.counts().waiting == 1
    hub.acknowledges = True
    hub.drop_streams()
    assert hub.wait(lambda: len(hub.events) == 2)
    assert hub.events == [one, one]  # the same event id: a repeat is harmless
    assert eventually(lambda: start.spool.counts().waiting == 0)


def test_no_more_is_on_its_way_than_the_hub_allows(
    hub_identity: Identity, start: Starter, node_identity: Identity
) -> None:
    with HubDouble(hub_identity, max_in_flight=3) as hub:
        hub.acknowledges = False
        start.spool.put([event() for _ in range(10)])
        start(hub.port, node_identity)
        assert hub.wait(lambda: len(hub.events) == 3)
        assert not hub.wait(lambda: len(hub.events) > 3, within_s=0.3)


def test_a_refused_event_is_set_aside_and_the_others_go_on(
    hub: HubDouble, start: Starter, node_identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = event(), event()
    hub.refuses = lambda one: "no\x1b[31m such thing" if one.event_id == bad.event_id else None
    start.spool.put([bad, good])
    start(hub.port, node_identity)
    assert eventually(lambda: start.spool.counts().waiting == 0)
    assert start.spool.counts().aside == 1
    assert "such thing" in caplog.text
    assert "\x1b" not in caplog.text


def test_a_hub_that_was_away_gets_everything_when_it_is_back(
    hub_identity: Identity, start: Starter, node_identity: Identity
) -> None:
    with HubDouble(hub_identity) as first:
        transport = start(first.port, node_identity)
        assert eventually(lambda: transport.connected)
    events = [event() for _ in range(5)]
    start.spool.put(events)
    assert eventually(lambda: not transport.connected)
    with HubDouble(hub_identity, port=first.port) as second:
        assert second.wait(lambda: len(second.events) == 5)
        assert second.events == events
        assert second.hellos[-1].spooled == 5


def test_an_order_reaches_the_executor_side_and_is_told_as_taken(
    hub: HubDouble, start: Starter, node_identity: Identity
) -> None:
    transport = start(hub.port, node_identity)
    assert eventually(lambda: transport.connected)
    hub.order("o1", b"sealed")
    assert eventually(lambda: start.orders == [("o1", b"sealed")])
    transport.order_taken("o1")
    assert hub.wait(lambda: hub.taken == ["o1"])


def test_a_hub_of_another_ca_gets_nothing(
    authority: Authority, start: Starter, node_identity: Identity, tmp_path: Path
) -> None:
    stranger = Authority("another CA")
    identity = stranger.issue(tmp_path / "fake", uri="spiffe://sentinel/hub", believes=authority)
    with HubDouble(identity) as fake:
        start.spool.put([event()])
        transport = start(fake.port, node_identity)
        assert eventually(lambda: "another CA" in transport.trouble), transport.trouble
        assert fake.hellos == []
        assert start.spool.counts().waiting == 1


def test_an_expired_hub_certificate_is_named(
    authority: Authority, start: Starter, node_identity: Identity, tmp_path: Path
) -> None:
    identity = authority.issue(tmp_path / "old", uri="spiffe://sentinel/hub", days=-1)
    with HubDouble(identity) as old:
        transport = start(old.port, node_identity)
        assert eventually(lambda: "expired" in transport.trouble), transport.trouble


def test_a_hub_with_another_name_is_named(
    hub: HubDouble, start: Starter, node_identity: Identity
) -> None:
    transport = start(hub.port, node_identity, name="hub.elsewhere")
    assert eventually(lambda: "another name" in transport.trouble), transport.trouble
    assert hub.hellos == []


@pytest.mark.parametrize("wrong", ["another CA", "expired"])
def test_a_node_that_the_hub_does_not_know_is_told_so(
    wrong: str, hub: HubDouble, authority: Authority, start: Starter, tmp_path: Path
) -> None:
    issuer = Authority("another CA") if wrong == "another CA" else authority
    days = -1 if wrong == "expired" else 1
    identity = issuer.issue(tmp_path / "bad", uri=NODE, days=days, believes=authority)
    start.spool.put([event()])
    transport = start(hub.port, identity)
    assert eventually(lambda: transport.trouble != "not connected yet")
    assert "\n" not in transport.trouble
    assert hub.hellos == []
    assert start.spool.counts().waiting == 1


def test_a_renewed_certificate_is_used_without_a_restart(
    hub: HubDouble, authority: Authority, start: Starter, tmp_path: Path
) -> None:
    stranger = Authority("another CA")
    identity = stranger.issue(tmp_path / "node", uri=NODE, believes=authority)
    transport = start(hub.port, identity)
    assert eventually(lambda: transport.trouble != "not connected yet")
    authority.issue(tmp_path / "node", uri=NODE)
    assert eventually(lambda: transport.connected)


def test_missing_certificate_files_are_one_line(start: Starter, tmp_path: Path) -> None:
    missing = tmp_path / "none.pem"
    transport = start(1, Identity(certificate=missing, key=missing, ca=missing))
    assert eventually(lambda: "cannot read" in transport.trouble)


def test_a_hub_that_is_not_there_is_one_line(start: Starter, node_identity: Identity) -> None:
    transport = start(1, node_identity)
    assert eventually(lambda: transport.trouble == "nothing listens there"), transport.trouble


def test_stopping_is_quick_while_the_hub_is_away(start: Starter, node_identity: Identity) -> None:
    transport = start(1, node_identity)
    began = time.monotonic()
    transport.stop()
    assert time.monotonic() - began < 3


def test_a_status_code_without_words_is_still_a_sentence() -> None:
    class Ended(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.PERMISSION_DENIED

        def details(self) -> str:
            return "expected hello with protocol 1"

    assert "does not admit this node" in module.explain(Ended(), Path("cert.pem"))


def test_what_the_executor_says_of_itself_comes_before_any_event_and_when_it_changes(
    hub: HubDouble, start: Starter, node_identity: Identity
) -> None:
    start.state = NodeState(result_key="key")
    start.spool.put([event() for _ in range(3)])
    transport = start(hub.port, node_identity)
    assert hub.wait(lambda: len(hub.events) == 3)
    assert hub.states == [(0, pb.NodeState(result_key="key"))]
    start.state = NodeState(result_key="key", halted=True, reason="stop")
    transport.say_state()
    assert hub.wait(lambda: len(hub.states) == 2)
    assert hub.states[1][1].halted
    hub.drop_streams()
    assert hub.wait(lambda: len(hub.states) == 3)
    assert hub.states[2][1].halted


def test_live_output_is_replaced_by_the_next_and_is_not_said_again_on_a_new_stream(
    hub: HubDouble, start: Starter, node_identity: Identity
) -> None:
    transport = start(hub.port, node_identity)
    assert eventually(lambda: transport.connected)
    for number in range(1, 501):  # far faster than they can leave
        transport.say_live(Live(order_id="o1", index=1, text=f"line {number}", total=number))
    assert hub.wait(lambda: bool(hub.glimpses) and hub.glimpses[-1].total == 500)
    assert hub.glimpses[-1] == pb.LiveOutput(order_id="o1", step=1, text="line 500", total=500)
    told = len(hub.glimpses)
    hub.drop_streams()
    assert hub.wait(lambda: len(hub.hellos) == 2)
    start.spool.put([event()])
    assert hub.wait(lambda: len(hub.events) == 1)  # what was said before it was heard before it
    assert len(hub.glimpses) == told


def test_a_halt_and_a_resumption_reach_the_executor_as_they_came(
    hub: HubDouble, start: Starter, node_identity: Identity
) -> None:
    start(hub.port, node_identity)
    assert hub.wait(lambda: len(hub.hellos) == 1)
    hub.say(pb.FromHub(halt=pb.Halt(halt_id="h1", reason="stop")))
    hub.say(pb.FromHub(halt=pb.Halt(halt_id="h1", resume=b"signed")))
    assert eventually(lambda: len(start.halts) == 2)
    assert start.halts[0] == (Halt(halt_id="h1", reason="stop"), b"")
    assert start.halts[1] == (Halt(halt_id="h1"), b"signed")
