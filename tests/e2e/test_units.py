"""The executor on a real host: every command in a unit of its own, and what it cannot do there."""

import json
import re
from collections.abc import Iterator

import pytest

from appliance.records import Outcome, Report
from tests.e2e.host import Host, wait_for
from tests.e2e.orders import Orders


@pytest.fixture(autouse=True)
def no_unit_is_left(host: Host, orders: Orders) -> Iterator[None]:
    assert host.units() == []
    yield
    assert host.units() == []


@pytest.fixture
def victim(host: Host) -> Iterator[int]:
    """A process of the host's that nobody ordered anything about."""
    host.run("systemd-run", "--unit=victim", "--collect", "sleep", "600")
    shown = host.run("systemctl", "show", "-p", "MainPID", "--value", "victim")
    yield int(shown)
    host.run("systemctl", "stop", "victim", check=False)


def output(report: Report) -> str:
    assert report.outcome is Outcome.SUCCEEDED, report
    return report.steps[0].output


def test_the_executor_says_where_commands_run(host: Host) -> None:
    said = host.sh("journalctl --no-pager -u sentinel-executor")
    assert re.search(r"each command in a transient unit of systemd \d+", said)
    checked = host.sh(
        "PYTHONPATH=/usr/lib/sentinel-test python3.11 -m agent.executor_process --check-config"
    )
    assert "each command in a transient unit of systemd" in checked


def test_a_command_runs_in_a_unit_of_its_own(host: Host, orders: Orders) -> None:
    report = orders.give("sandbox-probe closed show=/proc/self/cgroup")
    assert f"sentinel-order-{report.order_id}-0-0.service" in output(report)


def test_words_and_environment_arrive_as_they_are(orders: Orders) -> None:
    for text in ("$HOME", '$HOME ${PATH} $$ $1 %n %i a  b \\ " @x', "$", "%%", "$$HOME"):
        assert output(orders.give(f"sandbox-probe odd '{text}'")) == f"sandbox-probe odd {text}\n"
    names = set(output(orders.give("sandbox-probe closed words=x")).splitlines()[0].split()[1:])
    assert names <= {
        *("PATH", "LC_ALL", "HOME", "PAGER", "SYSTEMD_PAGER", "SYSTEMD_COLORS", "GIT_PAGER"),
        *("LANG", "INVOCATION_ID", "SYSTEMD_EXEC_PID", "MEMORY_PRESSURE_WATCH", "LC_CTYPE"),
        "MEMORY_PRESSURE_WRITE",
    }


def test_a_closed_command_can_only_read(host: Host, orders: Orders, victim: int) -> None:
    host.write("/etc/kept", "as it was")
    tries = (
        *("write=/etc/kept", "write=/var/tmp/new", "write=/usr/bin/new", "write=/run/new"),
        *("write=/dev/shm/new", "write=/run/lock/new", "write=/home/new", "write=/root/new"),
        *("write=/tmp/new", "write=/proc/sys/kernel/hostname", "connect=127.0.0.1:22"),
        *("connect=/run/dbus/system_bus_socket", "connect=/run/systemd/private"),
        *("connect=/run/sentinel/executor.socket", "send=10.91.0.99:53", "mount=/mnt"),
        *(f"memory={victim}", f"stop={victim}", "order=rescue.target"),
    )
    said = output(orders.give(f"sandbox-probe closed {' '.join(tries)}"))
    lines = said.splitlines()
    assert len(lines) == len(tries)
    assert not [line for line in lines if line.endswith("done")], said
    assert host.sh("cat /etc/kept") == "as it was"
    assert host.alive(victim)
    for word in tries:
        if word.endswith("/new"):
            assert not (host.root / word.partition("=/")[2]).exists(), word


def test_a_command_writes_in_its_grant_and_nowhere_else(host: Host, orders: Orders) -> None:
    host.sh("mkdir -p /srv/granted /srv/other")
    tries = "write=/srv/granted/new write=/srv/other/new write=/srv/new write=/etc/new"
    said = output(orders.give(f"sandbox-probe granted /srv/granted {tries}"))
    assert [line.endswith("done") for line in said.splitlines()] == [True, False, False, False]
    assert host.sh("ls /srv/granted /srv/other /srv").split() == (
        ["/srv:", "granted", "other", "/srv/granted:", "new", "/srv/other:"]
    )


