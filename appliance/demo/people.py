"""Who may say yes in the demo: its one operator, with a key in the demo's folder.

A real site publishes this list as signed metadata; the demo writes it where its node reads it and
puts it in force at its hub.
"""

from datetime import datetime

from appliance import records
from appliance.demo.site import Site
from appliance.envelope import load_key, make_key
from appliance.operator_key import credential
from appliance.people import People, Person
from hub.persist.database import Database
from hub.persist.people import put_in_force

OPERATOR = "demo"


def make_people(site: Site) -> People:
    """The list, with the operator's key; a second start on the same folder keeps the key."""
    if not site.operator_key.exists():
        make_key(site.operator_key)
    key = credential(load_key(site.operator_key))
    made = People(
        persons=(Person(name=OPERATOR, role="admin", credentials=(key,)),),
        quorum={"low": 1, "high": 1},  # there is one person
        rp_id="localhost",
        origins=(site.console_url,),
        password_only=site.password_only,
    )
    site.people.write_bytes(records.to_json(made))
    return made


def publish(db: Database, people: People, *, now: datetime) -> None:
    """Put the list in force at the hub."""
    with db.transaction() as work:
        put_in_force(work, people, now=now)
