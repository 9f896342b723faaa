"""The commands and options of `sentinel user`."""

import argparse
from pathlib import Path

ROLES = ("viewer", "operator", "admin")  # as in hub/persist/operators.py; a test compares them

_HELP = {
    "add": "add an operator; prints a one-time sign-in link unless a password is asked for",
    "list": "who may sign in, with which role",
    "role": "give an operator another role",
    "disable": "keep an operator out, at once and everywhere",
    "enable": "let an operator in again",
    "password": "set a password (asked for, or read from standard input)",
    "link": "make a one-time sign-in link",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands of `sentinel user`."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    for name, what in _HELP.items():
        one = commands.add_parser(name, help=what, description=what)
        default = Path("/etc/sentinel/console.toml")
        one.add_argument(
            "--config", type=Path, default=default, help=f"console's settings (default: {default})"
        )
        if name != "list":
            one.add_argument("name", help="the operator's sign-in name")
        if name in ("add", "role"):
            one.add_argument("--role", choices=ROLES, required=name == "role", default="operator")
        if name == "add":
            one.add_argument("--password", action="store_true", help="ask for a password")
