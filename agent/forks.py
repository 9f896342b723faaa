"""What a node keeps when the log forks, and how a person ends it.

`fork.json` is there from the first fork until a person clears it; while it is there no order runs
and no checkpoint is accepted. Its two notes go to `forks/` when it is cleared, so that one can show
that one key signed both. The command is `sentinel-executor clear-fork`.
"""

import argparse
import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from agent.durable import remember, remembered, sync_folder
from agent.errors import JournalError
from agent.executor_settings import ExecutorSettings
from appliance import journal, settings
from appliance.errors import SentinelError
from appliance.records import Count, Digest, Record
from audit.checkpoint import open_checkpoint
from audit.errors import AuditRefusedError
from audit.note import Vkey

AuditVkeys = Callable[[ExecutorSettings], Sequence[Vkey]]
"""The log's keys that this node believes; read only when somebody asks to follow another log."""

MOST_FOREIGN = 4  # notes that another key signed: anybody can make as many as they like


class Seen(Record, frozen=True, kw_only=True):
    """The newest checkpoint this node accepted; the log must extend it for ever."""

    size: Count
    root: Digest
    note: str = ""  # as it was signed; empty: remembered by an older version


class Fork(Record, frozen=True, kw_only=True):
    """Two checkpoints that one log cannot have, or of which nobody showed that it can."""

    at: datetime
    reason: str
    accepted: str  # the signed note this node had accepted
    refused: str  # the signed note that does not extend it
    cleared_at: datetime | None = None

    @property
    def notes(self) -> str:
        """Both, as in a `.notes` file: each followed by an empty line."""
        return "".join(f"{note}\n" for note in (self.accepted, self.refused) if note)


class ForkFile:
    """The fork in force, if there is one, and the evidence, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "fork.json"
        self._kept = folder / "forks"

    def read(self) -> Fork | None:
        """The fork that nobody has cleared yet."""
        return remembered(self._file, Fork, "the fork that was found")

    def begin(self, fork: Fork) -> None:
        """From here on no order runs, over restarts, until a person clears it."""
        remember(self._file, fork)

    def keep_foreign(self, fork: Fork) -> None:
        """Keep what another key signed, once, as long as there is room; it stops nothing."""
        digest = hashlib.sha256(fork.refused.encode()).hexdigest()
        path = self._kept / f"foreign-{digest[:16]}.json"
        try:
            self._kept.mkdir(mode=0o700, exist_ok=True)
            if not path.exists() and len(list(self._kept.glob("foreign-*"))) < MOST_FOREIGN:
                remember(path, fork)
        except OSError as error:
            raise JournalError(f"{self._kept}: cannot write: {error.strerror}") from error

    def clear(self, *, now: datetime) -> Fork | None:
        """A person has looked: keep the evidence, and let orders run again."""
        fork = self.read()
        if fork is None:
            return None
        cleared = Fork(
            at=fork.at,
            reason=fork.reason,
            accepted=fork.accepted,
            refused=fork.refused,
            cleared_at=now,
        )
        self._kept.mkdir(mode=0o700, exist_ok=True)
        remember(self._kept / f"cleared-{now:%Y%m%dT%H%M%S}.json", cleared)
        # From here on the evidence is in `forks/`; a crash before the next line is cleared again.
        self._file.unlink()
        sync_folder(self._file.parent)
        return cleared


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Between executor and command, and between the executor's threads."""
    try:
        descriptor = os.open(folder / "log.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"{folder}: cannot lock: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def main(argv: Sequence[str], *, audit_vkeys: AuditVkeys) -> int:
    """`sentinel-executor clear-fork`: 0 cleared, 1 there is none, 2 could not tell."""
    asked = _parser().parse_args(argv)
    journal.start("sentinel-executor", verbose=False)
    try:
        chosen = settings.load(asked.config, ExecutorSettings)
        vkeys = audit_vkeys(chosen) if asked.accept else ()
        with one_at_a_time(chosen.state_dir):
            return _clear(chosen, asked.accept, vkeys)
    except (SentinelError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"sentinel-executor clear-fork: {error}\n")
        return getattr(error, "exit_status", 2)


def _clear(chosen: ExecutorSettings, accept: Path | None, vkeys: Sequence[Vkey]) -> int:
    file = ForkFile(chosen.state_dir)
    fork = file.read()
    if accept is not None:
        seen = _believed(accept.read_text(encoding="utf-8"), vkeys)
        remember(chosen.state_dir / "checkpoint.json", seen)
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


def _believed(note: str, vkeys: Sequence[Vkey]) -> Seen:
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
