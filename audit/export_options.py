"""The options of an export, for `sentinel-audit export` and `sentinel-hub export` alike."""

import argparse
from pathlib import Path


def add_export(command: argparse.ArgumentParser, *, who_required: bool = False) -> None:
    """Which part, where to, signed by what, by whom and why."""
    command.add_argument(
        "--out", metavar="FILE.tar", type=Path, required=True, help="the archive to write"
    )
    add_part(command)
    command.add_argument(
        "--redact",
        metavar="FIELD",
        action="append",
        help="leave out the blobs that this field of a body commits to; may be given again",
    )
    command.add_argument(
        "--export-key", metavar="FILE", type=Path, help="Ed25519 PEM that signs the manifest"
    )
    command.add_argument(
        "--export-name", metavar="NAME", help="that key's name; default: LOG/export"
    )
    command.add_argument(
        "--witness-policy", metavar="FILE", type=Path, help="the witnesses and their quorum, to add"
    )
    default = "" if who_required else "; default: the user"
    command.add_argument(
        "--who", required=who_required, help=f"who exports, for the custody record{default}"
    )
    command.add_argument("--reason", default="", help="why, for the custody record")


def add_part(command: argparse.ArgumentParser) -> None:
    """Which part."""
    command.add_argument(
        "--from", metavar="SEQ", dest="first", type=int, default=0, help="the first entry"
    )
    command.add_argument(
        "--to",
        metavar="SEQ",
        dest="last",
        type=int,
        help="the last entry; the part ends at the first checkpoint that covers it",
    )
    command.add_argument("--incident", metavar="ID", help="only this incident, and no other entry")
