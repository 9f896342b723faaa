"""The steps between a wish and a signed draft: new roots, drafts, signatures, and how far it is.

Every step shows what it would change, read from the files themselves. Nothing here puts anything
in force; that is `in_force.publish`, and only with enough signatures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance import tuf_client, tuf_repository
from appliance.envelope import key_id, load_public_key
from appliance.errors import TrustError
from appliance.publishing import content
from appliance.publishing.changes import changes, root_changes
from appliance.publishing.folder import Folder
from appliance.trust_files import KEYS, PEOPLE, POLICY
from appliance.tuf_repository import Keepers, PublicKey, Signatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Who is to hold what; None: as it is."""

    roots: Sequence[Path] | None
    signers: Sequence[Path] | None
    online: Path | None
    root_threshold: int | None
    threshold: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be in force; None: as it is."""

    policy: Path | None = None
    policy_key: Path | None = None
    sequence: int | None = None
    people: Path | None = None
    order_keys: Sequence[Path] | None = None
    audit_vkeys: Sequence[Path] | None = None
    witness_vkeys: Sequence[Path] | None = None
    witness_quorum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What one key may sign now, and what that changes."""

    root: bytes | None
    targets: bytes | None
    lines: list[str]


def init(folder: Folder, wishes: Wishes, *, days: int, now: datetime) -> list[str]:
    """A new repository with a root that its keepers have to sign."""
    if not (wishes.roots and wishes.signers and wishes.online):
        raise TrustError("a new root needs root keys, signers and the online key")
    keepers = Keepers(
        roots=[_public(path) for path in wishes.roots],
        signers=[_public(path) for path in wishes.signers],
        online=_public(wishes.online),
        root_threshold=wishes.root_threshold or 2,
        threshold=wishes.threshold or 2,
    )
    made = tuf_repository.root(keepers, version=1, expires=_until(now, days))
    folder.make()
    folder.draft_root(made)
    return root_changes(None, made)


def rotate(folder: Folder, wishes: Wishes, *, days: int, now: datetime) -> list[str]:
    """The next root, as a draft: the keepers of this one and of the next have to sign it."""
    current = folder.root()
    keepers = _keepers_of(current)
    if wishes.roots:
        keepers = replace(keepers, roots=[_public(path) for path in wishes.roots])
    if wishes.signers:
        keepers = replace(keepers, signers=[_public(path) for path in wishes.signers])
    if wishes.online:
        keepers = replace(keepers, online=_public(wishes.online))
    keepers = replace(
        keepers,
        root_threshold=wishes.root_threshold or keepers.root_threshold,
        threshold=wishes.threshold or keepers.threshold,
    )
    version = tuf_repository.version_of(current) + 1
    made = tuf_repository.root(keepers, version=version, expires=_until(now, days))
    folder.draft_root(made)
    return root_changes(current, made)


def draft(folder: Folder, wanted: Wanted, *, days: int, now: datetime) -> list[str]:
    """Propose what is to be in force; what is not named stays. A draft before it is replaced."""
    folder.roots()
    before = folder.in_force()
    files = {
        POLICY: _policy(before.get(POLICY), wanted),
        PEOPLE: content.people(wanted.people) if wanted.people else _as_it_is(before, PEOPLE),
        KEYS: content.keys(
            before.get(KEYS),
            order_keys=wanted.order_keys,
            audit_vkeys=wanted.audit_vkeys,
            witness_vkeys=wanted.witness_vkeys,
            witness_quorum=wanted.witness_quorum,
        ),
    }
    version = tuf_repository.version_of(before["targets.json"]) + 1 if before else 1
    listed = tuf_repository.targets(files, version=version, expires=_until(now, days))
    folder.write_draft({**files, "targets.json": listed})
    return changes(before, {**files, "targets.json": listed})


def pending(folder: Folder, key: Ed25519PublicKey) -> Pending:
    """What waits for this very key; raises `TrustError` when nothing does."""
    lines: list[str] = []
    new = folder.root_draft()
    before = _root_before(folder, new) if new else None
    if new is not None and not _may_sign_root(new, before, key):
        new = None
    if new is not None:
        lines += root_changes(before, new)
    listed = None
    drafted = {} if new is not None and before is None else folder.draft()
    if drafted and tuf_repository.may_sign(tuf_repository.read_root(folder.root()), "targets", key):
        listed = drafted["targets.json"]
        lines += changes(folder.in_force(), drafted)
    if new is None and listed is None:
        raise TrustError(f"nothing waits for the key {key_id(key)[:16]}…")
    return Pending(root=new, targets=listed, lines=lines)


