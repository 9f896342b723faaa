"""Each command in a transient systemd unit of its own, where systemd is process 1.

The unit is made by `systemd-run`, which hands our pipes to it; it has no more than its sandbox
grants, and all it starts is in its control group: at the deadline the whole of it is killed,
whoever called setsid. systemd ends it by itself a little later if we cannot any more. This module
starts `systemctl` with fixed words and unit names that it made itself.

Decided: no PrivateNetwork. In a network of its own `ss` and `ip` would show an empty host and
`sysctl` another one's settings. Without AF_INET no socket can be opened, and IPAddressDeny drops
what one would send.
"""

import logging
import os
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from agent.command_limits import CommandLimits
from agent.ended import Ended, of_status
from agent.errors import UnitError
from agent.run_program import ENVIRONMENT, Command, Started
from agent.sandbox import Sandbox

PREFIX = "sentinel-order-"
BACKSTOP_S = 3.0  # after the deadline, when nobody has ended the unit: systemd does

_PATH = "/usr/bin:/bin"
_BOOTED = Path("/run/systemd/system")
_ANSWER_S = 20.0
_CLIENT_S = 5.0  # for systemd-run to see that its unit has ended
_ALONE = "it was killed: the client that waited for it had ended"
_NO_UNIT = "systemd did not start it"
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9-]")
_SHOWN = "Id,LoadState,ActiveState,Result,ExecMainCode,ExecMainStatus"
_KILLED, _DUMPED = "2", "3"  # CLD_KILLED and CLD_DUMPED of ExecMainCode
_SETUP_FAILED = range(200, 244)  # systemd.exec(5): the program was not even started

# Through these root can have others act for it. `names` needs local sockets, but none of these.
_CONTROL = (
    *("/run/dbus", "/run/systemd/private", "/run/systemd/io.systemd.ManagedOOM"),
    *("/run/docker.sock", "/run/containerd", "/run/crio", "/run/podman", "/run/libvirt"),
    *("/run/lxd.socket", "/run/incus", "/run/udev/control", "/run/initctl", "/run/sentinel"),
)
# What ProtectSystem=strict leaves writable: settings of the kernel, memory of other processes,
# control groups, /dev/shm. Not by ProtectKernelTunables and ProtectControlGroups: beside those
# systemd 252 leaves /run writable, and a container sees its machine's boot id.
_READ_ONLY = ("/proc", "/sys", "/dev", "/run")
_CHANGES_FILES = (
    "unlink unlinkat rename renameat renameat2 truncate ftruncate mkdir mkdirat rmdir link linkat"
    " symlink symlinkat mknod mknodat chmod fchmod fchmodat utimensat setxattr removexattr"
)
_SIGNALS = "kill tkill pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo"

_log = logging.getLogger(__name__)


