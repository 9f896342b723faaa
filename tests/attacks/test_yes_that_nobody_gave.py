"""The adversary owns the hub and wants a yes that people did not give. The node says no.

Everything else about each order is right: signed, logged, allowed by the policy. Each test asserts
that "6 approval" refused *and* that nothing ran.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from appliance import records
from appliance.people import People, statement
from appliance.records import Approval, Mode, Order, Outcome, Report, Shown
from policy.verdict import Verdict
from tests.attacks.forge import Forge, changed
from tests.attacks.operators import PRESENT, Operator, SecurityKey, TerminalKey, people

STEP = "6 approval"
Victim = subprocess.Popen[bytes]


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    one = Forge(tmp_path)
    yield one
    one.log.close()


@pytest.fixture
def victim() -> Iterator[Victim]:
    """A process that an order would end."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def risky(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's own policy calls the risk of everything high."""
    monkeypatch.setattr(Verdict, "risk", "high", raising=False)


def ordered(
    forge: Forge, victim: Victim, *give: Callable[[Shown], Approval], **changes: Any
) -> Order:
    """An order to end the victim with these approvals, each in the log."""
    finding = forge.finding(victim.pid)
    shown = forge.shown(finding, f"kill -TERM {victim.pid}", **changes)
    approvals = [one(shown) for one in give]
    logged = forge.logged(shown, *approvals)
    first = (logged[0].entry, logged[0].proof)
    return forge.order(finding, shown=shown, approval=approvals[0], logged=first, approvals=logged)


def refused(report: Report, victim: Victim, *, because: str, step: str = STEP) -> None:
    """The named step said no, in these words; nothing ran; the victim lives."""
    assert report.outcome is Outcome.REFUSED, report
    assert report.refused_step == step, report
    assert because in report.reason, report.reason
    assert report.steps == ()
    assert victim.poll() is None


def ran(report: Report, victim: Victim) -> None:
    assert report.outcome is Outcome.SUCCEEDED, report
    assert victim.wait(5) == -15


@pytest.mark.parametrize("key", [0, 1], ids=["terminal key", "security key"])
def test_a_yes_signed_by_its_person_runs(forge: Forge, victim: Victim, key: int) -> None:
    ran(forge.give(ordered(forge, victim, lambda shown: forge.approve(shown, key=key))), victim)


def test_a_yes_without_a_signature_runs_nothing(forge: Forge, victim: Victim) -> None:
    order = ordered(forge, victim, lambda shown: forge.approve(shown, signature=None))
    refused(forge.give(order), victim, because="operator-1 has not signed")


@pytest.mark.parametrize("key", [0, 1])
def test_a_yes_in_one_name_signed_with_another_persons_key_runs_nothing(
    forge: Forge, victim: Victim, key: int
) -> None:
    def give(shown: Shown) -> Approval:
        challenge = statement("approve", operator="operator-1", digest=records.digest_of(shown))
        return forge.approve(shown, signature=forge.operators[1].keys[key].sign(challenge))

    refused(forge.give(ordered(forge, victim, give)), victim, because="no such credential")


@pytest.mark.parametrize("key", [0, 1])
def test_a_signature_under_the_id_of_a_known_credential_by_another_key_runs_nothing(
    forge: Forge, victim: Victim, key: int
) -> None:
    def give(shown: Shown) -> Approval:
        digest = records.digest_of(shown)
        mine, theirs = forge.operators[0].sign(digest, key=key), forge.operators[1]
        challenge = statement("approve", operator="operator-1", digest=digest)
        stolen = structs.replace(theirs.keys[key].sign(challenge), credential_id=mine.credential_id)
        return forge.approve(shown, signature=stolen)

    refused(forge.give(ordered(forge, victim, give)), victim, because="operator-1")


