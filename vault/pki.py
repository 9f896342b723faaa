"""The certificate authority: a PKI mount, one role for each kind of identity.

The only importer of `hvac`. Roles are narrow on purpose: a node's role issues client certificates
with a node's URI and nothing else, so that no node can obtain what would let it speak as the hub.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
import requests
from hvac.exceptions import VaultError as HvacError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential

from vault.errors import VaultError
from vault.identity import make_key, request

MOUNT = "sentinel-pki"
NODE_TTL = "72h"
SERVER_TTL = "720h"
CA_TTL = "87600h"
_TIMEOUT_S = 5

ROLES: dict[str, dict[str, Any]] = {
    "node": {
        "allow_any_name": False,
        "allowed_domains": ["*"],
        "allow_glob_domains": True,
        "allowed_uri_sans": ["spiffe://sentinel/node/*"],
        "allow_ip_sans": False,
        "client_flag": True,
        "server_flag": False,
        "ttl": NODE_TTL,
    },
    "hub": {
        "allow_any_name": True,
        "allowed_uri_sans": ["spiffe://sentinel/hub"],
        "client_flag": False,
        "server_flag": True,
        "ttl": SERVER_TTL,
    },
    "console": {
        "allow_any_name": True,
        "allowed_uri_sans": ["spiffe://sentinel/console"],
        "client_flag": False,
        "server_flag": True,
        "ttl": SERVER_TTL,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """Where an identity was written (PEM files)."""

    certificate: Path
    key: Path
    ca: Path


class Pki:
    """A client of one Vault, with a token that may do what it is asked for."""

    def __init__(self, *, url: str, token: str, mount: str = MOUNT, ca: Path | None = None) -> None:
        self._mount = mount
        self._client = hvac.Client(
            url=url, token=token, timeout=_TIMEOUT_S, verify=str(ca) if ca else True
        )

    def bootstrap(self) -> None:
        """Make the mount, its root and the roles; what is there already stays."""
        with readable("set up the PKI"):
            mounts = self._client.sys.list_mounted_secrets_engines()["data"]
            if f"{self._mount}/" not in mounts:
                self._client.sys.enable_secrets_engine(
                    "pki", path=self._mount, config={"max_lease_ttl": CA_TTL}
                )
            if not self._has_root():
                self._client.secrets.pki.generate_root(
                    "internal",
                    "Sentinel root",
                    mount_point=self._mount,
                    extra_params={"key_type": "ec", "key_bits": 256, "ttl": CA_TTL},
                )
            for role, rules in ROLES.items():
                self._client.secrets.pki.create_or_update_role(
                    role, mount_point=self._mount, extra_params=_narrow(rules)
                )

    def issue(
        self,
        *,
        role: str,
        name: str,
        uri: str,
        folder: Path,
        dns: Sequence[str] = (),
        addresses: Sequence[str] = (),
    ) -> Issued:
        """Make a key here, have it certified, and write key, chain and CA into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        issued = Issued(
            certificate=folder / "cert.pem", key=folder / "key.pem", ca=folder / "ca.pem"
        )
        key = make_key(issued.key)
        csr = request(key, name=name, uri=uri, dns=dns, addresses=addresses)
        answer = self.sign(csr, role=role, name=name)
        issued.certificate.write_text(_chain(answer))
        issued.ca.write_text(answer["issuing_ca"].strip() + "\n")
        return issued

    def sign(self, csr: str, *, role: str, name: str) -> dict[str, Any]:
        """Have a request signed under a role; Vault refuses what the role does not allow."""
        with readable(f"sign the certificate of {name}"):
            answer = self._client.secrets.pki.sign_certificate(
                role, csr, name, mount_point=self._mount
            )
        data: dict[str, Any] = answer["data"]
        return data

    def _has_root(self) -> bool:
        try:
            pem = self._client.secrets.pki.read_ca_certificate(mount_point=self._mount)
        except HvacError:
            return False
        return "BEGIN CERTIFICATE" in str(pem)


class _SealedOrAbsentError(Exception):
    """Vault is not there yet."""


@retry(
    retry=retry_if_exception_type(_SealedOrAbsentError),
    wait=wait_exponential(multiplier=0.05, max=1),
    stop=stop_after_delay(30),
    reraise=False,
)
def wait_ready(url: str) -> None:
    """Until Vault answers and is unsealed; raises `tenacity.RetryError` after 30 s."""
    try:
        status = hvac.Client(url=url, timeout=_TIMEOUT_S).sys.read_seal_status()
    except (requests.RequestException, HvacError) as error:
        raise _SealedOrAbsentError(str(error)) from error
    if status["sealed"]:
        raise _SealedOrAbsentError("sealed")


class readable:  # noqa: N801 - reads as a word: `with readable("sign …")`
    """Turn what hvac and the network raise into one line."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, requests.RequestException):
            raise VaultError(f"Vault does not answer; could not {self._what}") from error
        if isinstance(error, HvacError):
            first = (str(error).strip().splitlines() or ["refused"])[0]
            raise VaultError(f"Vault refused; could not {self._what}: {first}") from error


def _narrow(rules: dict[str, Any]) -> dict[str, Any]:
    """What all roles share: EC keys, no wildcard names, TLS usage only."""
    return {
        "key_type": "ec",
        "key_bits": 256,
        "allow_wildcard_certificates": False,
        "allow_localhost": True,
        "enforce_hostnames": True,
        "require_cn": True,
        "key_usage": ["DigitalSignature"],
        "max_ttl": rules["ttl"],
        "not_before_duration": "30s",
        **rules,
    }


def _chain(answer: dict[str, Any]) -> str:
    chain = answer.get("ca_chain") or []
    return "\n".join(part.strip() for part in [answer["certificate"], *chain]) + "\n"
