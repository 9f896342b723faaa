"""The console in a real Chromium, served by gunicorn over TLS as it is at a site."""

import base64
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from appliance.lifecycle import State
from appliance.records import Mode
from hub.persist.database import Database
from tests.console import seed
from tests.console.conftest import PASSWORD, publish
from tests.console.site import Site

pytestmark = [pytest.mark.postgres, pytest.mark.browser]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=15_000)
CONTRAST = Path(__file__).with_name("contrast.js").read_text()

# Where each letter of the first command stands, and whether it is marked.
CELLS = """() => {
  const command = document.getElementById("command-1");
  const walk = document.createTreeWalker(command, NodeFilter.SHOW_TEXT);
  const cells = [];
  for (let text = walk.nextNode(); text; text = walk.nextNode()) {
    for (let at = 0; at < text.length; at++) {
      const range = document.createRange();
      range.setStart(text, at); range.setEnd(text, at + 1);
      const box = range.getBoundingClientRect();
      const marked = text.parentElement.closest("mark") !== null;
      cells.push({ letter: text.data[at], marked, x: box.x, width: box.width, under: box.bottom });
    }
  }
  return cells;
}"""
# Whether something is drawn below each of these letters in a picture of the page.
DRAWN_BELOW = """async ([picture, cells]) => {
  const image = new Image();
  image.src = "data:image/png;base64," + picture;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width; canvas.height = image.height;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return cells.map(({ x, width, under }) => {
    const box = [Math.ceil(x) + 1, Math.ceil(under) + 1, Math.max(1, Math.floor(width) - 2), 5];
    const { data } = context.getImageData(...box);
    const colours = new Set();
    for (let at = 0; at < data.length; at += 4) colours.add(data.slice(at, at + 3).join());
    return colours.size > 1;
  });
}"""
# Parts of the commands that reach beyond the screen.
OUTSIDE = """() => [...document.querySelectorAll("#part-plan *")]
  .filter((node) => node.checkVisibility() && !node.closest(".hidden, pre.explain"))
  .filter((node) => node.getBoundingClientRect().right > document.documentElement.clientWidth)
  .map((node) => node.outerHTML.slice(0, 80))"""

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path: Path, dsn: str, people: None, database: Database) -> Iterator[Site]:
    seed.node(database)
    seed.alive(database)
    publish(database, password_only=True)  # keys have a file of their own beside this one
    site = Site(tmp_path, dsn)
    yield site
    assert site.stop() == 0, site.log.read_text()


@pytest.fixture
def problems() -> list[str]:
    """What the browser complains about: broken scripts, a broken content policy, lost requests."""
    return []


@pytest.fixture
def window(chromium: Browser, site: Site, problems: list[str]) -> Iterator[Open]:
    """Open a signed-in window; at the end the browser may have nothing to complain about."""
    contexts: list[BrowserContext] = []

    def make(*, name: str = "operator-1", width: int = 1280, dark: bool = False) -> Page:
        context = chromium.new_context(
            ignore_https_errors=True,
            viewport={"width": width, "height": 800},
            color_scheme="dark" if dark else "light",
            base_url=site.url,
        )
        contexts.append(context)
        context.set_default_timeout(20_000)  # a busy machine is slow, not wrong
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.goto("/sign-in")
        expect(page.get_by_label("Name")).to_be_focused()
        page.keyboard.type(name)
        page.keyboard.press("Tab")
        expect(page.get_by_label("Password")).to_be_focused()
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/incidents")
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []


def test_an_incident_appears_resolves_and_leaves_focus_and_typed_text_alone(
    window: Open, database: Database
) -> None:
    page = window()
    expect(page.get_by_text("All quiet.")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    seeded = seed.judged(database)
    row = page.get_by_role("link", name=re.compile("leaky grows by"))
    expect(row).to_be_visible()
    expect(page).to_have_title("(1) Incidents · Sentinel")
    page.keyboard.press("j")
    expect(row).to_be_focused()
    seed.judged(database, found=seed.finding(name="worker"))
    expect(page.get_by_role("link", name=re.compile("worker grows by"))).to_be_visible()
    expect(row).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("leaky")
    expect(page.get_by_role("link", name=re.compile("worker grows by"))).to_have_count(0)
    assert "text=leaky" in page.url
    expect(page.locator("#search")).to_be_focused()
    seed.moved(database, seeded, State.REJECTED)
    expect(page.locator("#part-rows").get_by_text("rejected")).to_be_visible()
    expect(page.locator("#search")).to_have_value("leaky")
    assert page.evaluate("window.sameDocument") is True


def test_an_operator_approves_by_keyboard_only(window: Open, database: Database) -> None:
    seeded = seed.judged(database)
    page = window()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{seeded.incident_id}")
    expect(page.locator(".badge.live.big")).to_be_visible()
    expect(page.locator("time[data-until]").first).to_contain_text("left")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "comment":
            break
    page.keyboard.type("seen and agreed")
    page.keyboard.press("Tab")
    button = page.locator("#approve")
    expect(button).to_be_focused()
    outline = button.evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_text("Approved. The order leaves once").first).to_be_visible()
    expect(page.get_by_text("seen and agreed").first).to_be_visible()
    with database.transaction() as work:
        row = work.one("lock_judgement", incident_id=seeded.incident_id)
    assert row is not None
    assert row["state"] == "approved"


