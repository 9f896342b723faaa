"""The audit page in a real Chromium, over a real log."""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from audit.__main__ import main as sentinel_audit
from hub.persist import witness
from hub.persist.database import Database
from tests.console import seed
from tests.console.conftest import PASSWORD, publish
from tests.console.site import Site
from tests.console.test_audit_page import flip, say
from tests.console.test_browser import ARGUMENTS, CONTRAST
from tests.hub.notary import InProcessNotary

pytestmark = [pytest.mark.postgres, pytest.mark.browser]

Open = Callable[..., Page]
LONG = "a-name-that-has-no-place-to-break-" * 7


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def notary(tmp_path: Path, database: Database) -> Iterator[InProcessNotary]:
    made = InProcessNotary(tmp_path, database)
    (tmp_path / "noted.vkey").write_text(f"{made.signer.vkey}\n")
    yield made
    made.close()


@pytest.fixture
def site(
    tmp_path: Path, dsn: str, people: None, database: Database, notary: InProcessNotary
) -> Iterator[Site]:
    seed.node(database)
    seed.alive(database)
    publish(database, password_only=True)
    files = f'log = "{tmp_path}/log"\nlog_vkey = "{tmp_path}/noted.vkey"\n'
    site = Site(tmp_path, dsn, more=files)
    yield site
    assert site.stop() == 0, site.log.read_text()


@pytest.fixture
def window(chromium: Browser, site: Site) -> Iterator[Open]:
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def make(name: str, *, width: int = 1280, dark: bool = False) -> Page:
        context = chromium.new_context(
            ignore_https_errors=True,
            viewport={"width": width, "height": 800},
            color_scheme="dark" if dark else "light",
            base_url=site.url,
        )
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.goto("/sign-in")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/incidents")
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []


def test_an_open_page_turns_red_by_itself_when_a_byte_of_the_log_changes(
    window: Open, database: Database, notary: InProcessNotary
) -> None:
    say(database, "needle")
    size = notary.write()
    page = window("viewer-1")
    page.goto("/audit?type=manual.step")
    row = page.locator("tr", has=page.locator(f"#e-{size - 1}"))
    expect(row.get_by_text("verified")).to_be_visible()
    flip(notary, "needle")
    expect(row.get_by_text("NOT VERIFIED")).to_be_visible()
    expect(page.get_by_text("1 of 1 not as signed")).to_be_visible()
    colour = row.locator(".badge").first.evaluate("node => getComputedStyle(node).color")
    assert colour == "rgb(168, 30, 30)"
    flip(notary, "oeedle")
    expect(row.get_by_text("NOT VERIFIED")).to_have_count(0)


def test_an_entry_is_found_and_opened_and_its_proof_taken_without_a_mouse(
    window: Open, database: Database, notary: InProcessNotary, tmp_path: Path
) -> None:
    say(database, "hay")
    say(database, "needle")
    size = notary.write()
    page = window("viewer-1")
    page.goto("/audit")
    page.keyboard.press("/")
    page.keyboard.type("needle")
    expect(page.locator("#part-entries tbody tr")).to_have_count(1)
    assert "text=needle" in page.url
    bookmark = page.url
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == f"e-{size - 1}":
            break
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/audit/{size - 1}")
    expect(page.locator(".ladder")).to_be_visible()
    for link, name in (("#proof-file", "tlog-proof"), ("#line-file", "entry")):
        page.locator(link).focus()
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        assert download.value.suggested_filename == f"entry-{size - 1}.{name}"
        download.value.save_as(tmp_path / download.value.suggested_filename)
    given = [str(tmp_path / f"entry-{size - 1}.{end}") for end in ("tlog-proof", "entry")]
    assert sentinel_audit(["check", *given, "--vkey-file", str(tmp_path / "noted.vkey")]) == 0
    page.goto(bookmark)
    expect(page.locator("#part-entries tbody tr")).to_have_count(1)


def test_an_administrator_makes_an_export_in_the_browser_and_it_verifies(
    window: Open, database: Database, notary: InProcessNotary, tmp_path: Path
) -> None:
    notary.write(10)
    page = window("admin-1")
    page.goto("/audit")
    page.get_by_label("First entry").fill("2")
    page.get_by_label("Why").fill("the yearly audit")
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("button", name="Make the export").click()
    assert download.value.suggested_filename.startswith("audit-2-")
    out = tmp_path / "out.tar"
    download.value.save_as(out)
    folder = tmp_path / "unpacked"
    with tarfile.open(out) as archive:
        archive.extractall(folder, filter="data")
    (export,) = folder.iterdir()
    assert sentinel_audit(["verify", str(export), "--vkey-file", str(tmp_path / "noted.vkey")]) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_the_audit_pages_fit_their_screen_and_have_enough_contrast(
    window: Open, database: Database, notary: InProcessNotary, width: int, scheme: str
) -> None:
    seeded = seed.judged(database, found=seed.finding(name=LONG[:100]))
    say(database, LONG, incident=seeded.incident_id, body={LONG[:60].replace("-", "_"): [LONG]})
    say(database, "wrong")
    with database.transaction() as work:
        notes = [f"{word}\n\n\u2014 {LONG[:200]} AAAA\n" for word in ("accepted", "refused")]
        witness.forked(work, node="node-1", reason=LONG, notes=notes, now=seed.now())
        work.run("witness_seen", node="node-1", size=2, root="ab" * 32, now=seed.now())
        work.run("outside_add", name=LONG, vkey="v", url="https://w.example/")
        work.run("outside_said", name=LONG, size=1, trouble=LONG, alarm=True, now=seed.now())
    size = notary.write(40)
    flip(notary, "wrong")
    page = window("admin-1", width=width, dark=scheme == "dark")
    wrong = page.request.get("/audit?text=wrong&type=manual.step").text().split('id="e-')[1]
    odd = int(wrong.split('"')[0])
    for path in ("/audit", f"/audit/{odd}", f"/audit/{odd - 1}", f"/audit/{size - 1}"):
        page.goto(path)
        for summary in page.locator("main summary").all():
            summary.focus()
            page.keyboard.press("Enter")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{path} is {wide} wide"
        assert page.evaluate(CONTRAST) == [], path
