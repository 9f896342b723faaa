"""Real WebAuthn in a real Chromium: enrol, compare, publish, approve; one person, two people.

The authenticators are Chromium's own virtual ones; certificate, origin and content policy are as at
a site. What a browser signed is checked at the end with the very code that runs on a node.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, expect

from agent.approvals import demand_quorum, demand_signed
from agent.errors import OrderRefusedError
from appliance import records
from appliance.people import People, Person
from appliance.records import Approval, Logged, Mode, Order
from hub.credentials import credential_of
from hub.persist.database import Database
from hub.persist.people import put_in_force
from policy.verdict import Verdict
from tests.console import seed
from tests.console.conftest import PASSWORD
from tests.console.seed import Seeded
from tests.console.site import Site, certify
from tests.console.test_browser import CONTRAST

pytestmark = [pytest.mark.postgres, pytest.mark.browser, pytest.mark.timeout(600)]
PATIENCE_MS = 60_000  # two browsers on a busy machine are slow, not wrong
expect.set_options(timeout=PATIENCE_MS)

PICTURES = os.environ.get("SENTINEL_PICTURES")  # a folder: leave pictures of the pages there
NAMES = ("operator-1", "operator-2", "admin-1", "viewer-1")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the console's certificate, which the browser trusts from its start."""
    folder = tmp_path_factory.mktemp("certificate")
    certify(folder)
    return folder


@pytest.fixture
def site(
    tmp_path: Path,
    people: None,
    database: Database,
    certificate: Path,
    log: list[str],
) -> Iterator[Site]:
    shutil.copytree(certificate, tmp_path, dirs_exist_ok=True)
    seed.node(database)
    site = Site(tmp_path, database.dsn)
    with seed.notary(database, log):
        yield site
    assert site.stop() == 0, site.log.read_text()


@pytest.fixture
def log() -> list[str]:
    """The types of the entries that a notary would have written."""
    return []


@dataclass
class Somebody:
    """A person before a browser, with a security key of their own."""

    name: str
    page: Page
    devtools: CDPSession
    key: str

    def verified(self, yes: bool) -> None:  # noqa: FBT001 - as the protocol has it
        """Whether the key will recognise the person, by PIN or finger."""
        self.devtools.send(
            "WebAuthn.setUserVerified", {"authenticatorId": self.key, "isUserVerified": yes}
        )

    def enrol(self, label: str = "blue key") -> None:
        """Add this key on the account page."""
        self.page.goto("/account")
        self.page.get_by_label("Name for it").first.fill(label)
        self.page.get_by_role("button", name="Add this key").click()

    def picture(self, name: str) -> None:
        if PICTURES:
            self.page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


Window = Callable[..., Somebody]


@pytest.fixture
def window(chromium: Browser, site: Site) -> Iterator[Window]:
    contexts: list[BrowserContext] = []
    problems: list[str] = []
    broken: list[str] = []

    def make(name: str, *, width: int = 1280, dark: bool = False) -> Somebody:
        context = chromium.new_context(
            viewport={"width": width, "height": 800}, base_url=site.url,
            color_scheme="dark" if dark else "light",
        )  # fmt: skip
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        devtools = context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "usb",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        page.goto("/sign-in")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/incidents")
        return Somebody(name, page, devtools, made["authenticatorId"])

    yield make
    for context in contexts:
        context.close()
    assert [text for text in problems if "Content Security Policy" in text] == []
    assert broken == []


def rows(database: Database) -> list[dict[str, Any]]:
    with database.transaction() as work:
        return work.all("credential_all")


def publish(
    database: Database, site: Site, *, without_keys: bool = False, **changes: Any
) -> People:
    """What policy signers would do: everybody, with the keys that an administrator approved."""
    found = [] if without_keys else rows(database)
    persons = tuple(
        Person(
            name=name,
            role=name.split("-")[0],  # type: ignore[arg-type]
            credentials=tuple(
                credential_of(row)
                for row in found
                if row["operator"] == name and row["approved_at"]
            ),
        )
        for name in NAMES
    )
    made = People(persons=persons, rp_id="localhost", origins=(site.url,), **changes)
    with database.transaction() as work:
        put_in_force(work, made, now=seed.now())
    return made


def approve_keys(database: Database) -> None:
    """An administrator who sits elsewhere approves all keys that wait."""
    with database.transaction() as work:
        for row in work.all("credential_all"):
            work.run(
                "credential_approve", credential_id=row["credential_id"], by="elsewhere",
                now=seed.now(),
            )  # fmt: skip


def approvals(database: Database, seeded: Seeded) -> list[Approval]:
    with database.transaction() as work:
        found = work.all("approvals_of", incident_id=seeded.incident_id, shown_digest=seeded.digest)
    return [records.from_builtins(row["body"], Approval) for row in found]


