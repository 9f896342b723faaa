"""How a process signs in to Vault for its secrets, and signs out again.

By its certificate (cert auth), by AppRole, or with a token that an administrator made. A log-in
lasts for one errand: the token it gave is taken back when the errand is done, so that between two
errands there is nothing to steal.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from appliance.errors import SettingsError
from appliance.settings import Settings
from vault.door import Door
from vault.errors import VaultError
from vault.references import CredentialSecret, credential, is_reference, parse

Seconds = Annotated[float, msgspec.Meta(gt=0)]

MOST_TOKEN = 4096  # characters


class VaultAccess(Settings, frozen=True, kw_only=True):
    """Vault or OpenBao, and one way to sign in: `token`, `role_id`, or `certificate`."""

    url: str  # of Vault or OpenBao
    ca: Path | None = None  # of Vault's certificate, in PEM
    namespace: str = ""
    mount: str = "sentinel-kv"  # the KV engine (version 2) with the secrets
    token: Path | None = None  # a file with a token, or `credential:NAME`
    role_id: str | None = None  # AppRole; no secret
    secret_id: Path | None = None  # its other half: a file, or `credential:NAME`
    approle_mount: str = "sentinel-approle"
    certificate: Path | None = None  # sign in by this certificate (PEM) …
    key: Path | None = None  # … and its private key
    cert_role: str | None = None  # the role of cert auth, such as `hub`
    cert_mount: str = "cert"
    timeout_s: Seconds = 5.0  # for one answer; then it is asked again

    def demand_usable(self) -> None:
        """Raise `SettingsError` unless it is encrypted, and exactly one way to sign in complete."""
        demand_encrypted(self.url)
        ways = (
            (self.token,),
            (self.role_id, self.secret_id),
            (self.certificate, self.key, self.cert_role),
        )
        begun = [way for way in ways if any(way)]
        if len(begun) != 1 or not all(begun[0]):
            raise SettingsError(
                "secrets: expected one way to sign in: `token`, or `role_id` with `secret_id`,"
                " or `certificate` with `key` and `cert_role`"
            )

    @contextmanager
    def opened(self) -> Iterator[Door]:
        """A door that is signed in for the length of the block."""
        self.demand_usable()
        if self.token is not None:
            yield self._door(token=secret_file(self.token, key="secrets.token"))
            return
        door = self._door()
        if self.role_id is not None and self.secret_id is not None:
            secret_id = secret_file(self.secret_id, key="secrets.secret_id")
            words = {"role_id": self.role_id, "secret_id": secret_id}
            answer = door.write(f"auth/{self.approle_mount}/login", words)
        else:
            answer = door.write(f"auth/{self.cert_mount}/login", {"name": self.cert_role})
        door.with_token(_token(answer))
        try:
            yield door
        finally:
            with suppress(VaultError):  # it ends by itself within minutes
                door.write("auth/token/revoke-self", {})

    def _door(self, *, token: str = "") -> Door:
        pair = (self.certificate, self.key) if self.certificate and self.key else None
        for path in pair or ():
            if not path.is_file():
                raise VaultError(f"{path}: cannot read; it is what we sign in to Vault with")
        return Door(
            url=self.url,
            token=token,
            namespace=self.namespace,
            ca=self.ca,
            client_certificate=pair,
            timeout_s=self.timeout_s,
        )


def demand_encrypted(url: str) -> None:
    """Raise `SettingsError` for an address where secrets would travel in the clear."""
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.username is not None or parts.password is not None:
        raise SettingsError("secrets.url: it holds a name or a password; it is an address only")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise SettingsError("secrets.url: expected https://; http:// only to this machine itself")


def secret_file(path: Path, *, key: str) -> str:
    """A token or the like: in a file, or in a credential of systemd."""
    text = str(path)
    if is_reference(text):
        reference = parse(text, key=key)
        if not isinstance(reference, CredentialSecret):
            raise SettingsError(f"{key}: what opens Vault cannot itself be in Vault")
        return credential(reference)
    try:
        found = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise VaultError(f"{key}: cannot read {path}") from None
    if not found or len(found) > MOST_TOKEN:
        raise VaultError(f"{key}: {path} is empty or too long")
    return found


def _token(answer: dict[str, Any]) -> str:
    token = answer.get("client_token")
    if not isinstance(token, str) or not token:
        raise VaultError("Vault let us in and gave no token")
    return token
