"""Check a folder, whatever it is: a log, a copy of one, or an unpacked export.

Decides what belongs together; the checks themselves are `verify`, `epoch_rules` and `disclosure`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from audit import folder
from audit.checkpoint import open_checkpoint
from audit.disclosure import verify_disclosure
from audit.epoch_notes import Demands, NoteWatch
from audit.epoch_rules import verify_demanding
from audit.errors import AuditRefusedError, ComparisonError
from audit.exported import (
    Export,
    before_part,
    check_manifest,
    read_export,
    read_proof,
    unknown_before,
)
from audit.note import Vkey
from audit.report import Report
from audit.verify import NO_REMARKS, SEGMENT_ENTRIES, WHOLE, Before, Remarks


def check(
    path: Path,
    *,
    demands: Demands,
    since: str | None = None,
    export_vkey: Vkey | None = None,
    progress: Callable[[int], None] = lambda _: None,
    segment_entries: int = SEGMENT_ENTRIES,
) -> tuple[Report, bool]:
    """The report, and whether a notary has the log open: then only what is published counts."""
    export = read_export(path)
    note = folder.latest(path)
    vkeys = demands.all_keys
    log = partial(
        _log, path, note, demands, since=since, progress=progress, segment_entries=segment_entries
    )
    if export is None:
        upto = folder.size_while_written(path, note, vkeys)
        return log(upto=upto), upto is not None
    remarks = check_manifest(path, export_vkey)
    if since is not None:
        _demand_comparable(export, open_checkpoint(since, vkeys).size)
    if export.kind == "incident":
        return _incident(path, export, note, demands, remarks), False
    before, remarks = _before(path, export, note, vkeys, remarks)
    return log(before=before, remarks=remarks), False


def _log(
    path: Path,
    note: str | None,
    demands: Demands,
    *,
    since: str | None,
    progress: Callable[[int], None],
    segment_entries: int,
    upto: int | None = None,
    before: Before = WHOLE,
    remarks: Remarks = NO_REMARKS,
) -> Report:
    return verify_demanding(
        folder.segments(path, upto=upto),
        folder.notes(path, upto=None if upto is None else note),
        latest=note,
        demands=demands,
        since=since,
        progress=progress,
        segment_entries=segment_entries,
        before=before,
        remarks=remarks,
    )


def _incident(
    path: Path, export: Export, note: str | None, demands: Demands, remarks: Remarks
) -> Report:
    if note is not None and not demands.simple:
        remarks = _keys_of_one(note, demands, remarks)
    return verify_disclosure(
        folder.lines_of(path / "entries.jsonl"),
        lambda seq: read_proof(path, seq, note or ""),
        incident=export.incident or "",
        first=export.first,
        note=note,
        vkeys=demands.all_keys,
        remarks=remarks,
    )


def _keys_of_one(note: str, demands: Demands, remarks: Remarks) -> Remarks:
    """What a single checkpoint shows about its keys; their turn shows in the whole log only."""
    watch = NoteWatch(demands, lambda _seq, _sentence: None)
    if not watch.counts(note):
        problem = "the checkpoint is not signed by keys that count"
        return Remarks(problems=(*remarks.problems, problem), warnings=remarks.warnings)
    if demands.epochs is None:
        return remarks
    warning = "one incident does not show whether each epoch's key signed in its time"
    return Remarks(problems=remarks.problems, warnings=(*remarks.warnings, warning))


def _before(
    path: Path, export: Export, note: str | None, vkeys: Sequence[Vkey], remarks: Remarks
) -> tuple[Before, Remarks]:
    try:
        return before_part(path, vkeys, export.first, note or ""), remarks
    except AuditRefusedError as error:
        problems = (*remarks.problems, str(error))
        more = Remarks(problems=problems, warnings=remarks.warnings)
        return unknown_before(export.first), more


def _demand_comparable(export: Export, size: int) -> None:
    if export.kind == "incident" or size < export.first:
        raise ComparisonError("this part of the log cannot be compared with that checkpoint")
