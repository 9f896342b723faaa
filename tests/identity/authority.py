"""An authority that issues anything, also what no site's would: for handshakes that must fail."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.channel import Identity

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
NODE_URI = "spiffe://sentinel/node/h1.test"
HUB_URI = "spiffe://sentinel/hub"


def p256() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


def weak() -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


class AnyAuthority:
    """A root with real signatures and no scruples."""

    def __init__(self, name: str = "root") -> None:
        self.key = p256()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        ski = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=400))
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(ski, critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def issue(
        self,
        folder: Path,
        *,
        uri: str = NODE_URI,
        usage: tuple[x509.ObjectIdentifier, ...] = (CLIENT,),
        starts: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=1),
        key: Any = None,
        dns: str = "localhost",
        self_signed: bool = False,
        believes: "AnyAuthority | None" = None,
    ) -> Identity:
        key = key or p256()
        now = datetime.now(UTC)
        names = [
            x509.DNSName(dns),
            x509.IPAddress(ip_address("127.0.0.1")),
            x509.UniformResourceIdentifier(uri),
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, dns)])
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + ends)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        if usage:
            made = made.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        certificate = made.sign(key if self_signed else self.key, hashes.SHA256())
        folder.mkdir(parents=True, exist_ok=True)
        identity = Identity(
            certificate=folder / "cert.pem", key=folder / "key.pem", ca=folder / "ca.pem"
        )
        identity.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        identity.key.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        root = (believes or self).certificate
        identity.ca.write_bytes(root.public_bytes(Encoding.PEM))
        return identity

    def crl(self, *serials: int, number: int = 1, until: timedelta = timedelta(days=1)) -> bytes:
        now = datetime.now(UTC)
        made = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(now - timedelta(days=2))
            .next_update(now + until)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for serial in serials:
            one = x509.RevokedCertificateBuilder().serial_number(serial)
            made = made.add_revoked_certificate(one.revocation_date(now).build())
        return made.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def serial_of(identity: Identity) -> int:
    return x509.load_pem_x509_certificate(identity.certificate.read_bytes()).serial_number
