"""A notary in the test's own process, over a real log folder and a real database."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.signer import LocalSigner
from hub.notary import Notary
from hub.persist import log_index
from hub.persist.database import Database
from hub.persist.log_index import NotaryLock
from hub.persist.outbox import actor, offer
from hub.segments import IndexedState, SegmentLog
from hub.settings import NotarySettings

ORIGIN = "test.sentinel.internal/log"


class InProcessNotary:
    """Writes what waits when it is told to."""

    def __init__(self, folder: Path, db: Database) -> None:
        self.folder, self.db = folder, db
        self.signer = LocalSigner(ORIGIN, Ed25519PrivateKey.generate())
        self.lock = NotaryLock(db.dsn)
        self.notary = self._open("log", indexed=IndexedState())

    def write(self, count: int = 0) -> int:
        """Write all that waits, and so many entries more; how many the log has then."""
        for number in range(count):
            with self.db.transaction() as work:
                offer(
                    work,
                    type="config.change",
                    actor=actor("hub", "hub"),
                    at=datetime.now(UTC),
                    body={"what": "test", "number": number},
                )
        while self.notary.turn():
            pass
        return self.notary.log.size

    def backup(self) -> Path:
        """A copy of the folder as it is now."""
        return Path(shutil.copytree(self.folder / "log", self.folder / "backup"))

    def set_back(self, size: int) -> None:
        """Folder and database as they were when the log had so many entries."""
        self.notary.log.close()
        with self.db.transaction() as work:
            connection = work._connection
            connection.execute("DELETE FROM audit_entry WHERE seq >= %s", [size])
            connection.execute("DELETE FROM audit_checkpoint WHERE size > %s", [size])
            connection.execute("DELETE FROM audit_outbox")
        self.notary = self._open("backup", indexed=self._indexed())

    def close(self) -> None:
        self.notary.log.close()
        self.lock.close()

    def _indexed(self) -> IndexedState:
        indexed = log_index.how_far(self.db)
        return IndexedState(size=indexed.size, root=indexed.checkpoint_root)

    def _open(self, name: str, *, indexed: IndexedState) -> Notary:
        log = SegmentLog.open(
            self.folder / name,
            origin=ORIGIN,
            signer=self.signer,
            indexed=indexed,
            next_inc_seq=lambda incident: log_index.next_inc_seq(self.db, incident),
        )
        settings = NotarySettings(
            dsn=self.db.dsn,
            folder=self.folder / name,
            origin=ORIGIN,
            key=Path("/nonexistent"),
            idle_checkpoint_s=3600.0,
        )
        return Notary(db=self.db, log=log, lock=self.lock, settings=settings)
