"""Who may say yes, to what, and until when.

An approval is one operator's yes to the digest of exactly what was shown. It is refused when the
plan is not `allow`, when anything differs from what was shown, when it is late, when somebody was
faster, and while the audit log cannot be written.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance import records
from appliance.ids import uuid7
from appliance.journal import shown as visible
from appliance.lifecycle import MOVES, State
from appliance.records import Approval, Shown
from hub.errors import ApprovalError, MoveError, NotaryError
from hub.persist.database import Database, Work, as_json
from hub.persist.incidents import move
from hub.persist.outbox import Actor, actor, offer
from hub.persist.status import log_state

MAY_ANSWER = frozenset({"operator", "admin"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """The signed-in person who answers."""

    name: str
    role: str
    session: str  # its name in the log, not the token

    def demanded(self) -> Actor:
        """Who this is in the log; raises `ApprovalError` when the role may only look."""
        if self.role not in MAY_ANSWER:
            raise ApprovalError(f"the role {self.role} may look, not answer")
        return actor("operator", self.name, session=self.session)


def approve(
    db: Database,
    *,
    incident_id: str,
    who: Answerer,
    shown_digest: str,
    comment: str,
    now: datetime,
) -> Approval:
    """Say yes to exactly what was shown; the order leaves once this yes is in the log."""
    # 1. the role may answer                     4. the digest is that of what is stored now
    # 2. the audit log can be written            5. the plan's ruling is `allow`
    # 3. the incident waits for an answer        6. the answer is in time
    #                                            7. the policy is still the one that judged it
    by = who.demanded()  # 1
    with db.transaction() as work:
        _log_is_open(work, now=now)  # 2
        row = _waiting(work, incident_id)  # 3
        _same(row, shown_digest)  # 4
        if row["ruling"] != "allow":  # 5
            raise ApprovalError(
                f"this plan is ruled {row['ruling']}: only plans whose every command is `allow`"
                " can be approved"
            )
        if records.from_builtins(row["shown"], Shown).not_after <= now:  # 6
            raise ApprovalError("this plan has expired; nothing was approved")
        _same_policy(work, row)  # 7
        approval = Approval(
            approval_id=uuid7(),
            operator=who.name,
            shown_digest=shown_digest,
            approved_at=now,
            comment=visible(comment, most=2000),
        )
        _record(work, approval, row=row, by=by, now=now)
        # From here on a restart finds the incident approved: the notary takes its entry, then
        # the dispatcher takes the incident. Neither happens if this transaction does not commit.
        _moved(work, incident_id, State.APPROVED, by=by, now=now, note=approval.comment)
    return approval


def reject(
    db: Database,
    *,
    incident_id: str,
    who: Answerer,
    shown_digest: str,
    comment: str,
    now: datetime,
) -> None:
    """Say no; nothing of this plan runs."""
    by = who.demanded()
    with db.transaction() as work:
        row = _waiting(work, incident_id)
        _same(row, shown_digest)
        offer(
            work,
            type="approval.deny",
            actor=by,
            incident=incident_id,
            at=now,
            outcome="denied",
            body={
                "plan_id": str(row["plan_id"]),
                "shown_digest": shown_digest,
                "comment": visible(comment, most=2000),
            },
        )
        _moved(work, incident_id, State.REJECTED, by=by, now=now, note=visible(comment, most=2000))


def close(
    db: Database,
    *,
    incident_id: str,
    who: Answerer,
    note: str,
    now: datetime,
) -> None:
    """End an incident by hand, with a note that says why."""
    by = who.demanded()
    if not note.strip():
        raise ApprovalError("closing an incident needs a note that says why")
    may_close = [state for state, onward in MOVES.items() if State.CLOSED in onward]
    with db.transaction() as work:
        if not move(
            work,
            incident_id=incident_id,
            before=may_close,
            after=State.CLOSED,
            by=by,
            now=now,
            note=note,
        ):
            raise MoveError(f"the incident is {_state(work, incident_id)} and cannot be closed")


def record_manual(
    db: Database,
    *,
    incident_id: str,
    who: Answerer,
    command: str,
    result: str,
    now: datetime,
) -> None:
    """Record what a person did by hand, so that there is no hole in the history."""
    by = who.demanded()
    if not command.strip():
        raise ApprovalError("a manual step needs the command or action that was done")
    with db.transaction() as work:
        row = work.one("lock_incident", incident_id=incident_id)
        if row is None:
            raise MoveError("there is no such incident")
        body = {"command": visible(command, most=4000), "result": visible(result, most=16000)}
        offer(
            work, type="manual.step", actor=by, incident=incident_id, at=now, body=body,
            outcome="recorded",
        )  # fmt: skip
        work.run(
            "add_history",
            incident_id=incident_id,
            now=now,
            before=row["state"],
            after=row["state"],
            actor=f"operator {who.name}",
            note=f"by hand: {body['command']} → {body['result']}",
        )


def _log_is_open(work: Work, *, now: datetime) -> None:
    trouble = log_state(work, now=now).trouble
    if trouble is not None:
        raise NotaryError(f"approvals are closed: {trouble}; without a record nothing may run")


def _waiting(work: Work, incident_id: str) -> dict[str, Any]:
    row = work.one("lock_judgement", incident_id=incident_id)
    if row is None:
        raise MoveError("there is no plan to answer for this incident")
    if row["state"] != State.AWAITING:
        raise MoveError(f"the incident no longer waits for an answer: it is {row['state']}")
    return row


def _same(row: dict[str, Any], shown_digest: str) -> None:
    if row["shown_digest"] != shown_digest:
        raise ApprovalError(
            "what you were shown is not what is stored now; nothing was done, please look again"
        )


def _same_policy(work: Work, row: dict[str, Any]) -> None:
    """Who publishes waits for this transaction, or has committed before it: one of the two."""
    in_force = work.one("policy_now")
    if in_force is not None and in_force["digest"] != row["policy_digest"]:
        raise ApprovalError("the policy changed since this was shown; it is judged anew")


def _record(
    work: Work, approval: Approval, *, row: dict[str, Any], by: Actor, now: datetime
) -> None:
    incident_id = str(row["incident_id"])
    audit_id = offer(
        work,
        type="approval.grant",
        actor=by,
        incident=incident_id,
        at=now,
        outcome="granted",
        body={
            "approval_id": approval.approval_id,
            "plan_id": str(row["plan_id"]),
            "shown_digest": approval.shown_digest,
            "approval_digest": records.digest_of(approval),
            "mode": row["shown"]["mode"],
            "comment": approval.comment,
            "not_after": row["shown"]["not_after"],
        },
    )
    work.run(
        "add_approval",
        approval_id=approval.approval_id,
        incident_id=incident_id,
        operator=approval.operator,
        now=now,
        body=as_json(approval),
        audit_id=audit_id,
    )


def _moved(
    work: Work, incident_id: str, after: State, *, by: Actor, now: datetime, note: str
) -> None:
    if not move(
        work,
        incident_id=incident_id,
        before=[State.AWAITING],
        after=after,
        by=by,
        now=now,
        note=note,
    ):
        raise MoveError("somebody was faster")


def _state(work: Work, incident_id: str) -> str:
    row = work.one("lock_incident", incident_id=incident_id)
    return str(row["state"]) if row else "unknown"
