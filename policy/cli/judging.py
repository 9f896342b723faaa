"""`check`, `explain`, `what-if`: for whoever asks about a command."""

import argparse
import sys
from collections.abc import Iterable
from typing import Any

import msgspec

from policy.cli.common import COULD_NOT_TELL, facts_of, policy_or_refusal, reader
from policy.evaluate import SecondReader, judge
from policy.explain import explain, visible
from policy.facts import Facts
from policy.rules import Bundle
from policy.verdict import Ruling, Verdict, plain
from policy.what_if import matrix

STATUS = {Ruling.ALLOW: 0, Ruling.REVIEW: 3, Ruling.BLOCK: 4}
MAX_LINE = 1 << 20  # one input line; a longer one is answered with a block


def run_check(options: argparse.Namespace) -> int:
    """One line for each command, or one JSON line for each JSON line."""
    bundle, facts = policy_or_refusal(options), facts_of(options.facts)
    if options.jsonl == bool(options.commands):
        print("sentinel-policy: give commands, or --jsonl and lines on stdin", file=sys.stderr)
        return COULD_NOT_TELL
    with reader(options) as second:
        if options.jsonl:
            return _check_lines(sys.stdin.buffer, bundle, facts, second)
        verdicts = [
            judge(text, bundle=bundle, facts=facts, second=second) for text in options.commands
        ]
    for verdict in verdicts:
        reason = verdict.reasons[0]
        print(f"{verdict.ruling.word}\t{reason.rule}\t{visible(reason.message)}")
    return STATUS[max(verdict.ruling for verdict in verdicts)]


def run_explain(options: argparse.Namespace) -> int:
    """Each verdict drawn under its command."""
    bundle, facts = policy_or_refusal(options), facts_of(options.facts)
    worst = Ruling.ALLOW
    with reader(options) as second:
        for text in options.commands or ("",):
            verdict = judge(text, bundle=bundle, facts=facts, second=second)
            print(explain(verdict, hidden=() if verdict.program else second.hidden(text)))
            worst = max(worst, verdict.ruling)
    return STATUS[worst]


def run_what_if(options: argparse.Namespace) -> int:
    """The verdict of each command in each situation, as a table."""
    bundle, facts = policy_or_refusal(options), facts_of(options.facts)
    with reader(options) as second:
        rows = matrix(options.commands, bundle=bundle, facts=facts, second=second)
    columns = list(next(iter(rows.values())))
    print("  ".join(f"{column:14}" for column in [*columns, "command"]).rstrip())
    for text, verdicts in rows.items():
        cells = [f"{verdict.ruling.word:14}" for verdict in verdicts.values()]
        print("  ".join([*cells, visible(text)]))
    return STATUS[max(verdict.ruling for verdict in rows[max(rows, key=_worst(rows))].values())]


def _worst(rows: dict[str, dict[str, Verdict]]) -> Any:
    return lambda text: max(verdict.ruling for verdict in rows[text].values())


def _check_lines(lines: Iterable[bytes], bundle: Bundle, facts: Facts, second: SecondReader) -> int:
    """Answer each line in order; a line that is no JSON gets a block of its own."""
    worst = Ruling.ALLOW
    out = sys.stdout.buffer
    for line in lines:
        if not line.strip():
            continue
        identity, text, problem = _decode_line(line)
        verdict = judge(text, bundle=bundle, facts=facts, second=second)
        answer = {"id": identity, "cmd": text, **plain(verdict)}
        if problem:
            answer["verdict"] = Ruling.BLOCK.word
            answer["reasons"] = [{"rule": "input", "message": problem, "span": [0, 0]}]
        worst = max(worst, Ruling.of(answer["verdict"]))
        out.write(_encode(answer))
        out.flush()  # whoever asks waits for this answer before the next question
    return STATUS[worst]


def _encode(answer: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(answer) + b"\n"
    except (msgspec.EncodeError, UnicodeEncodeError):  # a lone surrogate in what was asked
        import json  # noqa: PLC0415  # rarely needed

        return json.dumps(answer).encode() + b"\n"


def _decode_line(line: bytes) -> tuple[Any, str, str]:
    """The id and command of a line, and what is wrong with it."""
    if len(line) > MAX_LINE:
        return None, "", "the line is longer than 1 MiB"
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_leniently(line)
    return _fields(value)


def _decode_leniently(line: bytes) -> tuple[Any, str, str]:
    """The standard library also takes lone surrogates, which a corpus of attacks may hold."""
    import json  # noqa: PLC0415  # rarely needed

    try:
        return _fields(json.loads(line.decode("utf-8")))
    except (ValueError, RecursionError):
        return None, "", "the line is not JSON"


def _fields(value: Any) -> tuple[Any, str, str]:
    if not isinstance(value, dict):
        return None, "", "the line is not a JSON object"
    if not isinstance(value.get("cmd"), str):
        return value.get("id"), "", "the line has no text under cmd"
    return value.get("id"), value["cmd"], ""
