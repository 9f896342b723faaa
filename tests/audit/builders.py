"""A small log in memory, and the ways somebody may change it."""

import hashlib
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.chain import START, after, following
from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.entry import Actor, Entry, EntryDraft, decode, encode, leaf_hash
from audit.merkle import Range
from audit.note import parse_vkey
from audit.report import Report
from audit.signer import LocalSigner
from audit.verify import verify

ORIGIN = "log.example/hub"
PER_SEGMENT = 8  # small, so that a short log has many segments
EPOCH = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WHO = Actor(kind="operator", id="maria", node=None, session=None)


def signer(seed: int = 1, *, name: str = ORIGIN) -> LocalSigner:
    """Always the same key for the same seed."""
    secret = hashlib.sha256(f"test key {seed}".encode()).digest()
    return LocalSigner(name, Ed25519PrivateKey.from_private_bytes(secret))


def uuid_of(number: int, *, version: int = 7) -> str:
    """Always the same id for the same number."""
    return str(uuid.UUID(int=(number << 80) | (version << 76) | (0b10 << 62) | number))


INCIDENT = uuid_of(99)


def draft(number: int, **changes: Any) -> EntryDraft:
    """One thing to record."""
    plain = EntryDraft(
        id=uuid_of(number),
        at=EPOCH + timedelta(seconds=number),
        type="log.open" if number == 0 else "auth.login",
        actor=WHO,
        body={"address": f"192.0.2.{number % 250}", "number": number},
    )
    return msgspec.structs.replace(plain, **changes)


def chain_of(drafts: list[EntryDraft]) -> list[bytes]:
    """Canonical lines without newlines, numbered and linked."""
    lines: list[bytes] = []
    head, numbers = START, dict[str, int]()
    for each in drafts:
        inc_seq = None
        if each.incident is not None:
            inc_seq = numbers.get(each.incident, 0)
            numbers[each.incident] = inc_seq + 1
        line = encode(following(each, log=ORIGIN, head=head, inc_seq=inc_seq))
        lines.append(line)
        head = after(head, line)
    return lines


def note_of(lines: list[bytes], *, key: LocalSigner | None = None) -> str:
    """The signed checkpoint of these lines."""
    tree = Range()
    for line in lines:
        tree.append(leaf_hash(line))
    checkpoint = Checkpoint(origin=ORIGIN, size=len(lines), root=tree.root())
    return sign_checkpoint(checkpoint, key or signer())


def rewrite(line: bytes, **changes: Any) -> bytes:
    """The entry with other fields, in canonical form: what a careful forger writes."""
    return encode(msgspec.structs.replace(decode(line), **changes))


def relink(lines: list[bytes]) -> list[bytes]:
    """Number and link the lines anew, as somebody without the key can."""
    head, result = START, []
    for line in lines:
        forged = rewrite(line, seq=head.size, prev=head.prev)
        result.append(forged)
        head = after(head, forged)
    return result


@dataclass(frozen=True, kw_only=True)
class Log:
    """Lines in segments, and the notes over them."""

    lines: list[bytes]
    notes: list[str]
    per_segment: int = PER_SEGMENT
    without: frozenset[int] = field(default_factory=frozenset)  # first seqs of missing files

    def with_lines(self, lines: list[bytes]) -> "Log":
        """The same notes over other lines, re-cut into segments."""
        return replace(self, lines=lines)

    def files(self) -> list[tuple[str, list[bytes]]]:
        """Names and lines with newlines."""
        starts = range(0, max(1, len(self.lines)), self.per_segment)
        return [
            (f"{first:012}", [b"%b\n" % x for x in self.lines[first : first + self.per_segment]])
            for first in starts
            if first not in self.without
        ]

    def verify(self, *, seed: int = 1, since: str | None = None) -> Report:
        """Under the key of this seed."""
        return verify_files(self.files(), self.notes, seed=seed, since=since)


def verify_files(
    files: list[tuple[str, list[bytes]]],
    notes: list[str],
    *,
    seed: int = 1,
    since: str | None = None,
) -> Report:
    """Verify named lines."""
    return verify(
        files,
        notes,
        vkeys=[parse_vkey(signer(seed).vkey)],
        since=since,
        segment_entries=PER_SEGMENT,
    )


def make_log(size: int = 30, *, every: int = 5, drafts: list[EntryDraft] | None = None) -> Log:
    """A log with a checkpoint every so many entries and one at the end."""
    lines = chain_of([draft(number) for number in range(size)] if drafts is None else drafts)
    sizes = sorted({*range(every, len(lines), every), len(lines)})
    return Log(lines=lines, notes=[note_of(lines[:at]) for at in sizes])


def entry_of(number: int = 3, **changes: Any) -> Entry:
    """One entry that stands for itself."""
    made = decode(chain_of([draft(n) for n in range(number + 1)])[number])
    return msgspec.structs.replace(made, **changes)
