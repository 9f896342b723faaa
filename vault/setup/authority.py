"""The certificate authority: a root of our own with an intermediate, or one of the site's CA.

With the site's own CA the key is made in Vault and only a request leaves it; what comes back is
looked at before Vault sees it. An authority that is there stays: nothing here replaces one.
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from vault.door import Door
from vault.errors import VaultError
from vault.setup.settings import SetupSettings
from vault.setup.step import EXISTS, Found, State, Step

ROOT_NAME = "Sentinel root"
NAME = "Sentinel intermediate"
KEY = "sentinel-intermediate"  # its name in Vault, by which a second run finds it
_EC: dict[str, object] = {"key_type": "ec", "key_bits": 256}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCa:
    """The two files that travel to and from a site's own CA."""

    request: Path | None = None  # where the request is written
    answer: Path | None = None  # the intermediate's certificate and what is above it, in PEM


def authority(settings: SetupSettings, files: OwnCa) -> list[Step]:
    """The steps for the authority that signs."""
    if settings.own_ca:
        return [_request(settings, files), _answer(settings, files)]
    return [_root(settings), _intermediate(settings)]


def authority_pem(door: Door, mount: str) -> str | None:
    """The certificate that a mount signs with; None while it has none, or is not there."""
    if f"{mount}/" not in (door.read("sys/mounts") or {}) or not door.list(f"{mount}/issuers"):
        return None
    pem = (door.read(f"{mount}/issuer/default") or {}).get("certificate")
    return str(pem).strip() if pem else None


def _root(settings: SetupSettings) -> Step:
    mount = settings.mounts.root

    def act(door: Door) -> None:
        body = {"common_name": ROOT_NAME, "ttl": settings.lifetimes.root, "issuer_name": "root"}
        door.write(f"{mount}/root/generate/internal", {**_EC, **body})

    return Step(what=f"root CA in {mount}", look=lambda door: _there(door, mount), act=act)


def _intermediate(settings: SetupSettings) -> Step:
    mounts = settings.mounts

    def act(door: Door) -> None:
        body = {"common_name": NAME, "ttl": settings.lifetimes.intermediate, "format": "pem_bundle"}
        csr = {"csr": _csr(door, mounts.pki), "max_path_length": 0, "use_csr_values": False}
        signed = door.write(f"{mounts.root}/root/sign-intermediate", {**body, **csr})
        chain = [signed["certificate"], *(signed.get("ca_chain") or [signed["issuing_ca"]])]
        _take(door, mounts.pki, "\n".join(dict.fromkeys(one.strip() for one in chain)))

    look = lambda door: _there(door, mounts.pki)  # noqa: E731 - one word
    return Step(what=f"intermediate CA in {mounts.pki}", look=look, act=act)


def _request(settings: SetupSettings, files: OwnCa) -> Step:
    mount = settings.mounts.pki

    def look(door: Door) -> Found:
        if authority_pem(door, mount) or (_has_key(door, mount) and files.request is None):
            return EXISTS
        if files.request is None:
            return Found(state=State.BY_HAND, why="say --csr FILE, and have your CA sign it")
        if _has_key(door, mount) and files.request.exists():
            return Found(state=State.EXISTS, why=f"{files.request} waits to be signed")
        return Found(state=State.MAKE, why=str(files.request))

    def act(door: Door) -> None:
        if files.request is not None:
            files.request.write_text(_csr(door, mount).strip() + "\n", encoding="ascii")

    return Step(what=f"request for the intermediate in {mount}", look=look, act=act)


def _answer(settings: SetupSettings, files: OwnCa) -> Step:
    mount = settings.mounts.pki

    def look(door: Door) -> Found:
        if authority_pem(door, mount):
            return _there(door, mount)
        if files.answer is None:
            return Found(state=State.BY_HAND, why="say --signed FILE once your CA has signed")
        return Found(state=State.MAKE, why=str(files.answer))

    def act(door: Door) -> None:
        if files.answer is None or not _has_key(door, mount):
            raise VaultError("there is no key that an answer could be for: run with --csr first")
        _take(door, mount, demand_answer(files.answer, _csr(door, mount)))

    return Step(what=f"the site's answer in {mount}", look=look, act=act)


def demand_answer(path: Path, request: str) -> str:
    """What the site's CA answered, if it is for our request and a CA that can sign for us."""
    # 1. it is certificates, the intermediate first   3. it is a CA, and may sign certificates
    # 2. it is for the key in Vault                   4. each is signed by the next, up to a root
    try:
        text = path.read_text(encoding="ascii")
        chain = x509.load_pem_x509_certificates(text.encode())  # 1
    except (OSError, ValueError) as error:
        raise VaultError(f"{path}: cannot be read as certificates in PEM") from error
    ours = x509.load_pem_x509_csr(request.encode()).public_key()
    if chain[0].public_key() != ours:  # 2
        raise VaultError(f"{path}: it is for another key than the one in Vault")
    try:
        constraints = chain[0].extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = chain[0].extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise VaultError(f"{path}: it does not say that it is a CA") from error
    if not constraints.ca or not usage.key_cert_sign or not usage.crl_sign:  # 3
        raise VaultError(f"{path}: it is no CA that may sign certificates and revocation lists")
    for one, above in zip(chain, [*chain[1:], chain[-1]], strict=True):  # 4
        try:
            one.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise VaultError(
                f"{path}: {one.subject.rfc4514_string()} is not signed by the next; expected the"
                " whole chain, the root last"
            ) from error
    return text


def _there(door: Door, mount: str) -> Found:
    pem = authority_pem(door, mount)
    if pem is None:
        return Found(state=State.MAKE)
    certificate = x509.load_pem_x509_certificate(pem.encode())
    until = f"until {certificate.not_valid_after_utc:%Y-%m-%d}"
    key = certificate.public_key()
    strong = isinstance(key, ec.EllipticCurvePublicKey)
    return Found(state=State.EXISTS, why=until if strong else f"{until}; its key is no EC key")


def _csr(door: Door, mount: str) -> str:
    """The request, for a key that is made once and found again."""
    if _has_key(door, mount):
        body = {"common_name": NAME, "key_ref": KEY}
        return str(door.write(f"{mount}/intermediate/generate/existing", body)["csr"])
    new = {**_EC, "common_name": NAME, "key_name": KEY}
    made = door.write(f"{mount}/intermediate/generate/internal", new)
    # From here on a restart finds the key by its name, and asks for the request again.
    return str(made["csr"])


def _has_key(door: Door, mount: str) -> bool:
    if f"{mount}/" not in (door.read("sys/mounts") or {}):
        return False
    keys = door.list(f"{mount}/keys")
    return any((door.read(f"{mount}/key/{one}") or {}).get("key_name") == KEY for one in keys)


def _take(door: Door, mount: str, chain: str) -> None:
    """Give Vault the chain, and have it sign with the one of its certificates that has our key."""
    answer = door.write(f"{mount}/intermediate/set-signed", {"certificate": chain})
    mapping = answer.get("mapping") or {}
    with_key = [issuer for issuer, key in mapping.items() if key]
    if len(with_key) != 1:
        raise VaultError(f"{mount}: Vault has no key for what was signed")
    # From here on Vault has the certificate; a crash before the next line leaves it the default,
    # as it is the only one with a key.
    door.write(f"{mount}/config/issuers", {"default": with_key[0]})
