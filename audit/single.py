#!/usr/bin/env python3
"""Check an audit log, or what was exported from one, with Python's standard library alone.

    python3 audit_verify.py FOLDER --vkey VKEY [--since CHECKPOINT] [--json]
    python3 audit_verify.py FOLDER --root VKEY [--epochs LIST] ...      of a log whose keys change

It says what `sentinel-audit verify` says; a test compares the two over thousands of damaged logs.
The formats are public: RFC 6962 (tree), RFC 8032 (Ed25519), C2SP signed-note, tlog-checkpoint and
tlog-proof. Read from top to bottom: signatures, notes, entries, the tree, epochs, the walk,
exports, files.

    # 1. a key we trust signed each checkpoint, it is of this log, and sizes never shrink
    # 2. each line is an entry of this log in its one canonical form
    # 3. it stands at its place, and carries the hash of the entry before it
    # 4. its number within its incident follows
    # 5. time does not run backwards by more than a minute (a warning: clocks do)
    # 6. at each checkpoint's size, the root of the lines is the signed root
    # 7. the checkpoint of the last audit is among them
    # 8. the log is as long as its last checkpoint: shorter is cut, longer is not yet signed
    # 9. the nodes' own numbers of their reports have no hole: what a hub left out shows
    # 10. of a log whose keys change: each epoch in its time, none missing, none too many

Exit status: 0 valid, 1 tampered, 2 incomplete or unknown, 3 the command was not understood.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import heapq
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

try:
    import fcntl
except ImportError:  # not a Unix: then no notary has this folder open
    fcntl = None  # type: ignore[assignment]

VALID, INVALID, GAP, MISSING, UNPROVEN = "VALID", "INVALID", "GAP", "MISSING", "UNPROVEN"
TAMPERED, INCOMPLETE = "TAMPERED", "INCOMPLETE"
EXIT = {VALID: 0, TAMPERED: 1, INCOMPLETE: 2}
SEGMENT_ENTRIES = 65_536
MAX_LINE_BYTES = 60_000
MOST_EPOCHS = 1000
MAX_LISTED = 20  # problems and warnings kept word for word; the rest is counted
sha256 = hashlib.sha256


class Refused(Exception):  # noqa: N818 - a refusal is no error of ours
    """Something is not what it says, with the reason in words. `status` is the exit status."""

    def __init__(self, sentence: str, status: int = 1) -> None:
        super().__init__(sentence)
        self.status = status


# ---- Ed25519 (RFC 8032, section 5.1), only checking ---------------------------------------------
#
# A point is (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z. S·B and h·A are sums of 32 table rows,
# one a byte, so that a log with a checkpoint an entry can still be checked.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ORDER_8_Y = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
LOW_ORDER_Y = {0, 1, P - 1, ORDER_8_Y, P - ORDER_8_Y}  # anybody can sign for such a key
Point = tuple[int, int, int, int]


def add(p: Point, q: Point) -> Point:
    """The sum p + q; the formula holds for all points, equal ones too."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


@lru_cache(maxsize=8)
def decompress(key: bytes) -> Point:
    """The point of 32 bytes. Refuses what is not canonical, not on the curve, or of low order."""
    number = int.from_bytes(key, "little")
    y, odd = number & ((1 << 255) - 1), number >> 255
    if y >= P:
        raise Refused("the public key is not in canonical form")
    if y in LOW_ORDER_Y:
        raise Refused("the public key is a point of low order: anybody can sign for it")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square:
        raise Refused("the public key is not a point of the curve")
    x = x if x & 1 == odd else P - x
    return (x, y, 1, x * y % P)


@lru_cache(maxsize=8)
def table(point: Point) -> list[list[Point]]:
    """table[i][n] = n · 256^i · point."""
    rows = []
    for _ in range(32):
        row: list[Point] = [(0, 1, 1, 0)]
        for _ in range(255):
            row.append(add(row[-1], point))
        rows.append(row)
        point = add(row[-1], point)
    return rows


