"""Match the arguments of one command against one form of its rule.

Each style reads options the way its program does, but stricter: exact long names only, every
bundled letter known, nothing abbreviated. The first word that does not fit ends the match.
"""

from itertools import pairwise
from typing import NoReturn

import msgspec

from policy.facts import Facts
from policy.places import Guard
from policy.rules import CommandRule, Form
from policy.types import ArgumentType


class Misfit(Exception):  # noqa: N818  # says "not this form", not that something went wrong
    """The word that does not fit; `index` is its place in the argument vector, -1 for none."""

    def __init__(
        self, code: str, index: int, message: str, *, expected: str = "", hint: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.index = index
        self.message = message
        self.expected = expected
        self.hint = hint


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What values are judged against."""

    facts: Facts
    guard: Guard


def match_form(
    argv: tuple[str, ...], rule: CommandRule, form: Form, context: Context
) -> frozenset[str]:
    """The flags, options and subcommand words that were used; `Misfit` for the first misfit."""
    walk = _Walk(argv, rule, form, context)
    walk.go()
    walk.finish()
    return frozenset(walk.seen)


def operand_words(
    argv: tuple[str, ...], rule: CommandRule, form: Form, context: Context
) -> tuple[str, ...]:
    """The operands of a command that fits the form."""
    walk = _Walk(argv, rule, form, context)
    walk.go()
    return tuple(walk.operand_words)


def required_present(argv: tuple[str, ...], form: Form) -> int:
    """How many of the required words are literally there: the form the author had in mind."""
    words = {word.partition("=")[0] for word in argv}
    return sum(not words.isdisjoint(choice) for choice in form.require)


class _Walk:
    """Goes through the words once; `seen` are the options met, `operands` counts the rest."""

    def __init__(
        self, argv: tuple[str, ...], rule: CommandRule, form: Form, context: Context
    ) -> None:
        self.argv = argv
        self.rule = rule
        self.form = form
        self.context = context
        self.seen: set[str] = set()
        self.operands = 0
        self.operand_words: list[str] = []

    def go(self) -> None:
        """All words, as the program's style reads them."""
        match self.rule.style:
            case "gnu" | "ps":
                self.gnu()
            case "find":
                self.find()
            case "exact":
                self.exactly()
            case "subcommand":
                self.subcommand()
            case "dd":
                self.pairs()

    def gnu(self) -> None:
        at = 1
        only_operands = False
        while at < len(self.argv):
            word = self.argv[at]
            if only_operands or word[:1] != "-" or word == "-":
                at = self.bsd_or_operand(at)
            elif word == "--":
                only_operands = True
                at += 1
            else:
                at = self.long(at) if word.startswith("--") else self.short(at)

    def bsd_or_operand(self, at: int) -> int:
        word = self.argv[at]
        if word in self.form.flags or word in self.form.options:  # `+D`, `+short`
            return self.exact(at)
        if word and self.rule.bsd.issuperset(word):
            self.seen.update(word)
            return at + 1
        return self.operand(at)

    def long(self, at: int) -> int:
        word = self.argv[at]
        name, equals, value = word.partition("=")
        if equals:
            self.value(name, value, at)
            return at + 1
        return self.exact(at)

    def exact(self, at: int) -> int:
        """A whole word that is a flag, or an option whose value is the next word."""
        word = self.argv[at]
        if word in self.form.flags:
            self.seen.add(word)
            return at + 1
        return self.next_value(word, at)

    def next_value(self, name: str, at: int) -> int:
        if name not in self.form.options:
            self.unknown(name, at)
        if at + 1 == len(self.argv):
            expected = self.form.options[name].expected
            raise Misfit("missing-value", at, f"{name} needs a value", expected=expected)
        self.value(name, self.argv[at + 1], at + 1)
        return at + 2

    def short(self, at: int) -> int:
        """`-n5`, `-n 5`, `-la`: letters up to one that takes the rest as its value."""
        word = self.argv[at]
        flags, options = self.form.flags, self.form.options
        if word in flags or (word in options and len(word) > 2):  # noqa: PLR2004  # `-w`
            return self.exact(at)
        if word in self.rule.doors:
            self.unknown(word, at)
        if "-NUM" in options and word[1:].isdecimal():
            self.value("-NUM", word[1:], at)
            return at + 1
        for place, letter in enumerate(word[1:], start=2):
            name, rest = "-" + letter, word[place:]
            if name in options and (rest or name not in flags):
                if not rest:
                    return self.next_value(name, at)
                # pflag, which most programs with subcommands use, also takes `-o=json`.
                self.value(name, rest.removeprefix("=") if self.rule.bundled else rest, at)
                return at + 1
            if name not in flags:
                self.unknown(name, at)
            self.seen.add(name)
        return at + 1

    def exactly(self) -> None:
        """Long words after a single dash, `-noout`; a value is the next word or stands after =."""
        at = 1
        while at < len(self.argv):
            word = self.argv[at]
            name, equals, value = word.partition("=")
            if word in self.form.flags or word in self.form.options:
                at = self.before_operands(at)
            elif word[:1] != "-" or word == "-":
                at = self.operand(at)
            elif equals and name in self.form.options:
                self.value(name, value, at)
                at += 1
            else:
                self.unknown(name, at)

    def before_operands(self, at: int) -> int:
        """With `options_first` an option after an operand is one more operand to the program."""
        if self.operands and self.rule.options_first:
            word = self.argv[at]
            raise Misfit("operand", at, f"{word!r} stands after an operand, where it is no option")
        return self.exact(at)

    def find(self) -> None:
        """Starting points first, then an expression of single-dash words."""
        at = 1
        while at < len(self.argv) and self.argv[at][:1] not in {"-", "!", "("}:
            at = self.operand(at)
        while at < len(self.argv):
            at = self.exact(at)

    def subcommand(self) -> None:
        """Options may stand anywhere; the first bare words name the subcommand."""
        at, left = 1, self.names_left()
        only_operands = False
        while at < len(self.argv):
            word = self.argv[at]
            if left:
                at, left = self.name(at, left)
            elif only_operands:
                at = self.operand(at)
            elif word == "--":
                only_operands = True
                at += 1
            elif word.startswith("--"):
                at = self.long(at)
            elif word[:1] == "-" and word != "-":
                at = self.dashed(at)
            elif word in self.form.flags or word in self.form.options:
                at = self.exact(at)
            else:
                at = self.operand(at)
        if left:
            expected = " ".join(left)
            raise Misfit("subcommand", -1, "the subcommand is missing", expected=expected)

    def dashed(self, at: int) -> int:
        """A word with one dash before or after the subcommand."""
        return self.short(at) if self.rule.bundled else self.exact(at)

    def names_left(self) -> tuple[str, ...]:
        """The spelling of the subcommand that fits best; an option before it may take a word."""
        takes = {
            option
            for option in self.form.options
            if option[0] == "-" and option not in self.form.flags
        }
        bare = [
            word for before, word in pairwise(self.argv) if word[:1] != "-" and before not in takes
        ]
        fitting = [name for name in self.form.names if tuple(bare[: len(name)]) == name]
        return max(fitting or self.form.names, key=len)

    def name(self, at: int, left: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
        word = self.argv[at]
        if word == left[0]:
            self.seen.add(word)
            return at + 1, left[1:]
        if word[:1] == "-" and word != "--":
            self.early(word.partition("=")[0], at)
            return self.long(at) if word.startswith("--") else self.dashed(at), left
        raise Misfit("subcommand", at, f"{word!r} is not among the subcommands that may run")

    def early(self, name: str, at: int) -> None:
        """Refuse an option that pflag does not know yet: it would take the next word as a value."""
        known = self.rule.common | self.rule.doors.keys()
        letters = {"-" + letter for letter in name[1:]} if name[1:2] != "-" else {name}
        if self.rule.bundled and not (name in known or letters <= known or self.door(name)):
            message = f"{name} before the subcommand could take the next word as its value"
            raise Misfit("subcommand", at, message, hint=f"put {name} after the subcommand")

    def pairs(self) -> None:
        for at, word in enumerate(self.argv[1:], start=1):
            name, equals, value = word.partition("=")
            if not equals or name not in self.form.options:
                self.unknown(name, at)
            self.value(name, value, at)

    def operand(self, at: int) -> int:
        count = self.operands
        for operand in self.form.operands:
            if count < operand.most:
                self.check(operand.type, self.argv[at], at)
                self.operands += 1
                self.operand_words.append(self.argv[at])
                return at + 1
            count -= operand.most
        most = len(self.form.operands)
        message = f"{self.argv[at]!r} is one operand too many"
        raise Misfit("operand", at, message, expected=f"at most {most}" if most else "no operand")

    def value(self, name: str, value: str, at: int) -> None:
        kind = self.form.options.get(name)
        if kind is None:
            self.unknown(name, at)
        self.check(kind, value, at)
        self.seen.add(name)

    def check(self, kind: ArgumentType, value: str, at: int) -> None:
        fault = kind.fault(value, self.context.facts, self.context.guard)
        if fault:
            raise Misfit(fault.code, at, fault.message, expected=kind.expected, hint=fault.hint)

    def unknown(self, name: str, at: int) -> NoReturn:
        if door := self.door(name):
            raise Misfit("door", at, door)
        known = sorted(self.form.flags | self.form.options.keys())
        shown = " ".join(known[:24]) + (" …" if len(known) > 24 else "")  # noqa: PLR2004  # a line
        raise Misfit(
            "unknown-option",
            at,
            f"{name} is not among the options that may be used here",
            expected=shown or "no options",
        )

    def door(self, name: str) -> str:
        """What the option would do that no rule may allow; an abbreviation is found, too."""
        doors = self.rule.doors
        if name in doors:
            return f"{name} {doors[name]}"
        if name.startswith("--") and len(name) > 3:  # noqa: PLR2004  # `--o` could be anything
            for door in doors:
                if door.startswith(name):
                    return f"{name} is short for {door}, which {doors[door]}"
        return ""

    def finish(self) -> None:
        """What must be there: operands, required options, the last word."""
        least = sum(operand.least for operand in self.form.operands)
        if self.operands < least:
            kind = self.form.operands[min(self.operands, len(self.form.operands) - 1)].type
            raise Misfit("missing-operand", -1, "an operand is missing", expected=kind.expected)
        for choice in self.form.require:
            if self.seen.isdisjoint(choice):
                word = "|".join(choice)
                raise Misfit(f"missing:{word}", -1, f"{word} is missing", expected=word)
        for at, word in enumerate(self.argv[2:], start=2):
            if word in self.form.first:
                raise Misfit("not-first", at, f"{word} must be the first word", expected=word)
        if self.form.last:
            word = "|".join(sorted(self.form.last))
            for at, given in enumerate(self.argv[:-1]):
                if given in self.form.last:
                    raise Misfit("not-last", at, f"{given} must be the last word", expected=word)
            if self.argv[-1] not in self.form.last:
                raise Misfit("not-last", -1, f"{word} must be the last word", expected=word)
