"""The compiled rules: what `policy.evaluate` looks into while it judges.

`policy.specs` builds these records from rule files, `policy.bundle` checks their examples. Every
record remembers the file and line it came from, so that each verdict can name it.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from policy.places import Guard, Places
from policy.types import ArgumentType, Types
from policy.verdict import Effect, Risk, Ruling
from policy.windows import Window

Style = Literal["gnu", "ps", "find", "exact", "subcommand", "dd"]


class Operand(msgspec.Struct, frozen=True, kw_only=True):
    """What may stand at one operand position."""

    type: ArgumentType
    least: int
    most: int


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """One way to call a program: these options, these operands, this effect."""

    rule: str  # "20-disk.toml:14"
    names: tuple[tuple[str, ...], ...]  # subcommand words, each spelling; empty for other styles
    heads: frozenset[str]  # one of these words must be there; empty when none need be
    flags: frozenset[str]
    options: Mapping[str, ArgumentType]
    operands: tuple[Operand, ...]
    require: tuple[tuple[str, ...], ...]  # one of each tuple must be there
    first: frozenset[str]  # these words only right after the program: `kill -9 -1 7` is no signal 1
    last: frozenset[str]  # the line must end with one of these
    effect: Effect
    risk: Risk  # how many people have to agree depends on it
    needs: tuple[str, ...]  # what is granted beyond the closed sandbox (policy.needs)
    why: str
    hint: str
    undo: str
    roles: frozenset[str]  # of hosts; empty means any
    change_window: bool  # only while a change window is open
    own: frozenset[str]  # the keys that this form wrote itself; the others are the command's


class CommandRule(msgspec.Struct, frozen=True, kw_only=True):
    """One program and the ways it may be called."""

    name: str
    rule: str
    paths: tuple[str, ...]
    style: Style
    bsd: frozenset[str]  # ps style: letters that need no dash
    bundled: bool  # subcommand style: single letters may stand together, `-aq`
    common: frozenset[str]  # options of every form: these may stand before the subcommand
    options_first: bool  # exact style: `xxd FILE -p` would write to a file named `-p`
    doors: Mapping[str, str]  # options that are blocked by name, and what each would do
    otherwise: Ruling  # what a word that fits no form gets: review, or block where much is at stake
    forms: tuple[Form, ...]
    own: frozenset[str]  # the keys that hold for all forms
    hint: str
    allow: tuple[str, ...]
    deny: tuple[tuple[str, str], ...]


class ForbidRule(msgspec.Struct, frozen=True, kw_only=True):
    """Programs that are blocked, always or when one of `words` is among the arguments."""

    rule: str
    names: frozenset[str]
    words: frozenset[str]
    why: str
    hint: str
    deny: tuple[str, ...]


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """What a node adds to the policy; it is judged beside the rules, and only its no counts."""

    file: str
    forbids: Mapping[str, ForbidRule]
    reviews: Mapping[str, ForbidRule]
    removed: Mapping[str, ForbidRule]
    narrowed: Mapping[str, CommandRule]


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """All rules of one policy and the digest of the files they came from."""

    digest: str
    commands: Mapping[str, CommandRule] = {}
    forbids: Mapping[str, tuple[ForbidRule, ...]] = {}
    types: Types = msgspec.field(default_factory=Types)
    guard: Guard = msgspec.field(default_factory=lambda: Guard(Places()))
    windows: tuple[Window, ...] = ()  # when changes may be made
    overlay: Overlay | None = None
    refusal: str = ""  # set when the policy is broken: why everything is refused
    refusal_rule: str = ""

    @classmethod
    def refuse_all(cls, reason: str, *, rule: str = "policy") -> "Bundle":
        """The policy of a node whose rules are broken: it blocks every line and says why."""
        return cls(digest="", refusal=reason or "the policy cannot be used", refusal_rule=rule)
