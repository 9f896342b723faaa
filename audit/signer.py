"""A signer with its key in memory; Vault and hardware implement the same protocol.

`LogKeys` is what a log's writer asks: who signs now, and what did before. Of one pinned key that
is always the same; over epochs it is `hub/epoch_keys.py`.
"""

from collections.abc import Sequence
from typing import Any, Protocol, Self, runtime_checkable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from audit.errors import VkeyError
from audit.note import Signer, Vkey, claimed, parse_vkey


class LocalSigner:
    """Signs with an Ed25519 private key under a name, which for a log is its origin."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._key = key
        self.vkey = str(parse_vkey(str(Vkey(name=name, key=raw))))

    @classmethod
    def from_pem(cls, name: str, pem: bytes) -> Self:
        """From the bytes of an unencrypted PKCS#8 PEM file. Raises `VkeyError`."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise VkeyError(f"key of {name}: not an unencrypted PKCS#8 PEM: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise VkeyError(f"key of {name}: expected Ed25519, got {type(key).__name__}")
        return cls(name, key)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature."""
        return self._key.sign(message)


@runtime_checkable
class LogKeys(Protocol):
    """All that signs one log's checkpoints, now and over the rotations of its keys."""

    @property
    def opening(self) -> str:
        """The vkey under which the log is begun; it stands in `log.open` and in `log.vkey`."""
        ...

    @property
    def trusted(self) -> Sequence[Vkey]:
        """The keys of which one signed each checkpoint that is there."""
        ...

    def signers(self) -> Sequence[Signer]:
        """Who signs the next checkpoint: all of them. Raises when one may not or cannot."""
        ...

    def resume(self, note: str, left: dict[str, Any] | None) -> dict[str, Any] | None:
        """At a start: the last note, and the body of a `key.rotate` that is not signed yet.

        The answer is the body of a `key.rotate` to be written before anything else, if any.
        """
        ...

    def overdue(self) -> dict[str, Any] | None:
        """At a start: the body of a `key.rotate` when the key's time was over meanwhile."""
        ...

    def signed(self, note: str) -> None:
        """This note is on disk: what signs no more can be forgotten."""
        ...


class PinnedKeys:
    """One key for the whole life of a log, and perhaps others that sign beside it."""

    def __init__(self, signer: Signer, *seconds: Signer) -> None:
        self._signers = (signer, *seconds)
        self.trusted: tuple[Vkey, ...] = (parse_vkey(signer.vkey),)

    @property
    def opening(self) -> str:
        """The one vkey."""
        return self._signers[0].vkey

    def signers(self) -> Sequence[Signer]:
        """Always the same."""
        return self._signers

    def resume(
        self,
        note: str,
        left: dict[str, Any] | None,
    ) -> dict[str, Any] | None:
        """Raises `VkeyError`: a log whose keys rotate cannot be continued with one key."""
        own = self.trusted[0]
        signed = claimed(note)[1] if note else set()
        if left is not None or any(n == own.name and h != own.key_hash for n, h in signed):
            raise VkeyError("the log's key was changed: one pinned key cannot go on with it")
        return None

    def overdue(self) -> dict[str, Any] | None:
        """Never."""
        return None

    def signed(self, note: str) -> None:
        """Nothing is forgotten."""
