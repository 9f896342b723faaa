"""A yes is a person's own signature, and as many people's as the plan's risk needs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from agent.approvals import demand_quorum, demand_signed
from appliance import records
from appliance.people import People
from appliance.records import Approval, Mode, OperatorSignature, Shown
from hub import credentials
from hub.approve import Answerer, Granted, approve, reject
from hub.dispatch import OrderDesk
from hub.errors import ApprovalError, CredentialError, MoveError
from hub.persist.database import Database, Work
from hub.persist.outbox import actor
from hub.persist.people import people_in_force, role_in_force
from hub.persist.status import beat
from hub.pipeline import Pipeline
from hub.propose import Draft, propose
from hub.validate import Gate
from policy.bundle import SHIPPED_RULES, parse_bundle, read_folder
from policy.evaluate import EchoReader
from policy.verdict import Verdict
from tests.attacks.operators import Operator, SecurityKey, TerminalKey, people
from tests.hub.builders import NOW, OPERATORS, PID, outbox, proposed, publish, sql, state_of

pytestmark = pytest.mark.postgres

KILL = f"kill -TERM {PID}"
ROOT = actor("operator", "root (command line)")


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate(bundle=parse_bundle(read_folder(SHIPPED_RULES)), second=EchoReader())


@pytest.fixture
def pipeline(database: Database, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline whose notary lives, and people who may answer."""
    publish(database)
    beat(database, part="notary", instance="n1", detail={})
    monkeypatch.setattr("hub.persist.status.NOTARY_SILENT", timedelta(days=100_000))
    monkeypatch.setattr("hub.persist.status.OUTBOX_LATE", timedelta(days=100_000))
    desk = OrderDesk(
        key=Ed25519PrivateKey.generate(), vkey="", valid_for=timedelta(minutes=5),
        command_timeout_s=5,
    )  # fmt: skip
    return Pipeline(
        db=database, gate=gate, desk=desk, mode=Mode.LIVE, answer_within=timedelta(hours=1),
        report_within=timedelta(minutes=10),
    )  # fmt: skip


