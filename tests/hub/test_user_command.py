"""`sentinel user`: operators from the command line, each change on record."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.__main__ import main
from appliance.operator_claim import fingerprint
from appliance.user_options import ROLES
from hub.persist import operators, sign_in
from hub.persist.database import Database
from tests.attacks.operators import TerminalKey
from tests.hub.builders import outbox

pytestmark = pytest.mark.postgres


@pytest.fixture
def config(tmp_path: Path, dsn: str) -> list[str]:
    path = tmp_path / "console.toml"
    path.write_text(
        f'dsn = "{dsn}"\ncertificate = "c"\nkey = "k"\nsession_key = "s"\nnames = ["hub.test"]\n'
    )
    return ["--config", str(path)]


def test_the_roles_are_the_consoles() -> None:
    assert ROLES == operators.ROLES


def test_an_operator_is_added_changed_listed_and_kept_out(
    config: list[str],
    database: Database,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(["user", "add", "first", "--role", "admin", *config]) == 0
    assert "https://hub.test:8443/sign-in/once?token=" in capsys.readouterr().out
    assert main(["user", "add", "second", *config]) == 0
    assert main(["user", "role", "second", "--role", "viewer", *config]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("a long enough password\n"))
    assert main(["user", "password", "second", *config]) == 0
    assert sign_in.sign_in(
        database,
        name="second",
        password="a long enough password",
        address="192.0.2.1",
        rules=sign_in.SigninRules(),
        now=datetime.now(UTC),
    )
    assert main(["user", "disable", "second", *config]) == 0
    capsys.readouterr()
    assert main(["user", "list", *config]) == 0
    listed = capsys.readouterr().out
    assert "second" in listed
    assert "disabled" in listed
    what = [row["body"].get("what") for row in outbox(database)]
    assert what[-1] == "operator.disable"
    assert "a long enough password" not in str(outbox(database))


def test_what_is_refused_is_one_line_and_changes_nothing(
    config: list[str], database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["user", "add", "Bad Name", *config]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["user", "role", "nobody", "--role", "admin", *config]) == 1
    assert operators.listed(database) == []
    assert main(["user", "list", "--config", "/nonexistent.toml"]) == 2


def test_a_site_gets_its_first_key_on_the_command_line_and_the_log_says_who(
    config: list[str], database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    key = TerminalKey().credential
    shown = fingerprint(key)
    assert main(["user", "add-key", "first", key.public_key, "--label", "laptop", *config]) == 0
    assert shown in capsys.readouterr().out
    assert main(["user", "keys", *config]) == 0
    assert capsys.readouterr().out.split()[:2] == ["first", "waits"]
    assert main(["user", "approve-key", shown[:10], *config]) == 1
    assert "at least 16 digits" in capsys.readouterr().err
    assert main(["user", "approve-key", "0" * 64, *config]) == 1
    assert main(["user", "approve-key", shown, *config]) == 0
    assert "in force after the next policy publication" in capsys.readouterr().out
    assert main(["user", "approve-key", shown, *config]) == 1
    assert main(["user", "revoke-key", shown.replace(" ", "")[:16], *config]) == 0
    capsys.readouterr()
    assert main(["user", "keys", *config]) == 0
    assert capsys.readouterr().out.split()[:2] == ["first", "revoked"]
    assert main(["user", "add-key", "first", "AAAA", *config]) == 1
    entries = [row for row in outbox(database) if row["type"].startswith("credential.")]
    assert [row["outcome"] for row in entries] == ["pending", "approved", "revoked"]
    assert all("command line" in row["actor"]["id"] for row in entries)
