"""What a certificate must be before a node takes it as its own, and which ones are of a node.

The handshake checks peers; here we look at what Vault, or a file that says it comes from Vault,
wants us to be.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.channel import NODE_URI
from vault.errors import JoinError
from vault.ticket import grouped

MOST_CHAIN = 8
LEAST_RSA_BITS = 2048
CLOCKS_DIFFER = timedelta(minutes=5)

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


def chain_of(pem: str | bytes) -> list[x509.Certificate]:
    """The certificates of a PEM text, leaf first."""
    data = pem.encode() if isinstance(pem, str) else pem
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise JoinError("that is no certificate") from error
    if len(found) > MOST_CHAIN:
        raise JoinError(f"a chain of {len(found)} certificates, at most {MOST_CHAIN}")
    return found


def demand_ours(
    chain: Sequence[x509.Certificate],
    *,
    node: str,
    key: ec.EllipticCurvePublicKey,
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> x509.Certificate:
    """The leaf, if it certifies this key for this node under our root; raises `JoinError`."""
    # 1. it is for the key that was made here   3. it is for clients, and not for servers
    # 2. it names this node and nobody else     4. the chain ends at the root that is pinned
    leaf = chain[0]
    if spki(leaf.public_key()) != spki(key):  # 1
        raise JoinError("the certificate is for another key than the one that was made here")
    if uris(leaf) != [f"spiffe://sentinel/node/{node}"]:  # 2
        raise JoinError(f"the certificate names {uris(leaf)}, expected the node {node}")
    if ExtendedKeyUsageOID.CLIENT_AUTH not in (usage := usages(leaf)):  # 3
        raise JoinError("the certificate is not for clients")
    if ExtendedKeyUsageOID.SERVER_AUTH in usage:
        raise JoinError("the certificate is for servers, too; no node's may be")
    demand_chain(leaf, chain[1:], roots, now=now)  # 4
    return leaf


def demand_chain(
    leaf: x509.Certificate,
    between: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    *,
    now: datetime,
) -> None:
    """Raise `JoinError` unless the leaf is signed, link by link, from one of the roots."""
    at = (
        max(now, leaf.not_valid_before_utc)
        if now > leaf.not_valid_before_utc - CLOCKS_DIFFER
        else now
    )
    try:
        verifier = (
            verification.PolicyBuilder()
            .store(verification.Store(list(roots)))
            .time(at)
            .extension_policies(
                ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
                ee_policy=verification.ExtensionPolicy.permit_all(),
            )
            .build_client_verifier()
        )
        verifier.verify(leaf, list(between))
    except (verification.VerificationError, ValueError) as error:
        raise JoinError(f"the certificate does not lead to the pinned root: {error}") from error


def is_of(pem: str, *, node: str, now: datetime) -> bool:
    """Whether this is a certificate of a node that has not expired."""
    try:
        leaf = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return False
    named = f"spiffe://sentinel/node/{node}" in uris(leaf)
    return named and leaf.not_valid_after_utc > now


def uris(certificate: x509.Certificate | x509.CertificateSigningRequest) -> list[str]:
    """The URIs among its names."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    """What its key may be used for; none said is none."""
    try:
        return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (x509.ExtensionNotFound, ValueError):
        return []


def node_of(csr: x509.CertificateSigningRequest) -> str:
    """The one node that a request names; raises `JoinError`."""
    found = [match["name"] for one in uris(csr) if (match := NODE_URI.match(one))]
    if len(found) != 1 or len(uris(csr)) != 1:
        raise JoinError(f"the request names {uris(csr)}, expected one spiffe://sentinel/node/NAME")
    return found[0]


def read_request(data: bytes) -> x509.CertificateSigningRequest:
    """A request from a file: signed by its own key, and that key is strong enough."""
    try:
        csr = x509.load_pem_x509_csr(data[: 64 * 1024])
        signed = csr.is_signature_valid
    except (ValueError, InvalidSignature) as error:
        raise JoinError("that is no certificate request") from error
    if not signed:
        raise JoinError("the request is not signed by the key that is in it")
    if why := weakness(csr.public_key()):
        raise JoinError(f"the request is for {why}")
    return csr


def weakness(key: object) -> str:
    """Why a public key is too weak to be believed; empty when it is not."""
    match key:
        case ec.EllipticCurvePublicKey():
            return "" if key.curve.key_size >= 256 else f"a curve of {key.curve.key_size} bits"  # noqa: PLR2004 - P-256
        case ed25519.Ed25519PublicKey():
            return ""
        case rsa.RSAPublicKey():
            short = key.key_size < LEAST_RSA_BITS
            return f"an RSA key of {key.key_size} bits, at least {LEAST_RSA_BITS}" if short else ""
        case dsa.DSAPublicKey():
            return "a DSA key"
        case _:
            return "a key of a kind that is not known here"


def spki(key: object) -> bytes:
    """A public key's one spelling."""
    made: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return made


def key_fingerprint(key: object) -> str:
    """What two people compare: SHA-256 of the public key, in groups."""
    import hashlib  # noqa: PLC0415 - beside its only use

    return grouped(hashlib.sha256(spki(key)).hexdigest()[:40])


def serial_text(number: int) -> str:
    """As Vault spells serial numbers."""
    text = f"{number:x}"
    text = text.zfill(len(text) + len(text) % 2)
    return ":".join(text[at : at + 2] for at in range(0, len(text), 2))
