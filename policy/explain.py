"""Draw a verdict for people: carets under the words, the rule, expected against found, the hint.

It reads like a good compiler's error. Whatever came from outside is shown with every character
outside printable ASCII written as an escape, so that nothing reaches a terminal but text.
"""

import json
from collections.abc import Sequence

from policy.needs import WRITE, in_words
from policy.reader import Pipeline, Program
from policy.verdict import JudgedCommand, Reason, Risk, Ruling, Verdict

COLUMNS = 72  # the drawn command is cut around the span, so that it fits a terminal
MOST_INSIDE = 8  # commands that a refused construct hides; more say nothing new
MOST_OF_ONE = 200  # characters of each
# Codes of what is missing or not in its place: their span is the program's name, not the fault.
_ABOUT_NO_WORD = ("missing", "not-last", "subcommand")


def explain(verdict: Verdict, *, hidden: Sequence[str] = ()) -> str:
    """The whole verdict: each reason drawn, then what would run.

    `hidden` are the commands that bash would run beside the visible ones, as the second reader's
    tree shows them: what a refused `$(…)` would have done.
    """
    lines = [f"{verdict.ruling.word}: {visible(verdict.text[:200])}"]
    for reason in verdict.reasons:
        lines += _draw(verdict.text, reason)
    for command in hidden[:MOST_INSIDE]:
        lines.append(f"    = bash would also run: {visible(command[:MOST_OF_ONE])}")
    if verdict.program:
        lines += ["", "  as argument vectors, no shell:", *_vectors(verdict.program, verdict)]
    lines.append(f"policy {verdict.policy_digest[:16] or 'none'}")
    return "\n".join(lines) + "\n"


def visible(text: str) -> str:
    """The text with each non-ASCII or control character written as an escape."""
    return "".join(visible_character(character) for character in text)


def said(text: str) -> str:
    """Our own words made visible in the same way; the ellipsis we write ourselves stays."""
    return "…".join(visible(part) for part in text.split("…"))


def found(reason: Reason) -> str:
    """The word that stands where another was expected; empty when one is missing or misplaced."""
    return "" if not reason.expected or reason.code.startswith(_ABOUT_NO_WORD) else reason.token


def visible_character(character: str) -> str:
    """One character as it can be shown without doing anything to a terminal."""
    if " " <= character <= "~":
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def _draw(text: str, reason: Reason) -> list[str]:
    lines = ["", f"  {reason.ruling.word}[{reason.code}]: {said(reason.message)}"]
    lines.append(f"   --> {reason.rule}")
    start, end = reason.span
    if end > start:
        first = max(0, start - COLUMNS // 2)
        before, inside = visible(text[first:start]), visible(text[start:end])[:COLUMNS]
        after = visible(text[end : end + COLUMNS // 2])
        lead = "…" if first else ""
        lines.append(f"    | {lead}{before}{inside}{after}")
        lines.append(f"    | {' ' * len(lead + before)}{'^' * max(1, len(inside))}")
    if reason.expected:
        lines.append(f"    = expected: {said(reason.expected)}")
    if word := found(reason):
        lines.append(f"    = found: {visible(word)}")
    if reason.hint and reason.ruling is not Ruling.ALLOW:
        lines.append(f"    = hint: {said(reason.hint)}")
    return lines


def _vectors(program: Program, verdict: Verdict) -> list[str]:
    """Each command on its line, with what stands before it and where its program lives."""
    judged = iter(verdict.commands)
    lines = []
    for pipeline in program.pipelines:
        for number, command in enumerate(pipeline.commands):
            mark = "|" if number else pipeline.join
            streams = _streams(pipeline, number)
            words = json.dumps(list(command.argv))
            about = next(judged)
            lines.append(f"    {mark:<2} {words}{streams}  {_about(about)}".rstrip())
            lines += [f"         = {needed}" for needed in _needed(about)]
    return lines


def _streams(pipeline: Pipeline, number: int) -> str:
    command = pipeline.commands[number]
    said = {"stdin": "in", "stdout": "out", "stderr": "err"}
    changed = [
        f"{name} to {'/dev/null' if value == 'null' else 'stdout'}"
        for name, usual in said.items()
        if (value := getattr(command, name)) != usual
    ]
    return f" ({', '.join(changed)})" if changed else ""


def _about(command: JudgedCommand) -> str:
    """Where the program lives, what it does to the host, and how a person takes it back."""
    if not command.effect:
        return ""
    undo = f"; undo: {command.undo}" if command.undo else ""
    risk = ", risk: high" if command.risk is Risk.HIGH else ""
    return f"{command.paths[0]}, effect: {command.effect}{risk}{undo}"


def _needed(command: JudgedCommand) -> list[str]:
    """What the command is granted beyond the closed sandbox, and where it may write."""
    words = [word for word in command.needs if not word.startswith(WRITE)]
    lines = [f"needs {word}: {told}" for word, told in zip(words, in_words(words), strict=True)]
    return lines + [f"writes in {visible(path)}" for path in command.writes]
