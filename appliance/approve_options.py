"""The options of `sentinel approve`."""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  sentinel approve --list                              what waits for a yes
  sentinel approve key ~/.sentinel/operator.key        make a key, and print its public half
  sentinel approve 01a2...-7f3c --key ~/.sentinel/operator.key
  complete -W "$(sentinel approve --list | cut -d' ' -f1)" sentinel      in bash: completes ids

It exits 0 when your yes counts, 1 when it was refused or you said no, 2 when it could not tell.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What and with which key."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument(
        "what", nargs="?", metavar="INCIDENT", help="an incident's id; or `key` to make a key"
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="with `key`: where to")
    parser.add_argument("--list", action="store_true", help="list the plans that wait for a yes")
    parser.add_argument("--key", type=Path, metavar="FILE", help="your own Ed25519 key (PEM)")
    parser.add_argument("--comment", default="", help="goes into the audit log")
    parser.add_argument("--yes", action="store_true", help="do not ask; what runs is still shown")
    default = Path("/etc/sentinel/console.toml")
    parser.add_argument(
        "--config", type=Path, default=default, help=f"console's settings (default: {default})"
    )
