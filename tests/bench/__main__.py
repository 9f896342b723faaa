"""Measure everything and print the table; `--write` puts it into BENCHMARKS.md.

python -m tests.bench [--write] [NAME …]
"""

import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench import events, footprint, gate, identity, inference, journey, proof
from tests.bench.figures import Figure, machine, table

PARTS: dict[str, Callable[[], list[Figure]]] = {
    "gate": gate.measure,
    "proof": proof.measure,
    "events": events.measure,
    "inference": inference.measure,
    "footprint": footprint.measure,
    "identity": identity.measure,
    "journey": journey.measure,
}
FILE = Path(__file__).parents[2] / "BENCHMARKS.md"


def main(argv: list[str]) -> int:
    """0 when everything could be measured."""
    chosen = [name for name in argv if name in PARTS] or list(PARTS)
    figures: list[Figure] = []
    for name in chosen:
        sys.stderr.write(f"measuring {name} …\n")
        found = PARTS[name]()
        figures += found
        for figure in found:
            sys.stderr.write(f"  {figure.row()}\n")
    text = f"{machine()}\n\n{table(figures)}\n"
    sys.stdout.write(text)
    if "--write" in argv:
        FILE.write_text(f"# Benchmarks\n\n`make bench` prints this table.\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