def test_a_comment_being_typed_outlives_news_and_the_end_of_the_incident_is_shown(
    window: Open, database: Database
) -> None:
    seeded = seed.judged(database, mode=Mode.DRY_RUN)
    page = window()
    page.goto(f"/incidents/{seeded.incident_id}")
    page.locator("#comment").click()
    page.keyboard.type("half a sen")
    with database.transaction() as work:  # the notary falls silent: the form is drawn anew
        work._connection.execute("UPDATE heartbeat SET at = at - interval '1 hour'")
    expect(page.get_by_text("The audit log cannot be written")).to_be_visible()
    expect(page.locator("#approve")).to_have_count(0)
    expect(page.locator("#comment")).to_have_value("half a sen")
    expect(page.locator("#comment")).to_be_focused()
    page.keyboard.type("tence")
    expect(page.locator("#comment")).to_have_value("half a sentence")
    seed.alive(database)
    expect(page.locator("#approve")).to_be_visible()
    seed.moved(database, seeded, State.RECOVERED)
    expect(page.locator("#part-head").get_by_text("recovered")).to_be_visible()
    expect(page.locator("#comment")).to_have_count(0)


def test_hostile_names_do_nothing_in_a_browser(window: Open, database: Database) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    seeded = seed.judged(database, found=seed.finding(name=evil, summary=evil))
    page = window()
    for path in ("/incidents", f"/incidents/{seeded.incident_id}"):
        page.goto(path)
        expect(page.get_by_text("<img src=x").first).to_be_visible()
        assert "owned" not in page.title().split("·")[-1]
        assert page.locator("img").count() == 0


def test_an_inline_script_would_be_stopped_by_the_policy(window: Open, problems: list[str]) -> None:
    page = window()
    page.evaluate(
        """() => {
            document.addEventListener("securitypolicyviolation",
                (event) => { window.stopped = event.effectiveDirective; });
            const script = document.createElement("script");
            script.textContent = "window.ran = 1";
            document.body.append(script);
        }"""
    )
    page.wait_for_function("window.stopped")
    assert page.evaluate("[window.ran ?? null, window.stopped]") == [None, "script-src-elem"]
    assert len(problems) == 1
    problems.clear()


def test_a_console_that_is_gone_is_said_on_the_page(
    window: Open, site: Site, problems: list[str]
) -> None:
    page = window()
    site.end()
    said = page.get_by_text("No connection to the console since")
    expect(said).to_be_visible(timeout=20_000)  # it ends gracefully, which takes a while
    problems.clear()


PAGES = ("/incidents", "INCIDENT", "MANUAL", "/nodes", "/audit", "/status", "/people", "/account")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_every_page_fits_its_screen_and_has_enough_contrast(
    window: Open, database: Database, width: int, scheme: str
) -> None:
    long = "a-process-with-a-name-that-has-no-place-to-break-" * 4
    live = seed.judged(database, found=seed.finding(name=long))
    manual = seed.judged(
        database, rulings=("allow", "review", "block"), state=State.MANUAL,
        model_error="no model", mode=Mode.DRY_RUN, author=long[:200],
    )  # fmt: skip
    seed.logged(database, live.incident_id, text=long)
    page = window(name="admin-1", width=width, dark=scheme == "dark")
    places = {
        "INCIDENT": f"/incidents/{live.incident_id}", "MANUAL": f"/incidents/{manual.incident_id}"
    }  # fmt: skip
    for name in PAGES:
        page.goto(places.get(name, name))
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} wide"
        assert page.evaluate(CONTRAST) == [], name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_the_carets_are_under_the_word_of_the_reason_and_the_panel_fits(
    window: Open, database: Database, width: int, scheme: str
) -> None:
    word = "--an-option-with-a-name-that-has-no-place-on-one-line-of-a-narrow-screen"
    seeded = seed.judged(
        database, commands=(f"ps aux {word} -y", "ls $(id) '\\u0430'"), state=State.MANUAL
    )
    page = window(width=width, dark=scheme == "dark")
    page.goto(f"/incidents/{seeded.incident_id}")
    mark = page.locator("#command-1 mark")
    assert mark.inner_text() == word
    assert page.locator("#command-1").evaluate("node => node.textContent") == f"ps aux {word} -y"
    lines = mark.evaluate("node => node.getClientRects().length")
    assert lines > 1 if width < 1000 else lines == 1
    page.locator("#command-1").scroll_into_view_if_needed()
    cells = page.evaluate(CELLS)
    assert "".join(cell["letter"] for cell in cells if cell["marked"]) == word
    picture = base64.b64encode(page.screenshot(scale="css")).decode()
    drawn = page.context.new_page().evaluate(DRAWN_BELOW, [picture, cells])
    assert drawn == [cell["marked"] for cell in cells]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(CONTRAST) == []
    summary = page.locator("#text-2 summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#text-2 pre")).to_contain_text("bash would also run: id")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_the_server_speaks_tls_1_2_or_later_and_logs_no_token(
    site: Site, database: Database
) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    answer = httpx.get(f"{site.url}/sign-in/once?token=very-secret", verify=old)
    assert answer.status_code == 200
    assert "very-secret" not in site.log.read_text()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")  # so that it is the server that says no
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.ConnectError, match="alert protocol version"):
        httpx.get(f"{site.url}/sign-in", verify=old)