class Units:
    """systemd as the place where commands run."""

    def __init__(self, limits: CommandLimits, *, version: int) -> None:
        self._limits = limits
        self.version = version
        self.words = f"each command in a transient unit of systemd {version}"

    def argv(self, command: Command, *, seconds: float) -> list[str]:
        """The client that has systemd run the command, and waits for its end."""
        chosen = properties(command.sandbox, self._limits, version=self.version)
        chosen += [f"RuntimeMaxSec={seconds + BACKSTOP_S:.3f}", "Description=Sentinel: an order"]
        return [
            *("systemd-run", "--pipe", "--wait", "--quiet", f"--unit={unit_of(command)}"),
            *(f"--property={one}" for one in chosen),
            *(f"--setenv={name}={value}" for name, value in ENVIRONMENT.items()),
            *("--", command.file),
            *(word.replace("$", "$$") for word in command.argv[1:]),  # it would fill in variables
        ]

    def begin(self) -> None:
        """Nothing to prepare: what a unit leaves, systemd finds."""

    def watch(self, started: Started) -> str:  # noqa: ARG002 - the kernel counts, per unit
        """Nothing to watch: the unit's own limits hold."""
        return ""

    def end(self, started: Started, *, in_time: bool) -> list[Ended]:
        """How each command ended; what is left of them is killed."""
        if not in_time:
            self.kill([unit_of(one) for one, client in started if client.poll() is None])
        for _, client in started:
            try:
                client.wait(_CLIENT_S)
            except subprocess.TimeoutExpired:
                client.kill()
                client.wait()
        return [self._end(unit_of(one), client.returncode) for one, client in started]

    def _end(self, unit: str, status: int) -> Ended:
        if status == 0:
            return Ended(status=0)  # systemd has forgotten it already
        ended = self.ended(unit)
        return Ended(status=status, because=_NO_UNIT) if ended.status is None else ended

    def kill(self, units: Sequence[str]) -> None:
        """End units with all that is in them; raises `UnitError` when systemd does not do it."""
        with suppress(UnitError):  # one that has ended by now is not loaded; looked at below
            _systemctl("stop", *units)  # KillSignal=SIGKILL, to the whole control group
        if left := [unit for unit in units if not _is_over(_show(unit))]:
            raise UnitError(f"systemd does not end {', '.join(left)}; they may still run")

    def ended(self, unit: str) -> Ended:
        """How a unit ended that did not end well, and forget it."""
        values = _show(unit)
        if alone := not _is_over(values):
            self.kill([unit])  # its client is gone, it is not
            values = _show(unit)
        if values.get("LoadState") == "loaded":
            _systemctl("reset-failed", unit)
        elif not alone:
            return Ended()
        return (
            Ended(status=-9, because=_ALONE, limit=True) if alone else _ended(values, self._limits)
        )

    def leftovers(self) -> list[str]:
        """Units of orders that are there though no executor ran: what a crash left."""
        listed = _systemctl(
            *("list-units", "--all", "--full", "--plain", "--no-legend", f"{PREFIX}*.service")
        )
        return [line.split()[0] for line in listed.splitlines() if line.strip()]

    def clear(self) -> list[str]:
        """End and forget what a crash left; the names of the units that were there."""
        found = self.leftovers()
        for unit in found:
            self.ended(unit)
        return found


def unit_of(command: Command) -> str:
    """The unit of one command of an order."""
    return f"{PREFIX}{_NOT_A_NAME.sub('-', command.name)[:100]}.service"


def here(limits: CommandLimits) -> Units | None:
    """systemd, where it is process 1; raises `UnitError` when it is and cannot be asked."""
    if not _BOOTED.is_dir():
        return None
    if not any(os.access(f"{folder}/systemd-run", os.X_OK) for folder in _PATH.split(":")):
        raise UnitError("systemd runs here, but there is no systemd-run in /usr/bin or /bin")
    found = re.match(r"systemd (\d+)", _systemctl("--version"))
    if not found:
        raise UnitError("systemctl --version does not name a version")
    return Units(limits, version=int(found[1]))


def properties(sandbox: Sandbox, limits: CommandLimits, *, version: int) -> list[str]:
    """The unit's properties; those that this systemd does not know yet are left out."""
    chosen: list[tuple[int, str]] = [
        (0, "KillMode=control-group"),
        (0, "KillSignal=SIGKILL"),
        (0, "IgnoreSIGPIPE=no"),  # `yes | head` ends
        (0, "TimeoutStopSec=5"),
        (0, f"MemoryMax={limits.memory_mb}M"),
        (0, "MemorySwapMax=0"),
        (0, f"TasksMax={limits.tasks}"),
        (0, f"CPUQuota={limits.cpu_percent}%"),
        (0, f"LimitFSIZE={limits.file_mb}M"),
        (0, f"LimitNOFILE={limits.open_files}"),
        (0, "LimitCORE=0"),
        (243, "OOMPolicy=kill"),
    ]
    if not sandbox.whole_host:
        chosen += [*_powers(sandbox), *_calls(sandbox)]
    if sandbox.own_mounts:
        chosen += _files(sandbox)
    return [text for since, text in chosen if since <= version]


def _powers(sandbox: Sandbox) -> list[tuple[int, str]]:
    """What root may still do, and whom it may speak to."""
    chosen = [
        (0, "NoNewPrivileges=yes"),
        (0, f"CapabilityBoundingSet={' '.join(sandbox.capabilities)}"),
        (0, f"RestrictAddressFamilies={' '.join(sandbox.families)}"),
        (0, "UMask=0077"),
        (0, "KeyringMode=private"),
        (0, "LockPersonality=yes"),
        (0, "RestrictNamespaces=yes"),
        (0, "RestrictRealtime=yes"),
        (242, "RestrictSUIDSGID=yes"),
    ]
    return chosen if sandbox.network else [*chosen, (0, "IPAddressDeny=any")]


