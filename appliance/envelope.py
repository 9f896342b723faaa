"""Signed envelopes: a payload, its type, and an Ed25519 signature over both.

The signature is over the DSSE pre-authentication encoding (DSSE v1.0.2), so that bytes signed as
one type never open as another. An envelope is JSON: `payload_type`, `payload` (base64), `key_id`
(SHA-256 of the raw public key, hex) and `signature` (base64). It has one spelling: base64 has
unused bits and JSON has spaces, and an envelope that says the same otherwise is refused.

Ed25519 keys in PEM have one form each (RFC 8410, no attributes), read and written here without
cryptography's `serialization`: that brings SSH and RSA along, 1.3 MB on every node.
"""

import base64
import binascii
import hashlib
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance.errors import EnvelopeError

ORDER_TYPE = "application/vnd.sentinel.order+json;v=1"
_KEY_BYTES = 32
_PUBLIC = bytes.fromhex("302a300506032b6570032100")  # what precedes the 32 bytes (RFC 8410)
_PRIVATE = bytes.fromhex("302e020100300506032b657004220420")
MAX_ENVELOPE_BYTES = 1024 * 1024  # an order with all its evidence is far below


class _Envelope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    payload_type: Annotated[str, msgspec.Meta(max_length=200)]
    payload: str
    key_id: str
    signature: str


def seal(payload: bytes, *, payload_type: str, key: Ed25519PrivateKey) -> bytes:
    """The signed envelope around a payload."""
    signature = key.sign(_pre_authentication(payload_type, payload))
    return _spell(payload_type, payload, key_id(key.public_key()), signature)


def open_sealed(
    data: bytes, *, payload_type: str, key: Ed25519PublicKey, most: int = MAX_ENVELOPE_BYTES
) -> bytes:
    """The payload, if the envelope is of this type and signed by this key."""
    # 1. it is small enough to look at        3. it is of the type we asked for
    # 2. it is an envelope, in its one form   4. it names our key, which signed exactly these bytes
    if len(data) > most:  # 1
        raise EnvelopeError(f"envelope of {len(data)} bytes, at most {most}")
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)  # 2
        payload = base64.b64decode(envelope.payload, validate=True)
        signature = base64.b64decode(envelope.signature, validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
        raise EnvelopeError(f"not an envelope: {error}") from error
    if _spell(envelope.payload_type, payload, envelope.key_id, signature) != data:
        raise EnvelopeError("not an envelope: spelled otherwise than we write it")
    if envelope.payload_type != payload_type:  # 3
        raise EnvelopeError(f"expected {payload_type}, got {envelope.payload_type!r}")
    if envelope.key_id != key_id(key):  # 4
        raise EnvelopeError(
            f"expected a signature of key {key_id(key)[:16]}…, got one of {envelope.key_id[:16]!r}"
        )
    try:
        key.verify(signature, _pre_authentication(payload_type, payload))
    except InvalidSignature as error:
        raise EnvelopeError(f"the signature of key {key_id(key)[:16]}… is wrong") from error
    return payload


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of the raw public key, in hex."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def make_key(path: Path) -> Ed25519PrivateKey:
    """A new private key in `path` (mode 0600) with its public half in `path`.pub."""
    key = Ed25519PrivateKey.generate()
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(private_pem(key), encoding="ascii")
    path.with_suffix(".pub").write_text(public_pem(key.public_key()), encoding="ascii")
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """An Ed25519 private key from a PEM file, not encrypted."""
    raw = _from_pem(_read(path, "private"), "PRIVATE KEY", _PRIVATE, name=str(path))
    return Ed25519PrivateKey.from_private_bytes(raw)


def load_public_key(path: Path) -> Ed25519PublicKey:
    """An Ed25519 public key from a PEM file."""
    return parse_public_key(_read(path, "public"), name=str(path))


def parse_public_key(text: str, *, name: str) -> Ed25519PublicKey:
    """An Ed25519 public key from PEM; `name` says where it came from."""
    return Ed25519PublicKey.from_public_bytes(_from_pem(text, "PUBLIC KEY", _PUBLIC, name=name))


def private_pem(key: Ed25519PrivateKey) -> str:
    """A private key in that form."""
    return _pem("PRIVATE KEY", _PRIVATE + key.private_bytes_raw())


def public_pem(key: Ed25519PublicKey) -> str:
    """A public key in that form."""
    return _pem("PUBLIC KEY", _PUBLIC + key.public_bytes_raw())


def _read(path: Path, kind: str) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise EnvelopeError(f"{path}: cannot read the {kind} key: {error}") from error


def _pem(label: str, der: bytes) -> str:
    body = base64.b64encode(der).decode()
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


def _from_pem(text: str, label: str, prefix: bytes, *, name: str) -> bytes:
    """The 32 bytes of a key; the whole text has to be the one form of it."""
    begin, end = _pem(label, b"").split("\n\n")
    body = text.removeprefix(f"{begin}\n").removesuffix(f"\n{end}")
    if f"{begin}\n{body}\n{end}" != text:
        raise EnvelopeError(f"{name}: expected a PEM file with a {label.lower()} and nothing else")
    try:
        der = base64.b64decode(body, validate=True)
    except ValueError as error:
        raise EnvelopeError(f"{name}: cannot read the {label.lower()}: {error}") from error
    if not der.startswith(prefix) or len(der) != len(prefix) + _KEY_BYTES:
        raise EnvelopeError(f"{name}: expected an Ed25519 key")
    if _pem(label, der) != text:
        raise EnvelopeError(f"{name}: base64 is spelled otherwise than it is written")
    return der[len(prefix) :]


def _spell(payload_type: str, payload: bytes, key: str, signature: bytes) -> bytes:
    envelope = _Envelope(
        payload_type=payload_type,
        payload=base64.b64encode(payload).decode(),
        key_id=key,
        signature=base64.b64encode(signature).decode(),
    )
    return msgspec.json.encode(envelope)


def _pre_authentication(payload_type: str, payload: bytes) -> bytes:
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
