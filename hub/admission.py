"""Who may have a stream: numbered checks of what a node showed in its handshake.

The TLS library has verified chain, validity and the proof of the key. It lets pass what a site
must not: an old protocol, a certificate without a stated use, a weak key, one that was revoked.
These are checked here, at the start of every stream and again while it lasts.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.channel import node_name
from appliance.errors import IdentityError
from hub.persist import identity
from hub.persist.database import Database
from hub.persist.identity import Shown
from vault.certificates import serial_text, spki, usages, weakness
from vault.crl import RevocationList

TLS = b"TLSv1.3"
_WEAK_HASHES = frozenset({"md5", "sha1"})

Context = Mapping[str, Iterable[bytes]]


class Admission:
    """The checks, with what they need to know."""

    def __init__(
        self,
        db: Database | None = None,
        *,
        revoked: RevocationList | None = None,
        required: bool = True,
    ) -> None:
        self._db, self._revoked, self._required = db, revoked, required

    async def admit(self, context: Context, *, now: datetime | None = None) -> Shown:
        """Who it is; raises `IdentityError` with the check that refused."""
        # 1. TLS 1.3 was spoken             5. it is good now
        # 2. it names one node              6. it is not on the revocation list, and there is one
        # 3. it is for clients              7. its node was not revoked here
        # 4. its key and signature are strong
        now = now or datetime.now(UTC)
        leaf, shown = _opened(context)  # 1, 2
        demand_fit(leaf)  # 3, 4
        if why := self._why_not(shown, now):  # 5, 6
            raise IdentityError(why)
        if self._db is not None:
            refused = await asyncio.to_thread(identity.admit, self._db, shown, now=now)  # 7
            if refused is not None:
                raise IdentityError(refused)
        return shown

    async def unwelcome(self, streams: Sequence[Shown], *, rows: bool = True) -> dict[str, str]:
        """Which of these certificates are good no more, by serial, and why.

        Without `rows` the database is not asked: with ten thousand streams that is not for nothing.
        """
        now = datetime.now(UTC)
        found = {one.serial: self._ended(one, now) for one in streams}
        if rows and self._db is not None and streams:
            told = await asyncio.to_thread(identity.unwelcome, self._db, list(streams))
            found.update(told)
        return {serial: why for serial, why in found.items() if why}

    def _why_not(self, shown: Shown, now: datetime) -> str:
        if why := self._ended(shown, now):
            return why
        if self._revoked is None or not self._required:
            return ""
        trouble = self._revoked.trouble(now)
        if not trouble:
            return ""
        return f"no node is admitted without a current revocation list: {trouble}"

    def _ended(self, shown: Shown, now: datetime) -> str:
        if shown.not_after < now:
            return f"its certificate ended on {shown.not_after:%Y-%m-%d %H:%M:%S} UTC"
        if shown.not_before > now:
            return f"its certificate begins on {shown.not_before:%Y-%m-%d %H:%M:%S} UTC"
        if self._revoked and self._revoked.revoked(int(shown.serial.replace(":", ""), 16)):
            return "its certificate was revoked"
        return ""


def demand_fit(leaf: x509.Certificate) -> None:
    """Raise `IdentityError` unless it is a strong certificate for clients."""
    said = usages(leaf)
    if ExtendedKeyUsageOID.CLIENT_AUTH not in said:
        raise IdentityError("the certificate does not say that it is for clients")
    if why := weakness(leaf.public_key()):
        raise IdentityError(f"the certificate is for {why}")
    hashed = leaf.signature_hash_algorithm
    if hashed is not None and hashed.name in _WEAK_HASHES:
        raise IdentityError(f"the certificate is signed over {hashed.name}")


def _opened(context: Context) -> tuple[x509.Certificate, Shown]:
    if list(context.get("ssl_tls_version", ())) != [TLS]:  # 1
        raise IdentityError("expected TLS 1.3")
    node = node_name(context)  # 2
    try:
        (pem,) = context.get("x509_pem_cert", ())
        leaf = x509.load_pem_x509_certificate(bytes(pem))
    except ValueError as error:
        raise IdentityError("the certificate cannot be read") from error
    return leaf, shown_of(leaf, node)


def shown_of(leaf: x509.Certificate, node: str) -> Shown:
    """What is kept of a certificate."""
    data = leaf.public_bytes(Encoding.DER)
    return Shown(
        node=node,
        serial=serial_text(leaf.serial_number),
        key_sha256=hashlib.sha256(spki(leaf.public_key())).hexdigest(),
        sha256=hashlib.sha256(data).hexdigest(),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
    )
