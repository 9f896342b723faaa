"""Numbered, chained and signed reports: how an executor makes them, how anybody checks them.

A node's executor numbers its reports from 1 without a hole, puts the digest of the one before into
each, and signs them with a key of its own that never leaves the node. Whoever keeps reports sees a
missing, doubled or altered one. Which key belongs to which node is for the caller to know.
"""

import base64
import binascii

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance import records
from appliance.envelope import key_id
from appliance.errors import RefusedError
from appliance.records import Report

_DOMAIN = b"sentinel-report/v1\0"
_KEY_BYTES = 32


def digest(report: Report) -> str:
    """SHA-256 of the whole report, its signature included: what the next one names."""
    return records.digest_of(report)


def sign(report: Report, key: Ed25519PrivateKey) -> Report:
    """The report with the executor's signature over all the rest of it."""
    signature = key.sign(_signed_bytes(report))
    return msgspec.structs.replace(report, signature=base64.b64encode(signature).decode())


def is_signed_by(report: Report, public: Ed25519PublicKey) -> bool:
    """Whether this key signed exactly this report."""
    try:
        signature = base64.b64decode(report.signature, validate=True)
        public.verify(signature, _signed_bytes(report))
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return base64.b64encode(signature).decode() == report.signature  # one spelling


def spelled(public: Ed25519PublicKey) -> str:
    """A public key as it travels: 32 bytes in base64."""
    return base64.b64encode(public.public_bytes_raw()).decode()


def read_key(text: str) -> Ed25519PublicKey:
    """The key that `spelled` wrote; raises `RefusedError` for anything else."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError("a report key is 32 bytes in base64") from error
    if len(raw) != _KEY_BYTES or base64.b64encode(raw).decode() != text:
        raise RefusedError("a report key is 32 bytes in base64")
    return Ed25519PublicKey.from_public_bytes(raw)


def fingerprint(text: str) -> str:
    """SHA-256 of the raw public key, in hex: what two people compare."""
    return key_id(read_key(text))


def _signed_bytes(report: Report) -> bytes:
    return _DOMAIN + bytes.fromhex(digest(msgspec.structs.replace(report, signature="")))
