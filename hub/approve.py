"""Who may say yes, to what, and until when.

An approval is one person's yes to the digest of exactly what was shown, signed with their own key.
It is refused when the plan is not `allow`, when anything differs from what was shown, when it is
late, when somebody was faster, and while the audit log cannot be written. A plan runs when as many
different people said yes as the published list of people demands for its risk.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance import records
from appliance.ids import uuid7
from appliance.journal import shown as visible
from appliance.lifecycle import MOVES, State
from appliance.people import MAY_ANSWER, People
from appliance.records import Approval, OperatorSignature, Shown
from hub.errors import ApprovalError, MoveError, NotaryError
from hub.persist.database import Database, Work, as_json
from hub.persist.incidents import move, record_history
from hub.persist.outbox import Actor, actor, offer
from hub.persist.people import NOBODY, people_in_force, role_in_force
from hub.persist.status import log_state
from hub.signatures import demand_signature

_MOST_COMMENT = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """The signed-in person who answers."""

    name: str
    role: str  # by the row; counts only while no list of people is in force
    session: str  # its name in the log, not the token

    def demanded(self, work: Work, *, now: datetime | None = None) -> Actor:
        """Who this is in the log; raises `ApprovalError` when the role may only look."""
        role = role_in_force(work, self.name, row=self.role, now=now)
        if role not in MAY_ANSWER:
            raise ApprovalError(f"the role {role} may look, not answer")
        return actor("operator", self.name, session=self.session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A yes that counts, and how many of how many that makes."""

    approval: Approval
    given: int
    needed: int

    @property
    def enough(self) -> bool:
        """Whether the plan is approved now."""
        return self.given >= self.needed


def approve(
    db: Database,
    *,
    incident_id: str,
    who: Answerer,
    shown_digest: str,
    comment: str,
    now: datetime,
    signature: OperatorSignature | None = None,
) -> Granted:
    """Say yes to exactly what was shown; the order leaves once enough such yes are in the log."""
    # 1. the audit log can be written            6. the answer is in time
    # 2. the incident waits for an answer        7. this person may answer, and did not write it
    # 3. the digest is that of what is stored    8. they did not say yes before
    # 4. the plan's ruling is `allow`            9. nobody was told of fewer people than it needs
    # 5. there is a published list of people    10. the person's own signature says so
    #                                           11. the policy is still the one that judged it
    with db.transaction() as work:
        _log_is_open(work, now=now)  # 1
        row = _waiting(work, incident_id)  # 2
        _same(row, shown_digest)  # 3
        shown = records.from_builtins(row["shown"], Shown)
        if row["ruling"] != "allow":  # 4
            raise ApprovalError(
                f"this plan is ruled {row['ruling']}: only plans whose every command is `allow`"
                " can be approved"
            )
        people = people_in_force(work, now=now)
        if people is None:  # 5
            raise ApprovalError(NOBODY)
        if shown.not_after <= now:  # 6
            raise ApprovalError("this plan has expired; nothing was approved")
        by = _demand_may_say_yes(work, who, shown, now=now)  # 7
        before = work.all("approvals_of", incident_id=incident_id, shown_digest=shown_digest)
        if who.name in [one["operator"] for one in before]:  # 8
            raise ApprovalError("you said yes already; another operator must say yes, too")
        _demand_enough_told(people, shown)  # 9
        _same_policy(work, row)  # 11, before a signature is counted as used
        demand_signature(  # 10
            work, people, operator=who.name, digest=shown_digest, signature=signature, now=now
        )
        granted = Granted(
            approval=Approval(
                approval_id=uuid7(),
                operator=who.name,
                shown_digest=shown_digest,
                approved_at=now,
                comment=visible(comment, most=_MOST_COMMENT),
                signature=signature,
            ),
            given=len(before) + 1,
            needed=shown.approvals_needed,
        )
        _record(work, granted, row=row, by=by, now=now)
        # From here on a restart finds this yes counted. With the last one that is needed the
        # incident is approved: the notary takes the entries, then the dispatcher takes the
        # incident. None of it happens if this transaction does not commit.
        _count(work, incident_id, granted, by=by, now=now)
    return granted


def reject(
    db: Database,
    *,
    incident_id: str,
    who: Answerer,
    shown_digest: str,
    comment: str,
    now: datetime,
) -> None:
    """Say no; nothing of this plan runs, whoever said yes."""
    note = visible(comment, most=_MOST_COMMENT)
    with db.transaction() as work:
        by = who.demanded(work, now=now)
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
                "comment": note,
            },
        )
        _moved(work, incident_id, State.REJECTED, by=by, now=now, note=note)


def close(
    db: Database,
    *,
    incident_id: str,
    who: Answerer,
    note: str,
    now: datetime,
) -> None:
    """End an incident by hand, with a note that says why."""
    may_close = [state for state, onward in MOVES.items() if State.CLOSED in onward]
    with db.transaction() as work:
        by = who.demanded(work, now=now)
        if not note.strip():
            raise ApprovalError("closing an incident needs a note that says why")
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


def _demand_may_say_yes(work: Work, who: Answerer, shown: Shown, *, now: datetime) -> Actor:
    by = who.demanded(work, now=now)
    if who.name == shown.author:
        raise ApprovalError("you wrote this plan; another operator must approve it")
    return by


def _demand_enough_told(people: People, shown: Shown) -> None:
    needed = people.needed([step.risk for step in shown.steps])
    if needed > shown.approvals_needed:
        raise ApprovalError(
            f"this plan was shown as needing {shown.approvals_needed}, and now {needed} people"
            " must approve its like; nothing was done, propose it again"
        )


def _record(work: Work, granted: Granted, *, row: dict[str, Any], by: Actor, now: datetime) -> None:
    approval, signature = granted.approval, granted.approval.signature
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
            "credential_id": signature.credential_id if signature else None,
            "signature_digest": records.digest_of(signature) if signature else None,
            "given": granted.given,
            "needed": granted.needed,
            "mode": row["shown"]["mode"],
            "comment": approval.comment,
            "not_after": row["shown"]["not_after"],
        },
    )
    added = work.run(
        "add_approval",
        approval_id=approval.approval_id,
        incident_id=incident_id,
        shown_digest=approval.shown_digest,
        operator=approval.operator,
        now=now,
        body=as_json(approval),
        audit_id=audit_id,
    )
    if not added:
        raise ApprovalError("you said yes already; another operator must say yes, too")


def _count(work: Work, incident_id: str, granted: Granted, *, by: Actor, now: datetime) -> None:
    tally = f"{granted.given} of {granted.needed}"
    comment = granted.approval.comment
    if granted.enough:
        note = comment if granted.needed == 1 else f"{tally} said yes. {comment}".strip()
        _moved(work, incident_id, State.APPROVED, by=by, now=now, note=note)
        return
    record_history(
        work,
        incident_id=incident_id,
        before=State.AWAITING,
        after=State.AWAITING,
        by=by,
        now=now,
        note=f"{tally}, waits for another operator. {comment}".strip(),
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
