"""Two signers change what is in force under a running appliance, and nobody restarts anything."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance import envelope
from appliance.demo.trust import SIGNERS
from appliance.errors import TrustError
from appliance.publishing import ceremony, in_force
from appliance.publishing.ceremony import Wanted
from appliance.publishing.folder import Folder
from policy.bundle import SHIPPED_RULES
from tests.journeys.appliance import Running, running, wait_for

pytestmark = [pytest.mark.journey, pytest.mark.xdist_group("one fault at a time")]


def test_a_policy_that_two_signers_change_is_in_force_on_the_hub_and_the_node(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "site") as site:
        wait_for(lambda: believed(site) == 1, within_s=60, why="the first set on the node")
        fault = site.start_fault()
        site.until("awaiting")
        before = site.row()["shown_digest"]
        rules = tmp_path / "rules.d"
        shutil.copytree(SHIPPED_RULES, rules)
        (rules / "90-site.toml").write_text("# the site's own\n")
        folder, now = Folder(site.site.trust), datetime.now(UTC)
        ceremony.draft(folder, Wanted(policy=rules), days=90, now=now)
        sign(site, folder, SIGNERS[0])
        with pytest.raises(TrustError, match="1 more of signer-2"):
            publish(site, folder)
        assert believed(site) == 1
        sign(site, folder, SIGNERS[1])
        publish(site, folder)
        wait_for(lambda: believed(site) == 2, within_s=60, why="the second set on the node")
        wait_for(
            lambda: site.state() == "awaiting" and site.row()["shown_digest"] != before,
            within_s=60,
            why="the plan judged anew",
        )
        assert site.row()["shown"]["policy_sequence"] == 2
        site.approve()
        assert site.until("resolved", "unresolved", "refused") == "resolved"
        assert fault.process.wait(10) == -15
        assert site.verify() == 0
        assert site.entries("policy.change") == 2


def believed(site: Running) -> int:
    """The version of targets that the node says it believes."""
    with site.database().transaction() as work:
        rows: list[dict[str, Any]] = work.all("view_node_trust")
    return int(rows[0]["versions"].get("targets", 0)) if rows and rows[0]["versions"] else 0


def sign(site: Running, folder: Folder, name: str) -> None:
    key = envelope.load_key(site.site.root / "keys" / f"{name}.key")
    ceremony.sign(folder, ceremony.pending(folder, key.public_key()), key)


def publish(site: Running, folder: Folder) -> None:
    now = datetime.now(UTC)
    in_force.publish(folder, config=site.site.settings("serve"), by="test", now=now)
