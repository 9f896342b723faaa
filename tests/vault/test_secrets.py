"""References are strict, refusals name them and not the secret, and Vault is waited for once."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from msgspec import structs
from psycopg.conninfo import conninfo_to_dict

from appliance import envelope
from appliance.errors import SettingsError
from appliance.launch import free_port
from hub import __main__ as sentinel_hub
from hub.console.secrets import secrets_of
from hub.console.settings import ConsoleSettings
from hub.persist.dsn import demand_without_secret, with_password
from hub.reason.settings import ReasonSettings
from hub.secrets import check, dsn_of, resolve
from tests.hub.builders import some_vkey
from tests.vault.servers import DevServer, certificate
from vault.access import VaultAccess
from vault.errors import VaultAwayError, VaultError
from vault.references import CredentialSecret, VaultSecret, credential, parse

SECRET = "hunter2-planted"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("vault:database#password", VaultSecret(path="database", field="password")),
        ("vault:a/b.c/d-e#f_g", VaultSecret(path="a/b.c/d-e", field="f_g")),
        ("credential:database-password", CredentialSecret(name="database-password")),
    ],
)
def test_a_reference_is_read_and_written_the_same(text: str, reference: object) -> None:
    assert parse(text, key="password") == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        "",
        f"vault:{SECRET}",
        f"vault:#{SECRET}",
        f"vault:a#{SECRET}#c",
        f"vault:/etc/{SECRET}#x",
        f"vault:../sys/{SECRET}#x",
        f"vault:a/../{SECRET}#x",
        f"vault:a//{SECRET}#x",
        f"vault:{SECRET}#x\n",
        f"credential:../{SECRET}",
        f"credential:/etc/{SECRET}",
        "credential:.",
        "credential:..",
        f"credential:{SECRET}\0",
        f"file:/etc/{SECRET}",
    ],
)
def test_anything_else_is_refused_and_not_repeated_for_it_may_be_the_secret(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^password: expected `vault:") as refused:
        parse(text, key="password")
    assert SECRET not in str(refused.value)


def test_a_credential_is_what_systemd_put_there_without_the_lines_end(tmp_path: Path) -> None:
    (tmp_path / "db").write_text(SECRET + "\n")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert credential(CredentialSecret(name="db"), environment=environment) == SECRET


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot read"),
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (SECRET.encode() + b"\0x", "zero byte"),
        (b"\xff\xfe" + SECRET.encode(), "it is no text"),
        (b"a" * 70_000, "too long"),
    ],
)
def test_a_bad_credential_is_named_and_not_shown(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "db").write_bytes(content)
    with pytest.raises(SettingsError, match=f"^credential:db: .*{why}") as refused:
        credential(
            CredentialSecret(name="db"), environment={"CREDENTIALS_DIRECTORY": str(tmp_path)}
        )
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(refused.value.__cause__)


def test_without_systemd_there_are_no_credentials() -> None:
    with pytest.raises(SettingsError, match=r"no \$CREDENTIALS_DIRECTORY"):
        credential(CredentialSecret(name="db"), environment={})


@pytest.mark.parametrize(
    "dsn",
    [
        f"host=db dbname=x user=y password={SECRET}",
        f"postgresql://y:{SECRET}@db/x",
        f"host=db sslpassword={SECRET}",
    ],
)
def test_a_password_in_a_connection_string_is_refused_wherever_it_stands(
    dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingsError, match=r"^dsn: holds a \w*password") as refused:
        demand_without_secret(dsn, key="dsn")
    assert SECRET not in str(refused.value)
    assert sentinel_hub.main(["migrate", "--dsn", dsn]) == 2
    config = tmp_path / "reason.toml"
    config.write_text(f'dsn = "{dsn}"\n')
    assert sentinel_hub.main(["reason", "--config", str(config)]) == 2
    assert sentinel_hub.main(["reason", "--config", str(config), "--check-config"]) == 2
    said = capsys.readouterr().err
    assert said.count("holds a") == 3
    assert SECRET not in said


def test_what_is_no_connection_string_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as refused:
        demand_without_secret(f"host=db {SECRET}", key="dsn")
    assert str(refused.value) == "dsn: expected a connection string of PostgreSQL"
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_a_password_with_every_quote_arrives_as_it_is() -> None:
    word = "a'b\"c\\d e=f%g"
    assert conninfo_to_dict(with_password("host=db", word, key="dsn"))["password"] == word


def test_the_console_takes_both_from_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "db").write_text(SECRET)
    (tmp_path / "session").write_text("s" * 43 + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = ConsoleSettings(
        dsn="host=db", password="credential:db", certificate=tmp_path, key=tmp_path,
        session_key=Path("credential:session"),
    )  # fmt: skip
    check(settings, settings.session_key)
    known = secrets_of(settings)
    assert known.session_key == b"s" * 43
    assert known.dsn == f"host=db password={SECRET}"
    assert SECRET not in repr(known)
    (tmp_path / "session").write_text("short")
    with pytest.raises(SettingsError, match="credential:session holds fewer than 32 bytes"):
        secrets_of(settings)


def test_a_reference_into_a_vault_that_no_setting_names_ends_the_start() -> None:
    settings = ReasonSettings(dsn="host=db", password="vault:database#password")
    for ask in (check, dsn_of):
        with pytest.raises(SettingsError, match=r"^vault:database#password: .*\[secrets\]"):
            ask(settings)


def access(url: str, folder: Path, token: str = "t") -> VaultAccess:
    (folder / "token").write_text(token)
    return VaultAccess(url=url, token=folder / "token")


REFERENCE = VaultSecret(path="database", field="password")


def test_a_vault_that_is_slow_is_waited_for_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that takes connections and never says anything; at the third we are told to stop."""
    stop, taken = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            while len(taken) < 3:
                taken.append(server.accept()[0])
            stop.set()

        thread = threading.Thread(target=take)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        slow = structs.replace(access(url, tmp_path), timeout_s=0.2)
        with caplog.at_level(logging.INFO), pytest.raises(VaultAwayError, match="is slow"):
            resolve(REFERENCE, slow, wait=stop, retry_s=0.01)
        thread.join()
    for one in taken:
        one.close()
    said = [one.getMessage() for one in caplog.records if "waiting for" in one.getMessage()]
    why = f"Vault at {url} is slow; could not read sentinel-kv/data/database"
    assert said == [f"waiting for vault:database#password: {why}"]


