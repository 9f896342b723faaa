"""Many at once at one executor, and two executors at once: an order runs at most once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.executor_socket import Client
from appliance.ids import uuid7
from appliance.records import Order, Outcome
from tests.attacks.forge import Forge, changed, wait_for
from tests.crash.victims import Victim
from tests.executor.test_executor_process import ExecutorProcess, forge
from tests.races.arena import at_once

__all__ = ["forge"]
ROUNDS = 5


@pytest.fixture
def executor(tmp_path: Path, forge: Forge) -> Iterator[ExecutorProcess]:
    one = ExecutorProcess(tmp_path, forge)
    one.start()
    yield one
    one.kill()


@pytest.fixture
def victim() -> Iterator[Victim]:
    with Victim() as one:
        yield one


def test_an_order_that_comes_on_many_connections_at_once_runs_once(
    executor: ExecutorProcess, forge: Forge, victim: Victim
) -> None:
    for number in range(1, ROUNDS + 1):
        order = forge.order(forge.finding(victim.pid), victim.command)
        sealed = forge.seal(order)
        racers = at_once(*[lambda sealed=sealed: Client(executor.socket).submit(sealed)] * 6)
        assert {getattr(racer.answer, "order_id", "") for racer in racers} == {order.order_id}
        assert executor.report_on(order).outcome is Outcome.SUCCEEDED
        assert victim.count() == number
        (report,) = executor.client.reports()
        executor.client.told(report.report_id)


def test_one_approval_in_many_orders_at_once_runs_once(
    executor: ExecutorProcess, forge: Forge, victim: Victim
) -> None:
    for number in range(1, ROUNDS + 1):
        order = forge.order(forge.finding(victim.pid), victim.command)
        orders: list[Order] = [changed(order, order_id=uuid7()) for _ in range(4)]
        at_once(
            *[lambda one=one: Client(executor.socket).submit(forge.seal(one)) for one in orders]
        )
        reports = [executor.report_on(one) for one in orders]
        ran = [one for one in reports if one.outcome is Outcome.SUCCEEDED]
        refused = [one for one in reports if one.refused_step == "5 once"]
        assert (len(ran), len(refused)) == (1, 3)
        assert victim.count() == number
        for one in reports:
            executor.client.told(one.report_id)


def test_a_second_executor_beside_the_first_does_not_start_and_changes_nothing(
    executor: ExecutorProcess, forge: Forge, victim: Victim, tmp_path: Path
) -> None:
    order = forge.order(forge.finding(victim.pid), victim.command)
    executor.client.submit(forge.seal(order))
    assert executor.report_on(order).outcome is Outcome.SUCCEEDED
    book = (executor.state / "journal.jsonl").read_bytes()
    (tmp_path / "second").mkdir()
    second = ExecutorProcess(tmp_path / "second", forge)
    second.config.write_text(executor.config.read_text())
    with pytest.raises(AssertionError, match="another executor is at work here"):
        second.start()
    assert (executor.state / "journal.jsonl").read_bytes() == book
    assert executor.report_on(order).outcome is Outcome.SUCCEEDED
    executor.kill()
    wait_for(lambda: executor.process is not None and executor.process.poll() is not None)
    executor.start()
    executor.client.submit(forge.seal(order))
    assert victim.count() == 1
