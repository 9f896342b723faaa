"""The options of `sentinel log`."""

import argparse
from pathlib import Path

EXAMPLES = """examples, as in docs/GOING-ON-AFTER-A-FORK.md:
  sentinel log fork propose fork.json --reason "the disk failed; restored from Sunday's backup"
  sentinel log fork show fork.json                      what it says, and who has signed it
  sentinel log fork sign fork.json --key ada.key        an administrator, at their own desk
  sentinel log fork sign fork.json --key bob.key        another administrator, at another
  sentinel log fork submit fork.json                    as the notary's user, on the hub

It exits 0 when that was done, 1 when it was refused or you said no, 2 when it could not tell.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`sentinel log fork` and its four steps."""
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    what = "nodes do not follow the log: two administrators decide whether it goes on all the same"
    fork = subjects.add_parser(
        "fork",
        help=what,
        description=what,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    steps = fork.add_subparsers(dest="step", required=True, metavar="STEP")
    _propose(steps.add_parser("propose", help="write down what nodes hold and what the hub has"))
    _show(steps.add_parser("show", help="what a file says, and who has signed it"))
    _sign(steps.add_parser("sign", help="add your own signature, after reading it"))
    _submit(steps.add_parser("submit", help="give it to the notary, which puts it on record"))


def _propose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the new file")
    parser.add_argument("--reason", required=True, help="why; it stays in the log for ever")
    parser.add_argument(
        "--give-up",
        type=Path,
        action="append",
        default=[],
        metavar="NOTE",
        help="a checkpoint to give up besides those of the nodes that alarm, such as a witness's",
    )
    _config(parser, "console")


def _show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="as `propose` wrote it")


def _sign(parser: argparse.ArgumentParser) -> None:
    _show(parser)
    parser.add_argument("--operator", required=True, help="your name, as in people.json")
    parser.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="your own Ed25519 key (PEM)"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask; it is still shown")


def _submit(parser: argparse.ArgumentParser) -> None:
    _show(parser)
    parser.add_argument(
        "--wait-s", type=float, default=30.0, metavar="S", help="for the notary's answer (30)"
    )
    _config(parser, "notary")


def _config(parser: argparse.ArgumentParser, part: str) -> None:
    default = Path(f"/etc/sentinel/{part}.toml")
    parser.add_argument(
        "--config", type=Path, default=default, help=f"{part}'s settings (default: {default})"
    )
