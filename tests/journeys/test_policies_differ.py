"""Hub and node judge apart: where they differ nothing runs, and the difference is on record."""

from pathlib import Path

import pytest

from tests.journeys.appliance import running

pytestmark = [pytest.mark.journey, pytest.mark.xdist_group("one fault at a time")]


def test_a_node_whose_own_policy_says_no_refuses_what_hub_and_person_allowed(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "site") as site:
        fault = site.start_fault()
        site.until("awaiting")
        overlay = tmp_path / "overlay.toml"
        overlay.write_text("[[forbid]]\nnames = ['kill']\nwhy = 'nothing is ended here'\n")
        config = site.site.settings("executor")
        config.write_text(f'{config.read_text()}policy_overlay = "{overlay}"\n')
        site.kill("executor")
        site.approve()
        assert site.until("refused", "resolved", "unresolved") == "refused"
        assert fault.process.poll() is None
        report = site.row()["report"]
        assert report["refused_step"] == "8 policy"
        assert "overlay.toml:1: nothing is ended here" in report["reason"]
        assert site.verify() == 0
        assert site.entries("exec.refuse") == 1
        assert site.entries("exec.result") == 0
