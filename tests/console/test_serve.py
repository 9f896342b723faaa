"""Starting the console: what is wrong is said in one line, before anything listens."""

import socket
from pathlib import Path

import msgspec
import pytest

from appliance import settings as reader
from appliance.errors import LaunchError, SettingsError
from hub.console import serve
from hub.console.settings import ConsoleSettings
from tests.console.site import certify


@pytest.fixture
def ready(tmp_path: Path) -> ConsoleSettings:
    certify(tmp_path)
    return ConsoleSettings(
        dsn="dbname=none",
        certificate=tmp_path / "tls.crt",
        key=tmp_path / "tls.key",
        session_key=tmp_path / "session.key",
    )


def test_a_taken_port_is_one_clear_line(ready: ConsoleSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LaunchError, match=rf"127\.0\.0\.1 port {port}: Address already in use"):
            serve.run(msgspec.structs.replace(ready, port=port))


def test_a_missing_certificate_stops_the_start_with_its_path(ready: ConsoleSettings) -> None:
    serve.check(ready)
    ready.certificate.unlink()
    with pytest.raises(SettingsError, match=r"certificate and key: .*tls\.crt"):
        serve.check(ready)


def test_a_key_of_another_certificate_stops_the_start(
    ready: ConsoleSettings, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    certify(tmp_path / "other")
    with pytest.raises(SettingsError, match="KEY_VALUES_MISMATCH"):
        serve.check(msgspec.structs.replace(ready, key=tmp_path / "other" / "tls.key"))


@pytest.mark.parametrize("text", [None, "no vkey\n"])
def test_a_log_key_that_cannot_be_used_stops_the_start(
    ready: ConsoleSettings, tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "log.vkey").write_text(text)
    with pytest.raises(SettingsError, match=r"log_vkey: .*log\.vkey"):
        serve.check(msgspec.structs.replace(ready, log_vkey=tmp_path / "log.vkey"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("colour = 'red'", "colour: unknown key"),
        ("port = 'https'", "port: expected `int`, got `str`"),
        ("threads = 0", "threads: expected `int` >= 1"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "console.toml"
    path.write_text(
        f"dsn = ''\ncertificate = 'c'\nkey = 'k'\nsession_key = 's'\n{line}\n", encoding="utf-8"
    )
    with pytest.raises(SettingsError) as caught:
        reader.load(path, ConsoleSettings)
    assert str(caught.value) == f"{path}: {said}"


def test_the_readme_tells_every_setting_and_its_default(repository: Path) -> None:
    text = (repository / "hub" / "console" / "README.md").read_text(encoding="utf-8")
    table = text.split("## Settings")[1].split("## ")[0]
    for field in msgspec.structs.fields(ConsoleSettings):
        assert f"`{field.name}`" in table, field.name
        if field.default not in (msgspec.NODEFAULT, ()):
            assert str(field.default) in table, field.name
