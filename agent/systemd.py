"""Ask systemd and its journal, read-only, where systemd runs.

This module starts `systemctl` and `journalctl` with fixed arguments and nothing else. Nothing
that came over the wire reaches it: unit names come from systemd's own answers.
"""

import logging
import subprocess
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

_RUNNING = Path("/run/systemd/system")
_TIMEOUT_S = 3.0
_MAX_OUTPUT_BYTES = 256 * 1024
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"}
_SHOWN = ("ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts", "MainPID")


def is_running() -> bool:
    """Whether this host was booted with systemd (sd_booted(3))."""
    return _RUNNING.is_dir()


def failed_units() -> tuple[str, ...] | None:
    """Names of the units in the state `failed`; None when systemd does not answer."""
    text = run_readonly(("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--all"))
    if text is None:
        return None
    return tuple(line.split()[0] for line in text.splitlines() if line.strip())


def show(unit: str) -> dict[str, str]:
    """Some properties of a unit; empty when systemd does not answer."""
    text = run_readonly(("systemctl", "show", f"--property={','.join(_SHOWN)}", "--", unit))
    lines = (text or "").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def last_lines(unit: str, *, count: int) -> list[str]:
    """The last journal lines of a unit in this boot, oldest first."""
    command = ("journalctl", "--no-pager", "-q", "-b", "-o", "short-iso", "-n", str(count))
    text = run_readonly((*command, f"--unit={unit}"))
    return (text or "").splitlines()[-count:]


def run_readonly(argv: Sequence[str], *, timeout_s: float = _TIMEOUT_S) -> str | None:
    """The output of a fixed, reading command; None when it failed or took too long."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs; see the module's first lines
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            env=_ENVIRONMENT,
            cwd="/",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("%s: no answer: %s", argv[0], error)
        return None
    if done.returncode != 0:
        return None
    return done.stdout[:_MAX_OUTPUT_BYTES].decode("utf-8", "replace")
