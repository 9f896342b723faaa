"""What the model may choose from: the first suspects, each with its own remedies, and abstaining.

Every choice is a short text with a label in front, made here from evidence and catalogue. The
grammar lets the model write exactly these texts, the prompt shows them, and the reader looks
them up again: a choice that is not in this record does not exist.
"""

import re
from string import ascii_uppercase

from appliance.records import Condition, Finding, ProcessEvidence, Record
from hub.reason.diagnose import Diagnosis, Suspect
from hub.reason.measures import is_subject
from hub.reason.remedy import Remedy

MOST_CULPRITS = 3  # of the ranking; further down a small model only guesses
MOST_REMEDIES = 4
MOST_CITATIONS = 12  # e-ids that one answer may choose its citations from
ABSTAIN = "N none of these"
NO_FIX = "0 nothing by command"

ABOUT_ONE_PROCESS = frozenset({Condition.PROCESS_MEMORY, Condition.PROCESS_LEAK})

MOST_NAME = 40  # characters; a process's name has 15, and a path is known by its two ends

_ODD = re.compile(r"[^A-Za-z0-9_./@:+-]")  # in a choice, anything else is an underscore
_PID = re.compile(r"(.*) (\(pid [0-9]+\))", re.DOTALL)


class Fix(Record, frozen=True, kw_only=True):
    """One remedy as the model sees it; None: nothing may be done by a command."""

    text: str
    remedy: Remedy | None


class Option(Record, frozen=True, kw_only=True):
    """One suspect as the model sees it."""

    text: str
    suspect: Suspect
    fixes: tuple[Fix, ...]


class Offer(Record, frozen=True, kw_only=True):
    """Everything that one answer may consist of, but for the words for people."""

    options: tuple[Option, ...]
    citations: tuple[str, ...]


def offer(finding: Finding, diagnosis: Diagnosis) -> Offer:
    """The choices of this incident."""
    suspects = _eligible(finding, diagnosis)[:MOST_CULPRITS]
    named = [one.candidate.evidence_id for one in diagnosis.suspects]
    others = sorted((item.id for item in finding.evidence), key=lambda one: int(one[1:]))
    return Offer(
        options=tuple(
            _option(letter, suspect)
            for letter, suspect in zip(ascii_uppercase, suspects, strict=False)
        ),
        citations=tuple(dict.fromkeys([*named, *others]))[:MOST_CITATIONS],
    )


def _eligible(finding: Finding, diagnosis: Diagnosis) -> tuple[Suspect, ...]:
    """A finding about one process ends only when that one changes: others are no answer to it."""
    if finding.condition not in ABOUT_ONE_PROCESS:
        return diagnosis.suspects
    named = {
        item.id
        for item in finding.evidence
        if isinstance(item, ProcessEvidence) and is_subject(finding, item, ()) > 0
    }
    meant = [one for one in diagnosis.suspects if one.candidate.evidence_id in named]
    return tuple(meant) or diagnosis.suspects


def _gentlest(remedies: tuple[Remedy, ...]) -> list[Remedy]:
    """The first remedy that acts; where none does, those that look.

    Force is for when gentleness failed, and a plan that only looks resolves nothing.
    """
    acting = [remedy for remedy in remedies if not remedy.only_reads][:1]
    return acting or list(remedies)


def _option(letter: str, suspect: Suspect) -> Option:
    candidate = suspect.candidate
    fixes = [
        Fix(text=f"{number} {remedy.key} by {_program(remedy)}", remedy=remedy)
        for number, remedy in enumerate(_gentlest(suspect.remedies)[:MOST_REMEDIES], 1)
    ]
    return Option(
        text=f"{letter} {candidate.evidence_id} {_name(candidate.label)}",
        suspect=suspect,
        fixes=tuple(fixes) or (Fix(text=NO_FIX, remedy=None),),
    )


def _program(remedy: Remedy) -> str:
    """The first word of its first command, which is the catalogue's own."""
    return remedy.steps[0].command.split(" ", 1)[0] if remedy.steps else "hand"


def _name(label: str) -> str:
    """A name that identifies and cannot speak: one short word, with the pid behind it."""
    found = _PID.fullmatch(label)
    name, behind = (found[1], f" {found[2]}") if found else (label, "")
    word = _ODD.sub("_", name)
    if len(word) > MOST_NAME:
        word = f"{word[: MOST_NAME // 2]}..{word[-MOST_NAME // 2 :]}"
    return word + behind
