"""The list of revoked certificates: fetched, verified, kept, never replaced by an older one.

A list counts when the authority that we believe signed it. Whether one is needed at all, and what
to do when it is too old, is for those who ask; the answer to `trouble` is what they decide by.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from appliance.channel import Identity
from vault import files
from vault.client import Client
from vault.errors import RevocationError, VaultError
from vault.joining import fetch_crl
from vault.settings import VaultSite

_log = logging.getLogger(__name__)


class RevocationList:
    """The newest verified list of one authority."""

    def __init__(self, file: Path, *, issuers: Sequence[x509.Certificate]) -> None:
        self._file, self._issuers = file, list(issuers)
        self._serials: frozenset[int] = frozenset()
        self._read = b""
        self._number = -1
        self.until: datetime | None = None  # the authority promises a newer one by then
        self.why = "no revocation list was read yet"

    def reload(self) -> None:
        """Take what lies on disk, if it changed: kept by us, or put there by hand."""
        try:
            data = self._file.read_bytes()
        except OSError as error:
            self.why = f"{self._file}: no revocation list: {error.strerror}"
            return
        self.take(data, keep=False)

    def fetch(self, site: VaultSite) -> None:
        """Ask Vault for it; without an answer the one that we have goes on to count."""
        try:
            self.take(fetch_crl(Client(site), site), keep=True)
        except VaultError as error:
            if str(error) != self.why:
                _log.warning("revocation list: %s", error)
            self.why = str(error)

    def take(self, data: bytes, *, keep: bool) -> bool:
        """Take a list if it is signed and no older than ours; whether it was taken."""
        if data == self._read:
            self.why = ""
            return True
        try:
            found = self._verified(data)
            if keep:
                files.keep(self._file, data, mode=0o644)
        except (RevocationError, VaultError) as error:
            if str(error) != self.why:
                _log.error("revocation list refused: %s", error)
            self.why = str(error)
            return False
        # From here on a restart finds this list, and none before it is taken.
        self._serials = frozenset(one.serial_number for one in found)
        self._number, self._read, self.why = _number(found), data, ""
        self.until = found.next_update_utc
        return True

    def revoked(self, serial: int) -> bool:
        """Whether the certificate of this number is on the list."""
        return serial in self._serials

    def trouble(self, now: datetime) -> str:
        """Why this list does not speak for this moment; empty when it does."""
        if not self._read:
            return self.why
        if self.until is not None and self.until < now:
            return f"the revocation list ended on {self.until:%Y-%m-%d %H:%M} UTC: {self.why}"
        return ""

    def _verified(self, data: bytes) -> x509.CertificateRevocationList:
        # 1. it is a list   2. an authority that we believe signed it   3. it is not older than ours
        try:
            found = x509.load_pem_x509_crl(data)  # 1
        except ValueError as error:
            raise RevocationError("that is no revocation list") from error
        if not any(_signed_by(found, one) for one in self._issuers):  # 2
            raise RevocationError(
                f"it is signed by {found.issuer.rfc4514_string()[:100]}, who is not believed here"
            )
        if (number := _number(found)) < self._number:  # 3
            raise RevocationError(f"list {number} is older than list {self._number}, which counts")
        return found


def issuers_of(identity: Identity) -> list[x509.Certificate]:
    """Who issued this identity's own certificate: the lists of that authority alone count.

    Another one of the same chain, such as the root, signs lists too, and they revoke other things.
    """
    found = authorities(identity.ca, identity.certificate)
    leaf = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    return [one for one in found if one.subject == leaf.issuer]


def authorities(*paths: Path) -> list[x509.Certificate]:
    """The certificates of authorities in these PEM files."""
    found: list[x509.Certificate] = []
    for path in paths:
        try:
            found += x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            raise RevocationError(f"{path}: cannot be read as certificates: {error}") from error
    return [one for one in found if _is_authority(one)]


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    if crl.issuer != issuer.subject:
        return False
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # any key
    except (TypeError, ValueError, InvalidSignature):
        return False


def _number(crl: x509.CertificateRevocationList) -> int:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, ValueError):
        return int(crl.last_update_utc.timestamp())
