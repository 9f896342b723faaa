"""Every acting form of the shipped policy, tried for real: no sandbox breaks what may run.

What the host has no program for is listed, with the reason; a form that is in neither list fails.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest

from appliance.records import Outcome
from policy.verdict import Effect
from tests.e2e.host import Host
from tests.e2e.orders import Orders

_SERVICE = (
    "printf '[Service]\\nExecStart=/bin/sleep 600\\nExecReload=/bin/touch /run/reloaded\\n'"
    " > /etc/systemd/system/app.service; systemctl daemon-reload;"
    " systemctl reset-failed app 2>/dev/null; systemctl start app"
)
_UNIT = {"units": ("app.service",)}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One form: how the host is prepared, what is ordered, and what must hold afterwards."""

    command: str
    before: str = "true"
    after: str = "true"  # must succeed
    named: dict[str, Any] = field(default_factory=dict)
    says: str = ""  # part of what it prints, where the host itself lets it fail
    victim: bool = False  # a process of another user's; its pid stands for VICTIM


TRIALS = [
    Trial(command="apt-get clean", before="touch /var/cache/apt/archives/x.deb",
          after="! test -e /var/cache/apt/archives/x.deb"),
    Trial(command="dnf clean all"),
    # With -x chronyd never touches the clock, and says so when it is asked to.
    Trial(command="chronyc makestep", before="pgrep chronyd || chronyd -x", says="500 Failure"),
    Trial(command="chronyc burst 1/2", before="pgrep chronyd || chronyd -x"),
    Trial(command="find /var/cache -xdev -type f -mtime +7 -delete",
          before="touch -d '9 days ago' /var/cache/old; chown nobody /var/cache/old",
          after="! test -e /var/cache/old"),
    Trial(command="fstrim -v --quiet-unsupported /", named={"mounts": ("/",)}),
    Trial(command="gzip /var/log/app.log.1", named={"files": ("/var/log/app.log.1",)},
          before="rm -f /var/log/app*; echo x > /var/log/app.log.1;"
                 "chown nobody:adm /var/log/app.log.1; chmod 640 /var/log/app.log.1",
          after='test "$(stat -c %U:%G:%a /var/log/app.log.1.gz)" = nobody:adm:640'),
    Trial(command="journalctl --rotate --vacuum-time=1d"),
    Trial(command="journalctl --vacuum-size=100M"),
    Trial(command="journalctl --rotate"),
    Trial(command="journalctl --sync"),
    Trial(command="journalctl --flush"),
    Trial(command="kill -TERM VICTIM", victim=True, after="! systemctl is-active victim"),
    Trial(command="kill -KILL VICTIM", victim=True, after="! systemctl is-active victim"),
    Trial(command="renice -n 7 -p VICTIM", victim=True,
          after='test "$(ps -o ni= -p VICTIM)" -eq 7'),
    Trial(command="renice 7 VICTIM", victim=True, after='test "$(ps -o ni= -p VICTIM)" -eq 7'),
    Trial(command="logrotate /etc/logrotate.conf",
          before="rm -f /var/log/app*; mkdir -p /var/log/app; chown nobody:adm /var/log/app;"
                 "echo x > /var/log/app/x.log; chown nobody:adm /var/log/app/x.log;"
                 "printf '/var/log/app/x.log {\\n size 1\\n rotate 2\\n create 640 nobody adm\\n"
                 " su nobody adm\\n postrotate\\n  systemctl reset-failed\\n  touch /run/rotated\\n"
                 " endscript\\n}\\n' > /etc/logrotate.d/app",
          after="test -s /var/log/app/x.log.1 -a -e /run/rotated"),
    Trial(command="mount -o remount,rw /mnt", named={"mounts": ("/mnt",)},
          before="mountpoint -q /mnt || mount -t tmpfs -o ro none /mnt",
          after="touch /mnt/x && umount /mnt"),
    Trial(command="rm -f /var/tmp/export.csv", named={"files": ("/var/tmp/export.csv",)},
          before="echo x > /var/tmp/export.csv; chown nobody /var/tmp/export.csv",
          after="! test -e /var/tmp/export.csv"),
    Trial(command="rm -f /var/log/app/x.log.gz", named={"files": ("/var/log/app/x.log.gz",)},
          before="mkdir -p /var/log/app; chown nobody /var/log/app; chmod 700 /var/log/app;"
                 "echo x > /var/log/app/x.log.gz",
          after="! test -e /var/log/app/x.log.gz"),
    Trial(command="swapon -a"),  # there is no swap on the host: nothing to switch on
    Trial(command="sync"),
    Trial(command="sync -f /", named={"mounts": ("/",)}),
    Trial(command="systemctl restart app.service", named=_UNIT, before=_SERVICE,
          after="systemctl is-active app"),
    Trial(command="systemctl start app.service", named=_UNIT,
          before=f"{_SERVICE}; systemctl stop app", after="systemctl is-active app"),
    Trial(command="systemctl reload app.service", named=_UNIT,
          before=f"{_SERVICE}; rm -f /run/reloaded", after="test -e /run/reloaded"),
    Trial(command="systemctl reset-failed app.service", named=_UNIT,
          before=f"{_SERVICE}; systemctl kill -s KILL app;"
                 " until systemctl is-failed app; do sleep 0.05; done",
          after="! systemctl is-failed app"),
    Trial(command="systemd-tmpfiles --clean --prefix=/var/tmp",
          before="echo 'd /var/tmp 1777 root root 1d' > /etc/tmpfiles.d/test.conf;"
                 "touch -d '9 days ago' /var/tmp/aged"),
    Trial(command="truncate -s 0 /var/log/app/x.log", named={"files": ("/var/log/app/x.log",)},
          before="mkdir -p /var/log/app; echo x > /var/log/app/x.log; chown nobody /var/log/app/*",
          after="test -e /var/log/app/x.log && ! test -s /var/log/app/x.log"),
]  # fmt: skip
# Programs that the host does not have, and so forms that were not tried for real.
NOT_TRIED = ("docker", "podman", "nerdctl", "resolvectl", "yum", "microdnf")


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.command)
def test_an_acting_form_works_in_its_sandbox(host: Host, orders: Orders, trial: Trial) -> None:
    host.sh(trial.before)
    pids: tuple[int, ...] = ()
    command, after = trial.command, trial.after
    if trial.victim:
        host.run("systemd-run", "--unit=victim", "--collect", "-p", "User=nobody", "sleep", "600")
        pid = host.run("systemctl", "show", "-p", "MainPID", "--value", "victim").strip()
        command, after = command.replace("VICTIM", pid), after.replace("VICTIM", pid)
        pids = (int(pid),)
    report = orders.give(command, pids=pids, **trial.named)
    assert report.steps, report.reason
    assert trial.says in report.steps[0].output
    assert (report.outcome is Outcome.SUCCEEDED) is (not trial.says), report
    host.sh(after)
    if trial.victim:
        host.run("systemctl", "stop", "victim", check=False)


def test_every_acting_form_was_tried_or_has_no_program_here(host: Host, orders: Orders) -> None:
    tried = set()
    for trial in TRIALS:
        finding = orders.forge.finding(4242) if trial.victim else orders.finding(**trial.named)
        command = trial.command.replace("VICTIM", "4242")
        tried.add(orders.judged(finding, command).commands[0].rule)
    missing = []
    for command in orders.bundle.commands.values():
        forms = [form for form in command.forms if form.effect > Effect.READ]
        if command.name in {*NOT_TRIED, "sandbox-probe"}:
            assert command.name == "sandbox-probe" or not [
                path for path in command.paths if (host.root / path[1:]).exists()
            ]
            continue
        missing += [f"{command.name} {form.rule}" for form in forms if form.rule not in tried]
    assert not missing
