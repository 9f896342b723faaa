"""The hub's disk is set back to yesterday's: the nodes remember, nothing runs, and it is seen.

So does a witness on another machine. Then two administrators decide that the restored log goes on.
"""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance import envelope
from appliance.__main__ import main as sentinel
from appliance.demo.assembly import OPERATOR
from appliance.demo.operator import Console
from appliance.demo.trust import SIGNERS
from appliance.launch import Part
from appliance.operator_key import credential
from appliance.people import KeyCredential, People, Person
from appliance.publishing import ceremony, enrolled
from appliance.publishing.ceremony import Wanted
from appliance.publishing.folder import Folder
from hub.errors import DatabaseError
from tests.audit.witnessing import NAME, WitnessProcess
from tests.journeys.appliance import Running, running, wait_for
from tests.journeys.test_trust_that_changes import publish, sign

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


def forks(site: Running) -> dict[str, dict[str, object]]:
    """Who does not follow the log, as the console tells it."""
    with site.database().transaction() as work:
        return {row["node"]: row for row in work.all("view_forks")}


def outside(site: Running) -> int:
    """How far the witness elsewhere has cosigned, as the hub knows."""
    with site.database().transaction() as work:
        return max([int(row["size"]) for row in work.all("view_outside")], default=0)


def name_a_second_administrator(site: Running) -> None:
    """The demo has one person; a decision takes two."""
    keys = {
        OPERATOR: site.site.operator_key,
        "second": site.site.root / "keys" / "second.key",
    }
    envelope.make_key(keys["second"])
    persons = tuple(
        Person(name=name, role="admin", credentials=(_public(key),)) for name, key in keys.items()
    )
    file = site.site.root / "config" / "people.toml"
    password_only = "password_only = true" in file.read_text()
    file.write_text(
        enrolled.written(
            People(persons=persons, origins=(site.site.console_url,), password_only=password_only)
        )
    )
    folder, now = Folder(site.site.trust), datetime.now(UTC)
    ceremony.draft(folder, Wanted(people=file), days=90, now=now)
    for name in SIGNERS:
        sign(site, folder, name)
    publish(site, folder)


def _public(key: Path) -> KeyCredential:
    return credential(envelope.load_key(key))


def name_the_witness(site: Running, witness: WitnessProcess) -> None:
    """From the hub's next start on."""
    policy, serve = site.site.root / "config" / "witnesses", site.site.settings("serve")
    policy.write_text(
        f"log {site.site.vkey.read_text().strip()}\n"
        f"witness elsewhere {witness.key} http://127.0.0.1:{witness.port}\n"
    )
    serve.write_text(f'witnesses = "{policy}"\n{serve.read_text()}')


def an_approved_order_is_refused(site: Running) -> None:
    fault = site.start_fault()
    site.approve()
    assert site.until("refused", "resolved", "unresolved", "outcome_unknown") == "refused"
    assert fault.process.poll() is None
    report = site.row()["report"]
    assert report["refused_step"] == "7 audit log"
    assert report["steps"] == []


def two_administrators_decide(site: Running, file: Path) -> None:
    """They looked: this restored log is the one to follow from now on."""
    root, step = site.site.root, ["log", "fork"]
    notary, console = (str(site.site.settings(name)) for name in ("notary", "console"))
    why = ["--reason", "a disk failed", "--config", console]
    assert sentinel([*step, "propose", str(file), *why]) == 0
    for name, key in (
        (OPERATOR, site.site.operator_key),
        ("second", root / "keys" / "second.key"),
    ):
        if name == "second":  # one alone is nobody
            assert sentinel([*step, "submit", str(file), "--config", notary]) == 1
            assert site.entries("log.fork") == 0
        who = ["--operator", name, "--key", str(key), "--yes"]
        assert sentinel([*step, "sign", str(file), *who]) == 0
    assert sentinel([*step, "submit", str(file), "--config", notary]) == 0
    wait_for(lambda: set(forks(site)) == {NAME}, within_s=60, why="the node to go on")
    assert not (root / "executor" / "fork.json").exists()
    assert list((root / "executor" / "forks").glob("decided-*.json"))


def its_people_let_the_witness_go_on(site: Running, witness: WitnessProcess) -> None:
    """It is nobody's but theirs: they say it there."""
    witness.stop()
    note = witness.folder / "note"
    note.write_text((site.site.root / "audit" / "checkpoint").read_text())
    assert witness.run("--accept", str(note)).returncode == 0
    witness.start()
    wait_for(lambda: not forks(site), within_s=90, why="the end of the alarm")


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessProcess]:
    (tmp_path / "elsewhere").mkdir()
    one = WitnessProcess(tmp_path / "elsewhere")
    yield one
    one.close()


def test_a_hub_restored_from_an_old_backup_is_noticed_and_runs_nothing(
    tmp_path: Path, witness: WitnessProcess
) -> None:
    with running(tmp_path / "site") as site:
        root = site.site.root
        name_a_second_administrator(site)
        witness.logs = (site.site.vkey.read_text().strip(),)
        witness.write(port=0)
        witness.start()
        name_the_witness(site, witness)
        grow_the_log(site, beyond=0)
        parts = stop_the_hub(site)
        copy(root / "postgres" / "data", tmp_path / "data")
        copy(root / "audit", tmp_path / "audit")
        start_the_hub(site, parts)
        backup = int((tmp_path / "audit" / "checkpoint").read_text().split("\n")[1])
        grow_the_log(site, beyond=backup + 2)
        assert one(site, "view_cosigned")["cosignatures"]
        wait_for(lambda: outside(site) > backup, within_s=60, why="the witness elsewhere")

        parts = stop_the_hub(site)
        memory = (root / "executor" / "checkpoint.json").read_bytes()
        accepted = stands_at(site)
        for kept, place in ((tmp_path / "data", root / "postgres" / "data"),
                            (tmp_path / "audit", root / "audit")):  # fmt: skip
            shutil.rmtree(place)
            copy(kept, place)
        start_the_hub(site, parts)

        wait_for(lambda: len(forks(site)) == 2, within_s=60, why="both alarms")
        wait_for((root / "executor" / "fork.json").exists, within_s=60, why="the node's refusal")
        wait_for(lambda: bool(forks(site)["demo-node"]["evidence"]), within_s=30, why="evidence")
        assert "the hub was set back" in str(forks(site)[NAME]["reason"])
        with Console(site.site.console_url, ca=site.site.ca) as console:
            wait_for(lambda: signed_in(console, site), within_s=60, why="the console")
            assert "do not follow this hub" in console.page("/incidents")
            notes = console.page("/nodes/demo-node/fork")
        assert notes.count("\u2014 demo.sentinel.internal/log ") == 2
        assert f"\n{accepted}\n" in notes

        an_approved_order_is_refused(site)
        assert (root / "executor" / "checkpoint.json").read_bytes() == memory
        assert site.entries("witness.refuse") >= 1

        two_administrators_decide(site, tmp_path / "fork.json")
        its_people_let_the_witness_go_on(site, witness)
        assert site.verify() == 0
        assert site.entries("log.fork") == 1
        assert site.entries("witness.clear") >= 2
