"""Keys over HTTP: enrolling, comparing, approving, taking back; and what pages say about them."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from appliance.lifecycle import State
from appliance.operator_claim import fingerprint, from_base64url
from hub.persist.database import Database
from tests.attacks.operators import PRESENT, Operator, SecurityKey, TerminalKey
from tests.console import seed
from tests.console.conftest import OPERATORS, Browser, publish
from tests.console.test_answers import answer, page_of, signed, state_of

pytestmark = pytest.mark.postgres
SignIn = Callable[[str], Browser]
HERE = {"origin": "https://localhost", "rp_id": "localhost"}


def rows(database: Database) -> list[dict[str, Any]]:
    with database.transaction() as work:
        return work.all("credential_all")


def outbox(database: Database) -> list[str]:
    with database.transaction() as work:
        return [row["type"] for row in work.all("take_outbox", limit=1000)]


def enrol(browser: Browser, key: SecurityKey, **changes: Any):
    """What the page's script does when the key has answered."""
    page = browser.get("/account").text
    found = re.search(r'data-challenge="([^"]+)" data-rp="([^"]+)"', page)
    assert found
    challenge = changes.pop("challenge", from_base64url(found[1]))
    made = key.enrol(challenge, **{**HERE, **changes})
    return browser.post("/account/keys", {"label": "blue", **made}, page="/account")


def test_a_key_goes_from_its_owner_over_an_administrator_to_the_published_list(
    signed_in: SignIn, database: Database
) -> None:
    operator, admin, key = signed_in("operator-1"), signed_in("admin-1"), SecurityKey()
    assert enrol(operator, key).status_code == 303
    page = operator.get("/account").text
    assert fingerprint(key.credential) in page
    assert "waits for an administrator" in page
    people = admin.get("/people").text
    assert fingerprint(key.credential) in people
    (row,) = rows(database)
    assert (row["operator"], row["approved_by"]) == ("operator-1", None)
    sent = admin.post(
        "/people/keys/approve", {"credential_id": row["credential_id"]}, page="/people"
    )
    assert sent.status_code == 303
    (row,) = rows(database)
    assert (row["approved_by"], row["public_key"]) == ("admin-1", key.credential.public_key)
    assert "in force after the next policy publication" in operator.get("/account").text
    publish(database, Operator("operator-1", keys=[key]))
    assert "in force</span>" in operator.get("/account").text
    kinds = [kind for kind in outbox(database) if kind.startswith("credential.")]
    assert kinds == ["credential.request", "credential.approve"]


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"flags": PRESENT}, "not verified"),
        ({"origin": "https://evil.test"}, "origin"),
        ({"rp_id": "evil.test"}, "RP ID"),
        ({"challenge": b"another challenge"}, "challenge"),
    ],
    ids=str,
)
def test_a_key_made_elsewhere_or_for_somebody_who_was_not_there_is_not_enrolled(
    signed_in: SignIn, database: Database, changes: dict[str, Any], because: str
) -> None:
    sent = enrol(signed_in("operator-1"), SecurityKey(), **changes)
    assert sent.status_code == 409
    assert because in sent.text
    assert rows(database) == []


def test_an_enrolment_cannot_be_sent_twice(signed_in: SignIn, database: Database) -> None:
    browser, key = signed_in("operator-1"), SecurityKey()
    page = browser.get("/account").text
    challenge = re.search(r'data-challenge="([^"]+)"', page)
    assert challenge
    made = key.enrol(from_base64url(challenge[1]), **HERE)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token
    data = {"csrf_token": token[1], "label": "x", **made}
    assert browser.raw_post("/account/keys", data).status_code == 303
    again = browser.raw_post("/account/keys", data)
    assert again.status_code == 409
    assert "too old" in again.text
    assert len(rows(database)) == 1


def test_nobody_approves_their_own_key_not_even_an_administrator_with_a_crafted_form(
    signed_in: SignIn, database: Database
) -> None:
    admin = signed_in("admin-1")
    enrol(admin, SecurityKey())
    (row,) = rows(database)
    page = admin.get("/people").text
    assert "Another administrator must approve it" in page
    assert "approve-key-" not in page
    form = {"credential_id": row["credential_id"]}
    sent = admin.post("/people/keys/approve", form, page="/people")
    assert sent.status_code == 409
    assert rows(database)[0]["approved_at"] is None
    operator = signed_in("operator-1")
    assert operator.post("/people/keys/approve", form, page="/account").status_code == 403
    assert operator.post("/people/keys/revoke", form, page="/account").status_code == 403
    removed = operator.post("/account/keys/remove", form, page="/account")
    assert removed.status_code == 409
    assert rows(database)[0]["revoked_at"] is None


def test_a_row_that_names_the_owner_as_approver_is_refused_by_the_database_itself(
    signed_in: SignIn, database: Database
) -> None:
    enrol(signed_in("operator-1"), SecurityKey())
    with pytest.raises(Exception, match="violates check"), database.transaction() as work:
        work.run(
            "credential_approve", credential_id=rows(database)[0]["credential_id"],
            by="operator-1", now=seed.now(),
        )  # fmt: skip


