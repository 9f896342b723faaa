"""A list of people in which somebody, or somebody's key, stands twice is taken by nobody.

Signers can be talked into it, so it is refused where it is drafted, where it is signed, where it
is published, and on every hub and node that reads it; what was in force before stays.
"""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.trust import load_trust
from appliance import records, trust_files
from appliance.envelope import public_pem
from appliance.errors import RefusedError, SettingsError, TrustError
from appliance.operator_claim import to_base64url
from appliance.people import People, Person, WebAuthnCredential
from appliance.publishing import ceremony
from appliance.publishing.content import read_people
from appliance.publishing.folder import Folder
from appliance.trust_files import PEOPLE
from audit.signer import LocalSigner
from hub.persist.database import Database
from hub.publish import Hub, publish
from hub.trust import HubTrust
from policy.evaluate import EchoReader
from tests.attacks.forge import ORIGIN
from tests.attacks.operators import SecurityKey, TerminalKey
from tests.hub.builders import outbox, sql
from tests.trust.signers import NOW, RULES, Signers, packed, settings, state_of
from tests.trust.test_attacks_on_the_way_to_a_node import Node, node, second_version
from tests.trust.test_publishing import BY, changes, offered

__all__ = ["node", "second_version"]

ADA, BEN = TerminalKey().credential, TerminalKey().credential
TOUCH = SecurityKey()


def person(name: str, *credentials: Any) -> dict[str, Any]:
    plain = msgspec.to_builtins(Person(name=name, role="operator"))
    return {**plain, "credentials": [msgspec.to_builtins(one) for one in credentials]}


def written(*persons: dict[str, Any]) -> bytes:
    """people.json as a careless or bribed signer would have made it with other tools."""
    return msgspec.json.encode({"persons": persons})


def the_same_key_for_a_browser() -> WebAuthnCredential:
    cose = bytes.fromhex("a4010103272006215820") + base64.b64decode(ADA.public_key)
    return WebAuthnCredential(credential_id="another", public_key=to_base64url(cose))


TWICE = {
    "a person": (written(person("ada", ADA), person("ada", BEN)), "the person ada stands there"),
    "a key of two": (
        written(person("ada", ADA), person("ben", ADA)),
        f"the credential {ADA.credential_id} stands there twice: of ada and ben",
    ),
    "a key of one": (
        written(person("ada", ADA, ADA)),
        f"the credential {ADA.credential_id} stands there twice: of ada",
    ),
    "a security key under two ids": (
        written(
            person("ada", TOUCH.credential),
            person("ben", SecurityKey(key=TOUCH.key).credential),
        ),
        "stands there twice: of ada and ben",
    ),
    "a key with other padding": (
        written(
            person("ada", ADA),
            person("ben", records.from_builtins(
                {**msgspec.to_builtins(BEN), "public_key": ADA.public_key.rstrip("=")}, type(BEN)
            )),
        ),
        "stands there twice: of ada and ben",
    ),
    "one key for terminal and browser": (
        written(person("ada", ADA), person("ben", the_same_key_for_a_browser())),
        "the public key of another stands there twice: of ada and ben",
    ),
}  # fmt: skip

every = pytest.mark.parametrize(("people", "because"), TWICE.values(), ids=TWICE.keys())


@every
def test_a_list_in_which_something_stands_twice_is_no_list(people: bytes, because: str) -> None:
    with pytest.raises(RefusedError, match=because):
        records.from_json(people, People)


def test_a_list_of_different_people_and_keys_is_read() -> None:
    found = records.from_json(
        written(person("ada", ADA, TOUCH.credential), person("ben", BEN)), People
    )
    assert [one.name for one in found.persons] == ["ada", "ben"]


@every
def test_a_node_keeps_what_it_believed_when_signers_signed_it(
    node: Node, people: bytes, because: str
) -> None:
    before = state_of(node.folder)
    signed = node.signers.signed_set(3, files=node.signers.targets(3, **{PEOPLE: people}))
    with pytest.raises(TrustError, match=f"people.json: .*{because}"):
        node.keeper.offer(packed(signed), now=NOW)
    node.demand_as_before(before)


