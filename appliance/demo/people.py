"""Who may say yes in the demo: its one operator, with a key in the demo's folder.

A real site publishes this list as signed metadata; the demo writes it where its node reads it and
puts it in force at its hub.
"""

from datetime import datetime
from pathlib import Path

from appliance import records
from appliance.demo.site import Site
from appliance.envelope import load_key, make_key
from appliance.operator_key import credential
from appliance.people import People, Person
from hub.persist.database import Database
from hub.persist.people import put_in_force

OPERATOR = "demo"


def operator_key(site: Site) -> Path:
    """The demo operator's own key, made at the first start."""
    path = site.root / "keys" / "operator.key"
    if not path.exists():
        make_key(path)
    return path


def publish(db: Database, site: Site, *, password_only: bool, now: datetime) -> None:
    """Write the list where the node reads it, and put it in force at the hub."""
    key = credential(load_key(operator_key(site)))
    people = People(
        persons=(Person(name=OPERATOR, role="admin", credentials=(key,)),),
        quorum={"low": 1, "high": 1},  # there is one person
        rp_id="localhost",
        origins=(site.console_url,),
        password_only=password_only,
    )
    (site.root / "people.json").write_bytes(records.to_json(people))
    with db.transaction() as work:
        put_in_force(work, people, now=now)
