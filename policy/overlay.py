"""A node's own file over the policy: it can forbid, ask for review, narrow and remove.

An overlay never changes a rule; what it says is judged beside the rules, and the verdict is the
worse of both. So there is nothing one could write that makes a verdict better.
"""

import re
from typing import Any, Literal

import msgspec

from policy import toml_text
from policy.errors import PolicyError
from policy.rules import Bundle, CommandRule, ForbidRule, Form, Overlay
from policy.types import ArgumentType, Types
from policy.verdict import Risk

_HEADER = re.compile(r"\[\[(forbid|require-review|narrow|remove)\]\]\s*(?:#.*)?\Z")
_WHERE_IN_ERROR = re.compile(r"`\$\.([a-z-]+)\[(\d+)\]")


class _Record(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"
):
    """A table of an overlay."""


class _Names(_Record, frozen=True, kw_only=True):
    names: tuple[str, ...]
    why: str
    hint: str = ""


class _Narrow(_Record, frozen=True, kw_only=True):
    name: str
    why: str
    without: tuple[str, ...] = ()  # flags, options and subcommands that are not used here
    options: dict[str, str] = {}  # a type that a value must fit as well
    operands: str = ""  # a type that every operand must fit as well
    risk: Literal["low", "high"] = "low"  # at least this; it raises what the rule says


class _File(_Record, frozen=True, kw_only=True):
    forbid: tuple[_Names, ...] = ()
    require_review: tuple[_Names, ...] = ()
    remove: tuple[_Names, ...] = ()
    narrow: tuple[_Narrow, ...] = ()


def tightened(bundle: Bundle, file: str, data: bytes) -> Bundle:
    """The policy with an overlay over it. Raises `PolicyError` with the line that is wrong."""
    text, table = toml_text.read(file, data)
    spec = _convert(file, text, table)
    at = _lines(text)
    overlay = Overlay(
        file=file,
        forbids=_by_name(spec.forbid, file, at["forbid"]),
        reviews=_by_name(spec.require_review, file, at["require-review"]),
        removed=_by_name(spec.remove, file, at["remove"]),
        narrowed=_narrowed(spec.narrow, bundle, file, at["narrow"]),
    )
    return msgspec.structs.replace(bundle, overlay=overlay)


def _convert(file: str, text: str, table: dict[str, Any]) -> _File:
    lines = _lines(text)
    for key, tables in table.items():
        if len(lines.get(key, [])) != (len(tables) if isinstance(tables, list) else -1):
            message = (
                f"{key}: write [[forbid]], [[require-review]], [[narrow]] or [[remove]] tables"
            )
            raise PolicyError(message, file=file, line=1)
    try:
        return msgspec.convert(table, _File)
    except msgspec.ValidationError as error:
        place = _WHERE_IN_ERROR.search(str(error))
        line = lines[place[1]][int(place[2])] if place else 1
        raise PolicyError(str(error), file=file, line=line) from error


def _lines(text: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for key in ("forbid", "require-review", "narrow", "remove"):
        found[key] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line.strip()):
            found[header[1]].append(number)
    return found


def _by_name(tables: tuple[_Names, ...], file: str, lines: list[int]) -> dict[str, ForbidRule]:
    rules: dict[str, ForbidRule] = {}
    for table, line in zip(tables, lines, strict=True):
        rule = ForbidRule(
            rule=f"{file}:{line}",
            names=frozenset(table.names),
            words=frozenset(),
            why=table.why,
            hint=table.hint,
            deny=(),
        )
        rules.update(dict.fromkeys(table.names, rule))
    return rules


def _narrowed(
    tables: tuple[_Narrow, ...], bundle: Bundle, file: str, lines: list[int]
) -> dict[str, CommandRule]:
    rules: dict[str, CommandRule] = {}
    for table, line in zip(tables, lines, strict=True):
        where = f"{file}:{line}"
        rule = rules.get(table.name) or bundle.commands.get(table.name)
        if rule is None:
            raise PolicyError(f"no rule knows {table.name}", file=file, line=line)
        try:
            forms = tuple(_narrow(form, table, bundle.types, where) for form in rule.forms)
            _demand_known(table, rule)
        except ValueError as error:
            raise PolicyError(f"{table.name}: {error}", file=file, line=line) from error
        rules[table.name] = msgspec.structs.replace(rule, rule=where, forms=forms)
    return rules


def _demand_known(table: _Narrow, rule: CommandRule) -> None:
    """A misspelled option narrows nothing: say so instead of pretending."""
    known = {
        *(name for form in rule.forms for name in (*form.flags, *form.options)),
        *(" ".join(name) for form in rule.forms for name in form.names),
    }
    unknown = sorted({*table.without, *table.options} - known)
    if unknown:
        raise ValueError(f"the rule has no {', '.join(unknown)}")


def _narrow(form: Form, table: _Narrow, types: Types, where: str) -> Form:
    gone = frozenset(table.without)
    options = {
        name: _both(kind, types.compiled(table.options[name])) if name in table.options else kind
        for name, kind in form.options.items()
        if name not in gone
    }
    extra = types.compiled(table.operands) if table.operands else None
    operands = tuple(
        msgspec.structs.replace(operand, type=_both(operand.type, extra)) if extra else operand
        for operand in form.operands
    )
    return msgspec.structs.replace(
        form,
        rule=where,
        why=table.why,
        hint=table.why,
        names=_names(form, gone),
        flags=form.flags - gone,
        options=options,
        operands=operands,
        risk=max(form.risk, Risk.of(table.risk)),
    )


def _names(form: Form, gone: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    """The subcommands that stay; a form that loses all of them fits nothing."""
    left = tuple(name for name in form.names if " ".join(name) not in gone)
    return left or ((("\n",),) if form.names else ())


def _both(first: ArgumentType, second: ArgumentType) -> ArgumentType:
    """A value must fit both types; the first that refuses says why."""
    return ArgumentType(
        source=first.source,
        expected=f"{first.expected}, and here {second.expected}",
        check=lambda value, facts, guard: (
            first.check(value, facts, guard) or second.check(value, facts, guard)
        ),
    )
