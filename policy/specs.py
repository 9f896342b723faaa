"""Read one rule file: TOML in, compiled rules out, each with its line.

An unknown key, a wrong type or an impossible combination is a `PolicyError` with the line of the
rule it stands in. What a table may say is in `policy.rule_format`.
"""

import functools
import re
import sys
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import structs

from policy import toml_text
from policy.errors import PolicyError
from policy.lines import Lines
from policy.needs import check_word
from policy.places import Guard, Places, check_pattern
from policy.rule_format import CommandSpec, FileSpec, ForbidSpec, FormSpec, TypeSpec, WindowSpec
from policy.rules import CommandRule, ForbidRule, Form, Operand
from policy.types import ArgumentType, Types
from policy.verdict import Effect, Risk, Ruling
from policy.windows import Window, window

_OPERAND = re.compile(r"(.+?)([?*+]?)\Z")
_MANY = 1 << 30


class RuleFile(msgspec.Struct, frozen=True, kw_only=True):
    """The compiled content of one file."""

    commands: tuple[CommandRule, ...]
    forbids: tuple[ForbidRule, ...]
    places: Places
    windows: tuple[Window, ...]


def compile_file(file: str, data: bytes, types: Types, *, examples: bool = True) -> RuleFile:
    """The rules of one file; adds the types it defines. `PolicyError` names the file and line.

    Without `examples` they are forgotten at once: a node's executor is to stay small.
    """
    text, tables = toml_text.read(file, data)
    lines = Lines(file, text)
    spec = _convert(file, tables, lines)
    if not examples:
        bare = tuple(structs.replace(command, allow=(), deny=()) for command in spec.command)
        spec = structs.replace(spec, command=bare)
    _check_places(file, spec.places, lines)
    lines.check(
        [len(command.form) for command in spec.command],
        len(spec.forbid),
        len(spec.type),
        len(spec.window),
    )
    for one, line in zip(spec.type, lines.types, strict=True):
        _define(one, types, file, line)
    commands = tuple(
        _command(command, file, line, forms, types)
        for command, line, forms in zip(spec.command, lines.commands, lines.forms, strict=True)
    )
    forbids = tuple(
        _forbid(forbid, f"{file}:{line}")
        for forbid, line in zip(spec.forbid, lines.forbids, strict=True)
    )
    windows = tuple(
        _window(one, file, line) for one, line in zip(spec.window, lines.windows, strict=True)
    )
    return RuleFile(commands=commands, forbids=forbids, places=spec.places, windows=windows)


def _check_places(file: str, places: Places, lines: Lines) -> None:
    try:
        for pattern in (*places.secret, *places.devices, *places.mixed, *places.precious):
            check_pattern(pattern)
        if places.hosts:
            Guard(Places(hosts=places.hosts))
    except ValueError as error:
        raise PolicyError(f"places: {error}", file=file, line=lines.places) from error


def _window(spec: WindowSpec, file: str, line: int) -> Window:
    try:
        return window(spec.days, spec.start, spec.end)
    except ValueError as error:
        raise PolicyError(f"window: {error}", file=file, line=line) from error


def _define(spec: TypeSpec, types: Types, file: str, line: int) -> None:
    try:
        types.define(spec.name, spec.pattern, spec.expected, script=spec.script)
    except ValueError as error:
        raise PolicyError(f"{spec.name}: {error}", file=file, line=line) from error


def _convert(file: str, tables: dict[str, Any], lines: Lines) -> FileSpec:
    try:
        return msgspec.convert(tables, FileSpec)
    except msgspec.ValidationError as error:
        raise PolicyError(str(error), file=file, line=lines.of_error(str(error))) from error


def _forbid(spec: ForbidSpec, rule: str) -> ForbidRule:
    return ForbidRule(
        rule=rule,
        names=frozenset(spec.names),
        words=frozenset(spec.words),
        why=spec.why,
        hint=spec.hint,
        deny=spec.deny,
    )


def _command(
    spec: CommandSpec, file: str, line: int, form_lines: list[int], types: Types
) -> CommandRule:
    try:
        _check_command(spec)
        otherwise = _otherwise(spec)
        shared = _Shared(flags=_words(spec.flags), options=_typed(spec, types))
    except ValueError as error:
        raise PolicyError(f"{spec.name}: {error}", file=file, line=line) from error
    pairs = list(zip(spec.form, form_lines, strict=True)) or [(FormSpec(), line)]
    forms = []
    for form, at in pairs:
        try:
            forms.append(_form(spec, form, f"{file}:{at}", types, shared))
        except ValueError as error:
            raise PolicyError(f"{spec.name}: {error}", file=file, line=at) from error
    return CommandRule(
        name=spec.name,
        rule=f"{file}:{line}",
        paths=spec.paths,
        style=spec.style,
        bsd=_words(spec.bsd),
        bundled=spec.bundled,
        options_first=spec.options_first,
        common=_words((*spec.flags, *spec.options)) if spec.bundled else _NONE,
        doors={sys.intern(word): sys.intern(what) for word, what in spec.doors.items()},
        otherwise=otherwise,
        forms=tuple(forms),
        own=_written(spec),
        hint=spec.hint,
        allow=spec.allow,
        deny=spec.deny,
    )


