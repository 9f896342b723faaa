"""`sentinel-hub`: what is wrong with a configuration is one clear line, before anything starts."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import envelope
from tests.hub.builders import some_vkey
from vault.pki import Pki

DAEMONS = ["serve", "reason", "notary", "console"]


def hub(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hub", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("daemon", DAEMONS)
def test_an_unknown_key_is_one_line_with_path_and_key(tmp_path: Path, daemon: str) -> None:
    path = tmp_path / f"{daemon}.toml"
    path.write_text("surprise = 1\n")
    done = hub(daemon, "--config", str(path), "--check-config")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr
    assert "surprise: unknown key" in done.stderr or "missing required field" in done.stderr


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, daemon: str) -> None:
    done = hub(daemon, "--config", str(tmp_path / "absent.toml"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot read" in done.stderr


@pytest.fixture
def serve_toml(tmp_path: Path, dsn: str, pki: Pki) -> Path:
    """Right settings of `serve`, on a port that is asked for later."""
    issued = pki.issue(
        role="hub", name="localhost", uri="spiffe://sentinel/hub", folder=tmp_path / "id",
        dns=["localhost"],
    )  # fmt: skip
    envelope.make_key(tmp_path / "order.key")
    (tmp_path / "log.vkey").write_text(some_vkey("log"))
    path = tmp_path / "serve.toml"
    path.write_text(
        f'dsn = "{dsn}"\norder_key = "{tmp_path}/order.key"\nlog_origin = "log"\n'
        f'audit_vkey = "{tmp_path}/log.vkey"\nbind = "127.0.0.1"\nport = 1\n'
        f'[identity]\ncertificate = "{issued.certificate}"\nkey = "{issued.key}"\n'
        f'ca = "{issued.ca}"\n'
    )
    return path


@pytest.mark.postgres
@pytest.mark.vault
def test_right_settings_are_said_to_be_right(serve_toml: Path) -> None:
    done = hub("serve", "--config", str(serve_toml), "--check-config")
    assert (done.returncode, done.stderr) == (0, "")
    assert "the settings are right" in done.stdout


@pytest.mark.postgres
@pytest.mark.vault
def test_a_port_that_is_taken_is_one_clear_line(serve_toml: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        serve_toml.write_text(serve_toml.read_text().replace("port = 1\n", f"port = {port}\n"))
        done = hub("serve", "--config", str(serve_toml))
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert f"cannot listen on 127.0.0.1:{port}" in last
    assert "Traceback" not in done.stderr


@pytest.mark.postgres
@pytest.mark.vault
@pytest.mark.parametrize("part", ["order.key", "log.vkey", "id/cert.pem"])
def test_a_file_that_is_missing_is_named(serve_toml: Path, tmp_path: Path, part: str) -> None:
    (tmp_path / part).unlink()
    done = hub("serve", "--config", str(serve_toml), "--check-config")
    assert done.returncode in (1, 2)
    assert part in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.postgres
def test_a_database_without_the_schema_says_what_to_run(tmp_path: Path, postgres: object) -> None:
    postgres.create("empty")  # type: ignore[attr-defined]
    dsn = postgres.dsn("empty")  # type: ignore[attr-defined]
    done = hub("migrate", "--dsn", dsn)
    assert done.returncode == 0
    assert "0001.spine" in done.stdout
    assert "up to date" in hub("migrate", "--dsn", dsn).stdout
    done = hub("migrate", "--dsn", "host=/nonexistent dbname=x")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
