"""The verdict on one command as its panel shows it: marked words, reasons, what would run.

It is read from what `hub.validate` stored beside the plan. Rows of an older hub lack fields; what
is missing is left out, and the command with its ruling is always there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec

from hub.console.words import EFFECTS, Badge
from policy.verdict import Ruling

JOINS = {
    "|": "reads what the one before writes",
    "&&": "only if the one before succeeded",
    "||": "only if the one before failed",
    ";": "afterwards, in any case",
}
_NO_WORD_OF_IT = ("role", "change-window")  # the command fits; the host or the hour does not
_SYNTAX = "syntax:"


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One stored reason."""

    ruling: str = ""
    code: str = ""
    rule: str = ""
    message: str = ""
    span: tuple[int, int] = (0, 0)
    token: str = ""
    expected: str = ""
    hint: str = ""
    found: str | None = None  # None: stored by a hub that did not say

    @property
    def found_there(self) -> str:
        """The word that stands where another was expected."""
        if self.found is not None:
            return self.found
        return self.token if self.expected and not self.code.startswith("missing") else ""

    @property
    def missing(self) -> str:
        """The word that is not there, if that is the trouble."""
        return self.expected if self.code.startswith("missing") else ""

    @property
    def construct(self) -> str:
        """The part of the shell that is outside the language, "command-substitution"."""
        return self.code.removeprefix(_SYNTAX) if self.code.startswith(_SYNTAX) else ""

    @property
    def in_the_way(self) -> bool:
        """Whether it is about a word that stands there, and would fit without it."""
        start, end = self.span
        return end > start and not self.missing and self.code not in _NO_WORD_OF_IT


class Vector(msgspec.Struct, frozen=True, kw_only=True):
    """One stored argument vector: a program call without a shell."""

    argv: tuple[str, ...]
    join: str = ""
    stdin: str = "in"
    stdout: str = "out"
    stderr: str = "err"
    paths: tuple[str, ...] = ()
    effect: str | None = None
    undo: str = ""

    @property
    def joined(self) -> str:
        """How it hangs together with the one before, in words."""
        return JOINS.get(self.join, "")

    @property
    def does(self) -> Badge | None:
        """What it does to the host; None when no rule says."""
        return EFFECTS.get(self.effect or "")

    @property
    def streams(self) -> list[str]:
        """Where its streams go, as far as that is unusual."""
        said = []
        if self.stdin == "null":
            said.append("input from /dev/null")
        if self.stdout == "null":
            said.append("output to /dev/null")
        if self.stderr == "null":
            said.append("errors to /dev/null")
        elif self.stderr == "out":
            said.append(
                "errors to where the output went before"
                if self.stdout == "null"
                else "errors into the output"
            )
        return said


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored with one judged command."""

    command: str | None = None
    explain: str = ""
    reasons: tuple[Reason, ...] = ()
    commands: tuple[Vector, ...] = ()
    argv: tuple[tuple[str, ...], ...] = ()  # of an older hub, which stored no `commands`
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A run of the command's characters under the same reason, or under none."""

    text: str
    ruling: str = ""
    number: int | None = None  # of the reason it belongs to, when there are several


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One line on what stands between this command and an allow."""

    lead: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Everything the policy said about one command."""

    pieces: list[Piece]
    against: list[Reason]
    allowed: list[Reason]
    way: Way | None
    vectors: tuple[Vector, ...]
    hidden: tuple[str, ...]
    explain: str

    @property
    def marked(self) -> bool:
        """Whether a reason points at a word."""
        return any(piece.ruling for piece in self.pieces)

    @property
    def several(self) -> bool:
        """Whether reasons need numbers to be told apart."""
        return len(self.against) > 1

    @property
    def construct(self) -> str:
        """What is outside the language, or nothing."""
        return self.against[0].construct if self.against else ""

    @property
    def only_reads(self) -> bool:
        """Whether there is nothing to undo."""
        return bool(self.vectors) and all(vector.effect == "read" for vector in self.vectors)

    @property
    def tells_undo(self) -> bool:
        """Whether a rule says how a person takes it back."""
        return any(vector.undo for vector in self.vectors)

    def says(self, *, why: str, rule: str) -> bool:
        """Whether its first reason is the one that an approval is bound to."""
        first = next(iter(self.against or self.allowed), None)
        return first is not None and (first.message, first.rule) == (why, rule)


def panel_of(command: str, ruling: str, row: dict[str, Any]) -> Panel:
    """The panel of a command; a row that is about another command says nothing."""
    stored = _stored(command, row)
    against = [reason for reason in stored.reasons if reason.ruling != Ruling.ALLOW.word]
    allowed = [reason for reason in stored.reasons if reason.ruling == Ruling.ALLOW.word]
    if ruling == Ruling.ALLOW.word and not allowed:  # an older hub left the reason's ruling out
        against, allowed = [], against
    return Panel(
        pieces=pieces_of(command, against),
        against=against,
        allowed=allowed,
        way=way_of(against) if ruling == Ruling.REVIEW.word and against else None,
        vectors=stored.commands or tuple(Vector(argv=argv) for argv in stored.argv),
        hidden=stored.hidden,
        explain=stored.explain,
    )


def _stored(command: str, row: dict[str, Any]) -> Stored:
    try:
        stored = msgspec.convert(row, Stored)
    except msgspec.ValidationError:
        return Stored()
    return stored if stored.command in (None, command) else Stored()


def pieces_of(text: str, reasons: Sequence[Reason]) -> list[Piece]:
    """The text cut where reasons begin and end; of two about the same word the worse comes first.

    Put together the pieces are the text again, whatever the spans say.
    """
    edges = {0, len(text)}
    for reason in reasons:
        edges |= {min(max(edge, 0), len(text)) for edge in reason.span}
    cuts = sorted(edges)
    pieces = []
    for start, end in pairwise(cuts):
        over = (
            number
            for number, reason in enumerate(reasons, start=1)
            if reason.span[0] <= start and end <= reason.span[1]
        )
        number = next(over, None)
        pieces.append(
            Piece(
                text=text[start:end],
                ruling=reasons[number - 1].ruling or Ruling.BLOCK.word if number else "",
                number=number if len(reasons) > 1 else None,
            )
        )
    return pieces


def way_of(reasons: Sequence[Reason]) -> Way:
    """Which words a person has to decide about, in one line."""
    words = tuple(dict.fromkeys(reason.token for reason in reasons if reason.in_the_way))
    missing = tuple(dict.fromkeys(reason.missing for reason in reasons if reason.missing))
    match len(words), len(missing):
        case 0, 0:
            return Way(lead=f"No single word stands in the way: {reasons[0].message}.")
        case 1, 0:
            return Way(lead="One word stands in the way:", words=words)
        case 0, 1:
            return Way(lead="One thing is missing:", words=missing)
        case count, 0:
            return Way(lead=f"{count} words stand in the way:", words=words)
        case 0, count:
            return Way(lead=f"{count} things are missing:", words=missing)
        case _:
            return Way(lead="In the way, or missing:", words=words + missing)