def test_a_node_that_took_it_as_an_earlier_version_believes_nothing_at_its_start(
    node: Node,
) -> None:
    people, because = TWICE["a person"]
    signed = node.signers.signed_set(3, files=node.signers.targets(3, **{PEOPLE: people}))
    kept = trust_files.Kept(at=NOW, files=packed(signed))
    (node.folder / "state" / "trust.kept").write_bytes(msgspec.msgpack.encode(kept))
    trust = load_trust(settings(node.folder, node.signers.roots[1]), EchoReader())
    assert trust.believed is None
    assert because in trust.trouble(NOW)


def test_a_node_with_a_file_of_people_does_not_start(tmp_path: Path) -> None:
    people, because = TWICE["a key of two"]
    (tmp_path / "people.json").write_bytes(people)
    signers = Signers()
    (tmp_path / "order.pub").write_text(public_pem(signers.order_key.public_key()))
    (tmp_path / "log.vkey").write_text(LocalSigner(ORIGIN, signers.audit_key).vkey)
    (tmp_path / "rules.d").mkdir()
    (tmp_path / "rules.d" / "a.toml").write_bytes(RULES)
    chosen = settings(tmp_path, b"", trust_root=None, people=tmp_path / "people.json",
                      policy=tmp_path / "rules.d", order_key=tmp_path / "order.pub",
                      audit_vkey=tmp_path / "log.vkey")  # fmt: skip
    with pytest.raises(SettingsError, match=because):
        load_trust(chosen, EchoReader())


@every
def test_people_toml_is_not_drafted(tmp_path: Path, people: bytes, because: str) -> None:
    lines = []
    for one in msgspec.json.decode(people)["persons"]:
        lines += ["[[person]]", f'name = "{one["name"]}"', f'role = "{one["role"]}"']
        for key in one["credentials"]:
            lines += ["[[person.credential]]", *(f'{name} = "{key[name]}"' for name in key)]
    (tmp_path / "people.toml").write_text("\n".join(lines))
    with pytest.raises(TrustError, match=f"people.toml: .*{because}|expected base64"):
        read_people(tmp_path / "people.toml")


@every
def test_a_draft_made_by_other_tools_is_not_signed(
    tmp_path: Path, people: bytes, because: str
) -> None:
    signers = Signers()
    folder = Folder(tmp_path / "trust")
    folder.make()
    folder.complete_root(signers.roots[1])
    files = signers.targets(1, **{PEOPLE: people})
    drafted = signers.signed_set(1, files=files, by=())
    folder.write_draft({**files, "targets.json": drafted["targets.json"]})
    before = state_of(tmp_path)
    with pytest.raises(RefusedError, match=because):
        ceremony.pending(folder, signers.keys["anna"].public_key())
    assert state_of(tmp_path) == before


@pytest.mark.postgres
@every
def test_the_hub_publishes_nothing_of_it(database: Database, people: bytes, because: str) -> None:
    signers = Signers(at=datetime.now(UTC).replace(microsecond=0))
    hub = Hub(db=database, root=signers.roots[1], key=signers.keys["online"])
    publish(hub, offered(signers, 1), by=BY, now=signers.at)
    before = sql(database, "SELECT digest, files FROM publication"), outbox(database)
    files = signers.targets(2, **{PEOPLE: people})
    with pytest.raises(TrustError, match=f"people.json: .*{because}"):
        publish(hub, offered(signers, 2, files=files), by=BY, now=signers.at)
    assert (sql(database, "SELECT digest, files FROM publication"), outbox(database)) == before
    assert len(changes(database)) == 1


@pytest.mark.postgres
def test_a_hub_that_finds_it_in_the_database_goes_on_with_the_people_it_knew(
    database: Database, tmp_path: Path
) -> None:
    signers = Signers(at=datetime.now(UTC).replace(microsecond=0))
    (tmp_path / "root.json").write_bytes(signers.roots[1])
    hub = Hub(db=database, root=signers.roots[1], key=signers.keys["online"])
    trust = HubTrust(tmp_path / "root.json")
    publish(hub, offered(signers, 1), by=BY, now=signers.at)
    with database.transaction() as work:
        assert trust.people(work, now=signers.at) is not None
    people, because = TWICE["a person"]
    signed = packed(signers.signed_set(2, files=signers.targets(2, **{PEOPLE: people})))
    sql(database, "UPDATE publication SET digest = 'x', files = %(files)s",
        files=msgspec.msgpack.encode(signed))  # fmt: skip
    with database.transaction() as work:
        found = trust.people(work, now=signers.at)
    assert found is not None
    assert found.persons[0].name == "person-1"
    assert because in trust.trouble