@pytest.mark.parametrize("key", [0, 1])
@pytest.mark.parametrize(
    "other",
    [
        {"plan_id": "another-plan"},
        {"node": "h2.test"},
        {"mode": Mode.DRY_RUN},
        {"nonce": "another-time"},
        {"not_after": datetime(2030, 1, 1, tzinfo=UTC)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_signature_over_another_plan_node_mode_or_time_runs_nothing(
    forge: Forge, victim: Victim, key: int, other: dict[str, Any]
) -> None:
    def give(shown: Shown) -> Approval:
        signed = forge.operators[0].sign(records.digest_of(changed(shown, **other)), key=key)
        return forge.approve(shown, signature=signed)

    refused(forge.give(ordered(forge, victim, give)), victim, because="operator-1")


@pytest.mark.parametrize("key", [0, 1])
def test_a_signature_for_another_act_runs_nothing(forge: Forge, victim: Victim, key: int) -> None:
    def give(shown: Shown) -> Approval:
        who, digest = forge.operators[0], records.digest_of(shown)
        challenge = statement("resume", operator=who.name, digest=digest)
        return forge.approve(shown, signature=who.keys[key].sign(challenge))

    refused(forge.give(ordered(forge, victim, give)), victim, because="operator-1")


@pytest.mark.parametrize("made", [TerminalKey, SecurityKey])
def test_a_credential_that_is_on_no_list_runs_nothing(
    forge: Forge, victim: Victim, made: type[TerminalKey | SecurityKey]
) -> None:
    stranger = Operator("operator-1", keys=[made()])

    def give(shown: Shown) -> Approval:
        return forge.approve(shown, signature=stranger.sign(records.digest_of(shown)))

    refused(forge.give(ordered(forge, victim, give)), victim, because="no such credential")


def test_a_person_who_is_on_no_list_runs_nothing(forge: Forge, victim: Victim) -> None:
    forge.operators.append(Operator("mallory"))
    order = ordered(forge, victim, lambda shown: forge.approve(shown, by=3))
    refused(forge.give(order), victim, because="mallory is not among the people")


def test_a_viewers_yes_runs_nothing(forge: Forge, victim: Victim) -> None:
    order = ordered(forge, victim, lambda shown: forge.approve(shown, by=2))
    refused(forge.give(order), victim, because="may look, not answer")


@pytest.mark.parametrize(
    ("signing", "because"),
    [
        ({"flags": PRESENT}, "user was not verified"),
        ({"flags": 0x04}, "not present"),
        ({"origin": "https://console.test.evil:8443"}, "origin"),
        ({"origin": "http://console.test:8443"}, "origin"),
        ({"rp_id": "evil.test"}, "RP ID"),
        ({"kind": "webauthn.create"}, "type"),
        ({"kind": "payment.get"}, "type"),
        ({"crossOrigin": True}, "another site's frame"),
        ({"crossOrigin": "no"}, "another site's frame"),
    ],
    ids=str,
)
def test_a_security_key_that_did_not_check_the_person_at_our_console_runs_nothing(
    forge: Forge, victim: Victim, signing: dict[str, Any], because: str
) -> None:
    def give(shown: Shown) -> Approval:
        signed = forge.operators[0].sign(records.digest_of(shown), key=1, **signing)
        return forge.approve(shown, signature=signed)

    refused(forge.give(ordered(forge, victim, give)), victim, because=because)


MANGLE: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "short": lambda text: text[: len(text) // 2],
    "longer": lambda text: text + "AAAA",
    "padded": lambda text: text + "=" * (-len(text) % 4 or 4),
    "newline": lambda text: text + "\n",
    "space": lambda text: f" {text}",
    "last bit": lambda text: text[:-1] + chr(ord(text[-1]) + 1),
    "spare bits": lambda text: f"{text.rstrip('=')[:-1]}{chr(ord(text.rstrip('=')[-1]) + 1)}=="[
        : len(text)
    ],
    "standard": lambda text: "+/" + text[2:],
    "garbage": lambda text: "\u0000\ud7ff{}" + text,
    "another byte": lambda text: ("B" if text[0] == "A" else "A") + text[1:],
}


@pytest.mark.parametrize("mangle", MANGLE.values(), ids=MANGLE)
@pytest.mark.parametrize(
    ("key", "name"),
    [
        (0, "signature"),
        (1, "authenticator_data"),
        (1, "client_data"),
        (1, "signature"),
    ],
)
def test_bytes_that_are_spelled_otherwise_or_are_garbage_run_nothing(
    forge: Forge, victim: Victim, key: int, name: str, mangle: Callable[[str], str]
) -> None:
    def give(shown: Shown) -> Approval:
        signed = forge.operators[0].sign(records.digest_of(shown), key=key)
        mangled = mangle(getattr(signed, name))
        return forge.approve(shown, signature=structs.replace(signed, **{name: mangled}))

    refused(forge.give(ordered(forge, victim, give)), victim, because="")


def test_a_signature_of_one_kind_in_the_dress_of_another_runs_nothing(
    forge: Forge, victim: Victim
) -> None:
    def give(shown: Shown) -> Approval:
        signed = forge.operators[0].sign(records.digest_of(shown))
        ours = forge.operators[0].keys[1].credential.credential_id
        dressed = records.WebAuthnSignature(
            credential_id=ours, authenticator_data="", client_data="", signature=signed.signature
        )
        return forge.approve(shown, signature=dressed)

    refused(forge.give(ordered(forge, victim, give)), victim, because="")


def test_two_people_run_what_needs_two(forge: Forge, victim: Victim, risky: None) -> None:
    order = ordered(
        forge,
        victim,
        lambda shown: forge.approve(shown, by=0, key=1),
        lambda shown: forge.approve(shown, by=1),
        approvals_needed=2,
    )
    ran(forge.give(order), victim)


def test_one_yes_where_two_are_needed_runs_nothing(
    forge: Forge, victim: Victim, risky: None
) -> None:
    order = ordered(forge, victim, forge.approve, approvals_needed=2)
    refused(forge.give(order), victim, because="1 of 2 people said yes")


def test_a_hub_that_lowers_how_many_must_say_yes_runs_nothing(
    forge: Forge, victim: Victim, risky: None
) -> None:
    order = ordered(forge, victim, forge.approve, approvals_needed=1)
    refused(forge.give(order), victim, because="the plan says it needs 1 people, it needs 2")


def test_a_hub_that_calls_the_risk_low_runs_nothing(
    forge: Forge, victim: Victim, risky: None
) -> None:
    order = ordered(forge, victim, forge.approve)
    assert order.shown.steps[0].risk == "low"
    refused(forge.give(order), victim, because="it needs 2")


def test_a_risky_undo_needs_as_many_people_as_a_risky_command(
    forge: Forge, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Verdict,
        "risk",
        property(lambda self: "high" if "uptime" in self.text else "low"),
        raising=False,
    )
    finding = forge.finding(victim.pid)
    shown = forge.shown(finding, f"kill -TERM {victim.pid}", undos=("uptime",))
    report = forge.give(forge.order(finding, shown=shown))
    refused(report, victim, because="it needs 2")


def test_an_undo_that_never_runs_by_itself_needs_nobody_more(
    forge: Forge, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Verdict,
        "risk",
        property(lambda self: "high" if "frobnicate" in self.text else "low"),
        raising=False,
    )
    finding = forge.finding(victim.pid)
    shown = forge.shown(finding, f"kill -TERM {victim.pid}", undos=("frobnicate",))
    ran(forge.give(forge.order(finding, shown=shown)), victim)


def test_a_risk_that_the_list_of_people_does_not_know_needs_the_most_people(
    forge: Forge, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Verdict, "risk", "unheard-of", raising=False)
    order = ordered(forge, victim, forge.approve)
    refused(forge.give(order), victim, because="it needs 2")


def test_one_person_who_says_yes_twice_is_one_person(
    forge: Forge, victim: Victim, risky: None
) -> None:
    order = ordered(
        forge, victim, forge.approve, lambda shown: forge.approve(shown, key=1), approvals_needed=2
    )
    refused(forge.give(order), victim, because="one person said yes twice")


def test_one_key_under_two_names_is_one_person(forge: Forge, victim: Victim, risky: None) -> None:
    forge.operators[1].keys[0] = forge.operators[0].keys[0]
    forge.trust.people = people(*forge.operators)
    order = ordered(
        forge,
        victim,
        lambda shown: forge.approve(shown, by=0),
        lambda shown: forge.approve(shown, by=1),
        approvals_needed=2,
    )
    refused(forge.give(order), victim, because="one key signed for two people")


def test_one_security_key_under_two_ids_is_one_person(
    forge: Forge, victim: Victim, risky: None
) -> None:
    first = forge.operators[0].keys[1]
    assert isinstance(first, SecurityKey)
    forge.operators[1].keys[1] = SecurityKey(key=first.key, raw_id=b"another id")
    forge.trust.people = people(*forge.operators)
    order = ordered(
        forge,
        victim,
        lambda shown: forge.approve(shown, by=0, key=1),
        lambda shown: forge.approve(shown, by=1, key=1),
        approvals_needed=2,
    )
    refused(forge.give(order), victim, because="one key signed for two people")


def test_nobody_approves_what_they_wrote(forge: Forge, victim: Victim) -> None:
    order = ordered(forge, victim, forge.approve, author="operator-1")
    refused(forge.give(order), victim, because="operator-1 wrote this plan")


def test_an_author_among_two_people_runs_nothing(forge: Forge, victim: Victim, risky: None) -> None:
    order = ordered(
        forge,
        victim,
        lambda shown: forge.approve(shown, by=1),
        lambda shown: forge.approve(shown, by=0),
        approvals_needed=2,
        author="operator-1",
    )
    refused(forge.give(order), victim, because="operator-1 wrote this plan")


def test_what_one_wrote_another_may_approve(forge: Forge, victim: Victim) -> None:
    order = ordered(forge, victim, forge.approve, author="operator-2")
    ran(forge.give(order), victim)


def test_a_hub_that_claims_passwords_are_enough_runs_nothing(forge: Forge, victim: Victim) -> None:
    """The hub's own database may say password-only; the node reads its own list."""
    order = ordered(forge, victim, lambda shown: forge.approve(shown, signature=None))
    assert forge.trust.people is not None
    assert not forge.trust.people.password_only
    refused(forge.give(order), victim, because="has not signed")


def test_where_the_list_says_password_only_a_yes_needs_no_signature_but_a_person(
    forge: Forge, victim: Victim
) -> None:
    forge.trust.people = people(*forge.operators, password_only=True)
    unsigned = ordered(forge, victim, lambda shown: forge.approve(shown, by=2, signature=None))
    refused(forge.give(unsigned), victim, because="may look, not answer")
    wrong = ordered(
        forge,
        victim,
        lambda shown: forge.approve(shown, signature=forge.operators[0].sign("00" * 32)),
    )
    refused(forge.give(wrong), victim, because="did not sign this")
    ran(
        forge.give(ordered(forge, victim, lambda shown: forge.approve(shown, signature=None))),
        victim,
    )


def test_an_approval_of_an_expired_plan_runs_nothing(forge: Forge, victim: Victim) -> None:
    late = datetime.now(UTC) - timedelta(seconds=1)
    order = ordered(forge, victim, forge.approve, not_after=late)
    refused(forge.give(order), victim, because="ended", step="4 time")


@pytest.mark.parametrize("nobody", [None, People()])
def test_a_node_that_knows_nobody_runs_nothing(
    forge: Forge, victim: Victim, nobody: People | None
) -> None:
    forge.trust.people = nobody
    refused(forge.give(ordered(forge, victim, forge.approve)), victim, because="people")


def test_a_node_that_knows_nobody_may_still_rehearse(forge: Forge, victim: Victim) -> None:
    forge.trust.people = None
    order = ordered(forge, victim, forge.approve, mode=Mode.DRY_RUN)
    assert forge.give(order).outcome is Outcome.DRY_RUN
    assert victim.poll() is None


def test_a_person_of_another_spelling_is_another_person(forge: Forge, victim: Victim) -> None:
    order = ordered(forge, victim, lambda shown: forge.approve(shown, operator="Operator-1"))
    refused(forge.give(order), victim, because="not among the people")


@pytest.mark.parametrize("answer", [b"", b"{}", b'{"troubles":[]}', b'{"troubles":["",""]}', b"ok"])
def test_a_check_that_gives_no_whole_answer_is_a_no(
    forge: Forge, victim: Victim, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr("agent.approvals.demand_signed.__kwdefaults__", {"ask": lambda *_: answer})
    refused(
        forge.give(ordered(forge, victim, forge.approve)), victim, because="could not be checked"
    )


def test_a_check_that_cannot_be_started_is_a_no(
    forge: Forge, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.aside.sys.executable", "/nowhere/python")
    refused(
        forge.give(ordered(forge, victim, forge.approve)), victim, because="could not be checked"
    )


def test_argument_vectors_other_than_the_command_reads_run_nothing(
    forge: Forge, victim: Victim
) -> None:
    finding = forge.finding(victim.pid)
    plain = forge.shown(finding, f"kill -TERM {victim.pid}")
    shown = changed(plain, steps=(changed(plain.steps[0], argv=(("uptime",),)),))
    report = forge.give(forge.order(finding, shown=shown))
    refused(report, victim, because="differently", step="8 policy")


def test_the_large_library_is_not_in_the_executor() -> None:
    code = "import agent.executor_process, sys; print('webauthn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
