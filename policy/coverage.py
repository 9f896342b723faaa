"""Which parts of each rule its own examples use: what no example uses, nobody has tried."""

import posixpath

import msgspec

from policy.arguments import Context, Misfit, match_form
from policy.facts import EXAMPLE_FACTS
from policy.reader import read
from policy.rules import Bundle, CommandRule


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """One program: the words its allow examples use, of those its rule knows."""

    name: str
    rule: str
    used: frozenset[str]
    known: frozenset[str]

    @property
    def unused(self) -> list[str]:
        """What no example uses."""
        return sorted(self.known - self.used)

    @property
    def percent(self) -> float:
        """Of the known words; a rule without words has nothing to cover."""
        return 100.0 * len(self.used & self.known) / len(self.known) if self.known else 100.0


def coverage(bundle: Bundle) -> list[Covered]:
    """Every program, in the order of the files."""
    commands = sorted(bundle.commands.values(), key=lambda command: _place(command.rule))
    return [_of_command(bundle, command) for command in commands]


def _place(rule: str) -> tuple[str, int]:
    file, _, line = rule.rpartition(":")
    return file, int(line)


def _of_command(bundle: Bundle, command: CommandRule) -> Covered:
    context = Context(facts=EXAMPLE_FACTS, guard=bundle.guard)
    used: set[str] = set()
    for text in command.allow:
        for argv in read(text).argvs:
            if posixpath.basename(argv[0]) == command.name:
                used |= _used(argv, command, context)
    return Covered(
        name=command.name, rule=command.rule, used=frozenset(used), known=_known(command)
    )


def _used(argv: tuple[str, ...], command: CommandRule, context: Context) -> frozenset[str]:
    for form in command.forms:
        try:
            return match_form(argv, command, form, context)
        except Misfit:
            continue
    return frozenset()


def _known(command: CommandRule) -> frozenset[str]:
    words: set[str] = set()
    for form in command.forms:
        words |= {*form.flags, *form.options, *(word for name in form.names for word in name[-1:])}
    return frozenset(words)