@pytest.mark.vault
def test_a_vault_that_says_no_is_not_waited_for(ready: DevServer, tmp_path: Path) -> None:
    never = threading.Event()
    with pytest.raises(VaultError, match="permission denied") as refused:
        resolve(REFERENCE, access(ready.url, tmp_path, "no-such-token"), wait=never)
    assert not isinstance(refused.value, VaultAwayError)
    assert "no-such-token" not in str(refused.value)


@pytest.mark.vault
@pytest.mark.parametrize("reference", ["vault:nothing#password", "vault:database#nothing"])
def test_a_secret_that_is_not_there_is_named(
    ready: DevServer, tmp_path: Path, reference: str
) -> None:
    with pytest.raises(VaultError, match=f"^{reference}: Vault has no such text"):
        resolve(parse(reference, key="p"), access(ready.url, tmp_path, ready.token))


@pytest.mark.vault
def test_the_administrators_variables_do_not_steer_where_a_token_goes(
    ready: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VAULT_ADDR", "BAO_ADDR", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_TOKEN", "another")
    monkeypatch.setenv("VAULT_NAMESPACE", "another")
    found = resolve(REFERENCE, access(ready.url, tmp_path, ready.token))
    assert found == "the-databases-password"


COMMON = 'dsn = "host=/nonexistent"\npassword = "{reference}"\n'
SETTINGS = {
    "reason": COMMON,
    "notary": COMMON + 'folder = "{folder}/log"\norigin = "log"\nkey = "{folder}/audit.key"\n',
    "serve": COMMON + 'order_key = "{folder}/order.key"\nlog_origin = "log"\n'
    'audit_vkey = "{folder}/log.vkey"\n[identity]\ncertificate = "{folder}/tls.crt"\n'
    'key = "{folder}/tls.key"\nca = "{folder}/tls.crt"\n',
    "console": COMMON + 'certificate = "{folder}/tls.crt"\nkey = "{folder}/tls.key"\n'
    'session_key = "{folder}/session.key"\n',
}


def daemon(
    name: str, folder: Path, reference: str, *words: str, vault: str = "", **environment: str
) -> "subprocess.Popen[str]":
    """One of the hub's real processes."""
    certificate(folder)
    for key in ("audit.key", "order.key"):
        envelope.make_key(folder / key)
    (folder / "log.vkey").write_text(some_vkey("log"))
    (folder / "token").write_text("t")
    config = folder / f"{name}.toml"
    text = SETTINGS[name].format(folder=folder, reference=reference)
    if vault:
        text += f'[secrets]\nurl = "{vault}"\ntoken = "{folder}/token"\n'
    config.write_text(text)
    return subprocess.Popen(
        [sys.executable, "-m", "hub", name, "--config", str(config), *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "status"), [("reason", 0), ("notary", 0), ("serve", -15), ("console", -15)]
)
def test_a_process_that_waits_for_vault_ends_when_it_is_told_to(
    tmp_path: Path, name: str, status: int
) -> None:
    absent = f"http://127.0.0.1:{free_port()}"
    with daemon(name, tmp_path, "vault:database#password", vault=absent) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert f"waiting for vault:database#password: Vault does not answer at {absent}" in first
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(30) == status
    assert rest == ""
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_process_reads_the_credential_that_systemd_gave_it_and_names_the_one_it_did_not(
    tmp_path: Path, name: str
) -> None:
    given = tmp_path / "credentials"
    given.mkdir()
    (given / "db").write_text(SECRET)
    for reference, why in (
        ("credential:db", ""),
        ("credential:other", "credential:other: cannot read"),
    ):
        folder = tmp_path / reference
        folder.mkdir()
        process = daemon(
            name, folder, reference, "--check-config", CREDENTIALS_DIRECTORY=str(given)
        )
        said = process.communicate(timeout=60)[0]
        assert SECRET not in said
        assert process.returncode == (2 if why else 0), said
        assert why in said
