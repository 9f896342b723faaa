"""The eight steps of an incident, and the three that this process takes.

    1 detect     agent/detect.py         readings become findings
    2 capture    agent/capture.py        a finding gets its evidence
    3 transport  hub/transport.py        an event is stored, then acknowledged      → open
    4 reason     hub/reason/worker.py    a process of its own proposes a plan       → proposed
    5 validate   here, validate.py       every command is judged                    → awaiting
    6 persist    hub/persist/            each step is one commit, with its log entries
    7 approve    hub/approve.py          a person says yes to what was shown        → approved
    8 execute    here, dispatch.py       the yes is in the log: an order is signed  → dispatched
                 agent/execute.py        the node checks all again, and runs it     → executed
                 agent/detect.py         measures again                             → resolved

The incident's state is the queue: each turn takes what waits, and a crash between any two lines
leaves an incident in a state that some turn takes up again.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from appliance import records
from appliance.errors import SentinelError
from appliance.lifecycle import State
from appliance.records import Mode, Plan
from hub.dispatch import LeafHashes, OrderDesk
from hub.errors import DatabaseError, NotaryError
from hub.persist.database import Database, Work, as_json
from hub.persist.incidents import Incident, incident_of, move
from hub.persist.listen import Listener
from hub.persist.outbox import actor, offer
from hub.persist.people import people_in_force
from hub.quorum import witnessed
from hub.trust import HubTrust
from hub.validate import Gate, Judgement, judge_plan, verdict_entry

LOOK_AGAIN_S = 2.0  # a notification may be lost; expiry has no notification

_HUB = actor("hub", "hub")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Everything a turn needs."""

    db: Database
    gate: Gate
    desk: OrderDesk
    mode: Mode
    answer_within: timedelta
    report_within: timedelta
    trust: HubTrust | None = None  # with it the policy is what is published, not `gate`

    def run(self, stop: threading.Event) -> None:
        """Turn until told to stop; woken by the database, and every two seconds anyway."""
        channels = (
            "sentinel_proposed",
            "sentinel_approved",
            "sentinel_checkpoint",
            "sentinel_witness",
            "sentinel_trust",
        )
        listener = Listener(self.db.dsn, channels=channels)
        complained = False
        while not stop.is_set():
            try:
                self.turn(datetime.now(UTC))
                complained = False
            except (DatabaseError, NotaryError) as error:
                if not complained:
                    _log.error("the pipeline waits: %s", error)
                    complained = True
            listener.wait(LOOK_AGAIN_S)
        listener.close()

    def turn(self, now: datetime) -> None:
        """Judge, dispatch and expire all that waits at this moment."""
        self.judge_anew(now)
        while self.validate_next(now):
            pass
        while self.dispatch_next(now):
            pass
        self.expire_late(now)

    def judge_anew(self, now: datetime) -> None:
        """Plans that were shown under another policy are taken back, whoever has said yes."""
        with self.db.transaction() as work:
            in_force = work.one("policy_now")
            for row in work.all("judged_otherwise", digest=in_force["digest"]) if in_force else ():
                incident_id = str(row["incident_id"])
                work.run("forget_answers", incident_id=incident_id)
                work.run("forget_judgement", incident_id=incident_id)
                move(
                    work,
                    incident_id=incident_id,
                    before=[State.AWAITING],
                    after=State.PROPOSED,
                    by=_HUB,
                    now=now,
                    note="the policy changed since this was shown; it is judged anew",
                )

    # 5 validate ------------------------------------------------------------------------------

    def validate_next(self, now: datetime) -> bool:
        """Judge the oldest proposed plan; False when none waits."""
        with self.db.transaction() as work:
            row = work.one("take_proposed")
            if row is None:
                return False
            incident = incident_of(row)
            plan = records.from_builtins(row["plan"], Plan)
            not_after = now + self.answer_within
            gate = self.trust.gate(work, self.gate.second, now=now) if self.trust else self.gate
            try:
                judgement = judge_plan(
                    incident,
                    plan,
                    gate=gate,
                    mode=self.mode,
                    now=now,
                    not_after=not_after,
                    people=people_in_force(work, now=now),
                )
            except SentinelError as error:  # what cannot be judged does not run
                _give_to_a_person(work, incident, error, now=now)
                return True
            _store(work, incident, judgement, now=now)
        _log.info(
            "judged incident=%s node=%s commands=%d ruling=%s",
            incident.incident_id,
            incident.node,
            len(judgement.shown.steps),
            judgement.shown.ruling,
        )
        return True

    # 8 execute: release ----------------------------------------------------------------------

    def dispatch_next(self, now: datetime) -> bool:
        """Sign and store the order of the oldest logged approval; False when none waits."""
        with self.db.transaction() as work:
            self._take_keys(work)
            row = work.one("take_approved")
            row = row and witnessed(
                row,
                work,
                witnesses=self.desk.witness_vkeys,
                quorum=self.desk.witness_quorum,
            )
            if row is None:
                return False
            incident_id, node = str(row["incident_id"]), row["node"]
            order, envelope = self.desk.order(row, leaves=_leaves(work), now=now)
            work.run(
                "add_order",
                order_id=order.order_id,
                incident_id=incident_id,
                node=node,
                envelope=envelope,
                now=now,
                not_after=order.not_after,
                log_size=row["size"],
            )
            offer(
                work,
                type="exec.order",
                actor=_HUB,
                incident=incident_id,
                at=now,
                body=self.desk.entry(order, envelope),
            )
            # From here on a restart finds the order and the transport offers it again; the node
            # runs an order id once, so twice is safe.
            move(
                work,
                incident_id=incident_id,
                before=[State.APPROVED],
                after=State.DISPATCHED,
                by=_HUB,
                now=now,
                note=f"order {order.order_id}",
            )
        _log.info("dispatched incident=%s node=%s order=%s", incident_id, node, order.order_id)
        return True

    def _take_keys(self, work: Work) -> None:
        published = self.trust.published(work) if self.trust else None
        if published is not None:
            self.desk.take_keys(published.keys)

    # silence ---------------------------------------------------------------------------------

    def expire_late(self, now: datetime) -> None:
        """Silence is never a yes, and never a secret: late answers expire, late reports alarm."""
        with self.db.transaction() as work:
            late = work.all("overdue", now=now, report_deadline=now - self.report_within)
            for row in late:
                _expire(work, str(row["incident_id"]), State(row["state"]), now=now)


