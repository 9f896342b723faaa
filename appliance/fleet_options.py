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
    _joining(commands)


def _joining(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Who may join, and who is no longer believed: for these the hub's own settings are read."""
    what = "let a node join: a ticket with a single-use token that ends within minutes"
    add = commands.add_parser("add", help=what, description=what)
    add.add_argument("node", help="its name, as its certificate will say it")
    add.add_argument("--minutes", type=int, choices=range(1, 61), default=15, metavar="N")
    add.add_argument("--out", type=Path, metavar="FILE", help="(default: NODE.ticket)")
    what = "answer the request of a node that cannot reach Vault, as files"
    sign = commands.add_parser("sign", help=what, description=what)
    sign.add_argument("request", type=Path, help="what `sentinel-agent enroll --offline` wrote")
    sign.add_argument("--key", help="what the node showed as its key; asked for when missing")
    sign.add_argument("--out", type=Path, metavar="FILE", help="(default: NODE.answer)")
    what = "what became of the tickets; 1: somebody opened one and its node has not come"
    check = commands.add_parser("check", help=what, description=what)
    check.add_argument("node", nargs="?", help="this node's only")
    check.add_argument(
        "--stolen", action="store_true", help="somebody else opened it: revoke what that gave"
    )
    what = "believe a node no more: end its stream, revoke its certificates"
    revoke = commands.add_parser("revoke", help=what, description=what)
    revoke.add_argument("node")
    revoke.add_argument("--reason", required=True, help="for who reads the log")
    for one in (add, sign, check, revoke):
        default = Path("/etc/sentinel/serve.toml")
        one.add_argument(
            "--config", type=Path, default=default, help=f"hub's settings (default: {default})"
        )
        one.add_argument(
            "--vault-token-file", type=Path, metavar="FILE",
            help="an administrator's; else BAO_TOKEN or VAULT_TOKEN, else it is asked for",
        )  # fmt: skip


def _config(parser: argparse.ArgumentParser) -> None:
    default = Path("/etc/sentinel/console.toml")
    parser.add_argument(
        "--config", type=Path, default=default, help=f"console's settings (default: {default})"
    )
