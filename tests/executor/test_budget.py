"""So many acting commands an hour: over restarts, whatever the clock says, never a rollback."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent import moment
from agent.budget import demand_room, used
from agent.errors import OrderRefusedError
from agent.execution_journal import Action
from agent.moment import Moment
from appliance.records import Mode, Outcome
from tests.attacks.forge import Forge
from tests.attacks.test_a_rollback import back, nice, slower

START = datetime(2026, 3, 1, tzinfo=UTC)
Victim = subprocess.Popen


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    one = Forge(tmp_path)
    yield one
    one.log.close()


@pytest.fixture
def victim() -> Iterator[Victim]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def at(up_s: float, *, boot: str = "b", clock_s: float | None = None) -> Moment:
    clock = up_s if clock_s is None else clock_s
    return Moment(at=START + timedelta(seconds=clock), boot=boot, up_s=up_s)


def test_the_hour_slides() -> None:
    actions = [Action(at=at(0), count=2), Action(at=at(1800), count=1)]
    assert [used(actions, now=at(when)) for when in (1800, 3599, 3600, 5399, 5400)] == [
        3, 3, 1, 1, 0,
    ]  # fmt: skip


def test_the_refusal_says_when_there_is_room_again() -> None:
    actions = [Action(at=at(0), count=2), Action(at=at(1800), count=1)]
    demand_room(actions, wanted=1, most=4, now=at(2400))
    with pytest.raises(OrderRefusedError, match="room for 2 in 20 min") as error:
        demand_room(actions, wanted=2, most=4, now=at(2400))
    assert error.value.step == "11 budget"
    with pytest.raises(OrderRefusedError, match="at most 4 an hour"):
        demand_room([], wanted=5, most=4, now=at(0))


def test_what_only_reads_always_has_room() -> None:
    demand_room([Action(at=at(0), count=99)], wanted=0, most=0, now=at(1))


@pytest.mark.parametrize("clock_s", [-9e6, -3600.0, 0.0, 9e6])
def test_setting_the_clock_refills_nothing_within_a_boot(clock_s: float) -> None:
    actions = [Action(at=at(1000), count=3)]
    assert used(actions, now=at(1010, clock_s=clock_s)) == 3
    assert used(actions, now=at(4601, clock_s=clock_s)) == 0


@pytest.mark.parametrize("clock_s", [-9e6, 0.0, 1030.0])
def test_a_clock_that_is_set_back_before_a_restart_refills_nothing(clock_s: float) -> None:
    actions = [Action(at=at(1000), count=3)]
    assert used(actions, now=at(20, boot="c", clock_s=clock_s)) == 3
    assert used(actions, now=at(3600, boot="c", clock_s=clock_s)) == 0  # the boot itself is older


def test_an_order_over_the_budget_runs_nothing_not_even_its_first_command(
    forge: Forge, victim: Victim
) -> None:
    forge.executor.most_actions_per_hour = 1
    finding = forge.finding(victim.pid)
    report = forge.give(forge.order(finding, slower(victim), f"renice -n 11 -p {victim.pid}"))
    assert (report.outcome, report.refused_step) == (Outcome.REFUSED, "11 budget")
    assert nice(victim) == 0
    report = forge.give(forge.order(finding, f"{slower(victim)}; renice -n 11 -p {victim.pid}"))
    assert report.refused_step == "11 budget"  # two commands in one line are two
    assert nice(victim) == 0


def test_a_restart_refills_nothing_and_a_rollback_is_never_refused_for_it(
    forge: Forge, victim: Victim
) -> None:
    finding = forge.finding(victim.pid)
    order = forge.order(finding, slower(victim), undos=(back(victim),))
    forge.executor.most_actions_per_hour = 1
    assert forge.give(order).outcome is Outcome.SUCCEEDED
    forge.restart()
    forge.executor.most_actions_per_hour = 1
    refused = forge.give(forge.order(finding, f"renice -n 12 -p {victim.pid}"))
    assert refused.refused_step == "11 budget", refused
    assert "room for 1 in 60 min" in refused.reason
    assert nice(victim) == 10
    assert forge.give(forge.order(finding, "uptime")).outcome is Outcome.SUCCEEDED
    assert forge.undo(order).outcome is Outcome.SUCCEEDED
    assert nice(victim) == 1
    assert used(forge.journal.actions, now=moment.now()) == 2  # but it counts


def test_a_dry_run_does_not_count(tmp_path: Path, victim: Victim) -> None:
    forge = Forge(tmp_path, mode=Mode.DRY_RUN)
    forge.executor.most_actions_per_hour = 0
    assert forge.give(forge.order(forge.finding(victim.pid), slower(victim))).outcome is (
        Outcome.DRY_RUN
    )
    assert used(forge.journal.actions, now=moment.now()) == 0
    forge.log.close()
