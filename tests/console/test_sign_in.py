"""Signing in: cookies, lockout, expiry, one-time links, and what an attacker tries first."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask

from hub.persist import operators
from hub.persist import sign_in as signing_in
from hub.persist.database import Database
from hub.persist.operators import OperatorError
from hub.persist.sign_in import SigninError, SigninRules
from tests.console import seed
from tests.console.conftest import PASSWORD, ROOT, Browser

pytestmark = pytest.mark.postgres
SignIn = Callable[[str], Browser]


def audit_types(database: Database) -> list[str]:
    with database.transaction() as work:
        return [row["type"] for row in work.all("take_outbox", limit=1000)]


def test_a_right_password_opens_the_console_and_is_on_record(
    browser: Browser, database: Database
) -> None:
    answer = browser.sign_in("operator-1")
    assert (answer.status_code, answer.location) == (303, "/")
    assert browser.get("/incidents").status_code == 200
    assert "auth.login" in audit_types(database)


def test_cookies_are_secure_host_only_and_strict(browser: Browser) -> None:
    answer = browser.sign_in("operator-1")
    cookies = answer.headers.getlist("Set-Cookie")
    session = next(cookie for cookie in cookies if cookie.startswith("__Host-sentinel="))
    for flag in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
        assert flag in session
    assert "Domain" not in session
    form = browser.get("/sign-in").headers.getlist("Set-Cookie")
    for cookie in form:
        assert cookie.startswith("__Host-sentinel-form=")
        assert all(flag in cookie for flag in ("Secure", "HttpOnly", "SameSite=Strict"))


def test_the_database_holds_no_token_that_signs_in(browser: Browser, database: Database) -> None:
    browser.sign_in("operator-1")
    cookie = browser.client.get_cookie("__Host-sentinel", domain="localhost")
    assert cookie is not None
    key = hashlib.sha256(cookie.value.encode()).hexdigest()
    with database.transaction() as work:
        found = work.one(
            "session_one", token_hash=key, now=seed.now(), idle_since=seed.now() - timedelta(1)
        )
        raw = work.one(
            "session_one", token_hash=cookie.value, now=seed.now(),
            idle_since=seed.now() - timedelta(1),
        )  # fmt: skip
    assert found is not None
    assert raw is None


@pytest.mark.parametrize("name", ["operator-1", "nobody-at-all"])
def test_a_wrong_password_says_the_same_for_known_and_unknown_names(
    browser: Browser, database: Database, name: str
) -> None:
    answer = browser.sign_in(name, "wrong-wrong-wrong")
    assert answer.status_code == 401
    assert "This name and password do not fit together." in answer.text
    assert browser.get("/incidents").status_code == 303
    assert "auth.fail" in audit_types(database)


def test_guessing_locks_the_name_and_the_message_says_until_when(browser: Browser) -> None:
    for _ in range(5):
        assert "do not fit" in browser.sign_in("operator-1", "wrong-wrong-wrong").text
    answer = browser.sign_in("operator-1")
    assert answer.status_code == 401
    assert "Too many failed sign-ins; try again after" in answer.text
    assert "UTC" in answer.text
    assert browser.sign_in("operator-2").status_code == 303


def test_guessing_many_names_from_one_address_locks_the_address(
    app: Flask, database: Database
) -> None:
    rules = SigninRules(failures=99, address_failures=3)
    guess = {"password": PASSWORD, "address": "192.0.2.7", "rules": rules}
    for number in range(3):
        with pytest.raises(SigninError, match="do not fit"):
            signing_in.sign_in(database, name=f"guess-{number}", now=seed.now(), **guess)
    with pytest.raises(SigninError, match="too many"):
        signing_in.sign_in(database, name="operator-1", now=seed.now(), **guess)
    guess["address"] = "192.0.2.8"
    assert signing_in.sign_in(database, name="operator-1", now=seed.now(), **guess)


def test_guesses_made_at_the_same_moment_are_all_counted(people: None, database: Database) -> None:
    def guess(_: int) -> str:
        try:
            signing_in.sign_in(
                database, name="operator-1", password="wrong-wrong-wrong", address="192.0.2.1",
                rules=SigninRules(failures=3), now=seed.now(),
            )  # fmt: skip
        except SigninError as error:
            return str(error)
        return "signed in"

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(guess, range(8)))
    assert sum("do not fit" in text for text in said) == 3
    assert sum("too many" in text for text in said) == 5


def test_a_lockout_ends_by_itself(people: None, database: Database) -> None:
    rules, start = SigninRules(failures=1), seed.now()
    ask = {"name": "operator-1", "address": "192.0.2.1", "rules": rules}
    with pytest.raises(SigninError, match="do not fit"):
        signing_in.sign_in(database, password="wrong-wrong-wrong", now=start, **ask)
    with pytest.raises(SigninError, match="too many"):
        signing_in.sign_in(database, password=PASSWORD, now=start + timedelta(minutes=14), **ask)
    assert signing_in.sign_in(database, password=PASSWORD, now=start + rules.lockout, **ask)


def test_a_session_ends_when_idle_and_when_it_is_old(people: None, database: Database) -> None:
    rules, start = SigninRules(), seed.now()
    token = signing_in.sign_in(
        database, name="operator-1", password=PASSWORD, address="::1", rules=rules, now=start
    )

    def alive(after: timedelta, *, touch: bool = True) -> bool:
        moment = start + after
        return (
            signing_in.session_of(database, token=token, rules=rules, now=moment, touch=touch)
            is not None
        )

    assert alive(timedelta(minutes=29), touch=False)
    assert not alive(timedelta(minutes=31)), "a page that refreshes itself is not a person"
    for minutes in range(20, 600, 20):
        assert alive(timedelta(minutes=minutes)) or minutes == 20
    assert not alive(timedelta(hours=10, seconds=1))


def test_a_refreshing_page_does_not_keep_a_session_alive(
    signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("operator-1")

    def seen() -> object:
        return next(
            item.seen_at for item in operators.listed(database) if item.name == "operator-1"
        )

    with database.transaction() as work:
        cookie = browser.client.get_cookie("__Host-sentinel", domain="localhost")
        assert cookie is not None
        key = hashlib.sha256(cookie.value.encode()).hexdigest()
        work.run("session_seen", token_hash=key, now=seed.now() - timedelta(minutes=5))
    before = seen()
    assert browser.get("/incidents", headers={"X-Have": "none"}).status_code == 200
    assert seen() == before
    browser.get("/incidents")
    assert seen() != before


def test_an_expired_session_sends_pages_to_sign_in_and_back(browser: Browser) -> None:
    answer = browser.get("/incidents?state=needs")
    assert (answer.status_code, answer.location) == (
        303, "/sign-in?next=/incidents?state%3Dneeds",
    )  # fmt: skip
    poll = browser.get("/incidents", headers={"X-Have": "rows=0123456789abcdef"})
    assert poll.status_code == 401
    assert poll.headers["HX-Redirect"].startswith("/sign-in")


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_after_sign_in_no_other_site_is_visited(browser: Browser, target: str) -> None:
    fields = {"name": "operator-1", "password": PASSWORD, "next": target}
    answer = browser.post("/sign-in", fields, page="/sign-in")
    assert answer.location == "/"


def test_signing_in_again_ends_the_earlier_session_of_the_browser(browser: Browser) -> None:
    browser.sign_in("operator-1")
    old = browser.client.get_cookie("__Host-sentinel", domain="localhost")
    browser.sign_in("operator-1")
    new = browser.client.get_cookie("__Host-sentinel", domain="localhost")
    assert old is not None
    assert new is not None
    assert old.value != new.value
    browser.client.set_cookie("__Host-sentinel", old.value, domain="localhost", secure=True)
    assert browser.get("/incidents").status_code == 303


def test_signing_out_ends_the_session_on_the_server(signed_in: SignIn, database: Database) -> None:
    browser = signed_in("operator-1")
    cookie = browser.client.get_cookie("__Host-sentinel", domain="localhost")
    assert cookie is not None
    browser.post("/sign-out", page="/incidents")
    browser.client.set_cookie("__Host-sentinel", cookie.value, domain="localhost", secure=True)
    assert browser.get("/incidents").status_code == 303
    assert "auth.logout" in audit_types(database)


def link(database: Database, *, minutes: int = 5, reset: bool = False) -> str:
    return operators.new_link(
        database, name="operator-1", valid_for=timedelta(minutes=minutes), by=ROOT,
        now=seed.now(), reset=reset,
    )  # fmt: skip


def test_a_one_time_link_works_once(app: Flask, database: Database) -> None:
    page = f"/sign-in/once?token={(token := link(database))}"
    first, second = Browser(app), Browser(app)
    first.get(page)  # looking at it does not use it up
    assert first.post("/sign-in/once", {"token": token}, page=page).status_code == 303
    assert first.get("/incidents").status_code == 200
    again = second.post("/sign-in/once", {"token": token}, page=page)
    assert again.status_code == 401
    assert "used already or is too old" in again.text
    assert second.get("/incidents").status_code == 303


def test_an_old_link_a_replaced_link_and_an_invented_link_are_refused(
    browser: Browser, database: Database
) -> None:
    replaced = link(database)
    for token in (link(database, minutes=-1), replaced, "invented"):
        page = f"/sign-in/once?token={token}"
        assert browser.post("/sign-in/once", {"token": token}, page=page).status_code == 401


def test_a_reset_makes_the_old_password_worthless_and_the_link_sets_a_new_one(
    app: Flask, signed_in: SignIn, database: Database
) -> None:
    before = signed_in("operator-1")
    token = link(database, reset=True)
    assert before.get("/incidents").status_code == 303
    browser = Browser(app)
    assert browser.sign_in("operator-1").status_code == 401
    page = f"/sign-in/once?token={token}"
    new = {"token": token, "password": "a-new-long-password", "password_again": "different"}
    assert browser.post("/sign-in/once", new, page=page).status_code == 400
    new["password_again"] = new["password"]
    assert browser.post("/sign-in/once", new, page=page).status_code == 303
    assert Browser(app).sign_in("operator-1", "a-new-long-password").status_code == 303


def test_changing_ones_password_needs_the_old_one_and_ends_other_sessions(
    signed_in: SignIn, app: Flask
) -> None:
    here, elsewhere = signed_in("operator-1"), signed_in("operator-1")
    new = {"password": "a-new-long-password", "password_again": "a-new-long-password"}
    wrong = {"old_password": "not-the-old-one", **new}
    assert here.post("/account/password", wrong, page="/account").status_code == 401
    right = {"old_password": PASSWORD, **new}
    assert here.post("/account/password", right, page="/account").status_code == 303
    assert here.get("/account").status_code == 200
    assert elsewhere.get("/account").status_code == 303


def test_short_passwords_and_strange_names_are_refused(database: Database) -> None:
    for name in ("", "Upper", "../x", "a b", "x" * 65, "<b>"):
        with pytest.raises(OperatorError, match="a name is"):
            operators.add(database, name=name, role="viewer", by=ROOT, now=seed.now())
    with pytest.raises(OperatorError, match="12 to 256"):
        operators.add(database, name="x", role="viewer", by=ROOT, now=seed.now(), password="short")
    with pytest.raises(OperatorError, match="a role is one of"):
        operators.add(database, name="x", role="root", by=ROOT, now=seed.now())
    assert operators.listed(database) == []
