"""Propose a `deny` example for a line that could be loosened unnoticed.

Each proposal is tried: the rule as it is refuses it, and the loosened rule does not, or for
another reason. A person reads it before it goes into a rule file.
"""

import posixpath
import shlex
from collections.abc import Iterator

import msgspec

from policy.arguments import Context, Misfit, match_form
from policy.errors import SyntaxRefusedError
from policy.evaluate import EchoReader, judge
from policy.facts import EXAMPLE_FACTS
from policy.mutate import Mutant
from policy.reader import read
from policy.rules import Bundle, CommandRule, Form
from policy.verdict import Ruling

# Values that a type should refuse: no number, no name, no option, no path that may be read.
_WRONG = ("not;this", "/etc/shadow", "99999999999999999999", "nothing-like-it", "{{printf 1}}")


def suggestion(bundle: Bundle, mutant: Mutant) -> tuple[str, str] | None:
    """A command and the code that must refuse it, or None when nothing was found."""
    loose = msgspec.structs.replace(bundle, commands={**bundle.commands, mutant.name: mutant.loose})
    for argv in _tries(bundle, mutant):
        text = shlex.join(argv)
        code = _refusal(bundle, text)
        if code and _refusal(loose, text) != code:
            return text, code
    return None


def _refusal(bundle: Bundle, text: str) -> str:
    """The first code that refuses the text; empty when it is allowed."""
    verdict = judge(text, bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
    return "" if verdict.ruling is Ruling.ALLOW else verdict.reasons[0].code


def _tries(bundle: Bundle, mutant: Mutant) -> Iterator[list[str]]:
    command = bundle.commands[mutant.name]
    for form in mutant.forms:
        for argv in _calls(bundle, command, form):
            yield from _near(list(argv), command, form, mutant.loosened)


def _calls(bundle: Bundle, command: CommandRule, form: Form) -> Iterator[tuple[str, ...]]:
    """The calls in the examples that fit this form; in `deny` those it keeps for a window."""
    context = Context(facts=EXAMPLE_FACTS, guard=bundle.guard)
    for text in (*command.allow, *(text for text, _ in command.deny)):
        for argv in _argvs(text):
            if posixpath.basename(argv[0]) == command.name:
                try:
                    match_form(argv, command, form, context)
                except Misfit:
                    continue
                yield argv


def _argvs(text: str) -> tuple[tuple[str, ...], ...]:
    """The commands of an example; none where it is outside the language."""
    try:
        return read(text).argvs
    except SyntaxRefusedError:
        return ()


def _near(argv: list[str], command: CommandRule, form: Form, what: str) -> Iterator[list[str]]:
    """Calls that differ from a good one in what the line is about."""
    match what:
        case "flags":
            yield [*argv, "-nosuch" if command.style in ("find", "exact") else "--nosuch"]
        case "options":
            yield from _with_options(argv, form)
        case "operands":
            yield from _with_operands(argv)
        case "require":
            yield from _without_words(argv)
        case "doors":
            yield from ([*argv, door, *more] for door in command.doors for more in ([], ["x"]))
        case _:
            yield [argv[0], *reversed(argv[1:])]


def _with_options(argv: list[str], form: Form) -> Iterator[list[str]]:
    for option in sorted(form.options):
        for value in _WRONG:
            yield [*argv, option, value]
            yield [*argv, f"{option}={value}"]


def _with_operands(argv: list[str]) -> Iterator[list[str]]:
    for value in _WRONG:
        yield [*argv, value]
        yield [*argv[:-1], value]
        yield [*argv, "--", value]


def _without_words(argv: list[str]) -> Iterator[list[str]]:
    """Without one word, or one and its value."""
    for at in range(1, len(argv)):
        yield argv[:at] + argv[at + 1 :]
        yield argv[:at] + argv[at + 2 :]
