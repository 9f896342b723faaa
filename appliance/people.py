"""Who may say yes, and how it is known that they did: the signed lists that hub and nodes read.

`People` and `Keys` are made by policy signers, offline, and reach every machine as signed targets;
no database row can add a person, a key or a role to them. What an operator signs is `statement`.
"""

import hashlib
from typing import Annotated, Literal

import msgspec

from appliance.records import MOST_APPROVALS, Digest, Name, Record, Text

ROLES = ("viewer", "operator", "admin")
MAY_ANSWER = frozenset({"operator", "admin"})
RISKS = ("low", "high")

Act = Literal["approve", "resume", "fork"]
Role = Literal["viewer", "operator", "admin"]
Risk = Literal["low", "high"]
Quorum = Annotated[int, msgspec.Meta(ge=1, le=MOST_APPROVALS)]


class WebAuthnCredential(Record, frozen=True, kw_only=True, tag_field="kind", tag="webauthn"):
    """A security key, smart card or platform key, as it was registered in a browser."""

    credential_id: Annotated[str, msgspec.Meta(max_length=1400)]  # base64url
    public_key: Text  # COSE, base64url
    label: Name = ""


class KeyCredential(Record, frozen=True, kw_only=True, tag_field="kind", tag="ed25519"):
    """An Ed25519 key for approvals on a terminal."""

    credential_id: Digest  # SHA-256 of the raw public key
    public_key: Name  # 32 bytes, base64
    label: Name = ""


Credential = WebAuthnCredential | KeyCredential


class Person(Record, frozen=True, kw_only=True):
    """One operator: the name they sign in with, what they may do, and their own keys."""

    name: Name
    role: Role
    credentials: Annotated[tuple[Credential, ...], msgspec.Meta(max_length=16)] = ()


class People(Record, frozen=True, kw_only=True):
    """The signed target `people.json`."""

    persons: Annotated[tuple[Person, ...], msgspec.Meta(max_length=1000)] = ()
    quorum: dict[Risk, Quorum] = msgspec.field(default_factory=lambda: {"low": 1, "high": 2})
    rp_id: Name = "localhost"  # WebAuthn relying party: the console's host name
    origins: tuple[Name, ...] = ()  # origins of the console, "https://console.site:8443"
    password_only: bool = False  # approvals need no signature: for sites without keys

    def person(self, name: str) -> Person | None:
        """The person of this sign-in name."""
        return next((one for one in self.persons if one.name == name), None)

    def needed(self, risks: "list[str] | tuple[str, ...]") -> int:
        """How many different people a plan of these risks needs; an unknown risk needs the most."""
        most = max(self.quorum.values(), default=MOST_APPROVALS)
        of = {str(risk): count for risk, count in self.quorum.items()}
        return max((of.get(risk, most) for risk in risks), default=1)


class Keys(Record, frozen=True, kw_only=True):
    """The signed target `keys.json`: what else a node believes."""

    order_keys: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=8)]  # PEM, public
    audit_vkeys: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=8)]
    witness_vkeys: Annotated[tuple[Text, ...], msgspec.Meta(max_length=256)] = ()
    witness_quorum: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0


def statement(act: Act, *, operator: str, digest: str) -> bytes:
    """The 32 bytes an operator signs to do this act on the record of this digest (hex).

    SHA-256("sentinel-" ‖ act ‖ "/v1" ‖ 0 ‖ operator ‖ 0 ‖ digest). It is the WebAuthn challenge,
    and what an Ed25519 key signs.
    """
    name = operator.encode()
    if b"\0" in name:
        raise ValueError("an operator's name holds no zero byte")
    return hashlib.sha256(
        b"sentinel-" + act.encode() + b"/v1\0" + name + b"\0" + bytes.fromhex(digest)
    ).digest()
