"""SIGKILL for each part at each step: nothing lost, nothing doubled, never silent."""

from pathlib import Path

import pytest

from tests.journeys.appliance import running, wait_for

pytestmark = [pytest.mark.journey, pytest.mark.xdist_group("one fault at a time")]


@pytest.mark.parametrize("name", ["postgres", "vault", "serve", "notary", "reason", "agent"])
def test_killed_at_every_step_the_fault_is_still_fixed_once_and_on_record(
    tmp_path: Path, name: str
) -> None:
    with running(tmp_path / "site") as site:
        fault = site.start_fault()
        site.kill(name)  # before anything was found
        site.until("open", "reasoning", "proposed", "awaiting")
        site.kill(name)  # while it is reasoned about
        site.until("awaiting")
        site.kill(name)  # while a person looks at it
        site.approve()
        site.kill(name)  # between the yes and the act
        assert site.until("resolved", "unresolved", "outcome_unknown") == "resolved"
        assert fault.process.wait(10) == -15
        assert site.row()["report"]["outcome"] == "succeeded"
        assert site.verify() == 0
        assert site.entries("approval.grant") == 1
        assert site.entries("exec.order") == 1
        assert site.entries("exec.result") == 1


def test_the_console_killed_while_a_person_answers_answers_again(tmp_path: Path) -> None:
    with running(tmp_path / "site") as site:
        site.start_fault()
        site.until("awaiting")
        site.kill("console")
        site.approve()
        assert site.until("resolved", "unresolved") == "resolved"


def test_the_executor_killed_before_the_order_comes_runs_it_once_when_it_is_back(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "site") as site:
        fault = site.start_fault()
        site.until("awaiting")
        site.kill("executor")
        site.approve()
        ended = site.until("resolved", "unresolved", "refused", "outcome_unknown")
        assert ended == "resolved"
        assert fault.process.wait(10) == -15
        assert site.verify() == 0
        assert site.entries("exec.order") == 1
        assert site.entries("exec.result") == 1


def test_without_the_hub_nothing_that_was_found_is_lost(tmp_path: Path) -> None:
    """The hub is away while the fault is found; the finding waits on the node's disk."""
    with running(tmp_path / "site") as site:
        serve = site.part("serve")
        site.assembly.launcher.stop(serve)
        site.start_fault()
        spool = site.site.root / "agent"
        agent_log = site.site.root / "logs" / "agent.log"

        def found() -> bool:
            return "finding" in agent_log.read_text()

        wait_for(found, within_s=60, why="the finding")
        assert any(spool.iterdir())
        assert site.state() == "none"
        site.assembly.launcher.restart(serve)
        site.assembly.launcher.parts.append(serve)
        assert site.until("awaiting") == "awaiting"


def test_a_fault_that_ends_by_itself_leaves_the_queue(tmp_path: Path) -> None:
    with running(tmp_path / "site") as site:
        fault = site.start_fault()
        site.until("awaiting")
        fault.process.kill()
        fault.process.wait()
        assert site.until("recovered") == "recovered"
        assert site.verify() == 0
        assert site.entries("exec.order") == 0
