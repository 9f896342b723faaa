"""A signer with its key in memory; Vault and hardware implement the same protocol."""

from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from audit.errors import VkeyError
from audit.note import Vkey, parse_vkey


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
