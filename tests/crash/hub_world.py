"""One hub under watch, from a finding to `resolved`, and what must hold whatever struck it.

The hub (`sentinel-hub serve`) and the notary are real processes over a real PostgreSQL; the node is
the agent's own transport and spool, which runs each order id once, as an executor's journal does;
the reasoner's and the operator's parts are done here. Who dies is started again, as systemd would.
"""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from psycopg.rows import dict_row

from agent.log_proof import LogProof
from agent.spool import Spool
from agent.transport import Transport
from appliance import envelope
from appliance.errors import SentinelError
from appliance.ids import uuid7
from appliance.launch import free_port, port_is_open
from appliance.lifecycle import State
from appliance.records import Event, Finding, Order, Outcome, from_json
from audit.__main__ import main as sentinel_audit
from audit.signer import LocalSigner
from hub.approve import Answerer, approve
from hub.persist.database import Database
from hub.persist.incidents import claim_for_reasoning, save_plan
from tests.agent.certificates import Authority
from tests.attacks.forge import wait_for
from tests.crash.preload import Blow, Watched
from tests.hub.builders import (
    NODE,
    OPERATORS,
    PID,
    cleared,
    finding,
    outbox,
    plan,
    publish,
    report,
)
from tests.hub.test_notary import ORIGIN, NotaryProcess

LIFE = [None, "open", "reasoning", "proposed", "awaiting", "approved", "dispatched", "executed",
        "resolved"]  # fmt: skip
ENTRIES = {
    "incident.open": 1, "plan.proposed": 1, "plan.verdict": 1, "approval.grant": 1,
    "exec.order": 1, "exec.result": 1, "incident.close": 1,
}  # fmt: skip
T = TypeVar("T")
WITHIN_S = 30
"""Of one step; a fallen hub is started again and the node comes back meanwhile."""


class HubProcess:
    """`sentinel-hub serve` with the crash tool, started again whenever it has died."""

    def __init__(self, folder: Path, dsn: str, vkey: str, authority: Authority, library: Path):
        self.port = free_port()
        identity = authority.issue(folder / "identity", uri="spiffe://sentinel/hub")
        envelope.make_key(folder / "order.key")
        (folder / "log.vkey").write_text(vkey)
        (folder / "watched").mkdir()
        self._folder = folder
        (folder / "hub.toml").write_text(
            f'dsn = "{dsn}"\norder_key = "{folder}/order.key"\nlog_origin = "{ORIGIN}"\n'
            f'audit_vkey = "{folder}/log.vkey"\nbind = "127.0.0.1"\nport = {self.port}\n'
            f'mode = "live"\n[identity]\ncertificate = "{identity.certificate}"\n'
            f'key = "{identity.key}"\nca = "{identity.ca}"\n'
        )
        self.watched = Watched(library, folder / "watched", folder / "beside")
        self.order_key = load_pem_private_key((folder / "order.key").read_bytes(), password=None)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "hub.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub", "serve", "--config", str(self._folder / "hub.toml")],
                stdout=output,
                stderr=output,
                env=self.watched.around(),
            )

    def keep(self) -> None:
        """Start it if it does not run."""
        if self.process is None or self.process.poll() is not None:
            self.start()

    def serves(self) -> bool:
        """Whether it listens; started again if it died on the way."""
        self.keep()
        return port_is_open(self.port)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        return (self._folder / "hub.log").read_text()


class Node:
    """The agent's end of the stream; runs each order id once and reports what it did."""

    def __init__(self, folder: Path, hub: HubProcess, authority: Authority) -> None:
        identity = authority.issue(folder / "id", uri=f"spiffe://sentinel/node/{NODE}")
        self.spool = Spool(folder / "spool.db", limit_bytes=10**7)
        self.offered: list[str] = []
        self.ran: list[Order] = []
        self._hub = hub
        self._lock = threading.Lock()
        self._transport = Transport(
            hub=f"127.0.0.1:{hub.port}",
            hub_name="localhost",
            identity=identity,
            spool=self.spool,
            boot_id="b00t",
            dry_run=lambda: False,
            take_order=self._take,
        )
        self._transport.start()

    def tell(self, body: object) -> None:
        self.spool.put([Event(event_id=uuid7(), body=body)])  # type: ignore[arg-type]

    def stop(self) -> None:
        self._transport.stop()
        self.spool.close()

    def _take(self, order_id: str, sealed: bytes, _: LogProof) -> None:
        key = self._hub.order_key.public_key()
        payload = envelope.open_sealed(sealed, payload_type=envelope.ORDER_TYPE, key=key)  # type: ignore[arg-type]
        with self._lock:
            first = order_id not in self.offered
            self.offered.append(order_id)
            if first:
                self.ran.append(from_json(payload, Order))
                self.tell(report(order_id, Outcome.SUCCEEDED))
        self._transport.order_taken(order_id)


