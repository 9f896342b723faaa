"""Approving, rejecting and recording over HTTP: who may, bound to what, and who wins a race."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from psycopg.types.json import Jsonb

from appliance.lifecycle import State
from appliance.records import Mode, Outcome
from hub.persist.database import Database
from tests.console import seed
from tests.console.conftest import OPERATORS, Browser
from tests.console.seed import Seeded

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("published")]
SignIn = Callable[[str], Browser]


def state_of(database: Database, seeded: Seeded) -> str:
    with database.transaction() as work:
        row = work.one("lock_incident", incident_id=seeded.incident_id)
    assert row is not None
    return str(row["state"])


def page_of(seeded: Seeded) -> str:
    return f"/incidents/{seeded.incident_id}"


def signed(name: str, digest: str, *, key: int = 0, **signing: Any) -> dict[str, str]:
    """The hidden fields as a key fills them."""
    made = OPERATORS[name].sign(digest, key=key, **signing)
    fields = ("credential_id", "authenticator_data", "client_data", "signature")
    return {field: getattr(made, field, "") for field in fields}


def answer(browser: Browser, seeded: Seeded, verb: str, **fields: str):
    """Send the form that stands on the page; who is signed in has signed it with their key."""
    data = {"shown_digest": seeded.digest, "comment": "looks right"}
    if verb == "approve":
        data |= signed(browser.name, seeded.digest)
    return browser.post(f"{page_of(seeded)}/{verb}", {**data, **fields}, page=page_of(seeded))


def test_an_operator_approves_what_was_shown(signed_in: SignIn, database: Database) -> None:
    seeded = seed.judged(database)
    browser = signed_in("operator-1")
    page = browser.get(page_of(seeded)).text
    assert f'name="shown_digest" value="{seeded.digest}"' in page
    assert "Approve and run" in page
    sent = answer(browser, seeded, "approve")
    assert (sent.status_code, sent.location) == (303, page_of(seeded))
    assert state_of(database, seeded) == "approved"
    after = browser.get(page_of(seeded)).text
    assert "Approved by <strong>operator-1</strong>" in after
    assert "looks right" in after
    assert 'id="approve"' not in after


def test_an_operator_rejects(signed_in: SignIn, database: Database) -> None:
    seeded = seed.judged(database)
    assert answer(signed_in("operator-1"), seeded, "reject").status_code == 303
    assert state_of(database, seeded) == "rejected"


@pytest.mark.parametrize("verb", ["approve", "reject", "close", "manual"])
def test_a_change_without_a_form_token_is_refused(
    signed_in: SignIn, database: Database, verb: str
) -> None:
    seeded = seed.judged(database)
    sent = signed_in("operator-1").raw_post(
        f"{page_of(seeded)}/{verb}", {"shown_digest": seeded.digest, "note": "x", "command": "x"}
    )
    assert sent.status_code == 400
    assert "Nothing was done" in sent.text
    assert state_of(database, seeded) == "awaiting"


def test_another_persons_form_token_is_refused(signed_in: SignIn, database: Database) -> None:
    seeded = seed.judged(database)
    other = signed_in("operator-2").get(page_of(seeded)).text
    token = other.split('name="csrf_token" value="')[1].split('"')[0]
    data = {"csrf_token": token, "shown_digest": seeded.digest}
    sent = signed_in("operator-1").raw_post(f"{page_of(seeded)}/approve", data)
    assert sent.status_code == 400
    assert state_of(database, seeded) == "awaiting"


def test_a_form_sent_by_another_site_is_refused(signed_in: SignIn, database: Database) -> None:
    seeded = seed.judged(database)
    browser = signed_in("operator-1")
    token = browser.get(page_of(seeded)).text.split('name="csrf_token" value="')[1].split('"')[0]
    sent = browser.raw_post(
        f"{page_of(seeded)}/approve",
        {"csrf_token": token, "shown_digest": seeded.digest},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert sent.status_code == 403
    assert state_of(database, seeded) == "awaiting"


@pytest.mark.parametrize("verb", ["approve", "reject", "close", "manual"])
def test_a_viewer_may_look_and_not_answer(signed_in: SignIn, database: Database, verb: str) -> None:
    seeded = seed.judged(database)
    browser = signed_in("viewer-1")
    page = browser.get(page_of(seeded)).text
    assert 'id="approve"' not in page
    assert "may look and not answer" in page
    sent = answer(browser, seeded, verb, note="x", command="x", result="x")
    assert sent.status_code == 403
    assert state_of(database, seeded) == "awaiting"


def test_nobody_answers_without_signing_in(browser: Browser, database: Database) -> None:
    seeded = seed.judged(database)
    sent = browser.post(
        f"{page_of(seeded)}/approve", {"shown_digest": seeded.digest}, page="/sign-in"
    )
    assert sent.status_code == 303
    assert sent.location.startswith("/sign-in")
    assert state_of(database, seeded) == "awaiting"


def test_an_approval_of_something_else_than_is_stored_is_refused(
    signed_in: SignIn, database: Database
) -> None:
    seeded = seed.judged(database)
    sent = answer(signed_in("operator-1"), seeded, "approve", shown_digest="00" * 32)
    assert sent.status_code == 409
    assert "What you were shown is not what is stored now" in sent.text
    assert "please look again" in sent.text
    assert state_of(database, seeded) == "awaiting"


@pytest.mark.parametrize("ruling", ["review", "block"])
def test_a_plan_that_is_not_allow_cannot_be_approved_even_with_a_crafted_post(
    signed_in: SignIn, database: Database, ruling: str
) -> None:
    seeded = seed.judged(database, rulings=("allow", ruling))
    browser = signed_in("admin-1")
    page = browser.get(page_of(seeded)).text
    assert 'id="approve"' not in page
    assert f"ruling on this plan is “{ruling}”" in page
    assert seeded.shown is not None
    assert seeded.shown.steps[1].rule in page
    sent = answer(browser, seeded, "approve")
    assert sent.status_code == 409
    assert f"ruled {ruling}" in sent.text
    assert state_of(database, seeded) == "awaiting"


def test_an_expired_plan_cannot_be_approved(signed_in: SignIn, database: Database) -> None:
    seeded = seed.judged(database, valid_for=timedelta(seconds=-1))
    browser = signed_in("operator-1")
    assert 'id="approve"' not in browser.get(page_of(seeded)).text
    sent = answer(browser, seeded, "approve")
    assert sent.status_code == 409
    assert "expired" in sent.text
    assert state_of(database, seeded) == "awaiting"


def test_two_operators_approve_and_reject_at_once_and_exactly_one_wins(
    signed_in: SignIn, database: Database
) -> None:
    one, two = signed_in("operator-1"), signed_in("operator-2")
    for _ in range(3):
        seeded = seed.judged(database)
        with ThreadPoolExecutor(2) as pool:
            yes = pool.submit(answer, one, seeded, "approve")
            no = pool.submit(answer, two, seeded, "reject")
        codes = (yes.result().status_code, no.result().status_code)
        assert sorted(codes) == [303, 409]
        assert state_of(database, seeded) == ("approved" if codes[0] == 303 else "rejected")
        loser = no.result() if codes[0] == 303 else yes.result()
        assert "no longer waits for an answer" in loser.text


def test_without_a_notary_every_page_says_so_and_approvals_are_closed(
    signed_in: SignIn, database: Database
) -> None:
    seeded = seed.judged(database)
    browser = signed_in("operator-1")
    silent = seed.now() - timedelta(minutes=1)
    with database.transaction() as work:
        work.run("beat", part="notary", instance="notary-1", now=silent, detail=Jsonb({}))
    for path in ("/incidents", page_of(seeded), "/nodes", "/audit", "/status"):
        text = browser.get(path).text
        assert "The audit log cannot be written; approvals are closed" in text, path
    assert 'id="approve"' not in browser.get(page_of(seeded)).text
    sent = answer(browser, seeded, "approve")
    assert sent.status_code == 503
    assert "the notary is not running" in sent.text
    assert state_of(database, seeded) == "awaiting"


def test_a_manual_step_is_recorded_and_the_incident_closed_with_a_note(
    signed_in: SignIn, database: Database
) -> None:
    seeded = seed.judged(database, rulings=("review",), state=State.MANUAL)
    browser = signed_in("operator-1")
    page = browser.get(page_of(seeded)).text
    assert "Manual step." in page
    assert 'data-copy="command-1"' in page
    assert seeded.shown is not None
    done = {
        "command": "kill -KILL 4711", "outcome": "worked", "output": "the process\nis gone",
        "plan_id": seeded.shown.plan_id, "step": "0",
    }  # fmt: skip
    assert answer(browser, seeded, "manual", **done).status_code == 303
    text = browser.get(page_of(seeded)).text
    assert "by hand: kill -KILL 4711 → it worked: the process" in text
    assert "the process\nis gone</pre>" in text.partition('id="part-decision"')[0]
    assert answer(browser, seeded, "close", note="").status_code == 409
    assert answer(browser, seeded, "close", note="done by hand").status_code == 303
    assert state_of(database, seeded) == "closed"


def test_a_dry_run_is_shown_as_dry_run_and_never_as_executed(
    signed_in: SignIn, database: Database
) -> None:
    seeded = seed.judged(database, mode=Mode.DRY_RUN)
    browser = signed_in("operator-1")
    assert "Approve dry run" in browser.get(page_of(seeded)).text
    seed.reported(database, seeded, Outcome.DRY_RUN)
    text = browser.get(page_of(seeded)).text
    for words in ("DRY RUN", "Nothing was executed.", "Would run", "dry run only"):
        assert words in text
    for words in ("LIVE", "status 0", "all commands succeeded", "Ran <span"):
        assert words not in text


def test_a_live_run_shows_each_commands_output_escaped(
    signed_in: SignIn, database: Database
) -> None:
    seeded = seed.judged(database)
    seed.reported(database, seeded, Outcome.SUCCEEDED)
    text = signed_in("operator-1").get(page_of(seeded)).text
    assert "ran, all commands succeeded" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>alert" not in text


def test_an_answer_to_no_incident_is_not_found_or_refused(signed_in: SignIn, app: Flask) -> None:
    browser = signed_in("operator-1")
    for bad in ("no-such-id", "00000000-0000-0000-0000-00000000000G", "%00"):
        assert browser.get(f"/incidents/{bad}").status_code == 404
    gone = "/incidents/00000000-0000-7000-8000-000000000000"
    assert browser.get(gone).status_code == 404
    sent = browser.post(f"{gone}/approve", {"shown_digest": "00" * 32}, page="/account")
    assert sent.status_code == 409
    assert "There is no plan to answer" in sent.text