@pytest.fixture
def risky(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The policy calls the risk of everything high."""
    monkeypatch.setattr(Verdict, "risk", "high", raising=False)
    return


@pytest.fixture
def waiting(database: Database, pipeline: Pipeline) -> str:
    """An incident that waits for an answer."""
    incident_id, _ = proposed(database, KILL)
    pipeline.turn(NOW)
    return incident_id


def shown_of(db: Database, incident_id: str) -> tuple[Shown, str]:
    with db.transaction() as work:
        row = work.one("lock_judgement", incident_id=incident_id)
    assert row is not None
    return records.from_builtins(row["shown"], Shown), row["shown_digest"]


UNSAID: Any = object()


def yes(
    db: Database,
    incident_id: str,
    *,
    by: int = 0,
    key: int = 0,
    signature: OperatorSignature | None = UNSAID,
    **signing: Any,
) -> Granted:
    who, (_, digest) = OPERATORS[by], shown_of(db, incident_id)
    if signature is UNSAID:
        signature = who.sign(digest, key=key, **signing)
    return approve(
        db, incident_id=incident_id, who=Answerer(name=who.name, role="admin", session="s"),
        shown_digest=digest, comment="", now=NOW, signature=signature,
    )  # fmt: skip


def refused(db: Database, incident_id: str, because: str, **asked: Any) -> None:
    """It is refused in these words; nothing is granted, and nothing of it is remembered."""
    before = [row["type"] for row in outbox(db)]
    with pytest.raises(ApprovalError, match=because):
        yes(db, incident_id, **asked)
    assert state_of(db, incident_id) == "awaiting"
    assert [row["type"] for row in outbox(db)] == before
    assert sql(db, "SELECT * FROM approval") == []
    assert sql(db, "SELECT * FROM credential_use") == []


@pytest.mark.parametrize("key", [0, 1], ids=["terminal key", "security key"])
def test_a_yes_is_logged_with_its_credential_and_the_digest_of_its_signature(
    database: Database, waiting: str, key: int
) -> None:
    granted = yes(database, waiting, key=key)
    assert granted.enough
    assert state_of(database, waiting) == "approved"
    (entry,) = [row for row in outbox(database) if row["type"] == "approval.grant"]
    signature = granted.approval.signature
    assert signature is not None
    assert entry["body"]["credential_id"] == signature.credential_id
    assert entry["body"]["signature_digest"] == records.digest_of(signature)
    assert entry["body"]["approval_digest"] == records.digest_of(granted.approval)
    assert (entry["body"]["given"], entry["body"]["needed"]) == (1, 1)


@pytest.mark.parametrize("key", [0, 1])
def test_what_the_hub_takes_the_node_takes(database: Database, waiting: str, key: int) -> None:
    yes(database, waiting, key=key)
    (row,) = sql(database, "SELECT body FROM approval")
    approval = records.from_builtins(row["body"], Approval)
    shown, _ = shown_of(database, waiting)

    class Sent:
        """An order, as far as these checks look at it."""

        approvals = (structs.replace(records.Logged(approval=approval, entry="", proof="")),)

    Sent.shown = shown  # type: ignore[attr-defined]
    demand_signed(Sent, people(*OPERATORS))  # type: ignore[arg-type]
    demand_quorum(Sent, people(*OPERATORS), ["low"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "because"),
    [
        ({"signature": None}, "operator-1 has not signed"),
        ({"signature": OPERATORS[1].sign("0" * 64)}, "no such credential"),
        ({"signature": OPERATORS[0].sign("0" * 64)}, "did not sign this"),
        ({"signature": OPERATORS[0].sign("0" * 64, key=1)}, "challenge"),
        ({"signature": Operator("operator-1").sign("0" * 64)}, "no such credential"),
        ({"key": 1, "flags": 1}, "not verified"),
        ({"key": 1, "origin": "https://evil.test"}, "origin"),
        ({"key": 1, "rp_id": "evil.test"}, "RP ID"),
        ({"by": 2}, "may look, not answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # keys are new in each process
)
def test_a_yes_that_is_not_this_persons_own_is_refused(
    database: Database, waiting: str, asked: dict[str, Any], because: str
) -> None:
    refused(database, waiting, because, **asked)


def test_the_signature_of_another_plan_is_not_one_of_this(
    database: Database, pipeline: Pipeline, waiting: str
) -> None:
    other, _ = proposed(database, KILL)
    pipeline.turn(NOW)
    used = yes(database, other, key=1).approval.signature
    with pytest.raises(ApprovalError, match="challenge"):
        yes(database, waiting, signature=used)
    assert state_of(database, waiting) == "awaiting"


def test_a_role_is_what_the_published_list_says_not_what_the_database_row_says(
    database: Database, waiting: str
) -> None:
    """`yes` answers as somebody whose row says admin."""
    refused(database, waiting, "may look", by=2)
    with database.transaction() as work:
        assert role_in_force(work, "operator-1", row="viewer") == "operator"
        assert role_in_force(work, "somebody-else", row="admin") == "viewer"


def test_while_nobody_is_published_nobody_may_approve(database: Database, waiting: str) -> None:
    sql(database, "DELETE FROM people_in_force")
    refused(database, waiting, "publish people.json")
    with database.transaction() as work:
        assert people_in_force(work) is None
        assert role_in_force(work, "anybody", row="admin") == "admin"


@dataclass
class Signed:
    """People as signed trust names them."""

    named: People | None

    def people(self, work: Work, *, now: datetime) -> People | None:
        return self.named


def test_where_signed_trust_names_the_people_no_row_of_the_database_does(
    database: Database, waiting: str
) -> None:
    database.people = Signed(people(OPERATORS[1]))
    refused(database, waiting, "may look, not answer", by=0)
    database.people = Signed(None)
    refused(database, waiting, "publish people.json", by=1)
    database.people = Signed(people(OPERATORS[1]))
    assert yes(database, waiting, by=1).enough


def test_an_authenticator_whose_counter_goes_back_is_refused_on_the_hub(
    database: Database, pipeline: Pipeline, waiting: str
) -> None:
    key = SecurityKey(count=10)
    one = Operator("operator-1", keys=[key])
    publish(database, one)
    other, _ = proposed(database, KILL)
    pipeline.turn(NOW)
    yes(database, other, signature=one.sign(shown_of(database, other)[1]))
    key.count = 5  # a copy that was used less
    with pytest.raises(ApprovalError, match="sign count"):
        yes(database, waiting, signature=one.sign(shown_of(database, waiting)[1]))
    assert state_of(database, waiting) == "awaiting"
    key.count = 11
    assert yes(database, waiting, signature=one.sign(shown_of(database, waiting)[1])).enough


def test_two_people_approve_what_is_risky_and_the_first_yes_runs_nothing(
    database: Database, risky: None, waiting: str, pipeline: Pipeline
) -> None:
    first = yes(database, waiting, by=0)
    assert (first.given, first.needed, first.enough) == (1, 2, False)
    pipeline.turn(NOW)
    assert state_of(database, waiting) == "awaiting"
    history = sql(database, "SELECT note FROM incident_history ORDER BY history_id")
    assert history[-1]["note"] == "1 of 2, waits for another operator."
    second = yes(database, waiting, by=1, key=1)
    assert (second.given, second.enough) == (2, True)
    assert state_of(database, waiting) == "approved"
    grants = [row["body"]["given"] for row in outbox(database) if row["type"] == "approval.grant"]
    assert grants == [1, 2]


def test_nobody_says_yes_twice(database: Database, risky: None, waiting: str) -> None:
    yes(database, waiting)
    with pytest.raises(ApprovalError, match="you said yes already"):
        yes(database, waiting, key=1)
    assert state_of(database, waiting) == "awaiting"
    assert len(sql(database, "SELECT * FROM approval")) == 1


def test_a_half_approved_plan_expires_and_runs_nothing(
    database: Database, risky: None, waiting: str, pipeline: Pipeline
) -> None:
    yes(database, waiting)
    pipeline.turn(NOW + timedelta(hours=2))
    assert state_of(database, waiting) == "expired"
    (last,) = sql(database, "SELECT note FROM incident_history ORDER BY history_id DESC LIMIT 1")
    assert last["note"] == "only 1 said yes in time; nothing was run"
    with pytest.raises(MoveError, match="it is expired"):
        yes(database, waiting, by=1)
    assert sql(database, "SELECT * FROM exec_order") == []


def test_a_half_approved_plan_can_be_rejected_by_another(
    database: Database, risky: None, waiting: str
) -> None:
    yes(database, waiting)
    reject(
        database, incident_id=waiting, who=Answerer(name="operator-2", role="x", session="s"),
        shown_digest=shown_of(database, waiting)[1], comment="no", now=NOW,
    )  # fmt: skip
    assert state_of(database, waiting) == "rejected"


def test_when_the_list_asks_for_more_people_than_were_told_the_yes_is_refused(
    database: Database, waiting: str
) -> None:
    publish(database, quorum={"low": 2, "high": 2})
    refused(database, waiting, "now 2 people must approve its like")


def test_without_keys_a_site_says_so_in_the_published_list_and_in_no_other_place(
    database: Database, waiting: str
) -> None:
    refused(database, waiting, "has not signed", signature=None)
    publish(database, password_only=True)
    granted = yes(database, waiting, signature=None)
    assert granted.enough
    (entry,) = [row for row in outbox(database) if row["type"] == "approval.grant"]
    assert entry["body"]["signature_digest"] is None


def test_where_passwords_are_enough_a_signature_that_is_wrong_is_still_wrong(
    database: Database, waiting: str
) -> None:
    publish(database, password_only=True)
    refused(database, waiting, "did not sign", signature=OPERATORS[0].sign("0" * 64))


# plans that operators write --------------------------------------------------------------------


def draft(*commands: str, undos: tuple[str, ...] = ()) -> Draft:
    return Draft(commands=commands, purpose="end it gently", undos=undos)


FIRST = Answerer(name="operator-1", role="operator", session="s1")


def test_what_an_operator_writes_is_judged_as_any_and_approved_by_another(
    database: Database, waiting: str, pipeline: Pipeline
) -> None:
    before, _ = shown_of(database, waiting)
    plan = propose(database, incident_id=waiting, who=FIRST, draft=draft("uptime", KILL), now=NOW)
    assert state_of(database, waiting) == "proposed"
    pipeline.turn(NOW)
    after, _ = shown_of(database, waiting)
    assert (after.plan_id, after.author) == (plan.plan_id, "operator-1")
    assert after.nonce != before.nonce
    assert [step.command for step in after.steps] == ["uptime", KILL]
    refused(database, waiting, "you wrote this plan", by=0)
    assert yes(database, waiting, by=1).enough
    kinds = [(row["type"], row["actor"]["id"]) for row in outbox(database)]
    assert ("plan.proposed", "operator-1") in kinds


def test_what_the_policy_does_not_allow_does_not_become_allowed_by_who_writes_it(
    database: Database, waiting: str, pipeline: Pipeline
) -> None:
    propose(database, incident_id=waiting, who=FIRST, draft=draft("rm -rf /"), now=NOW)
    pipeline.turn(NOW)
    assert state_of(database, waiting) == "manual"
    propose(database, incident_id=waiting, who=FIRST, draft=draft(KILL), now=NOW)
    pipeline.turn(NOW)
    assert state_of(database, waiting) == "awaiting"


def test_a_yes_to_the_plan_before_does_not_count_for_the_one_that_replaced_it(
    database: Database, risky: None, waiting: str, pipeline: Pipeline
) -> None:
    _, old = shown_of(database, waiting)
    yes(database, waiting, by=1)
    propose(database, incident_id=waiting, who=FIRST, draft=draft(KILL), now=NOW)
    with pytest.raises(MoveError):
        yes(database, waiting, by=1)
    pipeline.turn(NOW)
    with pytest.raises(ApprovalError, match="not what is stored"):
        approve(
            database, incident_id=waiting, shown_digest=old, comment="", now=NOW,
            who=Answerer(name="operator-2", role="admin", session="s"),
            signature=OPERATORS[1].sign(old),
        )  # fmt: skip
    granted = yes(database, waiting, by=1)
    assert (granted.given, granted.enough) == (1, False)
    assert state_of(database, waiting) == "awaiting"


@pytest.mark.parametrize(
    ("bad", "because"),
    [
        (draft(), "1 to 8 commands"),
        (draft(" ", ""), "1 to 8 commands"),
        (draft(*["uptime"] * 9), "1 to 8 commands"),
        (draft("uptime", "df", undos=("true",)), "2 commands and 1 lines of undo"),
        (draft("x" * 5000), "not a plan"),
        (replace(draft("uptime"), purpose=" "), "what the commands are for"),
    ],
)
def test_a_draft_that_is_no_plan_changes_nothing(
    database: Database, waiting: str, bad: Draft, because: str
) -> None:
    before = shown_of(database, waiting)
    with pytest.raises(ApprovalError, match=because):
        propose(database, incident_id=waiting, who=FIRST, draft=bad, now=NOW)
    assert state_of(database, waiting) == "awaiting"
    assert shown_of(database, waiting) == before


def test_a_newline_after_the_last_undo_is_no_undo(
    database: Database, waiting: str, pipeline: Pipeline
) -> None:
    written = draft("uptime", KILL, undos=("", "df", "", ""))
    propose(database, incident_id=waiting, who=FIRST, draft=written, now=NOW)
    pipeline.turn(NOW)
    assert [step.undo for step in shown_of(database, waiting)[0].steps] == [None, "df"]


def test_undos_belong_to_their_commands_and_raise_the_risk(
    database: Database, waiting: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Verdict, "risk", property(lambda one: "high" if one.text == "df" else "low"), raising=False
    )
    propose(
        database, incident_id=waiting, who=FIRST, draft=draft("uptime", KILL, undos=("", "df")),
        now=NOW,
    )  # fmt: skip
    pipeline.turn(NOW)
    shown, _ = shown_of(database, waiting)
    assert [step.undo for step in shown.steps] == [None, "df"]
    assert [step.risk for step in shown.steps] == ["low", "high"]
    assert shown.approvals_needed == 2


@pytest.mark.parametrize("state", ["approved", "expired"])
def test_a_plan_that_waits_for_nobody_is_not_replaced(
    database: Database, waiting: str, pipeline: Pipeline, state: str
) -> None:
    if state == "approved":
        yes(database, waiting)
    else:
        pipeline.turn(NOW + timedelta(hours=2))
    with pytest.raises(MoveError, match=f"is {state}"):
        propose(database, incident_id=waiting, who=FIRST, draft=draft(KILL), now=NOW)
    assert state_of(database, waiting) == state


# keys ------------------------------------------------------------------------------------------


def test_a_key_waits_for_an_administrator_other_than_its_owner(database: Database) -> None:
    key = TerminalKey().credential
    credentials.request(database, owner="anna", credential=key, by=ROOT, now=NOW)
    with pytest.raises(CredentialError, match="nobody approves their own key"):
        credentials.approve(
            database, credential_id=key.credential_id, admin="anna", by=ROOT, now=NOW
        )
    assert credentials.approve(
        database, credential_id=key.credential_id, admin="bert", by=ROOT, now=NOW
    ) == "anna"  # fmt: skip
    with pytest.raises(CredentialError, match="does not wait"):
        credentials.approve(
            database, credential_id=key.credential_id, admin="carl", by=ROOT, now=NOW
        )
    assert [row["type"] for row in outbox(database)] == ["credential.request", "credential.approve"]


def test_one_key_is_one_persons_once(database: Database) -> None:
    key = SecurityKey()
    credentials.request(database, owner="anna", credential=key.credential, by=ROOT, now=NOW)
    copies = (key.credential, SecurityKey(key=key.key, raw_id=b"other").credential)
    for copy in copies:
        with pytest.raises(CredentialError, match="known already"):
            credentials.request(database, owner="bert", credential=copy, by=ROOT, now=NOW)
    assert len(sql(database, "SELECT * FROM credential")) == 1


def test_a_person_has_so_many_keys_and_no_more(database: Database) -> None:
    for _ in range(16):
        credentials.request(
            database, owner="anna", credential=TerminalKey().credential, by=ROOT, now=NOW
        )
    with pytest.raises(CredentialError, match="at most 16"):
        credentials.request(
            database, owner="anna", credential=TerminalKey().credential, by=ROOT, now=NOW
        )


def test_a_key_approved_here_does_not_count_before_it_is_published(
    database: Database, waiting: str
) -> None:
    new = Operator("operator-1")
    (credential,) = new.person.credentials
    credentials.request(database, owner="operator-1", credential=credential, by=ROOT, now=NOW)
    credentials.approve(
        database, credential_id=credential.credential_id, admin="operator-2", by=ROOT, now=NOW
    )
    digest = shown_of(database, waiting)[1]
    refused(database, waiting, "no such credential", signature=new.sign(digest))
    publish(database, new)
    assert yes(database, waiting, signature=new.sign(digest)).enough


def test_a_revoked_key_counts_no_longer_though_it_is_published_still(
    database: Database, waiting: str
) -> None:
    credential = OPERATORS[0].person.credentials[0]
    credentials.request(database, owner="operator-1", credential=credential, by=ROOT, now=NOW)
    with pytest.raises(CredentialError, match="not a key of yours"):
        credentials.revoke(
            database, credential_id=credential.credential_id, by=ROOT, now=NOW, owner="operator-2"
        )
    credentials.revoke(
        database, credential_id=credential.credential_id, by=ROOT, now=NOW, owner="operator-1"
    )
    refused(database, waiting, "this key was revoked")
    with pytest.raises(CredentialError, match="revoked already"):
        credentials.revoke(database, credential_id=credential.credential_id, by=ROOT, now=NOW)
    assert yes(database, waiting, key=1).enough
