"""Stopping all nodes in a real browser: seen at once on every open page, on every screen."""

import os

import pytest
from playwright.sync_api import expect

from hub.persist.database import Database
from tests.console import seed
from tests.console.test_browser import CONTRAST, Open, chromium, problems, site, window
from tests.hub.reporter import Reporter

__all__ = ["chromium", "problems", "site", "window"]

pytestmark = [pytest.mark.postgres, pytest.mark.browser, pytest.mark.xdist_group("chromium")]
NODE = "node-1"


def trouble(db: Database) -> None:
    """A node that obeyed, one that was not heard, a hole in reports, and another key."""
    seed.node(db, NODE)
    seed.node(db, "node-2")
    node = Reporter(node=NODE)
    node.introduces_itself(db, halted=True, reason="a hub that acts strangely")
    node.last = 6
    node.tells(db, node.next("00000000-0000-7000-8000-000000000000"))
    Reporter(node="node-2").introduces_itself(db)
    Reporter(node="node-2").introduces_itself(db)


def test_an_administrator_stops_the_fleet_and_an_open_page_of_somebody_else_turns_red(
    window: Open, database: Database
) -> None:
    seed.node(database, NODE)
    watching, admin = window(name="viewer-1"), window(name="admin-1")
    admin.goto("/nodes")
    admin.get_by_label("Why").fill("a hub that acts strangely")
    admin.get_by_role("button", name="Stop").click()
    expect(admin.get_by_text("Every node is told to run nothing more.")).to_be_visible()
    banner = watching.get_by_role("alert").filter(has_text="All nodes stopped")
    expect(banner).to_be_visible(timeout=15_000)  # without a reload
    Reporter(node=NODE).introduces_itself(database, halted=True, reason="a hub")
    expect(admin.get_by_text("say that they are halted")).to_contain_text("1 of 1", timeout=15_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_the_nodes_in_trouble_fit_the_screen_and_have_enough_contrast(
    window: Open, database: Database, width: int, scheme: str
) -> None:
    trouble(database)
    page = window(name="admin-1", width=width, dark=scheme == "dark")
    page.goto("/nodes")
    page.get_by_label("Why").fill("why")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("is told to run nothing more")).to_be_visible()
    if folder := os.environ.get("SENTINEL_PICTURES"):
        page.screenshot(path=f"{folder}/nodes-{width}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []
