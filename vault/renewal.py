"""A node's certificate, renewed by itself long before it ends: when, and how.

Due at two thirds of its lifetime and a little later, each certificate at its own moment, so that
ten thousand nodes that joined in one hour do not renew in one second. All is reckoned anew from
the wall clock each time: after a jump nothing is believed of what was planned before. Who judges
is Vault, by its own clock; a node whose clock is wrong asks all the same.
"""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from appliance.channel import Identity
from appliance.errors import SentinelError
from appliance.records import Record
from vault import certificates, crl, files
from vault.client import Client
from vault.errors import RevocationError, VaultError
from vault.identity import request
from vault.joining import sign
from vault.settings import VaultSite

DUE = 2 / 3  # of a lifetime
SPREAD = 1 / 10  # of a lifetime, after that
LEAST_WAIT_S, MOST_WAIT_S = 1.0, 3600.0


class Question(Record, frozen=True, kw_only=True):
    """What a node asks of `vault.renew`."""

    identity: Identity
    vault: VaultSite
    crl: Path | None = None  # where the revocation list is kept


class Standing(Record, frozen=True, kw_only=True):
    """How it stands with a node's certificate."""

    begins: datetime
    ends: datetime
    due: datetime
    renewed: bool = False  # just now
    trouble: str = ""  # why it was not renewed though it is due, in words
    crl_trouble: str = ""
    again_s: float = MOST_WAIT_S  # when to ask again


def due(certificate: x509.Certificate) -> datetime:
    """When this certificate is to be renewed: the same moment each time it is asked."""
    begins, lifetime = certificate.not_valid_before_utc, _lifetime(certificate)
    digest = hashlib.sha256(certificate.serial_number.to_bytes(20, "big")).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    return begins + lifetime * (DUE + SPREAD * share)


def stand(question: Question, *, now: datetime) -> Standing:
    """Renew if it is due; never raises but when there is no certificate at all."""
    mine = question.identity
    files.settle(mine.certificate, mine.key)
    leaf, trouble, renewed = leaf_of(mine.certificate), "", False
    if now >= due(leaf) or now < leaf.not_valid_before_utc:
        try:
            _renew(question, leaf, now=now)
            leaf, renewed = leaf_of(mine.certificate), True
        except SentinelError as error:
            trouble = str(error)
    return Standing(
        begins=leaf.not_valid_before_utc,
        ends=leaf.not_valid_after_utc,
        due=due(leaf),
        renewed=renewed,
        trouble=trouble,
        crl_trouble=_fetch_crl(question),
        again_s=again(leaf, now=datetime.now(UTC), failed=bool(trouble)),
    )


def _renew(question: Question, leaf: x509.Certificate, *, now: datetime) -> None:
    # 1. sign on with the present certificate   3. what came is ours, under the root we have pinned
    # 2. a new key, and a request for it        4. both in place of the old ones
    mine, site = question.identity, question.vault
    token = sign_on(site, (mine.certificate, mine.key))  # 1
    key = ec.generate_private_key(ec.SECP256R1())  # 2
    (uri,) = certificates.uris(leaf)
    node = uri.rpartition("/")[2]
    csr = request(key, name=common_name(leaf), uri=uri)
    chain = sign(Client(site), site, csr, node=node, token=token)
    certificates.demand_ours(  # 3
        certificates.chain_of(chain),
        node=node,
        key=key.public_key(),
        roots=certificates.chain_of(mine.ca.read_bytes()),
        now=now,
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files.replace_pair(mine.certificate, mine.key, chain=chain.encode(), private=private)  # 4


def sign_on(site: VaultSite, pair: tuple[Path, Path]) -> str:
    """A token for who has this certificate and its key."""
    where = f"auth/{site.cert_auth}/login"
    words = {"name": site.cert_role}
    answer = Client(site, identity=pair).call("POST", where, words, what="sign on to Vault")
    token = (answer.get("auth") or {}).get("client_token")
    if not isinstance(token, str):
        raise VaultError("Vault signed us on without a token")
    return token


def _fetch_crl(question: Question) -> str:
    if question.crl is None:
        return ""
    try:
        kept = crl.RevocationList(question.crl, issuers=crl.issuers_of(question.identity))
    except RevocationError as error:
        return str(error)
    kept.reload()
    kept.fetch(question.vault)
    return kept.why


def again(leaf: x509.Certificate, *, now: datetime, failed: bool) -> float:
    """Soon after a failure, at the moment itself else; each a little different from the others."""
    planned = (due(leaf) - now).total_seconds()
    wait = _lifetime(leaf).total_seconds() / 72 if failed else planned
    jitter = 0.8 + 0.4 * os.urandom(1)[0] / 255
    return max(LEAST_WAIT_S, min(MOST_WAIT_S, wait) * (jitter if failed else 1.0))


def leaf_of(path: Path) -> x509.Certificate:
    """The certificate that lies there."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise VaultError(f"{path}: there is no certificate to renew") from error


def _lifetime(certificate: x509.Certificate) -> timedelta:
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc


def common_name(leaf: x509.Certificate) -> str:
    """Its subject's name."""
    match leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        case [found]:
            return str(found.value)
        case several:
            raise VaultError(f"the certificate has {len(several)} common names, expected one")
