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
    "keys": "people's keys that were enrolled here, with their fingerprints",
    "add-key": "enrol the public half of an operator's terminal key (sentinel approve key)",
    "approve-key": "approve a key that waits, for the first administrator has nobody to ask",
    "revoke-key": "take a key back; it counts no longer on the hub at once",
}
_WITHOUT_NAME = ("list", "keys")
_BY_FINGERPRINT = ("approve-key", "revoke-key")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands of `sentinel user`."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    for name, what in _HELP.items():
        one = commands.add_parser(name, help=what, description=what)
        default = Path("/etc/sentinel/console.toml")
        one.add_argument(
            "--config", type=Path, default=default, help=f"console's settings (default: {default})"
        )
        if name in _BY_FINGERPRINT:
            one.add_argument("key", help="its fingerprint, or the first 16 digits of it")
        elif name not in _WITHOUT_NAME:
            one.add_argument("name", help="the operator's sign-in name")
        if name in ("add", "role"):
            one.add_argument("--role", choices=ROLES, required=name == "role", default="operator")
        if name == "add-key":
            one.add_argument("public_key", help="the line that `sentinel approve key` prints")
            one.add_argument("--label", default="", help="so that the owner knows it again")
        if name == "add":
            one.add_argument("--password", action="store_true", help="ask for a password")
