"""An order that waits, or is about to start, when what it rests on is taken back: it runs nothing.

Signers take back the hub's order key, a person, a person's key, a rule or the log's key. The set
comes over the executor's own door, as the agent brings it, at every moment before the start.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import executor as executor_module
from agent import run_order
from appliance.records import Order, Outcome, Report
from appliance.trust_files import POLICY
from policy import signed
from policy.bundle import read_folder
from tests.attacks.forge import wait_for
from tests.attacks.operators import Operator, TerminalKey
from tests.attacks.test_a_rollback import back, nice, slower
from tests.crash.victims import Victim
from tests.trust.signers import packed, policy
from tests.trust.test_a_node_and_its_trust import Node, rules

Taking = Callable[[Node], dict[str, bytes]]
"""Change what signers sign; the files of the next version that differ from today's."""


def the_order_key(node: Node) -> dict[str, bytes]:
    node.signers.order_key = Ed25519PrivateKey.generate()
    return {}


def the_logs_key(node: Node) -> dict[str, bytes]:
    node.signers.audit_key = Ed25519PrivateKey.generate()
    return {}


def the_person(node: Node) -> dict[str, bytes]:
    node.signers.operators = node.signers.operators[1:]
    return {}


def the_persons_role(node: Node) -> dict[str, bytes]:
    first, *rest = node.signers.operators
    node.signers.operators = (Operator(first.name, "viewer", first.keys), *rest)
    return {}


def the_persons_key(node: Node) -> dict[str, bytes]:
    first, *rest = node.signers.operators
    node.signers.operators = (Operator(first.name, first.role, [TerminalKey()]), *rest)
    return {}


def the_rule(_: Node) -> dict[str, bytes]:
    return {POLICY: policy(2)}  # knows no `kill`


TAKEN = [
    (the_order_key, "1 signature"),
    (the_logs_key, "7 audit log"),
    (the_person, "6 approval"),
    (the_persons_role, "6 approval"),
    (the_persons_key, "6 approval"),
    (the_rule, "8 policy"),
]
each = pytest.mark.parametrize(
    ("taking", "step"), TAKEN, ids=lambda one: getattr(one, "__name__", "")
)


two = pytest.mark.parametrize(("taking", "step"), [TAKEN[0], TAKEN[-1]], ids=["key", "rule"])


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    assert made.send(1) == ""
    return made


@pytest.fixture
def victim() -> Iterator[Victim]:
    with Victim() as one:
        yield one


def offered(node: Node, taking: Taking) -> dict[str, bytes]:
    files = node.signers.targets(2, **{POLICY: rules(), **taking(node)})
    return packed(node.signers.signed_set(2, files=files))


def take_back(node: Node, taking: Taking) -> None:
    files = offered(node, taking)
    assert node.executor.believe(files).refusal == ""


def sealed(node: Node, *commands: str, pid: int) -> tuple[Order, bytes]:
    order = node.forge.order(node.forge.finding(pid), *commands)
    return order, node.forge.seal(order)


def work_off(node: Node) -> Report:
    node.executor.stop()
    node.executor.run()
    (report,) = node.executor.untold()
    return report


def demand_nothing_ran(node: Node, report: Report, victim: Victim, step: str) -> None:
    assert (report.outcome, report.refused_step) == (Outcome.REFUSED, step), report.reason
    assert report.reason
    assert report.steps == ()
    assert victim.count() == 0
    assert '"started"' not in (node.folder / "state" / "journal.jsonl").read_text()


@each
def test_an_order_that_waits_for_its_turn_is_judged_by_the_trust_of_its_turn(
    node: Node, victim: Victim, taking: Taking, step: str
) -> None:
    order, envelope = sealed(node, victim.command, pid=victim.pid)
    node.executor.submit(envelope, node.forge.proof(order))
    take_back(node, taking)
    demand_nothing_ran(node, work_off(node), victim, step)


