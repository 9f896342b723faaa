"""One notary under watch, the entries of an order, and what must hold after."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from audit.__main__ import main as sentinel_audit
from hub.persist.database import Database
from hub.persist.log_index import how_far
from tests.attacks.forge import wait_for
from tests.crash.power import Image, Loss, after_the_cut
from tests.crash.preload import Blow, Watched
from tests.crash.rows import Rows
from tests.hub.builders import outbox
from tests.hub.test_notary import NotaryProcess, offer_many


class WatchedNotary(NotaryProcess):
    """`sentinel-hub notary` with the crash tool."""

    def __init__(self, folder: Path, dsn: str, library: Path) -> None:
        super().__init__(folder, dsn)
        text = self._config.read_text()  # an entry that says the time would come when it likes
        self._config.write_text(text.replace("idle_checkpoint_s = 0.5", "idle_checkpoint_s = 30"))
        self.log.mkdir()
        self.watched = Watched(library, self.log, folder / "beside")

    def start(self) -> None:
        with (self.folder / "notary.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub", "notary", "--config", str(self._config)],
                stdout=output,
                stderr=output,
                env=self.watched.around(),
            )

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        if self.runs:
            self.end(signal.SIGKILL)


@dataclass(slots=True, kw_only=True)
class World:
    """The notary and its database, which is set back with the log's folder."""

    notary: WatchedNotary
    db: Database
    nothing: Rows
    ids: list[str] = field(default_factory=list)

    def renew(self) -> None:
        """A new log and a new database in which the entries of an order wait."""
        self.go_to(Image(), self.nothing)
        self.ids = self.offer(3)

    def go_to(self, image: Image, rows: Rows) -> None:
        """Set the log's folder and the database to this, with no notary."""
        self.notary.stop()
        image.put(self.notary.log)
        rows.put(self.db.dsn)

    def offer(self, many: int) -> list[str]:
        """Entries that wait from now on."""
        return offer_many(self.db, many)

    def run_into(self, blow: Blow | None) -> None:
        """Start, and go on until all is written or the process ends."""
        self.notary.watched.forget()
        self.notary.watched.disarm()
        if blow is not None:
            self.notary.watched.arm(blow)
        self.notary.start()
        wait_for(lambda: not self.notary.runs or not outbox(self.db), within_s=20)

    def aftermath(self, blow: Blow) -> None:
        """In each world that the crash can leave: restart, and look whether all holds."""
        self.notary.stop()
        rows = Rows.of(self.db.dsn)
        for loss, image in list(self._losses(blow)):
            self.go_to(image, rows)
            try:
                self._go_on()
            except AssertionError as error:
                said = "\n".join(f"    {line}" for line in self.notary.said().splitlines()[-4:])
                raise AssertionError(f"  after losing {loss.value}: {error}\n{said}") from error
            finally:
                self.notary.stop()

    def _losses(self, blow: Blow) -> Iterator[tuple[Loss, Image]]:
        seen: list[Image] = []
        for loss in blow.losses:
            image = after_the_cut(self.notary.log, self.notary.watched.shadow, loss)
            if image not in seen:
                seen.append(image)
                yield loss, image

    def _go_on(self) -> None:
        self.run_into(None)
        assert self.notary.runs, "the log does not open again"
        more = self.offer(1)
        wait_for(lambda: not self.notary.runs or not outbox(self.db), within_s=20)
        assert self.notary.runs, "it ended while it wrote"
        self.notary.stop()
        lines = self.notary.lines()
        offered = [*self.ids, *more]  # the notary's own start is told by entries of its own
        written = [line["id"] for line in lines if line["id"] in offered]
        assert written == offered, "lost, doubled or out of order"
        assert how_far(self.db).size == len(lines), "the index is not the log"
        assert sentinel_audit(["verify", str(self.notary.log)]) == 0, "the log does not verify"


@contextmanager
def world(folder: Path, library: Path, dsn: str) -> Iterator[World]:
    """A notary, not yet started, over an empty database."""
    notary = WatchedNotary(folder, dsn, library)
    with Database(dsn, size=1) as db:
        try:
            yield World(notary=notary, db=db, nothing=Rows.of(dsn))
        finally:
            notary.stop()