def state_of(database: Database, seeded: Seeded) -> str:
    with database.transaction() as work:
        row = work.one("lock_incident", incident_id=seeded.incident_id)
    assert row is not None
    return str(row["state"])


def on_the_node(seeded: Seeded, people: People, given: list[Approval], risk: str) -> None:
    """The node's own checks of these approvals, by its own list of people."""
    assert seeded.shown is not None
    order = Order(
        order_id="o",
        node="node-1",
        shown=seeded.shown,
        finding=seeded.finding,
        approvals=tuple(Logged(approval=one, entry="", proof="") for one in given),
        timeout_s=1,
        not_after=seeded.shown.not_after,
    )
    demand_signed(order, people)
    demand_quorum(order, people, [risk])


def test_a_key_is_enrolled_compared_approved_and_published_before_it_approves_anything(
    window: Window, site: Site, database: Database, log: list[str]
) -> None:
    operator, admin = window("operator-1"), window("admin-1")
    operator.enrol()
    card = operator.page.locator("#part-keyring .card")
    expect(card).to_contain_text("waits for an administrator")
    operator.picture("account-pending")
    read_aloud = card.locator(".fingerprint").inner_text()

    admin.page.goto("/people")
    waiting = admin.page.locator("#part-waiting .card")
    assert waiting.locator(".fingerprint").inner_text() == read_aloud
    admin.picture("people-pending")
    waiting.get_by_role("button", name="The fingerprint is the same").click()
    expect(admin.page.get_by_text("operator-1's key is approved")).to_be_visible()
    operator.page.goto("/account")
    expect(card).to_contain_text("approved; in force after the next policy publication")

    publish(database, site, without_keys=True)
    seeded = seed.judged(database)
    operator.page.goto(f"/incidents/{seeded.incident_id}")
    expect(operator.page.get_by_text("You have no key that counts yet.")).to_be_visible()
    expect(operator.page.locator("#approve")).to_have_count(0)
    operator.picture("incident-no-key")

    people = publish(database, site)
    expect(operator.page.locator("#approve")).to_be_visible()  # it came by itself
    operator.page.locator("#comment").fill("seen, signed")
    operator.picture("incident-approve")
    operator.page.locator("#approve").click()
    expect(operator.page.get_by_text("Approved. The order leaves once").first).to_be_visible()
    assert state_of(database, seeded) == "approved"
    (given,) = approvals(database, seeded)
    assert given.comment == "seen, signed"
    on_the_node(seeded, people, [given], "low")
    operator.page.goto("/account")
    expect(card).to_contain_text("in force")
    expect(card).to_contain_text("last used")
    assert log.count("credential.request") == log.count("credential.approve") == 1


def test_two_people_sign_what_is_risky_each_with_their_own_key(
    window: Window, site: Site, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Verdict, "risk", "high", raising=False)
    one, two = window("operator-1"), window("operator-2", width=390, dark=True)
    one.enrol("first")
    two.enrol("second")
    expect(two.page.locator("#part-keyring .card")).to_have_count(1)
    approve_keys(database)
    people = publish(database, site)
    seeded = seed.judged(database, people=people)
    place = f"/incidents/{seeded.incident_id}"
    one.page.goto(place)
    expect(one.page.locator(".tally")).to_contain_text("0 of 2 people said yes")
    one.picture("incident-two-wide")
    one.page.locator("#approve").click()
    expect(one.page.get_by_text("Your yes counts: 1 of 2.").first).to_be_visible()
    expect(one.page.get_by_text("You said yes: 1 of 2.")).to_be_visible()
    expect(one.page.locator("#approve")).to_have_count(0)
    one.picture("incident-one-of-two")
    assert state_of(database, seeded) == "awaiting"
    (half,) = approvals(database, seeded)
    with pytest.raises(OrderRefusedError, match="1 of 2 people said yes"):
        on_the_node(seeded, people, [half], "high")
    two.page.goto(place)
    expect(two.page.locator(".tally")).to_contain_text("1 of 2 people said yes; another operator")
    two.picture("incident-two-narrow-dark")
    assert two.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert two.page.evaluate(CONTRAST) == []
    two.page.locator("#approve").click()
    expect(two.page.get_by_text("Approved. The order leaves once").first).to_be_visible()
    assert state_of(database, seeded) == "approved"
    on_the_node(seeded, people, approvals(database, seeded), "high")


