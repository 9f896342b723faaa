"""The rollback of an order that did not help: at most once, only what was approved, only here.

The adversary is an agent that asks for rollbacks, a hub that made the plan, and who can write
files on the node as long as root's own stay root's. Each step of `agent/undo_check.py` is attacked
by a request that is right in everything else; each test asserts who refused *and* that nothing
changed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import order_check, rejudge, undo_check
from agent.errors import OrderRefusedError
from agent.execution_journal import ExecutionJournal, Line
from agent.moment import Moment
from appliance.halt import Halt
from appliance.records import Finding, Mode, Order, Outcome, Report
from policy.bundle import SHIPPED_RULES, parse_bundle, read_folder
from policy.evidence import facts_of
from policy.facts import Facts
from policy.overlay import tightened
from policy.rules import Bundle
from tests.attacks.forge import Forge, changed, shipped

Victim = subprocess.Popen
FORBIDDEN = b'[[forbid]]\nnames = ["renice"]\nwhy = "not here"\n'


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    one = Forge(tmp_path)
    yield one
    one.log.close()


@pytest.fixture
def start() -> Iterator[Callable[[], Victim]]:
    """Processes whose priority an order changes."""
    started: list[subprocess.Popen[bytes]] = []

    def one() -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))
        return started[-1]

    yield one
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def victim(start: Callable[[], Victim]) -> Victim:
    return start()


def nice(victim: Victim) -> int:
    return os.getpriority(os.PRIO_PROCESS, victim.pid)


def slower(victim: Victim) -> str:
    return f"renice -n 10 -p {victim.pid}"


def back(victim: Victim) -> str:
    return f"renice -n 1 -p {victim.pid}"


def ran(forge: Forge, *victims: Victim, undos: tuple[str | None, ...] | None = None) -> Order:
    """An order that ran: each victim is at 10 now, and can be taken back to 1."""
    finding = forge.finding(*(one.pid for one in victims))
    if undos is None:
        undos = tuple(back(one) for one in victims)
    order = forge.order(finding, *(slower(one) for one in victims), undos=undos)
    report = forge.give(order)
    assert report.outcome is Outcome.SUCCEEDED, report
    assert [nice(one) for one in victims] == [10 for _ in victims]
    return order


def refused(report: Report, step: str, *victims: Victim) -> None:
    """The named step said no, and nothing was taken back."""
    assert report.outcome is Outcome.REFUSED, report
    assert report.refused_step == step, report
    assert report.undo_of
    assert report.steps == ()
    assert [nice(one) for one in victims] == [10 for _ in victims]


def asking(forge: Forge, order_id: str, step: str) -> None:
    """The request alone is refused: no report, no line in the journal."""
    before = (forge.folder / "state" / "journal.jsonl").read_bytes()
    with pytest.raises(OrderRefusedError) as error:
        forge.executor.undo(order_id)
    assert error.value.step == step
    assert (forge.folder / "state" / "journal.jsonl").read_bytes() == before


def test_an_order_that_did_not_help_is_taken_back_in_reverse_order(
    forge: Forge, start: Callable[[], Victim]
) -> None:
    first, second = start(), start()
    order = ran(forge, first, second)
    one = forge.executor.untold()[-1]
    report = forge.undo(order)
    assert report.outcome is Outcome.SUCCEEDED, report
    assert (nice(first), nice(second)) == (1, 1)
    assert [step.index for step in report.steps] == [1, 0]
    assert [step.argv[0][-1] for step in report.steps] == [str(second.pid), str(first.pid)]
    assert report.undo_of == one.report_id
    assert (report.number, one.number) == (2, 1)


def test_only_what_was_started_is_taken_back(forge: Forge, start: Callable[[], Victim]) -> None:
    first, second, third = start(), start(), start()
    finding = forge.finding(first.pid, second.pid, third.pid)
    commands = (slower(first), f"{slower(second)} && cat /nonexistent", slower(third))
    order = forge.order(finding, *commands, undos=tuple(map(back, (first, second, third))))
    assert forge.give(order).outcome is Outcome.FAILED
    assert [nice(one) for one in (first, second, third)] == [10, 10, 0]
    report = forge.undo(order)
    assert report.outcome is Outcome.SUCCEEDED, report
    assert [step.index for step in report.steps] == [1, 0]
    assert [nice(one) for one in (first, second, third)] == [1, 1, 0]


def test_after_a_deadline_it_is_taken_back_too(forge: Forge, victim: Victim) -> None:
    forge.trust.bundle = _with(forge.folder, "99-test.toml", SLEEP)
    command = f"{slower(victim)} && sleep 60"
    finding = forge.finding(victim.pid)
    order = forge.order(finding, command, undos=(back(victim),), timeout_s=0.3)
    assert forge.give(order).outcome is Outcome.TIMED_OUT
    assert nice(victim) == 10
    assert forge.undo(order).outcome is Outcome.SUCCEEDED
    assert nice(victim) == 1


def test_a_command_without_rollback_is_skipped_and_told(
    forge: Forge, start: Callable[[], Victim]
) -> None:
    first, second = start(), start()
    order = ran(forge, first, second, undos=(None, back(second)))
    report = forge.undo(order)
    assert report.outcome is Outcome.SUCCEEDED
    assert "command 1 has no rollback" in report.reason
    assert (nice(first), nice(second)) == (10, 1)


def test_a_rollback_that_is_review_is_left_to_a_person_and_told(
    forge: Forge, start: Callable[[], Victim]
) -> None:
    first, second = start(), start()
    by_hand = f"frobnicate -p {first.pid}"
    assert forge.step(by_hand, by_hand, facts(forge.finding(first.pid))).undo_ruling == "review"
    order = ran(forge, first, second, undos=(by_hand, back(second)))
    report = forge.undo(order)
    assert report.outcome is Outcome.SUCCEEDED
    assert by_hand in report.reason
    assert (nice(first), nice(second)) == (10, 1)


def test_a_rollback_that_fails_ends_it_and_says_so(
    forge: Forge, start: Callable[[], Victim]
) -> None:
    first, second = start(), start()
    order = ran(forge, first, second, undos=(back(first), f"{back(second)} && cat /nonexistent"))
    report = forge.undo(order)
    assert report.outcome is Outcome.FAILED
    assert "command 2 ended with status 1" in report.reason
    assert (nice(first), nice(second)) == (10, 1)


# The order itself: a plan with a rollback that may not run does not run at all ----------------


@pytest.mark.parametrize("ruling", ["allow", "review", "block"])
def test_8_a_blocked_rollback_hidden_in_an_allowed_plan_runs_nothing(
    forge: Forge, victim: Victim, ruling: str
) -> None:
    finding = forge.finding(victim.pid)
    for undo in ("rm -rf /", "echo $(id)", "renice -n -20 -p 1"):
        step = forge.step(slower(victim), undo, facts(finding), undo_ruling=ruling)
        shown = forge.shown(finding, steps=(changed(step, undo_digest=step.program_digest),))
        report = forge.give(forge.order(finding, shown=shown))
        assert report.refused_step == "8 policy", report
        assert "rollback" in report.reason
        assert nice(victim) == 0
    asking(forge, report.order_id, "undo 1 order")


def test_8_a_rollback_that_only_the_hub_allows_runs_nothing(forge: Forge, victim: Victim) -> None:
    finding = forge.finding(victim.pid)
    undo = f"frobnicate {victim.pid}"
    step = forge.step(slower(victim), undo, facts(finding), undo_ruling="allow")
    report = forge.give(forge.order(finding, shown=forge.shown(finding, steps=(step,))))
    assert report.refused_step == "8 policy"
    assert "shown as allow, here it is review" in report.reason
    assert nice(victim) == 0


def test_8_a_rollback_that_hub_and_node_read_differently_runs_nothing(
    forge: Forge, victim: Victim
) -> None:
    finding = forge.finding(victim.pid)
    step = forge.step(slower(victim), back(victim), facts(finding), undo_digest="0" * 64)
    report = forge.give(forge.order(finding, shown=forge.shown(finding, steps=(step,))))
    assert report.refused_step == "8 policy"
    assert nice(victim) == 0


def test_8_a_ruling_on_a_rollback_that_is_not_there_runs_nothing(
    forge: Forge, victim: Victim
) -> None:
    finding = forge.finding(victim.pid)
    step = forge.step(slower(victim), None, facts(finding), undo_ruling="allow")
    report = forge.give(forge.order(finding, shown=forge.shown(finding, steps=(step,))))
    assert report.refused_step == "8 policy"
    assert nice(victim) == 0


# The steps of the rollback ----------------------------------------------------------------------


def test_0_a_halted_node_takes_nothing_back_and_never_will(forge: Forge, victim: Victim) -> None:
    order = ran(forge, victim)
    forge.executor.halt(Halt(halt_id="h1", reason="stop"), by_root=False)
    refused(forge.undo(order), "undo 0 halted", victim)
    forge.executor.resume_here()
    assert forge.work(lambda: forge.executor.undo(order.order_id)) == []
    assert nice(victim) == 10


def test_0_a_node_that_was_put_into_dry_run_since_takes_nothing_back(
    forge: Forge, victim: Victim
) -> None:
    order = ran(forge, victim)
    forge.trust.mode = Mode.DRY_RUN
    refused(forge.undo(order), "undo 0 dry run", victim)


def test_1_an_order_that_was_never_taken_is_not_taken_back(forge: Forge, victim: Victim) -> None:
    order = forge.order(forge.finding(victim.pid), slower(victim), undos=(back(victim),))
    asking(forge, order.order_id, "undo 1 order")
    asking(forge, "../../etc/passwd", "undo 1 order")
    assert nice(victim) == 0


def test_1_an_order_that_was_refused_is_not_taken_back(forge: Forge, victim: Victim) -> None:
    late = datetime.now(UTC) - timedelta(seconds=1)
    finding = forge.finding(victim.pid)
    order = forge.order(finding, slower(victim), undos=(back(victim),), not_after=late)
    assert forge.give(order).outcome is Outcome.REFUSED
    asking(forge, order.order_id, "undo 1 order")
    assert nice(victim) == 0


def test_1_a_rehearsal_is_not_taken_back(forge: Forge, victim: Victim) -> None:
    finding = forge.finding(victim.pid)
    shown = forge.shown(finding, slower(victim), undos=(back(victim),), mode=Mode.DRY_RUN)
    order = forge.order(finding, shown=shown)
    assert forge.give(order).outcome is Outcome.DRY_RUN
    asking(forge, order.order_id, "undo 1 order")
    assert nice(victim) == 0


def test_2_after_a_crash_in_the_middle_of_an_order_nothing_is_taken_back(
    forge: Forge, victim: Victim
) -> None:
    order = forge.order(forge.finding(victim.pid), slower(victim), undos=(back(victim),))
    forge.executor.submit(forge.seal(order))
    forge.journal.append(
        Line(at=datetime.now(UTC), what="started", order_id=order.order_id, index=0)
    )
    forge.restart()
    (report,) = forge.journal.recover(now=Moment(at=datetime.now(UTC)))
    assert report.outcome is Outcome.UNKNOWN
    asking(forge, order.order_id, "undo 2 outcome")
    assert nice(victim) == 0


def test_2_an_order_that_still_runs_is_not_taken_back(forge: Forge, victim: Victim) -> None:
    order = forge.order(forge.finding(victim.pid), slower(victim), undos=(back(victim),))
    forge.executor.submit(forge.seal(order))  # claimed; nobody works it off
    asking(forge, order.order_id, "undo 2 outcome")


def test_3_a_rollback_runs_once_however_often_and_after_however_many_restarts_it_is_asked_for(
    forge: Forge, victim: Victim
) -> None:
    order = ran(forge, victim)
    assert forge.undo(order).outcome is Outcome.SUCCEEDED
    os.setpriority(os.PRIO_PROCESS, victim.pid, 10)
    for _ in range(2):
        assert forge.work(lambda: forge.executor.undo(order.order_id)) == []
        forge.restart()
    assert nice(victim) == 10


@pytest.mark.parametrize("begun", [False, True])
def test_3_a_crash_in_the_middle_of_a_rollback_is_told_and_it_never_runs_again(
    forge: Forge,
    victim: Victim,
    begun: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    order = ran(forge, victim)
    forge.executor.undo(order.order_id)  # used up; the worker never came
    if begun:
        at = datetime.now(UTC)
        forge.journal.append(Line(at=at, what="undo_started", order_id=order.order_id, index=0))
    forge.restart()
    (report,) = forge.journal.recover(now=Moment(at=datetime.now(UTC)))
    assert report.undo_of
    assert report.outcome is (Outcome.UNKNOWN if begun else Outcome.REFUSED)
    assert forge.work(lambda: forge.executor.undo(order.order_id)) == []
    assert forge.journal.recover(now=Moment(at=datetime.now(UTC))) == []
    assert nice(victim) == 10


def test_4_a_rollback_that_is_asked_for_too_late_changes_nothing(
    forge: Forge, victim: Victim
) -> None:
    order = ran(forge, victim)
    forge.executor.undo_within_s = 1e-9
    refused(forge.undo(order), "undo 4 time", victim)


def test_4_a_clock_that_is_set_back_does_not_make_a_rollback_early(forge: Forge) -> None:
    now = datetime.now(UTC)
    ended = Moment(at=now, boot="b", up_s=1000.0)
    past = undo_check.Past("o1", ended=ended)
    for moment in (
        Moment(at=now - timedelta(days=300), boot="b", up_s=1000.0 + 3601),  # this boot
        Moment(at=now - timedelta(days=300), boot="c", up_s=3601.0),  # after a restart
        Moment(at=now + timedelta(hours=2), boot="c", up_s=5.0),
    ):
        with pytest.raises(OrderRefusedError, match="undo 4 time"):
            undo_check.demand_in_time(past, within_s=3600, now=moment)
    undo_check.demand_in_time(
        past, within_s=3600, now=Moment(at=now + timedelta(days=300), boot="b", up_s=1001.0)
    )


def test_5_another_order_in_the_place_of_the_kept_one_is_not_believed(
    forge: Forge, start: Callable[[], Victim]
) -> None:
    one, two = start(), start()
    order, other = ran(forge, one), ran(forge, two)
    kept = {path.name: path for path in (forge.folder / "state" / "orders").iterdir()}
    assert len(kept) == 2
    mine, others = (forge.store._file(each.order_id) for each in (order, other))
    mine.write_bytes(others.read_bytes())
    refused(forge.undo(order), "undo 5 order", one, two)


def test_5_a_kept_order_that_was_changed_or_removed_is_not_believed(
    forge: Forge, start: Callable[[], Victim]
) -> None:
    one, two = start(), start()
    order, other = ran(forge, one), ran(forge, two)
    path = forge.store._file(order.order_id)
    path.write_bytes(path.read_bytes().replace(b'"payload"', b'"Payload"'))
    forge.store._file(other.order_id).unlink()
    refused(forge.undo(order), "undo 5 order", one, two)
    refused(forge.undo(other), "undo 5 order", one, two)


def test_5_a_changed_order_with_a_matching_line_in_the_journal_still_needs_the_hubs_signature(
    forge: Forge, start: Callable[[], Victim]
) -> None:
    one, two = start(), start()
    order, other = ran(forge, one), ran(forge, two)
    forged = changed(other, order_id=order.order_id)
    envelope = forge.seal(forged, key=Ed25519PrivateKey.generate())
    forge.journal.pasts[order.order_id].kept = forge.store.keep(order.order_id, envelope)
    refused(forge.undo(order), "undo 5 order", one, two)


def test_5_the_same_order_signed_anew_with_other_figures_is_not_the_one_that_ran(
    forge: Forge, victim: Victim
) -> None:
    order = ran(forge, victim)
    longer = forge.seal(changed(order, timeout_s=3600.0))
    forge.store._file(order.order_id).write_bytes(longer)
    refused(forge.undo(order), "undo 5 order", victim)


def test_6_other_evidence_than_was_shown_changes_nothing(
    forge: Forge, start: Callable[[], Victim]
) -> None:
    """The order key, a journal that says so, and evidence that makes another pid a fit target."""
    one, two = start(), start()
    order = ran(forge, one)
    other = forge.finding(one.pid, two.pid, finding_id=order.finding.finding_id)
    envelope = forge.seal(changed(order, finding=other))
    forge.journal.pasts[order.order_id].kept = forge.store.keep(order.order_id, envelope)
    refused(forge.undo(order), "undo 6 approval", one)
    assert nice(two) == 0


def test_6_a_rollback_other_than_the_approved_one_changes_nothing(
    forge: Forge, start: Callable[[], Victim]
) -> None:
    """Even with the order key, a journal that says so and a policy that allows it."""
    one, two = start(), start()
    order = ran(forge, one)
    step = order.shown.steps[0]
    other = forge.step(step.command, f"renice -n 19 -p {one.pid}", facts(order.finding))
    forged = changed(order, shown=changed(order.shown, steps=(other,)))
    forge.journal.pasts[order.order_id].kept = forge.store.keep(order.order_id, forge.seal(forged))
    refused(forge.undo(order), "undo 6 approval", one)
    assert nice(two) == 0


def test_6_with_nothing_that_may_run_by_itself_nothing_is_kept_or_taken_back(
    forge: Forge, victim: Victim
) -> None:
    order = ran(forge, victim, undos=("frobnicate",))
    assert not (forge.folder / "state" / "orders").exists()
    asking(forge, order.order_id, "undo 1 order")
    assert nice(victim) == 10


def test_6_when_only_a_later_command_had_a_rollback_and_never_began_it_is_told(
    forge: Forge, start: Callable[[], Victim]
) -> None:
    one, two = start(), start()
    finding = forge.finding(one.pid, two.pid)
    commands = (f"{slower(one)} && cat /nonexistent", slower(two))
    order = forge.order(finding, *commands, undos=(None, back(two)))
    assert forge.give(order).outcome is Outcome.FAILED
    refused(forge.undo(order), "undo 6 approval", one)
    assert nice(two) == 0


def test_7_a_policy_that_was_tightened_since_takes_nothing_back(
    forge: Forge, victim: Victim
) -> None:
    order = ran(forge, victim)
    forge.trust.bundle = tightened(shipped(), "overlay.toml", FORBIDDEN)
    refused(forge.undo(order), "undo 7 policy", victim)


def test_8_a_process_that_is_gone_or_another_one_is_not_touched(
    forge: Forge, start: Callable[[], Victim], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = start(), start()
    order, other = ran(forge, one), ran(forge, two)
    one.kill()
    one.wait()
    report = forge.undo(order)
    assert report.refused_step == "undo 8 facts"
    assert f"process {one.pid} is gone" in report.reason
    monkeypatch.setattr(rejudge, "started_ticks", lambda _: 1)
    refused(forge.undo(other), "undo 8 facts", two)


def test_8_after_a_restart_of_the_host_nothing_is_taken_back(
    forge: Forge, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = ran(forge, victim)
    monkeypatch.setattr(rejudge, "boot_id", lambda: "another")
    refused(forge.undo(order), "undo 8 facts", victim)


def test_8_a_process_that_became_protected_is_not_touched(
    forge: Forge, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = ran(forge, victim)
    monkeypatch.setattr(order_check, "why_protected", lambda _: "a database")
    refused(forge.undo(order), "undo 8 facts", victim)


@pytest.fixture
def systems_own() -> Iterator[Path]:
    """A folder that only root can write to, all the way up."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to own a program as the system does")
    with tempfile.TemporaryDirectory(dir="/opt", prefix="sentinel-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_9_a_program_that_others_can_change_takes_nothing_back(
    forge: Forge, victim: Victim, tmp_path: Path, systems_own: Path
) -> None:
    program = systems_own / "renice"
    shutil.copy("/usr/bin/renice", program)
    rules = tmp_path / "rules"
    shutil.copytree(SHIPPED_RULES, rules)
    file = rules / "20-process.toml"
    ours = f'paths = ["{program}"]'
    file.write_text(file.read_text().replace('paths = ["/usr/bin/renice", "/bin/renice"]', ours))
    forge.trust.bundle = parse_bundle(read_folder(rules))
    order = ran(forge, victim)
    program.chmod(0o777)
    refused(forge.undo(order), "undo 9 program", victim)


