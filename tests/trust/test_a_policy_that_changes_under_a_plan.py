"""A plan that was shown under one policy is not approvable under the next, whoever is faster."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.errors import RefusedError
from appliance.records import Mode
from appliance.trust_files import ONLINE, POLICY
from hub.approve import Answerer, approve
from hub.dispatch import OrderDesk
from hub.errors import ApprovalError, MoveError
from hub.persist.database import Database
from hub.persist.outbox import actor
from hub.persist.status import beat
from hub.pipeline import Pipeline
from hub.publish import Hub, publish
from hub.trust import HubTrust
from hub.validate import Gate
from policy import signed
from policy.bundle import read_folder, refusal
from policy.errors import PolicyError
from policy.evaluate import EchoReader
from tests.hub.builders import NOW, OPERATORS, PID, outbox, proposed, sql, state_of
from tests.trust.signers import Signers

pytestmark = pytest.mark.postgres

KILL = f"kill -TERM {PID}"
WHO = Answerer(name="operator-1", role="operator", session="s1")
_RULES = read_folder()
_POLICIES: dict[int, bytes] = {}


def rules(sequence: int) -> bytes:
    """The shipped rules, each sequence with another comment."""
    if sequence not in _POLICIES:
        files = {**_RULES, "99-site.toml": f"# {sequence}\n".encode()}
        _POLICIES[sequence] = signed.payload(files, sequence=sequence)
    return _POLICIES[sequence]


class Site:
    """A hub with published trust, and plans that wait."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db, self.signers = db, Signers(at=NOW, operators=OPERATORS)
        (folder / "root.json").write_bytes(self.signers.roots[1])
        self.hub = Hub(db=db, root=self.signers.roots[1], key=self.signers.keys["online"])
        nothing = refusal(PolicyError("never used", file="x", line=0))
        self.pipeline = Pipeline(
            db=db,
            gate=Gate(bundle=nothing, second=EchoReader()),
            desk=OrderDesk(
                key=Ed25519PrivateKey.generate(),
                vkey="",
                valid_for=timedelta(minutes=5),
                command_timeout_s=5,
            ),
            mode=Mode.LIVE,
            answer_within=timedelta(hours=1),
            report_within=timedelta(minutes=10),
            trust=HubTrust(folder / "root.json"),
        )
        db.people = self.pipeline.trust
        self.version = 0

    def publish(self, *, kept: bool = False) -> None:
        """The next version; with `kept` only people change, the policy stays."""
        self.version += 1
        sequence = self.version - 1 if kept else self.version
        files = self.signers.targets(self.version, **{POLICY: rules(sequence)})
        whole = self.signers.signed_set(self.version, files=files)
        offered = {name: data for name, data in whole.items() if name not in ONLINE[:2]}
        publish(self.hub, offered, by=actor("operator", "anna"), now=NOW)

    def awaiting(self) -> str:
        incident_id, _ = proposed(self.db, KILL)
        self.pipeline.turn(NOW)
        assert state_of(self.db, incident_id) == "awaiting"
        return incident_id

    def shown(self, incident_id: str) -> dict[str, object]:
        (row,) = sql(
            self.db,
            "SELECT shown_digest, policy_digest, shown FROM judgement"
            " WHERE incident_id = %(incident_id)s",
            incident_id=incident_id,
        )
        return row

    def yes(self, incident_id: str, digest: object) -> None:
        approve(
            self.db,
            incident_id=incident_id,
            who=WHO,
            shown_digest=str(digest),
            comment="",
            now=NOW,
            signature=OPERATORS[0].sign(str(digest)),
        )