def test_a_key_that_did_not_recognise_the_person_approves_nothing(
    window: Window, site: Site, database: Database
) -> None:
    operator = window("operator-1")
    operator.enrol()
    expect(operator.page.locator("#part-keyring .card")).to_have_count(1)
    approve_keys(database)
    publish(database, site)
    seeded = seed.judged(database)
    operator.page.goto(f"/incidents/{seeded.incident_id}")
    operator.verified(False)
    operator.page.locator("#approve").click()
    problem = operator.page.locator("#sign-problem")
    expect(problem).to_contain_text("Nothing was approved. Your key did not answer, or did not")
    operator.picture("incident-not-verified")
    assert state_of(database, seeded) == "awaiting"
    assert approvals(database, seeded) == []
    operator.verified(True)
    operator.page.locator("#approve").click()
    expect(operator.page.get_by_text("Approved. The order leaves once").first).to_be_visible()


def test_a_browser_that_is_talked_into_not_asking_who_it_is_gets_a_no_from_the_hub(
    window: Window, site: Site, database: Database
) -> None:
    """The page's script is changed to ask for no verification: the signature says so itself."""
    operator = window("operator-1")
    operator.enrol()
    expect(operator.page.locator("#part-keyring .card")).to_have_count(1)
    approve_keys(database)
    publish(database, site)
    seeded = seed.judged(database)
    operator.page.goto(f"/incidents/{seeded.incident_id}")
    operator.verified(False)
    operator.page.evaluate(
        """() => {
            const get = navigator.credentials.get.bind(navigator.credentials);
            navigator.credentials.get = (asked) => {
                asked.publicKey.userVerification = "discouraged";
                return get(asked);
            };
        }"""
    )
    operator.page.locator("#approve").click()
    expect(operator.page.get_by_text("user was not verified")).to_be_visible()
    assert state_of(database, seeded) == "awaiting"
    assert approvals(database, seeded) == []


def test_a_plan_that_changes_while_the_key_is_looked_for_is_not_approved(
    window: Window, site: Site, database: Database
) -> None:
    operator = window("operator-1")
    operator.enrol()
    expect(operator.page.locator("#part-keyring .card")).to_have_count(1)
    approve_keys(database)
    publish(database, site)
    seeded = seed.judged(database)
    operator.page.goto(f"/incidents/{seeded.incident_id}")
    operator.page.evaluate(
        """() => {
            const get = navigator.credentials.get.bind(navigator.credentials);
            navigator.credentials.get = async (asked) => {
                const answer = await get(asked);
                document.getElementById("answer").dataset.sign = "AAAA";
                return answer;
            };
        }"""
    )
    operator.page.locator("#approve").click()
    expect(operator.page.locator("#sign-problem")).to_contain_text("The plan changed while")
    assert approvals(database, seeded) == []


def test_rejecting_and_the_keyboard_need_no_key(
    window: Window, site: Site, database: Database
) -> None:
    operator = window("operator-1")
    operator.enrol()
    expect(operator.page.locator("#part-keyring .card")).to_have_count(1)
    approve_keys(database)
    publish(database, site)
    seeded = seed.judged(database)
    operator.page.goto(f"/incidents/{seeded.incident_id}")
    operator.page.locator("#comment").focus()
    operator.page.keyboard.type("not now")
    operator.page.keyboard.press("Tab")
    expect(operator.page.locator("#approve")).to_be_focused()
    operator.page.keyboard.press("Tab")
    operator.page.keyboard.press("Enter")
    expect(operator.page.get_by_text("Rejected. Nothing of this plan will run.")).to_be_visible()
    assert state_of(database, seeded) == "rejected"


def test_the_same_key_is_not_enrolled_for_two_people(
    window: Window, site: Site, database: Database
) -> None:
    one = window("operator-1")
    one.enrol()
    expect(one.page.locator("#part-keyring .card")).to_have_count(1)
    one.verified(False)
    one.enrol("again")
    expect(one.page.locator("#enrol-problem")).to_contain_text("No key was added.")
    assert len(rows(database)) == 1


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_about_keys_fit_their_screen_and_have_enough_contrast(
    window: Window, site: Site, database: Database, width: int
) -> None:
    admin = window("admin-1", width=width, dark=width == 390)
    admin.enrol("mine, with a name that is rather long for a narrow screen to show")
    operator = window("operator-1")
    operator.enrol()
    expect(operator.page.locator("#part-keyring .card")).to_have_count(1)
    for published in (None, {}, {"password_only": True}):
        if published is not None:
            approve_keys(database)
            publish(database, site, **published)
        seeded = seed.judged(database, author="operator-2", mode=Mode.LIVE)
        for name in ("/account", "/people", f"/incidents/{seeded.incident_id}"):
            admin.page.goto(name)
            banner = admin.page.get_by_text("Approvals need no key at this site")
            expect(banner).to_have_count(1 if published and published.get("password_only") else 0)
            admin.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert admin.page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert admin.page.evaluate(CONTRAST) == [], name
            what = "none" if published is None else "only" if published else "published"
            admin.picture(f"{name.split('/')[1]}-{what}-{width}")
