"""`sentinel-hub export`: an export that the log itself tells of.

The same archive as of `sentinel-audit export`, made on the machine of the notary's folder. The
`export.create` entry is committed to the outbox before the archive is there; it is of course not
in the archive, which ends at the log as it was.
"""

import argparse
import hashlib
from datetime import UTC, datetime

from audit.epoch_notes import Demands
from audit.epochs import open_list
from audit.export_command import run_export
from audit.exported import Export
from audit.note import parse_vkey
from hub.persist.database import Database
from hub.persist.outbox import Actor, actor, offer
from hub.secrets import dsn_of
from hub.settings import NotarySettings

MOST_REASON = 2000  # characters


def run(settings: NotarySettings, options: argparse.Namespace) -> int:
    """Export and record; the exit status is that of the verification."""
    demands = _demands(settings)
    options.path = settings.folder
    with Database(dsn_of(settings), size=1) as db:

        def tell(export: Export, manifest: bytes) -> None:
            by, at = actor("operator", options.who), datetime.now(UTC)
            record(db, by=by, reason=options.reason, export=export, manifest=manifest, at=at)

        return run_export(options, demands, tell)


def _demands(settings: NotarySettings) -> Demands:
    """The keys that this notary's log is to be verified under."""
    if settings.epochs is None or settings.epoch_root is None:
        return Demands(vkeys=(parse_vkey((settings.folder / "log.vkey").read_text()),))
    root = parse_vkey(settings.epoch_root.read_text())
    epochs = open_list(settings.epochs.read_text(), root)
    return Demands(vkeys=epochs.vkeys, epochs=epochs)


def record(
    db: Database, *, by: Actor, reason: str, export: Export, manifest: bytes, at: datetime
) -> None:
    """Commit the `export.create` entry of an archive that nobody has yet."""
    with db.transaction() as work:
        offer(
            work,
            type="export.create",
            actor=by,
            at=at,
            outcome="created",
            body={
                "first_seq": export.first,
                "last_seq": export.last,
                "export_incident": export.incident,
                "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
                "reason": reason[:MOST_REASON],
                "withheld": len(export.withheld),
            },
        )