BASE = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this is the key's signature: S·B - h·A encodes to exactly R, and S is below L."""
    if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    x, y, z, t = decompress(key)
    total: Point = (0, 1, 1, 0)
    for point, scalar in ((BASE, signature[32:]), ((P - x, y, z, P - t), h.to_bytes(32, "little"))):
        for row, digit in zip(table(point), scalar):  # noqa: B905 - 3.10 has it
            if digit:
                total = add(total, row[digit])
    inverse = pow(total[2], -1, P)
    x, y = total[0] * inverse % P, total[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


# ---- Notes and checkpoints ----------------------------------------------------------------------

Vkey = tuple[str, bytes]  # name, public key
Checkpoint = tuple[int, bytes]  # size, root


def unbase64(text: str) -> bytes | None:
    """Strict standard base64; None for anything that would not encode to the same text."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def key_hash(vkey: Vkey, kind: bytes = b"\x01") -> bytes:
    """The four bytes that a signature line starts with; kind 4 is a witness."""
    return sha256(vkey[0].encode() + b"\n" + kind + vkey[1]).digest()[:4]


def vkey_text(vkey: Vkey) -> str:
    """NAME+HASH+BASE64(0x01 ‖ public key)."""
    key = base64.b64encode(b"\x01" + vkey[1]).decode()
    return f"{vkey[0]}+{key_hash(vkey).hex()}+{key}"


def is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() or c < "!" for c in name)


def parse_vkey(text: str, kind: bytes = b"\x01") -> Vkey:
    parts = text.strip("\n").split("+", 2)
    if len(parts) != 3 or not is_name(parts[0]):
        raise Refused("a vkey is NAME+HASH+KEY, the name without spaces")
    raw = unbase64(parts[2])
    if raw is None or len(raw) != 33 or raw[:1] != kind:
        raise Refused(f"vkey of {parts[0]}: expected base64 of {kind!r} and 32 bytes")
    vkey = (parts[0], raw[1:])
    if parts[1] != key_hash(vkey, kind).hex():
        raise Refused(f"vkey of {vkey[0]}: {parts[1]!r} is not its hash")
    decompress(vkey[1])
    return vkey


class Policy:
    """Keys of one log, and which witnesses must have seen a checkpoint (C2SP tlog-policy)."""

    def __init__(self, text: str) -> None:
        self.logs: list[Vkey] = []
        self.roots: list[Vkey] = []
        self.seconds: list[tuple[Vkey, int]] = []  # must sign beside it, from this size on
        self.witnesses: dict[str, Vkey] = {}
        self.groups: dict[str, tuple[int, list[str]]] = {}
        self.quorum: str | None = None
        for number, line in enumerate(text.split("\n"), start=1):
            words = [word for word in line.replace("\t", " ").split(" ") if word]
            if words and not words[0].startswith("#"):
                try:
                    self.take(words[0], words[1:])
                except Refused as error:
                    raise Refused(f"line {number}: {error}", 2) from error
        seconds = [vkey for vkey, _ in self.seconds]
        every = [*self.logs, *self.roots, *seconds, *self.witnesses.values()]
        if bool(self.logs) == bool(self.roots) or len(self.roots) > 1:
            raise Refused("expected `log` lines, or one `root` line", 2)
        log = (self.logs or self.roots)[0][0]
        if any(log in (name, f"{name}/root") for name, _ in seconds):
            raise Refused("a second key needs a name of its own", 2)
        if len({name for name, _ in self.logs}) > 1 or len({key for _, key in every}) < len(every):
            raise Refused("expected keys of one log, and each key once", 2)

    def take(self, word: str, words: list[str]) -> None:
        if word == "log" and len(words) in (1, 2):
            self.logs.append(parse_vkey(words[0]))
        elif word == "root" and len(words) == 1:
            self.roots.append(parse_vkey(words[0]))
        elif word == "second" and re.fullmatch(r"\S+( [0-9]{1,16})?", " ".join(words)):
            self.seconds.append((parse_vkey(words[0]), int(words[1] if words[1:] else 0)))
        elif word == "witness" and len(words) in (2, 3) and self.is_free(words[0]):
            self.witnesses[words[0]] = parse_vkey(words[1], b"\x04")
        elif word == "group" and len(words) > 2 and self.is_free(words[0]):
            name, threshold, members = words[0], words[1], words[2:]
            used = [each for _, group in self.groups.values() for each in group]
            if len({*used, *members}) < len(used) + len(members):
                raise Refused("a member twice")
            if not all(self.is_known(member) for member in members):
                raise Refused("nothing above is called so")
            most = {"any": "1", "all": str(len(members))}.get(threshold, threshold)
            if not re.fullmatch("[1-9][0-9]{0,2}", most) or int(most) > len(members):
                raise Refused(f"{threshold} of {len(members)} is no threshold")
            self.groups[name] = (int(most), members)
        elif word == "quorum" and len(words) == 1 and self.quorum is None:
            if words[0] != "none" and not self.is_known(words[0]):
                raise Refused(f"nothing above is called {words[0]}")
            self.quorum = words[0]
        else:
            raise Refused(f"{word!r} cannot be read here")

    def is_known(self, name: str) -> bool:
        return name in self.witnesses or name in self.groups

    def is_free(self, name: str) -> bool:
        return name != "none" and not self.is_known(name)

    def saw(self, name: str, keys: list[bytes]) -> bool:
        if name in self.witnesses:
            return self.witnesses[name][1] in keys
        most, members = self.groups[name]
        return sum(self.saw(member, keys) for member in members) >= most

    def is_enough(self, notes: list[str | None], vkeys: list[Vkey]) -> bool | None:
        """Whether a quorum cosigned one of these checkpoints of the log; None when none is asked.

        Refuses a line of a known witness that this witness did not make.
        """
        enough = False
        for note in notes:
            try:
                text = open_note(note or "", vkeys)[0]
                open_checkpoint(note or "", vkeys)
            except Refused:
                continue  # the walk says what is wrong with it
            keys = [cosigner(text, line, self.witnesses) for line in signatures_of(note or "")]
            known = [key for key in keys if key is not None]
            enough = enough or self.quorum in (None, "none") or self.saw(self.quorum, known)
        return None if self.quorum in (None, "none") else enough


def cosigner(text: str, line: tuple[str, bytes], witnesses: dict[str, Vkey]) -> bytes | None:
    """The key of the witness that made this line (C2SP tlog-cosignature), if it is one of these."""
    name, blob = line
    for vkey in witnesses.values():
        if (name, blob[:4]) == (vkey[0], key_hash(vkey, b"\x04")):
            at = int.from_bytes(blob[4:12], "big")
            message = f"cosignature/v1\ntime {at}\n{text}".encode()
            if len(blob) != 76 or at >= 2**63 or not signed(vkey[1], message, blob[12:]):
                raise Refused(f"the cosignature of {name} does not verify")
            return vkey[1]
    return None


def check_text(text: str) -> None:
    if not text.endswith("\n") or not text.strip("\n"):
        raise Refused("malformed note: the text does not end its line, or is empty")
    if any(char < " " and char != "\n" for char in text):
        raise Refused("malformed note: a control character in the text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused("malformed note: not valid Unicode") from error


def signature_of(line: str) -> tuple[str, bytes]:
    name, _, encoded = line[2:].partition(" ")
    blob = unbase64(encoded)
    if not line.startswith("\u2014 ") or not is_name(name) or blob is None:
        raise Refused("malformed note: a signature line is not `— NAME BASE64`")
    if len(blob) <= 4:
        raise Refused(f"malformed note: the signature of {name} is too short")
    return name, blob


def split_note(note: str) -> tuple[str, list[str]]:
    if len(note) > 1_000_000:
        raise Refused("a note of more than 1000000 characters")
    end = note.rfind("\n\n")
    if end < 0 or not note.endswith("\n"):
        raise Refused("malformed note: no empty line before the signatures, or no end of line")
    lines = note[end + 2 : -1].split("\n")
    check_text(note[: end + 1])
    if len(lines) > 100:
        raise Refused("more than 100 signatures")
    return note[: end + 1], lines


def signatures_of(note: str) -> list[tuple[str, bytes]]:
    return [signature_of(line) for line in split_note(note)[1]]


def open_note(note: str, vkeys: list[Vkey]) -> tuple[str, list[Vkey]]:
    """The text, if one of these keys signed it and none of them signed it wrongly."""
    text, signatures = split_note(note)[0], signatures_of(note)
    known = {(vkey[0], key_hash(vkey)): vkey for vkey in vkeys}
    verified: list[Vkey] = []
    for name, blob in signatures:
        vkey = known.get((name, blob[:4]))
        if vkey is None or vkey in verified:
            continue
        if not signed(vkey[1], text.encode(), blob[4:]):
            raise Refused(f"the signature of {name} does not verify")
        verified.append(vkey)
    if not verified:
        names = ", ".join(sorted({name for name, _ in signatures}))
        raise Refused(f"signed by {names}, but by none of the keys we trust")
    return text, verified


def open_checkpoint(note: str, vkeys: list[Vkey]) -> Checkpoint:
    """Size and root of a note: three lines, signed by a key whose name is the first of them."""
    text, keys = open_note(note, vkeys)
    origin, size, root = read_checkpoint(text)
    if all(name != origin for name, _ in keys):
        raise Refused(f"checkpoint of {origin}, but signed by {keys[0][0]}")
    return size, root


def read_checkpoint(text: str) -> tuple[str, int, bytes]:
    """Origin, size and root of a note's text; they prove nothing by themselves."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise Refused("expected three lines: origin, size, root")
    origin, size = lines[:2]
    if not (size.isascii() and size.isdigit()) or len(size) > 16:
        raise Refused(f"size: expected a decimal number, got {size[:40]!r}")
    if str(int(size)) != size:
        raise Refused(f"size: {size} has a leading zero")
    root = unbase64(lines[2])
    if root is None or len(root) != 32:
        raise Refused("root: expected base64 of 32 bytes")
    return origin, int(size), root


# ---- Entries ------------------------------------------------------------------------------------

NUMBERED = {"exec.result", "exec.refuse", "exec.rollback"}
ACTOR_KEYS = {"kind", "id", "node", "session"}
KEYS = set("v log seq prev id ts type actor incident inc_seq outcome body".split())
TYPES = set(
    """
    approval.deny approval.expire approval.grant auth.fail auth.login auth.logout config.change
    credential.approve credential.request credential.revoke exec.gap exec.order exec.refuse
    exec.result exec.rollback export.create incident.close incident.open incident.recover
    incident.state key.epochs key.rotate log.fork log.open log.recovery log.resume manual.step
    model.load node.connect node.disconnect node.drop node.enroll node.halt node.key node.resume
    node.revoke plan.proposed plan.verdict policy.change redaction retention.prune time.status
    witness.clear witness.key witness.refuse
    """.split()
)
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-%s-[0-9a-f]{12}"
DAY, TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}"
EACH = re.compile(
    "\n".join([r"[0-9a-f]{64}", UUID % "7[0-9a-f]{3}-[89ab][0-9a-f]{3}", f"{DAY}T{TIME}Z"])
)
LOG, TYPE = r"[A-Za-z0-9][A-Za-z0-9._~/:-]{0,254}", r"(?:redaction|[a-z]+(?:\.[a-z_]+)+)"
SHARED = re.compile(f"{LOG}\n{TYPE}\n(?:-|{UUID % '[0-9a-f]{4}-[0-9a-f]{4}'})")
KEY = re.compile(r"[a-z][a-z0-9_]*|_sd")
TS = re.compile(f"{DAY}T{TIME}Z")
MAX_INTEGER = 2**53 - 1


def no_float(text: str) -> NoReturn:
    raise ValueError(f"a number like {text[:40]} has no canonical form")


read_json = json.JSONDecoder(parse_float=no_float, parse_constant=no_float).raw_decode
write_json = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode
Entry = dict[str, Any]


def decode(line: bytes) -> Entry:
    """The entry of one stored line. Refuses anything but canonical bytes of exactly our fields."""
    if len(line) > MAX_LINE_BYTES:
        raise Refused(f"line of {len(line)} bytes, at most {MAX_LINE_BYTES}")
    try:
        entry = read_json(line.decode())[0]
        again = write_json(entry).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(f"not an entry: {str(error)[:90]}") from error
    if type(entry) is not dict or entry.keys() != KEYS:
        raise Refused("not an entry: it has not exactly the twelve keys")
    if again != line:
        raise Refused("not in canonical form (order, spaces, escapes or a key twice)")
    if b"\x7f" in line:
        raise Refused("contains U+007F")
    actor, body, incident, number = (
        entry["actor"],
        entry["body"],
        entry["incident"],
        entry["inc_seq"],
    )
    prev, id_, ts, log, kind = entry["prev"], entry["id"], entry["ts"], entry["log"], entry["type"]
    if type(entry["v"]) is not int or entry["v"] != 1 or not is_count(entry["seq"]):
        raise Refused("not an entry: v or seq")
    if type(actor) is not dict or actor.keys() != ACTOR_KEYS or type(body) is not dict:
        raise Refused("not an entry: actor or body")
    if not type(prev) is type(id_) is type(ts) is type(log) is type(kind) is str:
        raise Refused("not an entry: a field of another type")
    if not is_name_of(actor["kind"]) or not is_name_of(actor["id"]):
        raise Refused("not an entry: actor without kind or id")
    for optional in (actor["node"], actor["session"], entry["outcome"]):
        if optional is not None and not is_name_of(optional):
            raise Refused("not an entry: node, session or outcome")
    if (number is not None and not is_count(number)) or (incident or "") == "-":
        raise Refused("not an entry: inc_seq or incident")
    if incident is not None and type(incident) is not str:
        raise Refused("not an entry: incident")
    check_value(body, 1)
    shared = f"{log}\n{kind}\n{'-' if incident is None else incident}"
    if not EACH.fullmatch(f"{prev}\n{id_}\n{ts}") or not is_shared(shared):
        raise Refused("log, prev, id, type, ts or incident is not of its form")
    moment(ts[:10])
    if (incident is None) != (number is None):
        raise Refused("incident and inc_seq: expected both or neither")
    return entry


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_INTEGER