def test_a_grant_with_odd_characters_is_that_folder_alone(host: Host, orders: Orders) -> None:
    host.sh("mkdir -p '/srv/a b%n\"c' /srv/a")
    said = output(
        orders.give(
            "sandbox-probe granted '/srv/a b%n\"c' 'write=/srv/a b%n\"c/new' write=/srv/a/x"
        )
    )
    assert [line.endswith("done") for line in said.splitlines()] == [True, False], said


def test_tmp_and_homes_are_private_unless_a_command_names_them(host: Host, orders: Orders) -> None:
    host.sh("touch /tmp/seen /home/seen; mkdir -p /root && touch /root/seen")
    said = output(orders.give("sandbox-probe closed scratch=own"))
    assert said == "scratch: done\n"
    assert host.sh("ls /tmp/own 2>/dev/null", check=False) == ""
    assert output(orders.give("ls /tmp")).split().count("seen") == 1
    assert "seen" in output(orders.give("find / -xdev -name seen -type f"))


@pytest.mark.parametrize(
    ("mode", "opened"),
    [("closed", False), ("named", False), ("interfaces", False), ("network", True), ("free", True)],
)
def test_packets_leave_only_where_the_rule_grants_the_network(
    orders: Orders, mode: str, *, opened: bool
) -> None:
    said = output(orders.give(f"sandbox-probe {mode} send=127.0.0.1:9 connect=127.0.0.1:9"))
    assert [line.endswith("done") for line in said.splitlines()] == [opened, opened], said


def test_the_bus_is_for_those_that_are_to_speak_to_services(orders: Orders) -> None:
    socket = "connect=/run/dbus/system_bus_socket"
    for mode, reached in (("closed", False), ("named", False), ("served", True), ("free", True)):
        said = output(orders.give(f"sandbox-probe {mode} {socket}"))
        assert said.endswith("done\n") is reached, (mode, said)


def test_a_command_that_eats_memory_is_killed_and_reported(orders: Orders) -> None:
    report = orders.give("sandbox-probe closed hog=200")
    assert report.outcome is Outcome.FAILED
    assert report.steps[0].exit_status == -9
    assert "64 MB" in report.reason
    assert "memory" in report.reason


def test_a_command_that_forks_without_end_gets_no_further_than_its_limit(orders: Orders) -> None:
    said = output(orders.give("sandbox-probe closed fork=200"))
    assert "BlockingIOError" in said


def test_a_file_larger_than_the_limit_is_not_written(host: Host, orders: Orders) -> None:
    host.sh("mkdir -p /srv/granted")
    said = output(orders.give("sandbox-probe granted /srv/granted fill=/srv/granted/large"))
    assert "File too large" in said
    assert int(host.sh("stat -c %s /srv/granted/large")) == 32 << 20


def test_at_the_deadline_what_called_setsid_is_dead_too(host: Host, orders: Orders) -> None:
    host.sh("mkdir -p /srv/granted; rm -f /srv/granted/*")
    command = "sandbox-probe granted /srv/granted leave=/srv/granted/pid sleep=300"
    report = orders.give(command, timeout_s=2)
    assert report.outcome is Outcome.TIMED_OUT
    assert "took longer than 2 s and was killed" in report.reason
    assert not host.alive(int(host.sh("cat /srv/granted/pid")))


def test_what_a_command_leaves_behind_is_dead_when_it_ends(host: Host, orders: Orders) -> None:
    host.sh("mkdir -p /srv/granted; rm -f /srv/granted/*")
    report = orders.give("sandbox-probe granted /srv/granted leave=/srv/granted/pid")
    assert report.outcome is Outcome.SUCCEEDED
    assert not host.alive(int(host.sh("cat /srv/granted/pid")))


def test_pipes_between_units_are_ours(host: Host, orders: Orders) -> None:
    report = orders.give("sandbox-probe closed words=b words=a | sort | head -n 1")
    assert output(report).startswith("a ")
    report = orders.give("sandbox-probe closed sleep=0 | wc -l && cat /etc/hostname || uptime")
    assert output(report) == "1\n" + host.sh("cat /etc/hostname")
    report = orders.give("ls /nonexistent 2>/dev/null || echo instead")
    assert output(report) == "instead\n"


def test_a_status_arrives_as_the_program_gave_it(orders: Orders) -> None:
    report = orders.give("grep nothing-like-this /etc/hostname")
    assert report.outcome is Outcome.FAILED
    assert report.steps[0].exit_status == 1
    assert report.reason == "command 1 ended with status 1"


