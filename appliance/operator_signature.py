"""Whether a person really signed: the one room that checks WebAuthn and Ed25519 signatures.

Hub and node ask here with the same `Claim`, so they agree. Nothing is looked up and nothing is
remembered: who may sign, how often, and whether a counter went back is the asker's business.
It needs the large `webauthn` library, which on a node lives only as long as the question.
"""

import hashlib
import json
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import decode_credential_public_key
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    RegistrationCredential,
)

from appliance.operator_claim import (
    Claim,
    SignatureError,
    from_base64,
    from_base64url,
    to_base64url,
)
from appliance.people import KeyCredential, WebAuthnCredential, statement
from appliance.records import KeySignature, WebAuthnSignature

ALGORITHMS = [  # what authenticators of today have; none with SHA-1
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
    COSEAlgorithmIdentifier.ECDSA_SHA_512,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A credential as a browser has just made it."""

    credential: WebAuthnCredential
    sign_count: int


def verify(claim: Claim, *, sign_count: int = 0) -> int:
    """The new counter of the credential (0 where it has none); raises `SignatureError`.

    `sign_count` is the last counter the asker saw; one that does not grow is a copy of the key.
    """
    match claim.signature, claim.credential:
        case KeySignature() as signature, KeyCredential() as credential:
            _verify_key(claim, signature, credential)
            return 0
        case WebAuthnSignature() as signature, WebAuthnCredential() as credential:
            return _verify_webauthn(claim, signature, credential, sign_count=sign_count)
        case _:
            raise SignatureError("the signature is of another kind than the credential")


def _verify_key(claim: Claim, signature: KeySignature, credential: KeyCredential) -> None:
    raw = from_base64(credential.public_key)
    if hashlib.sha256(raw).hexdigest() != credential.credential_id:
        raise SignatureError("the credential's id is not that of its key")
    try:
        key = Ed25519PublicKey.from_public_bytes(raw)
        key.verify(from_base64(signature.signature), _statement(claim))
    except ValueError as error:
        raise SignatureError(f"the credential is not an Ed25519 key: {error}") from error
    except InvalidSignature as error:
        raise SignatureError(f"{claim.operator}'s key did not sign this") from error


def _verify_webauthn(
    claim: Claim, signature: WebAuthnSignature, credential: WebAuthnCredential, *, sign_count: int
) -> int:
    # 1. every encoding has its one spelling      4. challenge, origin, relying party, presence,
    # 2. the key's algorithm is one of ours          user verification, counter, signature
    # 3. no other site's frame asked for it
    raw_id = from_base64url(signature.credential_id)  # 1
    authenticator_data = from_base64url(signature.authenticator_data)
    client_data = from_base64url(signature.client_data)
    signed = from_base64url(signature.signature)
    key = from_base64url(credential.public_key)
    try:
        _demand_algorithm(key)  # 2
        _demand_top_frame(client_data)  # 3
        done = verify_authentication_response(  # 4
            credential=AuthenticationCredential(
                id=signature.credential_id,
                raw_id=raw_id,
                response=AuthenticatorAssertionResponse(
                    client_data_json=client_data,
                    authenticator_data=authenticator_data,
                    signature=signed,
                ),
            ),
            expected_challenge=_statement(claim),
            expected_rp_id=claim.rp_id,
            expected_origin=list(claim.origins),
            credential_public_key=key,
            credential_current_sign_count=sign_count,
            require_user_verification=True,
        )
    except SignatureError:
        raise
    except Exception as error:  # the library raises what its parsers raise; none of it is a yes
        raise SignatureError(f"{claim.operator}'s WebAuthn signature: {_words(error)}") from error
    return done.new_sign_count


def register(
    *,
    attestation: str,
    client_data: str,
    label: str,
    challenge: bytes,
    rp_id: str,
    origins: list[str],
) -> Registered:
    """The credential that a browser made for this challenge; raises `SignatureError`."""
    raw_client, raw_attestation = from_base64url(client_data), from_base64url(attestation)
    try:
        _demand_top_frame(raw_client)
        raw_id = _id_of(raw_attestation)
        done = verify_registration_response(
            credential=RegistrationCredential(
                id=to_base64url(raw_id),
                raw_id=raw_id,
                response=AuthenticatorAttestationResponse(
                    client_data_json=raw_client, attestation_object=raw_attestation
                ),
            ),
            expected_challenge=challenge,
            expected_rp_id=rp_id,
            expected_origin=origins,
            require_user_verification=True,
            supported_pub_key_algs=ALGORITHMS,
        )
    except SignatureError:
        raise
    except Exception as error:  # as above
        raise SignatureError(f"the browser's answer: {_words(error)}") from error
    credential = WebAuthnCredential(
        credential_id=to_base64url(done.credential_id),
        public_key=to_base64url(done.credential_public_key),
        label=label,
    )
    return Registered(credential=credential, sign_count=done.sign_count)


def _statement(claim: Claim) -> bytes:
    return statement(claim.act, operator=claim.operator, digest=claim.digest)


def _demand_algorithm(key: bytes) -> None:
    if decode_credential_public_key(key).alg not in ALGORITHMS:
        raise SignatureError("the credential's algorithm is not one that counts here")


def _demand_top_frame(client_data: bytes) -> None:
    said = json.loads(client_data)
    if not isinstance(said, dict) or said.get("crossOrigin", False) is not False:
        raise SignatureError("it was asked for by another site's frame")


def _id_of(attestation: bytes) -> bytes:
    from webauthn.helpers import parse_attestation_object  # noqa: PLC0415 - enrolment only

    data = parse_attestation_object(attestation).auth_data.attested_credential_data
    if data is None or not data.credential_id:
        raise SignatureError("the browser's answer names no credential")
    return data.credential_id


def _words(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return f"{text[:1].lower()}{text[1:300]}"
