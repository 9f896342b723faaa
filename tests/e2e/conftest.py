"""A real host with systemd, on which the executor runs as a service; made once for all tests.

Left out unless SENTINEL_LAB names the script that makes hosts: `make e2e LAB=…/lab.sh`, as root.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.forge import Forge
from tests.e2e.host import Host
from tests.e2e.orders import Orders

collect_ignore_glob = [] if os.environ.get("SENTINEL_LAB") else ["test_*.py"]


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    with Host.up() as one:
        yield one


@pytest.fixture(scope="session")
def orders(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orders]:
    """A hub's keys and its log; the host's executor knows their public halves and serves."""
    forge = Forge(Path(tmp_path_factory.mktemp("forge")))
    made = Orders(host, forge)
    made.install()
    yield made
    forge.log.close()
