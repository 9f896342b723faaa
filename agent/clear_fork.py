"""`sentinel-executor clear-fork`: a person has looked at two histories of the log, and decides."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from agent.durable import remember, remembered
from agent.executor_settings import ExecutorSettings
from agent.forks import ForkFile, Seen, one_at_a_time
from agent.trust import load_trust
from appliance import journal, settings
from appliance.errors import SentinelError
from audit.checkpoint import open_checkpoint
from audit.errors import AuditRefusedError
from policy.worker import GuardedReader


def main(argv: Sequence[str]) -> int:
    """`sentinel-executor clear-fork`: 0 cleared, 1 there is none, 2 could not tell."""
    asked = _parser().parse_args(argv)
    journal.start("sentinel-executor", verbose=False)
    try:
        chosen = settings.load(asked.config, ExecutorSettings)
        with one_at_a_time(chosen.state_dir):
            return _clear(chosen, asked.accept)
    except (SentinelError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"sentinel-executor clear-fork: {error}\n")
        return getattr(error, "exit_status", 2)


def _clear(chosen: ExecutorSettings, accept: Path | None) -> int:
    file = ForkFile(chosen.state_dir)
    fork = file.read()
    if accept is not None:
        memory = chosen.state_dir / "checkpoint.json"
        before = remembered(memory, Seen, "the last checkpoint")
        seen = _believed(accept.read_text(encoding="utf-8"), chosen)
        seen = structs.replace(seen, decided=before.decided if before else ())
        remember(memory, seen)
        # From here on the node follows the other history, and still runs nothing until the fork
        # is cleared below.
        sys.stdout.write(f"accepted: {seen.size} entries, root {seen.root}\n")
    if fork is None:
        sys.stdout.write("there is no fork to clear\n")
        return 0 if accept is not None else 1
    file.clear(now=datetime.now(UTC))
    sys.stdout.write(
        f"cleared: {fork.reason}\nfound at {fork.at:%Y-%m-%d %H:%M:%S}Z; both notes are kept in"
        f" {chosen.state_dir / 'forks'}\n"
    )
    return 0


def _believed(note: str, chosen: ExecutorSettings) -> Seen:
    with GuardedReader() as second:
        vkeys = load_trust(chosen, second, checking=True).audit_vkeys
    try:
        checkpoint = open_checkpoint(note, vkeys)
    except AuditRefusedError as error:
        raise AuditRefusedError(f"that checkpoint is not believed: {error}") from error
    return Seen(size=checkpoint.size, root=checkpoint.root.hex(), note=note)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sentinel-executor clear-fork",
        description="A person has looked at two histories of the audit log; orders may run again. "
        "The running executor notices by itself. Exit status: 0 cleared, 1 there is none, "
        "2 could not tell.",
    )
    default = Path("/etc/sentinel/executor.toml")
    parser.add_argument(
        "--config", type=Path, default=default, help=f"settings file (default: {default})"
    )
    parser.add_argument(
        "--accept",
        type=Path,
        metavar="NOTE",
        help="from now on this signed checkpoint is where the log stands, though it does not "
        "extend what this node has seen: after the hub was restored from a backup",
    )
    return parser
