"""A signature by Vault: an Ed25519 key of the transit engine that never leaves it.

The audit log's checkpoints can carry one beside the notary's own: then a history that is signed
anew takes both machines. The key's public half is pinned; what Vault answers is verified under it
by `audit/note.py` before anything is published. The token may sign with this key and read its
public half, and nothing else (`POLICY`).
"""

import base64
import binascii
from pathlib import Path

import hvac

from vault.errors import VaultError
from vault.pki import readable

MOUNT = "sentinel-transit"
TIMEOUT_S = 2.0  # the log waits meanwhile

POLICY = """\
path "{mount}/sign/{key}" {{ capabilities = ["update"] }}
path "{mount}/keys/{key}" {{ capabilities = ["read"] }}
"""


class TransitKey:
    """One Ed25519 key in Vault."""

    def __init__(
        self,
        *,
        url: str,
        token: str,
        key: str,
        mount: str = MOUNT,
        ca: Path | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._key, self._mount = key, mount
        self._client = hvac.Client(
            url=url, token=token, timeout=timeout_s, verify=str(ca) if ca else True
        )
        self._client.session.trust_env = False  # no proxy between the log and its second signer

    def bootstrap(self) -> bytes:
        """Make mount and key where they are missing; the public key. For an administrator."""
        with readable("set up the log's second key"):
            mounts = self._client.sys.list_mounted_secrets_engines()["data"]
            if f"{self._mount}/" not in mounts:
                self._client.sys.enable_secrets_engine("transit", path=self._mount)
            self._client.secrets.transit.create_key(
                self._key,
                key_type="ed25519",
                exportable=False,
                allow_plaintext_backup=False,
                mount_point=self._mount,
            )
        return self.public_key()

    def token_for_notary(self, *, period: str = "768h") -> str:
        """A token that may sign with this key and no more. For an administrator."""
        name = f"sentinel-sign-{self._key}"
        with readable("make the notary's token"):
            self._client.sys.create_or_update_policy(
                name, POLICY.format(mount=self._mount, key=self._key)
            )
            answer = self._client.auth.token.create(
                policies=[name], no_default_policy=True, period=period, no_parent=True
            )
        return str(answer["auth"]["client_token"])

    def public_key(self, version: int | None = None) -> bytes:
        """The raw public key of a version; of the first one, unless said otherwise."""
        return self._public_keys()[version or 1]

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
        prefix, _, encoded = str(answer["data"]["signature"]).rpartition(":")
        try:
            signature = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise VaultError("Vault answered something that is no signature") from error
        if prefix != f"vault:v{version}":
            raise VaultError(f"Vault signed with another version of the key: {prefix[:40]}")
        return signature

    def _public_keys(self) -> dict[int, bytes]:
        with readable(f"read the key {self._key}"):
            answer = self._client.secrets.transit.read_key(self._key, mount_point=self._mount)
        data = answer["data"]
        if data["type"] != "ed25519":
            raise VaultError(f"Vault's key {self._key} is {data['type']}, expected ed25519")
        return {
            int(number): base64.b64decode(one["public_key"]) for number, one in data["keys"].items()
        }


class TransitSigner:
    """Signs as `audit.note.Signer`, with the version of the key whose public half was pinned."""

    def __init__(self, key: TransitKey, *, vkey: str, public: bytes) -> None:
        self._key, self._public = key, public
        self._version: int | None = None
        self.vkey = vkey

    def ready(self) -> None:
        """Raise `VaultError` unless Vault answers and has the pinned key."""
        self._version = self._key.version_of(self._public)

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
