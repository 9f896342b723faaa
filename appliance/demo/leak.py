"""A process that really leaks: it grows by a few megabytes a second up to a bound, and waits.

python -m appliance.demo.leak --limit-mb 400 --rate-mb 8 --pause-s 5
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

NAME = "sentinel-leak"  # as `ps` shows it
_MEGABYTE = 1024 * 1024
_PAGE = 4096
_TICKS_PER_S = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Leak until the bound, then hold what was taken until somebody ends us."""
    parser = argparse.ArgumentParser(prog="leak", description=__doc__.splitlines()[0])
    parser.add_argument("--limit-mb", type=int, default=400, help="stop growing here")
    parser.add_argument("--rate-mb", type=float, default=8, help="growth per second")
    parser.add_argument("--pause-s", type=float, default=0, help="wait before the first byte")
    asked = parser.parse_args(argv)
    Path("/proc/self/comm").write_text(NAME, encoding="ascii")
    time.sleep(asked.pause_s)
    leaked: list[bytearray] = []
    chunk = int(asked.rate_mb * _MEGABYTE / _TICKS_PER_S)
    while len(leaked) * chunk < asked.limit_mb * _MEGABYTE:
        block = bytearray(chunk)
        block[::_PAGE] = b"x" * len(block[::_PAGE])  # touch each page, or it is not really taken
        leaked.append(block)
        time.sleep(1 / _TICKS_PER_S)
    signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