def test_what_was_kept_for_a_rollback_is_gone_when_it_cannot_be_asked_for_any_more(
    forge: Forge, start: Callable[[], Victim]
) -> None:
    folder = forge.folder / "state" / "orders"
    order = ran(forge, start())
    assert len(list(folder.iterdir())) == 1
    forge.undo(order)
    assert list(folder.iterdir()) == []
    ran(forge, start())
    forge.executor.undo_within_s = 1e-9
    ran(forge, start())
    assert list(folder.iterdir()) == []


def test_the_journal_tells_every_step_of_a_rollback_before_it_is_taken(
    forge: Forge, victim: Victim
) -> None:
    order = ran(forge, victim)
    forge.undo(order)
    forge.journal.close()
    book = ExecutionJournal(forge.folder / "state" / "journal.jsonl", key=forge.result_key)
    past = book.pasts[order.order_id]
    assert (past.started, past.undo_started, past.undone) == ([0], [0], True)


def facts(finding: Finding) -> Facts:
    return facts_of(finding)


SLEEP = (
    '[[command]]\nname = "sleep"\npaths = ["/usr/bin/sleep"]\nstyle = "gnu"\n'
    'operands = ["int(0..600)"]\neffect = "read"\n'
    'why = "waits"\nallow = ["sleep 1", "sleep 2", "sleep 3"]\n'
    'deny = [["sleep x", "bad-value"], ["sleep", "missing-operand"], '
    '["sleep -x", "unknown-option"]]\n'
)


def _with(folder: Path, name: str, text: str) -> Bundle:
    rules = folder / "rules"
    shutil.copytree(SHIPPED_RULES, rules)
    (rules / name).write_text(text)
    return parse_bundle(read_folder(rules))
