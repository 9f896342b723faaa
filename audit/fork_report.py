"""For who verifies a log: decisions to go on after it was set back, told and checked.

Apart from the verifier, which reads every line once and knows no people: here only the lines that
say `log.fork` are read, of a log that was verified before. The signatures are checked when the list
of people is given that was in force then; without it the sentence says that they were not.
"""

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from appliance import records
from appliance.errors import RefusedError
from appliance.fork_statement import SignedFork
from appliance.people import People
from audit import fork_decision
from audit.counting import Counting
from audit.entry import decode
from audit.errors import AuditRefusedError, EntryError, ForkError
from audit.folder import segment_files
from audit.note import Vkey

_MARK = b'"type":"log.fork"'


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One decision."""

    seq: int
    sentence: str
    signatures: str  # "good", "not checked: …", or what is wrong with it

    def __str__(self) -> str:
        return f"entry {self.seq}: {self.sentence}; signatures: {self.signatures}"


def read_people(path: Path) -> People:
    """The signed target `people.json`, unpacked. Raises `RefusedError`."""
    return records.from_json(path.read_bytes(), People)


def decisions(
    path: Path, *, keys: Counting | Sequence[Vkey], people: People | None, upto: int
) -> tuple[list[Told], str]:
    """What was decided in the first `upto` entries; and what is wrong with one of them, if any is.

    Without people nothing is wrong but what a reader sees.
    """
    found, wrong = [], ""
    for line in _lines(path):
        try:
            entry = decode(line)
        except EntryError:
            continue  # the verifier says so
        if entry.type != "log.fork" or entry.seq >= upto:
            continue
        sentence, state = "a decision to go on after the log was set back", "not checked"
        try:
            signed, decision = fork_decision.in_entry(entry, keys)
            names = [one.operator for one in signed.signatures]
            sentence = fork_decision.sentence(decision, names)
            state = _checked(signed, people)
        except (AuditRefusedError, RefusedError) as error:
            state = f"it does not hold: {error}"
            if people is not None:
                wrong = wrong or f"entry {entry.seq} is a decision that does not hold: {error}"
        found.append(Told(seq=entry.seq, sentence=sentence, signatures=state))
    return found, wrong


def _checked(signed: SignedFork, people: People | None) -> str:
    if people is None:
        if len(signed.signatures) < fork_decision.NEEDED:
            raise ForkError(f"{len(signed.signatures)} of {fork_decision.NEEDED} have signed")
        return "not checked: give --people, the list that was in force"
    from appliance.operator_signature import verify  # noqa: PLC0415 - large, and seldom needed

    for claim in fork_decision.claims(signed, people):
        verify(claim)
    return "good"


def _lines(path: Path) -> Iterator[bytes]:
    if not (path / "seg").is_dir():
        return  # an incident alone: a decision about the log belongs to none
    for file in segment_files(path):
        if file.stat().st_size == 0:
            continue
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            at = data.find(_MARK)
            while at >= 0:
                end = data.find(b"\n", at)
                end = len(data) if end < 0 else end
                yield data[data.rfind(b"\n", 0, at) + 1 : end]
                at = data.find(_MARK, end)
