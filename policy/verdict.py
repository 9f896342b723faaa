"""The answer about one line: allow, review or block, with the rule and the reason for each part.

Rulings only ever get worse: a verdict is the maximum over its parts. `policy.explain` draws them.
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


class Risk(enum.IntEnum):
    """What is at stake; the quorum of people who must agree depends on it."""

    LOW = 0
    HIGH = 1

    @property
    def word(self) -> str:
        """The word used in rule files, in orders and in the list of people."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> "Risk":
        """The risk a word stands for; anything unknown is high."""
        return cls.LOW if word == "low" else cls.HIGH


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
    risk: Risk = Risk.HIGH  # what no rule knows is not taken lightly
    needs: tuple[str, ...] = ()  # what it is granted beyond the closed sandbox (policy.needs)
    writes: tuple[str, ...] = ()  # the folders and files that it may write


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement of one line."""

    ruling: Ruling
    text: str
    program: Program | None  # None when the text is outside the language
    commands: tuple[JudgedCommand, ...]
    reasons: tuple[Reason, ...]  # the worst first; never empty
    policy_digest: str
    effect: str | None  # the worst effect of its commands; None when one is unknown

    @property
    def risk(self) -> str:
        """The worst risk of its commands; a line without any is not taken lightly."""
        return max((command.risk for command in self.commands), default=Risk.HIGH).word


def plain(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON values, for answers, the database and the audit log."""
    program = verdict.program
    return {
        "verdict": verdict.ruling.word,
        "argv": [list(argv) for argv in program.argvs] if program else [],
        "reasons": [plain_reason(reason) for reason in verdict.reasons],
        "effect": verdict.effect,
        "risk": verdict.risk,
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
