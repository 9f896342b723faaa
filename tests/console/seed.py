"""Put incidents into a database as the hub would leave them at each stage of their life."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from appliance import records
from appliance.ids import uuid7
from appliance.lifecycle import State
from appliance.people import People
from appliance.records import (
    Candidate,
    Condition,
    Event,
    Finding,
    LogEvidence,
    MetricEvidence,
    Mode,
    ModelRun,
    Outcome,
    Plan,
    ProcessEvidence,
    Report,
    Severity,
    Shown,
    Step,
    StepResult,
)
from hub.persist import incidents, ingest, status
from hub.persist.database import Database
from hub.persist.outbox import actor
from hub.validate import Gate, judge_plan
from policy.bundle import parse_bundle, read_folder
from policy.syntax import BashlexReader

HUB = actor("hub", "hub-1")
DIGEST = "ab" * 32
MIB = 1024 * 1024
COMMANDS = {
    "allow": "kill -TERM 4711",
    "review": "kill -KILL 4711 && frobnicate",
    "block": "rm -rf /",
}
"""One for each ruling under the shipped rules and the evidence of `finding`."""


@cache
def gate() -> Gate:
    """The shipped rules and a real second reader."""
    return Gate(bundle=parse_bundle(read_folder()), second=BashlexReader())


def now() -> datetime:
    return datetime.now(UTC)


def alive(db: Database, *, log: bool = True) -> None:
    """Every part gives a sign of life; without `log` the notary does not."""
    for part in ("hub", "reasoner", "notary")[: 3 if log else 2]:
        status.beat(db, part=part, instance=f"{part}-1", detail={"version": "0.1.0"})


@contextmanager
def notary(db: Database, log: list[str] | None = None) -> Iterator[None]:
    """A notary's double: it lives, takes what is offered, and notes the types of the entries."""
    ended = threading.Event()

    def take() -> None:
        while not ended.wait(0.5):
            alive(db)
            with db.transaction() as work:
                found = work.all("take_outbox", limit=1000)
                work.run("leave_outbox", entry_ids=[row["entry_id"] for row in found])
            if log is not None:
                log.extend(row["type"] for row in found)

    alive(db)
    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def node(db: Database, name: str = "node-1", *, dry_run: bool = False) -> None:
    with db.transaction() as work:
        work.run(
            "node_connected", node=name, now=now(), agent_version="0.1.0", boot_id="b" * 32,
            dry_run=dry_run, spooled=0,
        )  # fmt: skip


def finding(
    *, name: str = "leaky", summary: str | None = None, severity: str = "critical"
) -> Finding:
    moment = now() - timedelta(minutes=4)
    return Finding(
        finding_id=uuid7(),
        condition=Condition.PROCESS_LEAK,
        subject=f"pid 4711 ({name})",
        severity=Severity(severity),
        summary=summary or f"{name} grows by 3.1 MiB/s and holds 412 MiB",
        observed=412.0 * MIB,
        limit=256.0 * MIB,
        unit="bytes",
        first_bad_at=moment - timedelta(seconds=30),
        fired_at=moment,
        boot_id="b" * 32,
        evidence=(
            MetricEvidence(
                id="e1",
                name="resident memory of pid 4711",
                value=412.0 * MIB,
                limit=256.0 * MIB,
                unit="bytes",
                samples=tuple((100 + 7.8 * step + (step % 3)) * MIB for step in range(40)),
            ),
            ProcessEvidence(
                id="e2",
                pid=4711,
                started_ticks=123456,
                name=name,
                command=f"/usr/bin/python3 /opt/{name}/main.py --token=[redacted]",
                owner="app",
                rss_bytes=412 * MIB,
                growth_bytes_per_s=3.1 * MIB,
                cpu_percent=12.5,
                unit="leaky.service",
            ),
            ProcessEvidence(
                id="e3",
                pid=812,
                started_ticks=2345,
                name="postgres",
                command="postgres: writer",
                owner="postgres",
                rss_bytes=96 * MIB,
                growth_bytes_per_s=0.0,
                cpu_percent=1.0,
                protected="database",
            ),
            LogEvidence(id="e4", source="leaky.service", line="cache grew\x1b[31m again\u202e"),
        ),
    )


@dataclass
class Seeded:
    """An incident and what was stored of it."""

    incident_id: str
    finding: Finding
    shown: Shown | None = None
    digest: str = ""
    verdicts: list[dict[str, Any]] = field(default_factory=list)


def opened(db: Database, *, at: str = "node-1", found: Finding | None = None) -> Seeded:
    found = found or finding()
    event = Event(event_id=uuid7(), body=found)
    assert ingest.store_events(db, [ingest.Received(node=at, event=event)], now=now()) == [None]
    with db.transaction() as work:
        row = work.one("lock_finding", node=at, finding_id=found.finding_id)
    assert row is not None
    return Seeded(incident_id=str(row["incident_id"]), finding=found)


def incident_of(db: Database, seeded: Seeded) -> incidents.Incident:
    with db.transaction() as work:
        row = work.one("lock_incident", incident_id=seeded.incident_id)
    assert row is not None
    return incidents.incident_of(row)


