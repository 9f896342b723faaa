"""The commands and options of `sentinel halt`, `sentinel resume` and `sentinel node`."""

import argparse
from pathlib import Path

HALT = "stop one node, or all of them: they run nothing more"
RESUME = "end a halt, with an administrator's own key; every node checks the signature"
NODE = "the nodes: what they say of themselves, and which keys are believed"


def add_halt(parser: argparse.ArgumentParser) -> None:
    """The options of `sentinel halt`."""
    _config(parser)
    parser.add_argument("node", nargs="?", help="this node only")
    parser.add_argument("--all", action="store_true", help="all nodes, also those that come later")
    parser.add_argument("--reason", required=True, help="for who finds the nodes halted")


def add_resume(parser: argparse.ArgumentParser) -> None:
    """The options of `sentinel resume`."""
    _config(parser)
    parser.add_argument("--halt", metavar="ID", help="which halt; needed when there are several")
    parser.add_argument("--operator", required=True, help="your name, as in people.json")
    parser.add_argument(
        "--key", type=Path, required=True, help="your own Ed25519 private key (PEM)"
    )


def add_node(parser: argparse.ArgumentParser) -> None:
    """The commands of `sentinel node`."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    listed = commands.add_parser("list", help="all nodes", description="all nodes")
    _config(listed)
    what = "believe the new key that a node's executor signs its reports with"
    accept = commands.add_parser("accept-key", help=what, description=what)
    _config(accept)
    accept.add_argument("node", help="the node's name")
    accept.add_argument(
        "--fingerprint",
        help="as `sentinel-executor --show-keys` prints it there; asked for when missing",
    )


def _config(parser: argparse.ArgumentParser) -> None:
    default = Path("/etc/sentinel/console.toml")
    parser.add_argument(
        "--config", type=Path, default=default, help=f"console's settings (default: {default})"
    )