@pytest.fixture
def site(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    beat(database, part="notary", instance="n1", detail={})
    monkeypatch.setattr("hub.persist.status.NOTARY_SILENT", timedelta(days=100_000))
    monkeypatch.setattr("hub.persist.status.OUTBOX_LATE", timedelta(days=100_000))
    made = Site(database, tmp_path)
    made.publish()
    return made


def test_a_plan_is_judged_by_the_policy_that_is_published(site: Site) -> None:
    row = site.shown(site.awaiting())
    (in_force,) = sql(site.db, "SELECT digest, sequence FROM policy_in_force")
    assert row["policy_digest"] == in_force["digest"]
    assert row["shown"]["policy_sequence"] == in_force["sequence"] == 1  # type: ignore[index]


def test_what_was_shown_under_the_old_policy_cannot_be_approved_and_is_judged_anew(
    site: Site,
) -> None:
    incident_id = site.awaiting()
    before = site.shown(incident_id)
    site.publish()
    with pytest.raises(ApprovalError, match="the policy changed since this was shown"):
        site.yes(incident_id, before["shown_digest"])
    assert state_of(site.db, incident_id) == "awaiting"
    assert sql(site.db, "SELECT 1 FROM approval") == []
    site.pipeline.turn(NOW)
    assert state_of(site.db, incident_id) == "awaiting"
    after = site.shown(incident_id)
    assert after["policy_digest"] != before["policy_digest"]
    with pytest.raises(ApprovalError, match="not what is stored now"):
        site.yes(incident_id, before["shown_digest"])
    notes = [row["note"] for row in sql(site.db, "SELECT note FROM incident_history")]
    assert "the policy changed since this was shown; it is judged anew" in notes
    site.yes(incident_id, after["shown_digest"])
    assert state_of(site.db, incident_id) == "approved"


def test_a_publication_that_leaves_the_policy_as_it_is_takes_no_plan_back(site: Site) -> None:
    incident_id = site.awaiting()
    before = site.shown(incident_id)
    site.publish(kept=True)
    site.pipeline.turn(NOW)
    assert site.shown(incident_id) == before
    site.yes(incident_id, before["shown_digest"])
    assert state_of(site.db, incident_id) == "approved"


def test_of_an_approval_and_a_publication_at_once_one_is_first(site: Site) -> None:
    """Many rounds: the yes was in time for the policy it was shown under, or it is refused."""
    for _ in range(12):
        incident_id = site.awaiting()
        said = both_at_once(site, incident_id)
        state = state_of(site.db, incident_id)
        moves = [
            line["after"]
            for line in sql(
                site.db,
                "SELECT after::text FROM incident_history WHERE incident_id = %(incident_id)s"
                " AND before = 'awaiting'",
                incident_id=incident_id,
            )
        ]
        if said == ["approved"]:
            assert (state, moves) == ("approved", ["approved"])
        else:
            assert "the policy changed since this was shown" in said[0]
            assert (state, moves) == ("awaiting", [])
        granted = [one for one in outbox(site.db) if one["type"] == "approval.grant"]
        assert len(granted) == len(sql(site.db, "SELECT 1 FROM approval"))


def both_at_once(site: Site, incident_id: str) -> list[str]:
    """What the operator heard, who said yes in the moment of the publication."""
    digest, barrier, said = site.shown(incident_id)["shown_digest"], threading.Barrier(2), []

    def say_yes() -> None:
        barrier.wait(20)
        try:
            site.yes(incident_id, digest)
            said.append("approved")
        except (ApprovalError, MoveError) as error:
            said.append(str(error))

    def change() -> None:
        barrier.wait(20)
        site.publish()

    threads = [threading.Thread(target=one) for one in (say_yes, change)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return said


@pytest.mark.parametrize("first", ["yes", "publication"])
def test_whoever_holds_the_lock_first_wins(site: Site, first: str) -> None:
    """Both orders, forced: the second waits for the first's commit and sees it."""
    incident_id = site.awaiting()
    digest = site.shown(incident_id)["shown_digest"]
    said: list[str] = []

    def say_yes() -> None:
        try:
            site.yes(incident_id, digest)
            said.append("approved")
        except RefusedError as error:
            said.append(str(error))

    if first == "yes":
        with site.db.transaction() as work:
            work.one("policy_now")  # as an approval that has not committed holds it
            other = threading.Thread(target=site.publish)
            other.start()
            _until_someone_waits(site.db)
            (row,) = sql(site.db, "SELECT sequence FROM policy_in_force")
            assert row["sequence"] == 1
        other.join(20)
        (row,) = sql(site.db, "SELECT sequence FROM policy_in_force")
        assert row["sequence"] == 2
    else:
        with site.db.transaction() as work:
            row = work.one("policy_in_force")
            assert row is not None
            work.run("take_policy", now=NOW, digest="0" * 64, sequence=2)
            other = threading.Thread(target=say_yes)
            other.start()
            _until_someone_waits(site.db)
            assert said == []
        other.join(20)
        assert said == ["the policy changed since this was shown; it is judged anew"]
        assert state_of(site.db, incident_id) == "awaiting"


def _until_someone_waits(db: Database) -> None:
    from tests.attacks.forge import wait_for  # noqa: PLC0415

    wait_for(lambda: sql(db, "SELECT 1 FROM pg_locks WHERE NOT granted"))
