"""What a draft would change, in words for the people who sign it.

Both sides are read from the files that are signed, never from what somebody says about them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from appliance import records, tuf_client, tuf_repository
from appliance.people import Keys, People, Person
from appliance.publishing.content import fingerprint
from appliance.trust_files import KEYS, PEOPLE, POLICY
from policy.bundle import files_digest
from policy.signed import open_vouched

_SHORT = 16  # characters of a digest, in lines that show both sides


def changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """One line for each thing that would be other than it is; the first word says what kind."""
    listed = tuf_repository.read_targets(after["targets.json"])
    old = tuf_repository.version_of(before["targets.json"]) if before else 0
    lines = [f"version    {old or 'none'} → {listed.version}, good until {listed.expires:%Y-%m-%d}"]
    lines += _policy(before.get(POLICY), after[POLICY])
    lines += _people(_record(before, PEOPLE, People), _record(after, PEOPLE, People))
    lines += _keys(_record(before, KEYS, Keys), _record(after, KEYS, Keys))
    if len(lines) == 1:
        lines.append("nothing    policy, people and keys stay as they are")
    return lines


def root_changes(before: bytes | None, after: bytes) -> list[str]:
    """The same of a root: keys by role, thresholds, and until when."""
    new = tuf_repository.read_root(after)
    old = tuf_repository.read_root(before) if before else None
    version = old.version if old else "none"
    lines = [f"root       {version} → {new.version}, good until {new.expires:%Y-%m-%d}"]
    for role in ("root", "targets", "timestamp"):
        had = set(old.roles[role].keyids) if old else set()
        has = set(new.roles[role].keyids)
        lines += [_key("+", role, new, key) for key in sorted(has - had)]
        lines += [_key("-", role, old, key) for key in sorted(had - has)]
        threshold = new.roles[role].threshold
        if old is None or old.roles[role].threshold != threshold:
            lines.append(f"threshold  {_ROLES[role]}: {threshold} of {len(has)}")
    return lines


_ROLES = {"root": "root key", "targets": "policy signer", "timestamp": "online key"}


def _key(sign: str, role: str, root: Any, key: str) -> str:
    return f"{sign} {_ROLES[role]:<14} {tuf_client.name_of(root, key)} {key}"


def _policy(before: bytes | None, after: bytes) -> Iterator[str]:
    old = open_vouched(before) if before else None
    new = open_vouched(after)
    digest = files_digest(new.files)
    if old is None:
        yield f"policy     sequence {new.sequence}, {len(new.files)} files, {digest}"
        return
    if old.in_force == new.in_force:
        return
    was = files_digest(old.files)[:_SHORT]
    yield f"policy     sequence {old.sequence} ({was}…) → {new.sequence} ({digest})"
    for name in sorted({*old.files, *new.files}):
        match old.files.get(name), new.files.get(name):
            case None, _:
                yield f"+ rules    {name}"
            case _, None:
                yield f"- rules    {name}"
            case a, b if a != b:
                yield f"~ rules    {name}"


def _people(old: People | None, new: People) -> Iterator[str]:
    had = {one.name: one for one in old.persons} if old else {}
    has = {one.name: one for one in new.persons}
    for name in sorted({*had, *has}):
        yield from _person(had.get(name), has.get(name))
    for field in ("quorum", "rp_id", "origins", "password_only"):
        was, now = getattr(old, field) if old else None, getattr(new, field)
        if was != now:
            yield f"~ people   {field}: {_plain(was)} → {_plain(now)}"
    if new.password_only:
        yield "! people   password_only: a password alone can approve; nobody signs with a key"


def _person(old: Person | None, new: Person | None) -> Iterator[str]:
    had = {fingerprint(one): one for one in old.credentials} if old else {}
    has = {fingerprint(one): one for one in new.credentials} if new else {}
    match old, new:
        case None, Person():
            yield f"+ person   {new.name}, {new.role}"
        case Person(), None:
            yield f"- person   {old.name}, {old.role}"
        case Person(), Person() if old.role != new.role:
            yield f"~ person   {new.name}: {old.role} → {new.role}"
    name = new.name if new else old.name if old else ""
    for mark, ours, theirs in (("+", has, had), ("-", had, has)):
        for print_ in sorted({*ours} - {*theirs}):
            one = ours[print_]
            kind = one.__struct_config__.tag
            yield f"{mark} key      {name}: {kind} {one.label or 'without a label'}, {print_}"


def _keys(old: Keys | None, new: Keys) -> Iterator[str]:
    for what, field in (
        ("order key", "order_keys"),
        ("log key", "audit_vkeys"),
        ("witness", "witness_vkeys"),
    ):
        had = set(getattr(old, field)) if old else set()
        has = set(getattr(new, field))
        for mark, some in (("+", has - had), ("-", had - has)):
            for text in sorted(some):
                yield f"{mark} {what:<10}{_one_line(text)}"
    if old is None or old.witness_quorum != new.witness_quorum:
        yield f"~ witness  quorum: {old.witness_quorum if old else 'none'} → {new.witness_quorum}"


def _record(files: Mapping[str, bytes], name: str, kind: type[Any]) -> Any:
    return records.from_json(files[name], kind) if name in files else None


def _plain(value: Any) -> str:
    match value:
        case None:
            return "none"
        case dict():
            return ", ".join(f"{name} {count}" for name, count in sorted(value.items()))
        case tuple():
            return ", ".join(value) or "none"
        case _:
            return str(value)


def _one_line(text: str) -> str:
    return " ".join(line for line in text.split("\n") if line and not line.startswith("-----"))