@dataclass(slots=True, kw_only=True)
class World:
    """Hub, notary, database and a folder for one node after the other."""

    folder: Path
    hub: HubProcess
    notary: NotaryProcess
    db: Database
    outside: "psycopg.Connection[dict[str, Any]]"
    authority: Authority
    incidents: list[str] = field(default_factory=list)

    def live(self, blow: Blow | None = None) -> None:
        """One incident through all its steps, with the blow somewhere on the way."""
        self.hub.watched.disarm()
        wait_for(self.hub.serves, within_s=WITHIN_S)
        if blow is not None:
            self.hub.watched.arm(blow)
        folder = self.folder / f"node-{len(self.incidents)}"
        folder.mkdir()
        node = Node(folder, self.hub, self.authority)
        try:
            self._steps(node, finding())
        finally:
            node.stop()

    def begin(self, blow: Blow) -> None:
        """A start of the hub into the blow."""
        self.hub.stop()
        self.hub.watched.arm(blow)
        self.hub.start()
        wait_for(self.hub.serves, within_s=WITHIN_S)

    def _steps(self, node: Node, one: Finding) -> None:
        node.tell(one)
        incident = self._until(lambda: self._incident_of(one))
        self.incidents.append(incident)
        now = datetime.now(UTC)
        assert claim_for_reasoning(self.db, holder="r1", lease_s=600, now=now)
        proposal = plan(incident, f"kill -TERM {PID}")
        assert save_plan(self.db, incident_id=incident, holder="r1", plan=proposal, now=now)
        self._until(lambda: self.state(incident) == State.AWAITING)
        self._until(lambda: self._approved(incident))
        self._until(lambda: self.state(incident) == State.EXECUTED)
        node.tell(cleared(one, node.ran[0].order_id))
        self._until(lambda: self.state(incident) == State.RESOLVED)
        self._until(lambda: not node.spool.after(0, most=1))
        self._until(lambda: not outbox(self.db))
        self.demand(incident, node)

    def demand(self, incident: str, node: Node) -> None:
        """Each step once, each entry once, one order, one report."""
        history = self.rows(
            "SELECT before, after FROM incident_history WHERE incident_id = %(i)s"
            " ORDER BY history_id",
            i=incident,
        )
        made = [(row["before"], row["after"]) for row in history]
        assert made == list(pairwise(LIFE)), made
        entries = self.rows("SELECT type, line FROM audit_entry WHERE incident = %(i)s", i=incident)
        counted = Counter(row["type"] for row in entries)
        moves = counted.pop("incident.state")
        assert {kind: counted[kind] for kind in ENTRIES} == ENTRIES, counted
        assert moves == len(LIFE) - 2  # each but the opening, which has an entry of its own
        assert f'"entries":{len(entries)}' in "".join(row["line"] for row in entries)
        assert len(node.ran) == 1, f"{len(node.ran)} orders for one approval"
        assert len({*node.offered}) == 1
        for table in ("approval", "exec_order"):
            rows = self.rows(f"SELECT FROM {table} WHERE incident_id = %(i)s", i=incident)
            assert len(rows) == 1, f"{len(rows)} rows of {table}"
        reports = self.rows("SELECT FROM report WHERE order_id = %(o)s", o=node.ran[0].order_id)
        assert len(reports) == 1

    def verify(self) -> int:
        """What an auditor's program says of the log."""
        return sentinel_audit(["verify", str(self.notary.log)])

    def rows(self, text: str, **parameters: Any) -> list[dict[str, Any]]:
        """What is committed, seen from outside."""
        return self.outside.execute(text.encode(), parameters).fetchall()

    def state(self, incident: str) -> str:
        (row,) = self.rows("SELECT state FROM incident WHERE incident_id = %(i)s", i=incident)
        return str(row["state"])

    def _incident_of(self, one: Finding) -> str:
        rows = self.rows(
            "SELECT incident_id FROM incident WHERE finding_id = %(f)s",
            f=one.finding_id,
        )
        return str(rows[0]["incident_id"]) if rows else ""

    def _approved(self, incident: str) -> bool:
        """A person's yes to what is shown; approvals are closed while the log is behind."""
        (row,) = self.rows(
            "SELECT shown_digest FROM judgement WHERE incident_id = %(i)s", i=incident
        )
        who = Answerer(name="operator-1", role="operator", session="s1")
        now = datetime.now(UTC)
        try:
            approve(
                self.db, incident_id=incident, who=who, shown_digest=row["shown_digest"],
                comment="", now=now, signature=OPERATORS[0].sign(row["shown_digest"]),
            )  # fmt: skip
        except SentinelError:
            return False
        return True

    def _until(self, found: Callable[[], T]) -> T:
        """Look until there is an answer; whoever has died meanwhile is started again."""
        deadline = time.monotonic() + WITHIN_S
        while not (answer := found()):
            self.hub.keep()
            if time.monotonic() > deadline:
                said = "\n".join(f"    {line}" for line in self.hub.said().splitlines()[-6:])
                raise AssertionError(f"it did not come to pass\n{said}")
            time.sleep(0.03)
        return answer


@contextmanager
def world(folder: Path, library: Path, dsn: str) -> Iterator[World]:
    """A notary that runs and a hub that serves."""
    for name in ("notary", "hub"):
        (folder / name).mkdir(parents=True)
    authority = Authority()
    notary = NotaryProcess(folder / "notary", dsn)
    key = (folder / "notary" / "audit.key").read_bytes()
    vkey = LocalSigner.from_pem(ORIGIN, key).vkey
    hub = HubProcess(folder / "hub", dsn, vkey, authority, library)
    looking = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
    with Database(dsn, size=2) as db, looking as outside:
        publish(db)
        notary.start()
        try:
            yield World(
                folder=folder, hub=hub, notary=notary, db=db, outside=outside, authority=authority
            )
        finally:
            hub.stop()
            assert notary.process is not None
            notary.process.kill()
            notary.process.wait()
