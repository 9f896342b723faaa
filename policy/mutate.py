"""Loosen one line of a rule and see whether one of its own `deny` examples notices.

A line that can be loosened without any of them failing is a line nobody would miss. Examples are
run when a policy is loaded, so a loosening they notice could never be published.
"""

from collections.abc import Callable, Iterator

import msgspec

from policy.bundle import check_command
from policy.errors import PolicyError
from policy.facts import Facts
from policy.fault import Fault
from policy.places import Guard
from policy.rules import Bundle, CommandRule, Form, Operand
from policy.types import ArgumentType

_MANY = 1 << 30

Loosen = Callable[[Form, CommandRule], Form]


class _Anything(ArgumentType, frozen=True, kw_only=True):
    """Any value at all, a placeholder and an output template too."""

    def fault(self, value: str, facts: Facts, guard: Guard) -> Fault | None:
        del value, facts, guard
        return None


_ANYTHING = _Anything(source="anything", expected="", check=lambda *_: None)


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """One loosened line: which rule, and what was taken away."""

    name: str
    rule: str
    loosened: str
    noticed: bool
    loose: CommandRule  # the rule with the line loosened
    forms: tuple[Form, ...]  # those it is about, as they were


class _AnyFlag(frozenset[str]):
    """Flags as if every word with a dash were one, unless it is an option.

    Where letters may stand together, `-nosuch` is six flags: each letter must still be seen.
    """

    options: frozenset[str] = frozenset()
    letters = False

    def __contains__(self, word: object) -> bool:
        if super().__contains__(word):
            return True
        return (
            isinstance(word, str)
            and word[:1] == "-"
            and word not in self.options
            and word[:2] not in self.options
            and not (self.letters and word[1:2] != "-" and len(word) > len("-x"))
        )

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def mutants(bundle: Bundle) -> Iterator[Mutant]:
    """Every line of every rule, loosened alone."""
    for command in bundle.commands.values():
        for what, rule, loose, forms in _loosened(command):
            yield Mutant(
                name=command.name,
                rule=rule,
                loosened=what,
                noticed=_noticed(bundle, loose),
                loose=loose,
                forms=forms,
            )


def _noticed(bundle: Bundle, loose: CommandRule) -> bool:
    """Whether a `deny` example fails; an `allow` example can not, whatever is let in besides."""
    loose = msgspec.structs.replace(loose, allow=())
    changed = msgspec.structs.replace(bundle, commands={**bundle.commands, loose.name: loose})
    try:
        check_command(changed, loose)
    except PolicyError:
        return True
    return False


def _loosened(
    command: CommandRule,
) -> Iterator[tuple[str, str, CommandRule, tuple[Form, ...]]]:
    """Each line that can be loosened: the command's own for all forms, a form's own for itself."""
    if command.doors:
        loose = msgspec.structs.replace(command, doors={})
        yield "doors", command.rule, loose, command.forms
    for key, loosen in _LOOSENINGS.items():
        if (command.style, key) == ("dd", "operands"):
            continue  # every word of `dd` is NAME=VALUE: operands are never read
        if _can(key, command.own) or (key == "operands" and len(command.forms) == 1):
            forms = tuple(loosen(form, command) for form in command.forms)
            loose = msgspec.structs.replace(command, forms=forms)
            yield key, command.rule, loose, command.forms
        for index, form in enumerate(command.forms):
            if _can(key, form.own):
                changed = loosen(form, command)
                forms = (*command.forms[:index], changed, *command.forms[index + 1 :])
                yield key, form.rule, msgspec.structs.replace(command, forms=forms), (form,)


def _can(key: str, own: frozenset[str]) -> bool:
    return not own.isdisjoint(key.split(" and "))


def _flags(form: Form, command: CommandRule) -> Form:
    flags = _AnyFlag(form.flags)
    flags.options = frozenset(form.options)
    flags.letters = command.bundled or command.style in {"gnu", "ps"}
    return msgspec.structs.replace(form, flags=flags)


def _options(form: Form, _command: CommandRule) -> Form:
    anything = dict.fromkeys(form.options, _ANYTHING)
    return msgspec.structs.replace(form, options=anything) if anything else form


def _operands(form: Form, _command: CommandRule) -> Form:
    """Any operands at all, where the form takes none or typed ones."""
    loose = Operand(type=_ANYTHING, least=0, most=_MANY)
    return msgspec.structs.replace(form, operands=(loose,))


def _require(form: Form, _command: CommandRule) -> Form:
    return msgspec.structs.replace(form, require=())


def _order(form: Form, _command: CommandRule) -> Form:
    return msgspec.structs.replace(form, first=frozenset(), last=frozenset())


def _conditions(form: Form, _command: CommandRule) -> Form:
    return msgspec.structs.replace(form, roles=frozenset(), change_window=False)


_LOOSENINGS: dict[str, Loosen] = {
    "flags": _flags,
    "options": _options,
    "operands": _operands,
    "require": _require,
    "first and last": _order,
    "roles and change_window": _conditions,
}
