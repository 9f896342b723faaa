"""A site's Vault over TLS, with root and intermediate, and what joining and renewing need."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.channel import Identity
from appliance.launch import Launcher, _bao, free_port, port_is_open
from vault.client import Client
from vault.identity import make_key, request
from vault.joining import NODE_ROLE, Joining
from vault.settings import VaultSite

ROOT_TOKEN = "site-root-token"
NAME = "h1.test"
ENROLL = 'path "pki_int/sign/node" { capabilities = ["update"] }'


@dataclass
class Site:
    """Where it is, and an administrator's client."""

    vault: VaultSite
    admin: Client
    root_ca: Path
    folder: Path
    launcher: Launcher

    @property
    def joining(self) -> Joining:
        return Joining(self.vault, self.admin)

    def ttl(self, ttl: str, *, backdated: str = "30s") -> None:
        """How long certificates of nodes live from now on."""
        body = {**NODE_ROLE, "ttl": ttl, "max_ttl": ttl, "not_before_duration": backdated}
        self.admin.call("POST", "pki_int/roles/node", body, what="make the role")

    def node(self, folder: Path, name: str = NAME) -> Identity:
        """A node that has joined."""
        mine = Identity(
            certificate=folder / "cert.pem", key=folder / "key.pem", ca=folder / "ca.pem"
        )
        folder.mkdir(parents=True)
        key = make_key(mine.key)
        csr = request(key, name=name, uri=f"spiffe://sentinel/node/{name}")
        mine.certificate.write_text(self.joining.sign(name, csr))
        mine.ca.write_bytes(self.root_ca.read_bytes())
        return mine

    def hub(self, folder: Path) -> Identity:
        """The hub's own certificate."""
        mine = Identity(
            certificate=folder / "cert.pem", key=folder / "key.pem", ca=folder / "ca.pem"
        )
        folder.mkdir(parents=True)
        csr = request(
            make_key(mine.key), name="localhost", uri="spiffe://sentinel/hub", dns=["localhost"],
            addresses=["127.0.0.1"],
        )  # fmt: skip
        body = {"csr": csr, "common_name": "localhost"}
        data = self.admin.call("POST", "pki_int/sign/hub", body, what="sign")["data"]
        mine.certificate.write_text("\n".join([data["certificate"], *data["ca_chain"]]))
        mine.ca.write_bytes(self.root_ca.read_bytes())
        return mine


@pytest.fixture(scope="session")
def whole_site(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    port = free_port()
    part = launcher.start(
        "vault-tls",
        [_bao(), "server", "-dev-tls", f"-dev-tls-cert-dir={folder}", "-dev-no-store-token",
         f"-dev-listen-address=127.0.0.1:{port}"],
        environment={"BAO_DEV_ROOT_TOKEN_ID": ROOT_TOKEN, "HOME": str(folder)},
    )  # fmt: skip
    launcher.wait(part, lambda: port_is_open(port))
    vault = VaultSite(url=f"https://127.0.0.1:{port}", ca=folder / "vault-ca.pem")
    admin = Client(vault, token=ROOT_TOKEN)
    launcher.wait(part, lambda: _unsealed(admin))
    root = set_up(admin)
    (folder / "root.pem").write_text(root)
    site = Site(
        vault=vault, admin=admin, root_ca=folder / "root.pem", folder=folder, launcher=launcher
    )
    site.ttl("72h")
    yield site
    launcher.stop(part)


@pytest.fixture
def site(whole_site: Site) -> Site:
    whole_site.ttl("72h")
    os.environ.pop("BAO_TOKEN", None)
    return whole_site


def set_up(admin: Client) -> str:
    """Root, intermediate, policies and sign-on, as `sentinel setup vault` makes them."""

    def say(path: str, **body: object) -> dict[str, object]:
        found: dict[str, object] = admin.call("POST", path, body, what=path).get("data") or {}
        return found

    say("sys/mounts/pki", type="pki", config={"max_lease_ttl": "87600h"})
    say("sys/mounts/pki_int", type="pki", config={"max_lease_ttl": "43800h"})
    kind = {"key_type": "ec", "key_bits": 256}
    root = say("pki/root/generate/internal", common_name="Site root", ttl="87600h", **kind)
    csr = say("pki_int/intermediate/generate/internal", common_name="Site issuing", **kind)
    signed = say("pki/root/sign-intermediate", csr=csr["csr"], ttl="43800h", format="pem")
    chain = f"{signed['certificate']}\n{root['certificate']}"
    say("pki_int/intermediate/set-signed", certificate=chain)
    say(
        "pki_int/roles/hub", allow_any_name=True, allowed_uri_sans=["spiffe://sentinel/hub"],
        client_flag=False, server_flag=True, key_type="ec", key_bits=256, ttl="720h",
    )  # fmt: skip
    say("pki_int/config/crl", auto_rebuild=True, expiry="72h")
    say("sys/policies/acl/sentinel-enroll", policy=ENROLL)
    say("sys/policies/acl/sentinel-node", policy=ENROLL)
    say("sys/auth/cert", type="cert")
    say(
        "auth/token/roles/sentinel-enroll", allowed_policies=["sentinel-enroll"], orphan=True,
        renewable=False, token_explicit_max_ttl="60m", token_no_default_policy=True,
        allowed_entity_aliases=["*"],
    )  # fmt: skip
    say(
        "auth/cert/certs/node", certificate=signed["certificate"],
        allowed_uri_sans=["spiffe://sentinel/node/*"], token_policies=["sentinel-node"],
        token_no_default_policy=True, token_ttl="5m", token_max_ttl="5m",
    )  # fmt: skip
    return str(root["certificate"])


def _unsealed(admin: Client) -> bool:
    try:
        return admin.call("GET", "sys/seal-status", what="look").get("sealed") is False
    except Exception:  # noqa: BLE001 - not there yet
        return False
