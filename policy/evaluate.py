"""Judge one line against the rules.

Everything known about the host arrives as `Facts`; nothing is looked up here, so the same text,
facts and bundle always give the same verdict. The verdict is the worst of its parts: the language,
every command (`policy.command`), the second reader. What raises is `block`; nothing lowers it.
"""

from typing import Protocol

from policy.arguments import Context
from policy.command import READER, judge_command
from policy.errors import CouldNotTellError, SyntaxRefusedError
from policy.facts import Facts
from policy.reader import Program, read
from policy.rules import Bundle
from policy.verdict import Effect, JudgedCommand, Reason, Ruling, Verdict


class SecondReader(Protocol):
    """An independent reader: `argvs` returns what it sees or raises `CouldNotTellError`."""

    def argvs(self, text: str) -> tuple[tuple[str, ...], ...]:
        """The argument vectors of the line, from left to right."""
        ...

    def hidden(self, text: str) -> tuple[str, ...]:
        """For the explanation of a refused line: commands inside substitutions and the like."""
        ...


class EchoReader:
    """Agrees with the first reader: for the examples in rule files and for measuring."""

    def argvs(self, text: str) -> tuple[tuple[str, ...], ...]:
        """What the strict reader sees."""
        return read(text).argvs

    def hidden(self, text: str) -> tuple[str, ...]:  # noqa: ARG002
        """Nothing: the strict reader refuses what could hide a command."""
        return ()


def judge(text: str, *, bundle: Bundle, facts: Facts, second: SecondReader | None) -> Verdict:
    """The verdict about one line. Never raises; without a second reader it is at best `review`."""
    try:
        return _judge(text, bundle, facts, second)
    except Exception as error:  # noqa: BLE001  # an engine that fails must refuse, whatever failed
        message = f"the engine failed: {type(error).__name__}"
        return _refused(text, bundle, _blocked("internal", READER, message))


def _judge(text: str, bundle: Bundle, facts: Facts, second: SecondReader | None) -> Verdict:
    # 1. the policy is whole      3. every command, argument and piece of evidence passes its rule
    # 2. the text is readable     4. the second reader sees the same argument vectors

    # 1
    if bundle.refusal:
        return _refused(text, bundle, _blocked("policy", bundle.refusal_rule, bundle.refusal))
    # 2
    try:
        program = read(text)
    except SyntaxRefusedError as refused:
        return _refused(text, bundle, _syntax_reason(text, refused))
    # 3
    context = Context(facts=facts, guard=bundle.guard)
    commands: list[JudgedCommand] = []
    reasons: list[Reason] = []
    for command in program.commands:
        judged, found = judge_command(command, text, bundle, context)
        commands.append(judged)
        reasons += found
    # 4
    ruling = max((reason.ruling for reason in reasons), default=Ruling.BLOCK)
    if ruling < Ruling.BLOCK:
        reasons += _second_opinion(text, program, second)
    return _verdict(text, bundle, program, commands, reasons)


def _verdict(
    text: str,
    bundle: Bundle,
    program: Program,
    commands: list[JudgedCommand],
    reasons: list[Reason],
) -> Verdict:
    effects = [command.effect for command in commands]
    known = [effect for effect in effects if effect]
    worst = (
        max(known, key=lambda word: Effect[word.upper()]) if len(known) == len(effects) else None
    )
    return Verdict(
        ruling=max((reason.ruling for reason in reasons), default=Ruling.BLOCK),
        text=text,
        program=program,
        commands=tuple(commands),
        reasons=tuple(sorted(reasons, key=lambda reason: -reason.ruling)),
        policy_digest=bundle.digest,
        effect=worst,
    )


def _refused(text: str, bundle: Bundle, reason: Reason) -> Verdict:
    return Verdict(
        ruling=Ruling.BLOCK,
        text=text,
        program=None,
        commands=(),
        reasons=(reason,),
        policy_digest=bundle.digest,
        effect=None,
    )


def _blocked(code: str, rule: str, message: str) -> Reason:
    return Reason(ruling=Ruling.BLOCK, code=code, rule=rule, message=message)


def _syntax_reason(text: str, refused: SyntaxRefusedError) -> Reason:
    start, end = refused.span
    return Reason(
        ruling=Ruling.BLOCK,
        code=f"syntax:{refused.construct}",
        rule=READER,
        message=refused.message,
        span=refused.span,
        token=text[start:end][:200],
        hint=refused.hint,
    )


def _second_opinion(text: str, program: Program, second: SecondReader | None) -> list[Reason]:
    """Nothing when the second reader sees the same; otherwise one reason for review."""
    if second is None:
        return [_unsure("no second reader took part")]
    if isinstance(second, EchoReader):
        return []  # it would only read the text again
    try:
        seen = second.argvs(text)
    except CouldNotTellError as error:
        return [_unsure(str(error))]
    if seen != program.argvs:
        return [_unsure(f"the second reader sees {seen!r}"[:300])]
    return []


def _unsure(message: str) -> Reason:
    return Reason(
        ruling=Ruling.REVIEW,
        code="second-reader",
        rule=READER,
        message=message,
        hint="write the command with plainer quoting",
    )
