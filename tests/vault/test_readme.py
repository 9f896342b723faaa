"""The commands of vault/README.md, as a person types them, on real servers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.launch import Launcher, _bao
from tests.vault.servers import DevServer, SealedServer, settings_file
from vault.access import VaultAccess
from vault.references import VaultSecret
from vault.secret import read

pytestmark = pytest.mark.vault

README = (Path(__file__).parents[2] / "vault" / "README.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(starts: str) -> list[str]:
    """The lines of the one block that begins so."""
    (block,) = (one for one in BLOCKS if one.startswith(starts))
    return [str(line) for line in block.strip().splitlines()]


def typed(line: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    root = Path(__file__).parents[2]
    for name, words in (
        ("bao", f'exec {_bao()} "$@"'),
        ("sentinel", f'PYTHONPATH={root} exec {sys.executable} -m appliance "$@"'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{words}\n")
        (programs / name).chmod(0o755)
    return subprocess.run(
        ["bash", "-euc", line],
        cwd=folder,
        env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_setups_commands_end_with_everything_there(launcher: Launcher, tmp_path: Path) -> None:
    server = DevServer(tmp_path, launcher, name="bao-readme").start()
    settings_file(tmp_path, f'url = "{server.url}"\n')
    (tmp_path / "database.password").write_text("as-postgresql-knows-it")
    done = [
        typed(line, tmp_path, BAO_ADDR=server.url, BAO_TOKEN=server.token)
        for line in commands("sentinel setup vault")
    ]
    assert [one.returncode for one in done] == [1, 1, 0, 0, 0, 0], [one.stderr for one in done]
    assert "everything is there; nothing to do" in done[3].stdout
    secret_id = tmp_path / "hub.secret-id"
    assert secret_id.stat().st_mode & 0o777 == 0o600
    access = VaultAccess(url=server.url, role_id=done[4].stdout.strip(), secret_id=secret_id)
    password = read(VaultSecret(path="database", field="password"), access)
    assert password == "as-postgresql-knows-it"
    # A session key that was thrown away is made anew, as the table says.
    (thrown,) = re.findall(r"`(bao kv metadata delete [^`]*)`", README)
    before = server.door().read("sentinel-kv/data/session")
    for line in (thrown, "sentinel setup vault --config setup.toml --apply"):
        one = typed(line, tmp_path, BAO_ADDR=server.url, BAO_TOKEN=server.token)
        assert one.returncode == 0, one.stderr
    after = server.door().read("sentinel-kv/data/session")
    assert before is not None
    assert after is not None
    assert before["data"] != after["data"]


def test_the_key_ceremony_needs_three_of_five(launcher: Launcher, tmp_path: Path) -> None:
    server = SealedServer(tmp_path, launcher, name="bao-ceremony").start()
    where = {"BAO_ADDR": server.url, "BAO_CACERT": str(server.ca)}
    init, unseal = commands("bao operator init")
    said = typed(init, tmp_path, **where)
    assert said.returncode == 0, said.stderr
    shares = re.findall(r'"([A-Za-z0-9+/]{44})"', said.stdout)
    assert len(shares) == 5
    for number, share in enumerate(shares[:3], start=1):
        done = typed(f"{unseal} {share}", tmp_path, **where)
        assert done.returncode == 0, done.stderr
        assert re.search(rf"^Sealed +{str(number < 3).lower()}$", done.stdout, re.MULTILINE)
    server.stop()
