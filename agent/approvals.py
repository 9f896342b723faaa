"""Whether people really said yes to this order: their own signatures, by this node's own list.

The hub's word counts for nothing here: who may answer, with which keys, and how many of them a risk
needs comes from the signed list of people that this node holds, and the risk from its own policy.
Signatures are checked in a process of its own (`agent/signatures.py`).
"""

from collections.abc import Callable, Sequence

from agent.aside import ask
from agent.errors import AsideError, OrderRefusedError
from appliance import records
from appliance.errors import RefusedError
from appliance.operator_claim import Answers, Claim, Claims, SignatureError, claim_of
from appliance.people import MAY_ANSWER, People
from appliance.records import Approval, Mode, Order

STEP = "6 approval"

Ask = Callable[[str, bytes], bytes]


def demand_signed(order: Order, people: People | None, *, ask: Ask = ask) -> None:
    """Every yes is of a different person who may answer, is not the author's, and is signed."""
    # 1. this node knows who may say yes          4. nobody approves what they wrote
    # 2. each is a person whose role may answer   5. no credential speaks for two people
    # 3. nobody counts twice                      6. each signature is good
    if people is None:  # 1
        if order.shown.mode is Mode.LIVE:
            raise OrderRefusedError(STEP, "this node has no list of people who may say yes")
        return  # a rehearsal: it runs nothing, and there is nobody to compare with
    given = [one.approval for one in order.approvals]
    for approval in given:
        _demand_may_answer(approval, people)  # 2
        if approval.operator == order.shown.author:  # 4
            raise OrderRefusedError(STEP, f"{approval.operator} wrote this plan")
    if len({approval.operator for approval in given}) != len(given):  # 3
        raise OrderRefusedError(STEP, "one person said yes twice")
    try:
        claims = [_claim(one, people) for one in given if one.signature or not people.password_only]
    except SignatureError as error:
        raise OrderRefusedError(STEP, str(error)) from error
    keys = {claim.credential.public_key for claim in claims}
    if len(keys) != len(claims):  # 5
        raise OrderRefusedError(STEP, "one key signed for two people")
    if claims:
        demand_good(claims, ask)  # 6


def demand_quorum(order: Order, people: People | None, risks: Sequence[str]) -> None:
    """As many people said yes as the risk needs, and as everybody was told it needs."""
    if people is None:
        return  # `demand_signed` let only a rehearsal through
    needed = people.needed(list(risks))
    if order.shown.approvals_needed < needed:
        said = order.shown.approvals_needed
        raise OrderRefusedError(STEP, f"the plan says it needs {said} people, it needs {needed}")
    if len(order.approvals) < order.shown.approvals_needed:
        raise OrderRefusedError(
            STEP, f"{len(order.approvals)} of {order.shown.approvals_needed} people said yes"
        )


def _demand_may_answer(approval: Approval, people: People) -> None:
    person = people.person(approval.operator)
    if person is None:
        raise OrderRefusedError(STEP, f"{approval.operator} is not among the people in force")
    if person.role not in MAY_ANSWER:
        raise OrderRefusedError(STEP, f"the role {person.role} may look, not answer")


def _claim(approval: Approval, people: People) -> Claim:
    return claim_of(
        people,
        act="approve",
        operator=approval.operator,
        digest=approval.shown_digest,
        signature=approval.signature,
    )


def demand_good(claims: Sequence[Claim], ask: Ask, *, step: str = STEP) -> None:
    """Each signature is good, says a process of its own; no whole answer is a no."""
    question = records.to_json(Claims(claims=tuple(claims)))
    try:
        troubles = records.from_json(ask("agent.signatures", question), Answers).troubles
    except (AsideError, RefusedError) as error:
        raise OrderRefusedError(step, f"the signatures could not be checked: {error}") from error
    if len(troubles) != len(claims):
        raise OrderRefusedError(step, "the signatures could not be checked: no whole answer")
    for trouble in troubles:
        if trouble:
            raise OrderRefusedError(step, trouble)
