"""The loop: incidents are taken from the real database, and given up when nobody waits."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from appliance.lifecycle import State
from appliance.records import Finding, Plan
from hub.persist.database import Database
from hub.reason import worker
from hub.reason.errors import CancelledError, ModelError
from hub.reason.frames import Answer, Ask
from hub.reason.process import Loaded
from hub.reason.queue import DatabaseQueue
from hub.reason.settings import ReasonSettings
from hub.reason.worker import Worker
from tests.hub.builders import opened, state_of
from tests.reason import world

SETTINGS = ReasonSettings(dsn="", lease_s=30, beat_s=0.001)


@dataclass
class Task:
    incident_id: str = "i-1"
    finding: Finding = world.LEAK
    attempts: int = 1


@dataclass
class Shelf:
    """A queue in memory; whether leases can be renewed and plans saved is said by the test."""

    tasks: list[Task]
    renews: bool = True
    saves: bool = True
    stop: threading.Event = field(default_factory=threading.Event)
    plans: list[Plan] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    beats: list[dict[str, object]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def claim(self) -> Task | None:
        return self.tasks.pop(0) if self.tasks else None

    def renew(self, incident_id: str) -> bool:
        return self.renews

    def save(self, incident_id: str, plan: Plan) -> bool:
        self.done.append("plan")
        if self.saves:
            self.plans.append(plan)
        return self.saves

    def release(self, incident_id: str) -> None:
        self.released.append(incident_id)

    def beat(self, detail: dict[str, object]) -> None:
        self.beats.append(detail)

    def model_in_use(self, loaded: Loaded) -> None:
        self.done.append(f"model {loaded.name}")

    def wait(self, timeout_s: float) -> None:
        self.stop.set()


@dataclass
class Ponderer:
    """A model that thinks until it is told to stop."""

    thought: int = 0
    trouble: str | None = None
    loaded: Loaded | None = None
    on_thought: Callable[[], None] = lambda: None

    def warm(self) -> None:
        pass

    def ask(self, question: Ask, *, go_on: Callable[[], bool]) -> Answer:
        while go_on():
            self.thought += 1
            self.on_thought()
            assert self.thought < 1_000_000, "nobody stopped it"
        raise CancelledError("told to stop")


def test_every_waiting_incident_gets_a_plan() -> None:
    shelf = Shelf([Task("i-1"), Task("i-2")])
    Worker(SETTINGS, shelf, None).run(shelf.stop)
    assert [plan.incident_id for plan in shelf.plans] == ["i-1", "i-2"]
    assert shelf.beats


def test_the_model_is_stopped_when_the_incident_recovered_and_nothing_is_saved() -> None:
    shelf, model = Shelf([Task()], renews=False), Ponderer()
    hurried = ReasonSettings(dsn="", lease_s=0.001)
    assert Worker(hurried, shelf, model).turn(shelf.stop)
    assert (shelf.plans, shelf.released) == ([], [])


def test_a_model_is_on_record_once_and_before_the_plan_that_it_proposed() -> None:
    class Late(Ponderer):
        def ask(self, question: Ask, *, go_on: Callable[[], bool]) -> Answer:
            self.loaded = Loaded(name="other.gguf", sha256="ab" * 32)
            raise ModelError("no answer")

    shelf, model = Shelf([Task("i-1"), Task("i-2")]), Late()
    Worker(SETTINGS, shelf, model).run(shelf.stop)
    assert shelf.done == ["model other.gguf", "plan", "plan"]


def test_a_reasoner_told_to_stop_gives_its_incident_back() -> None:
    shelf = Shelf([Task()])
    model = Ponderer(on_thought=shelf.stop.set)
    assert Worker(SETTINGS, shelf, model).turn(shelf.stop)
    assert shelf.released == ["i-1"]
    assert shelf.plans == []


def test_an_incident_taken_too_often_is_reasoned_about_without_the_model() -> None:
    shelf, model = Shelf([Task(attempts=3)]), Ponderer()
    Worker(SETTINGS, shelf, model).turn(shelf.stop)
    assert model.thought == 0
    assert shelf.plans[0].origin == "catalogue"
    assert "taken 3 times" in (shelf.plans[0].model_error or "")


def test_a_finding_that_the_diagnosis_cannot_digest_goes_to_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> Plan:
        raise ZeroDivisionError

    monkeypatch.setattr(worker, "reason", broken)
    shelf = Shelf([Task()])
    Worker(SETTINGS, shelf, None).run(shelf.stop)
    assert shelf.plans[0].steps == ()
    assert shelf.plans[0].model_error == "the diagnosis failed: ZeroDivisionError"


@pytest.mark.postgres
def test_an_incident_of_the_real_database_becomes_proposed(database: Database, dsn: str) -> None:
    with DatabaseQueue(dsn, holder="test", lease_s=30) as queue:
        assert queue.claim() is None
        opened(database)
        incident = queue.claim()
        assert incident
        assert queue.renew(incident.incident_id)
        queue.release(incident.incident_id)
        assert state_of(database, incident.incident_id) == State.OPEN
        assert Worker(SETTINGS, queue, None).turn(threading.Event())
        assert state_of(database, incident.incident_id) == State.PROPOSED
        assert not queue.renew(incident.incident_id)
        queue.beat({"doing": "test"})
        queue.wait(0.01)


@pytest.mark.postgres
def test_a_lease_that_another_holds_can_be_neither_renewed_nor_used(
    database: Database, dsn: str
) -> None:
    opened(database)
    with (
        DatabaseQueue(dsn, holder="one", lease_s=-1.0) as one,
        DatabaseQueue(dsn, holder="two", lease_s=30) as two,
    ):
        first = one.claim()
        assert first
        second = two.claim()
        assert second
        assert (second.incident_id, second.attempts) == (first.incident_id, 2)
        assert not one.renew(first.incident_id)
        shelf = Shelf([Task(first.incident_id)])
        Worker(SETTINGS, shelf, None).turn(shelf.stop)
        assert not one.save(first.incident_id, shelf.plans[0])
        assert two.save(first.incident_id, shelf.plans[0])
