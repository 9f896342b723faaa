"""`sentinel-policy`: judge commands from the command line, and check rule files.

The only module of this room that reads files and prints. Exit status of `check`: 0 allow,
3 review, 4 block (the worst of all lines), 2 could not tell.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from appliance.errors import SentinelError, SettingsError
from policy.bundle import (
    SHIPPED_RULES,
    bundle_or_refusal,
    check_examples,
    parse_bundle,
    read_folder,
)
from policy.errors import PolicyError
from policy.evaluate import EchoReader, SecondReader, judge
from policy.explain import explain
from policy.facts import EXAMPLE_FACTS, Facts, decode_facts
from policy.lint import advice
from policy.rules import Bundle
from policy.verdict import Ruling, Verdict, plain
from policy.worker import GuardedReader

_STATUS = {Ruling.ALLOW: 0, Ruling.REVIEW: 3, Ruling.BLOCK: 4}
_COULD_NOT_TELL = 2
_MAX_LINE = 1 << 20  # one input line; a longer one is answered with a block
_EPILOG = """\
commands are judged, never run. Exit status of check and explain:
  0 allow   3 review   4 block (the worst of all)   2 could not tell

examples:
  sentinel-policy check 'systemctl restart nginx' --facts facts.json
  sentinel-policy explain 'rm -rf /var'
  sentinel-policy check --jsonl < commands.jsonl
  sentinel-policy test --policy ./rules.d
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit status."""
    options = _parser().parse_args(argv)
    try:
        status: int = options.run(options)
    except SentinelError as error:
        print(f"sentinel-policy: {error}", file=sys.stderr)
        return _COULD_NOT_TELL
    except BrokenPipeError:
        sys.stdout = None  # the reader went away; nothing is left to flush
        return _COULD_NOT_TELL
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sentinel-policy",
        description="Judge commands against the rules, and check the rules themselves.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="verdict with its reasons", epilog=_EPILOG,
                               formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    _add_judging(check)
    check.add_argument("--jsonl", action="store_true", help='read {"id","cmd"} lines, answer each')
    check.set_defaults(run=_check)
    explaining = actions.add_parser("explain", help="the verdict drawn under the command")
    _add_judging(explaining)
    explaining.set_defaults(run=_explain)
    for name, run, text in (
        ("test", _test, "check every example of the rule files"),
        ("lint", _lint, "advice about rules that could be better"),
    ):
        action = actions.add_parser(name, help=text)
        _add_policy(action)
        action.set_defaults(run=run)
    return parser


def _add_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policy",
        type=Path,
        default=SHIPPED_RULES,
        metavar="DIR",
        help="folder of rule files (default: the shipped rules)",
    )


def _add_judging(parser: argparse.ArgumentParser) -> None:
    _add_policy(parser)
    parser.add_argument("--facts", type=Path, metavar="FILE", help="JSON facts about the host")
    parser.add_argument(
        "--no-worker",
        action="store_true",
        help="strict reader alone, for measuring; such a verdict must not be acted upon",
    )
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help="one quoted line each")


def _facts(path: Path | None) -> Facts:
    if path is None:
        return Facts()
    try:
        return decode_facts(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error


def _bundle(path: Path) -> Bundle:
    """The policy of a folder; a broken one refuses everything and says so here, too."""
    try:
        bundle = bundle_or_refusal(read_folder(path))
    except PolicyError as error:
        bundle = Bundle.refuse_all(f"the policy is broken: {error}", rule=error.file)
    if bundle.refusal:
        print(f"sentinel-policy: {bundle.refusal}", file=sys.stderr)
    return bundle


def _check(options: argparse.Namespace) -> int:
    bundle, facts = _bundle(options.policy), _facts(options.facts)
    if options.jsonl == bool(options.commands):
        print("sentinel-policy: give commands, or --jsonl and lines on stdin", file=sys.stderr)
        return _COULD_NOT_TELL
    with GuardedReader() as worker:
        second: SecondReader = EchoReader() if options.no_worker else worker
        if options.jsonl:
            return _check_lines(sys.stdin.buffer, bundle, facts, second)
        verdicts = [_judge(text, bundle, facts, second) for text in options.commands]
    for verdict in verdicts:
        reason = verdict.reasons[0]
        print(f"{verdict.ruling.word}\t{reason.rule}\t{reason.message}")
    return _STATUS[max(verdict.ruling for verdict in verdicts)]


def _explain(options: argparse.Namespace) -> int:
    bundle, facts = _bundle(options.policy), _facts(options.facts)
    worst = Ruling.ALLOW
    with GuardedReader() as worker:
        second: SecondReader = EchoReader() if options.no_worker else worker
        for text in options.commands or ("",):
            verdict = _judge(text, bundle, facts, second)
            print(explain(verdict, hidden=() if verdict.program else second.hidden(text)))
            worst = max(worst, verdict.ruling)
    return _STATUS[worst]


def _judge(text: str, bundle: Bundle, facts: Facts, second: SecondReader) -> Verdict:
    return judge(text, bundle=bundle, facts=facts, second=second)


def _check_lines(lines: Iterable[bytes], bundle: Bundle, facts: Facts, second: SecondReader) -> int:
    """Answer each line in order; a line that is no JSON gets a block of its own."""
    worst = Ruling.ALLOW
    for line in lines:
        if not line.strip():
            continue
        identity, text, problem = _decode_line(line)
        verdict = _judge(text, bundle, facts, second)
        answer = {"id": identity, "cmd": text, **plain(verdict)}
        if problem:
            answer["verdict"] = Ruling.BLOCK.word
            answer["reasons"] = [{"rule": "input", "message": problem, "span": [0, 0]}]
        worst = max(worst, Ruling.of(answer["verdict"]))
        print(json.dumps(answer), flush=True)
    return _STATUS[worst]


def _decode_line(line: bytes) -> tuple[Any, str, str]:
    """The id and command of a line, and what is wrong with it."""
    if len(line) > _MAX_LINE:
        return None, "", "the line is longer than 1 MiB"
    try:
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None, "", "the line is not JSON"
    if not isinstance(value, dict):
        return None, "", "the line is not a JSON object"
    if not isinstance(value.get("cmd"), str):
        return value.get("id"), "", "the line has no text under cmd"
    return value.get("id"), value["cmd"], ""


def _test(options: argparse.Namespace) -> int:
    try:
        bundle = parse_bundle(read_folder(options.policy))
    except PolicyError as error:
        print(error, file=sys.stderr)
        return 1
    count = check_examples(bundle)
    print(f"{len(bundle.commands)} commands, {count} examples hold, policy {bundle.digest}")
    print(f"examples refer to pids {sorted(process.pid for process in EXAMPLE_FACTS.processes)}")
    return 0


def _lint(options: argparse.Namespace) -> int:
    try:
        bundle = parse_bundle(read_folder(options.policy))
    except PolicyError as error:
        print(error, file=sys.stderr)
        return 1
    found = advice(bundle)
    for line in found or ["nothing to improve"]:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
