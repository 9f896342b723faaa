"""The options of `sentinel setup vault`."""

import argparse
from pathlib import Path

WHAT = "make Vault ready: authority, roles, policies, keys; shows the plan first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be said."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    vault = commands.add_parser("vault", help=WHAT, description=WHAT)
    default = Path("/etc/sentinel/setup.toml")
    vault.add_argument(
        "--config", type=Path, default=default, help=f"settings file (default: {default})"
    )
    vault.add_argument("--apply", action="store_true", help="carry the plan out")
    vault.add_argument(
        "--token-file",
        type=Path,
        help="a file, or credential:NAME, with an administrator's token"
        " (without it: $BAO_TOKEN, $VAULT_TOKEN, or a prompt)",
    )
    own = vault.add_argument_group("with the site's own CA (own_ca = true)")
    own.add_argument("--csr", type=Path, help="write the request for the intermediate here")
    own.add_argument("--signed", type=Path, help="take what your CA answered: the chain, root last")