def _calls(sandbox: Sandbox) -> list[tuple[int, str]]:
    """System calls: what services use, plus and minus what this command is for."""
    allowed = ["@system-service"]
    allowed += ["@mount", "@swap"] if "remount" in sandbox.needs else []
    allowed += ["@raw-io"] if "devices" in sandbox.needs else []
    allowed += ["syslog"] if "kernel" in sandbox.needs else []
    refused = ["ptrace process_vm_writev"]
    refused += [] if sandbox.signals or "itself" in sandbox.needs else [_SIGNALS]
    if not sandbox.own_mounts and "remount" not in sandbox.needs:
        refused.append(_CHANGES_FILES)  # what sees the host's own mounts cannot have them read-only
    return [
        (0, "SystemCallArchitectures=native"),
        (0, "SystemCallErrorNumber=EPERM"),
        (0, f"SystemCallFilter={' '.join(allowed)}"),
        (0, f"SystemCallFilter=~{' '.join(refused)}"),
    ]


def _files(sandbox: Sandbox) -> list[tuple[int, str]]:
    """A view of the host's files: all to be read, none to be written but what is granted."""
    devices = "devices" in sandbox.needs
    kernel = "kernel" in sandbox.needs
    chosen = [
        (0, "ProtectSystem=strict"),
        (0, "ReadWritePaths=-/sys/fs/selinux"),  # read-only it means: SELinux is off (libselinux)
        (0, f"ReadOnlyPaths={' '.join(path for path in _READ_ONLY if path not in sandbox.writes)}"),
        *((0, f"ReadWritePaths={_quoted(path)}") for path in sandbox.writes),
    ]
    chosen += [] if kernel else [(244, "ProtectKernelLogs=yes")]
    chosen += [] if devices else [(245, "ProtectClock=yes")]
    chosen += [(0, f"ProtectHome={'yes' if sandbox.private else 'read-only'}")]
    chosen += [(0, "PrivateTmp=yes")] if sandbox.private else []
    if not devices:
        hidden = sandbox.private and not kernel
        chosen.append((0, "PrivateDevices=yes" if hidden else "DevicePolicy=closed"))
        chosen += [(0, "DeviceAllow=/dev/kmsg r")] if kernel else []
    if not sandbox.bus:
        chosen.append((0, f"InaccessiblePaths={' '.join(f'-{path}' for path in _CONTROL)}"))
    return chosen


def _quoted(path: str) -> str:
    """A path as systemd reads it in a list, and no fault when it is not there."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"-{escaped}"'


def _ended(values: dict[str, str], limits: CommandLimits) -> Ended:
    code, status = values.get("ExecMainCode", ""), int(values.get("ExecMainStatus") or 0)
    result = values.get("Result", "")
    if result == "oom-kill":
        because = f"it took more memory than {limits.memory_mb} MB"
        return Ended(status=-9, because=because, limit=True)
    if code in {_KILLED, _DUMPED}:
        return of_status(-status, limits)
    if status in _SETUP_FAILED:
        return Ended(status=status, because="systemd could not start it; see its journal")
    if result not in {"success", "exit-code"}:
        return Ended(status=status or 1, because=f"systemd says {result}")
    return Ended(status=status)


def _is_over(values: dict[str, str]) -> bool:
    return values.get("ActiveState") in {"inactive", "failed"}


def _show(unit: str) -> dict[str, str]:
    lines = _systemctl("show", f"--property={_SHOWN}", "--", unit).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _systemctl(*words: str) -> str:
    """What systemctl answers; raises `UnitError` when it does not, or says no."""
    try:
        done = subprocess.run(
            ("systemctl", "--no-pager", *words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_S,
            env={**ENVIRONMENT, "PATH": _PATH},
            cwd="/",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnitError(f"systemctl {words[0]}: no answer: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise UnitError(f"systemctl {words[0]}: {said or done.returncode}")
    return done.stdout.decode("utf-8", "replace")
