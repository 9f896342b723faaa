"""Signed envelopes: a payload, its type, and an Ed25519 signature over both.

The signature is over the DSSE pre-authentication encoding (DSSE v1.0.2), so that bytes signed as
one type never open as another. An envelope is JSON: `payload_type`, `payload` (base64), `key_id`
(SHA-256 of the raw public key, hex) and `signature` (base64). It has one spelling: base64 has
unused bits and JSON has spaces, and an envelope that says the same otherwise is refused.

Who only opens envelopes, as the executor, does without cryptography's `serialization`: it brings
SSH and RSA along, 1.3 MB on every node. Private keys are read and written with it.
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
_PEM = ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----")
_ED25519 = bytes.fromhex("302a300506032b6570032100")  # what precedes the 32 bytes (RFC 8410)
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
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - see above

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(private)
    path.with_suffix(".pub").write_bytes(
        key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """An Ed25519 private key from a PEM file."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - see above
        load_pem_private_key,
    )

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise EnvelopeError(f"{path}: cannot read the private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise EnvelopeError(f"{path}: expected an Ed25519 key, got {type(key).__name__}")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """An Ed25519 public key from a PEM file, which has one form for these (RFC 8410)."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise EnvelopeError(f"{path}: cannot read the public key: {error}") from error
    return parse_public_key(text, name=str(path))


def parse_public_key(text: str, *, name: str) -> Ed25519PublicKey:
    """An Ed25519 public key from PEM, which has one form for these (RFC 8410).

    `name` says where it came from.
    """
    lines = text.split("\n")
    try:
        der = base64.b64decode("".join(lines[1:-2]), validate=True)
    except ValueError as error:
        raise EnvelopeError(f"{name}: cannot read the public key: {error}") from error
    if [lines[0], *lines[-2:]] != [*_PEM, ""]:
        raise EnvelopeError(f"{name}: expected a PEM file with a public key and nothing else")
    if not der.startswith(_ED25519) or len(der) != len(_ED25519) + 32:
        raise EnvelopeError(f"{name}: expected an Ed25519 key")
    return Ed25519PublicKey.from_public_bytes(der[len(_ED25519) :])


def public_pem(key: Ed25519PublicKey) -> str:
    """A public key in that form."""
    der = _ED25519 + key.public_bytes_raw()
    return "\n".join([_PEM[0], base64.b64encode(der).decode(), _PEM[1], ""])


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
