"""The executor's own policy: signed, never older, tightened by the node; broken means no."""

import subprocess
from pathlib import Path

import pytest

from agent.executor_settings import ExecutorSettings
from agent.trust import load_trust
from appliance import envelope
from appliance.records import Outcome
from appliance.settings import load
from policy.bundle import read_folder
from policy.evaluate import EchoReader
from policy.signed import sign
from tests.attacks.forge import Forge
from tests.executor.test_executor_process import ExecutorProcess, executor, forge, victim

__all__ = ["executor", "forge", "victim"]


@pytest.fixture
def policy(tmp_path: Path, executor: ExecutorProcess) -> Path:
    """The shipped rules as sequence 5, and an executor that trusts only their key."""
    envelope.make_key(tmp_path / "policy.key")
    file = tmp_path / "site.policy"
    publish(file, 5)
    text = executor.config.read_text()
    executor.config.write_text(
        f'{text}policy = "{file}"\npolicy_key = "{tmp_path}/policy.pub"\n'
        f'policy_overlay = "{tmp_path}/overlay.toml"\n'
    )
    (tmp_path / "overlay.toml").write_text("")
    return file


def publish(file: Path, sequence: int) -> None:
    key = envelope.load_key(file.with_name("policy.key"))
    file.write_bytes(sign(read_folder(), sequence=sequence, key=key))


def outcome(
    executor: ExecutorProcess, forge: Forge, victim: "subprocess.Popen[bytes]"
) -> tuple[Outcome, str]:
    executor.start()
    order = forge.order(forge.finding(victim.pid), f"kill -TERM {victim.pid}")
    executor.give(forge, order)
    report = executor.report_on(order)
    executor.kill()
    return report.outcome, report.reason


def test_a_signed_policy_is_used_and_an_older_one_refuses_everything(
    executor: ExecutorProcess, forge: Forge, policy: Path, victim: "subprocess.Popen[bytes]"
) -> None:
    publish(policy, 4)
    publish(policy, 5)
    settings = load(executor.config, ExecutorSettings)
    assert load_trust(settings, EchoReader()).bundle.refusal == ""
    publish(policy, 4)
    said, reason = outcome(executor, forge, victim)
    assert said is Outcome.REFUSED
    assert "older policy: sequence 4, 5 was in force" in reason
    assert victim.poll() is None
    publish(policy, 6)
    assert outcome(executor, forge, victim)[0] is Outcome.SUCCEEDED
    assert victim.wait(5) == -15


@pytest.mark.parametrize("damage", ["cut", "unsigned", "gone"])
def test_a_damaged_policy_file_refuses_everything(
    executor: ExecutorProcess,
    forge: Forge,
    policy: Path,
    victim: "subprocess.Popen[bytes]",
    damage: str,
) -> None:
    match damage:
        case "cut":
            policy.write_bytes(policy.read_bytes()[:-20])
        case "unsigned":
            policy.write_bytes(read_folder()["20-process.toml"])
        case _:
            policy.unlink()
    said, reason = outcome(executor, forge, victim)
    assert said is Outcome.REFUSED
    assert "the policy is broken" in reason
    assert victim.poll() is None


def test_the_overlay_of_the_node_forbids_what_the_policy_allows(
    executor: ExecutorProcess, forge: Forge, policy: Path, victim: "subprocess.Popen[bytes]"
) -> None:
    overlay = policy.with_name("overlay.toml")
    overlay.write_text("[[forbid]]\nnames = ['kill']\nwhy = 'nothing is ended on this host'\n")
    said, reason = outcome(executor, forge, victim)
    assert said is Outcome.REFUSED
    assert "overlay.toml:1: nothing is ended on this host" in reason
    assert victim.poll() is None


def test_asking_whether_the_settings_are_right_puts_no_policy_in_force(
    executor: ExecutorProcess, policy: Path
) -> None:
    settings = load(executor.config, ExecutorSettings)
    publish(policy, 9)
    load_trust(settings, EchoReader(), checking=True)
    publish(policy, 5)
    assert load_trust(settings, EchoReader()).bundle.refusal == ""
    assert '"sequence":5' in (executor.state / "policy.json").read_text()
