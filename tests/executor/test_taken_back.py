"""What did not help is taken back: detector, watch, local socket and executor, as they really run.

Only the host is simulated, so that the test says when its condition ends.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agent.handover import Handover
from appliance import report_chain
from appliance.halt import Halt
from appliance.records import Finding, Order, Outcome, Persisting, Report
from policy.bundle import parse_bundle, read_folder
from tests.agent.test_loop import World
from tests.attacks.forge import Forge, wait_for
from tests.attacks.test_a_rollback import SLEEP, _with, back, nice, slower
from tests.executor.test_executor_process import ExecutorProcess

Victim = subprocess.Popen


@pytest.fixture
def victim() -> Iterator[Victim]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    (tmp_path / "hub").mkdir()
    one = Forge(tmp_path / "hub")
    yield one
    one.log.close()


@pytest.fixture
def executor(tmp_path: Path, forge: Forge) -> Iterator[ExecutorProcess]:
    _with(tmp_path, "99-test.toml", SLEEP)
    policy = f'policy = "{tmp_path}/rules"\n'
    forge.trust.bundle = parse_bundle(read_folder(tmp_path / "rules"))
    one = ExecutorProcess(tmp_path, forge, policy=policy)
    one.start()
    yield one
    if one.process is not None and one.process.poll() is None:
        one.kill()


class Node:
    """A node's agent without network, with its executor."""

    def __init__(self, folder: Path, executor: ExecutorProcess, forge: Forge) -> None:
        self.world = World(folder)
        self.executor, self.forge = executor, forge
        self.handover = Handover(
            executor.client, self.world.spool, self.world.watch, taken=lambda _: None
        )
        self.handover.start()

    def falls_ill(self) -> Finding:
        self.world.host.disks["/var"] = 95.0
        (finding,) = self.world.cycle(2)
        assert isinstance(finding, Finding)
        return finding

    def takes(self, finding: Finding, victim: Victim, command: str, undo: str) -> Order:
        about = self.forge.finding(victim.pid, finding_id=finding.finding_id)
        order = self.forge.order(about, command, undos=(undo,), timeout_s=60.0)
        self.handover.take(order.order_id, self.forge.seal(order))
        return order

    def reports(self) -> list[Report]:
        bodies = [event.body for event in self.world.spooled()]
        return [body for body in bodies if isinstance(body, Report)]

    def waits_for_reports(self, count: int) -> Report:
        wait_for(lambda: len(self.reports()) == count, within_s=30)
        return self.reports()[-1]

    def looks(self, times: int) -> list[object]:
        """Cycles of the detector, as `agent.loop.Agent` does them; what they brought."""
        # The executor's clock is the real one, the detector's is the test's.
        self.world.now = max(self.world.now, *(one.finished_at for one in self.reports()))
        found = self.world.cycle(times)
        self.handover.ask_undo(self.world.watch.to_undo())
        return found

    def close(self) -> None:
        self.handover.stop()
        self.world.spool.close()


@pytest.fixture
def node(tmp_path: Path, executor: ExecutorProcess, forge: Forge) -> Iterator[Node]:
    (tmp_path / "agent").mkdir()
    one = Node(tmp_path / "agent", executor, forge)
    yield one
    one.close()


def test_an_order_that_did_not_help_is_taken_back_by_itself(node: Node, victim: Victim) -> None:
    order = node.takes(node.falls_ill(), victim, slower(victim), back(victim))
    first = node.waits_for_reports(1)
    assert first.outcome is Outcome.SUCCEEDED, first
    assert nice(victim) == 10
    assert node.looks(3) == []  # the hold time has not passed
    (persisting,) = node.looks(7)
    assert isinstance(persisting, Persisting)
    report = node.waits_for_reports(2)
    assert (report.outcome, report.undo_of) == (Outcome.SUCCEEDED, first.report_id), report
    assert nice(victim) == 1
    assert node.world.watch.to_undo() == []
    state = node.handover.node_state()
    assert state is not None
    key = report_chain.read_key(state.result_key)
    assert all(report_chain.is_signed_by(one, key) for one in node.reports())
    assert report.previous == report_chain.digest(first)
    assert order.order_id == report.order_id


