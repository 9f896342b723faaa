"""Halting and going on in a real Chromium: one button stops, an administrator's key ends it.

The authenticator is Chromium's own virtual one. What it signed is checked at the end by the code
that runs on a node, on a node's own file of halts.
"""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from agent.errors import OrderRefusedError
from agent.halts import Halts
from agent.resume import demand_lifted
from appliance.halt import Halt
from hub.persist import halts
from hub.persist.database import Database
from tests.console import seed
from tests.console.site import Site
from tests.console.test_browser import CONTRAST
from tests.console.test_keys_in_a_browser import (
    Somebody,
    Window,
    approve_keys,
    certificate,
    chromium,
    log,
    publish,
    site,
    window,
)
from tests.hub.builders import sql

__all__ = ["certificate", "chromium", "log", "site", "window"]

pytestmark = [pytest.mark.postgres, pytest.mark.browser, pytest.mark.timeout(600)]
STOPPED = "a hub that acts strangely"


def halt(admin: Somebody) -> None:
    admin.page.goto("/nodes")
    admin.page.get_by_label("Why").fill(STOPPED)
    admin.page.get_by_role("button", name="Stop").click()
    expect(admin.page.get_by_text("Every node is told to run nothing more.")).to_be_visible()


def go_on(admin: Somebody) -> None:
    admin.page.get_by_role("button", name="Let them go on").click()


def test_an_administrator_stops_all_nodes_and_ends_it_with_their_own_key(
    window: Window, site: Site, database: Database, log: list[str], tmp_path: Path
) -> None:
    admin, operator = window("admin-1"), window("operator-1")
    for one in (admin, operator):
        one.enrol()
        expect(one.page.locator("#part-keyring .card")).to_contain_text("waits for")
    approve_keys(database)
    people = publish(database, site)
    halt(admin)
    operator.page.goto("/nodes")  # who is no administrator is not even asked
    expect(operator.page.get_by_text(STOPPED).first).to_be_visible()
    expect(operator.page.get_by_role("button", name="Let them go on")).to_have_count(0)

    admin.verified(yes=False)  # the key cannot tell whose finger it is
    go_on(admin)
    expect(admin.page.locator("#resume-problem")).to_contain_text("The halt stays.")
    (row,) = halts.in_force(database)
    admin.picture("nodes-halted")
    assert admin.page.evaluate(CONTRAST) == []

    admin.verified(yes=True)
    go_on(admin)
    expect(admin.page.get_by_text("Each node goes on once it has checked")).to_be_visible()
    assert halts.in_force(database) == []
    (kept,) = sql(database, "SELECT lifted_by, resumption FROM halt")
    assert kept["lifted_by"] == "admin-1"

    node = Halts(tmp_path / "halted.json")
    node.halt(Halt(halt_id=str(row["halt_id"]), reason=STOPPED), whose="hub", now=seed.now())
    assert demand_lifted(bytes(kept["resumption"]), node, people) == str(row["halt_id"])
    other = Halts(tmp_path / "other.json")
    other.halt(Halt(halt_id=str(row["halt_id"]), reason="x"), whose="hub", now=seed.now())
    with pytest.raises(OrderRefusedError, match="resume 5"):
        demand_lifted(bytes(kept["resumption"]), other, people)
    assert log.count("node.halt") + log.count("node.resume") >= 1  # the notary takes them in turn


def test_a_halt_that_somebody_else_ended_meanwhile_is_not_ended_twice(
    window: Window, site: Site, database: Database
) -> None:
    admin = window("admin-1")
    admin.enrol()
    expect(admin.page.locator("#part-keyring .card")).to_contain_text("waits for")
    approve_keys(database)
    publish(database, site)
    halt(admin)
    form = admin.page.locator("form[data-resume]")
    expect(form).to_have_count(1)
    sql(database, "UPDATE halt SET lifted_at = now(), lifted_by = 'elsewhere'")
    go_on(admin)
    expect(admin.page.get_by_text("there is no such halt in force").or_(
        admin.page.get_by_text("The halt changed while you were asked")
    ).first).to_be_visible()  # fmt: skip
    (kept,) = sql(database, "SELECT lifted_by, resumption FROM halt")
    assert (kept["lifted_by"], kept["resumption"]) == ("elsewhere", None)
