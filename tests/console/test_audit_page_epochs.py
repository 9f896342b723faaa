"""The audit page over a log whose keys change: the console is given the root key alone."""

import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from flask import Flask

from audit.__main__ import main as sentinel_audit
from hub.console.settings import ConsoleSettings
from hub.persist.database import Database
from tests.console.conftest import Browser
from tests.hub.builders import outbox
from tests.hub.key_notary import EpochNotary, Officer, command
from tests.hub.test_notary import offer_many, until

pytestmark = pytest.mark.postgres

SignIn = Callable[[str], Browser]
RED = 'class="badge bad"'


@pytest.fixture
def settings(settings: ConsoleSettings, tmp_path: Path) -> ConsoleSettings:
    return msgspec.structs.replace(
        settings, log=tmp_path / "log", log_vkey=tmp_path / "root.vkey", page_rows=10
    )


@pytest.fixture
def notary(tmp_path: Path, dsn: str, database: Database) -> Iterator[EpochNotary]:
    """A log with entries of two epochs; the notary is stopped."""
    officer = Officer(tmp_path)
    officer.run(command("keys root"))
    one = EpochNotary(tmp_path, dsn)
    offer_many(database, 3)
    one.start()
    until(lambda: not outbox(database) and one.last_note() != "")
    officer.run(command("keys rotate"))
    offer_many(database, 3)
    until(lambda: not outbox(database) and one.epoch() == 1)
    one.stop()
    yield one
    if one.process is not None and one.process.poll() is None:
        one.end(signal.SIGKILL)


def test_entries_of_every_epoch_are_verified_under_the_root_key(
    notary: EpochNotary, signed_in: SignIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = signed_in("viewer-1")
    seq = notary.types().index("key.rotate")
    for path in ("/audit", f"/audit?before={seq + 1}"):
        text = browser.get(path).text
        assert RED not in text
        assert "verified now" in text
    monkeypatch.chdir(tmp_path)
    for path, name in (("proof", "tlog-proof"), ("line", "entry")):
        (tmp_path / f"entry-{seq}.{name}").write_bytes(browser.get(f"/audit/{seq}/{path}").data)
    found = re.search(r'id="offline-alone">([^<]*)<', browser.get(f"/audit/{seq}").text)
    assert found
    assert "--root root.vkey" in found[1]
    assert sentinel_audit(found[1].split()[1:]) == 0


def test_when_the_key_that_signed_last_is_revoked_nothing_is_green(
    notary: EpochNotary, signed_in: SignIn, app: Flask, tmp_path: Path
) -> None:
    browser = signed_in("viewer-1")
    assert RED not in browser.get("/audit").text
    proof, line = (browser.get(f"/audit/1/{path}").data for path in ("proof", "line"))
    officer = Officer(tmp_path)
    officer.run(
        "sentinel-audit keys revoke epochs.note --root root.key --epoch 1 --trusted-size 3"
        " --reason stolen --count 24 --days 30 --out revoked.note --state revoked.state"
    )
    shutil.copy(tmp_path / "revoked.note", tmp_path / "log" / "epochs.note")
    text = browser.get("/audit").text
    assert "cannot be verified" in text
    assert "revoked" in text
    assert "\u2714</span> verified" not in text
    assert browser.get("/audit/1/proof").status_code == 409
    (tmp_path / "p").write_bytes(proof)
    (tmp_path / "e").write_bytes(line)
    words = ["check", str(tmp_path / "p"), str(tmp_path / "e"), "--root", f"{tmp_path}/root.vkey"]
    assert sentinel_audit([*words, "--epochs", str(tmp_path / "epochs.note")]) == 0
    assert sentinel_audit([*words, "--epochs", str(tmp_path / "revoked.note")]) == 1


def test_an_export_of_it_is_the_bytes_of_the_command_under_the_root_key(
    notary: EpochNotary, signed_in: SignIn, tmp_path: Path
) -> None:
    answer = signed_in("admin-1").post("/audit/export", {"reason": "x"}, page="/audit")
    assert answer.status_code == 200, answer.text
    out = tmp_path / "out.tar"
    words = ["export", str(tmp_path / "log"), "--out", str(out), "--root", f"{tmp_path}/root.vkey"]
    assert sentinel_audit(words) == 0
    assert answer.data == out.read_bytes()
    answer.close()
