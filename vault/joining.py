"""An administrator's side of joining and leaving: the door for one node, and how it is shut.

Each node is an entity in Vault that carries the node's name; the role that signs certificates
takes the name from there, so that no token and no certificate obtains another's. To shut a node
out its entity is disabled, which ends its tokens and its sign-on at once, and all its certificates
are revoked, also those that the hub never saw.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from vault import certificates
from vault.client import Answer, Client
from vault.errors import VaultDeniedError, VaultError
from vault.settings import VaultSite

MOST_MINUTES = 60
USES = 3  # a node that was killed between two steps tries again with the same token
LOG_CRL = "sentinel-pki"  # the name of our list among those that certificate sign-on heeds

NODE_ROLE: dict[str, Any] = {  # of the PKI mount; whoever sets a Vault up writes it so
    "key_type": "ec",
    "key_bits": 256,
    "allowed_domains": ["{{identity.entity.metadata.node}}"],
    "allowed_domains_template": True,
    "allow_bare_domains": True,
    "allow_subdomains": False,
    "allow_glob_domains": False,
    "allow_wildcard_certificates": False,
    "allow_localhost": False,
    "allow_ip_sans": False,
    "allowed_uri_sans": ["spiffe://sentinel/node/{{identity.entity.metadata.node}}"],
    "allowed_uri_sans_template": True,
    "enforce_hostnames": True,
    "require_cn": True,
    "client_flag": True,
    "server_flag": False,
    "key_usage": ["DigitalSignature"],
    "not_before_duration": "30s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A token that was made and wrapped: itself, and by which names Vault tells of it."""

    token: str
    accessor: str  # of the wrapping; gone once somebody has unwrapped it
    wrapped: str  # of the token inside
    expires: datetime