def plan_of(seeded: Seeded, commands: tuple[str, ...], *, model_error: str | None = None) -> Plan:
    run = ModelRun(
        name="SmolLM2-135M-Instruct", sha256=DIGEST, seed=42, parameters={"temperature_percent": 0},
        prompt_sha256=DIGEST, output_sha256=DIGEST, prompt_tokens=812, output_tokens=41,
        prompt_ms=1900, output_ms=1400,
    )  # fmt: skip
    return Plan(
        plan_id=uuid7(),
        incident_id=seeded.incident_id,
        origin="catalogue" if model_error else "model",
        diagnosis="pid 4711 leaks memory: it grew in 38 of 40 samples and never gave any back.",
        candidates=(
            Candidate(evidence_id="e2", label="pid 4711 (leaky)", cause="memory_leak", score=91,
                      why="holds the most and grows the fastest"),
            Candidate(evidence_id="e3", label="pid 812 (postgres)", cause="memory_leak", score=12,
                      why="steady, and protected"),
        ),
        culprit="e2",
        confidence_percent=78,
        citations=("e1", "e2"),
        steps=tuple(
            Step(command=command, purpose="End the leaking process.", undo=None)
            for command in commands
        ),
        expected_effect="resident memory of pid 4711 is given back",
        model=None if model_error else run,
        model_error=model_error,
    )  # fmt: skip


def judged(
    db: Database,
    *,
    at: str = "node-1",
    found: Finding | None = None,
    rulings: tuple[str, ...] = ("allow",),
    commands: tuple[str, ...] = (),
    mode: Mode = Mode.LIVE,
    valid_for: timedelta = timedelta(minutes=30),
    state: State = State.AWAITING,
    model_error: str | None = None,
    author: str | None = None,
    people: People | None = None,
) -> Seeded:
    """An incident with a plan judged as the hub judges it; a command for each ruling, or these."""
    seeded = opened(db, at=at, found=found)
    texts = commands or tuple(COMMANDS[ruling] for ruling in rulings)
    plan = msgspec.structs.replace(plan_of(seeded, texts, model_error=model_error), author=author)
    judgement = judge_plan(
        incident_of(db, seeded),
        plan,
        gate=gate(),
        mode=mode,
        now=now(),
        not_after=now() + valid_for,
        people=people,
    )
    seeded.shown, seeded.verdicts = judgement.shown, judgement.verdicts
    if not commands:
        assert tuple(step.ruling for step in seeded.shown.steps) == rulings
    seeded.digest = records.digest_of(seeded.shown)
    worst = seeded.shown.ruling
    with db.transaction() as work:
        _to(work, seeded, [State.OPEN], State.REASONING)
        work.run("add_plan", plan_id=plan.plan_id, incident_id=seeded.incident_id, now=now(),
                 body=Jsonb(plan))  # fmt: skip
        _to(work, seeded, [State.REASONING], State.PROPOSED)
        work.run(
            "add_judgement", incident_id=seeded.incident_id, plan_id=plan.plan_id, now=now(),
            ruling=worst, policy_digest=seeded.shown.policy_digest, shown=Jsonb(seeded.shown),
            shown_digest=seeded.digest, verdicts=Jsonb(seeded.verdicts),
        )  # fmt: skip
        work.run("set_expiry", incident_id=seeded.incident_id, expires_at=seeded.shown.not_after)
        _to(work, seeded, [State.PROPOSED], state, note=f"ruled {worst}")
    return seeded


def moved(db: Database, seeded: Seeded, *after: State) -> None:
    """Walk an incident on through these states."""
    with db.transaction() as work:
        for state in after:
            _to(work, seeded, list(State), state)


def reported(db: Database, seeded: Seeded, outcome: Outcome) -> None:
    """An approved incident's order was sent, and the node said this of it."""
    order_id = uuid7()
    moved(db, seeded, State.APPROVED, State.DISPATCHED)
    step = StepResult(
        index=0, argv=(("/bin/kill", "-TERM", "4711"),),
        exit_status=None if outcome is Outcome.DRY_RUN else 0, started_at=now(), duration_s=0.012,
        output="" if outcome is Outcome.DRY_RUN else "terminated\n<script>alert(1)</script>\n",
        output_bytes=0 if outcome is Outcome.DRY_RUN else 38, output_sha256=DIGEST,
    )  # fmt: skip
    report = Report(
        report_id=uuid7(), order_id=order_id, outcome=outcome, finished_at=now(), steps=(step,)
    )
    with db.transaction() as work:
        work.run(
            "add_order", order_id=order_id, incident_id=seeded.incident_id, node="node-1",
            envelope=b"{}", now=now(), not_after=now() + timedelta(minutes=5),
        )  # fmt: skip
    event = Event(event_id=uuid7(), body=report)
    ingest.store_events(db, [ingest.Received(node="node-1", event=event)], now=now())


def logged(db: Database, incident_id: str | None = None, *, text: str = "hello") -> None:
    """One entry and a checkpoint in the index of the log."""
    with db.transaction() as work:
        seq = (work.one("last_indexed") or {}).get("seq")
        seq = 0 if seq is None else seq + 1
        entry = {"seq": seq, "type": "incident.open", "outcome": None, "body": {"text": text}}
        work.run(
            "index_entry", seq=seq, entry_id=uuid7(), ts=now(), type="incident.open",
            actor="node node-1", incident=incident_id, inc_seq=0, leaf_hash=b"0" * 32,
            line=msgspec.json.encode(entry).decode(),
        )  # fmt: skip
        work.run("add_checkpoint", size=seq + 1, root="00" * 32, now=now(), note="sentinel\n1\n")


def _to(work, seeded: Seeded, before: list[State], after: State, *, note: str = "") -> None:
    assert incidents.move(
        work, incident_id=seeded.incident_id, before=before, after=after, by=HUB, now=now(),
        note=note,
    )  # fmt: skip
