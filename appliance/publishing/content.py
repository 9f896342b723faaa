"""What is to be in force, from the files that people write: rules, people.toml, keys.

Each becomes a target in its one form, checked as strictly as hub and nodes will read it; a broken
one stops here with the file and the line.
"""

import base64
import binascii
import hashlib
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from appliance import records
from appliance.envelope import load_public_key, public_pem
from appliance.errors import RefusedError, TrustError
from appliance.people import Credential, KeyCredential, Keys, People, Person
from audit.cosignature import parse_witness
from audit.counting import parse_keys
from policy import signed
from policy.bundle import files_digest, read_folder
from policy.errors import PolicyError
from policy.signed import SignedPolicy, open_signed, open_vouched


def policy(
    path: Path, *, key: Path | None, before: bytes | None, sequence: int | None = None
) -> bytes:
    """The target `policy.json` of a folder of rules or of a signed policy file.

    Rules that are those in force stay as they are; others get the next sequence.
    """
    earlier = open_vouched(before) if before else None
    if path.is_dir():
        files, wanted = read_folder(path), None
    else:
        opened = _opened(path, key)
        files, wanted = dict(opened.files), opened.sequence
    if earlier and files_digest(earlier.files) == files_digest(files) and sequence is None:
        return before or b""
    following = earlier.sequence + 1 if earlier else 1
    made = signed.payload(files, sequence=sequence or wanted or following)
    open_vouched(made, before=earlier.in_force if earlier else None)
    return made


def people(path: Path) -> bytes:
    """The target `people.json` of a people.toml."""
    return records.to_json(read_people(path))


def read_people(path: Path) -> People:
    """people.toml, read strictly; raises `TrustError` with the file and what is wrong."""
    table = _toml(path)
    persons = [_person(one) for one in _list(table.pop("person", []), path, "person")]
    try:
        made = msgspec.convert({**table, "persons": persons}, People)
    except (msgspec.ValidationError, RefusedError) as error:
        raise TrustError(f"{path}: {error}") from error
    _demand_sound(made, path)
    return made


def keys(
    before: bytes | None,
    *,
    order_keys: Sequence[Path] | None,
    audit_vkeys: Sequence[Path] | None,
    witness_vkeys: Sequence[Path] | None,
    witness_quorum: int | None,
) -> bytes:
    """The target `keys.json`: what is named replaces what was of its kind, the rest stays."""
    old = records.from_json(before, Keys) if before else None
    if old is None and not (order_keys and audit_vkeys):
        raise TrustError("a first draft needs --order-key and --audit-vkey")
    made = {
        "order_keys": [_order_key(path) for path in order_keys] if order_keys else None,
        "audit_vkeys": _log_keys(audit_vkeys) if audit_vkeys else None,
        "witness_vkeys": None
        if witness_vkeys is None
        else [_vkey(path, parse_witness) for path in witness_vkeys],
        "witness_quorum": witness_quorum,
    }
    named = {name: value for name, value in made.items() if value is not None}
    data = records.to_json({**(msgspec.to_builtins(old) if old else {}), **named})
    found = records.from_json(data, Keys)
    if found.witness_quorum > len(found.witness_vkeys):
        raise TrustError(
            f"a witness quorum of {found.witness_quorum} needs as many witness keys,"
            f" there are {len(found.witness_vkeys)}"
        )
    return records.to_json(found)


def fingerprint(credential: Credential) -> str:
    """SHA-256 of a credential's public key, as console and people compare it."""
    text = credential.public_key
    padded = text + "=" * (-len(text) % 4)
    try:
        raw = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raw = text.encode()
    return hashlib.sha256(raw).hexdigest()


def _opened(path: Path, key: Path | None) -> SignedPolicy:
    if key is None:
        raise TrustError(f"{path}: a signed policy file needs --policy-key, or name a folder")
    try:
        return open_signed(path.read_bytes(), key=load_public_key(key), name=path.name)
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror}", file=str(path), line=0) from error


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrustError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrustError(f"{path}: not valid TOML: {error}") from error


def _list(value: Any, path: Path, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise TrustError(f"{path}: write [[{name}]], once for each")
    return value


def _person(table: dict[str, Any]) -> dict[str, Any]:
    credentials = table.get("credential", [])
    filled = [_credential(one) for one in credentials if isinstance(one, dict)]
    rest = {name: value for name, value in table.items() if name != "credential"}
    return {**rest, "credentials": filled}


def _credential(table: dict[str, Any]) -> dict[str, Any]:
    """An Ed25519 key is known by its own hash, which nobody has to write."""
    if table.get("kind") == "ed25519" and isinstance(table.get("public_key"), str):
        return {"credential_id": _hash_of_key(table["public_key"]), **table}
    return table


def _hash_of_key(text: str) -> str:
    try:
        return hashlib.sha256(base64.b64decode(text, validate=True)).hexdigest()
    except (binascii.Error, ValueError) as error:
        raise TrustError(f"public_key {text[:60]!r}: expected base64: {error}") from error


def _demand_sound(made: People, path: Path) -> None:
    for person in made.persons:
        for credential in person.credentials:
            _demand_key(person, credential, path)
    if set(made.quorum) != {"low", "high"}:
        raise TrustError(f"{path}: [quorum] needs low and high")


def _demand_key(person: Person, credential: Credential, path: Path) -> None:
    if not isinstance(credential, KeyCredential):
        return
    key_bytes = 32
    if len(base64.b64decode(credential.public_key)) != key_bytes:
        raise TrustError(f"{path}: {person.name}: expected an Ed25519 key of 32 bytes in base64")
    if credential.credential_id != _hash_of_key(credential.public_key):
        raise TrustError(f"{path}: {person.name}: credential_id is not the key's SHA-256")


def _order_key(path: Path) -> str:
    return public_pem(load_public_key(path))


def _log_keys(paths: Sequence[Path]) -> list[str]:
    """The lines of one file or of several, if they are the keys of one log."""
    lines = [line for path in paths for line in _text(path).split("\n")]
    parse_keys("\n".join(lines))
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _vkey(path: Path, parse: Callable[[str], object]) -> str:
    text = _text(path)
    parse(text)
    return text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TrustError(f"{path}: cannot be read: {error}") from error