@each
def test_what_was_judged_and_did_not_start_is_judged_again(
    node: Node, victim: Victim, taking: Taking, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set comes after the last check of the order, and before its first command."""

    def room(*_: object, **__: object) -> None:
        take_back(node, taking)

    monkeypatch.setattr(executor_module.budget, "demand_room", room)
    order, envelope = sealed(node, victim.command, pid=victim.pid)
    node.executor.submit(envelope, node.forge.proof(order))
    demand_nothing_ran(node, work_off(node), victim, step)


@two
def test_of_a_plan_that_runs_the_commands_that_did_not_start_do_not(
    node: Node, taking: Taking, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = run_order.run_step
    started = []

    def run(one: object, **how: object) -> object:
        started.append(one)
        take_back(node, taking)
        return real(one, **how)

    monkeypatch.setattr(run_order, "run_step", run)
    with Victim() as first, Victim() as second:
        finding = node.forge.finding(first.pid, second.pid)
        order = node.forge.order(finding, first.command, second.command)
        node.executor.submit(node.forge.seal(order), node.forge.proof(order))
        report = work_off(node)
        assert (first.count(), second.count()) == (1, 0)
    assert (report.outcome, report.refused_step) == (Outcome.FAILED, step), report.reason
    assert len(report.steps) == len(started) == 1


@two
def test_a_start_that_was_first_is_in_the_journal_before_the_new_trust_is_in_force(
    node: Node, victim: Victim, taking: Taking, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other order: the set is verified and kept, and waits until the command has started."""
    files = offered(node, taking)
    before, keeper = node.executor.trust.believed, node.executor.trust.keeper
    assert keeper is not None
    believing = Thread(target=node.executor.believe, args=(files,))
    real = run_order.demand_alive
    in_force_at_start: list[bool] = []

    def alive(*words: object) -> None:
        believing.start()
        wait_for(lambda: keeper._last is not before, within_s=60)
        assert node.executor.trust.believed is before
        real(*words)

    def run(one: object, **how: object) -> object:
        journal = (node.folder / "state" / "journal.jsonl").read_text()
        in_force_at_start.append('"started"' in journal)
        believing.join(60)
        assert node.executor.trust.believed is not before
        return real_run(one, **how)

    real_run = run_order.run_step
    monkeypatch.setattr(run_order, "demand_alive", alive)
    monkeypatch.setattr(run_order, "run_step", run)
    order, envelope = sealed(node, victim.command, pid=victim.pid)
    node.executor.submit(envelope, node.forge.proof(order))
    report = work_off(node)
    assert report.outcome is Outcome.SUCCEEDED, (step, report.reason)
    assert victim.count() == 1
    assert in_force_at_start == [True]


def test_a_renewal_under_an_order_judges_nothing_again(
    node: Node, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = node.signers.targets(1, **{POLICY: rules()})
    renewed = packed(node.signers.signed_set(1, files=files, snapshot=2, timestamp=2))
    real, asked = executor_module.rejudge.order, []

    def counted(*words: object, **how: object) -> object:
        asked.append(how)
        return real(*words, **how)

    monkeypatch.setattr(executor_module.rejudge, "order", counted)
    monkeypatch.setattr(
        executor_module.budget,
        "demand_room",
        lambda *_, **__: node.executor.believe(renewed),
    )
    order, envelope = sealed(node, victim.command, pid=victim.pid)
    node.executor.submit(envelope, node.forge.proof(order))
    assert work_off(node).outcome is Outcome.SUCCEEDED
    assert len(asked) == 1
    assert node.executor.believe({}).versions["timestamp"] == 2


def test_another_policy_that_still_allows_it_lets_it_run_as_that_policy_says(
    node: Node, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = signed.payload({**read_folder(), "99-more.toml": b"# nothing more\n"}, sequence=2)
    monkeypatch.setattr(
        executor_module.budget,
        "demand_room",
        lambda *_, **__: take_back(node, lambda _: {POLICY: other}),
    )
    order, envelope = sealed(node, victim.command, pid=victim.pid)
    node.executor.submit(envelope, node.forge.proof(order))
    before = node.executor.trust.bundle.digest
    assert work_off(node).outcome is Outcome.SUCCEEDED
    assert victim.count() == 1
    assert node.executor.trust.bundle.digest != before


@pytest.mark.parametrize(
    ("taking", "step"), [(the_order_key, "undo 5 order"), (the_rule, "undo 7 policy")]
)
@pytest.mark.parametrize("late", [False, True])
def test_a_rollback_is_judged_by_the_trust_of_its_turn_too(
    node: Node, taking: Taking, step: str, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    real = executor_module.Again

    def then(*words: object) -> object:
        take_back(node, taking)
        return real(*words)

    with Victim() as one:
        order = node.forge.order(node.forge.finding(one.pid), slower(one), undos=(back(one),))
        node.executor.submit(node.forge.seal(order), node.forge.proof(order))
        assert work_off(node).outcome is Outcome.SUCCEEDED
        assert nice(one) == 10
        node.executor.undo(order.order_id)
        if late:  # between its checks and its first command
            monkeypatch.setattr(executor_module, "Again", then)
        else:
            take_back(node, taking)
        node.executor.stop()
        node.executor.run()
        report = node.executor.untold()[-1]
        assert (report.outcome, report.refused_step) == (Outcome.REFUSED, step), report.reason
        assert nice(one) == 10
    assert '"undo_started"' not in (node.folder / "state" / "journal.jsonl").read_text()
