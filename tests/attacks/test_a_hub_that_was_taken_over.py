"""The adversary owns the hub: its order key, its database, its TLS key. The node says no.

Every check of the executor is attacked with an order that is right in everything else; each test
asserts which step refused *and* that nothing ran and nothing changed.
"""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import OrderRefusedError
from appliance.ids import uuid7
from appliance.records import Mode, Outcome, Report
from audit.signer import LocalSigner
from policy.rules import Bundle
from policy.windows import window
from tests.attacks.forge import Forge, changed, shipped, wait_for


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    one = Forge(tmp_path)
    yield one
    one.log.close()


@pytest.fixture
def victim() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that an order would end."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def kill(victim: "subprocess.Popen[bytes]") -> str:
    return f"kill -TERM {victim.pid}"


def refused(report: Report, step: str, victim: "subprocess.Popen[bytes]") -> None:
    """The named step said no; nothing ran; the victim lives."""
    assert report.outcome is Outcome.REFUSED, report
    assert report.refused_step is not None
    assert report.refused_step.startswith(step), report
    assert report.reason
    assert report.steps == ()
    assert victim.poll() is None


def test_an_honest_order_runs(forge: Forge, victim: "subprocess.Popen[bytes]") -> None:
    report = forge.give(forge.order(forge.finding(victim.pid), kill(victim)))
    assert report.outcome is Outcome.SUCCEEDED, report
    assert victim.wait(5) == -15
    assert report.steps[0].argv == (("kill", "-TERM", str(victim.pid)),)


def test_1_an_order_under_another_key_is_not_even_claimed(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    order = forge.order(forge.finding(victim.pid), kill(victim))
    with pytest.raises(OrderRefusedError, match="1 signature"):
        forge.executor.submit(forge.seal(order, key=Ed25519PrivateKey.generate()))
    assert forge.journal.orders == set()
    assert victim.poll() is None


def test_1_an_order_with_one_byte_changed_is_not_even_claimed(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    sealed = forge.seal(forge.order(forge.finding(victim.pid), kill(victim)))
    for place in range(0, len(sealed), 97):
        mangled = bytearray(sealed)
        mangled[place] ^= 1
        with pytest.raises(OrderRefusedError):
            forge.executor.submit(bytes(mangled))
    assert forge.journal.orders == set()
    assert victim.poll() is None


def test_2_a_signed_payload_that_is_no_order_is_not_even_claimed(forge: Forge) -> None:
    from appliance import envelope  # noqa: PLC0415 - beside its one use

    for payload in (b"", b"{}", b"[]", b'{"order_id":"x"}', b"\xff"):
        sealed = envelope.seal(payload, payload_type=envelope.ORDER_TYPE, key=forge.order_key)
        with pytest.raises(OrderRefusedError, match="2 form"):
            forge.executor.submit(sealed)
    assert forge.journal.orders == set()


def test_3_an_order_for_another_node_runs_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    order = forge.order(forge.finding(victim.pid), kill(victim), node="h2.test")
    refused(forge.give(order), "3 node", victim)


def test_3_a_plan_that_was_shown_for_another_node_runs_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    finding = forge.finding(victim.pid)
    shown = forge.shown(finding, kill(victim), node="h2.test")
    refused(forge.give(forge.order(finding, shown=shown)), "3 node", victim)


def test_4_a_late_order_runs_nothing(forge: Forge, victim: "subprocess.Popen[bytes]") -> None:
    late = datetime.now(UTC) - timedelta(seconds=1)
    order = forge.order(forge.finding(victim.pid), kill(victim), not_after=late)
    refused(forge.give(order), "4 time", victim)


def test_4_a_late_approval_in_a_fresh_order_runs_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    finding = forge.finding(victim.pid)
    shown = forge.shown(finding, kill(victim), not_after=datetime.now(UTC) - timedelta(seconds=1))
    refused(forge.give(forge.order(finding, shown=shown)), "4 time", victim)


def test_5_an_order_replayed_after_a_restart_runs_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    order = forge.order(forge.finding(victim.pid), kill(victim))
    assert forge.give(order).outcome is Outcome.SUCCEEDED
    victim.wait(5)
    again = forge.restart()
    before = len(forge.journal.untold())
    assert again.submit(forge.seal(order)) == order.order_id
    again.stop()
    again.run()
    assert len(forge.journal.untold()) == before


def test_5_one_approval_in_two_orders_runs_once(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        first = forge.order(forge.finding(other.pid), f"kill -TERM {other.pid}")
        assert forge.give(first).outcome is Outcome.SUCCEEDED
        again = changed(first, order_id=uuid7())
        refused(forge.give(again), "5 once", victim)
    finally:
        other.kill()
        other.wait()


def test_6_commands_other_than_those_that_were_approved_run_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    finding = forge.finding(victim.pid)
    harmless = forge.order(finding, "uptime")
    swapped = changed(harmless, shown=forge.shown(finding, kill(victim)))
    refused(forge.give(swapped), "6 approval", victim)


def test_6_evidence_other_than_what_was_shown_runs_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    order = forge.order(forge.finding(victim.pid), kill(victim))
    swapped = changed(order, finding=changed(order.finding, subject="another process"))
    refused(forge.give(swapped), "6 approval", victim)


def test_6_a_dry_run_approval_turned_live_runs_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    finding = forge.finding(victim.pid)
    order = forge.order(finding, shown=forge.shown(finding, kill(victim), mode=Mode.DRY_RUN))
    turned = changed(order, shown=changed(order.shown, mode=Mode.LIVE))
    refused(forge.give(turned), "6 approval", victim)


@pytest.mark.parametrize("ruling", ["review", "block", "ALLOW", ""])
def test_6_an_approved_plan_that_is_not_allow_runs_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]", ruling: str
) -> None:
    finding = forge.finding(victim.pid)
    order = forge.order(finding, shown=forge.shown(finding, kill(victim), ruling=ruling))
    refused(forge.give(order), "6 approval", victim)


def test_7_an_approval_nobody_logged_runs_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    finding = forge.finding(victim.pid)
    logged = forge.order(finding, "uptime")
    shown = forge.shown(finding, kill(victim))
    (given,) = logged.approvals
    given = changed(given, approval=forge.approve(shown))
    invented = changed(logged, shown=shown, approvals=(given,))
    refused(forge.give(invented), "7 audit log", victim)


def test_7_a_log_under_another_key_proves_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    finding = forge.finding(victim.pid)
    shown = forge.shown(finding, kill(victim))
    approval = forge.approve(shown)
    forge.signer = LocalSigner(forge.log.origin, Ed25519PrivateKey.generate())
    line, text = forge.record(shown, approval, log=forge.new_log("forged"))
    order = forge.order(finding, shown=shown, approval=approval, logged=(line, text))
    refused(forge.give(order), "7 audit log", victim)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "approval.deny"},
        {"incident": uuid7()},
        {"body": {"approval_id": "x", "shown_digest": "y", "approval_digest": "z"}},
    ],
)
def test_7_an_entry_that_is_not_the_record_of_this_approval_proves_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]", changes: dict[str, object]
) -> None:
    finding = forge.finding(victim.pid)
    shown = forge.shown(finding, kill(victim))
    approval = forge.approve(shown)
    line, text = forge.record(shown, approval, **changes)
    order = forge.order(finding, shown=shown, approval=approval, logged=(line, text))
    refused(forge.give(order), "7 audit log", victim)


