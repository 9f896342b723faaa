"""The hub's disk is set back to yesterday's: the nodes remember, nothing runs, and it is seen."""

import shutil
import subprocess
from pathlib import Path

import pytest

from agent.executor_process import main as sentinel_executor
from appliance.demo.assembly import OPERATOR
from appliance.demo.operator import Console
from appliance.launch import Part
from hub.errors import DatabaseError
from tests.journeys.appliance import Running, running, wait_for

pytestmark = [pytest.mark.journey, pytest.mark.xdist_group("one fault at a time")]

HUB_PARTS = ("console", "reason", "serve", "notary", "postgres")


def stop_the_hub(site: Running) -> list[Part]:
    site.close()
    site._db = None
    parts = [site.part(name) for name in HUB_PARTS]
    for part in parts:
        site.assembly.launcher.stop(part)
    return parts


def start_the_hub(site: Running, parts: list[Part]) -> None:
    for part in reversed(parts):
        site.assembly.launcher.restart(part)
        site.assembly.launcher.parts.append(part)
        if part.name == "postgres":
            wait_for(lambda: answers(site), within_s=30, why="PostgreSQL")


def answers(site: Running) -> bool:
    try:
        with site.database().transaction() as work:
            return work.one("newest_checkpoint") is not None
    except DatabaseError:
        return False


def copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def one(site: Running, query: str, **values: object) -> dict[str, object]:
    with site.database().transaction() as work:
        return work.one(query, **values) or {}


def stands_at(site: Running) -> int:
    """How many entries of the log the node has accepted, by its own file."""
    file = site.site.root / "executor" / "checkpoint.json"
    text = file.read_text() if file.exists() else '{"size":0'
    return int(text.split('"size":')[1].split(",")[0].rstrip("}"))


def grow_the_log(site: Running, beyond: int) -> None:
    """People sign in, each an entry, until the node has accepted more of the log than that."""

    def gone_on() -> bool:
        with Console(site.site.console_url, ca=site.site.ca) as console:
            signed_in(console, site)
        return stands_at(site) > beyond

    wait_for(gone_on, within_s=90, why="the log to go on")


def signed_in(console: Console, site: Running) -> bool:
    try:
        console.sign_in(OPERATOR, site.assembly.password)
    except Exception:  # noqa: BLE001 - it may be starting; asked again
        return False
    return True


def test_a_hub_restored_from_an_old_backup_is_noticed_and_runs_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "site") as site:
        root = site.site.root
        grow_the_log(site, beyond=0)
        parts = stop_the_hub(site)
        copy(root / "postgres" / "data", tmp_path / "data")
        copy(root / "audit", tmp_path / "audit")
        start_the_hub(site, parts)
        backup = int((tmp_path / "audit" / "checkpoint").read_text().split("\n")[1])
        grow_the_log(site, beyond=backup + 2)
        assert one(site, "view_cosigned")["cosignatures"]

        parts = stop_the_hub(site)
        memory = (root / "executor" / "checkpoint.json").read_bytes()
        accepted = stands_at(site)
        for kept, place in ((tmp_path / "data", root / "postgres" / "data"),
                            (tmp_path / "audit", root / "audit")):  # fmt: skip
            shutil.rmtree(place)
            copy(kept, place)
        start_the_hub(site, parts)

        wait_for(lambda: bool(one(site, "view_forks")), within_s=60, why="the alarm")
        wait_for((root / "executor" / "fork.json").exists, within_s=60, why="the node's refusal")
        wait_for(lambda: bool(one(site, "view_forks")["evidence"]), within_s=30, why="evidence")
        with Console(site.site.console_url, ca=site.site.ca) as console:
            wait_for(lambda: signed_in(console, site), within_s=60, why="the console")
            assert "does not follow this hub" in console.page("/incidents")
            notes = console.page("/nodes/demo-node/fork")
        assert notes.count("\u2014 demo.sentinel.internal/log ") == 2
        assert f"\n{accepted}\n" in notes

        fault = site.start_fault()
        site.approve()
        assert site.until("refused", "resolved", "unresolved", "outcome_unknown") == "refused"
        assert fault.process.poll() is None
        report = site.row()["report"]
        assert report["refused_step"] == "7 audit log"
        assert report["steps"] == []
        assert (root / "executor" / "checkpoint.json").read_bytes() == memory
        assert site.entries("witness.refuse") >= 1

        # A person looked: this restored log is the one to follow from now on.
        note = tmp_path / "note"
        note.write_text((root / "audit" / "checkpoint").read_text())
        words = ["clear-fork", "--config", str(site.site.settings("executor"))]
        assert sentinel_executor([*words, "--accept", str(note)]) == 0
        wait_for(lambda: not one(site, "view_forks"), within_s=60, why="the end of the alarm")
        assert site.verify() == 0
        assert site.entries("witness.clear") >= 1
