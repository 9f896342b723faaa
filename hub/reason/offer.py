"""What the model may choose from: the first suspects, each with its own remedies, and abstaining.

Every choice is a short text with a label in front, made here from evidence and catalogue. The
grammar lets the model write exactly these texts, the prompt shows them, and the reader looks
them up again: a choice that is not in this record does not exist.
"""

import re
from string import ascii_uppercase

from appliance.records import Finding, Record
from hub.reason.diagnose import Diagnosis, Suspect
from hub.reason.remedy import Remedy

MOST_CULPRITS = 3  # of the ranking; further down a small model only guesses
MOST_REMEDIES = 4
MOST_CITATIONS = 12  # e-ids that one answer may choose its citations from
ABSTAIN = "N none of these"
NO_FIX = "0 nothing by command"

_ODD = re.compile(r"[^A-Za-z0-9_./@:+,=() -]")  # in a choice, anything else is an underscore


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
    suspects = diagnosis.suspects[:MOST_CULPRITS]
    named = [one.candidate.evidence_id for one in diagnosis.suspects]
    others = sorted((item.id for item in finding.evidence), key=lambda one: int(one[1:]))
    return Offer(
        options=tuple(
            _option(letter, suspect)
            for letter, suspect in zip(ascii_uppercase, suspects, strict=False)
        ),
        citations=tuple(dict.fromkeys([*named, *others]))[:MOST_CITATIONS],
    )


def _option(letter: str, suspect: Suspect) -> Option:
    candidate = suspect.candidate
    fixes = [
        Fix(text=_text(f"{number} {remedy.key} {remedy.steps[0].command}"), remedy=remedy)
        for number, remedy in enumerate(suspect.remedies[:MOST_REMEDIES], 1)
    ]
    return Option(
        text=_text(f"{letter} {candidate.evidence_id} {candidate.label}"),
        suspect=suspect,
        fixes=tuple(fixes) or (Fix(text=NO_FIX, remedy=None),),
    )


def _text(text: str) -> str:
    return " ".join(_ODD.sub("_", text)[:80].split(" ")).strip()
