"""Checkpoints down to the executor, where the node stands up to the hub; a real socket between."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent import log_watch as module
from agent.errors import LogForkedError
from agent.executor_socket import Client, Server
from agent.log_proof import NO_PROOF, LogProof, Standing, read
from agent.log_watch import LogWatch
from agent.witness import Witness
from appliance.records import Report
from tests.agent.trees import VKEY, tree


@dataclass
class Desk:
    """An executor that only witnesses."""

    own: Witness
    news: threading.Condition = field(default_factory=threading.Condition)
    dry_run: bool = False
    asked: int = 0

    def submit(self, envelope: bytes, proof: LogProof) -> str:
        raise NotImplementedError

    def untold(self) -> list[Report]:
        return []

    def told(self, report_id: str) -> None:
        raise NotImplementedError

    def witness(self, note: str, proof: LogProof) -> Standing:
        self.asked += 1
        if note:
            with suppress(LogForkedError):
                self.own.accept(note, proof, vkeys=[VKEY])
        return self.own.standing(vkeys=[VKEY])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(Witness(file=tmp_path / "checkpoint.json", node="h1.test"))


@pytest.fixture
def serve(desk: Desk, tmp_path: Path) -> Iterator[Callable[[], None]]:
    servers: list[Server] = []

    def start() -> None:
        servers.append(Server(tmp_path / "socket", desk, agent_user=None))
        threading.Thread(target=servers[-1].serve, daemon=True).start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def said() -> list[Standing]:
    return []


@pytest.fixture
def watch(
    tmp_path: Path, said: list[Standing], monkeypatch: pytest.MonkeyPatch
) -> Iterator[LogWatch]:
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.1)
    one = LogWatch(Client(tmp_path / "socket"), said.append)
    one.start()
    yield one
    one.stop()
    for thread in threading.enumerate():
        if thread.name == "log_watch":
            thread.join(5)


def eventually(condition: Callable[[], bool], *, within_s: float = 10) -> bool:
    deadline = time.monotonic() + within_s
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return true


def test_an_offer_is_answered_with_where_the_node_stands(
    serve: Callable[[], None], watch: LogWatch, said: list[Standing]
) -> None:
    serve()
    log = tree(20)
    watch.offer(log.cut(10).note(), NO_PROOF)
    assert eventually(lambda: bool(said) and said[-1].size == 10)
    watch.offer(log.note(), log.proof(10, 20))
    assert eventually(lambda: said[-1].size == 20)
    assert said[-1].cosignature


def test_a_stale_offer_is_answered_with_where_the_node_really_stands(
    serve: Callable[[], None], watch: LogWatch, said: list[Standing], desk: Desk
) -> None:
    log = tree(20)
    desk.own.accept(log.cut(10).note(), NO_PROOF, vkeys=[VKEY])
    serve()
    watch.offer(log.note(), log.proof(5, 20))
    assert eventually(lambda: bool(said) and said[-1].size == 10)
    assert said[-1].fork == ""


def test_of_many_offers_to_an_executor_that_is_away_the_newest_is_kept(
    serve: Callable[[], None], watch: LogWatch, said: list[Standing], desk: Desk
) -> None:
    log = tree(50)
    for size in range(1, 50):
        watch.offer(log.cut(size).note(), NO_PROOF)
    watch.offer(log.note(), NO_PROOF)
    serve()
    assert eventually(lambda: bool(said) and said[-1].size == 50)
    seen = desk.own.seen
    assert seen is not None
    assert seen.size == 50


def test_a_fork_that_a_person_clears_is_told_without_being_asked(
    serve: Callable[[], None], watch: LogWatch, said: list[Standing], desk: Desk
) -> None:
    from datetime import UTC, datetime  # noqa: PLC0415 - beside its one use

    from agent.forks import ForkFile  # noqa: PLC0415 - beside its one use

    serve()
    watch.offer(tree(20).note(), NO_PROOF)
    watch.look()
    assert eventually(lambda: bool(said) and said[-1].size == 20)
    watch.offer(tree(20, history=2).note(), NO_PROOF)
    assert eventually(lambda: "two histories" in said[-1].fork)
    ForkFile(desk.own.file.parent).clear(now=datetime.now(UTC))
    assert eventually(lambda: said[-1].fork == "")


def test_what_has_not_changed_is_not_said_again(
    serve: Callable[[], None], watch: LogWatch, said: list[Standing], desk: Desk
) -> None:
    serve()
    watch.look()
    assert eventually(lambda: len(said) == 1)
    asked = desk.asked
    assert eventually(lambda: desk.asked >= asked + 3)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("log_from", "path"),
    [(0, [b"x"]), (0, [b"x" * 31]), (0, [b"x" * 32] * 129), (2**60, []), (0, [b""])],
)
def test_what_has_not_the_form_of_a_proof_is_none(log_from: int, path: list[bytes]) -> None:
    assert read(log_from, path) is None
