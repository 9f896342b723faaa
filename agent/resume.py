"""Whether a halt of the hub is over: an administrator's own signature says so, not the hub.

The executor asks; nothing is changed here. The signature is checked as that of a yes to a plan is,
in a process of its own (`agent/signatures.py`).
"""

from agent.approvals import Ask, demand_good
from agent.aside import ask
from agent.errors import OrderRefusedError
from agent.halts import Halts
from appliance.errors import RefusedError
from appliance.halt import Resumption
from appliance.operator_claim import Claim, SignatureError, claim_of
from appliance.people import People
from appliance.records import digest_of, from_json

MAX_RESUMPTION_BYTES = 8192


def demand_lifted(data: bytes, halts: Halts, people: People | None, *, ask: Ask = ask) -> str:
    """The id of the halt that is over; raises `OrderRefusedError` with the step that said no."""
    # 1. it is a resumption                  3. its operator is an administrator we know
    # 2. of a halt of the hub, in force now  4. with this key   5. which signed exactly this halt
    try:
        if len(data) > MAX_RESUMPTION_BYTES:  # 1
            raise RefusedError(f"{len(data)} bytes, at most {MAX_RESUMPTION_BYTES}")  # noqa: TRY301
        said = from_json(data, Resumption)
    except RefusedError as error:
        raise OrderRefusedError("resume 1 form", str(error)) from error
    found = halts.of(said.halt_id)
    if found is None:  # 2
        raise OrderRefusedError("resume 2 halt", "no such halt is in force here")
    if found.whose != "hub":
        raise OrderRefusedError("resume 2 halt", "it was made on the node, and ends on the node")
    admins = _admins(people, said.operator)  # 3
    claim = _claim(said, admins, digest=digest_of(found.halt))  # 4
    demand_good([claim], ask, step="resume 5 signature")  # 5
    return said.halt_id


def _admins(people: People | None, operator: str) -> People:
    if people is None:
        raise OrderRefusedError(
            "resume 3 person", "this node knows no administrators; resume on the node"
        )
    person = people.person(operator)
    if person is None or person.role != "admin":
        raise OrderRefusedError("resume 3 person", f"{operator!r} is no administrator here")
    return people


def _claim(said: Resumption, people: People, *, digest: str) -> Claim:
    try:
        return claim_of(
            people, act="resume", operator=said.operator, digest=digest, signature=said.signature
        )
    except SignatureError as error:
        raise OrderRefusedError("resume 4 key", str(error)) from error
