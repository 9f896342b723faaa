"""`sentinel-audit`: check a log folder offline, look into it, take out a proof.

With `keys_cli` the only module of this package that opens files. Exit status: 0 valid, 1 tampered,
2 incomplete or unknown, 3 the command was not understood.
"""

import argparse
import fcntl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import NoReturn

import msgspec

from appliance.errors import SentinelError
from audit import keys_cli, proof
from audit.checkpoint import open_checkpoint, split_notes
from audit.cosigners import Witnessed, cosigners, is_enough
from audit.entry import MAX_LINE_BYTES, decode, leaf_hash
from audit.epoch_notes import Demands
from audit.epoch_rules import verify_demanding
from audit.epochs import open_list
from audit.errors import AuditRefusedError, EntryError, TrustError
from audit.merkle import Subtrees
from audit.note import Vkey, parse_vkey
from audit.report import as_text
from audit.show import Filter, sentence
from audit.trust import Policy, Second, parse_policy
from audit.verify import SEGMENT_ENTRIES

USAGE = 3
TAMPERED = 1
UNKNOWN = 2
PROGRESS_BYTES = 32 * 1024 * 1024  # below, the answer is there before a bar is

_EPILOG = """\
exit status:
  0  valid: every entry is there and as it was signed
  1  tampered: something was changed, cut, put in, or signed by another key
  2  incomplete or unknown: not everything is signed, or it could not be read
  3  the command was not understood

PATH is a log folder: seg/, checkpoints/, checkpoint, log.vkey. Nothing is written to it.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the answer is the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        status: int = options.run(options)
    except BrokenPipeError:
        sys.stderr.close()  # the reader, such as `head`, has seen enough
        return 0
    except SentinelError as error:
        print(f"sentinel-audit: {error}", file=sys.stderr)
        return error.exit_status
    except (OSError, UnicodeDecodeError) as error:
        print(f"sentinel-audit: cannot read: {error}", file=sys.stderr)
        return UNKNOWN
    return status


def run_verify(options: argparse.Namespace) -> int:
    """`verify`: the whole log against its signed checkpoints."""
    demands, policy, told = _trusted(options)
    vkeys = demands.all_keys
    since = None if options.since is None else options.since.read_text()
    published = latest(options.path)
    witnessed = _witnessed([published, since], vkeys, policy)
    enough = is_enough(witnessed, policy)
    upto = _size_while_written(options.path, published, vkeys)
    with _progress(options.path) as progress:
        report = verify_demanding(
            segments(options.path, upto=upto),
            notes(options.path, upto=None if upto is None else published),
            demands=demands,
            latest=published,
            since=since,
            progress=progress,
        )
    status = UNKNOWN if enough is False and report.exit_status == 0 else report.exit_status
    if options.json:
        more = {"key_from": told, "live": upto is not None, "cosigned": witnessed, "quorum": enough}
        print(msgspec.json.encode({**msgspec.to_builtins(report), **more}).decode())
        return status
    print(as_text(report))
    for one in witnessed:
        if one.by:
            print(f"  cosigned: {one}")
    if enough is False:
        print("  UNKNOWN: no checkpoint here has the cosignatures that the policy asks for")
    if upto is not None:
        print(
            "  A notary has this log open; what it wrote after this checkpoint was not looked at."
        )
    if demands.epochs is None:
        print(f"  key:    {vkeys[0]}")
    else:
        last = len(demands.epochs.epochs) - 1
        print(f"  keys:   epochs 0 to {last} of list {demands.epochs.sequence}")
    for key in vkeys[len(demands.vkeys) :]:
        print(f"  second: {key}")
    if told == "log folder":
        print(
            "  The key came from the log folder itself: compare it with the one you noted when\n"
            "  the log was begun, or give that one with --vkey. Who can change a log can change"
            " its key."
        )
    return status


def run_show(options: argparse.Namespace) -> int:
    """`show`: entries that fit the filters, in order."""
    wanted = Filter(
        incident=options.incident,
        type=options.type,
        actor=options.actor,
        since_seq=options.since_seq,
    )
    shown = 0
    for line in _all_lines(options.path, since=options.since_seq):
        try:
            entry = decode(line)
        except EntryError as error:
            print(f"sentinel-audit: a line that is no entry: {error}", file=sys.stderr)
            continue
        if wanted.fits(entry):
            shown += 1
            print(line.decode() if options.json else sentence(entry))
    return 0 if shown else TAMPERED


def run_prove(options: argparse.Namespace) -> int:
    """`prove`: the tlog-proof of one entry under the latest checkpoint; verified before shown."""
    vkeys = _trusted(options)[0].vkeys
    note = (options.path / "checkpoint").read_text()
    size = open_checkpoint(note, vkeys).size
    leaves = [leaf_hash(line) for line in islice(_all_lines(options.path), size)]
    if not 0 <= options.seq < size or len(leaves) < size:
        raise EntryError(f"entry {options.seq}: {size} are signed, {len(leaves)} of them are here")
    line = next(
        islice(_all_lines(options.path, since=options.seq), options.seq % SEGMENT_ENTRIES, None)
    )
    text = proof.make(options.seq, note, Subtrees(leaves.__getitem__))
    proof.verify_inclusion(text, line, vkeys)
    if options.output is None:
        print(text, end="")
        return 0
    options.output.write_text(text)
    options.output.with_suffix(".entry").write_bytes(line)
    return 0


def segments(path: Path, *, upto: int | None = None) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The segments of a log folder by name, each with its lines and their newlines.

    With `upto`, no more than so many lines in all.
    """
    lines = 0
    for file in _segment_files(path):
        rest = None if upto is None else max(0, upto - lines)
        if rest == 0:
            return
        counted = count(lines)
        yield file.stem, (line for line, _ in zip(_lines(file, most=rest), counted, strict=False))
        lines = next(counted)


