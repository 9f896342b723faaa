"""One entry of the log: its fields, its one canonical line, its leaf hash.

A line is the entry's canonical JSON without the newline: sorted keys, no spaces, no floats, at
most 60,000 bytes. Twelve keys, all always there, null where nothing is known. Where an entry
stands in the log is the business of `chain`, what its body holds that of `schemas/TYPE.json`.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
import orjson

from appliance import canonical
from appliance.errors import CanonicalError
from audit.errors import EntryError

MAX_LINE_BYTES = 60_000  # one entry fits one 64 KiB tile bundle of C2SP tlog-tiles
BLOB_PREFIX = b"sentinel-blob/v1\0"
SALT_BYTES = 32
LEAF_PREFIX = b"\x00"  # RFC 6962, section 2.1: no leaf can be passed off as a node

TYPES = frozenset(
    [
        "log.open",
        "log.resume",
        "log.recovery",
        "log.fork",
        "key.rotate",
        "key.epochs",
        "time.status",
        "auth.login",
        "auth.logout",
        "auth.fail",
        "config.change",
        "credential.request",
        "credential.approve",
        "credential.revoke",
        "policy.change",
        "model.load",
        "node.enroll",
        "node.revoke",
        "node.connect",
        "node.disconnect",
        "node.drop",
        "node.key",
        "node.halt",
        "node.resume",
        "incident.open",
        "incident.state",
        "incident.recover",
        "incident.close",
        "plan.proposed",
        "plan.verdict",
        "approval.grant",
        "approval.deny",
        "approval.expire",
        "exec.order",
        "exec.result",
        "exec.refuse",
        "exec.rollback",
        "exec.gap",
        "manual.step",
        "witness.refuse",
        "witness.key",
        "witness.clear",
        "export.create",
        "redaction",
        "retention.prune",
    ]
)
"""The types with a schema. A reader meets others in the log of a newer version and says so."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Count = Annotated[int, msgspec.Meta(ge=0, le=canonical.MAX_INTEGER)]

_FORMS = {
    "log": r"[A-Za-z0-9][A-Za-z0-9._~/:-]{0,254}",
    "prev": r"[0-9a-f]{64}",
    "id": r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "type": r"redaction|[a-z]+(?:\.[a-z_]+)+",
    "ts": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z",
    "incident": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}
_ID_AND_TS = re.compile(f"{_FORMS['id']}\n{_FORMS['ts']}")
_EACH_OF_MANY = re.compile(rf"(?:{_FORMS['id']}\n{_FORMS['ts']}\n)*")
_HEX_CHARS = 64
_TS = re.compile(_FORMS["ts"])
_KEY = re.compile(r"[a-z][a-z0-9_]*|_sd")
_MAX_SEEN = 4096
_LONG_KEY, _MOST_KEYS = 64, 16  # what is longer is checked again, so that no log fills the memory
_KEYS_SEEN: set[str] = set()  # keys already matched; a million entries share a few dozen
_PLAIN = frozenset([str, bool, type(None)])
_SHAPES_SEEN: set[tuple[Any, ...]] = set()  # the keys of bodies of plain values, and their types
_DAYS_SEEN: set[str] = set()
_SHARED_SEEN: set[tuple[str, str, str | None]] = set()  # log, type, incident


