"""The people in force, as the hub knows them: who may say yes, with which keys, and their roles.

`people_in_force` is the one place that says where they come from. A database row can neither add a
person nor raise a role: the row's role counts only while no people are in force at all, and then
only for the console's own administration.
"""

from datetime import UTC, datetime

from appliance import records
from appliance.people import Credential, People, WebAuthnCredential
from hub.persist.database import Work, as_json

NOBODY = "nobody may approve yet: publish people.json"


def people_in_force(work: Work, *, now: datetime | None = None) -> People | None:
    """The published list of people; None while there is none, or it has expired.

    With a trust root it is verified from there (`hub/trust.py`), whatever the database says.
    """
    if work.people is not None:
        return work.people.people(work, now=now or datetime.now(UTC))
    row = work.one("people_in_force")
    return None if row is None else records.from_builtins(row["body"], People)


def put_in_force(work: Work, people: People, *, now: datetime) -> None:
    """From here on these people are in force."""
    work.run("take_people", body=as_json(people), now=now)


def role_in_force(work: Work, name: str, *, row: str, now: datetime | None = None) -> str:
    """The role of a person who signs in as `name`; somebody who is on no list may only look."""
    people = people_in_force(work, now=now)
    if people is None:
        return row
    person = people.person(name)
    return "viewer" if person is None else person.role


def usable(work: Work, people: People, name: str) -> tuple[Credential, ...]:
    """This person's credentials in force that were not revoked here meanwhile."""
    person = people.person(name)
    if person is None:
        return ()
    revoked = {row["credential_id"] for row in work.all("revoked_credentials", operator=name)}
    return tuple(one for one in person.credentials if one.credential_id not in revoked)


def kind_of(credential: Credential) -> str:
    """What the column `kind` calls it."""
    return "webauthn" if isinstance(credential, WebAuthnCredential) else "ed25519"
