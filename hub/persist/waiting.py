"""What waits for a yes, for who answers on a terminal."""

from dataclasses import dataclass
from datetime import datetime

from appliance.ids import is_uuid
from appliance.people import People
from hub.errors import MoveError
from hub.persist.database import Database, Row
from hub.persist.people import people_in_force


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What an operator is shown of an incident, and who may answer."""

    row: Row
    given: list[Row]  # who said yes so far
    people: People | None


def for_a_yes(db: Database, *, now: datetime) -> list[Row]:
    """Plans that wait, the one that expires first at the top."""
    with db.transaction() as work:
        return work.all("waiting_for_a_yes", now=now)


def shown_now(db: Database, incident_id: str) -> Now:
    """What is shown of an incident at this moment; raises `MoveError` when nothing waits."""
    if not is_uuid(incident_id):
        raise MoveError(
            f"{incident_id[:80]!r} is not an incident's id; see `sentinel approve --list`"
        )
    with db.transaction() as work:
        row = work.one("shown_now", incident_id=incident_id)
        if row is None:
            raise MoveError("there is no plan to answer for this incident")
        if row["state"] != "awaiting":
            raise MoveError(f"the incident waits for no answer: it is {row['state']}")
        digest = row["shown_digest"]
        given = work.all("approvals_of", incident_id=incident_id, shown_digest=digest)
        return Now(row=row, given=given, people=people_in_force(work))
