"""A certificate, its key and what they are believed under: files that change as one.

Two files cannot be replaced in one step. So the new ones lie beside the old ones, complete and on
disk, before the first takes its place; whoever finds only half of it done finishes it. A reader
that meets the moment in between sees two that do not fit, and reads again.
"""

import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from vault.certificates import spki
from vault.errors import VaultError

NEXT = ".next"


def keep(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Put a file in place of the old one; when this returns, it is on disk."""
    temporary = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            if os.geteuid() == 0:  # who runs as root leaves files to whom the folder belongs
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise VaultError(f"{path}: cannot be written: {error.strerror}") from error


def replace_pair(certificate: Path, key: Path, *, chain: bytes, private: bytes) -> None:
    """A new certificate and its key in place of the old ones."""
    keep(_next(key), private)
    keep(_next(certificate), chain, mode=0o644)
    # From here on a restart finds both new ones, and `settle` puts them in place.
    settle(certificate, key)


def settle(certificate: Path, key: Path) -> None:
    """Finish a replacement that was interrupted; what is half written is thrown away."""
    new_key, new_certificate = _next(key), _next(certificate)
    try:
        if new_certificate.exists():
            wanted = new_key if new_key.exists() else key
            if fit(new_certificate, wanted):
                if wanted == new_key:
                    new_key.replace(key)
                    _sync(key.parent)
                # From here on the certificate in place does not fit; the next start goes on here.
                new_certificate.replace(certificate)
                _sync(certificate.parent)
        new_certificate.unlink(missing_ok=True)
        new_key.unlink(missing_ok=True)
    except OSError as error:
        raise VaultError(f"{certificate}: cannot be replaced: {error.strerror}") from error


def fit(certificate: Path, key: Path) -> bool:
    """Whether both are there, and are of each other."""
    try:
        leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = load_pem_private_key(key.read_bytes(), None)
        return spki(leaf.public_key()) == spki(private.public_key())
    except (OSError, ValueError, TypeError):
        return False


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A key that was made by `vault.identity.make_key`."""
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise VaultError(f"{path}: cannot be read as a private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise VaultError(f"{path}: is no EC key")
    return key


def _next(path: Path) -> Path:
    return path.with_name(path.name + NEXT)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
