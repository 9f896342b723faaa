"""All that nodes, reasoners, the pipeline and the notary do, each commit watched for its entry."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.lifecycle import State
from appliance.records import Dropped, Mode, Outcome, Persisting
from appliance.wire import sentinel_pb2 as pb
from audit.signer import PinnedKeys
from hub.approve import Answerer, approve, reject
from hub.dispatch import OrderDesk
from hub.manual import Done, record_manual
from hub.nodes import Nodes
from hub.notary import Notary, _open
from hub.persist.database import Database
from hub.persist.incidents import claim_for_reasoning, release, renew_lease, save_plan
from hub.persist.ingest import store_events
from hub.persist.log_index import NotaryLock
from hub.persist.status import beat
from hub.pipeline import Pipeline
from hub.settings import NotarySettings
from hub.validate import Gate
from policy.bundle import SHIPPED_RULES, parse_bundle, read_folder
from policy.evaluate import EchoReader
from tests.audit.builders import signer
from tests.completeness import watch
from tests.completeness.watch import misshapen, silent, types
from tests.hub.builders import (
    NODE,
    OPERATORS,
    PID,
    cleared,
    finding,
    incident_for,
    plan,
    publish,
    received,
    report,
    sql,
    state_of,
)

pytestmark = pytest.mark.postgres

ORIGIN = "test.sentinel.internal/log"
MARIA = Answerer(name=OPERATORS[0].name, role="operator", session="s1")


class Product:
    """The hub's parts on one database, in one process."""

    def __init__(self, db: Database, folder: Path) -> None:
        watch.install(db)
        self.db = db
        key = signer(name=ORIGIN)
        desk = OrderDesk(
            key=Ed25519PrivateKey.generate(),
            vkey=key.vkey,
            valid_for=timedelta(minutes=5),
            command_timeout_s=5,
        )
        self.pipeline = Pipeline(
            db=db,
            gate=Gate(bundle=parse_bundle(read_folder(SHIPPED_RULES)), second=EchoReader()),
            desk=desk,
            mode=Mode.LIVE,
            answer_within=timedelta(hours=1),
            report_within=timedelta(minutes=10),
        )
        settings = NotarySettings(dsn=db.dsn, folder=folder / "log", origin=ORIGIN)
        keys = PinnedKeys(key)
        self.log = _open(settings, db, keys)
        self.notary = Notary(db=db, log=self.log, lock=NotaryLock(db.dsn), settings=settings)
        self.seen: list[str] = []

    def now(self) -> datetime:
        return datetime.now(UTC)

    def step(self, *expected: str) -> None:
        """What was just done left these entries, and nothing without one."""
        assert types(self.db) == list(expected)
        assert silent(self.db) == []
        assert misshapen(self.db) == []
        self.seen += expected
        self.logged()
        sql(self.db, "TRUNCATE watched")

    def logged(self) -> None:
        """The notary takes what waits; that alone changes nothing but its own index."""
        sql(self.db, "TRUNCATE watched")
        while self.notary.turn():
            pass
        assert types(self.db) == []
        assert {row["tab"] for row in watch.changes(self.db)} <= {"heartbeat"}

    def close(self) -> None:
        self.notary.lock.close()
        self.log.close()

    def opened(self, **more: object) -> tuple[str, object]:
        one = finding(**more)
        store_events(self.db, [received(one)], now=self.now())
        self.step("incident.open")
        return incident_for(self.db, one.finding_id), one

    def proposed(self, *commands: str) -> tuple[str, object]:
        incident_id, one = self.opened()
        claimed = claim_for_reasoning(self.db, holder="r1", lease_s=60, now=self.now())
        assert claimed is not None
        self.step("incident.state")
        assert renew_lease(
            self.db, incident_id=incident_id, holder="r1", lease_s=60, now=self.now()
        )
        self.step()
        assert save_plan(
            self.db, incident_id=incident_id, holder="r1", plan=plan(incident_id, *commands),
            now=self.now(),
        )  # fmt: skip
        self.step("plan.proposed", "incident.state")
        return incident_id, one

    def awaiting(self) -> tuple[str, object]:
        incident_id, one = self.proposed(f"kill -TERM {PID}")
        self.pipeline.validate_next(self.now())
        assert state_of(self.db, incident_id) == State.AWAITING
        self.step("plan.verdict", "incident.state")
        return incident_id, one

    def digest(self, incident_id: str) -> str:
        with self.db.transaction() as work:
            row = work.one("lock_judgement", incident_id=incident_id)
        assert row is not None
        return str(row["shown_digest"])

    def approved(self) -> tuple[str, object]:
        incident_id, one = self.awaiting()
        beat(self.db, part="notary", instance="n", detail={})
        self.step()
        approve(
            self.db, incident_id=incident_id, who=MARIA, shown_digest=self.digest(incident_id),
            comment="", now=self.now(), signature=OPERATORS[0].sign(self.digest(incident_id)),
        )  # fmt: skip
        self.step("approval.grant", "incident.state")
        return incident_id, one

    def dispatched(self) -> tuple[str, object, str]:
        incident_id, one = self.approved()
        assert self.pipeline.dispatch_next(self.now())
        self.step("exec.order", "incident.state")
        (row,) = sql(
            self.db, "SELECT order_id FROM exec_order WHERE incident_id = %(id)s", id=incident_id
        )
        return incident_id, one, str(row["order_id"])

    def told(self, body: object) -> None:
        assert store_events(self.db, [received(body)], now=self.now()) == [None]


@pytest.fixture
def product(database: Database, tmp_path: Path):
    made = Product(database, tmp_path)
    publish(database)
    asyncio.run(Nodes(database).connected(NODE, pb.Hello(agent_version="1", boot_id="b00t")))
    assert types(database)[-1] == "node.connect"
    watch.forget(database)
    yield made
    made.close()