def test_a_failed_unit_is_restarted_through_the_bus(host: Host, orders: Orders) -> None:
    host.write(
        "/etc/systemd/system/shaky.service",
        "[Service]\nExecStart=/bin/sh -c 'test -e /run/mended && exec sleep 600'\n",
    )
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "shaky", check=False)
    wait_for(lambda: "failed" in host.run("systemctl", "is-failed", "shaky", check=False))
    host.sh("touch /run/mended")
    report = orders.give("systemctl restart shaky.service", units=("shaky.service",))
    assert report.outcome is Outcome.SUCCEEDED, report
    assert host.run("systemctl", "is-active", "shaky") == "active\n"
    host.run("systemctl", "stop", "shaky")


def test_a_disk_is_cleaned_up_where_that_is_granted(host: Host, orders: Orders) -> None:
    host.sh("mkdir -p /var/tmp/old; touch /var/tmp/old/new; touch -d '30 days ago' /var/tmp/old/a")
    host.sh("echo x > /var/tmp/export.csv")
    report = orders.give("find /var/tmp -xdev -type f -mtime +7 -delete")
    assert report.outcome is Outcome.SUCCEEDED, report
    assert host.sh("ls /var/tmp/old") == "new\n"
    report = orders.give("rm -f /var/tmp/export.csv", files=("/var/tmp/export.csv",))
    assert report.outcome is Outcome.SUCCEEDED, report
    assert "export.csv" not in host.sh("ls /var/tmp")


def test_a_unit_that_a_killed_executor_left_is_ended_and_told(host: Host, orders: Orders) -> None:
    host.sh("mkdir -p /srv/granted; rm -f /srv/granted/*")
    command = "sandbox-probe granted /srv/granted leave=/srv/granted/pid sleep=300"
    order = orders.order(command, timeout_s=120)
    orders.submit(order)
    pid = int(wait_for(lambda: host.sh("cat /srv/granted/pid 2>/dev/null", check=False)))
    host.run("systemctl", "kill", "--signal=KILL", "sentinel-executor")
    wait_for(
        lambda: "failed" in host.run("systemctl", "is-failed", "sentinel-executor", check=False)
    )
    assert host.alive(pid)
    assert host.units() == [f"sentinel-order-{order.order_id}-0-0.service"]
    orders.start()
    report = orders.report_on(order)
    assert report.outcome is Outcome.UNKNOWN
    assert f"sentinel-order-{order.order_id}-0-0.service still ran and was killed" in report.reason
    assert host.units() == []
    assert not host.alive(pid)
    lines = host.sh("cat /var/lib/sentinel-executor/journal.jsonl").splitlines()
    mine = [json.loads(line)["what"] for line in lines if order.order_id in line]
    assert mine == ["claimed", "started", "done", "reported"]


def test_a_command_whose_client_is_ended_does_not_run_on(host: Host, orders: Orders) -> None:
    host.sh("mkdir -p /srv/granted; rm -f /srv/granted/*")
    order = orders.order("sandbox-probe granted /srv/granted leave=/srv/granted/pid sleep=300")
    orders.submit(order)
    pid = int(wait_for(lambda: host.sh("cat /srv/granted/pid 2>/dev/null", check=False)))
    host.run("pkill", "-TERM", "-x", "systemd-run")
    report = orders.report_on(order)
    assert report.outcome is Outcome.FAILED
    assert "the client that waited for it had ended" in report.reason
    assert not host.alive(pid)


def test_an_executor_that_is_stopped_ends_its_command_first_and_tells(
    host: Host, orders: Orders
) -> None:
    order = orders.order("sandbox-probe closed sleep=3")
    orders.submit(order)
    wait_for(host.units)
    host.run("systemctl", "stop", "sentinel-executor")
    orders.start()
    assert orders.report_on(order).outcome is Outcome.SUCCEEDED


def test_systemd_ends_a_command_when_no_executor_is_left_to(host: Host, orders: Orders) -> None:
    host.sh("mkdir -p /srv/granted; rm -f /srv/granted/*")
    order = orders.order("sandbox-probe granted /srv/granted leave=/srv/granted/pid sleep=300",
                         timeout_s=2)  # fmt: skip
    orders.submit(order)
    pid = int(wait_for(lambda: host.sh("cat /srv/granted/pid 2>/dev/null", check=False)))
    host.run("systemctl", "kill", "--signal=KILL", "sentinel-executor")
    wait_for(lambda: not host.alive(pid))
    orders.start()
    assert orders.report_on(order).outcome is Outcome.UNKNOWN
