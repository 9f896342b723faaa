"""The truth beside the speed: a server on disk, over TLS, sealed and unsealed with its keys."""

from pathlib import Path

import pytest

from appliance.launch import Launcher
from tests.vault.servers import SealedServer, certificate, settings_file, setup
from tests.vault.test_policies import entity
from vault.access import VaultAccess
from vault.door import Door
from vault.errors import VaultAwayError, VaultError
from vault.identity import make_key, request
from vault.pki import Pki
from vault.references import VaultSecret
from vault.secret import read
from vault.transit import TransitKey

pytestmark = pytest.mark.vault


def test_setup_a_seal_a_restart_and_the_keys_again(
    launcher: Launcher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = SealedServer(tmp_path, launcher).start()
    config = settings_file(tmp_path, f'url = "{server.url}"\nca = "{server.ca}"\n')
    assert setup(config, "no-token-yet") == 2  # not initialised
    server.initialise()
    assert setup(config, server.token) == 2
    assert "is sealed" in capsys.readouterr().err
    server.unseal()
    assert setup(config, server.token, "--apply") == 1
    door = server.door()
    door.write("sentinel-kv/data/database", {"data": {"password": "x" * 20}})
    assert setup(config, server.token) == 0

    # The rest of the product works with what was made.
    issued = Pki(url=server.url, token=server.token, mount="pki_int", ca=server.ca).issue(
        role="hub", name="hub.test", uri="spiffe://sentinel/hub", folder=tmp_path / "hub",
        dns=["hub.test"],
    )  # fmt: skip
    assert issued.certificate.read_text().count("BEGIN CERTIFICATE") == 3
    key = TransitKey(url=server.url, token=server.token, key="sentinel-audit", ca=server.ca)
    key.sign(b"checkpoint", 1)
    by_certificate(server, issued.certificate, issued.key)
    a_node_joins_and_renews(server, tmp_path)

    (tmp_path / "t").write_text(server.token)
    access = VaultAccess(url=server.url, ca=server.ca, token=tmp_path / "t")
    reference = VaultSecret(path="database", field="password")
    server.seal()
    with pytest.raises(VaultAwayError, match="is sealed; could not read sentinel-kv"):
        read(reference, access)
    with pytest.raises(VaultError, match="sealed"):
        key.sign(b"checkpoint", 1)
    server.stop()
    with pytest.raises(VaultAwayError, match="does not answer"):
        read(reference, access)
    server.start()
    with pytest.raises(VaultAwayError, match="is sealed"):
        read(reference, access)
    server.unseal()
    assert read(reference, access) == "x" * 20
    assert setup(config, server.token) == 0

    # Another certificate than the pinned one is no Vault of ours, and gets no token.
    (tmp_path / "other").mkdir()
    certificate(tmp_path / "other")
    with pytest.raises(VaultError, match="not the Vault we believe") as refused:
        Door(url=server.url, ca=tmp_path / "other" / "tls.crt", token="t").read("sys/mounts")
    assert not isinstance(refused.value, VaultAwayError)
    server.stop()


def a_node_joins_and_renews(server: SealedServer, folder: Path) -> None:
    """By the token of those who join, then by its certificate: its own name, and no other's."""
    entity(server.door(), "h1.test")
    entity(server.door(), "h2.test")
    words = {"entity_alias": "h1.test", "policies": ["sentinel-enroll"]}
    token = server.door().write("auth/token/create/sentinel-enroll", words)["client_token"]
    key = make_key(folder / "node.key")
    csr = request(key, name="h1.test", uri="spiffe://sentinel/node/h1.test")
    body = {"csr": csr, "common_name": "h1.test"}
    answer = server.door(token).write("pki_int/sign/node", body)
    (folder / "node.crt").write_text("\n".join([answer["certificate"], *answer["ca_chain"]]))
    access = VaultAccess(
        url=server.url, ca=server.ca, certificate=folder / "node.crt", key=folder / "node.key",
        cert_role="node",
    )  # fmt: skip
    with access.opened() as door:
        assert "BEGIN CERTIFICATE" in door.write("pki_int/sign/node", body)["certificate"]
        other = request(key, name="h2.test", uri="spiffe://sentinel/node/h2.test")
        with pytest.raises(VaultError, match="not allowed"):
            door.write("pki_int/sign/node", {"csr": other, "common_name": "h2.test"})
        with pytest.raises(VaultError, match="permission denied"):
            door.read("sentinel-kv/data/database")


def by_certificate(server: SealedServer, chain: Path, key: Path) -> None:
    """The hub signs in by its certificate: as the hub, and as nobody else."""
    access = VaultAccess(url=server.url, ca=server.ca, certificate=chain, key=key, cert_role="hub")
    assert read(VaultSecret(path="database", field="password"), access) == "x" * 20
    with pytest.raises(VaultError, match="permission denied"):
        read(VaultSecret(path="session", field="key"), access)
    for role in ("console", "node"):
        other = VaultAccess(
            url=server.url, ca=server.ca, certificate=chain, key=key, cert_role=role
        )
        with pytest.raises(VaultError, match="Vault refused"):
            read(VaultSecret(path="database", field="password"), other)
