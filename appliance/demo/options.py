"""The options of `sentinel demo`."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sentinel demo`."""
    parser.add_argument(
        "--headless", action="store_true", help="approve unattended; exit 0 only if all worked"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="the node checks everything and runs nothing"
    )
    parser.add_argument("--dir", type=Path, help="folder for everything (default: a fresh one)")
    parser.add_argument("--port", type=int, help="console's port (default: a free one)")
    parser.add_argument("--hub-port", type=int, help="hub's gRPC port (default: a free one)")
    parser.add_argument("--vault-port", type=int, help="Vault's port (default: a free one)")
    parser.add_argument("--model", type=Path, help="GGUF file (default: the demo's small model)")
    parser.add_argument("--no-model", action="store_true", help="deterministic diagnosis only")
    parser.add_argument("--limit-mb", type=int, default=400, help="size at which the leak stops")
    parser.add_argument("--rate-mb", type=float, default=20, help="the leak's growth per second")
