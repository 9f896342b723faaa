"""What a unit is asked for, word by word; that systemd does it is shown in tests/e2e."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent import units
from agent.command_limits import CommandLimits
from agent.errors import UnitError
from agent.executor_process import _place
from agent.executor_settings import ExecutorSettings
from agent.run_program import Command
from agent.sandbox import CAPABILITIES, sandbox
from agent.units import Units, properties, unit_of
from policy.needs import WORDS

LIMITS = CommandLimits()


def asked(*needs: str, writes: tuple[str, ...] = (), version: int = 252) -> list[str]:
    return properties(sandbox(needs, writes), LIMITS, version=version)


def value(chosen: list[str], name: str) -> str:
    (found,) = [one.partition("=")[2] for one in chosen if one.startswith(f"{name}=")]
    return found


def test_a_closed_command_has_nothing_but_the_right_to_read() -> None:
    chosen = asked()
    assert value(chosen, "CapabilityBoundingSet") == "CAP_DAC_READ_SEARCH"
    assert value(chosen, "RestrictAddressFamilies") == "AF_NETLINK"
    assert value(chosen, "ReadOnlyPaths") == "/proc /sys /dev /run"
    assert {
        *("NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "ProtectHome=yes"),
        *("PrivateDevices=yes", "IPAddressDeny=any", "RestrictNamespaces=yes", "LimitCORE=0"),
    } <= set(chosen)


@pytest.mark.parametrize("word", [*WORDS, "write:/srv"])
def test_limits_and_the_end_hold_whatever_is_granted(word: str) -> None:
    chosen = asked(word, writes=("/srv",) if word == "write:/srv" else ())
    assert {
        *("KillMode=control-group", "KillSignal=SIGKILL", "MemoryMax=512M", "MemorySwapMax=0"),
        *("TasksMax=128", "CPUQuota=100%", "LimitFSIZE=4096M", "LimitCORE=0"),
    } <= set(chosen)
    whole = word == "whole-host"
    assert ("NoNewPrivileges=yes" in chosen) is not whole
    assert ("IPAddressDeny=any" in chosen) is not (whole or word == "network")
    assert any("@mount" in one for one in chosen) is (word == "remount")
    assert any(one.startswith("ProtectSystem") for one in chosen) is (
        word not in {"mounts", "remount", "whole-host"}
    )


def test_a_word_that_is_not_known_grants_nothing() -> None:
    assert asked("everything", "network ", "NETWORK") == asked()


def test_the_bus_is_hidden_from_all_that_are_not_to_speak_to_services() -> None:
    for word in WORDS:
        chosen = asked(word)
        families = [one for one in chosen if one.startswith("RestrictAddressFamilies=")]
        local = not families or "AF_UNIX" in families[0]
        hidden = any(one.startswith("InaccessiblePaths=") for one in chosen)
        if local and not hidden:
            assert word in {"services", "whole-host"}


def test_a_path_cannot_say_more_than_itself() -> None:
    chosen = asked(writes=('/srv/a b" /etc "c\\', "/srv/%n"))
    assert [one for one in chosen if one.startswith("ReadWritePaths=") and "srv" in one] == [
        'ReadWritePaths="-/srv/%n"',
        'ReadWritePaths="-/srv/a b\\" /etc \\"c\\\\"',
    ]


def test_a_folder_that_is_granted_is_not_made_read_only_again() -> None:
    assert value(asked(writes=("/run",)), "ReadOnlyPaths") == "/proc /sys /dev"


def test_an_older_systemd_is_not_asked_for_what_it_does_not_know() -> None:
    names = {one.partition("=")[0] for one in asked(version=239)}
    assert not names & {"ProtectClock", "ProtectKernelLogs", "RestrictSUIDSGID", "OOMPolicy"}
    assert names < {one.partition("=")[0] for one in asked(version=252)}


def test_every_capability_has_the_number_that_the_kernel_gives_it() -> None:
    header = Path("/usr/include/linux/capability.h")
    if not header.exists():
        pytest.skip("no kernel headers here")
    said = dict(
        line.split()[1:3]
        for line in header.read_text().splitlines()
        if line.startswith("#define CAP_") and line.split()[2:3]
    )
    assert {name: said.get(name) for name in CAPABILITIES} == {
        name: str(number) for name, number in CAPABILITIES.items()
    }


def test_the_client_gets_words_as_they_are_and_systemd_fills_in_nothing() -> None:
    command = Command(
        name="0190-../x y-0-0", file="/usr/bin/awk", argv=("awk", "{print $1}", "$HOME", "$$"),
        sandbox=sandbox((), ()),
    )  # fmt: skip
    argv = Units(LIMITS, version=252).argv(command, seconds=5)
    assert argv[argv.index("--") :] == ["--", "/usr/bin/awk", "{print $$1}", "$$HOME", "$$$$"]
    assert "--property=RuntimeMaxSec=8.000" in argv
    assert unit_of(command) == "sentinel-order-0190----x-y-0-0.service"


@pytest.mark.skipif(units.here(LIMITS) is not None, reason="systemd runs here")
def test_where_systemd_does_not_run_units_are_refused_at_the_start(tmp_path: Path) -> None:
    values = {
        "node": "h1", "socket": "/run/x", "state_dir": str(tmp_path),
        "order_key": "/x", "audit_vkey": "/x",
    }  # fmt: skip
    with pytest.raises(UnitError, match="systemd does not run here"):
        _place(ExecutorSettings(**values, run_in="units"))
    place = _place(ExecutorSettings(**values))
    assert place.words.startswith("no systemd here; each command in a process with limits")


def test_a_spec_is_obeyed_whole_or_the_program_does_not_start(tmp_path: Path) -> None:
    """What confines refuses on any step it cannot do; here a limit that is none."""
    spec = {"limits": {"RLIMIT_NOFILE": -5}, "capabilities": None, "families": None,
            "landlock": None, "umask": 0o77}  # fmt: skip
    launcher = Path(units.__file__).with_name("confine.py")
    done = subprocess.run(
        [sys.executable, "-I", "-S", launcher, json.dumps(spec), "/bin/echo", "echo", "ran"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert b"ran" not in done.stdout
