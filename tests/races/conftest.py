"""A hub without its processes: pipeline and notary over one database, a turn at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.records import Mode
from audit.signer import LocalSigner
from hub.approve import Answerer, approve
from hub.dispatch import OrderDesk
from hub.notary import Notary
from hub.persist import log_index
from hub.persist.database import Database
from hub.persist.log_index import NotaryLock
from hub.pipeline import Pipeline
from hub.segments import IndexedState, SegmentLog
from hub.settings import NotarySettings
from hub.validate import Gate
from policy.evaluate import EchoReader
from tests.attacks.forge import shipped
from tests.hub.builders import PID, proposed

ORIGIN = "races.sentinel.internal/log"
FIRST = Answerer(name="operator-1", role="operator", session="s1")
SECOND = Answerer(name="operator-2", role="operator", session="s2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """What a race needs of a hub. Connections are enough for all who race."""

    db: Database
    pipeline: Pipeline
    notary: Notary

    @property
    def dsn(self) -> str:
        return self.db.dsn

    def log(self) -> None:
        """Let the notary write all that waits."""
        while self.notary.turn():
            pass

    def awaiting(self) -> tuple[str, str]:
        """An incident whose plan waits for an answer: its id and its finding's."""
        incident, finding = proposed(self.db, f"kill -TERM {PID}", now=_now())
        self.pipeline.turn(_now())
        self.log()
        return incident, finding.finding_id

    def approved(self) -> tuple[str, str]:
        """One that was approved, with the approval in the log."""
        incident, finding = self.awaiting()
        self.approve(incident)()
        self.log()
        return incident, finding

    def approve(self, incident: str, who: Answerer = FIRST) -> Callable[[], object]:
        """A person's yes to what is shown now, to be said later."""
        with self.db.transaction() as work:
            row = work.one("lock_judgement", incident_id=incident)
        assert row is not None
        return lambda: approve(
            self.db,
            incident_id=incident,
            who=who,
            shown_digest=row["shown_digest"],
            comment="",
            now=_now(),
        )


def _now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def hub(dsn: str, tmp_path: Path) -> Iterator[Hub]:
    """A hub that judges by the shipped policy."""
    signer = LocalSigner(ORIGIN, Ed25519PrivateKey.generate())
    desk = OrderDesk(
        key=Ed25519PrivateKey.generate(),
        vkey=signer.vkey,
        valid_for=timedelta(minutes=5),
        command_timeout_s=5,
    )
    settings = NotarySettings(dsn=dsn, folder=tmp_path / "log", origin=ORIGIN, key=tmp_path / "k")
    with Database(dsn, size=6) as db:
        log = SegmentLog.open(
            tmp_path / "log",
            origin=ORIGIN,
            signer=signer,
            indexed=IndexedState(),
            next_inc_seq=lambda incident: log_index.next_inc_seq(db, incident),
        )
        lock = NotaryLock(dsn)
        pipeline = Pipeline(
            db=db,
            gate=Gate(bundle=shipped(), second=EchoReader()),
            desk=desk,
            mode=Mode.LIVE,
            answer_within=timedelta(hours=1),
            report_within=timedelta(minutes=10),
        )
        notary = Notary(db=db, log=log, lock=lock, settings=settings)
        one = Hub(db=db, pipeline=pipeline, notary=notary)
        one.log()
        yield one
        lock.close()
        log.close()
