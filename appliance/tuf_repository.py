"""Make signed trust: roots, targets, and the online roles, as bytes in and bytes out.

Offline keys sign roots (`root`) and what is in force (`targets`); the hub's online key signs
`snapshot` and `timestamp`, which say only which of the signed sets is the newest. Nothing here
decides whether a set is to be believed: everybody, the maker too, asks `appliance.tuf_client`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from appliance.envelope import key_id
from appliance.errors import TrustError
from appliance.tuf_client import name_of

ONLINE_VALID = timedelta(days=7)  # the hub signs anew long before; a cut-off node trusts so long
_HASHES = ["sha256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """Somebody's public key, and the name under which signers know it."""

    name: str
    key: Ed25519PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepers:
    """Who holds which role, and how many of them it takes."""

    roots: Sequence[PublicKey]
    signers: Sequence[PublicKey]
    online: PublicKey
    root_threshold: int = 2
    threshold: int = 2

    def demand_sound(self) -> None:
        """Raise `TrustError` when the thresholds cannot be reached or one key is in two places."""
        for what, keys, least in (
            ("root keys", self.roots, self.root_threshold),
            ("policy signers", self.signers, self.threshold),
        ):
            if not 1 <= least <= len(keys):
                raise TrustError(f"{least} of {len(keys)} {what} cannot be reached")
        everybody = [key_id(one.key) for one in (*self.roots, *self.signers, self.online)]
        if len(set(everybody)) != len(everybody):
            raise TrustError("one key stands twice: root keys, signers and the online key differ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatures:
    """How far a file is signed: names, not keys."""

    needed: int
    signed: tuple[str, ...]
    unsigned: tuple[str, ...]  # who could still sign

    @property
    def complete(self) -> bool:
        """Whether it is signed by as many as it needs."""
        return len(self.signed) >= self.needed


def root(keepers: Keepers, *, version: int, expires: datetime) -> bytes:
    """A root that nobody has signed yet."""
    keepers.demand_sound()
    keys: dict[str, Any] = {}
    for one in (*keepers.roots, *keepers.signers, keepers.online):
        keys[key_id(one.key)] = _key(one)
    online = [key_id(keepers.online.key)]
    made = Root(
        version=version,
        expires=expires,
        keys=keys,
        roles={
            "root": Role([key_id(one.key) for one in keepers.roots], keepers.root_threshold),
            "targets": Role([key_id(one.key) for one in keepers.signers], keepers.threshold),
            "snapshot": Role(online, 1),
            "timestamp": Role(online, 1),
        },
        consistent_snapshot=True,
    )
    return Metadata(made).to_bytes()


def targets(files: Mapping[str, bytes], *, version: int, expires: datetime) -> bytes:
    """The list of what is to be in force, that nobody has signed yet."""
    named = {name: TargetFile.from_data(name, data, _HASHES) for name, data in files.items()}
    return Metadata(Targets(version=version, expires=expires, targets=named)).to_bytes()


def online(
    signed_targets: bytes,
    *,
    snapshot_version: int,
    timestamp_version: int,
    key: Ed25519PrivateKey,
    now: datetime,
) -> tuple[bytes, bytes]:
    """Snapshot and timestamp that point at these targets, by the online key."""
    signer, expires = _signer(key), _whole(now + ONLINE_VALID)
    version = read_targets(signed_targets).version
    meta = {"targets.json": _meta(version, signed_targets)}
    snapshot = Metadata(Snapshot(version=snapshot_version, expires=expires, meta=meta))
    snapshot.sign(signer)
    packed = snapshot.to_bytes()
    about = _meta(snapshot_version, packed)
    stamp = Metadata(Timestamp(version=timestamp_version, expires=expires, snapshot_meta=about))
    stamp.sign(signer)
    return packed, stamp.to_bytes()


def sign(data: bytes, key: Ed25519PrivateKey) -> bytes:
    """The same file with one more signature."""
    whole = _read(data)
    whole.sign(_signer(key), append=True)
    return whole.to_bytes()


def signatures(data: bytes, role: str, by: Root) -> Signatures:
    """Who has signed a file, of those whom this root names for the role."""
    whole = _read(data)
    result = by.get_verification_result(role, whole.signed_bytes, whole.signatures)
    return Signatures(
        needed=result.threshold,
        signed=tuple(sorted(name_of(by, key) or key[:16] for key in result.signed)),
        unsigned=tuple(sorted(name_of(by, key) or key[:16] for key in result.unsigned)),
    )


def may_sign(by: Root, role: str, key: Ed25519PublicKey) -> bool:
    """Whether this root names the key for the role."""
    return key_id(key) in by.roles[role].keyids


def read_root(data: bytes) -> Root:
    """A root, signed or not."""
    signed = _read(data).signed
    if not isinstance(signed, Root):
        raise TrustError(f"expected a root, got {signed.type}")
    return signed


def read_targets(data: bytes) -> Targets:
    """A list of targets, signed or not."""
    signed = _read(data).signed
    if not isinstance(signed, Targets):
        raise TrustError(f"expected targets, got {signed.type}")
    return signed


def keys_of(by: Root, role: str) -> list[PublicKey]:
    """The keys that a root names for a role."""
    found = []
    for one in by.roles[role].keyids:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(by.keys[one].keyval["public"]))
        found.append(PublicKey(name=name_of(by, one), key=public))
    return found


def version_of(data: bytes) -> int:
    """The version of any of the files."""
    return int(_read(data).signed.version)


def expiry_of(data: bytes) -> datetime:
    """Until when any of the files is good."""
    expires: datetime = _read(data).signed.expires
    return expires


def _read(data: bytes) -> Metadata[Any]:
    try:
        return Metadata[Any].from_bytes(data)
    except RepositoryError as error:
        raise TrustError(f"not a metadata file: {error}") from error


def _key(one: PublicKey) -> SSlibKey:
    made = SSlibKey.from_crypto(one.key, keyid=key_id(one.key))
    made.unrecognized_fields["x-sentinel-name"] = one.name
    return made


def _signer(key: Ed25519PrivateKey) -> CryptoSigner:
    public = SSlibKey.from_crypto(key.public_key(), keyid=key_id(key.public_key()))
    return CryptoSigner(key, public)


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile.from_data(version, data, _HASHES)


def _whole(moment: datetime) -> datetime:
    """TUF writes whole seconds."""
    return moment.replace(microsecond=0)