def is_name_of(value: Any) -> bool:
    return type(value) is str and 0 < len(value) < 256


@lru_cache(maxsize=4096)
def is_shared(text: str) -> bool:
    """The form of what many entries share: log, type and incident, one a line."""
    return SHARED.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def is_key(key: str) -> bool:
    return KEY.fullmatch(key) is not None


def check_value(value: Any, depth: int) -> None:
    """What JSON has but the canonical profile has not; strings were checked as bytes."""
    if depth >= 8 and value:
        raise Refused("nested deeper than 8")
    items = value
    if type(value) is dict:
        items = value.values()
        for key in value:
            if not is_key(key):
                raise Refused(f"key {key[:80]!r} is not of the form {KEY.pattern}")
    for item in items:
        kind = type(item)
        if kind is dict or kind is list:
            check_value(item, depth + 1)
        elif kind is int and not -MAX_INTEGER <= item <= MAX_INTEGER:
            raise Refused(f"integer {str(item)[:40]} is outside ±(2^53-1)")


@lru_cache(maxsize=64)
def moment(ts: str) -> datetime:
    try:
        return datetime.fromisoformat(ts.rstrip("Z"))
    except ValueError as error:
        raise Refused(f"ts: {error}") from error


# ---- The tree of RFC 6962 -----------------------------------------------------------------------


def leaf_hash(line: bytes) -> bytes:
    return sha256(b"\x00" + line).digest()


