"""The truth beside the speed: a server on disk, over TLS, sealed and unsealed with its keys."""

from pathlib import Path

import pytest

from appliance.launch import Launcher
from tests.vault.servers import SealedServer, certificate, settings_file, setup
from vault.access import VaultAccess
from vault.door import Door
from vault.errors import VaultAwayError, VaultError
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
