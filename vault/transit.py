"""A signature by Vault: an Ed25519 key of the transit engine that never leaves it.

The audit log's checkpoints can carry one beside the notary's own: then a history that is signed
anew takes both machines. The key's public half is pinned; what Vault answers is verified under it
by `audit/note.py` before anything is published. The token may sign with this key, read its public
half and renew itself, and nothing else; `vault/README.md` has the commands that make both.
"""

import base64
import logging
import time
from pathlib import Path

import hvac

from vault.errors import VaultError
from vault.pki import readable

MOUNT = "sentinel-transit"
TIMEOUT_S = 2.0  # the log waits meanwhile
RENEW_S = 24 * 3600.0  # a periodic token lives while it is renewed

_NO_ANSWER = (KeyError, TypeError, AttributeError, ValueError)  # base64's error is a ValueError
_log = logging.getLogger(__name__)


class TransitKey:
    """One Ed25519 key in Vault."""

    def __init__(
        self,
        *,
        url: str,
        token: str,
        key: str,
        mount: str = MOUNT,
        namespace: str = "",
        ca: Path | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._key, self._mount = key, mount
        self._client = hvac.Client(
            url=url,
            token=token,
            namespace=namespace or None,
            timeout=timeout_s,
            verify=str(ca) if ca else True,
        )
        self._client.session.trust_env = False  # no proxy between the log and its second signer

    def version_of(self, public: bytes) -> int:
        """Which version of the key has this public half. Raises `VaultError` when none has."""
        for version, key in self._public_keys().items():
            if key == public:
                return version
        raise VaultError(f"Vault's key {self._key} is not the one that the log expects")

    def sign(self, message: bytes, version: int) -> bytes:
        """The 64-byte signature over exactly these bytes."""
        with readable(f"sign with the key {self._key}"):
            answer = self._client.secrets.transit.sign_data(
                self._key,
                hash_input=base64.b64encode(message).decode(),
                key_version=version,
                mount_point=self._mount,
            )
        try:
            prefix, _, encoded = answer["data"]["signature"].rpartition(":")
            signature = base64.b64decode(encoded, validate=True)
        except _NO_ANSWER as error:
            raise VaultError("Vault answered something that is no signature") from error
        if prefix != f"vault:v{version}":
            raise VaultError(f"Vault signed with another version of the key: {prefix[:40]}")
        return signature

    def renew(self) -> None:
        """Have the token live on."""
        with readable("renew the token"):
            self._client.auth.token.renew_self()

    def _public_keys(self) -> dict[int, bytes]:
        with readable(f"read the key {self._key}"):
            answer = self._client.secrets.transit.read_key(self._key, mount_point=self._mount)
        try:
            if (kind := answer["data"]["type"]) != "ed25519":
                raise VaultError(f"Vault's key {self._key} is {kind}, expected ed25519")
            return {
                int(number): base64.b64decode(one["public_key"], validate=True)
                for number, one in answer["data"]["keys"].items()
            }
        except _NO_ANSWER as error:
            raise VaultError("Vault answered something that is no key") from error


class TransitSigner:
    """Signs as `audit.note.Signer`, with the version of the key whose public half was pinned."""

    def __init__(self, key: TransitKey, *, vkey: str, public: bytes) -> None:
        self._key, self._public = key, public
        self._version: int | None = None
        self._renewed = -RENEW_S
        self.vkey = vkey

    def ready(self) -> None:
        """Raise `VaultError` unless Vault answers and has the pinned key."""
        self._version = self._key.version_of(self._public)
        if time.monotonic() - self._renewed >= RENEW_S:
            self._renewed = time.monotonic()
            try:
                self._key.renew()
            except VaultError as error:
                _log.warning("%s; when the token ends, nothing can be signed", error)

    def sign(self, message: bytes) -> bytes:
        """The signature; whatever keeps it from being made is a `VaultError`."""
        version = self._version or self._key.version_of(self._public)
        self._version = version
        return self._key.sign(message, version)


def read_token(path: Path) -> str:
    """The token in a file, such as a systemd credential."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise VaultError(f"{path}: cannot read the token") from error