def _otherwise(spec: CommandSpec) -> Ruling:
    """A program that only reads gets `review` for an unknown word, one that can act `block`."""
    acts = any(part.effect != Effect.READ.word for part in (spec, *spec.form))
    if spec.otherwise:
        ruling = Ruling.of(spec.otherwise)
        if acts and ruling is not Ruling.BLOCK:
            raise ValueError('a program that can act has otherwise = "block"')
        return ruling
    return Ruling.BLOCK if acts else Ruling.REVIEW


def _check_command(spec: CommandSpec) -> None:
    if not spec.paths or not all(path.startswith("/") for path in spec.paths):
        raise ValueError("paths: at least one absolute path is needed")
    if any(path.rpartition("/")[2] != spec.name for path in spec.paths):
        raise ValueError(f"paths: each must end in /{spec.name}, or another program would run")
    if bool(spec.form) and spec.operands:
        raise ValueError("operands belong to the forms when there are forms")
    _check_style(spec)
    names = [name for form in spec.form for name in form.names]
    if (spec.style == "subcommand") != bool(names) or (names and not all_named(spec)):
        raise ValueError('names are for the forms of style = "subcommand", and each needs one')
    if len(names) != len(set(names)):
        raise ValueError("two forms have the same name")
    longer = _beginnings(names)
    for form in spec.form:
        _check_shadow(form, longer)


def _check_style(spec: CommandSpec) -> None:
    if spec.bsd and spec.style != "ps":
        raise ValueError('bsd letters belong to style = "ps"')
    if spec.bundled and spec.style != "subcommand":
        raise ValueError('bundled belongs to style = "subcommand"; gnu and ps always bundle')
    if spec.options_first and spec.style != "exact":
        raise ValueError('options_first belongs to style = "exact"')
    for part in (spec, *spec.form):
        if both := spec.doors.keys() & {*part.flags, *part.options}:
            raise ValueError(f"{min(both)} is a door and an option at once")


def all_named(spec: CommandSpec) -> bool:
    """Whether every form says its subcommand."""
    return all(form.names for form in spec.form)


def _beginnings(names: list[str]) -> dict[str, str]:
    """What a longer subcommand begins with: `ip addr` of `ip addr show`."""
    split = [(name, name.split()) for name in names]
    return {" ".join(words[:end]): name for name, words in split for end in range(1, len(words))}


def _check_shadow(form: FormSpec, longer: dict[str, str]) -> None:
    """An operand may not stand where another subcommand could: `ip addr` + `add` is no operand."""
    for name in form.names if form.operands else ():
        if other := longer.get(name):
            raise ValueError(f"{name!r} takes operands, so {other!r} could be read as one")


class _Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What a command says for all its forms, compiled once."""

    flags: frozenset[str]
    options: dict[str, ArgumentType]


def _typed(spec: FormSpec, types: Types) -> dict[str, ArgumentType]:
    return {sys.intern(name): types.compiled(source) for name, source in spec.options.items()}


def _form(command: CommandSpec, form: FormSpec, rule: str, types: Types, shared: _Shared) -> Form:
    """One form joined with what its command says for all of them."""
    names = tuple(tuple(name.split()) for name in form.names)
    effect = form.effect if form is not _only(command, form) else command.effect
    return Form(
        rule=rule,
        names=names,
        heads=_words(name[0] for name in names) if all(names) else _NONE,
        flags=shared.flags.union(form.flags) if form.flags else shared.flags,
        options={**shared.options, **_typed(form, types)} if form.options else shared.options,
        operands=_operands(form.operands or command.operands, types),
        require=tuple(tuple(entry.split("|")) for entry in command.require + form.require),
        first=_words(command.first + form.first),
        last=_words(command.last + form.last),
        effect=Effect[max(effect, command.effect, key=_severity).upper()],
        risk=max(Risk.of(command.risk or "low"), Risk.of(form.risk or "low")),
        needs=_needs(command.needs + form.needs),
        why=sys.intern(form.why or command.why),
        hint=sys.intern(form.hint or command.hint),
        undo=sys.intern(form.undo or command.undo),
        roles=_words(command.roles + form.roles),
        change_window=command.change_window or form.change_window,
        own=_written(form),
    )


def _written(spec: FormSpec) -> frozenset[str]:
    """The keys that a table says itself."""
    return _words(key for key in FormSpec.__struct_fields__ if getattr(spec, key))


_NONE: frozenset[str] = frozenset()


def _words(words: Iterable[str]) -> frozenset[str]:
    """A set of words; thousands of rules share the same few, and the empty set."""
    return frozenset(map(sys.intern, words)) or _NONE


@functools.cache
def _needs(words: tuple[str, ...]) -> tuple[str, ...]:
    """Checked and in order; hundreds of rules share the same few."""
    for word in words:
        check_word(word)
    return tuple(sorted(set(map(sys.intern, words))))


def _only(command: CommandSpec, form: FormSpec) -> FormSpec | None:
    return None if command.form else form


def _severity(effect: str) -> int:
    return Effect[effect.upper()]


def _operands(sources: tuple[str, ...], types: Types) -> tuple[Operand, ...]:
    """`path-read+` one or more, `*` any number, `?` at most one, bare exactly one."""
    operands = []
    for source in sources:
        found = _OPERAND.match(source)
        if not found:
            raise ValueError("an operand type is empty")
        least, most = {"": (1, 1), "?": (0, 1), "*": (0, _MANY), "+": (1, _MANY)}[found[2]]
        operands.append(Operand(type=types.compiled(found[1]), least=least, most=most))
    if any(operand.least != operand.most for operand in operands[:-1]):
        raise ValueError("only the last operand may be optional or repeated")
    return tuple(operands)
