"""`sentinel-agent` as a real process: starts, tells its status, ends, and says what is wrong."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import notify, protected
from agent.status import read
from appliance.records import Finding
from tests.agent.certificates import Authority
from tests.agent.hub_double import HubDouble

NODE = "spiffe://sentinel/node/n1"


def agent(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "agent", *words],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def hub(authority: Authority, tmp_path: Path) -> Iterator[HubDouble]:
    with HubDouble(authority.issue(tmp_path / "hub", uri="spiffe://sentinel/hub")) as hub:
        yield hub


@pytest.fixture
def watched() -> Iterator[str]:
    """A process under a name of its own, so that no other process of this host is found."""
    name = f"watched-{os.getpid()}"
    script = "import sys,time; open('/proc/self/comm', 'w').write(sys.argv[1]); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, name]) as child:
        yield name
        child.kill()


@pytest.fixture
def config(authority: Authority, hub: HubDouble, watched: str, tmp_path: Path) -> Path:
    identity = authority.issue(tmp_path / "node", uri=NODE, dns="n1")
    path = tmp_path / "agent.toml"
    path.write_text(f"""
hub = "127.0.0.1:{hub.port}"
hub_name = "localhost"
state_dir = "{tmp_path}/state"
executor_socket = "{tmp_path}/executor.sock"
cycle_s = 0.2
fire_after = 2
[identity]
certificate = "{identity.certificate}"
key = "{identity.key}"
ca = "{identity.ca}"
[limits]
process_memory_mb = {{ "{watched}" = 1 }}
""")
    return path


def running(config: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "agent", "run", "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_reports_goes_on_after_a_kill_with_the_same_findings_and_ends_on_sigterm(
    hub: HubDouble, config: Path, watched: str, tmp_path: Path
) -> None:
    with running(config) as first:
        assert hub.wait(
            lambda: any(watched in getattr(one.body, "subject", "") for one in hub.events)
        )
        first.send_signal(signal.SIGKILL)
    with running(config) as second:
        assert hub.wait(lambda: len(hub.hellos) == 2)
        deadline = time.monotonic() + 10
        while not read(tmp_path / "state").connected and time.monotonic() < deadline:
            time.sleep(0.05)
        asked = agent("status", "--config", str(config))
        second.send_signal(signal.SIGTERM)
        assert second.wait(10) == 0
    told = [one.body for one in hub.events if isinstance(one.body, Finding)]
    mine = [one for one in told if watched in one.subject]
    assert len({one.finding_id for one in mine}) == 1, "a condition was told twice"
    assert f"hub       127.0.0.1:{hub.port}, connected" in asked.stdout
    assert asked.returncode == 1  # there is no executor here
    assert "executor  does not answer" in asked.stdout


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("cycle_s = 0.2", "cicle_s = 0.2"), "cicle_s: unknown key"),
        (("cycle_s = 0.2", 'cycle_s = "5m"'), "cycle_s: expected `float`"),
        (("[limits]", "[limits]\ndisk_percent = 900.0"), "limits.disk_percent"),
        (('hub = "127', 'hub = "https://127'), "hub: expected"),
    ],
)
def test_a_wrong_setting_is_one_line_with_file_and_key(
    config: Path, change: tuple[str, str], expected: str
) -> None:
    config.write_text(config.read_text().replace(*change))
    done = agent("run", "--config", str(config), "--check-config")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert str(config) in done.stderr
    assert expected in done.stderr


def test_check_config_says_that_all_is_right(config: Path) -> None:
    done = agent("run", "--config", str(config), "--check-config")
    assert (done.returncode, done.stderr) == (0, "")
    (config.parent / "node" / "key.pem").unlink()
    done = agent("run", "--config", str(config), "--check-config")
    assert done.returncode == 2
    assert "key.pem: cannot read" in done.stderr


def test_status_without_an_agent_could_not_tell(config: Path) -> None:
    done = agent("status", "--config", str(config))
    assert done.returncode == 2
    assert "has not run here" in done.stderr


def test_check_looks_at_this_host_once(config: Path) -> None:
    done = agent("check", "--config", str(config))
    assert done.returncode == 1  # the watched process is over its limit of 1 MB
    assert "process_memory: " in done.stdout


def test_systemd_hears_that_the_service_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(address))
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        notify.notify("READY=1")
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("pid", "name", "command"),
    [
        (1, "anything", ["anything"]),
        (50, "sshd", ["sshd: me [priv]"]),
        (50, "innocent", ["/usr/sbin/sshd", "-D"]),
        (50, "postgres", ["postgres: checkpointer"]),
        (50, "systemd-journal", ["/usr/lib/systemd/systemd-journald"]),
        (50, "python3", ["python3", "-m", "agent.executor_process", "--config", "x"]),
        (50, "sentinel-agent", ["/opt/bin/python", "/usr/bin/sentinel-agent", "run"]),
        (50, "kworker/0:1", []),
        (50, "dbus-daemon", ["dbus-daemon", "--system"]),
    ],
)
def test_what_keeps_the_host_alive_is_protected(pid: int, name: str, command: list[str]) -> None:
    assert protected.why(pid=pid, name=name, command=command)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("sentinel-leak", ["python3", "-m", "appliance.demo.leak", "--limit-mb", "400"]),
        ("java", ["java", "-jar", "app.jar"]),
        ("python3", ["python3", "-m", "http.server"]),
    ],
)
def test_an_ordinary_program_is_not_protected(name: str, command: list[str]) -> None:
    assert protected.why(pid=50, name=name, command=command) is None


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("agent.loop", ["cryptography", "policy", "audit", "bashlex"]),
        ("agent.executor_process", ["grpc", "psutil", "sqlite3", "google.protobuf", "bashlex"]),
    ],
)
def test_each_process_loads_only_what_it_needs(module: str, heavy: list[str]) -> None:
    script = f"import sys, {module}; print([one for one in {heavy} if one in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout == "[]\n"