def test_a_terminal_key_is_enrolled_by_the_line_that_the_command_prints(
    signed_in: SignIn, database: Database
) -> None:
    browser, key = signed_in("operator-1"), TerminalKey()
    form = {"public_key": key.credential.public_key, "label": "laptop"}
    assert browser.post("/account/keys/terminal", form, page="/account").status_code == 303
    (row,) = rows(database)
    assert row["credential_id"] == key.credential.credential_id
    for bad in ("", "AAAA", "not base64!", "A" * 200):
        sent = browser.post("/account/keys/terminal", {**form, "public_key": bad}, page="/account")
        assert sent.status_code == 409, bad
    assert len(rows(database)) == 1


def test_a_removed_key_counts_no_longer_at_once(signed_in: SignIn, database: Database) -> None:
    publish(database)
    browser, seeded = signed_in("operator-1"), seed.judged(database)
    key = OPERATORS["operator-1"].keys[0].credential
    form = {"public_key": key.public_key, "label": "laptop"}
    browser.post("/account/keys/terminal", form, page="/account")
    gone = browser.post(
        "/account/keys/remove", {"credential_id": key.credential_id}, page="/account"
    )
    assert gone.status_code == 303
    assert "revoked; nodes hear it with the next publication" in browser.get("/account").text
    sent = answer(browser, seeded, "approve")
    assert sent.status_code == 409
    assert "this key was revoked" in sent.text
    assert state_of(database, seeded) == "awaiting"


def test_a_key_that_is_published_and_was_never_enrolled_here_is_shown_as_that(
    signed_in: SignIn, database: Database
) -> None:
    publish(database)
    text = signed_in("operator-1").get("/account").text
    for key in OPERATORS["operator-1"].keys:
        assert fingerprint(key.credential) in text
    assert "published without having been enrolled here" in text


# what the pages say ----------------------------------------------------------------------------


def said(browser: Browser, seeded: seed.Seeded) -> str:
    return " ".join(browser.get(page_of(seeded)).text.split())


def test_every_obstacle_is_a_sentence_and_no_button(signed_in: SignIn, database: Database) -> None:
    operator, seeded = signed_in("operator-1"), seed.judged(database)

    def obstacle(text: str, about: seed.Seeded = seeded) -> None:
        page = said(operator, about)
        assert text in page
        assert 'id="approve"' not in page

    obstacle("no list of people (people.json) is published")
    publish(database, OPERATORS["operator-2"])
    obstacle("You are not in the published list of people")
    publish(database, Operator("operator-1", keys=[]))
    obstacle("You have no key that counts yet")
    publish(database, Operator("operator-1", role="viewer"))
    obstacle("may look and not answer")
    publish(database)
    obstacle("You wrote this plan", seed.judged(database, author="operator-1"))
    terminal = Operator("operator-1", keys=[TerminalKey()])
    publish(database, terminal)
    obstacle(f"sentinel approve {seeded.incident_id} --key FILE")
    publish(database)
    assert 'id="approve"' in said(operator, seeded)


def test_two_people_see_who_is_missing(signed_in: SignIn, database: Database) -> None:
    people = publish(database, quorum={"low": 2, "high": 2})
    one, two = signed_in("operator-1"), signed_in("operator-2")
    seeded = seed.judged(database, people=people)
    assert "<strong>0 of 2</strong> people said yes; two different operators must" in said(
        one, seeded
    )
    assert answer(one, seeded, "approve").status_code == 303
    assert "You said yes: 1 of 2." in said(one, seeded)
    again = answer(one, seeded, "approve")
    assert again.status_code == 409
    assert "You said yes already" in again.text
    assert "<strong>1 of 2</strong> people said yes; another operator must" in said(two, seeded)
    assert state_of(database, seeded) == "awaiting"
    assert answer(two, seeded, "approve").status_code == 303
    assert "Approved by <strong>operator-1 and operator-2</strong>" in said(two, seeded)
    assert state_of(database, seeded) == "approved"


@pytest.mark.parametrize(
    "fields",
    [
        {"credential_id": ""},
        {"credential_id": "x" * 64},
        {"signature": "AAAA"},
        {"signature": ""},
        {"authenticator_data": "AAAA"},
        {"signature": "x" * 4000},
    ],
    ids=str,
)
def test_a_form_with_a_signature_that_is_none_approves_nothing(
    signed_in: SignIn, database: Database, fields: dict[str, str]
) -> None:
    publish(database)
    seeded, browser = seed.judged(database), signed_in("operator-1")
    sent = answer(browser, seeded, "approve", **fields)
    assert sent.status_code == 409
    assert state_of(database, seeded) == "awaiting"


