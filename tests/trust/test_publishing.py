"""Putting a signed set in force at the hub: whole, once, on record, and only as signed."""

import multiprocessing
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import trust_files
from appliance.errors import RefusedError, SettingsError, TrustError
from appliance.trust_files import POLICY
from hub import policy as hub_policy
from hub.persist.database import Database
from hub.persist.outbox import actor
from hub.publish import Hub, publish, renew
from hub.settings import ServeSettings
from hub.trust import HubTrust
from policy.errors import PolicyError
from policy.evaluate import EchoReader
from policy.verdict import Ruling
from tests.hub.builders import outbox, sql
from tests.trust.signers import Signers, policy

pytestmark = pytest.mark.postgres

BY = actor("operator", "anna (command line)")


@pytest.fixture
def signers() -> Signers:
    return Signers(at=datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def hub(database: Database, signers: Signers) -> Hub:
    return Hub(db=database, root=signers.roots[1], key=signers.keys["online"])


@pytest.fixture
def trust(signers: Signers, tmp_path: Path) -> HubTrust:
    (tmp_path / "root.json").write_bytes(signers.roots[1])
    return HubTrust(tmp_path / "root.json")


def offered(signers: Signers, version: int, **changes: object) -> dict[str, bytes]:
    """What the folder of the signers has: no online part."""
    files = signers.signed_set(version, **changes)
    return {name: data for name, data in files.items() if name not in trust_files.ONLINE[:2]}


def stored(db: Database) -> list[dict[str, object]]:
    return sql(db, "SELECT digest, files, versions FROM publication") + sql(
        db, "SELECT digest, sequence FROM policy_in_force"
    )


def changes(db: Database) -> list[dict[str, object]]:
    return [row["body"] for row in outbox(db) if row["type"] == "policy.change"]


def test_a_publication_is_in_force_with_its_entry_in_the_log(
    hub: Hub, signers: Signers, trust: HubTrust
) -> None:
    belief = publish(hub, offered(signers, 1), by=BY, now=signers.at)
    assert belief is not None
    assert belief.versions == {"root": 1, "targets": 1, "snapshot": 1, "timestamp": 1}
    (entry,) = changes(hub.db)
    assert (entry["sequence"], entry["targets_version"], entry["root_version"]) == (1, 1, 1)
    assert entry["signed_by"] in ("anna, ben", "ben, anna")
    with hub.db.transaction() as work:
        found = trust.published(work)
        gate = trust.gate(work, EchoReader(), now=signers.at)
        people = trust.people(work, now=signers.at)
    assert found is not None
    assert gate.sequence == 1
    assert gate.bundle.digest == entry["policy_digest"]
    assert people is not None
    assert people.persons[0].name == "person-1"


def test_publishing_again_changes_nothing_and_is_not_told_twice(hub: Hub, signers: Signers) -> None:
    publish(hub, offered(signers, 1), by=BY, now=signers.at)
    before = stored(hub.db)
    assert publish(hub, offered(signers, 1), by=BY, now=signers.at) is None
    assert stored(hub.db) == before
    assert len(changes(hub.db)) == 1


@pytest.mark.parametrize(
    ("how", "because"),
    [
        ({"by": ("anna",)}, "targets was signed by 1/2 keys"),
        ({"by": ()}, "targets was signed by 0/2 keys"),
        ({"by": ("stranger-1", "stranger-2")}, "targets was signed by 0/2 keys"),
        ({"days": -1}, "targets is expired"),
    ],
)
def test_what_a_node_would_refuse_cannot_be_published(
    hub: Hub, signers: Signers, how: dict[str, object], because: str
) -> None:
    publish(hub, offered(signers, 1), by=BY, now=signers.at)
    before = stored(hub.db)
    with pytest.raises(TrustError, match=because):
        publish(hub, offered(signers, 2, **how), by=BY, now=signers.at)
    assert stored(hub.db) == before
    assert len(changes(hub.db)) == 1


def test_an_older_version_or_another_of_the_same_cannot_be_published(
    hub: Hub, signers: Signers
) -> None:
    publish(hub, offered(signers, 2), by=BY, now=signers.at)
    before = stored(hub.db)
    for version, files in ((1, None), (2, signers.targets(2, **{POLICY: policy(3)}))):
        with pytest.raises(RefusedError, match="version"):
            publish(hub, offered(signers, version, files=files), by=BY, now=signers.at)
    files = signers.targets(3, **{POLICY: policy(1)})
    with pytest.raises(PolicyError, match="an older policy"):
        publish(hub, offered(signers, 3, files=files), by=BY, now=signers.at)
    assert stored(hub.db) == before
    assert len(changes(hub.db)) == 1


def test_a_hub_with_another_online_key_publishes_nothing(hub: Hub, signers: Signers) -> None:
    stranger = Hub(db=hub.db, root=hub.root, key=signers.keys["stranger-1"])
    with pytest.raises(TrustError, match="timestamp was signed by 0/1 keys"):
        publish(stranger, offered(signers, 1), by=BY, now=signers.at)
    assert stored(hub.db) == []


def publish_in_a_process(work: tuple[str, dict[str, bytes], bytes, bytes], barrier, said) -> None:
    dsn, files, root, key = work
    with Database(dsn, size=1) as db:
        hub = Hub(db=db, root=root, key=Ed25519PrivateKey.from_private_bytes(key))
        barrier.wait(60)
        try:
            done = publish(hub, files, by=BY, now=datetime.now(UTC))
            said.put("already" if done is None else "published")
        except RefusedError as error:
            said.put(str(error))


@pytest.mark.parametrize("second", ["the same", "another"])
def test_of_two_processes_that_publish_at_once_one_does(
    hub: Hub, signers: Signers, second: str
) -> None:
    publish(hub, offered(signers, 1), by=BY, now=signers.at)
    other = signers.targets(2, **{POLICY: policy(2, "# of the other\n")})
    sets = [offered(signers, 2), offered(signers, 2, files=None if second == "the same" else other)]
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    key = signers.keys["online"].private_bytes_raw()
    workers = [
        context.Process(
            target=publish_in_a_process,
            args=((hub.db.dsn, files, hub.root, key), barrier, results),
        )
        for files in sets
    ]
    for worker in workers:
        worker.start()
    said = sorted(results.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join(20)
    assert "published" in said
    said.remove("published")
    refused = "two files of the same version 2"
    assert said == ["already"] if second == "the same" else refused in said[0]
    assert len(changes(hub.db)) == 2
    (row,) = sql(hub.db, "SELECT versions FROM publication")
    assert row["versions"] == {"root": 1, "targets": 2, "snapshot": 2, "timestamp": 2}


@pytest.mark.parametrize("query", ["publish", "take_policy", "offer_audit"])
def test_a_publisher_killed_in_the_middle_leaves_all_of_the_old_set(
    hub: Hub, signers: Signers, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL right after one of its writes: the transaction never commits."""
    publish(hub, offered(signers, 1), by=BY, now=signers.at)
    before, dsn = stored(hub.db), hub.db.dsn
    files, root = offered(signers, 2), hub.root
    pid = os.fork()
    if pid == 0:
        from hub.persist.database import Work  # noqa: PLC0415

        real = Work.run

        def run(self: Work, name: str, **parameters: object) -> int:
            count = real(self, name, **parameters)
            if name == query:
                os.kill(os.getpid(), signal.SIGKILL)
            return count

        Work.run = run  # type: ignore[method-assign]
        with Database(dsn, size=1) as db:
            own = Hub(db=db, root=root, key=signers.keys["online"])
            publish(own, files, by=BY, now=signers.at)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert stored(hub.db) == before
    assert len(changes(hub.db)) == 1
    assert publish(hub, files, by=BY, now=signers.at) is not None  # and it can be done again


# what lies in the database is not believed ------------------------------------------------------


def test_who_writes_the_database_puts_nothing_in_force(
    hub: Hub, signers: Signers, trust: HubTrust
) -> None:
    publish(hub, offered(signers, 1), by=BY, now=signers.at)
    (old,) = sql(hub.db, "SELECT digest, files FROM publication")
    publish(hub, offered(signers, 2), by=BY, now=signers.at)
    (row,) = sql(hub.db, "SELECT digest, files FROM publication")

    def in_force() -> str:
        with hub.db.transaction() as work:
            people = trust.people(work, now=signers.at)
        assert people is not None
        return people.persons[0].name

    assert in_force() == "person-2"
    files = msgspec.msgpack.decode(bytes(row["files"]), type=dict[str, bytes])
    people = trust_files.unpack("people.json", files["people.json"])
    forged = {**files, "people.json": trust_files.pack(people.replace(b"person-2", b"person-X"))}
    for digest, body in (
        ("forged", msgspec.msgpack.encode(forged)),
        ("noise", b"\xc1"),
        (old["digest"], bytes(old["files"])),
    ):
        sql(hub.db, "UPDATE publication SET digest = %(digest)s, files = %(body)s",
            digest=digest, body=body)  # fmt: skip
        assert in_force() == "person-2"
        assert trust.trouble
    sql(hub.db, "DELETE FROM publication")
    assert in_force() == "person-2"


def test_expired_trust_judges_nothing_allow_and_knows_nobody(
    hub: Hub, signers: Signers, trust: HubTrust
) -> None:
    publish(hub, offered(signers, 1), by=BY, now=signers.at)
    late = signers.at + timedelta(days=8)
    with hub.db.transaction() as work:
        gate = trust.gate(work, EchoReader(), now=late)
        assert trust.people(work, now=late) is None
    assert "trust expired: snapshot ended" in gate.bundle.refusal


def test_before_the_first_publication_everything_is_refused(
    hub: Hub, signers: Signers, trust: HubTrust
) -> None:
    from policy.facts import Facts  # noqa: PLC0415

    with hub.db.transaction() as work:
        gate = trust.gate(work, EchoReader(), now=signers.at)
        assert trust.people(work, now=signers.at) is None
    verdict = gate.judge("df -h", Facts())
    assert verdict.ruling is Ruling.BLOCK
    assert "nothing is published yet" in verdict.reasons[0].message


# the online part --------------------------------------------------------------------------------


def test_the_online_part_is_renewed_at_half_its_time_and_nothing_else_is(
    hub: Hub, signers: Signers, trust: HubTrust
) -> None:
    publish(hub, offered(signers, 1), by=BY, now=signers.at)
    assert renew(hub, now=signers.at + timedelta(days=3)) is None
    belief = renew(hub, now=signers.at + timedelta(days=4))
    assert belief is not None
    assert belief.versions == {"root": 1, "targets": 1, "snapshot": 2, "timestamp": 2}
    assert len(changes(hub.db)) == 1
    with hub.db.transaction() as work:
        assert trust.people(work, now=signers.at + timedelta(days=10)) is not None


def test_the_hubs_key_cannot_keep_alive_what_signers_let_end(hub: Hub, signers: Signers) -> None:
    """The most that a hub that was taken over can do: freeze, until targets expires."""
    publish(hub, offered(signers, 1, days=10), by=BY, now=signers.at)
    assert renew(hub, now=signers.at + timedelta(days=5)) is not None
    before = stored(hub.db)
    with pytest.raises(TrustError, match="targets is expired"):
        renew(hub, now=signers.at + timedelta(days=11))
    assert stored(hub.db) == before


# settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["policy", "policy_key"])
def test_a_policy_file_beside_signed_trust_stops_the_hub(name: str, tmp_path: Path) -> None:
    chosen = _settings(tmp_path, trust_root=tmp_path / "root.json", **{name: tmp_path / "x"})
    with pytest.raises(SettingsError, match=f"{name}: with trust_root it is published"):
        hub_policy.demand_one_source(chosen)


def test_an_online_key_without_a_root_stops_the_hub(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="trust_key: without trust_root"):
        hub_policy.demand_one_source(_settings(tmp_path, trust_key=tmp_path / "x"))


def _settings(tmp_path: Path, **changes: Path) -> ServeSettings:
    from appliance.channel import Identity  # noqa: PLC0415

    nothing = tmp_path / "nothing"
    return ServeSettings(
        dsn="",
        identity=Identity(certificate=nothing, key=nothing, ca=nothing),
        order_key=nothing,
        log_origin="x",
        audit_vkey=nothing,
        **changes,
    )
