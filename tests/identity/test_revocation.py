"""A node that is no longer believed: its stream ends within seconds, and it does not come back."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.transport import Transport
from appliance.__main__ import main as sentinel
from appliance.channel import Identity
from hub.persist.database import Database
from tests.hub.builders import outbox
from tests.identity.authority import serial_of
from tests.identity.conftest import NAME, ROOT_TOKEN, Site
from tests.identity.running import Hub, eventually, transport
from vault.certificates import serial_text
from vault.client import Client
from vault.errors import VaultDeniedError

pytestmark = [pytest.mark.postgres, pytest.mark.vault]
WITHIN_S = 5.0


@pytest.fixture
def hub(site: Site, dsn: str, tmp_path: Path) -> Iterator[Hub]:
    running = Hub(site, dsn, tmp_path)
    yield running
    running.stop()


@pytest.fixture
def mine(site: Site, tmp_path: Path) -> Identity:
    return site.node(tmp_path / "node")


@pytest.fixture
def node(hub: Hub, mine: Identity, tmp_path: Path) -> Iterator[Transport]:
    stream = transport(hub, mine, tmp_path / "state")
    assert eventually(lambda: stream.connected), stream.trouble
    yield stream
    stream.stop()


def revoke(hub: Hub, tmp_path: Path, name: str = NAME) -> int:
    (tmp_path / "token").write_text(ROOT_TOKEN)
    return sentinel(
        ["node", "revoke", name, "--reason", "its disk was stolen", "--config",
         str(hub.settings), "--vault-token-file", str(tmp_path / "token")]
    )  # fmt: skip


@pytest.fixture
def revoked(hub: Hub, tmp_path: Path) -> Callable[[], int]:
    return lambda: revoke(hub, tmp_path)


def ends_soon(stream: Transport) -> bool:
    began = time.monotonic()
    assert eventually(lambda: not stream.connected, within_s=WITHIN_S)
    return time.monotonic() - began < WITHIN_S


def test_a_revoked_node_loses_its_stream_within_5_s_and_is_refused_afterwards(
    node: Transport, mine: Identity, site: Site, database: Database, revoked: Callable[[], int]
) -> None:
    assert revoked() == 0
    assert ends_soon(node)
    assert eventually(lambda: "revoked" in node.trouble), node.trouble
    assert not node.connected
    path = f"pki_int/cert/{serial_text(serial_of(mine))}"
    assert site.admin.call("GET", path, what="look")["data"]["revocation_time"]
    renewing = Client(site.vault, identity=(mine.certificate, mine.key))
    with pytest.raises(VaultDeniedError):
        renewing.call("POST", "auth/cert/login", {"name": "node"}, what="sign on")
    (entry,) = [row for row in outbox(database) if row["type"] == "node.revoke"]
    assert entry["body"] == {"node": NAME, "reason": "its disk was stolen"}


def test_a_certificate_that_only_vault_revoked_ends_the_stream_within_5_s(
    node: Transport, mine: Identity, site: Site
) -> None:
    body = {"serial_number": serial_text(serial_of(mine))}
    site.admin.call("POST", "pki_int/revoke", body, what="revoke")
    site.admin.call("GET", "pki_int/crl/rotate", what="have the list rebuilt at once")
    assert ends_soon(node)
    assert eventually(lambda: "certificate was revoked" in node.trouble), node.trouble


def test_other_nodes_go_on(hub: Hub, node: Transport, site: Site, tmp_path: Path) -> None:
    other = transport(hub, site.node(tmp_path / "h2", "h2.test"), tmp_path / "h2-state")
    try:
        assert eventually(lambda: other.connected), other.trouble
        assert revoke(hub, tmp_path) == 0
        assert ends_soon(node)
        assert eventually(lambda: "revoked" in node.trouble), node.trouble
        assert other.connected
        assert other.trouble == ""
    finally:
        other.stop()


def test_with_vault_away_the_hub_refuses_the_node_all_the_same_and_says_what_is_left(
    hub: Hub, node: Transport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = hub.settings.read_text()
    away = tmp_path / "away.toml"
    (line,) = [one for one in text.splitlines() if one.startswith("url")]
    away.write_text(text.replace(line, 'url = "https://127.0.0.1:1"'))
    hub.settings = away
    assert revoke(hub, tmp_path) == 2
    assert "Vault does not know all yet" in capsys.readouterr().err
    assert ends_soon(node)
    assert eventually(lambda: "revoked" in node.trouble), node.trouble


def test_a_certificate_that_was_renewed_just_before_falls_under_the_revocation_too(
    hub: Hub, node: Transport, mine: Identity, site: Site, tmp_path: Path
) -> None:
    """The thief of a disk renews before anybody notices; no part of the hub ever saw that one."""
    thief = site.node(tmp_path / "thief")
    assert revoke(hub, tmp_path) == 0
    assert ends_soon(node)
    stream = transport(hub, thief, tmp_path / "thief-state")
    try:
        assert eventually(lambda: "revoked" in stream.trouble), stream.trouble
        assert not stream.connected
    finally:
        stream.stop()
    path = f"pki_int/cert/{serial_text(serial_of(thief))}"
    assert site.admin.call("GET", path, what="look")["data"]["revocation_time"]
