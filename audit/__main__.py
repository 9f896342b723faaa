"""`sentinel-audit`: check a log folder offline, look into it, take out a proof.

Exit status: 0 valid, 1 tampered, 2 incomplete or unknown, 3 the command was not understood.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NoReturn

import msgspec

from appliance.errors import SentinelError
from audit import export_options, fork_report, keys_cli, proof, proof_command
from audit.check import check
from audit.checkpoint import open_checkpoint
from audit.cosigners import Witnessed, cosigners, is_enough
from audit.counting import Second
from audit.entry import decode, leaf_hash
from audit.epoch_notes import Demands
from audit.epochs import open_list
from audit.errors import AuditRefusedError, EntryError
from audit.folder import latest, lines_from, lines_of, segment_files
from audit.merkle import Subtrees
from audit.note import Vkey, parse_vkey
from audit.report import as_text
from audit.show import Filter, sentence
from audit.trust import Policy, parse_policy
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

PATH is a log folder (seg/, checkpoints/, checkpoint, log.vkey) or an unpacked export.
Nothing is written to it.
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
    signer = None if options.export_vkey is None else parse_vkey(options.export_vkey)
    witnessed = _witnessed([latest(options.path), since], vkeys, policy)
    enough = is_enough(witnessed, policy)
    with _progress(options.path) as progress:
        report, live = check(
            options.path, demands=demands, since=since, export_vkey=signer, progress=progress
        )
    people = None if options.people is None else fork_report.read_people(options.people)
    decided, wrong = fork_report.decisions(
        options.path, keys=demands.counting, people=people, upto=report.signed_size
    )
    report = report.with_problem(wrong) if wrong else report
    status = UNKNOWN if enough is False and report.exit_status == 0 else report.exit_status
    if options.json:
        more = {"key_from": told, "live": live, "cosigned": witnessed, "quorum": enough}
        more["decisions"] = decided
        print(msgspec.json.encode({**msgspec.to_builtins(report), **more}).decode())
        return status
    print(as_text(report))
    for decision in decided:
        print(f"  decided: {decision}")
    for one in witnessed:
        if one.by:
            print(f"  cosigned: {one}")
    if enough is False:
        print("  UNKNOWN: no checkpoint here has the cosignatures that the policy asks for")
    if live:
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
    for line in lines_from(options.path, since=options.since_seq):
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
    keys = _trusted(options)[0].counting
    note = (options.path / "checkpoint").read_text()
    size = keys.open(note).size
    leaves = [leaf_hash(line) for line in islice(lines_from(options.path), size)]
    if not 0 <= options.seq < size or len(leaves) < size:
        raise EntryError(f"entry {options.seq}: {size} are signed, {len(leaves)} of them are here")
    line = next(
        islice(lines_from(options.path, since=options.seq), options.seq % SEGMENT_ENTRIES, None)
    )
    text = proof.make(options.seq, note, Subtrees(leaves.__getitem__))
    proof.verify_inclusion(text, line, keys)
    if options.output is None:
        print(text, end="")
        return 0
    options.output.write_text(text)
    options.output.with_suffix(".entry").write_bytes(line)
    return 0


def run_check_proof(options: argparse.Namespace) -> int:
    """`check`: one entry by its proof, without the log."""
    options.path = options.proof.parent  # where a key lies that is not named
    return proof_command.run(options, _trusted(options)[0])


def run_export(options: argparse.Namespace) -> int:
    """`export`: a part of the log as one archive that can be checked anywhere."""
    from audit import export_command  # what draws pages is not needed by a verifier

    return export_command.run_export(options, _trusted(options)[0])


def run_report(options: argparse.Namespace) -> int:
    """`report`: the log, or a part of it, told for readers, as HTML and PDF."""
    from audit import export_command

    return export_command.run_report(options, _trusted(options)[0])


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
    entries = path / "entries.jsonl"  # of an export of one incident
    files = [entries] if entries.exists() else segment_files(path)
    total = sum(file.stat().st_size for file in files)
    if total < PROGRESS_BYTES or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    sample = next(lines_of(files[0]), b"")
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
    _add_check_proof(commands)
    _add_export(commands)
    _add_report(commands)
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
    command.add_argument(
        "--export-vkey", metavar="VKEY", help="the key that must have signed an export's manifest"
    )
    command.add_argument(
        "--people",
        metavar="FILE",
        type=Path,
        help="people.json: check who signed a decision to go on after the log was set back",
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


def _add_check_proof(commands: "argparse._SubParsersAction[_Parser]") -> None:
    text = "check one entry by its proof, without the log"
    command = commands.add_parser("check", help=text, description=text)
    command.set_defaults(run=run_check_proof)
    proof_command.add_arguments(command)
    _add_keys(command)


def _add_export(commands: "argparse._SubParsersAction[_Parser]") -> None:
    command = _add(commands, "export", run_export, "pack a part of the log, checkable anywhere")
    export_options.add_export(command)
    _add_keys(command)


def _add_report(commands: "argparse._SubParsersAction[_Parser]") -> None:
    command = _add(commands, "report", run_report, "tell the log, or a part of it, for readers")
    command.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help="writes FILE.html and FILE.pdf"
    )
    export_options.add_part(command)
    _add_keys(command)


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
