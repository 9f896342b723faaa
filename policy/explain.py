"""Draw a verdict for people: carets under the words, the rule, expected against found, the hint.

It reads like a good compiler's error. Whatever came from outside is shown with every character
outside printable ASCII written as an escape, so that nothing reaches a terminal but text.
"""

import json
from collections.abc import Sequence

from policy.reader import Pipeline, Program
from policy.verdict import JudgedCommand, Reason, Ruling, Verdict

COLUMNS = 72  # the drawn command is cut around the span, so that it fits a terminal
MOST_INSIDE = 8  # commands that a refused construct hides; more say nothing new


def explain(verdict: Verdict, *, hidden: Sequence[str] = ()) -> str:
    """The whole verdict: each reason drawn, then what would run.

    `hidden` are the commands that bash would run beside the visible ones, as the second reader's
    tree shows them: what a refused `$(…)` would have done.
    """
    lines = [f"{verdict.ruling.word}: {visible(verdict.text[:200])}"]
    for reason in verdict.reasons:
        lines += _draw(verdict.text, reason)
    for command in hidden[:MOST_INSIDE]:
        lines.append(f"    = bash would also run: {visible(command[:200])}")
    if verdict.program:
        lines += ["", "  as argument vectors, no shell:", *_vectors(verdict.program, verdict)]
    lines.append(f"policy {verdict.policy_digest[:16] or 'none'}")
    return "\n".join(lines) + "\n"


def visible(text: str) -> str:
    """The text with each non-ASCII or control character written as an escape."""
    return "".join(visible_character(character) for character in text)


def visible_character(character: str) -> str:
    """One character as it can be shown without doing anything to a terminal."""
    if " " <= character <= "~":
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def _draw(text: str, reason: Reason) -> list[str]:
    lines = ["", f"  {reason.ruling.word}[{reason.code}]: {visible(reason.message)}"]
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
        lines.append(f"    = expected: {visible(reason.expected)}")
    if reason.expected and not reason.code.startswith("missing"):
        lines.append(f"    = found: {visible(reason.token)}")
    if reason.hint and reason.ruling is not Ruling.ALLOW:
        lines.append(f"    = hint: {visible(reason.hint)}")
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
            lines.append(f"    {mark:<2} {words}{streams}  {_about(next(judged))}".rstrip())
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
    return f"{command.paths[0]}, effect: {command.effect}{undo}"
