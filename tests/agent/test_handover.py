"""Orders down the real local socket, reports up into the real spool."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from agent import handover as module
from agent.errors import LogStaleError, OrderRefusedError
from agent.executor_socket import MAX_FRAME_BYTES, Answer, Client, Server
from agent.handover import Handover, NodeState
from agent.log_proof import LogProof, Standing
from agent.spool import Spool
from agent.watch import Watch, Watched
from appliance.envelope import MAX_ENVELOPE_BYTES
from appliance.halt import Halt
from appliance.records import Outcome, Report
from tests.agent.builders import report

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class DeskDouble:
    """An executor that remembers what it was given."""

    news: threading.Condition = field(default_factory=threading.Condition)
    dry_run: bool = False
    envelopes: list[bytes] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    refuses: bool = False
    seen_size: int | None = None  # None: any proof will do
    answer: Answer = field(default_factory=Answer)
    halts: list[tuple[Halt, bool]] = field(default_factory=list)
    resumptions: list[bytes] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)

    def state(self) -> Answer:
        return msgspec.structs.replace(self.answer, dry_run=self.dry_run)

    def undo(self, order_id: str) -> str:
        self.undone.append(order_id)
        if self.refuses:
            raise OrderRefusedError("undo 1 order", "nothing of this order ran here")
        return order_id

    def halt(self, halt: Halt, *, by_root: bool) -> None:
        self.halts.append((halt, by_root))
        with self.news:
            self.answer = msgspec.structs.replace(self.answer, halted=True, halt_reason=halt.reason)
            self.news.notify_all()

    def resume(self, resumption: bytes) -> None:
        self.resumptions.append(resumption)
        raise OrderRefusedError("resume 1 form", "not a resumption")

    def resume_here(self) -> None:
        raise AssertionError

    def witness(self, note: str, proof: LogProof) -> Standing:
        return Standing(size=self.seen_size or 0)

    def submit(self, envelope: bytes, proof: LogProof) -> str:
        if self.seen_size not in (None, proof.log_from):
            raise LogStaleError(self.seen_size)
        self.envelopes.append(envelope)
        if self.refuses:
            raise OrderRefusedError("1 signature", "not signed by the hub")
        return "o1"

    def untold(self) -> list[Report]:
        return list(self.reports)

    def told(self, report_id: str) -> None:
        self.reports = [one for one in self.reports if one.report_id != report_id]

    def report(self, one: Report) -> None:
        with self.news:
            self.reports.append(one)
            self.news.notify_all()


@pytest.fixture
def desk() -> DeskDouble:
    return DeskDouble()


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "executor.sock"


@pytest.fixture
def serve(desk: DeskDouble, socket: Path) -> Iterator[Callable[[], None]]:
    servers: list[Server] = []

    def start() -> None:
        servers.append(Server(socket, desk, agent_user=None))
        threading.Thread(target=servers[-1].serve, daemon=True).start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool.db", limit_bytes=10**7)
    yield spool
    spool.close()


@pytest.fixture
def taken() -> list[str]:
    return []


@pytest.fixture
def handover(
    socket: Path, spool: Spool, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Handover]:
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    monkeypatch.setattr(module, "POLL_S", 0.2)
    handover = Handover(Client(socket), spool, Watch(), taken=taken.append)
    handover.start()
    yield handover
    handover.stop()
    for thread in threading.enumerate():  # both use the spool, which is closed after this
        if thread.name in ("hand_over", "pass_on", "fetch"):
            thread.join(30)  # a question that nobody answers any more takes its 10 s
            assert not thread.is_alive()


def eventually(condition: Callable[[], bool], *, within_s: float = 10) -> bool:
    deadline = time.monotonic() + within_s
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return true


def test_an_order_is_taken_once_the_executor_has_it(
    serve: Callable[[], None], handover: Handover, desk: DeskDouble, taken: list[str]
) -> None:
    serve()
    handover.take("o1", b"sealed")
    assert eventually(lambda: taken == ["o1"])
    assert desk.envelopes == [b"sealed"]


def test_an_order_waits_for_an_executor_that_is_away_and_is_handed_over_once(
    serve: Callable[[], None], handover: Handover, desk: DeskDouble, taken: list[str]
) -> None:
    handover.take("o1", b"sealed")
    handover.take("o1", b"sealed")  # offered again after a reconnect
    assert not eventually(lambda: bool(taken), within_s=0.2)
    serve()
    assert eventually(lambda: taken == ["o1"])
    assert desk.envelopes == [b"sealed"]


def test_a_report_is_spooled_before_it_is_confirmed(
    serve: Callable[[], None], handover: Handover, desk: DeskDouble, spool: Spool
) -> None:
    serve()
    one = report()
    desk.report(one)
    assert eventually(lambda: not desk.reports)
    (waiting,) = spool.after(0, most=10)
    assert waiting.event.body == one


def test_a_report_told_again_is_spooled_once(
    serve: Callable[[], None], handover: Handover, desk: DeskDouble, spool: Spool
) -> None:
    serve()
    one = report()
    for _ in range(2):
        desk.report(one)
        assert eventually(lambda: not desk.reports)
    assert spool.counts().waiting == 1


def test_an_envelope_that_does_not_open_is_reported_as_refused(
    serve: Callable[[], None], handover: Handover, desk: DeskDouble, spool: Spool, taken: list[str]
) -> None:
    desk.refuses = True
    serve()
    handover.take("o9", b"forged")
    assert eventually(lambda: taken == ["o9"])
    body = spool.after(0, most=10)[0].event.body
    assert isinstance(body, Report)
    assert (body.order_id, body.outcome, body.refused_step) == (
        "o9",
        Outcome.REFUSED,
        "1 signature",
    )


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_agent_learns_whether_its_node_is_live(
    serve: Callable[[], None],
    handover: Handover,
    desk: DeskDouble,
    dry_run: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert handover.dry_run
    desk.dry_run = dry_run
    serve()
    assert handover.wait_for_executor(5)
    assert handover.dry_run is dry_run


def test_the_largest_envelope_fits_into_a_frame_as_base64() -> None:
    assert MAX_FRAME_BYTES == 2 * MAX_ENVELOPE_BYTES


def test_an_order_with_a_stale_proof_is_neither_taken_nor_refused_and_can_come_again(
    socket: Path, serve: Callable[[], None], desk: DeskDouble, spool: Spool
) -> None:
    taken: list[str] = []
    stale: list[tuple[str, int]] = []
    handover = Handover(
        Client(socket),
        spool,
        Watch(),
        taken=taken.append,
        stale=lambda order_id, size: stale.append((order_id, size)),
    )
    handover.start()
    desk.seen_size = 120
    serve()
    handover.take("o1", b"sealed", LogProof(log_from=100))
    assert eventually(lambda: stale == [("o1", 120)])
    assert not taken
    assert not desk.envelopes
    assert spool.counts().waiting == 0
    handover.take("o1", b"sealed", LogProof(log_from=120))
    assert eventually(lambda: taken == ["o1"])
    assert desk.envelopes == [b"sealed"]
    handover.stop()


HALT = Halt(halt_id="h1", reason="stop")


def test_a_halt_waits_for_an_executor_that_is_away_and_no_order_is_in_its_way(
    serve: Callable[[], None], handover: Handover, desk: DeskDouble
) -> None:
    handover.take("o1", b"sealed")  # waits, too, in a thread of its own
    handover.take_halt(HALT, b"")
    assert not eventually(lambda: bool(desk.halts), within_s=0.2)
    serve()
    assert eventually(lambda: desk.halts == [(HALT, False)])
    assert eventually(lambda: handover.node_state() == NodeState(halted=True, reason="stop"))


def test_a_resumption_is_passed_on_unopened_and_its_refusal_is_the_last_word(
    serve: Callable[[], None], handover: Handover, desk: DeskDouble
) -> None:
    serve()
    handover.take_halt(HALT, b"signed")
    assert eventually(lambda: desk.resumptions == [b"signed"])
    assert desk.halts == []


def test_what_the_executor_says_of_itself_is_kept_for_the_next_start(
    serve: Callable[[], None], handover: Handover, desk: DeskDouble, spool: Spool
) -> None:
    desk.answer = Answer(halted=True, halt_reason="why", result_key="key")
    serve()
    said = NodeState(halted=True, reason="why", result_key="key")
    assert eventually(lambda: handover.node_state() == said)
    again = Handover(Client(Path("/nonexistent")), spool, Watch(), taken=lambda _: None)
    assert again.node_state() == said


@pytest.mark.parametrize("refuses", [False, True])
def test_a_rollback_is_asked_for_until_the_executor_has_answered_and_not_again(
    serve: Callable[[], None],
    handover: Handover,
    desk: DeskDouble,
    spool: Spool,
    refuses: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    watch = handover._watch
    watch._orders["o1"] = Watched(finding_id="f1", taken_at=NOW, ended_at=NOW, told=True)
    handover.ask_undo(watch.to_undo())
    assert not eventually(lambda: watch.to_undo() == [], within_s=0.2)
    desk.refuses = refuses
    serve()

    def asked() -> bool:
        handover.ask_undo(watch.to_undo())
        return watch.to_undo() == []

    assert eventually(asked)
    assert desk.undone == ["o1"]
    assert eventually(lambda: Watch(spool.kept("watch")).to_undo() == [])
