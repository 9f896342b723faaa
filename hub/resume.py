"""Whether the hub carries an administrator's word that a halt is over to the nodes.

No node believes the hub in this: each checks the signature by its own list of people. It is
checked here, too, so that a key that counts nowhere does not use the halt's one resumption up.
"""

from datetime import datetime

from appliance.halt import Halt, Resumption
from appliance.people import People
from appliance.records import OperatorSignature, digest_of
from hub.errors import ApprovalError
from hub.persist import halts
from hub.persist.database import Database
from hub.persist.outbox import Actor
from hub.persist.people import NOBODY, people_in_force
from hub.signatures import demand_signature


def resume(
    db: Database,
    *,
    halt_id: str,
    operator: str,
    signature: OperatorSignature | None,
    by: Actor,
    now: datetime,
) -> None:
    """Carry this person's signature over this halt; or `ApprovalError`, and the halt stays."""
    # 1. the halt is in force      3. the signature is over exactly this halt, by a key of
    # 2. they are an administrator    theirs that is in force, not revoked and not a copy
    with db.transaction() as work:
        row = halts.locked(work, halt_id)  # 1
        people = _demand_admin(people_in_force(work, now=now), operator)  # 2
        halt = Halt(halt_id=str(row["halt_id"]), reason=row["reason"])
        demand_signature(  # 3
            work,
            people,
            operator=operator,
            digest=digest_of(halt),
            signature=signature,
            now=now,
            act="resume",
        )
        if signature is None:  # `demand_signature` let none pass; a type checker cannot know
            raise ApprovalError("the halt stays: nothing was signed")
        said = Resumption(halt_id=halt.halt_id, operator=operator, signature=signature)
        halts.carry(work, said, row, by=by, now=now)


def _demand_admin(people: People | None, operator: str) -> People:
    if people is None:
        raise ApprovalError(f"the halt stays: {NOBODY}")
    person = people.person(operator)
    if person is None or person.role != "admin":
        raise ApprovalError(f"the halt stays: {operator} is no administrator in people.json")
    return people