def notes(path: Path, *, upto: str | None = None) -> Iterator[str]:
    """The kept checkpoints in order, as far as `upto`; torn bytes at an end are left out."""
    for file in sorted((path / "checkpoints").glob("*.notes")):
        for note in split_notes(file.read_bytes())[0]:
            yield note
            if note == upto:
                return


def latest(path: Path) -> str | None:
    """The published checkpoint; after a crash it may be older than the last kept one."""
    file = path / "checkpoint"
    return file.read_bytes().decode(errors="replace") if file.exists() else None


def _segment_files(path: Path) -> list[Path]:
    if not (path / "seg").is_dir():
        raise TrustError(f"{path}: expected a log folder with seg/ in it")
    return sorted(file for file in (path / "seg").glob("*.jsonl") if file.stem.isdecimal())


def _lines(file: Path, *, most: int | None = None) -> Iterator[bytes]:
    """What is longer than any entry comes in pieces, so that no line can fill the memory."""
    with file.open("rb") as stream:
        yield from islice(iter(partial(stream.readline, MAX_LINE_BYTES + 2), b""), most)


def _size_while_written(path: Path, published: str | None, vkeys: Sequence[Vkey]) -> int | None:
    """The published size when a notary has the log open, None when all that is there counts.

    What the notary writes while we read is for the next verification: it is not signed yet, or by
    a checkpoint that was published after we began.
    """
    if published is None:
        return None
    try:
        with (path / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(AuditRefusedError):  # the verifier says what is wrong with it
            return open_checkpoint(published, vkeys).size
    except OSError:
        pass
    return None


def _all_lines(path: Path, *, since: int = 0) -> Iterator[bytes]:
    """Lines without newlines, from the segment on that holds entry `since`."""
    for file in _segment_files(path):
        if int(file.stem) + SEGMENT_ENTRIES > since:
            for line in _lines(file):
                yield line.rstrip(b"\n")


def _trusted(options: argparse.Namespace) -> tuple[Demands, Policy | None, str]:
    """The keys to trust, what else is asked of the log, and where that came from."""
    if options.policy is not None:
        policy = parse_policy(options.policy.read_text())
        if policy.root is not None:
            return _epochs(options, policy.root, policy.seconds), policy, "policy"
        return Demands(vkeys=policy.logs, seconds=policy.seconds), policy, "policy"
    if options.root is not None:
        given = Path(options.root)
        root = parse_vkey(given.read_text() if given.is_file() else options.root)
        return _epochs(options, root), None, "command line"
    if options.vkey is not None:
        return Demands(vkeys=(parse_vkey(options.vkey),)), None, "command line"
    if options.vkey_file is not None:
        return Demands(vkeys=(parse_vkey(options.vkey_file.read_text()),)), None, "file"
    if (options.path / "epochs.note").exists():
        root = parse_vkey((options.path / "root.vkey").read_text())
        return _epochs(options, root), None, "log folder"
    return Demands(vkeys=(parse_vkey((options.path / "log.vkey").read_text()),)), None, "log folder"


def _epochs(options: argparse.Namespace, root: Vkey, seconds: tuple[Second, ...] = ()) -> Demands:
    """The epochs that this root key certified, from the list that was given or lies in the log."""
    path = options.epochs or options.path / "epochs.note"
    epochs = open_list(path.read_text(), root)
    return Demands(vkeys=epochs.vkeys, epochs=epochs, seconds=seconds)


def _witnessed(
    notes: Sequence[str | None], vkeys: Sequence[Vkey], policy: Policy | None
) -> list[Witnessed]:
    """Who cosigned these checkpoints; what is no checkpoint of the log is for the verifier."""
    found = []
    for note in notes:
        if note is None:
            continue
        try:
            open_checkpoint(note, vkeys)
        except AuditRefusedError:
            continue
        found.append(cosigners(note, policy))  # a line that its witness did not make ends it all
    return found


@contextmanager
def _progress(path: Path) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, for a log that takes more than a moment."""
    total = sum(file.stat().st_size for file in _segment_files(path))
    if total < PROGRESS_BYTES or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    sample = next(_lines(_segment_files(path)[0]), b"")
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("verifying", total=total / max(1, len(sample)))
        yield lambda done: bar.update(task, completed=done)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="sentinel-audit",
        description="Check an audit log offline, look into it, and take out proofs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_verify(commands)
    _add_show(commands)
    _add_prove(commands)
    keys = commands.add_parser("keys", help="make, show, change and revoke the log's keys")
    keys_cli.add_arguments(keys)
    return parser


def _add_verify(commands: "argparse._SubParsersAction[_Parser]") -> None:
    command = _add(commands, "verify", run_verify, "check every entry, link, root and signature")
    _add_keys(command)
    command.add_argument(
        "--since",
        metavar="CHECKPOINT",
        type=Path,
        help="the checkpoint file kept from the last audit: the log must extend it",
    )
    command.add_argument("--json", action="store_true", help="the report as one JSON object")


def _add_show(commands: "argparse._SubParsersAction[_Parser]") -> None:
    command = _add(commands, "show", run_show, "print entries; exit 1 when none fits")
    command.add_argument("--incident", metavar="ID", help="only this incident")
    command.add_argument("--type", help="only this type; `approval.` means all that begin so")
    command.add_argument("--actor", metavar="ID", help="only what this person or part did")
    command.add_argument(
        "--since-seq", metavar="SEQ", type=int, default=0, help="only from this entry on"
    )
    command.add_argument("--json", action="store_true", help="the stored lines, byte for byte")


def _add_prove(commands: "argparse._SubParsersAction[_Parser]") -> None:
    command = _add(commands, "prove", run_prove, "write the C2SP tlog-proof of one entry")
    command.add_argument("seq", metavar="SEQ", type=int, help="the entry's number")
    _add_keys(command)
    command.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="write the proof here and the entry's line to FILE with the ending .entry",
    )


def _add(
    commands: "argparse._SubParsersAction[_Parser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument("path", metavar="PATH", type=Path, help="the log folder")
    command.set_defaults(run=run)
    return command


def _add_keys(command: argparse.ArgumentParser) -> None:
    keys = command.add_mutually_exclusive_group()
    keys.add_argument(
        "--policy",
        metavar="FILE",
        type=Path,
        help="the keys to trust, as C2SP tlog-policy",
    )
    keys.add_argument("--vkey", help="the log's key; default: PATH/log.vkey, which proves less")
    keys.add_argument("--vkey-file", metavar="FILE", type=Path, help="the log's key, from a file")
    keys.add_argument(
        "--root", metavar="VKEY", help="the root key of a log whose keys change; or a file of it"
    )
    command.add_argument(
        "--epochs",
        metavar="LIST",
        type=Path,
        help="the list that the root key certified; default: PATH/epochs.note",
    )


if __name__ == "__main__":
    sys.exit(main())