def parent(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Reading:
    """The tree of the first `size` leaves, and which entries this reading calls altered.

    When entry n does not carry the hash of entry n - 1 as we read it, one of the two was altered.
    Both readings are followed until a signed root says which.
    """

    __slots__ = ("altered", "links", "peaks", "size")

    def __init__(self, peaks: list[bytes], size: int, altered: list[int], links: list[int]) -> None:
        self.peaks, self.size = peaks, size  # roots of complete subtrees, the largest first
        self.altered, self.links = altered, links

    def copy(self) -> Reading:
        return Reading(self.peaks[:], self.size, self.altered[:], self.links[:])

    def append(self, leaf: bytes) -> None:
        carry, peaks = self.size, self.peaks
        while carry & 1:
            leaf = sha256(b"\x01" + peaks.pop() + leaf).digest()
            carry >>= 1
        peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return sha256(b"").digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = parent(peak, root)
        return root


def follow(index: int, size: int, leaf: bytes, path: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Where an inclusion path leads, and its left siblings: the peaks of the tree before `index`.

    RFC 9162, section 2.1.3.2.
    """
    position, last, left = index, size - 1, []
    for sibling in path:
        if last == 0:
            raise Refused("the inclusion proof is too long")
        if position & 1 or position == last:
            leaf = parent(sibling, leaf)
            left.append(sibling)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            leaf = parent(leaf, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise Refused("the inclusion proof is too short")
    return leaf, left[::-1]


# ---- The nodes' own numbers of their reports -----------------------------------------------------


class Reports:
    """A node numbers its reports from 1, each names the digest of the one before: holes show.

    Of a part of a log, the numbers count from the first that is met.
    """

    def __init__(self, part: bool) -> None:
        self.part = part
        self.rows: dict[tuple[str, str], Entry] = {}

    def take(self, entry: Entry) -> None:
        body, actor = entry["body"], entry["actor"]
        number, key = body.get("number"), body.get("result_key")
        if type(number) is not int or number < 1 or type(key) is not str:
            return  # the agent's own word, which has no number
        node = actor["node"] or actor["id"]
        previous, digest = body.get("previous"), body.get("report_digest")
        if (node, key) not in self.rows:
            row: Entry = {"first": 1, "last": 0, "digest": None, "holes": [], "odd": []}
            if self.part:
                before = previous if type(previous) is str else None
                row.update(first=number, last=number - 1, digest=before)
            self.rows[node, key] = row
        row = self.rows[node, key]
        if number < row["first"]:
            return
        if number <= row["last"]:
            if not self.fill(row["holes"], number):
                row["odd"].append(f"report {number} of {node} is there twice")
            return
        if number > row["last"] + 1:
            if len(row["holes"]) < 1000:
                row["holes"].append((row["last"] + 1, number - 1))
        elif previous != row["digest"]:
            row["odd"].append(f"report {number} of {node} does not name the one before it")
        row.update(last=number, digest=digest if type(digest) is str else None)

    def fill(self, holes: list[tuple[int, int]], number: int) -> bool:
        for place, (first, last) in enumerate(holes):
            if first <= number <= last:
                rest = [(first, number - 1), (number + 1, last)]
                holes[place : place + 1] = [hole for hole in rest if hole[0] <= hole[1]]
                return True
        return False

    def findings(self) -> list[str]:
        found = []
        for (node, _), row in sorted(self.rows.items(), key=lambda each: each[0]):
            for first, last in row["holes"]:
                what = f"reports {first} to {last} of {node} are missing: the node made them"
                if first == last:
                    what = f"report {first} of {node} is missing: the node made it"
                    what += ", and it is not in the log"
                found.append(what)
            found += row["odd"][:1000]
        return found


# ---- What is found -------------------------------------------------------------------------------


class Findings:
    """Problems and warnings: a few of them word for word, the rest counted."""

    def __init__(self) -> None:
        self.problem_count = self.warning_count = 0
        self.problems: list[tuple[str, int | None, str]] = []
        self.warnings: list[str] = []
        self.lowest: tuple[str, int, str] | None = None  # the problem of the lowest entry
        self.worst: dict[int, tuple[str, int, str]] = {}  # and that of each segment

    def note(self, status: str, seq: int | None, sentence: str, segment: int) -> None:
        self.problem_count += 1
        if len(self.problems) < MAX_LISTED:
            self.problems.append((status, seq, sentence))
        if seq is None:
            return
        if segment not in self.worst or seq < self.worst[segment][1]:
            self.worst[segment] = (status, seq, sentence)
        if self.lowest is None or seq < self.lowest[1]:
            self.lowest = (status, seq, sentence)

    def warn(self, sentence: str) -> None:
        self.warning_count += 1
        if len(self.warnings) < MAX_LISTED:
            self.warnings.append(sentence)


def listed(problems: list[tuple[str, int | None, str]]) -> list[Entry]:
    return [{"status": a, "seq": b, "sentence": c} for a, b, c in problems]


# ---- Keys that change: epochs that a root key certified, and keys that sign beside the log's -----


class Epoch(NamedTuple):
    """One key and its time."""

    epoch: int
    vkey: str
    not_before: str
    not_after: str  # signs nothing later
    second: str | None  # must sign beside it
    revoked: Entry | None  # from which size on it counts no more, and why

    @property
    def key(self) -> Vkey:
        return parse_vkey(self.vkey)

    def counts(self, size: int) -> bool:
        return self.revoked is None or size <= self.revoked["trusted_size"]

    @property
    def last_moment(self) -> str:
        """An hour after its end: clocks of one machine and another differ."""
        late = moment(self.not_after) + timedelta(hours=1)
        return late.isoformat(timespec="microseconds") + "Z"


class Keys:
    """Whom an auditor believes: pinned keys, or the epochs of a root key; and second keys."""

    def __init__(
        self,
        vkeys: list[Vkey],
        seconds: Iterable[tuple[Vkey, int]] = (),
        listed: Entry | None = None,
    ) -> None:
        self.seconds = list(seconds)
        self.epochs: list[Epoch] = listed["epochs"] if listed else []
        self.sequence: int = listed["sequence"] if listed else 0
        self.digest: str = listed["digest"] if listed else ""
        self.vkeys = [one.key for one in self.epochs] or vkeys
        beside = [vkey for vkey, _ in self.seconds]
        beside += [parse_vkey(one.second) for one in self.epochs if one.second is not None]
        self.all = [*self.vkeys, *dict.fromkeys(beside)]
        self.simple = not self.epochs and not self.seconds


def open_list(note: str, root: Vkey) -> Entry:
    """The epochs of a note that this root key signed: one canonical line, nothing added."""
    text = open_note(note, [root])[0]
    try:
        made = read_json(text)[0]
        again = write_json(made) + "\n"
    except (ValueError, RecursionError) as error:
        raise Refused(f"not an epoch list: {str(error)[:90]}") from error
    if again != text or "\x7f" in text:
        raise Refused("the epoch list is not in canonical form")
    if type(made) is not dict or made.keys() != {"v", "log", "sequence", "epochs"}:
        raise Refused("not an epoch list: it has not exactly the four keys")
    log, rows = made["log"], made["epochs"]
    if type(made["v"]) is not int or made["v"] != 1 or root[0] != f"{log}/root":
        raise Refused("not an epoch list of the log that the root key is named after")
    if not is_count(made["sequence"]) or made["sequence"] == 0 or not is_name_of(log):
        raise Refused("not an epoch list: log or sequence")
    if type(rows) is not list or not 0 < len(rows) <= MOST_EPOCHS:
        raise Refused(f"expected 1 to {MOST_EPOCHS} epochs")
    epochs = [read_epoch(row, number, log) for number, row in enumerate(rows)]
    if len({one.vkey for one in epochs}) < len(epochs):
        raise Refused("two epochs have one key")
    demand_in_turn(epochs)
    return {**made, "epochs": epochs, "digest": sha256(text[:-1].encode()).hexdigest()}


def read_epoch(row: Any, number: int, log: str) -> Epoch:
    if type(row) is not dict or row.keys() != set(Epoch._fields):
        raise Refused(f"epoch {number}: it has not exactly the six keys")
    revoked, second = row["revoked"], row["second"]
    if type(row["epoch"]) is not int or row["epoch"] != number:
        raise Refused(f"epoch {number} is missing: its place has another one")
    texts = [row["vkey"], row["not_before"], row["not_after"], "" if second is None else second]
    if not all(type(text) is str for text in texts):
        raise Refused(f"epoch {number}: expected text")
    if revoked is not None and (
        type(revoked) is not dict
        or revoked.keys() != {"trusted_size", "reason"}
        or not is_count(revoked["trusted_size"])
        or not is_name_of(revoked["reason"])
    ):
        raise Refused(f"epoch {number}: revoked is not a size and a reason")
    epoch = Epoch(**row)
    if not TS.fullmatch(epoch.not_before) or not TS.fullmatch(epoch.not_after):
        raise Refused(f"epoch {number}: a time is not of its form")
    if moment(epoch.not_before) >= moment(epoch.not_after):
        raise Refused(f"epoch {number} ends before it begins")
    if epoch.key[0] != log or vkey_text(epoch.key) != epoch.vkey:
        raise Refused(f"epoch {number}: its key is not this log's")
    beside = None if second is None else parse_vkey(second)
    if beside and (beside[0] == log or beside[1] == epoch.key[1] or vkey_text(beside) != second):
        raise Refused(f"epoch {number}: the second key needs a name and key of its own")
    return epoch


def demand_in_turn(epochs: list[Epoch]) -> None:
    """Each epoch begins within the one before it and ends after it; revoked ones are passed."""
    last: Epoch | None = None
    for one in epochs:
        if one.revoked is not None:
            last = None  # what follows is of a new secret, and begins when it was made
            continue
        if last is not None and not last.not_before <= one.not_before <= last.not_after:
            raise Refused(f"epoch {one.epoch} does not begin within epoch {last.epoch}")
        if last is not None and one.not_after <= last.not_after:
            raise Refused(f"epoch {one.epoch} does not end after epoch {last.epoch}")
        last = one


class Watch:
    """Looks at notes and lines on their way to the walk, which believes nothing from here.

    # 1. the log begins with epoch 0, as `log.open` says
    # 2. the next epoch begins with a checkpoint that ends in `key.rotate` and that both keys
    #    signed; no epoch is skipped but revoked ones, and none comes back
    # 3. it begins not before its time, and signs nothing that is later than its end
    # 4. a revoked key counts up to its last trusted size; what follows needs another key over it
    # 5. where a second key is demanded, each checkpoint carries its signature, too
    # 6. the list of epochs is not older than the log knows, and not another one
    """

    def __init__(self, keys: Keys, start: tuple[Epoch, int] | None = None) -> None:
        self.keys, self.epochs, self.start = keys, keys.epochs, start
        self.of_lines, self.of_notes, self.at_end = Findings(), Findings(), Findings()
        self.known = {(vkey[0], key_hash(vkey)): vkey for vkey in keys.all}
        self.epoch_of = {one.key: one for one in self.epochs}
        self.size = -1  # of the last kept note
        self.signing = start[0] if start else None  # the epoch of the notes, of a log None
        self.began: dict[int, tuple[int, int]] = {}  # epoch: its first note's size, the one before
        self.void: dict[int, tuple[int, int]] = {}  # revoked one: notes beyond its size, largest
        self.changes: dict[int, tuple[int, int | None]] = {}  # epoch: its `key.rotate`, from which
        self.list_seen: tuple[int, str, int] | None = None  # newest `key.epochs`
        self.late: set[int] = set()
        if self.epochs:
            self.enter(start[0] if start else self.epochs[0])

    def enter(self, epoch: Epoch) -> None:
        """The lines from here on are of this epoch."""
        self.entered, self.limit = epoch, epoch.last_moment.encode()

    # Lines

    def lines(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The same lines; those that name keys, or are later than their epoch, are read."""
        for raw in lines:
            at = raw.rfind(b'"ts":"')
            if raw.startswith((b"key.", b"log.open"), at + 43):
                self.key_entry(raw)
            elif raw[at + 6 : at + 33] > self.limit:
                self.too_late(raw)
            yield raw

    def key_entry(self, raw: bytes) -> None:
        try:
            entry = decode(raw.rstrip(b"\n"))
        except Refused:
            return  # the walk says why
        seq, body, first = entry["seq"], entry["body"], self.entered
        if entry["type"] == "log.open" and seq == 0:
            if body.get("vkey") != first.vkey:  # 1
                self.odd_line(0, "the log was begun under another key than that of epoch 0")
            if entry["ts"] < first.not_before:
                what = f"the log was begun before the time of epoch 0 ({first.not_before})"
                self.odd_line(0, what)
        elif entry["type"] == "key.epochs":
            sequence, digest = body.get("sequence"), body.get("list_digest")
            if isinstance(sequence, int) and isinstance(digest, str):
                self.list_seen = max(self.list_seen or (0, "", 0), (sequence, digest, seq))
        elif entry["type"] == "key.rotate":
            self.rotated(seq, entry["ts"], body)

    def rotated(self, seq: int, ts: str, body: Entry) -> None:
        by_vkey = {one.vkey: one for one in self.epochs}
        new, old = (by_vkey.get(str(body.get(which))) for which in ("new_vkey", "old_vkey"))
        if new is None:
            self.odd_line(seq, f"entry {seq} changes to a key that no epoch has")
            return
        if ts < new.not_before:  # 3
            what = f"epoch {new.epoch} began at {ts}, before its time ({new.not_before})"
            self.odd_line(seq, what)
        self.changes.setdefault(new.epoch, (seq, None if old is None else old.epoch))
        self.enter(new)

    def too_late(self, raw: bytes) -> None:
        epoch = self.entered
        if epoch.epoch in self.late:
            return
        try:
            entry = decode(raw.rstrip(b"\n"))
        except Refused:
            return
        self.late.add(epoch.epoch)
        what = f"entry {entry['seq']} of {entry['ts']} is in epoch {epoch.epoch}"
        self.odd_line(entry["seq"], f"{what}, which ended {epoch.not_after}")

    def odd_line(self, seq: int, sentence: str) -> None:
        self.of_lines.note(INVALID, seq, sentence, 0)

    # Notes

    def notes(self, notes: Iterable[str], latest: str | None) -> Iterator[str]:
        """The kept notes that count; the published one, if larger, is looked at as their last."""
        yield from self.kept(notes)
        read = None if latest is None else self.read(latest)
        if read is not None and read[0] > self.size:
            self.accept(latest or "", *read)

    def kept(self, notes: Iterable[str]) -> Iterator[str]:
        """The notes that count, and those that are none at all: the walk says why."""
        for note in notes:
            read = self.read(note)
            if read is not None:
                self.size = read[0]
            if read is None or self.accept(note, *read):
                yield note

    def read(self, note: str) -> tuple[int, list[Vkey]] | None:
        """Size and claimed signers; None when it is no checkpoint."""
        try:
            marks = {(name, blob[:4]) for name, blob in signatures_of(note)}
            size = read_checkpoint(split_note(note)[0])[1]
        except Refused:
            return None
        return size, [vkey for mark, vkey in self.known.items() if mark in marks]

    def alive(self, size: int, signers: list[Vkey]) -> list[Epoch]:
        """The epochs of these signers whose keys count at this size, in order."""
        found = [self.epoch_of[key] for key in signers if key in self.epoch_of]
        return sorted(one for one in found if one.counts(size))

    def counts(self, note: str) -> bool:
        """Whether a single note would count."""
        read = self.read(note)
        if read is None:
            return False
        size, signers = read
        alive = self.alive(size, signers)
        if not alive and (self.epochs or not any(key in self.keys.vkeys for key in signers)):
            return False
        return self.seconded(size, signers, alive)

    def accept(self, note: str, size: int, signers: list[Vkey]) -> bool:
        if not any(key in self.keys.vkeys for key in signers):
            return True  # signed by nobody of the log: the walk says so
        alive = self.alive(size, signers)
        if self.epochs and not alive:  # 4
            for number in [self.epoch_of[key].epoch for key in signers if key in self.epoch_of]:
                count, largest = self.void.get(number, (0, 0))
                self.void[number] = count + 1, max(largest, size)
            return False
        if not self.seconded(size, signers, alive):  # 5
            return False
        return not self.epochs or self.in_turn(note, size, alive)

    def seconded(self, size: int, signers: list[Vkey], alive: list[Epoch]) -> bool:
        wanted = [vkey for vkey, since in self.keys.seconds if size >= since]
        wanted += [parse_vkey(one.second) for one in alive[-1:] if one.second is not None]
        lacking = [vkey_text(vkey) for vkey in wanted if vkey not in signers]
        if lacking:
            what = f"the checkpoint of {size} entries lacks the signature of {lacking[0]}"
            self.odd_note(size, what)
        return not lacking

    def in_turn(self, note: str, size: int, alive: list[Epoch]) -> bool:
        before, newest = self.signing, alive[-1]
        if before is None:
            if newest.epoch:  # 1
                what = f"the first checkpoint is of epoch {newest.epoch}"
                self.odd_note(1, f"{what}: those of the epochs before it are missing")
            self.signing = newest
        elif newest.epoch < before.epoch:  # 2
            what = f"a checkpoint of {size} entries is signed by epoch {newest.epoch}"
            self.odd_note(size, f"{what}, after epoch {before.epoch} had begun")
            return False
        elif newest.epoch > before.epoch:
            self.next_epoch(note, size, before, newest)
        elif len(alive) > 1 and self.began.get(newest.epoch, (0, 0))[0] != size:
            what = f"a checkpoint of {size} entries is signed by epoch {alive[0].epoch}"
            self.odd_note(size, f"{what}, after epoch {newest.epoch} had begun")
        return True

    def next_epoch(self, note: str, size: int, before: Epoch, newest: Epoch) -> None:
        skipped = [
            one.epoch for one in self.epochs[before.epoch + 1 : newest.epoch] if one.revoked is None
        ]
        if skipped:  # 2
            what = f"epoch {newest.epoch} follows epoch {before.epoch}"
            self.odd_note(size, f"{what}; epoch {skipped[0]} is missing")
        if not self.linked(note, size, before, newest):
            what = f"epoch {newest.epoch} begins with a checkpoint of {size} entries"
            self.odd_note(size, f"{what} that epoch {before.epoch} did not sign")
        self.began[newest.epoch] = size, before.epoch
        self.signing = newest

    def linked(self, note: str, size: int, before: Epoch, newest: Epoch) -> bool:
        """Whether both keys signed, or revoked ones lie between, and all they are trusted for."""
        between = [one.revoked for one in self.epochs[before.epoch : newest.epoch]]
        trusted = [each["trusted_size"] for each in between if each is not None]
        if trusted and size >= max(trusted):
            return True
        try:
            return len(open_note(note, [before.key, newest.key])[1]) == 2
        except Refused:
            return False

    def odd_note(self, size: int, sentence: str) -> None:
        self.of_notes.note(INVALID, max(0, size - 1), sentence, 0)

    # The end

    def judged(self, report: Entry) -> Entry:
        """The walk's report with what is wrong about the keys."""
        signed = report["signed_size"]
        for epoch in sorted({*self.began, *self.changes}):
            self.compare_change(epoch, signed)
        if self.list_seen is not None:  # 6
            sequence, digest, seq = self.list_seen
            if sequence > self.keys.sequence:
                what = f"entry {seq} put epoch list {sequence} in force; the one at hand is an"
                self.odd_end(seq, f"{what} older one, {self.keys.sequence}")
            elif sequence == self.keys.sequence and digest != self.keys.digest:
                what = f"entry {seq} put another epoch list {sequence} in force"
                self.odd_end(seq, f"{what} than the one at hand")
        for epoch, (count, largest) in sorted(self.void.items()):
            self.say_void(self.epochs[epoch], count, largest, signed)
        return self.together(report)

    def compare_change(self, epoch: int, signed: int) -> None:
        """2: each epoch begins with its entry, and each such entry begins one."""
        size, before = self.began.get(epoch, (None, None))
        seq, told = self.changes.get(epoch, (None, None))
        if seq is not None and size is None and seq >= signed:
            return  # not signed yet
        if seq is not None and size is None and not self.epochs[epoch].counts(seq + 1):
            return
        if seq is not None and self.start == (self.epochs[epoch], seq + 1):
            return  # a part that begins with a change from a revoked key
        if seq is None or size != seq + 1:
            place = seq if seq is not None else max(0, (size or 1) - 1)
            what = f"epoch {epoch} does not begin with a checkpoint over its `key.rotate`"
            self.odd_end(place, what)
        elif told != before and (told is None or self.epochs[told].counts(size)):
            self.odd_end(seq, f"entry {seq} changes the key from another than epoch {before}")

    def say_void(self, epoch: Epoch, count: int, largest: int, signed: int) -> None:
        """4."""
        revoked = epoch.revoked or {}
        what = f"the key of epoch {epoch.epoch}, which was revoked ({revoked['reason']})"
        if largest > signed:
            start = max(signed, revoked["trusted_size"])
            what = f"entries {start} to {largest - 1} are signed by nobody but {what}"
            self.odd_end(start, what)
        else:
            many = f"{count} checkpoints beyond {revoked['trusted_size']} entries are signed by"
            then = f"they do not count, a later one over {signed} entries does"
            self.at_end.warn(f"{many} {what}; {then}")

    def odd_end(self, seq: int, sentence: str) -> None:
        self.at_end.note(INVALID, seq, sentence, 0)

    def together(self, report: Entry) -> Entry:
        found = (self.of_lines, self.of_notes, self.at_end)
        warnings = [*report["warnings"], *self.at_end.warnings][:MAX_LISTED]
        more = report["warning_count"] + self.at_end.warning_count
        report = {**report, "warnings": warnings, "warning_count": more}
        lowest = [each.lowest for each in found if each.lowest is not None]
        if not lowest:
            return report
        _, seq, sentence = min(lowest, key=lambda each: each[1])
        bad = report["first_bad"]
        if report["verdict"] == TAMPERED and seq >= (bad or 0):
            sentence = report["sentence"]
        problems = listed([each for some in found for each in some.problems])
        return {
            **report,
            "verdict": TAMPERED,
            "sentence": sentence,
            "first_bad": seq if bad is None else min(seq, bad),
            "problems": [*problems, *report["problems"]][:MAX_LISTED],
            "problem_count": report["problem_count"] + sum(each.problem_count for each in found),
        }


def first_epoch(
    keys: Keys, notes: Iterator[str], latest: str | None
) -> tuple[tuple[Epoch, int] | None, Iterator[str]]:
    """The epoch in which a part of a log begins, with its first checkpoint's size; all notes."""
    watch, seen = Watch(keys), []
    for note in notes:
        seen.append(note)
        read = watch.read(note)
        alive = [] if read is None else watch.alive(*read)
        if read is not None and alive:
            return (alive[0], read[0]), chain(seen, notes)
    read = None if latest is None else watch.read(latest)
    alive = [] if read is None else watch.alive(*read)
    return ((alive[0], read[0]) if read is not None and alive else None), iter(seen)


# ---- The walk: every line once, in constant memory -----------------------------------------------


class Walk(Findings):
    """The state between two lines. `first` and `peaks` tell the tree before a part of a log."""

    def __init__(
        self,
        notes: Iterable[str],
        latest: str | None,
        vkeys: list[Vkey],
        since: str | None = None,
        per_segment: int = SEGMENT_ENTRIES,
        first: int = 0,
        peaks: list[bytes] | None = None,
    ) -> None:
        super().__init__()
        self.read = self.lines = self.checkpoints = 0
        self.origin, self.vkeys, self.per_segment = vkeys[0][0], vkeys, per_segment
        self.pinned = None if since is None else open_checkpoint(since, vkeys)
        sources = [
            self.verified(notes, "kept checkpoint"),
            self.verified([] if latest is None else [latest], "published checkpoint"),
            iter([] if self.pinned is None else [self.pinned]),
        ]
        self.expected = heapq.merge(*sources, key=lambda checkpoint: checkpoint[0])  # 1 and 7
        self.next = next(self.expected, None)
        self.last: Checkpoint | None = None  # the largest verified one met so far
        self.segments: list[tuple[int, int, str | None]] = []  # first, lines, status if known
        self.segment = -1  # first seq of the current one
        self.first = self.size = self.proven = first  # size: the place of the next entry
        self.readings = [Reading(list(peaks or []), first, [], [])]
        self.pending: bytes | None = None  # leaf of the entry before, until the next confirms it
        self.prev: str | None = None if first else "0" * 64  # what the next must carry
        self.lost = self.mismatch = False
        self.cut: bytes | None = None  # a line without its end, as the last one after a crash
        self.newest = ""  # the highest ts
        self.incidents: dict[str, int] = {}
        self.reports = Reports(part=first > 0)
        if first:
            self.compare()  # the last audit may have ended just here

    def verified(self, notes: Iterable[str], name: str) -> Iterator[Checkpoint]:
        before = 0
        for number, note in enumerate(notes, start=1):
            try:
                checkpoint = open_checkpoint(note, self.vkeys)
            except Refused as error:
                self.problem(INVALID, None, f"{name} {number}: {error}")
                continue
            if checkpoint[0] < before:
                sentence = f"{name} {number} is of {checkpoint[0]} entries, after one of {before}"
                self.problem(INVALID, None, sentence)
                continue
            before = checkpoint[0]
            yield checkpoint

    def remark(self, problems: list[str], warnings: list[str]) -> None:
        """What was found outside of the entries."""
        for sentence in problems:
            self.problem(INVALID, None, sentence)
        for sentence in warnings:
            self.warn(sentence)

    def begin(self, first: int) -> None:
        """The next segment starts at this entry, by its name."""
        self.end_segment()
        if first > self.size + 1:  # of a single missing entry, the one after it tells the leaf
            self.absent(first)
        self.segment, self.lines = first, 0

    def take(self, raw: bytes) -> None:
        """The next line, with its newline."""
        self.read += 1
        self.lines += 1
        if self.cut is not None:
            self.settle_cut()
        if raw[-1:] != b"\n":
            self.cut = raw
            return
        line = raw[:-1]
        leaf = sha256(b"\x00" + line).digest()
        try:
            entry = decode(line)  # 2
            if entry["log"] != self.origin:
                raise Refused(f"it is of the log {entry['log']}, not of {self.origin}")
        except Refused as error:
            self.problem(INVALID, self.size, f"entry {self.size}: {error}")
            self.place(leaf)
            return
        seq, ts = entry["seq"], entry["ts"]
        if seq != self.size and not self.skips(entry):  # 3
            return
        if self.prev is not None and entry["prev"] != self.prev:
            self.unlinked(entry)
        self.place(leaf)
        if entry["incident"] is not None:
            self.check_incident(entry)  # 4
        if entry["type"] in NUMBERED:
            self.reports.take(entry)  # 9
        if ts >= self.newest:  # 5
            self.newest = ts
        elif moment(self.newest) - moment(ts) > timedelta(minutes=1):
            back = moment(self.newest) - moment(ts)
            self.warn(f"entry {seq} is {back} older than one before it")
        if entry["type"] not in TYPES:
            self.warn(f"entry {seq} is of a type unknown here: {entry['type'][:60]}")

    def settle_cut(self) -> None:
        if self.cut is not None:
            self.problem(INVALID, self.size, f"entry {self.size}: the line has no end")
            self.place(leaf_hash(self.cut))
            self.cut = None

    def skips(self, entry: Entry) -> bool:
        """Whether the entry stands further on; one that stood before is passed over."""
        seq = entry["seq"]
        if seq < self.size:
            sentence = f"a line that says it is entry {seq} stands where entry {self.size} belongs"
            self.problem(INVALID, seq, sentence, here=True)
            return False
        self.gap(seq)
        if self.size == seq - 1:  # one is missing: the entry after it tells its leaf
            self.place(bytes.fromhex(entry["prev"]))
        else:
            self.lose(seq)
        return True

    def unlinked(self, entry: Entry) -> None:
        if self.pending is None:  # entry 0 has no entry before it
            self.problem(INVALID, 0, "entry 0 carries the hash of an entry before it")
            return
        kept, many = [], 2 * len(self.readings) > 16
        for reading in self.readings:
            other = reading.copy()
            other.altered.append(reading.size)
            other.append(bytes.fromhex(entry["prev"]))
            kept.append(other)
            if not many:
                reading.links.append(reading.size + 1)
                reading.append(self.pending)
                kept.append(reading)
        self.readings, self.pending = kept, None
        self.compare()

    def place(self, leaf: bytes) -> None:
        """An entry takes the next place; the one before it is folded into the tree."""
        if self.pending is not None:
            self.fold()
        self.pending, self.prev = leaf, leaf.hex()
        self.size += 1

    def fold(self) -> None:
        for reading in self.readings:
            reading.append(self.pending)  # type: ignore[arg-type]
        if self.next is not None and self.next[0] <= self.readings[0].size:
            self.compare()

    def flush(self) -> None:
        if self.pending is not None:
            self.fold()
            self.pending = None

    def lose(self, size: int) -> None:
        """So many leaves are missing that no later root can be computed."""
        self.flush()
        self.lost, self.size, self.prev = True, size, None

    def check_incident(self, entry: Entry) -> None:
        incident, number = entry["incident"], entry["inc_seq"]
        expected = self.incidents.get(incident, number if self.first else 0)
        if number != expected and not self.problem_count:
            sentence = f"entry {entry['seq']} is number {number} of its incident"
            self.problem(INVALID, entry["seq"], f"{sentence}, expected {expected}")
        self.incidents[incident] = number + 1
        counted = entry["body"].get("entries") if entry["type"] == "incident.close" else None
        if counted is not None and counted != number + 1:
            self.warn(
                f"entry {entry['seq']} closes its incident with {counted} entries,"
                f" the log has {number + 1}"
            )

    def compare(self) -> None:
        """6: at each checkpoint's size, the root of the lines is the signed root."""
        while self.next is not None and self.next[0] <= self.readings[0].size:
            checkpoint, self.next = self.next, next(self.expected, None)
            size, root = checkpoint
            if self.differs(checkpoint):
                continue
            self.last = checkpoint
            if self.lost or self.mismatch or size < self.readings[0].size:
                continue
            settled = next((each for each in self.readings if each.root() == root), None)
            if settled is None:
                self.mismatch = True
                whose = "last audit's" if checkpoint is self.pinned else "signed"
                what = f"entries {self.proven} to {size - 1} do"
                what = what if size > self.first else "the hashes before the first entry do"
                sentence = f"{what} not lead to the {whose} root of the first {size} entries"
                self.problem(INVALID, self.proven, sentence)
                continue
            self.proven, self.checkpoints = size, self.checkpoints + 1
            altered, links, settled.altered, settled.links = settled.altered, settled.links, [], []
            self.readings = [settled]
            self.blame(altered, links)

    def differs(self, checkpoint: Checkpoint) -> bool:
        """Whether it is the second of its size; with another root, it is evidence."""
        if self.last is None or self.last[0] != checkpoint[0]:
            return False
        if self.last[1] != checkpoint[1]:
            sentence = f"two checkpoints of {checkpoint[0]} entries have different roots"
            self.problem(INVALID, max(0, checkpoint[0] - 1), sentence)
        return True

    def blame(self, altered: list[int], links: list[int]) -> None:
        for seq in altered:
            self.problem(INVALID, seq, f"entry {seq} is not the one that was signed")
        for seq in links:
            sentence = f"entry {seq} does not carry the hash of the entry before it"
            self.problem(INVALID, seq, sentence)

    def finish(self) -> Entry:
        """8: the end of the log, and the report."""
        if self.next is not None and self.next[0] > self.size:
            self.settle_cut()
        self.flush()
        self.end_segment()
        self.blame(self.readings[0].altered, self.readings[0].links)
        while self.next is not None:  # checkpoints of entries that are not there
            if not self.differs(self.next):
                self.last = self.next
            self.next = next(self.expected, None)
        size = 0 if self.last is None else self.last[0]
        if size > self.size:
            self.absent(size)
        verdict, sentence = self.judge(size)
        missing = self.reports.findings()
        if verdict == VALID and missing:
            sentence = f"{missing[0]}; the {size} entries are as signed"
            verdict = INCOMPLETE
        return self.report(verdict, sentence)

    def report(self, verdict: str, sentence: str) -> Entry:
        size, root = self.last or (0, None)
        missing = self.reports.findings()
        return {
            "verdict": verdict,
            "sentence": sentence,
            "origin": self.origin,
            "size": max(self.size, size),
            "signed_size": size,
            "root": root and root.hex(),
            "checkpoints": self.checkpoints,
            "first_bad": self.lowest and self.lowest[1],
            "segments": [self.result(*each) for each in self.segments],
            "problems": listed(self.problems),
            "problem_count": self.problem_count,
            "warnings": self.warnings,
            "warning_count": self.warning_count,
            "missing_reports": missing[:MAX_LISTED],
            "missing_report_count": len(missing),
        }

    def judge(self, size: int) -> tuple[str, str]:
        if self.problem_count:
            rest = ""
            if self.proven == size > 0 and self.lowest is not None:
                rest = f"; what else is among the first {size} entries is as signed"
            return TAMPERED, (self.lowest or self.problems[0])[2] + rest
        if self.last is None:
            what = "no checkpoint: nothing here is signed" if self.size else "there is no log here"
            return INCOMPLETE, what
        if self.cut is not None:
            what = "the machine stopped, or the notary writes, in the middle of a line; the"
            return INCOMPLETE, f"{what} {size} signed entries are as signed"
        if self.size > size:
            what = f"the last {self.size - size} entries are not signed yet; the {size} before"
            return INCOMPLETE, f"{what} are as signed"
        if self.first:
            return VALID, f"entries {self.first} to {size - 1}, all there and as signed"
        return VALID, f"{size} entries, all there and as signed"

    def end_segment(self) -> None:
        if self.segment >= 0:
            self.segments.append((self.segment, self.lines, None))
            self.segment = -1

    def gap(self, upto: int) -> None:
        what = f"entries {self.size} to {upto - 1} are"
        what = f"entry {self.size} is" if upto == self.size + 1 else what
        self.problem(GAP, self.size, f"{what} missing")

    def absent(self, upto: int) -> None:
        """No file holds the entries from here up to this one."""
        boundary = -(-self.size // self.per_segment) * self.per_segment
        if boundary > self.size:
            self.gap(min(upto, boundary))
        for first in islice(range(boundary, upto, self.per_segment), MAX_LISTED):
            self.segments.append((first, 0, MISSING))
            self.problem(MISSING, first, f"the segment with entry {first} is missing")
        self.lose(upto)

    def problem(self, status: str, seq: int | None, sentence: str, here: bool = False) -> None:
        place = 0 if seq is None else max(self.first, seq - seq % self.per_segment)
        self.note(status, seq, sentence, self.segment if here else place)

    def result(self, first: int, lines: int, status: str | None) -> Entry:
        worst = self.worst.get(first)
        status = status or (worst and worst[0])
        sentence = worst and worst[2]
        if status is None:
            proven = first + lines <= self.proven or not (self.lost or self.mismatch)
            status = VALID if proven else UNPROVEN
        if status == UNPROVEN:
            start = max(first, self.proven)
            sentence = f"from entry {start} on linked, but no signed root can be recomputed"
        return {
            "name": f"{first:012}",
            "first_seq": first,
            "entries": lines,
            "status": status,
            "sentence": sentence,
        }


# ---- Exports: a part of a log, and what was packed with it ---------------------------------------


def read_export(path: Path) -> Entry | None:
    """What `export.json` says is in the folder; None for a log folder."""
    file = path / "export.json"
    if not file.exists():
        return None
    data = file.read_bytes()
    try:
        export = read_json(data.decode())[0]
        kind, first, incident = export["kind"], export["first"], export["incident"]
        if write_json(export).encode() + b"\n" != data:
            raise ValueError("not in canonical form")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"export.json: {error}") from error
    if export.get("format") != "sentinel-export/v1" or not is_count(first):
        raise Refused("export.json: not a sentinel-export/v1")
    if kind not in ("whole", "range", "incident") or (kind == "whole" and first):
        raise Refused("export.json: an unknown kind of export, or a whole log without its begin")
    if (kind == "incident") != (type(incident) is str):
        raise Refused("export.json: an incident without its id, or an id without one")
    return dict(export)


def check_manifest(path: Path, signer: Vkey | None) -> tuple[list[str], list[str]]:
    """Problems and warnings: every file as MANIFEST.sha256 lists it, and who signed that list."""
    problems, listed, data = [], set(), (path / "MANIFEST.sha256").read_bytes()
    for line in data.decode(errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", name):
            problems.append(f"MANIFEST.sha256: a line that names no file: {name[:80]!r}")
            continue
        listed.add(name)
        if not (path / name).is_file():
            problems.append(f"{name} is missing")
        elif file_digest(path / name) != digest:
            problems.append(f"{name} is not the file that the manifest lists")
        elif name.startswith("blobs/"):
            commitment = file_digest(path / name, b"sentinel-blob/v1\0")
            if name != f"blobs/{commitment}":
                problems.append(f"{name} is not what its entry committed to")
    if signer is not None:
        text = f"sentinel-export/v1\n{signer[0]}\n{sha256(data).hexdigest()}\n"
        try:
            note = (path / "MANIFEST.note").read_bytes().decode(errors="replace")
            if open_note(note, [signer])[0] != text:
                problems.append("MANIFEST.note: its text is not of this manifest")
        except (Refused, OSError) as error:
            what = error if isinstance(error, Refused) else "not there, so the export is unsigned"
            problems.append(f"MANIFEST.note: {what}")
    there = {each.relative_to(path).as_posix() for each in path.rglob("*") if not each.is_dir()}
    more = sorted(there - listed - {"MANIFEST.sha256", "MANIFEST.note"})
    return problems, [f"{name!r} is not in the manifest: nobody vouches for it" for name in more]


def file_digest(file: Path, prefix: bytes = b"") -> str:
    digest = sha256(prefix)
    with file.open("rb") as stream:
        for chunk in iter(partial(stream.read, 1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def read_proof(path: Path, seq: int, note: str) -> list[bytes]:
    """The inclusion path of a C2SP tlog-proof, which must be under this checkpoint."""
    file = path / "proofs" / f"{seq:012}.tlog-proof"
    if not file.is_file():
        raise Refused(f"entry {seq} comes without its proof")
    text = file.read_bytes()[: 64 * 1024 + 1].decode(errors="replace")
    head, gap, under = text.partition("\n\n")
    lines = head.split("\n")
    hashes = [unbase64(line) for line in lines[2:]]
    if len(text) > 64 * 1024 or not gap or lines[:2] != ["c2sp.org/tlog-proof@v1", f"index {seq}"]:
        raise Refused(f"the proof of entry {seq} is malformed")
    if len(hashes) > 53 or any(each is None or len(each) != 32 for each in hashes):
        raise Refused(f"the proof of entry {seq} is malformed")
    if under != note:
        raise Refused(f"the proof of entry {seq} is under another checkpoint")
    return [each for each in hashes if each is not None]


def before_part(path: Path, vkeys: list[Vkey], first: int, note: str) -> list[bytes]:
    """The peaks of the tree before a part of a log, from its first entry's inclusion proof."""
    size, root = open_checkpoint(note, vkeys)
    line = next((line for file in segment_files(path)[:1] for line in read_lines(file)), b"\n")
    steps = read_proof(path, first, note)
    if not first < size:
        raise Refused(f"entry {first} is not among the first {size}")
    leads, left = follow(first, size, leaf_hash(line[:-1]), steps)
    if leads != root:
        raise Refused(f"the inclusion proof of entry {first} does not lead to the signed root")
    return left


class Disclosure(Walk):
    """One incident's entries, each with its own proof; no other entry is needed to check them."""

    def check(self, path: Path, export: Entry, note: str) -> Entry:
        """Each entry against the signed root, their numbers against the count in the closing."""
        self.last, self.next, self.first = self.next, None, export["first"]
        self.before, self.number, self.closed = -1, 0, 0
        self.segment = self.first
        for raw in read_lines(path / "entries.jsonl"):
            self.lines += 1
            try:
                self.check_entry(raw, path, export["incident"], note)
            except Refused as error:
                sentence = f"line {self.lines} of entries.jsonl: {error}"
                self.problem(INVALID, self.before + 1, sentence, here=True)
        self.end_segment()
        if self.problem_count:
            return self.report(TAMPERED, (self.lowest or self.problems[0])[2])
        what = f"incident {export['incident']}"
        if not self.closed:
            what = f"{what}: {self.number} entries as signed, but not its closing"
            return self.report(INCOMPLETE, f"{what}: whether there are later ones is not shown")
        after = f" and {self.number - self.closed} after it" if self.number > self.closed else ""
        what = f"{what}: all {self.closed} entries to its closing{after}, as signed"
        return self.report(VALID, what)

    def check_entry(self, raw: bytes, path: Path, incident: str, note: str) -> None:
        entry, (size, root) = decode(raw[:-1]), self.last or (0, b"")
        seq, number = entry["seq"], entry["inc_seq"]
        if raw[-1:] != b"\n" or entry["log"] != self.origin or entry["incident"] != incident:
            raise Refused(f"it is not of this incident of {self.origin}")
        if not self.before < seq < size:
            raise Refused(f"entry {seq} stands after entry {self.before}, and {size} are signed")
        steps, leads = read_proof(path, seq, note), None
        with suppress(Refused):
            leads = follow(seq, size, leaf_hash(raw[:-1]), steps)[0]
        if leads != root:
            raise Refused(f"entry {seq} is not the one that was signed")
        self.before, self.checkpoints = seq, 1
        if number != self.number:
            sentence = f"entry {seq} is number {number} of its incident, expected {self.number}"
            self.problem(GAP if number > self.number else INVALID, seq, sentence, here=True)
        self.number = number + 1
        if entry["type"] == "incident.close" and entry["body"].get("entries") == number + 1:
            self.closed = number + 1


# ---- Files and the command -----------------------------------------------------------------------


def segment_files(path: Path) -> list[Path]:
    if not (path / "seg").is_dir():
        raise Refused(f"{path}: expected a log folder with seg/ in it", 2)
    return sorted(file for file in (path / "seg").glob("*.jsonl") if file.stem.isdecimal())


def read_lines(file: Path) -> Iterator[bytes]:
    """What is longer than any entry comes in pieces, so that no line can fill the memory."""
    with file.open("rb") as stream:
        yield from iter(partial(stream.readline, MAX_LINE_BYTES + 2), b"")


def read_note(path: Path) -> str | None:
    """The published checkpoint; after a crash it may be older than the last kept one."""
    file = path / "checkpoint"
    return file.read_bytes().decode(errors="replace") if file.exists() else None


def kept_notes(path: Path, upto: str | None) -> Iterator[str]:
    """Each note ends with an empty line, and has one inside; torn bytes at an end are left out."""
    for file in sorted((path / "checkpoints").glob("*.notes")):
        note, empty = b"", 0
        for line in read_lines(file):
            note, empty = note + line, empty + (line == b"\n")
            if empty == 2 or len(note) > 2_000_000:
                text, note, empty = note[:-1].decode(errors="replace"), b"", 0
                yield text
                if text == upto:
                    return


def size_while_written(path: Path, published: str | None, vkeys: list[Vkey]) -> int | None:
    """The published size when a notary has the log open, None when all that is there counts."""
    if published is None or fcntl is None:
        return None
    try:
        with (path / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(Refused):  # the walk says what is wrong with it
            return open_checkpoint(published, vkeys)[0]
    except OSError:
        pass
    return None


def check(
    path: Path,
    keys: Keys,
    since: str | None = None,
    export_vkey: Vkey | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    per_segment: int = SEGMENT_ENTRIES,
) -> Entry:
    """The report on a log folder, or on an export."""
    export, note = read_export(path), read_note(path)
    first, upto = 0, None
    peaks: list[bytes] = []
    problems: list[str] = []
    warnings: list[str] = []
    if export is None:
        upto = size_while_written(path, note, keys.all)
    else:
        problems, warnings = check_manifest(path, export_vkey)
        first = 0 if export["kind"] == "incident" else export["first"]
    if since is not None and export is not None:
        size = open_checkpoint(since, keys.all)[0]
        if export["kind"] == "incident" or size < first:
            raise Refused("this part of the log cannot be compared with that checkpoint", 2)
    if export is not None and export["kind"] == "incident":
        more = [] if note is None or keys.simple else keys_of_one(note, keys, problems)
        disclosure = Disclosure([], note, keys.all)
        disclosure.remark(problems, [*warnings, *more])
        return {**disclosure.check(path, export, note or ""), "live": False}
    if first:
        try:
            peaks = before_part(path, keys.all, first, note or "")
        except Refused as error:
            problems.append(str(error))
            peaks = [bytes(32)] * bin(first).count("1")  # noqa: FURB161 - for 3.9
    kept, published, watch = kept_notes(path, None if upto is None else note), note, None
    if not keys.simple:
        if since is not None and not Watch(keys).counts(since):
            raise Refused("the checkpoint of the last audit is not signed by keys that count")
        published = next(Watch(keys).kept([] if note is None else [note]), None)
        start, kept = first_epoch(keys, kept, note) if first else (None, kept)
        watch = Watch(keys, start)
        kept = watch.notes(kept, note)
    walk = Walk(kept, published, keys.all, since, per_segment, first, peaks)
    walk.remark(problems, warnings)
    walk_files(walk, watch, segment_files(path), upto, progress)
    report = walk.finish()
    return {**(watch.judged(report) if watch else report), "live": upto is not None}


def keys_of_one(note: str, keys: Keys, problems: list[str]) -> list[str]:
    """What a single checkpoint shows about its keys; their turn shows in the whole log only."""
    if not Watch(keys).counts(note):
        problems.append("the checkpoint is not signed by keys that count")
        return []
    if not keys.epochs:
        return []
    return ["one incident does not show whether each epoch's key signed in its time"]


def walk_files(
    walk: Walk,
    watch: Watch | None,
    files: list[Path],
    upto: int | None,
    progress: Callable[[int, int], None],
) -> None:
    total, done = sum(file.stat().st_size for file in files), 0
    for file in files:
        if upto is not None and walk.read >= upto:
            return
        walk.begin(int(file.stem))
        lines = watch.lines(read_lines(file)) if watch and watch.epochs else read_lines(file)
        for line in islice(lines, None if upto is None else upto - walk.read):
            walk.take(line)
            done += len(line)
            if walk.read % 4096 == 0:
                progress(done, total)


def as_text(report: Entry) -> str:
    """The report for a terminal."""
    lines = [f"{report['verdict']}: {report['sentence']}"]
    if report["root"] is not None:
        lines.append(f"  signed: {report['signed_size']} entries of {report['origin']}")
        lines.append(f"  root:   {report['root']} ({report['checkpoints']} checkpoints recomputed)")
    bad = [each for each in report["segments"] if each["status"] != VALID]
    whole = len(report["segments"])
    lines.append(f"  segments: {whole - len(bad)} of {whole} valid")
    lines += [f"    {s['name']}  {s['status']}  {s['sentence'] or ''}".rstrip() for s in bad]
    lines += [f"  {each['status']}: {each['sentence']}" for each in report["problems"][1:]]
    if report["problem_count"] > len(report["problems"]):
        lines.append(f"  and {report['problem_count'] - len(report['problems'])} more problems")
    lines += [f"  {sentence}" for sentence in report["missing_reports"]]
    more = report["missing_report_count"] - len(report["missing_reports"])
    lines += [f"  and {more} more holes in the nodes' numbers"] if more else []
    lines += [f"  warning: {warning}" for warning in report["warnings"]]
    if report["warning_count"] > len(report["warnings"]):
        lines.append(f"  and {report['warning_count'] - len(report['warnings'])} more warnings")
    return "\n".join(lines)


def bar(done: int, total: int) -> None:
    filled = 40 * done // max(1, total)
    end = "\r" if done < total else "\n"
    sys.stderr.write(f"\rverifying [{'#' * filled:40}] {100 * done // max(1, total)} %{end}")


def trusted(options: argparse.Namespace, policy: Policy | None) -> tuple[Keys, str]:
    """The keys to trust, and where they came from."""
    epochs = options.epochs or options.path / "epochs.note"
    if policy is not None:
        if policy.roots:
            made = open_list(epochs.read_text("utf-8"), policy.roots[0])
            return Keys([], policy.seconds, made), "policy"
        return Keys(policy.logs, policy.seconds), "policy"
    if options.root is not None:
        given = Path(options.root)
        root = parse_vkey(given.read_text("utf-8") if given.is_file() else options.root)
        return Keys([], (), open_list(epochs.read_text("utf-8"), root)), "command line"
    if options.vkey is not None:
        return Keys([parse_vkey(options.vkey)]), "command line"
    if options.vkey_file is not None:
        return Keys([parse_vkey(options.vkey_file.read_text(encoding="utf-8"))]), "file"
    if (options.path / "epochs.note").exists():
        root = parse_vkey((options.path / "root.vkey").read_text("utf-8"))
        return Keys([], (), open_list(epochs.read_text("utf-8"), root)), "log folder"
    return Keys([parse_vkey((options.path / "log.vkey").read_text("utf-8"))]), "log folder"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(3, f"{self.prog}: {message}\n")


def main(argv: list[str] | None = None) -> int:
    parser = Parser(
        prog="audit_verify.py",
        description="Check an audit log, or an export of one, with nothing but Python.",
        epilog="exit status: 0 valid, 1 tampered, 2 incomplete or unknown, 3 not understood",
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="a log folder or unpacked export")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--policy", metavar="FILE", type=Path, help="`log VKEY` lines to trust")
    whose.add_argument("--vkey", help="the log's key; default: PATH/log.vkey, which proves less")
    whose.add_argument("--vkey-file", metavar="FILE", type=Path, help="the log's key, from a file")
    whose.add_argument("--root", metavar="VKEY", help="the root key of a log whose keys change")
    parser.add_argument("--epochs", metavar="LIST", type=Path, help="default: PATH/epochs.note")
    parser.add_argument("--since", metavar="CHECKPOINT", type=Path, help="of the last audit")
    parser.add_argument("--export-vkey", metavar="VKEY", help="the key that signed the export")
    parser.add_argument("--json", action="store_true", help="the report as one JSON object")
    options = parser.parse_args(argv)
    try:
        asked = None if options.policy is None else Policy(options.policy.read_text("utf-8"))
        keys, told = trusted(options, asked)
        since = None if options.since is None else options.since.read_text(encoding="utf-8")
        signer = None if options.export_vkey is None else parse_vkey(options.export_vkey)
        quiet: Callable[[int, int], None] = lambda _done, _all: None  # noqa: E731
        enough = asked and asked.is_enough([read_note(options.path), since], keys.all)
        report = check(options.path, keys, since, signer, bar if sys.stderr.isatty() else quiet)
    except (Refused, OSError, UnicodeDecodeError) as error:
        print(f"audit_verify.py: {error}", file=sys.stderr)
        return error.status if isinstance(error, Refused) else 2
    status = 2 if enough is False and report["verdict"] == VALID else EXIT[report["verdict"]]
    if options.json:
        print(write_json({**report, "key_from": told, "quorum": enough}))
        return status
    print(as_text(report))
    if enough is False:
        print("  UNKNOWN: no checkpoint here has the cosignatures that the policy asks for")
    if keys.epochs:
        print(f"  keys:   epochs 0 to {len(keys.epochs) - 1} of list {keys.sequence}")
    else:
        print(f"  key:    {vkey_text(keys.vkeys[0])}")
    for vkey in keys.all[len(keys.vkeys) :]:
        print(f"  second: {vkey_text(vkey)}")
    if told == "log folder":
        print("  This key came with what it is to prove: compare it with the one you noted when")
        print("  the log was begun, or give that one with --vkey.")
    return status


if __name__ == "__main__":
    sys.exit(main())