class Actor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who did it. The fields stand in the order of their names, as in the line."""

    id: Name  # the sign-in name, the certificate name, the part's name
    kind: Name  # operator, node, hub, reasoner, notary
    node: Name | None  # the host it happened on
    session: Name | None  # of the console, never the token itself


class EntryDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants recorded; the writer adds its place in the log."""

    id: str  # UUIDv7; writing the same id twice is writing it once
    at: datetime  # aware; becomes `ts`
    type: str
    actor: Actor
    body: dict[str, Any]
    incident: str | None = None  # UUID
    outcome: str | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry as it stands in the log. The fields stand in the order of their names, as there."""

    actor: Actor
    body: dict[str, Any]
    id: str
    inc_seq: Count | None  # from 0, dense within the incident; null without one
    incident: str | None
    log: Name  # the log's origin, so that a line says which log it belongs to
    outcome: Name | None
    prev: str  # hex leaf hash of the entry before; 64 zeros for the first
    seq: Count  # from 0, dense
    ts: str  # YYYY-MM-DDTHH:MM:SS.ffffffZ
    type: str
    v: Literal[1]


_DECODER = msgspec.json.Decoder(Entry)
# Fields as declared, which is sorted, and the keys of a body sorted: half the time of "sorted".
_ENCODER = msgspec.json.Encoder(order="deterministic")


def encode(entry: Entry) -> bytes:
    """The canonical line, without newline. Raises `EntryError` when there is none."""
    return encode_and_read(entry)[0]


def encode_and_read(entry: Entry) -> tuple[bytes, Entry]:
    """The canonical line and the entry as it reads back. Raises `EntryError`.

    Reading back is the check, and a second encoder has to agree on the bytes: what the writer lets
    through, every reader accepts.
    """
    try:
        line = _ENCODER.encode(entry)
        read = decode(line)
        if read != entry:  # not always wrong: a tuple reads back as a list
            canonical.encode(entry.body)
        again = orjson.dumps(orjson.loads(line), option=orjson.OPT_SORT_KEYS)
    except (CanonicalError, EntryError, TypeError, ValueError, RecursionError) as error:
        raise EntryError(f"entry {entry.id}: {error}") from error
    if again != line:
        raise EntryError(f"entry {entry.id}: two encoders disagree on its bytes")
    return line, read


def decode(line: bytes) -> Entry:
    """The entry of one stored line. Raises `EntryError` for anything but canonical bytes."""
    # 1. it is short enough                     4. it has no U+007F, which encoders disagree on
    # 2. it is JSON with exactly our fields     5. its body has canonical keys and numbers
    # 3. it encodes to the same bytes: sorted,  6. its identifiers and time have their one form
    #    no spaces, no needless escapes, and
    #    no key twice
    if len(line) > MAX_LINE_BYTES:  # 1
        raise EntryError(f"line of {len(line)} bytes, at most {MAX_LINE_BYTES}")
    try:
        entry = _DECODER.decode(line)  # 2
        again = _ENCODER.encode(entry)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise EntryError(f"not an entry: {error}") from error
    if again != line:  # 3
        raise EntryError("not in canonical form (order, spaces, escapes or a key twice)")
    if b"\x7f" in line:  # 4
        raise EntryError("contains U+007F")
    _check_value(entry.body, depth=1)  # 5
    _check_forms(entry)  # 6
    return entry


def decode_block(raws: Sequence[bytes]) -> list[Entry] | None:
    """The entries of many lines with their newlines, or None when `decode` has to look at each.

    The same checks as of `decode`, made for all at once: half the time where nothing is wrong.
    """
    data = b"".join(raws)
    if b"\x7f" in data or max(map(len, raws)) > MAX_LINE_BYTES + 1:  # 1 and 4
        return None
    try:
        entries = _DECODER.decode_lines(data)  # 2
        again = _ENCODER.encode_lines(entries)
        if again != data or len(entries) != len(raws):  # 3
            return None
        for entry in entries:  # 5
            body = entry.body
            shape = (*body, *map(type, body.values()))
            if shape not in _SHAPES_SEEN:
                _check_value(body, depth=1)
                few = len(body) <= _MOST_KEYS and _KEYS_SEEN.issuperset(body)
                if few and _PLAIN.issuperset(shape[len(body) :]):
                    _remember(_SHAPES_SEEN, shape)
        _check_forms_of(entries)  # 6
    except (msgspec.DecodeError, EntryError, UnicodeError, RecursionError):
        return None
    return entries


def leaf_hash(line: bytes) -> bytes:
    """SHA-256(0x00 ‖ line), 32 bytes: the leaf of RFC 6962 and the link of the chain."""
    return hashlib.sha256(LEAF_PREFIX + line).digest()


def blob_digest(salt: bytes, data: bytes) -> str:
    """Hex commitment to bytes kept beside the log; the salt keeps short secrets unguessable."""
    if len(salt) != SALT_BYTES:
        raise EntryError(f"expected a salt of {SALT_BYTES} bytes, got {len(salt)}")
    return hashlib.sha256(BLOB_PREFIX + salt + data).hexdigest()


def timestamp(moment: datetime) -> str:
    """The moment in UTC with microseconds and Z. Raises `EntryError` without a time zone."""
    if moment.tzinfo is None:
        raise EntryError(f"expected a time with its zone, got {moment.isoformat()}")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def moment(ts: str) -> datetime:
    """The aware datetime of a `ts`. Raises `EntryError` for any other form."""
    if not _TS.fullmatch(ts):
        raise EntryError(f"ts: expected YYYY-MM-DDTHH:MM:SS.ffffffZ, got {ts!r}")
    return _demand_date(ts)


def _check_forms(entry: Entry) -> None:
    """All at once, because a verifier does this a million times; one by one to say which."""
    prev, shared = entry.prev, (entry.log, entry.type, entry.incident)
    try:
        hashed = len(prev) == _HEX_CHARS and bytes.fromhex(prev).hex() == prev
    except ValueError:
        hashed = False
    if (
        not hashed
        or not _ID_AND_TS.fullmatch(f"{entry.id}\n{entry.ts}")
        or (shared not in _SHARED_SEEN and not _may_share(*shared))
    ):
        for field, form in _FORMS.items():
            value = getattr(entry, field)
            if value is not None and not re.fullmatch(form, value):
                raise EntryError(f"{field}: {value[:80]!r} is not of the form {form}")
    if entry.ts[:10] not in _DAYS_SEEN:
        _demand_date(entry.ts)
        _remember(_DAYS_SEEN, entry.ts[:10])
    if (entry.incident is None) != (entry.inc_seq is None):
        raise EntryError("incident and inc_seq: expected both or neither")


def _check_forms_of(entries: Sequence[Entry]) -> None:
    prevs = [e.prev for e in entries]
    try:
        hashed = bytes.fromhex("".join(prevs)).hex() == "".join(prevs)
    except ValueError:
        hashed = False
    each = "".join([f"{e.id}\n{e.ts}\n" for e in entries])
    if not hashed or {*map(len, prevs)} != {_HEX_CHARS} or not _EACH_OF_MANY.fullmatch(each):
        raise EntryError("prev, id or ts")
    for shared in {(e.log, e.type, e.incident) for e in entries}:
        if shared not in _SHARED_SEEN and not _may_share(*shared):
            raise EntryError("log, type or incident")
    for day in {e.ts[:10] for e in entries}:
        _demand_date(day)
    if any([(e.incident is None) != (e.inc_seq is None) for e in entries]):  # noqa: C419 - quicker
        raise EntryError("incident and inc_seq")


def _may_share(log: str, type_: str, incident: str | None) -> bool:
    values = {"log": log, "type": type_, "incident": incident}
    if any(each is not None and not re.fullmatch(_FORMS[f], each) for f, each in values.items()):
        return False
    _remember(_SHARED_SEEN, (log, type_, incident))
    return True


def _remember(seen: set[Any], value: object) -> None:
    """What was checked once; forgotten all at once, so that no log can fill the memory."""
    if len(seen) >= _MAX_SEEN:
        seen.clear()
    seen.add(value)


def _demand_date(ts: str) -> datetime:
    try:
        return datetime.fromisoformat(ts)
    except ValueError as error:
        raise EntryError(f"ts: {error}") from error


def _check_value(value: Any, *, depth: int) -> None:
    """What msgspec reads but the canonical profile does not have, in an object or array.

    Strings are checked as bytes, all at once.
    """
    if depth >= canonical.MAX_DEPTH and value:
        raise EntryError(f"nested deeper than {canonical.MAX_DEPTH}")
    items = value
    if type(value) is dict:
        items = value.values()
        for key in value:
            if key not in _KEYS_SEEN:
                _check_key(key)
    for item in items:
        kind = type(item)
        if kind is dict or kind is list:
            _check_value(item, depth=depth + 1)
        elif kind is int and not -canonical.MAX_INTEGER <= item <= canonical.MAX_INTEGER:
            raise EntryError(f"integer {item} is outside ±(2^53-1)")
        elif kind is float:
            raise EntryError("a float has no canonical form")


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise EntryError(f"key {key[:80]!r} is not of the form {_KEY.pattern}")
    if len(key) <= _LONG_KEY:
        _remember(_KEYS_SEEN, key)
