"""Whether a set of signed trust may be believed: python-tuf's client workflow over bytes.

No network and no disk: the pinned root, what was believed before, what is offered and the time
arrive as values. The order of the checks and their wording are those of the TUF specification,
section 5; the numbers are ours. Nothing is kept here: who asked keeps the set, or what it had.
"""

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from tuf.api.exceptions import EqualVersionNumberError, RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

# The workflow is python-tuf's own and tested there against the specification, but it is offered
# only together with a downloader and a cache folder. tests/trust fails if a release moves it.
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from appliance import trust_files
from appliance.errors import TrustError
from appliance.trust_files import MOST_ROOTS, ONLINE, TARGETS, Belief, Files, RoleState, unpack


def verify(root: bytes, files: Files, *, kept: Files | None, now: datetime) -> Belief:
    """What is believed of these files; raises `TrustError` with the check that refused.

    `root` is pinned on this machine; `kept` was believed before.
    """
    # 1. nothing unknown, nothing too large      4. snapshot: the same, and no role goes back
    # 2. each root is signed by the one before   5. targets: enough signers, not older, in time
    # 3. timestamp: signed, not older, in time   6. the targets are the files that signers named
    trust_files.demand_bounded(files)  # 1
    have = {name: unpack(name, packed) for name, packed in files.items()}
    had = {name: unpack(name, packed) for name, packed in (kept or {}).items()}
    for name in (*ONLINE, *TARGETS):
        if name not in have:
            raise TrustError(f"{name} is missing")
    _demand_same_roots(have, had)  # 2
    trusted = _rooted(root, have)  # 2
    trusted.reference_time = now
    _step("timestamp", trusted.update_timestamp, "timestamp.json", have, had)  # 3
    _step("snapshot", trusted.update_snapshot, "snapshot.json", have, had, trusted=True)  # 4
    _step("targets", trusted.update_targets, "targets.json", have, {})  # 5
    _demand_not_older(trusted, have["targets.json"], had.get("targets.json"))  # 5
    for name in TARGETS:  # 6
        demand_target(trusted.targets, name, have[name])
    return Belief(roles={name: _state(trusted, name, have) for name in trust_files.ROLES})


def root_of(data: bytes) -> Root:
    """A root that signs itself; raises `TrustError`. It proves nothing about who made it."""
    try:
        return TrustedMetadataSet(data, EnvelopeType.METADATA).root
    except RepositoryError as error:
        raise TrustError(f"root: {error}") from error


def follow(first: bytes, roots: Mapping[int, bytes]) -> Root:
    """The last of these roots, each signed by the one before and by itself."""
    return _rooted(
        first, {trust_files.root_name(version): roots[version] for version in roots}
    ).root


def _demand_same_roots(have: dict[str, bytes], had: dict[str, bytes]) -> None:
    for name, believed in had.items():
        if trust_files.root_version(name) is not None and have.get(name) != believed:
            raise TrustError(f"{name}: another root than the one that was believed")


def _rooted(pinned: bytes, have: dict[str, bytes]) -> TrustedMetadataSet:
    try:
        trusted = TrustedMetadataSet(pinned, EnvelopeType.METADATA)
    except RepositoryError as error:
        raise TrustError(f"the pinned root cannot be used: {error}") from error
    for _ in range(MOST_ROOTS):
        following = have.get(trust_files.root_name(trusted.root.version + 1))
        if following is None:
            break
        try:
            trusted.update_root(following)
        except RepositoryError as error:
            raise TrustError(f"root: {error}") from error
    for role, one in trusted.root.roles.items():
        keys = [trusted.root.keys[key].keyval.get("public") for key in one.keyids]
        if len(set(keys)) != len(keys):  # else one person could sign twice
            raise TrustError(f"root: one key stands twice in the role {role}")
    return trusted


def _step(
    role: str,
    update: Callable[..., Any],
    name: str,
    have: dict[str, bytes],
    had: dict[str, bytes],
    **as_kept: bool,
) -> None:
    """Load what was believed, so that nothing older passes, then what is offered.

    What was believed may have expired, or be of keys that a newer root no longer names: then it
    protects nothing, which is how a site recovers from an online key that ran ahead.
    """
    if name in had:
        with contextlib.suppress(RepositoryError):
            update(had[name], **as_kept)
    try:
        update(have[name])
    except EqualVersionNumberError as error:
        if have[name] != had.get(name):
            raise TrustError(f"{role}: two files of the same version") from error
    except RepositoryError as error:
        raise TrustError(f"{role}: {error}") from error
    _demand_one_of_a_version(role, name, have, had)


def _demand_one_of_a_version(
    role: str, name: str, have: dict[str, bytes], had: dict[str, bytes]
) -> None:
    if name in had and had[name] != have[name]:
        before, now = _version(had[name]), _version(have[name])
        if before == now:
            raise TrustError(f"{role}: two files of the same version {now}")


def _version(data: bytes) -> int:
    return int(Metadata[Any].from_bytes(data).signed.version)


def _demand_not_older(trusted: TrustedMetadataSet, new: bytes, old: bytes | None) -> None:
    """The snapshot's word is an online key's; what signers said is compared by itself as well."""
    if old is None or old == new:
        return
    before = Metadata[Targets].from_bytes(old)
    held = trusted.root.get_verification_result("targets", before.signed_bytes, before.signatures)
    if not held:
        return  # its signers were replaced by a newer root
    if trusted.targets.version < before.signed.version:
        raise TrustError(
            f"targets: version {trusted.targets.version} is older than {before.signed.version}"
        )
    if trusted.targets.version == before.signed.version:
        raise TrustError(f"targets: two files of the same version {before.signed.version}")


def demand_target(targets: Targets, name: str, data: bytes) -> None:
    """Raise `TrustError` unless these targets name exactly this file."""
    if name not in targets.targets:
        raise TrustError(f"targets: signers did not name {name}")
    try:
        targets.targets[name].verify_length_and_hashes(data)
    except RepositoryError as error:
        raise TrustError(f"{name} is not the file that signers named: {error}") from error


def _state(trusted: TrustedMetadataSet, role: str, have: dict[str, bytes]) -> RoleState:
    signed = trusted[role]
    one = trusted.root.roles[role]
    name = trust_files.root_name(signed.version) if role == "root" else f"{role}.json"
    return RoleState(
        version=signed.version,
        expires=signed.expires,
        threshold=one.threshold,
        keys={key: name_of(trusted.root, key) for key in one.keyids},
        signed_by=tuple(_signers(trusted.root, role, have[name])) if name in have else (),
    )


def _signers(root: Root, role: str, data: bytes) -> list[str]:
    whole = Metadata[Any].from_bytes(data)
    result = root.get_verification_result(role, whole.signed_bytes, whole.signatures)
    return sorted(result.signed)


def name_of(root: Root, key: str) -> str:
    """The name that a key's keeper gave it, or nothing."""
    said = root.keys[key].unrecognized_fields.get("x-sentinel-name", "")
    return said if isinstance(said, str) else ""
