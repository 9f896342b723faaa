"""A policy that changes while plans are judged, ordered and run: each by one policy, wholly."""

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from appliance import envelope
from appliance.lifecycle import State
from appliance.records import JudgedStep, Outcome
from hub import policy
from hub.persist.database import Database
from hub.settings import ServeSettings
from policy.bundle import SHIPPED_RULES, parse_bundle, read_folder
from policy.evaluate import EchoReader, judge
from policy.facts import Facts
from policy.signed import sign
from tests.attacks.forge import Forge, changed
from tests.crash.preload import WHOLE
from tests.executor.test_executor_process import ExecutorProcess, forge
from tests.hub.builders import outbox, sql
from tests.hub.test_policy_in_force import changes, publish, settings
from tests.races.arena import at_once, demand_one_story, in_order
from tests.races.conftest import Hub

__all__ = ["forge", "settings"]
ROUNDS = 20 if WHOLE else 6
STARTS = 5

_RULE = (
    '[[command]]\nname = "{name}"\npaths = ["/usr/bin/{name}"]\nstyle = "gnu"\n'
    'operands = ["int(0..9)"]\neffect = "read"\nwhy = "harmless"\n'
    'allow = ["{name} 1", "{name} 2", "{name} 3"]\n'
    'deny = [["{name} x", "bad-value"], ["{name}", "missing-operand"], '
    '["{name} -x", "unknown-option"]]\n'
)
ONE, OTHER = "sleep", "factor"  # each allowed by one of two policies, by the shipped one neither


class Alternating(threading.Thread):
    """Puts one of two signed policies in the place of the other, as quickly as it can."""

    def __init__(self, folder: Path, file: Path) -> None:
        super().__init__(daemon=True)
        self.file = file
        self._enough = threading.Event()
        envelope.make_key(folder / "policy.key")
        key = envelope.load_key(folder / "policy.key")
        rules = [_rules_with(folder, name) for name in (ONE, OTHER)]
        self._signed = (sign(rules[n % 2], sequence=n, key=key) for n in count(1))
        self.turns = 0
        self._turn()

    def run(self) -> None:
        while not self._enough.wait(0.005):
            self._turn()

    def stop(self) -> None:
        self._enough.set()
        self.join()

    def _turn(self) -> None:
        new = self.file.with_suffix(".new")
        new.write_bytes(next(self._signed))
        new.replace(self.file)
        self.turns += 1


def _rules_with(folder: Path, *names: str) -> dict[str, bytes]:
    rules = folder / "-".join(names)
    shutil.copytree(SHIPPED_RULES, rules)
    for name in names:
        (rules / f"99-{name}.toml").write_text(_RULE.format(name=name))
    return read_folder(rules)


@pytest.fixture
def alternating(tmp_path: Path) -> Iterator[Alternating]:
    one = Alternating(tmp_path, tmp_path / "site.policy")
    one.start()
    yield one
    one.stop()


def test_a_node_whose_policy_changes_all_the_time_judges_an_order_by_one_policy_wholly(
    tmp_path: Path, forge: Forge, alternating: Alternating
) -> None:
    """Each policy refuses one half of the plan; only a mixture of both would run it."""
    both = parse_bundle(_rules_with(tmp_path, ONE, OTHER))
    text = f'policy = "{alternating.file}"\npolicy_key = "{tmp_path}/policy.pub"\n'
    executor = ExecutorProcess(tmp_path, forge, policy=text)
    try:
        for _ in range(STARTS):
            executor.start()
            finding = forge.finding()
            shown = forge.shown(finding, "nproc")
            steps = [_step(shown.steps[0], f"{name} 1", both) for name in (ONE, OTHER)]
            for order_of_them in (steps, steps[::-1]):
                mixed = changed(shown, steps=tuple(order_of_them))
                order = forge.order(finding, shown=mixed)
                executor.client.submit(forge.seal(order))
                report = executor.report_on(order)
                assert (report.outcome, report.refused_step) == (Outcome.REFUSED, "8 policy")
                executor.client.told(report.report_id)
            executor.kill()
    finally:
        if executor.process is not None:
            executor.kill()
    assert alternating.turns > STARTS
    assert '"started"' not in (executor.state / "journal.jsonl").read_text()


def _step(step: JudgedStep, command: str, bundle: object) -> JudgedStep:
    verdict = judge(command, bundle=bundle, facts=Facts(), second=EchoReader())  # type: ignore[arg-type]
    assert verdict.program is not None
    values = {"command": command, "program_digest": verdict.program.digest}
    result: JudgedStep = changed(step, **values, argv=verdict.program.argvs)
    return result


@pytest.mark.postgres
def test_an_order_that_leaves_while_the_policy_changes_says_which_policy_judged_it(
    hub: Hub, settings: ServeSettings
) -> None:
    for sequence in range(1, ROUNDS + 1):
        incident, _ = hub.approved()
        digest = publish(settings, sequence, b"#\n" * sequence)
        racers = at_once(
            lambda: policy.take(hub.db, settings),
            lambda: hub.pipeline.dispatch_next(datetime.now(UTC)),
        )
        assert all(racer.won for racer in racers), [racer.error for racer in racers]
        story = demand_one_story(hub.dsn, incident)
        assert story.state == State.DISPATCHED
        (verdict,) = [one for one in story.entries if one["type"] == "plan.verdict"]
        assert verdict["body"]["policy_digest"] == hub.pipeline.gate.bundle.digest
        assert [body["policy_digest"] for body in changes(hub.db)] == [digest]
        hub.log()


@pytest.mark.postgres
@pytest.mark.parametrize("newer_first", [True, False])
def test_of_two_hubs_that_begin_at_once_none_sets_the_policy_back(
    database: Database, settings: ServeSettings, tmp_path: Path, *, newer_first: bool
) -> None:
    older = changed(settings, policy=tmp_path / "older.policy")
    publish(settings, 1)
    assert settings.policy
    settings.policy.rename(tmp_path / "older.policy")
    publish(settings, 2, b"#\n")
    pair = (settings, older) if newer_first else (older, settings)
    first, second = in_order(
        database.dsn, *[lambda one=one: policy.take(database, one) for one in pair]
    )
    assert first.won
    assert second.won
    (row,) = sql(database, "SELECT sequence FROM policy_in_force")
    assert row["sequence"] == 2
    told = [row["body"]["sequence"] for row in outbox(database) if row["type"] == "policy.change"]
    assert told == ([2] if newer_first else [1, 2])
    if newer_first:
        assert "older policy" in second.answer.refusal  # type: ignore[attr-defined]
