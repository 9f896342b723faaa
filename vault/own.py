"""A certificate of the hub's own machine renewed: the hub's, the console's, the database client's.

When it is due is told in `renewal.py`, as for nodes. Here is what differs: what comes must have the
very names and uses of what is there, and a database client's is asked for by the certificate of the
process that connects, because its own opens nothing in Vault.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.errors import SentinelError
from appliance.records import Record
from vault import certificates, files
from vault.client import Client
from vault.errors import VaultError
from vault.identity import request
from vault.joining import sign
from vault.renewal import Standing, again, common_name, due, leaf_of, sign_on
from vault.settings import VaultSite

Role = Literal["hub", "console", "database"]  # as `vault/setup/roles.py` names them

Names = tuple[frozenset[str], frozenset[str], frozenset[str]]  # URI, DNS, addresses


class Own(Record, frozen=True, kw_only=True):
    """One pair of files, and by what right it is renewed."""

    role: Role
    certificate: Path
    key: Path
    ca: Path | None = None  # the pinned root; none: what is above the present certificate
    signer: Literal["hub", "console"]  # the role of cert auth …
    signer_pair: tuple[Path, Path]  # … and the certificate and key that sign in to it
    vault: VaultSite


def stand(own: Own, *, now: datetime) -> Standing:
    """Renew if it is due; never raises but when there is no certificate at all."""
    trouble, renewed = "", False
    with _alone(own.certificate.parent):
        files.settle(own.certificate, own.key)
        leaf = leaf_of(own.certificate)
        if now >= due(leaf) or now < leaf.not_valid_before_utc:
            try:
                _renew(own, leaf, now=now)
                leaf, renewed = leaf_of(own.certificate), True
            except SentinelError as error:
                trouble = str(error)
    return Standing(
        begins=leaf.not_valid_before_utc,
        ends=leaf.not_valid_after_utc,
        due=due(leaf),
        renewed=renewed,
        trouble=trouble,
        again_s=again(leaf, now=datetime.now(UTC), failed=bool(trouble)),
    )


def _renew(own: Own, leaf: x509.Certificate, *, now: datetime) -> None:
    # 1. sign on with a present certificate     3. what came is what was there, with our new key
    # 2. a new key, and a request for it        4. both in place of the old ones
    site = msgspec.structs.replace(own.vault, pki_role=own.role, cert_role=own.signer)
    names = _names(leaf)
    uri = _uri(own, names)
    token = sign_on(site, own.signer_pair)  # 1
    try:
        key = ec.generate_private_key(ec.SECP256R1())  # 2
        csr = request(
            key, name=common_name(leaf), uri=uri, dns=sorted(names[1]), addresses=sorted(names[2])
        )
        pem = sign(Client(site), site, csr, node=common_name(leaf), token=token)
    finally:
        with suppress(VaultError):  # it ends by itself within minutes
            where = "auth/token/revoke-self"
            Client(site).call("POST", where, {}, what="sign off", token=token)
    chain = certificates.chain_of(pem)
    _demand_same(own, leaf, chain, key.public_key(), now=now)  # 3
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files.replace_pair(own.certificate, own.key, chain=pem.encode(), private=private)  # 4


def _demand_same(
    own: Own,
    before: x509.Certificate,
    chain: list[x509.Certificate],
    key: ec.EllipticCurvePublicKey,
    *,
    now: datetime,
) -> None:
    """Raise `VaultError` or `JoinError` unless the new one may stand where the present one does."""
    # 1. it is for the key that was made here   3. it may be used for the same
    # 2. it has the same names, no more or less 4. its chain ends at our root
    leaf = chain[0]
    if certificates.spki(leaf.public_key()) != certificates.spki(key):  # 1
        raise VaultError("the certificate is for another key than the one that was made here")
    if _names(leaf) != _names(before) or common_name(leaf) != common_name(before):  # 2
        raise VaultError(f"the certificate has other names than {own.certificate}")
    if set(certificates.usages(leaf)) != set(certificates.usages(before)):  # 3
        raise VaultError(f"the certificate is for other uses than {own.certificate}")
    certificates.demand_chain(leaf, chain[1:], _roots(own), now=now)  # 4


def _roots(own: Own) -> list[x509.Certificate]:
    path = own.ca or own.certificate
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise VaultError(f"{path}: cannot be read: {error.strerror}") from error
    found = certificates.chain_of(pem)[0 if own.ca else 1 :]
    if not found:
        raise VaultError(f"{own.certificate}: nothing is above it, so nothing tells the site's CA")
    return found


def _uri(own: Own, names: Names) -> str:
    """Its one name as Vault's role gives it; what was made elsewhere is renewed elsewhere."""
    start = f"spiffe://sentinel/{own.role}"
    match list(names[0]):
        case [uri] if uri == start or (own.role == "database" and uri.startswith(f"{start}/")):
            return uri
        case found:
            raise VaultError(f"{own.certificate} names {found}, and not {start} alone")


def _names(leaf: x509.Certificate) -> Names:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return frozenset(), frozenset(), frozenset()
    return (
        frozenset(found.get_values_for_type(x509.UniformResourceIdentifier)),
        frozenset(found.get_values_for_type(x509.DNSName)),
        frozenset(str(one) for one in found.get_values_for_type(x509.IPAddress)),
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two processes with one database certificate take turns; the second finds it renewed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise VaultError(f"{folder}: cannot be read: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
