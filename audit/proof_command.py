"""`sentinel-audit check`: one entry by its proof alone, where the log is not at hand.

What it needs are two files of a kilobyte and the log's key. It shows that the entry stood in the
log when the checkpoint was signed; whether the log is whole is what `verify` says.
"""

import argparse
from pathlib import Path

from audit import proof
from audit.epoch_notes import Demands, NoteWatch
from audit.errors import CheckpointError
from audit.show import sentence


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The two files."""
    command.add_argument("proof", metavar="PROOF", type=Path, help="the entry's C2SP tlog-proof")
    command.add_argument(
        "entry", metavar="ENTRY", type=Path, help="the entry's line, byte for byte"
    )


def run(options: argparse.Namespace, demands: Demands) -> int:
    """Verify and say what was proven. Raises `AuditRefusedError`."""
    # 1. the proof leads from this line to a checkpoint signed by the log's key
    # 2. that key counts: it was not revoked before, and who must sign beside it did
    text, line = options.proof.read_text(), options.entry.read_bytes().removesuffix(b"\n")
    proven = proof.verify(text, line, demands.all_keys)  # 1
    demand_counts(proven.note, demands)  # 2
    print(f"VALID: entry {proven.entry.seq} of {proven.checkpoint.origin}")
    print(f"  root:   {proven.checkpoint.root.hex()}, signed for {proven.checkpoint.size} entries")
    print(f"  entry: {sentence(proven.entry).lstrip()}")
    return 0


def demand_counts(note: str, demands: Demands) -> None:
    """Raise `CheckpointError` unless a checkpoint, signed by one of these keys, counts."""
    said: list[str] = []
    watch = NoteWatch(demands, lambda _, words: said.append(words))
    if not demands.simple and not watch.counts(note):
        raise CheckpointError("; ".join(said) or "the key that signed the checkpoint was revoked")