def test_7_a_log_that_was_set_back_is_refused_though_its_key_is_right(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    for _ in range(3):
        assert forge.give(forge.order(forge.finding(victim.pid), "uptime")).outcome is (
            Outcome.SUCCEEDED
        )
    finding = forge.finding(victim.pid)
    shown = forge.shown(finding, kill(victim))
    approval = forge.approve(shown)
    younger = forge.new_log("younger")
    line, text = forge.record(shown, approval, log=younger)
    younger.close()
    order = forge.order(finding, shown=shown, approval=approval, logged=(line, text))
    refused(forge.give(order), "7 audit log", victim)


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf /",
        "reboot",
        "kill -TERM 1",
        "bash -c 'kill -TERM 1'",
        "uptime; reboot",
        "frobnicate",
        "cat /etc/shadow",
        "uptime\nreboot",
        "",
    ],
)
def test_8_a_command_that_our_own_policy_does_not_allow_runs_nothing_whatever_the_hub_says(
    forge: Forge, victim: "subprocess.Popen[bytes]", command: str
) -> None:
    refused(forge.give(forge.order(forge.finding(victim.pid), command)), "8 policy", victim)


def test_8_one_bad_command_among_good_ones_runs_none_of_them(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    order = forge.order(forge.finding(victim.pid), kill(victim), "reboot")
    refused(forge.give(order), "8 policy", victim)


def test_8_a_process_that_is_not_in_the_evidence_cannot_be_named(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    refused(
        forge.give(
            forge.order(forge.finding(), kill(victim)),
        ),
        "8 policy",
        victim,
    )


def test_8_a_broken_policy_on_the_node_refuses_everything(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    forge.trust.bundle = Bundle.refuse_all("a rule file is damaged", rule="20-process.toml:3")
    report = forge.give(forge.order(forge.finding(victim.pid), kill(victim)))
    refused(report, "8 policy", victim)
    assert "20-process.toml:3" in report.reason


def test_8_hub_and_node_that_read_a_command_differently_run_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    finding = forge.finding(victim.pid)
    shown = forge.shown(finding, kill(victim))
    other = changed(shown.steps[0], program_digest="0" * 64)
    order = forge.order(finding, shown=changed(shown, steps=(other,)))
    refused(forge.give(order), "8 policy", victim)


def test_8_a_change_window_is_open_by_the_node_s_clock_or_nothing_runs(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    rule = shipped().commands["kill"]
    forms = tuple(changed(form, change_window=True) for form in rule.forms)
    commands = {**shipped().commands, "kill": changed(rule, forms=forms)}
    forge.trust.bundle = changed(shipped(), commands=commands)
    finding = forge.finding(victim.pid)
    order = forge.order(finding, shown=forge.shown(finding, kill(victim)))
    report = forge.give(order)
    refused(report, "8 policy", victim)
    assert "only while a change window is open" in report.reason
    always = (window([], "00:00", "12:00"), window([], "12:00", "00:00"))
    forge.trust.bundle = changed(forge.trust.bundle, windows=always)
    finding = forge.finding(victim.pid)
    report = forge.give(forge.order(finding, shown=forge.shown(finding, kill(victim))))
    assert report.outcome is Outcome.SUCCEEDED, report


def test_9_evidence_of_a_host_with_another_role_runs_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    order = forge.order(forge.finding(victim.pid, role="database"), kill(victim))
    report = forge.give(order)
    refused(report, "9 facts", victim)
    assert "role database, this node has none" in report.reason


@pytest.mark.parametrize("target", ["/etc/shadow", "/root", "/dev/zero", "/proc/self/environ"])
@pytest.mark.parametrize("command", ["cat {}", "grep -e x {}", "uptime; wc -l {}"])
def test_10_a_link_that_leads_to_a_secret_place_or_a_device_is_not_read(
    forge: Forge, victim: "subprocess.Popen[bytes]", tmp_path: Path, target: str, command: str
) -> None:
    link = tmp_path / "harmless.log"
    link.symlink_to(target)
    order = forge.order(forge.finding(), command.format(link))
    refused(forge.give(order), "10 program", victim)


def test_10_a_link_on_the_way_leads_to_a_secret_place_as_well(
    forge: Forge, victim: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    (tmp_path / "e").symlink_to("/root")
    order = forge.order(forge.finding(), f"cat {tmp_path}/e/notes")
    refused(forge.give(order), "10 program", victim)


def test_10_a_link_to_what_may_be_read_is_read(forge: Forge, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("through the link\n")
    (tmp_path / "link").symlink_to(tmp_path / "text")
    report = forge.give(forge.order(forge.finding(), f"cat {tmp_path}/link"))
    assert report.outcome is Outcome.SUCCEEDED, report
    assert "through the link" in report.steps[0].output


def test_9_a_pid_that_is_another_process_now_is_not_signalled(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    finding = forge.finding(victim.pid)
    process = changed(finding.evidence[0], started_ticks=finding.evidence[0].started_ticks - 1)
    order = forge.order(changed(finding, evidence=(process,)), kill(victim))
    refused(forge.give(order), "9 facts", victim)


def test_9_a_process_that_is_gone_is_not_signalled(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    finding = forge.finding(gone.pid)
    gone.wait()
    refused(forge.give(forge.order(finding, f"kill -TERM {gone.pid}")), "9 facts", victim)


def test_9_evidence_from_before_a_restart_of_the_host_runs_nothing(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    finding = forge.finding(victim.pid, boot_id="another-boot")
    refused(forge.give(forge.order(finding, kill(victim))), "9 facts", victim)


def test_10_a_path_that_leads_elsewhere_by_a_link_is_not_removed(
    forge: Forge, victim: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("dear")
    link = Path("/var/tmp") / f"sentinel-test-{uuid7()}"
    link.symlink_to(tmp_path)
    try:
        path = link / "treasure"
        order = forge.order(forge.finding(paths=(path,)), f"rm -f {path}")
        refused(forge.give(order), "10 program", victim)
    finally:
        link.unlink()
    assert treasure.read_text() == "dear"


def test_a_node_in_dry_run_runs_nothing_though_everything_is_right(
    tmp_path: Path, victim: "subprocess.Popen[bytes]"
) -> None:
    forge = Forge(tmp_path, mode=Mode.DRY_RUN)
    report = forge.give(forge.order(forge.finding(victim.pid), kill(victim)))
    assert report.outcome is Outcome.DRY_RUN
    assert report.steps == ()
    assert victim.poll() is None
    forge.log.close()


def test_an_order_in_dry_run_runs_nothing_on_a_live_node(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    finding = forge.finding(victim.pid)
    order = forge.order(finding, shown=forge.shown(finding, kill(victim), mode=Mode.DRY_RUN))
    report = forge.give(order)
    assert report.outcome is Outcome.DRY_RUN
    assert victim.poll() is None


def test_nothing_leaks_into_a_command_from_the_executors_environment(
    forge: Forge, monkeypatch: pytest.MonkeyPatch, victim: "subprocess.Popen[bytes]"
) -> None:
    monkeypatch.setenv("LD_PRELOAD_TEST", "1")
    report = forge.give(forge.order(forge.finding(victim.pid), "uptime"))
    assert report.outcome is Outcome.SUCCEEDED
    wait_for(lambda: victim.poll() is None)