def _leaves(work: Work) -> LeafHashes:
    return lambda first, end: [
        bytes(row["leaf_hash"]) for row in work.all("leaf_hashes", first=first, end=end)
    ]


def _store(work: Work, incident: Incident, judgement: Judgement, *, now: datetime) -> None:
    shown = judgement.shown
    work.run(
        "add_judgement",
        incident_id=incident.incident_id,
        plan_id=shown.plan_id,
        now=now,
        ruling=shown.ruling,
        policy_digest=shown.policy_digest,
        shown=as_json(shown),
        shown_digest=records.digest_of(shown),
        verdicts=as_json(judgement.verdicts),
    )
    offer(
        work,
        type="plan.verdict",
        actor=_HUB,
        incident=incident.incident_id,
        at=now,
        outcome=shown.ruling,
        body=verdict_entry(judgement),
    )
    if judgement.may_be_approved:
        work.run("set_expiry", incident_id=incident.incident_id, expires_at=shown.not_after)
    move(
        work,
        incident_id=incident.incident_id,
        before=[State.PROPOSED],
        after=State.AWAITING if judgement.may_be_approved else State.MANUAL,
        by=_HUB,
        now=now,
        note=f"{len(shown.steps)} commands, ruling {shown.ruling}",
    )


def _give_to_a_person(
    work: Work, incident: Incident, error: SentinelError, *, now: datetime
) -> None:
    _log.error("cannot judge incident=%s: %s", incident.incident_id, error)
    move(
        work,
        incident_id=incident.incident_id,
        before=[State.PROPOSED],
        after=State.MANUAL,
        by=_HUB,
        now=now,
        note=f"the plan could not be judged: {error}",
    )


def _expire(work: Work, incident_id: str, state: State, *, now: datetime) -> None:
    if state is State.DISPATCHED:
        after, note = State.UNKNOWN, "the node has not reported; a person must look"
    else:
        given = (work.one("count_yes", incident_id=incident_id) or {}).get("given", 0)
        after, note = State.EXPIRED, "nobody answered in time; nothing was run"
        if given:
            note = f"only {given} said yes in time; nothing was run"
        if state is State.APPROVED:
            note = "the approval was not in the log, and witnessed, in time; nothing was run"
        judged = work.one("lock_judgement", incident_id=incident_id) or {}
        plan_id, digest = str(judged.get("plan_id", "")), judged.get("shown_digest")
        offer(
            work,
            type="approval.expire",
            actor=_HUB,
            incident=incident_id,
            at=now,
            outcome="expired",
            body={"plan_id": plan_id, "shown_digest": digest, "state": state.value},
        )
    move(
        work,
        incident_id=incident_id,
        before=[state],
        after=after,
        by=_HUB,
        now=now,
        note=note,
    )