class Joining:
    """What an administrator's token may do for nodes."""

    def __init__(self, site: VaultSite, client: Client) -> None:
        self._site, self._client = site, client

    def admit(self, node: str, *, minutes: int, now: datetime) -> Door:
        """A single-use token for this one node."""
        self._entity(node, disabled=False)
        body = self._token_request(node, minutes)
        answer = self._client.call(
            "POST", f"auth/token/create/{self._site.enroll_role}", body,
            what=f"make a token for {node}", wrap_s=minutes * 60,
        )  # fmt: skip
        found = answer.get("wrap_info") or {}
        try:
            return Door(
                token=found["token"],
                accessor=found["accessor"],
                wrapped=found["wrapped_accessor"],
                expires=now + timedelta(minutes=minutes),
            )
        except KeyError as error:
            raise VaultError(f"Vault did not wrap the token for {node}") from error

    def sign(self, node: str, csr: str) -> str:
        """The chain for a request that came as a file."""
        self._entity(node, disabled=False)
        answer = self._client.call(
            "POST", f"auth/token/create/{self._site.enroll_role}", self._token_request(node, 1),
            what=f"make a token for {node}",
        )  # fmt: skip
        token = (answer.get("auth") or {}).get("client_token", "")
        return sign(self._client, self._site, csr, node=node, token=token)

    def unwrapped(self, accessor: str) -> bool:
        """Whether the wrapping is gone: somebody has unwrapped it, or its time was over."""
        return not self._known(accessor)

    def close(self, *accessors: str) -> None:
        """End tokens by their accessors; those that are gone are gone."""
        for one in accessors:
            if self._known(one):
                body = {"accessor": one}
                self._client.call(
                    "POST", "auth/token/revoke-accessor", body, what="end a token for a node"
                )

    def shut(self, node: str) -> None:
        """From here on no token and no certificate of this node obtains anything from Vault."""
        self._entity(node, disabled=True)

    def revoke(self, node: str, known: Sequence[str] = ()) -> list[str]:
        """Revoke every certificate of the node; their serials. What is expired is left."""
        serials = dict.fromkeys([*known, *self._issued_to(node)])
        done = [serial for serial in serials if self._revoke(serial)]
        # A mount that rebuilds its list by itself does so by the clock, not at each revocation.
        self._client.call("GET", f"{self._site.pki}/crl/rotate", what="renew the revocation list")
        self.tell_sign_on()
        return done

    def tell_sign_on(self) -> None:
        """Have certificate sign-on heed the revocation list as it is now."""
        crl = fetch_crl(self._client, self._site).decode("ascii", "replace")
        where = f"auth/{self._site.cert_auth}/crls/{LOG_CRL}"
        self._client.call("POST", where, {"crl": crl}, what="tell sign-on of it")

    def _entity(self, node: str, *, disabled: bool) -> None:
        """Make it or change it, with an alias for its tokens and one for its certificates."""
        body: Answer = {"metadata": {"node": node}, "disabled": disabled}
        path = f"identity/entity/name/sentinel-node-{node}"
        self._client.call("POST", path, body, what=f"keep the entity of {node}")
        entity = self._client.call("GET", path, what=f"read the entity of {node}")["data"]["id"]
        mounts = self._client.call("GET", "sys/auth", what="read where one signs on")
        for mount in ("token", self._site.cert_auth):
            accessor = mounts.get("data", mounts)[f"{mount}/"]["accessor"]
            alias = {"name": node, "canonical_id": entity, "mount_accessor": accessor}
            self._client.call("POST", "identity/entity-alias", alias, what=f"name {node}")

    def _token_request(self, node: str, minutes: int) -> Answer:
        return {
            "entity_alias": node,
            "policies": [self._site.enroll_role],
            "no_default_policy": True,
            "num_uses": USES,
            "ttl": f"{minutes}m",
            "display_name": f"join-{node}",
        }

    def _known(self, accessor: str) -> bool:
        try:
            self._client.call(
                "POST", "auth/token/lookup-accessor", {"accessor": accessor}, what="find a token"
            )
        except VaultDeniedError as error:
            if error.status in (400, 404) and "accessor" in str(error):
                return False
            raise
        return True

    def _issued_to(self, node: str) -> Iterator[str]:
        answer = self._client.call("LIST", f"{self._site.pki}/certs", what="list certificates")
        for serial in answer.get("data", {}).get("keys", []):
            path = f"{self._site.pki}/cert/{serial}"
            found = self._client.call("GET", path, what="read a certificate").get("data", {})
            if not found.get("revocation_time") and certificates.is_of(
                str(found.get("certificate", "")), node=node, now=datetime.now(UTC)
            ):
                yield str(serial)

    def _revoke(self, serial: str) -> bool:
        body = {"serial_number": serial}
        try:
            self._client.call("POST", f"{self._site.pki}/revoke", body, what=f"revoke {serial}")
        except VaultDeniedError as error:
            if error.status in (400, 404) and (
                "expired" in str(error) or "not found" in str(error)
            ):
                return False
            raise
        return True


def sign(client: Client, site: VaultSite, csr: str, *, node: str, token: str) -> str:
    """Have a request certified with a token that may; the chain, leaf first."""
    answer = client.call(
        "POST", f"{site.pki}/sign/{site.pki_role}", {"csr": csr, "common_name": node},
        what=f"have the certificate of {node} signed", token=token,
    )  # fmt: skip
    data = answer.get("data") or {}
    parts = [data.get("certificate", ""), *(data.get("ca_chain") or [])]
    if not all(isinstance(one, str) and "BEGIN CERTIFICATE" in one for one in parts):
        raise VaultError(f"Vault signed something that is no certificate for {node}")
    return "\n".join(one.strip() for one in parts) + "\n"


def fetch_crl(client: Client, site: VaultSite) -> bytes:
    """The revocation list in PEM; anybody may read it, and whoever reads it verifies it."""
    return client.fetch("GET", f"{site.pki}/crl/pem", what="read what is revoked", token="")
