"""Argument types: what the value of an option or an operand may be.

A type is written in a rule file as `name` or `name(parameters)`: `int(1..500)`,
`path-under(/var/tmp|/var/cache;.log)`. `Types` turns it into a check that says what it expected.
Plain patterns are defined in rule files, as `[[type]]`. A placeholder is refused before any check.
"""

import re

import msgspec

from policy import evidence_types, path_types, values
from policy.facts import Facts
from policy.fault import Check, Fault, Maker, not_expected
from policy.places import Guard


class ArgumentType(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled type; `source` is how the rule file wrote it."""

    source: str
    expected: str  # in words
    check: Check
    script: bool = False  # `$NAME` in it is the script's own

    def fault(self, value: str, facts: Facts, guard: Guard) -> Fault | None:
        """What is wrong with the value, or None."""
        if not self.source.startswith(_TEMPLATES) and self._is_placeholder(value):
            return Fault(
                code="placeholder",
                message=f"{value} is a placeholder, not a value",
                hint="put in the real value from the evidence",
            )
        return self.check(value, facts, guard)

    def _is_placeholder(self, value: str) -> bool:
        if _PLACEHOLDER.search(value):
            return True
        return not self.script and _VARIABLE.search(value) is not None


_VARIABLE = re.compile(r"\$\{?[A-Za-z_]")
_PLACEHOLDER = re.compile(
    r"<[A-Za-z][A-Za-z0-9_. -]*>|\{\{.*\}\}|\b(?:YOUR|MY)[_-][A-Z]|\A(?:your|my)[_-]"
    r"(?:service|unit|pid|path|file|app|host)|\A(?:PID|SERVICE_NAME|UNIT_NAME|SERVICE|FILENAME)\Z"
    r"|\A/path/to/|\bCHANGE_?ME\b|\AXXX+\Z"
)
_TEMPLATES = ("go-template", "dpkg-format")
_SOURCE = re.compile(r"([a-z][a-z-]*)(?:\((.*)\))?\Z")
_MAKERS: dict[str, Maker] = {**values.MAKERS, **path_types.MAKERS, **evidence_types.MAKERS}


class Types:
    """The types of one policy: those of this room, and the patterns its rule files define."""

    def __init__(self) -> None:
        self._patterns: dict[str, ArgumentType] = {}
        self._compiled: dict[str, ArgumentType] = {}

    @property
    def names(self) -> list[str]:
        """Every type that a rule may name."""
        return sorted({*_MAKERS, *self._patterns})

    def define(self, name: str, pattern: str, expected: str, *, script: bool = False) -> None:
        """Add a pattern; raises `ValueError` when the name is taken or the pattern is broken."""
        if name in _MAKERS or name in self._patterns:
            raise ValueError("there is a type of this name already")
        self._patterns[name] = _matching(name, pattern, expected, script=script)

    def compiled(self, source: str) -> ArgumentType:
        """The check a type stands for; raises `ValueError` that says what is wrong with it."""
        if source not in self._compiled:
            self._compiled[source] = self._compile(source)
        return self._compiled[source]

    def _compile(self, source: str) -> ArgumentType:
        found = _SOURCE.match(source)
        if not found:
            raise ValueError(f"{source!r} is no type: write name or name(parameters)")
        name, parameters = found[1], found[2]
        if name in self._patterns and parameters is None:
            return self._patterns[name]
        make = _MAKERS.get(name)
        if make is None:
            raise ValueError(f"unknown type {name!r}; known: {', '.join(self.names)}")
        expected, check = make(parameters or "")
        return ArgumentType(source=source, expected=expected, check=check)


def _matching(source: str, pattern: str, expected: str, *, script: bool) -> ArgumentType:
    compiled = values.whole(pattern)

    def check(value: str, _facts: Facts, _guard: Guard) -> Fault | None:
        return None if compiled.match(value) else not_expected(value, expected)

    return ArgumentType(source=source, expected=expected, check=check, script=script)
