"""A person at a real Chromium: sign in, read, approve, and see the incident resolve, live."""

import re
import shutil
from pathlib import Path

import pytest
from appliance.demo.people import OPERATOR
from playwright.sync_api import expect, sync_playwright

from tests.browser.__main__ import PROGRAMS
from tests.browser.picture import FLAGS
from tests.journeys.appliance import running

pytestmark = [
    pytest.mark.journey,
    pytest.mark.browser,
    pytest.mark.xdist_group("one fault at a time"),
]
PATIENCE_MS = 60_000


def test_a_person_signs_in_approves_and_sees_the_incident_resolve(tmp_path: Path) -> None:
    program = next(path for name in PROGRAMS if (path := shutil.which(name)))
    with running(tmp_path / "site", password_only=True) as site, sync_playwright() as playwright:
        fault = site.start_fault()
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_context(ignore_https_errors=True).new_page()
        page.set_default_timeout(PATIENCE_MS)
        loads: list[str] = []
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.goto(f"{site.site.console_url}/sign-in")
        page.fill("input[name=name]", OPERATOR)
        page.fill("input[name=password]", site.assembly.password)
        page.press("input[name=password]", "Enter")
        site.until("awaiting")
        page.locator(f"a[href='/incidents/{site.incident()}']").first.click()  # it came by itself
        expect(page.get_by_text(f"kill -TERM {fault.process.pid}").first).to_be_visible()
        page.get_by_role("textbox", name="Comment").fill("looks right")
        page.get_by_role("button", name="Approve and run").click()
        page.on("load", lambda: loads.append(page.url))
        badge = page.locator("p.badges .badge").first
        expect(badge).to_contain_text(re.compile(r"^\W*resolved$"), timeout=PATIENCE_MS)
        assert fault.process.wait(10) == -15
        assert len(loads) <= 1, "the page was loaded again to see the end"
        assert [text for text in problems if "Content Security Policy" in text] == []
        browser.close()
        assert site.verify() == 0