def test_an_order_that_helped_is_not_taken_back(node: Node, victim: Victim) -> None:
    node.takes(node.falls_ill(), victim, slower(victim), back(victim))
    node.waits_for_reports(1)
    node.world.host.disks["/var"] = 20.0
    node.looks(2)
    assert node.looks(60) == []
    assert len(node.reports()) == 1
    assert nice(victim) == 10


def test_an_order_that_failed_and_yet_helped_is_not_taken_back(node: Node, victim: Victim) -> None:
    node.takes(node.falls_ill(), victim, f"{slower(victim)} && cat /nonexistent", back(victim))
    assert node.waits_for_reports(1).outcome is Outcome.FAILED
    node.world.host.disks["/var"] = 20.0
    node.looks(2)
    assert node.looks(60) == []
    assert nice(victim) == 10


def test_an_order_that_failed_and_did_not_help_is_taken_back(node: Node, victim: Victim) -> None:
    node.takes(node.falls_ill(), victim, f"{slower(victim)} && cat /nonexistent", back(victim))
    assert node.waits_for_reports(1).outcome is Outcome.FAILED
    node.looks(10)
    assert node.waits_for_reports(2).outcome is Outcome.SUCCEEDED
    assert nice(victim) == 1


def test_killed_in_the_middle_of_a_rollback_it_is_told_and_never_run_again(
    node: Node, victim: Victim, executor: ExecutorProcess
) -> None:
    undo = f"{back(victim)} && sleep 60"
    order = node.takes(node.falls_ill(), victim, slower(victim), undo)
    node.waits_for_reports(1)
    node.looks(10)
    book = executor.state / "journal.jsonl"
    wait_for(lambda: nice(victim) == 1, within_s=20)
    assert executor.process is not None
    children = psutil.Process(executor.process.pid).children(recursive=True)
    executor.kill()
    for child in children:
        child.kill()
    executor.start()
    report = node.waits_for_reports(2)
    assert report.outcome is Outcome.UNKNOWN, report
    assert report.undo_of
    assert executor.client.undo(order.order_id).order_id == order.order_id
    node.looks(10)
    lines = [json.loads(line)["what"] for line in book.read_text().splitlines()]
    assert lines.count("undo_started") == 1
    assert lines.count("undoing") == 1
    assert [one.number for one in node.reports()] == [1, 2]


def test_a_halt_from_the_hub_kills_a_rollback_that_runs(
    node: Node, victim: Victim, executor: ExecutorProcess
) -> None:
    undo = f"{back(victim)} && sleep 60"
    node.takes(node.falls_ill(), victim, slower(victim), undo)
    node.waits_for_reports(1)
    node.looks(10)
    wait_for(lambda: nice(victim) == 1, within_s=20)
    node.handover.take_halt(Halt(halt_id="h1", reason="enough"), b"")
    report = node.waits_for_reports(2)
    assert report.outcome is Outcome.FAILED, report
    assert "enough" in report.reason
    wait_for(lambda: node.handover.node_state().halted)  # type: ignore[union-attr]


def test_a_rollback_is_not_asked_for_while_the_executor_is_away_and_then_it_is(
    node: Node, victim: Victim, executor: ExecutorProcess
) -> None:
    node.takes(node.falls_ill(), victim, slower(victim), back(victim))
    node.waits_for_reports(1)
    executor.kill()
    assert len(node.looks(10)) == 1
    executor.start()

    def taken_back() -> bool:
        node.handover.ask_undo(node.world.watch.to_undo())
        return len(node.reports()) == 2

    wait_for(taken_back, within_s=30)
    assert nice(victim) == 1
