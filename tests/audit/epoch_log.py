"""A log in memory whose keys change, and the thief who has the key of today."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import msgspec

from audit.chain import START, Head, after, following
from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.counting import Second
from audit.entry import Actor, EntryDraft, encode, leaf_hash
from audit.epoch_notes import Demands
from audit.epoch_rules import verify_demanding
from audit.epochs import EpochList, Ratchet, certify, open_list, plan
from audit.merkle import Range
from audit.note import Signer, parse_vkey
from audit.report import Report
from audit.signer import LocalSigner
from tests.audit.builders import ORIGIN, PER_SEGMENT, signer, uuid_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LONG = 10 * DAY  # of an epoch
NOTARY = Actor(kind="notary", id="notary", node=None, session=None)
HUB = Actor(kind="hub", id="hub", node=None, session=None)
ROOT = signer(77, name=f"{ORIGIN}/root")
OTHER_ROOT = signer(78, name=f"{ORIGIN}/root")
SECOND = signer(79, name=f"{ORIGIN}/second")


def ratchet_of(seed: int = 1, *, epoch: int = 0) -> Ratchet:
    """Always the same secret for the same seed."""
    key = hashlib.sha256(f"ratchet {seed}".encode()).hexdigest()
    return Ratchet(log=ORIGIN, epoch=epoch, key=key)


def list_of(
    count: int = 6, *, seed: int = 1, sequence: int = 1, second: LocalSigner | None = None
) -> EpochList:
    """Epochs of ten days each."""
    epochs = plan(
        ratchet_of(seed),
        begin=BEGIN,
        ends=[BEGIN + LONG * (n + 1) for n in range(count)],
        second=None if second is None else second.vkey,
    )
    return EpochList(log=ORIGIN, sequence=sequence, epochs=tuple(epochs))


class EpochLog:
    """Writes as the notary does; every method of an attack is the honest one with another key."""

    def __init__(
        self, epochs: EpochList, ratchet: Ratchet, *, second: Signer | None = None
    ) -> None:
        self.epochs, self.ratchet, self.second = epochs, ratchet, second
        self.lines: list[bytes] = []
        self.notes: list[str] = []
        self.tree, self.head = Range(), START
        self.now = BEGIN
        self.numbers = 0

    @classmethod
    def begun(cls, epochs: EpochList | None = None, **more: Any) -> Self:
        """A log with its first checkpoint."""
        log = cls(epochs or list_of(), ratchet_of(), **more)
        log.write("log.open", {"vkey": log.epochs.epochs[0].vkey, "format": 1}, who=NOTARY)
        log.sign()
        return log

    def copy(self) -> "EpochLog":
        """The same log in other hands."""
        other = EpochLog(self.epochs, self.ratchet, second=self.second)
        other.lines, other.notes = [], self.notes.copy()
        for line in self.lines:
            other.put(line)
        other.now, other.numbers = self.now, self.numbers
        return other

    def put(self, line: bytes) -> None:
        self.lines.append(line)
        self.tree.append(leaf_hash(line))
        self.head = after(self.head, line)

    def write(self, kind: str, body: dict[str, Any], *, who: Actor = HUB) -> None:
        self.numbers += 1
        entry = EntryDraft(id=uuid_of(self.numbers), at=self.now, type=kind, actor=who, body=body)
        self.put(encode(following(entry, log=ORIGIN, head=self.head, inc_seq=None)))

    def happen(self, count: int = 3) -> None:
        """Things happen, each is signed."""
        for number in range(count):
            self.write("config.change", {"what": "test", "number": number})
            self.sign()

    def note(self, *signers: Signer) -> str:
        checkpoint = Checkpoint(origin=ORIGIN, size=len(self.lines), root=self.tree.root())
        more = [] if self.second is None else [self.second]
        return sign_checkpoint(checkpoint, *signers, *more)

    def sign(self, *signers: Signer) -> None:
        self.notes.append(self.note(*(signers or [self.ratchet.signer()])))

    def change(self, new: Ratchet, *, reason: str = "the epoch ends") -> None:
        """Write the entry that changes the key."""
        old = self.epochs.epochs[self.ratchet.epoch]
        body = {
            "old_vkey": old.vkey,
            "new_vkey": new.signer().vkey,
            "old_epoch": old.epoch,
            "epoch": new.epoch,
            "reason": reason,
        }
        self.write("key.rotate", body, who=NOTARY)

    def rotate(self) -> None:
        """To the next epoch, at its time."""
        new = self.ratchet.next()
        self.now = max(self.now, BEGIN + LONG * new.epoch)
        self.change(new)
        self.sign(self.ratchet.signer(), new.signer())
        self.ratchet = new

    def take_over(self, new: Ratchet) -> None:
        """To a new secret after a revocation."""
        self.change(new, reason="revoked")
        self.sign(new.signer())
        self.ratchet = new

    def verify(
        self, epochs: EpochList | None = None, *, since: str | None = None, seconds: Any = ()
    ) -> Report:
        """As an auditor does, with the list of the root key."""
        chosen = epochs or self.epochs
        opened = open_list(certify(chosen, ROOT), parse_vkey(ROOT.vkey))
        demands = Demands(vkeys=opened.vkeys, epochs=opened, seconds=tuple(seconds))
        starts = range(0, max(1, len(self.lines)), PER_SEGMENT)
        files = [
            (f"{at:012}", [b"%b\n" % line for line in self.lines[at : at + PER_SEGMENT]])
            for at in starts
        ]
        latest = self.notes[-1] if self.notes else None
        return verify_demanding(
            files,
            self.notes,
            demands=demands,
            latest=latest,
            since=since,
            segment_entries=PER_SEGMENT,
        )


def history(rotations: int = 3, *, epochs: EpochList | None = None, **more: Any) -> EpochLog:
    """A log over so many epochs."""
    log = EpochLog.begun(epochs, **more)
    log.happen()
    for _ in range(rotations):
        log.rotate()
        log.now += DAY
        log.happen()
    return log


def forged(log: EpochLog, *, upto: int) -> EpochLog:
    """The same log with another entry at a place, everything after it linked anew, unsigned."""
    thief = log.copy()
    lines = thief.lines
    thief.lines, thief.tree, thief.head = [], Range(), Head(size=0, prev=START.prev)
    for number, line in enumerate(lines):
        entry = msgspec.json.decode(line)
        if number == upto:
            entry["body"] = {"what": "nothing happened"}
        entry["prev"] = thief.head.prev
        thief.put(msgspec.json.encode(entry, order="sorted"))
    return thief


__all__ = ["BEGIN", "DAY", "LONG", "OTHER_ROOT", "ROOT", "SECOND", "EpochLog", "Second", "history"]
