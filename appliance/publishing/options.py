"""The commands and options of `sentinel policy`."""

import argparse
from pathlib import Path

_HELP = {
    "key": "make a key for one person: NAME.key (kept secret, 0600) and NAME.pub",
    "init": "a new trust repository: who holds root, who signs policy, how many it takes",
    "draft": "propose what is to be in force; shows what it changes, signs nothing",
    "sign": "sign what waits in the repository with one key, after showing what it changes",
    "publish": "put in force what enough signers signed; the only way to change policy",
    "show": "versions, signers, until when, and which signatures are missing",
    "rotate-root": "propose other root keys, signers, online key or thresholds",
    "people": "people.toml with the credentials that were approved in the console",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands of `sentinel policy`."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    for name, what in _HELP.items():
        one = commands.add_parser(name, help=what, description=what)
        if name == "key":
            one.add_argument("name", type=Path, metavar="NAME", help="path without .key")
        elif name == "people":
            _config(one, "console")
        else:
            one.add_argument("repository", type=Path, help="folder of the trust repository")
            _OPTIONS[name](one)


def _init(parser: argparse.ArgumentParser) -> None:
    _keepers(parser, required=True)


def _rotate(parser: argparse.ArgumentParser) -> None:
    _keepers(parser, required=False)


def _keepers(parser: argparse.ArgumentParser, *, required: bool) -> None:
    kept = "" if required else " (default: as they are)"
    for option, what in (("--root", "root keys"), ("--signer", "policy signers")):
        parser.add_argument(
            option, type=Path, nargs="+", required=required, metavar="PUB", help=f"{what}{kept}"
        )
    parser.add_argument(
        "--online", type=Path, required=required, metavar="PUB", help=f"the hub's key{kept}"
    )
    default = 2 if required else None
    parser.add_argument("--root-threshold", type=int, default=default, metavar="N", help="of root")
    parser.add_argument(
        "--threshold", type=int, default=default, metavar="N", help="of signers (default: 2)"
    )
    parser.add_argument("--days", type=_days, default=365, help="it is good for (default: 365)")


def _draft(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--policy", type=Path, help="folder of rules, or signed policy file")
    parser.add_argument("--policy-key", type=Path, metavar="PUB", help="of a signed policy file")
    parser.add_argument("--sequence", type=int, metavar="N", help="of the policy (default: next)")
    parser.add_argument("--people", type=Path, metavar="TOML", help="who may say yes")
    parser.add_argument("--order-key", type=Path, nargs="+", metavar="PUB", help="of the hub")
    parser.add_argument("--audit-vkey", type=Path, nargs="+", metavar="FILE", help="of the log")
    parser.add_argument("--witness-vkey", type=Path, nargs="*", metavar="FILE", help="witnesses")
    parser.add_argument("--witness-quorum", type=int, metavar="N", help="how many must have seen")
    parser.add_argument("--days", type=_days, default=90, help="it is good for (default: 90)")


def _sign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", type=Path, required=True, help="private key file of the signer")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _publish(parser: argparse.ArgumentParser) -> None:
    _config(parser, "serve")


def _show(_: argparse.ArgumentParser) -> None:
    """Nothing but the folder."""


def _config(parser: argparse.ArgumentParser, name: str) -> None:
    default = Path(f"/etc/sentinel/{name}.toml")
    parser.add_argument(
        "--config", type=Path, default=default, help=f"{name}'s settings (default: {default})"
    )


def _days(text: str) -> int:
    most = 3650
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"expected 1 to {most} days, got {text!r}")
    return int(text)


_OPTIONS = {
    "init": _init,
    "draft": _draft,
    "sign": _sign,
    "publish": _publish,
    "show": _show,
    "rotate-root": _rotate,
}
