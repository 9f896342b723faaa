"""The demo's ceremony: once for a folder, and again only for what differs."""

from pathlib import Path

import pytest

from appliance.demo import site as demo_site
from appliance.demo import trust
from appliance.demo.site import Ports, Site
from appliance.people import People
from appliance.records import Mode, from_json
from appliance.trust_files import PEOPLE
from hub.persist.database import Database
from tests.hub.builders import outbox, sql

pytestmark = pytest.mark.postgres


def make(root: Path, dsn: str, *, console: int) -> Site:
    ports = Ports(console=console, hub=1, vault=1)
    site = Site(root=root, ports=ports, mode=Mode.LIVE, model=None, dsn=dsn, vault_token="x")
    demo_site.make_keys(site)
    demo_site.write_settings(site)
    return site


def versions(db: Database) -> dict[str, int]:
    (row,) = sql(db, "SELECT versions FROM publication")
    return dict(row["versions"])


def test_a_second_start_on_the_same_folder_publishes_only_what_differs(
    database: Database, tmp_path: Path
) -> None:
    site = make(tmp_path, database.dsn, console=8443)
    trust.publish(site, operator="demo", password_only=False)
    root = site.trust_root.read_bytes()
    assert versions(database) == {"root": 1, "targets": 1, "snapshot": 1, "timestamp": 1}
    told = trust.publish(site, operator="demo", password_only=False)
    assert told == ["it was in force already; nothing has changed"]
    assert len([row for row in outbox(database) if row["type"] == "policy.change"]) == 1
    again = make(tmp_path, database.dsn, console=9443)  # another port is another origin
    trust.publish(again, operator="demo", password_only=True)
    assert versions(database)["targets"] == 2
    assert site.trust_root.read_bytes() == root
    people = from_json(trust.Folder(site.trust).in_force()[PEOPLE], People)
    assert people.origins == ("https://localhost:9443",)
    assert people.password_only
    (person,) = people.persons
    assert (person.name, person.role, len(person.credentials)) == ("demo", "admin", 1)
    assert (tmp_path / "keys" / "operator.key").stat().st_mode & 0o777 == 0o600
