"""The answer about one line: allow, review or block, with the rule and the reason for each part.

Rulings only ever get worse: a verdict is the maximum over its parts. This module also draws the
reasons under the command, the way a good compiler shows an error.
"""

import enum
from typing import Any

import msgspec

from policy.reader import Program, Span


class Ruling(enum.IntEnum):
    """Ordered from free to forbidden, so that `max` is always the right way to combine."""

    ALLOW = 0
    REVIEW = 1
    BLOCK = 2

    @property
    def word(self) -> str:
        """The word used in JSON, in the database and on screen."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> "Ruling":
        """The ruling a word stands for; anything unknown is a block."""
        return _BY_WORD.get(word, cls.BLOCK)


_BY_WORD = {ruling.word: ruling for ruling in Ruling}


class Effect(enum.IntEnum):
    """What a program does to the host, from harmless to irreversible."""

    READ = 0
    STATE = 1
    DESTROY = 2

    @property
    def word(self) -> str:
        """The word used in rule files and in JSON."""
        return self.name.lower()


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why one part of the line got its ruling."""

    ruling: Ruling
    code: str  # for machines: "unknown-option", "syntax:glob", "default"
    rule: str  # the line that decided, "rules.d/20-disk.toml:14"; "reader" for the language itself
    message: str
    span: Span = (0, 0)
    token: str = ""  # the words the span covers
    expected: str = ""
    hint: str = ""


class JudgedCommand(msgspec.Struct, frozen=True, kw_only=True):
    """What the executor needs to know about one command."""

    argv: tuple[str, ...]
    paths: tuple[str, ...]  # absolute paths the program may have; empty without a specification
    rule: str
    effect: str | None  # "read", "state" or "destroy"; None without a specification
    undo: str = ""  # how an operator takes it back, in words


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement of one line."""

    ruling: Ruling
    text: str
    program: Program | None  # None when the text is outside the language
    commands: tuple[JudgedCommand, ...]
    reasons: tuple[Reason, ...]  # the worst first; never empty
    policy_digest: str
    effect: str | None  # the worst effect of its commands; None when one is unknown


def plain(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON values, for answers, the database and the audit log."""
    program = verdict.program
    return {
        "verdict": verdict.ruling.word,
        "argv": [list(argv) for argv in program.argvs] if program else [],
        "reasons": [plain_reason(reason) for reason in verdict.reasons],
        "effect": verdict.effect,
        "program": program.digest if program else None,
        "policy": verdict.policy_digest,
    }


def plain_reason(reason: Reason) -> dict[str, Any]:
    """One reason as JSON values."""
    return {
        "rule": reason.rule,
        "message": reason.message,
        "span": list(reason.span),
        "code": reason.code,
        "ruling": reason.ruling.word,
        "token": reason.token,
        "expected": reason.expected,
        "hint": reason.hint,
    }


_COLUMNS = 72  # the drawn command is cut around the span, so that it fits a terminal


def visible(text: str) -> str:
    """The text with each non-ASCII or control character written as an escape."""
    return "".join(visible_character(character) for character in text)


def visible_character(character: str) -> str:
    """One character as it can be shown without doing anything to a terminal."""
    if " " <= character <= "~":
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def explain(verdict: Verdict) -> str:
    """The verdict for people: each reason, its rule, and a caret under the words it is about."""
    lines = [f"{verdict.ruling.word}: {visible(verdict.text[:200])}"]
    for reason in verdict.reasons:
        lines += _draw(verdict.text, reason)
    lines.append(f"policy {verdict.policy_digest[:16]}")
    return "\n".join(lines) + "\n"


def _draw(text: str, reason: Reason) -> list[str]:
    lines = ["", f"  {reason.ruling.word}[{reason.code}]: {visible(reason.message)}"]
    lines.append(f"   --> {reason.rule}")
    start, end = reason.span
    if end > start:
        first = max(0, start - _COLUMNS // 2)
        before, inside = visible(text[first:start]), visible(text[start:end])[:_COLUMNS]
        after = visible(text[end : end + _COLUMNS // 2])
        lead = "…" if first else ""
        lines.append(f"    | {lead}{before}{inside}{after}")
        lines.append(f"    | {' ' * len(lead + before)}{'^' * max(1, len(inside))}")
    if reason.expected:
        lines.append(f"    = expected: {visible(reason.expected)}")
    if reason.hint:
        lines.append(f"    = hint: {visible(reason.hint)}")
    return lines
