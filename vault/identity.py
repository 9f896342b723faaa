"""Keys made where they are used, and the request that has them certified.

The private key is EC P-256 and never leaves the machine; only the request travels. The name in a
certificate is a SPIFFE ID (`spiffe://sentinel/node/NAME`), so that a role is part of the identity.
"""

import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


def make_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A new EC P-256 private key in a file only its owner reads (mode 0600)."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    return key


def request(
    key: ec.EllipticCurvePrivateKey,
    *,
    name: str,
    uri: str,
    dns: Sequence[str] = (),
    addresses: Sequence[str] = (),
) -> str:
    """A certificate signing request (PKCS #10, PEM) for this key and these names."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    names += [x509.DNSName(one) for one in dns]
    names += [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
