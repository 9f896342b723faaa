"""`sentinel user keys`, `add-key`, `approve-key` and `revoke-key`: people's keys, on a terminal.

This is how a site gets its first key: there is no administrator yet whom the console could ask.
What is done here is in the audit log under the name of who sits at this machine.
"""

import argparse
import getpass
import sys
from datetime import UTC, datetime

from appliance.errors import RefusedError
from appliance.operator_claim import fingerprint
from appliance.operator_key import public_credential
from hub import credentials
from hub.persist import views
from hub.persist.database import Database
from hub.persist.outbox import actor

_LEAST_DIGITS = 16  # of a fingerprint: so many are compared when they are typed


def run(db: Database, asked: argparse.Namespace) -> int:
    """Run one of them; 0 when it was done."""
    name = f"{getpass.getuser()} (command line)"
    by, now = actor("operator", name), datetime.now(UTC)
    match asked.what:
        case "keys":
            return _list(db)
        case "add-key":
            key = public_credential(asked.public_key, label=asked.label)
            credentials.request(db, owner=asked.name, credential=key, by=by, now=now)
            _say(f"{asked.name}'s key waits for an approval: {fingerprint(key)}")
        case "approve-key":
            owner = credentials.approve(
                db, credential_id=_named(db, asked.key), admin=name, by=by, now=now
            )
            _say(f"{owner}'s key is approved; in force after the next policy publication")
        case "revoke-key":
            owner = credentials.revoke(db, credential_id=_named(db, asked.key), by=by, now=now)
            _say(f"{owner}'s key is revoked; nodes hear it with the next policy publication")
    return 0


def _list(db: Database) -> int:
    rows, people = views.credentials(db)
    published = {
        (person.name, one.credential_id)
        for person in (people.persons if people else ())
        for one in person.credentials
    }
    for row in rows:
        key = credentials.credential_of(row)
        if row["revoked_at"]:
            state = "revoked"
        elif (row["operator"], row["credential_id"]) in published:
            state = "in force"
        else:
            state = "approved" if row["approved_at"] else "waits"
        _say(f"{row['operator']:<20} {state:<9} {fingerprint(key)}  {row['label']}")
    return 0


def _named(db: Database, typed: str) -> str:
    """The id of the one key whose fingerprint begins so."""
    digits = "".join(typed.split()).lower()
    if len(digits) < _LEAST_DIGITS:
        raise RefusedError(f"type at least {_LEAST_DIGITS} digits of the fingerprint")
    rows, _ = views.credentials(db)
    found = [
        str(row["credential_id"])
        for row in rows
        if fingerprint(credentials.credential_of(row)).replace(" ", "").startswith(digits)
    ]
    if len(found) != 1:
        raise RefusedError("no key has this fingerprint; see `sentinel user keys`")
    return found[0]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
