"""Who may say yes, to what, and until when."""

import dataclasses
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from appliance.records import Mode
from hub.approve import Answerer, Granted, approve, close, reject
from hub.dispatch import OrderDesk
from hub.errors import ApprovalError, MoveError, NotaryError
from hub.manual import Done, record_manual
from hub.persist.database import Database
from hub.persist.ingest import store_events
from hub.persist.status import beat
from hub.pipeline import Pipeline
from hub.validate import Gate
from policy.bundle import SHIPPED_RULES, parse_bundle, read_folder
from policy.evaluate import EchoReader
from policy.windows import window
from tests.hub.builders import (
    NOW,
    OPERATORS,
    PID,
    cleared,
    outbox,
    proposed,
    publish,
    received,
    state_of,
)

pytestmark = pytest.mark.postgres

FIRST = Answerer(name="operator-1", role="operator", session="s1")
SECOND = Answerer(name="operator-2", role="admin", session="s2")
KILL = f"kill -TERM {PID}"


@pytest.fixture(scope="module")
def gate() -> Gate:
    """The shipped policy; the second reader has its own tests."""
    return Gate(bundle=parse_bundle(read_folder(SHIPPED_RULES)), second=EchoReader())


@pytest.fixture
def pipeline(database: Database, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline whose notary lives, and people who may answer."""
    publish(database)
    beat(database, part="notary", instance="n1", detail={})
    monkeypatch.setattr("hub.persist.status.NOTARY_SILENT", timedelta(days=100_000))
    monkeypatch.setattr("hub.persist.status.OUTBOX_LATE", timedelta(days=100_000))
    desk = OrderDesk(
        key=Ed25519PrivateKey.generate(),
        vkey="",
        valid_for=timedelta(minutes=5),
        command_timeout_s=5,
    )
    return Pipeline(
        db=database,
        gate=gate,
        desk=desk,
        mode=Mode.LIVE,
        answer_within=timedelta(hours=1),
        report_within=timedelta(minutes=10),
    )


def _digest(db: Database, incident_id: str) -> str:
    with db.transaction() as work:
        row = work.one("lock_judgement", incident_id=incident_id)
    assert row is not None
    return str(row["shown_digest"])


def _yes(db: Database, incident_id: str, **changes: object) -> Granted:
    digest = _digest(db, incident_id)
    values = {
        "incident_id": incident_id,
        "who": FIRST,
        "shown_digest": digest,
        "comment": "",
        "now": NOW,
        "signature": OPERATORS[0].sign(digest),
    }
    return approve(db, **{**values, **changes})  # type: ignore[arg-type]


def test_a_plan_of_allowed_commands_waits_for_an_answer(
    database: Database, pipeline: Pipeline
) -> None:
    incident_id, _ = proposed(database, KILL)
    pipeline.turn(NOW)
    assert state_of(database, incident_id) == "awaiting"
    _yes(database, incident_id)
    assert state_of(database, incident_id) == "approved"
    assert "approval.grant" in [row["type"] for row in outbox(database)]


@pytest.mark.parametrize(("hour", "state"), [(NOW.hour, "awaiting"), (NOW.hour + 1, "manual")])
def test_a_rule_with_a_change_window_waits_for_an_answer_only_while_it_is_open(
    database: Database, pipeline: Pipeline, hour: int, state: str
) -> None:
    bundle = pipeline.gate.bundle
    rule = bundle.commands["kill"]
    forms = tuple(structs.replace(form, change_window=True) for form in rule.forms)
    windowed = structs.replace(
        bundle,
        commands={**bundle.commands, "kill": structs.replace(rule, forms=forms)},
        windows=(window([], f"{hour:02}:00", f"{hour:02}:59"),),
    )
    gate = Gate(bundle=windowed, second=EchoReader())
    incident_id, _ = proposed(database, KILL)
    dataclasses.replace(pipeline, gate=gate).turn(NOW)
    assert state_of(database, incident_id) == state


@pytest.mark.parametrize(
    "commands",
    [
        ("rm -rf /",),
        (KILL, "reboot"),
        ("frobnicate --all",),
        (f"kill -TERM {PID + 1}",),
        (),
    ],
)
def test_a_plan_with_one_command_that_is_not_allowed_goes_to_a_person_and_cannot_be_approved(
    database: Database, pipeline: Pipeline, commands: tuple[str, ...]
) -> None:
    incident_id, _ = proposed(database, *commands)
    pipeline.turn(NOW)
    assert state_of(database, incident_id) == "manual"
    with pytest.raises(MoveError, match="it is manual"):
        _yes(database, incident_id)
    assert state_of(database, incident_id) == "manual"


def test_an_approval_of_something_else_than_what_is_stored_is_refused(
    database: Database, pipeline: Pipeline
) -> None:
    incident_id, _ = proposed(database, KILL)
    pipeline.turn(NOW)
    with pytest.raises(ApprovalError, match="not what is stored"):
        _yes(database, incident_id, shown_digest="0" * 64)
    assert state_of(database, incident_id) == "awaiting"


def test_a_viewer_cannot_answer(database: Database, pipeline: Pipeline) -> None:
    incident_id, _ = proposed(database, KILL)
    pipeline.turn(NOW)
    with pytest.raises(ApprovalError, match="may look"):
        _yes(database, incident_id, who=Answerer(name="viewer-1", role="viewer", session="s"))
    assert state_of(database, incident_id) == "awaiting"


def test_nobody_can_approve_while_the_notary_is_silent(
    database: Database, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident_id, _ = proposed(database, KILL)
    pipeline.turn(NOW)
    monkeypatch.setattr("hub.persist.status.NOTARY_SILENT", timedelta(seconds=-(10**9)))
    with pytest.raises(NotaryError, match="approvals are closed"):
        _yes(database, incident_id)
    assert state_of(database, incident_id) == "awaiting"


def test_silence_is_never_a_yes(database: Database, pipeline: Pipeline) -> None:
    incident_id, _ = proposed(database, KILL)
    pipeline.turn(NOW)
    late = NOW + timedelta(hours=1, seconds=1)
    with pytest.raises(ApprovalError, match="expired"):
        _yes(database, incident_id, now=late)
    pipeline.turn(late)
    assert state_of(database, incident_id) == "expired"
    with pytest.raises(MoveError):
        _yes(database, incident_id, now=late)


def test_an_incident_that_recovers_leaves_the_queue(database: Database, pipeline: Pipeline) -> None:
    incident_id, one = proposed(database, KILL)
    pipeline.turn(NOW)
    store_events(database, [received(cleared(one))], now=NOW)
    assert state_of(database, incident_id) == "recovered"
    with pytest.raises(MoveError, match="it is recovered"):
        _yes(database, incident_id)


def _race(*calls: Callable[[], object]) -> list[BaseException | None]:
    """Run all at once; what each raised."""
    raised: list[BaseException | None] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(index: int, call: Callable[[], object]) -> None:
        start.wait()
        try:
            call()
        except MoveError as error:
            raised[index] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_of_two_operators_who_approve_and_reject_at_once_exactly_one_wins(
    database: Database, pipeline: Pipeline
) -> None:
    for _ in range(5):
        incident_id, _ = proposed(database, KILL)
        pipeline.turn(NOW)
        digest = _digest(database, incident_id)
        raised = _race(
            lambda incident_id=incident_id: _yes(database, incident_id),  # type: ignore[misc]
            lambda incident_id=incident_id, digest=digest: reject(  # type: ignore[misc]
                database,
                incident_id=incident_id,
                who=SECOND,
                shown_digest=digest,
                comment="no",
                now=NOW,
            ),
        )
        assert sum(error is None for error in raised) == 1
        expected = "approved" if raised[0] is None else "rejected"
        assert state_of(database, incident_id) == expected


def test_of_two_approvals_exactly_one_counts(database: Database, pipeline: Pipeline) -> None:
    incident_id, _ = proposed(database, KILL)
    pipeline.turn(NOW)
    raised = _race(*[lambda: _yes(database, incident_id)] * 4)
    assert sum(error is None for error in raised) == 1
    assert [row["type"] for row in outbox(database)].count("approval.grant") == 1


def test_closing_by_hand_needs_a_note_and_manual_steps_are_recorded(
    database: Database, pipeline: Pipeline
) -> None:
    incident_id, _ = proposed(database, "reboot")
    pipeline.turn(NOW)
    done = Done(command="reboot", outcome="worked", output="it is up again")
    record_manual(database, incident_id=incident_id, who=FIRST, done=done, now=NOW)
    with pytest.raises(ApprovalError, match="note"):
        close(database, incident_id=incident_id, who=FIRST, note=" ", now=NOW)
    close(database, incident_id=incident_id, who=FIRST, note="rebooted", now=NOW)
    assert state_of(database, incident_id) == "closed"
    types = [row["type"] for row in outbox(database)]
    assert types.count("manual.step") == 1
    assert types[-1] == "incident.close"


def test_the_shipped_policy_is_the_one_in_the_repository(repository: Path) -> None:
    assert repository / "policy" / "rules.d" == SHIPPED_RULES