def test_a_security_key_answers_over_http_as_well(signed_in: SignIn, database: Database) -> None:
    publish(database)
    seeded, browser = seed.judged(database), signed_in("operator-1")
    wrong = signed("operator-1", seeded.digest, key=1, flags=PRESENT, **HERE)
    assert "not verified" in answer(browser, seeded, "approve", **wrong).text
    assert state_of(database, seeded) == "awaiting"
    good = signed("operator-1", seeded.digest, key=1, **HERE)
    assert answer(browser, seeded, "approve", **good).status_code == 303
    assert state_of(database, seeded) == "approved"


def test_while_passwords_are_enough_every_page_says_so_and_else_none_does(
    signed_in: SignIn, database: Database
) -> None:
    seeded, admin = seed.judged(database), signed_in("admin-1")
    stranger = Browser(admin.client.application)
    publish(database)
    pages = ("/incidents", page_of(seeded), "/nodes", "/audit", "/status", "/people", "/account")
    alone = ("/sign-in", "/sign-in/once?token=x", "/no-such-page")

    def banners() -> list[int]:
        texts = [admin.get(path).text for path in pages] + [
            stranger.get(path).text for path in alone
        ]
        return [text.count("Approvals need no key at this site") for text in texts]

    assert banners() == [0] * 10
    publish(database, password_only=True)
    assert banners() == [1] * 10
    unsigned = {"credential_id": "", "signature": ""}
    assert answer(admin, seeded, "approve", **unsigned).status_code == 303
    assert state_of(database, seeded) == "approved"


def test_the_role_of_a_session_is_that_of_the_published_list(
    signed_in: SignIn, database: Database
) -> None:
    admin = signed_in("admin-1")
    assert admin.get("/people").status_code == 200
    publish(database, OPERATORS["operator-1"])
    assert admin.get("/people").status_code == 403
    assert "viewer" in admin.get("/account").text
    publish(database, Operator("viewer-1", role="admin"))
    assert signed_in("viewer-1").get("/people").status_code == 200


def test_other_commands_are_proposed_in_a_form_and_their_author_is_told(
    signed_in: SignIn, database: Database
) -> None:
    publish(database)
    seeded, browser = seed.judged(database), signed_in("operator-1")
    form = {"commands": "uptime\r\nkill -TERM 4711", "purpose": "look first", "undos": "\r\n"}
    sent = answer(browser, seeded, "propose", **form)
    assert sent.status_code == 303, sent.text
    assert state_of(database, seeded) == "proposed"
    bad = answer(browser, seeded, "propose", **form)
    assert bad.status_code == 409
    viewer = signed_in("viewer-1")
    assert answer(viewer, seeded, "propose", **form).status_code == 403


def test_a_viewer_and_a_finished_incident_are_offered_no_form_to_propose(
    signed_in: SignIn, database: Database
) -> None:
    publish(database)
    seeded = seed.judged(database)
    assert 'id="propose"' in said(signed_in("operator-1"), seeded)
    assert 'id="propose"' not in said(signed_in("viewer-1"), seeded)
    seed.moved(database, seeded, State.REJECTED)
    assert 'id="propose"' not in said(signed_in("operator-1"), seeded)


@pytest.mark.parametrize("outcome", ["", "perhaps", "WORKED"])
def test_a_manual_step_says_what_came_of_it_or_is_not_recorded(
    signed_in: SignIn, database: Database, outcome: str
) -> None:
    publish(database)
    seeded = seed.judged(database, rulings=("review",), state=State.MANUAL)
    browser = signed_in("operator-1")
    sent = answer(browser, seeded, "manual", command="reboot", outcome=outcome)
    assert sent.status_code == 409
    assert "manual.step" not in outbox(database)


def test_what_was_done_by_hand_stands_beside_its_command(
    signed_in: SignIn, database: Database
) -> None:
    publish(database)
    seeded = seed.judged(database, rulings=("review", "allow"), state=State.MANUAL)
    browser = signed_in("operator-1")
    assert seeded.shown is not None
    about = {"plan_id": seeded.shown.plan_id, "step": "1", "command": "kill -9 4711"}
    for outcome, output in (("did_not_work", "<b>no</b>"), ("not_done", "")):
        assert answer(browser, seeded, "manual", outcome=outcome, output=output, **about)
    first, second = browser.get(page_of(seeded)).text.split('class="card command')[1:]
    second = second.partition('id="part-decision"')[0]
    assert "it did not work" not in first.partition("<form")[0]
    assert "it did not work</span>" in second
    assert "&lt;b&gt;no&lt;/b&gt;</pre>" in second
    assert "not done</span>" in second


def test_pages_may_use_keys_and_nothing_else_of_the_machine(browser: Browser) -> None:
    policy = browser.get("/sign-in").headers["Permissions-Policy"]
    assert "publickey-credentials-get=(self)" in policy
    assert "publickey-credentials-create=(self)" in policy
    assert "camera=()" in policy


def test_a_poll_of_the_account_page_leaves_the_enrolment_alone(signed_in: SignIn) -> None:
    browser = signed_in("operator-1")
    challenges = {
        re.search(r'data-challenge="([^"]+)"', browser.get("/account").text)[1]  # type: ignore[index]
        for _ in range(3)
    }
    assert len(challenges) == 1