def sign(folder: Folder, what: Pending, key: Ed25519PrivateKey) -> list[str]:
    """Add this key's signature to what was shown; a root with enough of them is complete."""
    lines = []
    if what.root is not None:
        before = _root_before(folder, what.root)
        signed = tuf_repository.sign(what.root, key)
        missing = _missing_of_root(signed, before)
        if missing:
            folder.draft_root(signed)
            lines += [f"the root is signed; {one}" for one in missing]
        else:
            folder.complete_root(signed)
            lines.append(f"root {tuf_repository.version_of(signed)} is complete")
    if what.targets is not None:
        signed = tuf_repository.sign(what.targets, key)
        folder.signed_draft(signed)
        root = tuf_repository.read_root(folder.root())
        lines.append(_said(tuf_repository.signatures(signed, "targets", root), "the draft"))
    return lines


def show(folder: Folder, *, now: datetime) -> list[str]:
    """Versions, keepers, until when, and what is missing."""
    lines = []
    new = folder.root_draft()
    before = _root_before(folder, new) if new else None
    if new is None or before is not None:
        lines += _in_force(folder, now=now)
    if new is not None:
        lines.append(f"draft of root {tuf_repository.version_of(new)}:")
        lines += [f"  {line}" for line in root_changes(before, new)]
        lines += [f"  {one}" for one in _missing_of_root(new, before)]
    drafted = folder.draft()
    if drafted and (new is None or before is not None):
        root = tuf_repository.read_root(folder.root())
        lines.append("draft:")
        lines += [f"  {line}" for line in changes(folder.in_force(), drafted)]
        listed = drafted["targets.json"]
        lines.append("  " + _said(tuf_repository.signatures(listed, "targets", root), "it"))
    return lines


def _in_force(folder: Folder, *, now: datetime) -> list[str]:
    root = tuf_repository.read_root(folder.root())
    lines = [f"root       {root.version}, {_good(root.expires, now)}"]
    for role, what in (("root", "root keys"), ("targets", "signers"), ("timestamp", "online")):
        one = root.roles[role]
        names = ", ".join(
            f"{tuf_client.name_of(root, key)} {key[:16]}…" for key in sorted(one.keyids)
        )
        lines.append(f"{what:<10} {one.threshold} of {names}")
    files = folder.in_force()
    if not files:
        return [*lines, "targets    nothing was published yet"]
    listed = tuf_repository.read_targets(files["targets.json"])
    signed = tuf_repository.signatures(files["targets.json"], "targets", root)
    lines.append(
        f"targets    {listed.version}, {_good(listed.expires, now)},"
        f" signed by {', '.join(signed.signed)}"
    )
    return lines


def _good(until: datetime, now: datetime) -> str:
    days = (until - now).days
    return f"good until {until:%Y-%m-%d} ({days} days)" if days >= 0 else f"ended {until:%Y-%m-%d}"


def _said(signatures: Signatures, what: str) -> str:
    by = f"signed by {', '.join(signatures.signed) or 'nobody'}"
    if signatures.complete:
        return f"{what} is {by}: it can be published"
    more = signatures.needed - len(signatures.signed)
    return f"{what} is {by}: {more} more of {', '.join(signatures.unsigned)}"


def _missing_of_root(data: bytes, before: bytes | None) -> list[str]:
    new = tuf_repository.read_root(data)
    checks = [("its own root keys", tuf_repository.signatures(data, "root", new))]
    if before is not None:
        old = tuf_repository.read_root(before)
        checks.append(("the present root keys", tuf_repository.signatures(data, "root", old)))
    return [
        f"{one.needed - len(one.signed)} more of {what}: {', '.join(one.unsigned)}"
        for what, one in checks
        if not one.complete
    ]


def _may_sign_root(new: bytes, before: bytes | None, key: Ed25519PublicKey) -> bool:
    roots = [new] if before is None else [new, before]
    return any(tuf_repository.may_sign(tuf_repository.read_root(one), "root", key) for one in roots)


def _root_before(folder: Folder, new: bytes) -> bytes | None:
    return None if tuf_repository.version_of(new) == 1 else folder.root()


def _policy(before: bytes | None, wanted: Wanted) -> bytes:
    if wanted.policy is None:
        return _as_it_is({POLICY: before} if before else {}, POLICY)
    return content.policy(
        wanted.policy, key=wanted.policy_key, before=before, sequence=wanted.sequence
    )


def _as_it_is(before: dict[str, bytes], name: str) -> bytes:
    if name not in before:
        option = "--" + name.removesuffix(".json")
        raise TrustError(f"a first draft needs {option}")
    return before[name]


def _keepers_of(data: bytes) -> Keepers:
    root = tuf_repository.read_root(data)
    return Keepers(
        roots=tuf_repository.keys_of(root, "root"),
        signers=tuf_repository.keys_of(root, "targets"),
        online=tuf_repository.keys_of(root, "timestamp")[0],
        root_threshold=root.roles["root"].threshold,
        threshold=root.roles["targets"].threshold,
    )


def _public(path: Path) -> PublicKey:
    return PublicKey(name=path.stem, key=load_public_key(path))


def _until(now: datetime, days: int) -> datetime:
    return (now + timedelta(days=days)).replace(microsecond=0)