def test_a_node_that_comes_goes_and_loses_events(product: Product) -> None:
    nodes = Nodes(product.db)
    asyncio.run(nodes.connected(NODE, pb.Hello(agent_version="2", boot_id="b", dry_run=True)))
    product.step("node.connect")
    asyncio.run(nodes.seen([NODE]))
    product.step()
    now = product.now()
    product.told(Dropped(count=7, first_at=now, last_at=now))
    product.step("node.drop")
    asyncio.run(nodes.disconnected(NODE))
    product.step("node.disconnect")
    asyncio.run(nodes.connected(NODE, pb.Hello(agent_version="2", boot_id="b")))
    product.step("node.connect")
    nodes.all_disconnected()  # the hub was killed and starts
    product.step("node.disconnect")
    nodes.all_disconnected()
    product.step()


@pytest.mark.parametrize(
    ("outcome", "entry", "state"),
    [
        (Outcome.SUCCEEDED, "exec.result", State.EXECUTED),
        (Outcome.FAILED, "exec.result", State.UNRESOLVED),
        (Outcome.TIMED_OUT, "exec.result", State.UNRESOLVED),
        (Outcome.DRY_RUN, "exec.result", State.REHEARSED),
        (Outcome.UNKNOWN, "exec.result", State.UNKNOWN),
        (Outcome.REFUSED, "exec.refuse", State.REFUSED),
    ],
)
def test_from_a_finding_to_its_end(
    product: Product, outcome: Outcome, entry: str, state: State
) -> None:
    incident_id, one, order_id = product.dispatched()
    asyncio.run(Nodes(product.db).order_taken(NODE, order_id))
    product.step()
    product.told(report(order_id, outcome, refused_step="3 node", reason="another node's"))
    product.step(entry, "incident.state")
    assert state_of(product.db, incident_id) == state
    product.told(cleared(one, order_id))
    product.step("incident.recover", "incident.state", "incident.close")


def test_a_condition_that_ends_while_the_order_is_on_its_way(product: Product) -> None:
    _, one, order_id = product.dispatched()
    product.told(cleared(one))
    product.step("incident.recover")
    product.told(report(order_id, Outcome.SUCCEEDED))
    product.step("exec.result", "incident.state", "incident.state", "incident.close")
    product.told(cleared(one))  # once more, after its end
    product.step("incident.recover")


def test_a_condition_that_stays(product: Product) -> None:
    incident_id, one, order_id = product.dispatched()
    product.told(report(order_id, Outcome.SUCCEEDED))
    product.step("exec.result", "incident.state")
    product.told(
        Persisting(
            finding_id=one.finding_id,
            measured_at=product.now(),
            observed=1.0,
            limit=0.5,
            order_id=order_id,
        )
    )
    product.step("incident.state")
    assert state_of(product.db, incident_id) == State.UNRESOLVED
    record_manual(
        product.db, incident_id=incident_id, who=MARIA, now=product.now(),
        done=Done(command="reboot", outcome="worked", output="ok"),
    )  # fmt: skip
    product.step("manual.step")


def test_answers_that_do_not_come_and_reports_that_do_not(product: Product) -> None:
    product.awaiting()
    product.pipeline.expire_late(product.now() + timedelta(hours=2))
    product.step("approval.expire", "incident.state")
    product.approved()
    product.pipeline.expire_late(product.now() + timedelta(hours=2))
    product.step("approval.expire", "incident.state")
    product.dispatched()
    product.pipeline.expire_late(product.now() + timedelta(hours=2))
    product.step("incident.state")


def test_a_no_and_a_plan_nobody_may_approve(product: Product) -> None:
    incident_id, _ = product.awaiting()
    reject(
        product.db, incident_id=incident_id, who=MARIA, shown_digest=product.digest(incident_id),
        comment="not now", now=product.now(),
    )  # fmt: skip
    product.step("approval.deny", "incident.state")
    product.proposed("rm -rf /")
    product.pipeline.validate_next(product.now())
    product.step("plan.verdict", "incident.state")


def test_a_reasoner_that_gives_back_and_one_that_dies(product: Product) -> None:
    incident_id, _ = product.opened()
    assert claim_for_reasoning(product.db, holder="r1", lease_s=60, now=product.now())
    product.step("incident.state")
    release(product.db, incident_id=incident_id, holder="r1", now=product.now())
    product.step("incident.state")
    assert claim_for_reasoning(product.db, holder="r1", lease_s=1, now=product.now())
    product.step("incident.state")
    later = product.now() + timedelta(seconds=5)
    assert claim_for_reasoning(product.db, holder="r2", lease_s=60, now=later)
    product.step("incident.state")


def test_events_that_are_refused_or_repeated_change_nothing(product: Product) -> None:
    event = received(finding())
    store_events(product.db, [event], now=product.now())
    product.step("incident.open")
    store_events(product.db, [event], now=product.now())
    product.step()
    unknown = received(cleared(finding()))
    assert store_events(product.db, [unknown], now=product.now()) != [None]
    product.step()


def test_a_change_without_an_entry_would_be_noticed(product: Product) -> None:
    """The watch itself: a statement of tomorrow that forgets its entry."""
    incident_id, _ = product.opened()
    sql(product.db, "UPDATE incident SET summary = 'nothing' WHERE incident_id = %(i)s",
        i=incident_id)  # fmt: skip
    assert silent(product.db) == ["UPDATE incident ['summary']"]
    sql(product.db, "DELETE FROM incident_history")
    assert "DELETE incident_history []" in silent(product.db)
