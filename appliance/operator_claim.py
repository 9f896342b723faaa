"""What somebody claims to have signed, as it is put before the one room that checks signatures.

A claim holds nothing that has to be looked up: who, what act on which digest, their credential from
the signed list of people, the signature. Encodings have one spelling here: bytes that could be
written in two ways could be logged under two digests.
"""

import base64
import binascii
import hashlib
from typing import Annotated

import msgspec

from appliance.errors import RefusedError
from appliance.people import Act, Credential, KeyCredential, People, WebAuthnCredential
from appliance.records import MOST_APPROVALS, Digest, KeySignature, Name, OperatorSignature, Record


class SignatureError(RefusedError):
    """A person's signature is missing or not good; the text says what was expected."""

    code = "signature"


class Claim(Record, frozen=True, kw_only=True):
    """One person's signature, with everything needed to check it."""

    act: Act
    operator: Name
    digest: Digest  # of what they did it to
    credential: Credential  # theirs, from the signed list of people
    signature: OperatorSignature
    rp_id: Name
    origins: tuple[Name, ...]


class Claims(Record, frozen=True, kw_only=True):
    """The question to the process that checks signatures."""

    claims: Annotated[tuple[Claim, ...], msgspec.Meta(min_length=1, max_length=MOST_APPROVALS)]


class Answers(Record, frozen=True, kw_only=True):
    """Its answer: for each claim in order why it is not good, or "" when it is."""

    troubles: tuple[str, ...]


def claim_of(
    people: People, *, act: Act, operator: str, digest: str, signature: OperatorSignature | None
) -> Claim:
    """Look the credential up among this person's own; or `SignatureError`."""
    person = people.person(operator)
    if person is None:
        raise SignatureError(f"{operator} is not among the people in force")
    if signature is None:
        raise SignatureError(f"{operator} has not signed")
    kind = KeyCredential if isinstance(signature, KeySignature) else WebAuthnCredential
    for one in person.credentials:
        if isinstance(one, kind) and one.credential_id == signature.credential_id:
            return Claim(
                act=act,
                operator=operator,
                digest=digest,
                credential=one,
                signature=signature,
                rp_id=people.rp_id,
                origins=people.origins,
            )
    raise SignatureError(f"{operator} has no such credential among the people in force")


def fingerprint(credential: Credential) -> str:
    """SHA-256 of the public key in groups of four, for two people to compare by voice."""
    if isinstance(credential, KeyCredential):
        raw = from_base64(credential.public_key)
    else:
        raw = from_base64url(credential.public_key)
    text = hashlib.sha256(raw).hexdigest()
    return " ".join(text[at : at + 4] for at in range(0, 64, 4))


def to_base64url(data: bytes) -> str:
    """base64url without padding, as browsers write it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """The bytes of a base64url text in its one spelling."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error) as error:
        raise SignatureError(f"not base64url: {error}") from error
    if to_base64url(data) != text:
        raise SignatureError("not base64url in its one spelling")
    return data


def from_base64(text: str) -> bytes:
    """The bytes of a base64 text in its one spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise SignatureError(f"not base64: {error}") from error
    if base64.b64encode(data).decode() != text:
        raise SignatureError("not base64 in its one spelling")
    return data
