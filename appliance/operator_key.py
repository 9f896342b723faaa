"""An operator's own Ed25519 key: its public half for people.json, and a yes made with it."""

import base64
import binascii
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.envelope import key_id
from appliance.errors import RefusedError
from appliance.people import Act, KeyCredential, statement
from appliance.records import KeySignature

_RAW_KEY_BYTES = 32


def credential(key: Ed25519PrivateKey) -> KeyCredential:
    """The public half of a key, as people.json names it."""
    raw = key.public_key().public_bytes_raw()
    return KeyCredential(
        credential_id=key_id(key.public_key()), public_key=base64.b64encode(raw).decode()
    )


def public_credential(text: str, *, label: str) -> KeyCredential:
    """The credential of a public key as `sentinel approve key` prints it."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != _RAW_KEY_BYTES:
        raise RefusedError("this is not the line that `sentinel approve key` prints")
    return KeyCredential(
        credential_id=hashlib.sha256(raw).hexdigest(),
        public_key=base64.b64encode(raw).decode(),
        label=label,
    )


def sign(
    key: Ed25519PrivateKey, *, operator: str, digest: str, act: Act = "approve"
) -> KeySignature:
    """This operator's word on what has this digest."""
    made = key.sign(statement(act, operator=operator, digest=digest))
    return KeySignature(
        credential_id=key_id(key.public_key()), signature=base64.b64encode(made).decode()
    )
