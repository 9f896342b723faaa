"""Real parts that tests share: one PostgreSQL and one OpenBao for each worker process."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.launch import Bao, Launcher, Postgres, free_port
from hub.persist.database import Database
from hub.persist.migrate import migrate
from vault.pki import Pki, wait_ready

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Starts parts and ends them when the tests end."""
    launcher = Launcher(tmp_path_factory.mktemp("logs"))
    yield launcher
    launcher.stop_all()


@pytest.fixture(scope="session")
def postgres(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL with the database `template_sentinel`, migrated once."""
    server = Postgres(folder=tmp_path_factory.mktemp("pg"), launcher=launcher)
    server.start()
    server.create("template_sentinel")
    migrate(server.dsn("template_sentinel"))
    yield server
    server.close()


@pytest.fixture
def dsn(postgres: Postgres) -> str:
    """The connection string of a fresh database with the product's schema."""
    name = f"test_{next(_NUMBERS)}"
    postgres.create(name, template="template_sentinel")
    return postgres.dsn(name)


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    """A fresh database."""
    with Database(dsn) as db:
        yield db


@pytest.fixture(scope="session")
def bao(launcher: Launcher) -> Bao:
    """A real Vault API, unsealed, in memory."""
    server = Bao(launcher=launcher, port=free_port(), token="test-root-token")
    server.start()
    wait_ready(server.url)
    return server


@pytest.fixture(scope="session")
def pki(bao: Bao) -> Pki:
    """A certificate authority with the product's roles."""
    authority = Pki(url=bao.url, token=bao.token)
    authority.bootstrap()
    return authority


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parent.parent
