"""A Vault that `sentinel setup vault` made ready, shared by the tests that only ask it."""

from pathlib import Path

import pytest

from appliance.launch import Launcher
from tests.vault.servers import DevServer, settings_file, setup
from vault.setup.settings import SetupSettings


@pytest.fixture(scope="session")
def ready(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> DevServer:
    """Set up, the database's password in it."""
    folder = tmp_path_factory.mktemp("ready")
    server = DevServer(folder, launcher, name="bao-ready").start()
    config = settings_file(folder, f'url = "{server.url}"\n')
    assert setup(config, server.token, "--apply") == 1  # the password is for a person to put there
    put_password(server, "the-databases-password")
    assert setup(config, server.token) == 0
    return server


def put_password(server: DevServer, password: str) -> None:
    server.door().write("sentinel-kv/data/database", {"data": {"password": password}})


@pytest.fixture
def chosen(ready: DevServer) -> SetupSettings:
    return SetupSettings(url=ready.url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
