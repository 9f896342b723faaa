"""Operators with keys: terminal keys, and a security key made of software.

The security key builds authenticator data, client data and COSE keys by hand, as real ones do, so
that a test can get any byte of them wrong.
"""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.operator_claim import to_base64url
from appliance.people import (
    Credential,
    KeyCredential,
    People,
    Person,
    WebAuthnCredential,
    statement,
)
from appliance.records import KeySignature, OperatorSignature, WebAuthnSignature

RP_ID, SITE = "console.test", "https://console.test:8443"
PRESENT, VERIFIED = 0x01, 0x04


@dataclass
class TerminalKey:
    """An Ed25519 key, as `sentinel approve` uses it."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def credential(self) -> KeyCredential:
        raw = self.key.public_key().public_bytes_raw()
        return KeyCredential(
            credential_id=hashlib.sha256(raw).hexdigest(),
            public_key=base64.b64encode(raw).decode(),
        )

    def sign(self, challenge: bytes, **_: Any) -> KeySignature:
        return KeySignature(
            credential_id=self.credential.credential_id,
            signature=base64.b64encode(self.key.sign(challenge)).decode(),
        )


@dataclass
class SecurityKey:
    """A WebAuthn authenticator with its browser."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    raw_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    count: int = 0

    @property
    def cose(self) -> bytes:
        """{1: 2, 3: -7, -1: 1, -2: x, -3: y} in CBOR."""
        point = self.key.public_key().public_numbers()
        x, y = point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")
        return b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20" + x + b"\x22\x58\x20" + y

    @property
    def credential(self) -> WebAuthnCredential:
        return WebAuthnCredential(
            credential_id=to_base64url(self.raw_id), public_key=to_base64url(self.cose)
        )

    def sign(
        self,
        challenge: bytes,
        *,
        flags: int = PRESENT | VERIFIED,
        origin: str = SITE,
        rp_id: str = RP_ID,
        kind: str = "webauthn.get",
        **client: Any,
    ) -> WebAuthnSignature:
        self.count += 1
        said = {"type": kind, "challenge": to_base64url(challenge), "origin": origin, **client}
        client_data = json.dumps(said, separators=(",", ":")).encode()
        data = self._data(rp_id, flags)
        signature = self.key.sign(
            data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256())
        )
        return WebAuthnSignature(
            credential_id=to_base64url(self.raw_id),
            authenticator_data=to_base64url(data),
            client_data=to_base64url(client_data),
            signature=to_base64url(signature),
        )

    def enrol(self, challenge: bytes, *, flags: int = PRESENT | VERIFIED, origin: str = SITE,
              rp_id: str = RP_ID) -> dict[str, str]:  # fmt: skip
        """The form fields that a browser sends after `navigator.credentials.create`."""
        said = {"type": "webauthn.create", "challenge": to_base64url(challenge), "origin": origin}
        attested = bytes(16) + len(self.raw_id).to_bytes(2, "big") + self.raw_id + self.cose
        data = self._data(rp_id, flags | 0x40) + attested
        wrapped = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59"
        return {
            "client_data": to_base64url(json.dumps(said).encode()),
            "attestation": to_base64url(wrapped + len(data).to_bytes(2, "big") + data),
        }

    def _data(self, rp_id: str, flags: int) -> bytes:
        return (
            hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")
        )


Key = TerminalKey | SecurityKey


@dataclass
class Operator:
    """A person with their keys."""

    name: str
    role: str = "operator"
    keys: list[Key] = field(default_factory=lambda: [TerminalKey()])

    @property
    def person(self) -> Person:
        credentials: tuple[Credential, ...] = tuple(key.credential for key in self.keys)
        return Person(name=self.name, role=self.role, credentials=credentials)  # type: ignore[arg-type]

    def sign(self, digest: str, *, key: int = 0, **changes: Any) -> OperatorSignature:
        """This person's yes to a digest."""
        challenge = statement("approve", operator=self.name, digest=digest)
        return self.keys[key].sign(challenge, **changes)


def people(*operators: Operator, **changes: Any) -> People:
    """The signed list of these people."""
    values: dict[str, Any] = {
        "persons": tuple(one.person for one in operators),
        "rp_id": RP_ID,
        "origins": (SITE,),
    }
    return People(**{**values, **changes})
