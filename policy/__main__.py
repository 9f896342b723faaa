"""`sentinel-policy`: judge commands, check the rules themselves, sign and compare policies.

With `policy.cli` the only part of this room that prints. Exit status of `check`, `explain` and
`what-if`: 0 allow, 3 review, 4 block (the worst of all); of the others 0 yes, 1 no. 2 is always
"could not tell".
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance import __version__
from appliance.errors import SentinelError
from policy.cli import authors, judging, life
from policy.cli.common import COULD_NOT_TELL, NO, add_judging, add_key, add_policy, add_reader
from policy.errors import PolicyError

_Actions = Any  # argparse does not publish the type of what add_subparsers returns
_EPILOG = """\
commands are judged, never run. Exit status of check, explain and what-if:
  0 allow   3 review   4 block (the worst of all)   2 could not tell
of the others: 0 yes   1 no   2 could not tell

examples:
  sentinel-policy check 'systemctl restart nginx' --facts facts.json
  sentinel-policy explain 'rm -rf /var'
  sentinel-policy check --jsonl < commands.jsonl
  sentinel-policy test --policy ./rules.d
  sentinel-policy sign ./rules.d --private-key policy.key --out site.policy
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit status."""
    options = _parser().parse_args(argv)
    try:
        status: int = options.run(options)
    except PolicyError as error:
        print(f"sentinel-policy: {error}", file=sys.stderr)
        return NO if options.broken_is_no else COULD_NOT_TELL
    except SentinelError as error:
        print(f"sentinel-policy: {error}", file=sys.stderr)
        return COULD_NOT_TELL
    except BrokenPipeError:
        sys.stdout = None  # the reader went away; nothing is left to flush
        return COULD_NOT_TELL
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sentinel-policy",
        description="Judge commands against the rules, and look after the rules themselves.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sentinel {__version__}")
    parser.set_defaults(broken_is_no=False)
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add_judging(actions)
    _add_authors(actions)
    _add_life(actions)
    return parser


def _add_judging(actions: _Actions) -> None:
    check = actions.add_parser("check", help="verdict with its reasons", epilog=_EPILOG,
                               formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    check.add_argument("--jsonl", action="store_true", help='read {"id","cmd"} lines, answer each')
    check.set_defaults(run=judging.run_check)
    explaining = actions.add_parser("explain", help="the verdict drawn under the command")
    explaining.set_defaults(run=judging.run_explain)
    what_if = actions.add_parser(
        "what-if", help="verdicts without evidence, with it, in a change window, for each role"
    )
    what_if.set_defaults(run=judging.run_what_if)
    for action, many in ((check, "*"), (explaining, "*"), (what_if, "+")):
        add_judging(action)
        action.add_argument("commands", nargs=many, metavar="COMMAND", help="one quoted line each")


def _add_authors(actions: _Actions) -> None:
    for name, run, text in (
        ("test", authors.run_test, "check every example of the rule files"),
        ("lint", authors.run_lint, "advice about rules that could be better"),
        ("mutate", authors.run_mutate, "loosen each line of each rule: some example must notice"),
        ("coverage", authors.run_coverage, "which flags and options no example uses"),
    ):
        action = actions.add_parser(name, help=text)
        add_policy(action)
        action.set_defaults(run=run, broken_is_no=True)
        if name == "mutate":
            action.add_argument(
                "--suggest", action="store_true", help="propose a deny example for each such line"
            )
        if name == "coverage":
            action.add_argument("--all", action="store_true", help="also what is covered entirely")
            action.add_argument(
                "--min", type=float, default=0.0, metavar="PERCENT", help="1 when below"
            )


def _add_life(actions: _Actions) -> None:
    key = actions.add_parser("key", help="make a key that signs policies")
    key.add_argument("file", type=Path, metavar="FILE", help="the private key; FILE.pub beside it")
    key.set_defaults(run=life.run_key)
    sign = actions.add_parser("sign", help="make a signed policy file of a folder of rules")
    sign.add_argument("rules", type=Path, metavar="DIR", help="folder of rule files")
    sign.add_argument("--private-key", type=Path, required=True, metavar="PEM",
                      help="Ed25519 private key of the policy's signer")  # fmt: skip
    sign.add_argument("--out", type=Path, required=True, metavar="FILE", help="the signed file")
    sign.add_argument("--sequence", type=int, metavar="N",
                      help="default: one more than the file that is there")  # fmt: skip
    sign.add_argument("--against", type=Path, metavar="OLD",
                      help="folder or signed file: list what got looser since")  # fmt: skip
    sign.add_argument("--commands", type=Path, metavar="FILE",
                      help="recorded commands for --against")  # fmt: skip
    sign.add_argument("--accept-looser", action="store_true",
                      help="sign although something got looser")  # fmt: skip
    sign.set_defaults(run=life.run_sign)
    verify = actions.add_parser("verify", help="check a signed policy file and its rules")
    verify.add_argument("file", type=Path, metavar="FILE")
    verify.add_argument("--key", type=Path, required=True, metavar="PEM",
                        help="public key that must have signed it")  # fmt: skip
    verify.set_defaults(run=life.run_verify, broken_is_no=True)
    replay = actions.add_parser("replay", help="what changes for recorded commands")
    replay.add_argument("old", type=Path, metavar="OLD", help="folder or signed file")
    replay.add_argument("new", type=Path, metavar="NEW", help="folder or signed file")
    replay.add_argument("--commands", type=Path, metavar="FILE",
                        help='lines of {"cmd", "facts"} (default: standard input)')  # fmt: skip
    replay.set_defaults(run=life.run_replay)
    for action in (sign, replay):
        add_reader(action)
        add_key(action)


if __name__ == "__main__":
    sys.exit(main())
