"""`sentinel-audit export` and `report`: take a part out, verify it, tell it, pack it.

An export is made in a folder beside the archive, checked there as its receiver will check it, and
only then packed. A log that does not verify is exported all the same, since that is evidence, and
the exit status and the report say what is wrong. The log folder is only read: nothing is written
to the log from here, so an export from files leaves no `export.create` entry; `sentinel-hub export`
gives a `record` that does, before the archive is there.
"""

import argparse
import getpass
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from audit import bundle
from audit.check import check
from audit.entry import decode, moment
from audit.epoch_notes import Demands
from audit.errors import EntryError, ExportError
from audit.export import Wanted, exported_lines, take_out
from audit.export_readme import readme
from audit.exported import Export
from audit.folder import latest
from audit.html_report import html_report
from audit.note import Signer, Vkey
from audit.pdf_report import pdf_report
from audit.report import Report, as_text
from audit.signer import LocalSigner
from audit.story import tell
from audit.summary import summarize

_BEGIN = datetime(1980, 1, 1, tzinfo=UTC)  # of an export without a readable entry


Record = Callable[[Export, bytes], None]
"""Told of the export and its manifest before the archive is there; raises when it cannot do so."""


def run_export(options: argparse.Namespace, demands: Demands, record: Record | None = None) -> int:
    """`export`: one archive and its custody record."""
    if options.out.exists():
        raise ExportError(f"{options.out} is there already; nothing was written")
    signer = _signer(options, demands.all_keys)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=options.out.absolute().parent) as name:
        folder = Path(name) / "export"
        folder.mkdir()
        export = take_out(options.path, folder, _wanted(options), demands)
        _add_companions(
            folder, export, options.witness_policy, signer, epochs=demands.epochs is not None
        )
        report, at = _add_reports(folder, export, demands)
        manifest = bundle.write_manifest(folder, signer)
        packed = Path(name) / "packed"
        digest = bundle.pack(folder, packed, prefix=_prefix(export), at=at)
        custody = options.out.with_name(f"{options.out.name}.custody")
        kept = bundle.custody_record(_custody(options, export, digest, packed), signer)
        if record is not None:
            record(export, manifest)
        # From here on the log will tell of the export, even if this is where we are stopped: an
        # entry too many is a question, an export too many is a leak.
        custody.write_text(kept)
        packed.chmod(0o644)
        packed.replace(options.out)
    print(as_text(report))
    print(f"  export:  {options.out}  ({_part(export)})")
    print(f"  sha256:  {digest}")
    print(f"  custody: {custody}" + ("" if signer else ", unsigned: no --export-key was given"))
    if record is None:
        print("  No entry in the log tells of this export: it was made from the files alone.")
    return report.exit_status


def run_report(options: argparse.Namespace, demands: Demands) -> int:
    """`report`: the pages alone, of a part of a log or of an unpacked export."""
    with tempfile.TemporaryDirectory(prefix="sentinel-report-") as name:
        folder = Path(name) / "export"
        folder.mkdir()
        export = take_out(options.path, folder, _wanted(options), demands)
        report, _ = _add_reports(folder, export, demands)
        for kind in ("html", "pdf"):
            target = options.out.with_suffix(f".{kind}")
            shutil.copyfile(folder / f"report.{kind}", target)
            print(f"  report: {target}")
    print(as_text(report))
    return report.exit_status


def _wanted(options: argparse.Namespace) -> Wanted:
    return Wanted(
        first=options.first,
        last=options.last,
        incident=options.incident,
        withhold=tuple(getattr(options, "redact", None) or ()),
    )


def _add_companions(
    folder: Path,
    export: Export,
    witness_policy: Path | None,
    signer: Signer | None,
    *,
    epochs: bool,
) -> None:
    package = files("audit")
    (folder / "audit_verify.py").write_bytes((package / "single.py").read_bytes())
    (folder / "schemas").mkdir()
    for schema in (package / "schemas").iterdir():
        (folder / "schemas" / schema.name).write_bytes(schema.read_bytes())
    if witness_policy is not None:
        (folder / "witness.policy").write_bytes(witness_policy.read_bytes())
    signed_by = None if signer is None else signer.vkey
    (folder / "README.md").write_text(readme(export, signed_by=signed_by, epochs=epochs))


def _add_reports(folder: Path, export: Export, demands: Demands) -> tuple[Report, datetime]:
    """Verify what was taken out as its receiver will, and write what a reader reads."""
    bundle.write_manifest(folder, None)
    report, _ = check(folder, demands=demands)
    story = tell(exported_lines(folder))
    note = latest(folder) or ""
    summary = summarize(export, report, story, note=note, vkey=demands.told)
    at = _last_time(folder)
    (folder / "report.html").write_text(html_report(summary, story))
    (folder / "report.pdf").write_bytes(pdf_report(summary, story, at=at))
    return report, at


def _last_time(folder: Path) -> datetime:
    last = b""
    for line in exported_lines(folder):
        last = line
    try:
        return max(moment(decode(last).ts), _BEGIN)
    except EntryError:
        return _BEGIN


def _custody(
    options: argparse.Namespace, export: Export, digest: str, packed: Path
) -> bundle.Custody:
    return bundle.Custody(
        archive=options.out.name,
        sha256=digest,
        bytes_=packed.stat().st_size,
        export=export,
        who=options.who or getpass.getuser(),
        where=os.uname().nodename,
        at=datetime.now(UTC),
        reason=options.reason,
        version=version("sentinel"),
    )


def _signer(options: argparse.Namespace, vkeys: Sequence[Vkey]) -> Signer | None:
    """The export's own key; never the log's, which only the notary holds."""
    if options.export_key is None:
        return None
    name = options.export_name or f"{vkeys[0].name}/export"
    signer = LocalSigner.from_pem(name, options.export_key.read_bytes())
    if any(signer.vkey.endswith(str(vkey).rpartition("+")[2]) for vkey in vkeys):
        raise ExportError("--export-key is the log's own key: exports are signed by another")
    print(f"  export key: {signer.vkey}", file=sys.stderr)
    return signer


def _part(export: Export) -> str:
    if export.incident is not None:
        return f"incident {export.incident}, {export.entries} entries"
    return f"entries {export.first} to {export.last}"


def _prefix(export: Export) -> str:
    if export.incident is not None:
        return f"incident-{export.incident}"
    return f"audit-{export.first}-{export.last}"
