"""The ceremony of docs/GOING-ON-AFTER-A-FORK.md as people meet it: commands, notary, nodes."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent import decided
from agent.log_proof import LogProof
from agent.signatures import _trouble
from appliance import envelope, records
from appliance.__main__ import main
from appliance.operator_claim import Answers, Claims
from appliance.operator_key import credential
from appliance.people import People, Person
from audit.checkpoint import parse_text
from audit.counting import of_keys
from audit.entry import decode
from audit.note import split_note
from hub.fork_decisions import ANSWER, REQUEST
from hub.log_tree import LogTree
from hub.persist.database import Database
from hub.persist.people import put_in_force
from hub.witnesses import Witnesses
from tests.hub.builders import NOW, add_node
from tests.hub.notary import ORIGIN, InProcessNotary
from tests.hub.test_witnesses import Hub, Node

pytestmark = pytest.mark.postgres

DOCUMENT = Path(__file__).parents[2] / "docs" / "GOING-ON-AFTER-A-FORK.md"
WHY = "the disk failed; restored from Sunday's backup"


class Site:
    """A hub that was restored from a backup, and a node that has seen more."""

    def __init__(self, folder: Path, db: Database, notary: InProcessNotary) -> None:
        self.folder, self.db, self.notary = folder, db, notary
        self.roles = {"ada": "admin", "bob": "admin", "olga": "operator"}
        for name in self.roles:
            envelope.make_key(folder / f"{name}.key")
        self.put_people()
        (folder / "console.toml").write_text(
            f'dsn = "{db.dsn}"\ncertificate = "/x"\nkey = "/x"\nsession_key = "/x"\n'
        )
        self.node, self.hub = Node(folder, notary), Hub(db, notary)
        add_node(db)
        size = notary.write(6)
        notary.backup()
        notary.write(4)
        self.hub.hears(self.node)
        self.hub.round(self.node)
        self.before = self.node.stands()
        notary.set_back(size)
        notary.write(1)
        self.hub.witnesses = Witnesses(db, LogTree(), notary.signer.vkey)
        self.hub.hears(self.node)
        self.hub.round(self.node)
        log = notary.notary.settings.folder
        (folder / "notary.toml").write_text(
            f'dsn = "{db.dsn}"\nfolder = "{log}"\norigin = "{ORIGIN}"\nkey = "/x"\n'
        )
        assert self.node.witness.fork is not None
        assert len(self.hub.forks()) == 1

    def put_people(self, **roles: str) -> People:
        self.roles |= roles
        self.people = People(
            persons=tuple(
                Person(
                    name=name,
                    role=role,  # type: ignore[arg-type]
                    credentials=(credential(envelope.load_key(self.folder / f"{name}.key")),),
                )
                for name, role in self.roles.items()
            )
        )
        with self.db.transaction() as work:
            put_in_force(work, self.people, now=NOW)
        return self.people

    def run(self, *words: object, typed: str = "") -> "subprocess.CompletedProcess[str]":
        """`sentinel log fork`, in this process: a dozen starts of Python are for one test."""
        out, error = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
        ):
            patch.setattr("sys.stdin", io.StringIO(typed))
            patch.chdir(self.folder)
            status = main(["log", "fork", *map(str, words)])
        return subprocess.CompletedProcess((), status, out.getvalue(), error.getvalue())

    def runs(self, *words: object, typed: str = "") -> "subprocess.CompletedProcess[str]":
        """The same in a process of its own, as people run it."""
        return subprocess.run(
            [sys.executable, "-m", "appliance", "log", "fork", *map(str, words)],
            input=typed, capture_output=True, text=True, check=False, timeout=120, cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(DOCUMENT.parents[1])},
        )  # fmt: skip

    def propose(self) -> None:
        done = self.run("propose", "fork.json", "--reason", WHY, "--config", "console.toml")
        assert done.returncode == 0, done.stderr

    def sign(self, *names: str) -> None:
        for name in names:
            done = self.run(
                "sign", "fork.json", "--operator", name, "--key", f"{name}.key", "--yes"
            )
            assert done.returncode == 0, done.stderr

    def submit(self, *more: object) -> "subprocess.CompletedProcess[str]":
        with self.notary_at_work():
            return self.run("submit", "fork.json", "--config", "notary.toml", *more)

    @contextmanager
    def notary_at_work(self) -> Iterator[None]:
        """It turns in a thread, as its process would."""
        stop = threading.Event()

        def turn() -> None:
            while not stop.is_set():
                self.notary.notary.turn()
                stop.wait(0.05)

        thread = threading.Thread(target=turn)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def decisions(self) -> list[dict[str, Any]]:
        return self.hub.entries("log.fork")

    def node_is_offered(self) -> str:
        """A round; what the node says to the decision, or "" where it took it or had none."""
        self.hub.witnesses.gone(self.node.name)
        self.hub.hears(self.node)
        advance = self.hub.offers(self.node).get(self.node.name)
        if advance is None or not advance.decision:
            return "nothing was offered"
        trust: Any = SimpleNamespace(
            trouble=lambda _: "",
            log=self.node.witness,
            audit_keys=of_keys([self.node.vkey]),
            audit_vkeys=(self.node.vkey,),
            people=self.people,
        )
        said = LogProof(path=tuple(advance.consistency), decision=advance.decision)
        standing = decided.take(trust, advance.note, said, ask=_here)
        self.hub.hears(self.node)
        return standing.refusal


def _here(_: str, question: bytes) -> bytes:
    asked = records.from_json(question, Claims)
    return records.to_json(Answers(troubles=tuple(_trouble(one) for one in asked.claims)))


@pytest.fixture
def site(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("hub.witnesses.ROUND_EVERY_S", 0.0)
    monkeypatch.setattr("hub.witnesses.ROUND_PER_NODE_S", 0.0)
    notary = InProcessNotary(tmp_path, database)
    yield Site(tmp_path, database, notary)
    notary.close()


def refused(site: Site, because: str) -> None:
    done = site.submit()
    assert done.returncode == 1, done.stdout
    assert because in done.stderr
    assert site.decisions() == []
    assert site.node_is_offered() == "nothing was offered"
    assert site.node.stands().root == site.before.root


def test_the_document_is_run_command_by_command_and_the_node_goes_on(site: Site) -> None:
    commands = re.findall(r"^\$ sentinel log fork (.*)$", DOCUMENT.read_text(), re.MULTILINE)
    steps = [shlex.split(line) for line in commands]
    assert [words[0] for words in steps] == ["propose", "show", "sign", "sign", "submit"]
    for words in steps:
        config = {"propose": "console.toml", "submit": "notary.toml"}.get(words[0])
        more = ["--config", config] if config else []
        with site.notary_at_work():
            done = site.runs(*words, *more, typed="y\n")
        assert done.returncode == 0, (words, done.stderr)
    assert re.search(r"It is entry \d+ of the log", done.stdout)
    (body,) = site.decisions()
    assert body["people"] == ["ada", "bob"]
    assert body["old_size"] == site.before.size
    assert site.node_is_offered() == ""
    assert site.node.stands().size == site.notary.notary.log.size
    assert site.hub.forks() == []
    assert len(site.hub.entries("witness.clear")) == 1


def test_what_is_signed_is_shown_first_and_anything_but_a_yes_is_a_no(site: Site) -> None:
    site.propose()
    before = (site.folder / "fork.json").read_bytes()
    done = site.run("sign", "fork.json", "--operator", "ada", "--key", "ada.key", typed="\n")
    assert done.returncode == 1
    assert f"{site.before.size} entries, root {site.before.root}" in done.stdout
    assert WHY in done.stdout
    assert (site.folder / "fork.json").read_bytes() == before


def test_the_notary_records_nothing_that_one_administrator_signed(site: Site) -> None:
    site.propose()
    site.sign("ada")
    refused(site, "1 of 2 administrators")


def test_an_operator_is_no_administrator(site: Site) -> None:
    site.propose()
    site.sign("ada", "olga")
    refused(site, "olga is no administrator in force")


def test_nobody_signs_twice(site: Site) -> None:
    site.propose()
    site.sign("ada")
    again = site.run("sign", "fork.json", "--operator", "ada", "--key", "ada.key", "--yes")
    assert again.returncode == 1
    assert "signed it already" in again.stderr


def test_somebody_elses_key_does_not_sign_for_an_administrator(site: Site) -> None:
    site.propose()
    site.sign("ada")
    site.run("sign", "fork.json", "--operator", "bob", "--key", "olga.key", "--yes")
    refused(site, "bob has no such credential")


def test_a_statement_changed_after_it_was_signed_is_refused(site: Site) -> None:
    site.propose()
    site.sign("ada", "bob")
    file = site.folder / "fork.json"
    file.write_text(file.read_text().replace("Sunday", "Monday"))
    refused(site, "did not sign this")


def test_a_statement_about_a_checkpoint_the_log_does_not_have_is_refused(site: Site) -> None:
    """It would go on from what was given up, and give up what is there."""
    site.propose()
    file = site.folder / "fork.json"
    said = records.from_json(file.read_bytes(), dict[str, Any])
    said["statement"]["given_up"], said["statement"]["go_on"] = (
        [said["statement"]["go_on"]],
        said["statement"]["given_up"][0],
    )
    file.write_bytes(records.to_json(said))
    site.sign("ada", "bob")
    refused(site, "to go on from is not of this log")


def test_the_same_decision_twice_is_one_entry(site: Site) -> None:
    site.propose()
    site.sign("ada", "bob")
    first, second = site.submit(), site.submit()
    assert first.returncode == second.returncode == 0, second.stderr
    assert first.stdout == second.stdout
    assert len(site.decisions()) == 1


def test_a_notary_killed_between_entry_and_answer_doubles_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.propose()
    site.sign("ada", "bob")
    folder = site.notary.notary.settings.folder
    (folder / REQUEST).write_bytes((site.folder / "fork.json").read_bytes())

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hub.segments.SegmentLog.publish", power_cut)
    with pytest.raises(KeyboardInterrupt):
        site.notary.notary.turn()
    monkeypatch.undo()
    assert (folder / REQUEST).exists()
    site.notary.write()
    assert len(site.decisions()) == 1
    assert not (folder / REQUEST).exists()
    assert b'"entry":' in (folder / ANSWER).read_bytes()


def test_a_request_that_is_no_decision_stops_nothing(site: Site) -> None:
    folder = site.notary.notary.settings.folder
    (folder / REQUEST).write_bytes(b"\xff{")
    size = site.notary.notary.log.size
    assert site.notary.write(1) > size
    assert not (folder / REQUEST).exists()
    assert site.decisions() == []


def test_without_people_the_node_refuses_what_the_notary_recorded(site: Site) -> None:
    """The hub's list is not the node's: a hub that was taken over writes people into its own."""
    site.propose()
    site.sign("ada", "bob")
    assert site.submit().returncode == 0
    site.people = People(persons=tuple(one for one in site.people.persons if one.name != "bob"))
    assert "bob is no administrator" in site.node_is_offered()
    assert site.node.stands().root == site.before.root
    assert site.node.witness.fork is not None


def test_nothing_can_be_proposed_while_all_nodes_follow(
    tmp_path: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    notary = InProcessNotary(tmp_path, database)
    notary.write(2)
    notary.close()
    config = tmp_path / "console.toml"
    config.write_text(
        f'dsn = "{database.dsn}"\ncertificate = "/x"\nkey = "/x"\nsession_key = "/x"\n'
    )
    words = ["log", "fork", "propose", str(tmp_path / "f.json"), "--reason", "none"]
    assert main([*words, "--config", str(config)]) == 1
    assert "every node follows the log" in capsys.readouterr().err
    assert not (tmp_path / "f.json").exists()


def test_an_entry_of_a_decision_holds_both_signed_notes(site: Site) -> None:
    site.propose()
    site.sign("ada", "bob")
    assert site.submit().returncode == 0
    with site.db.transaction() as work:
        (row,) = work.all("decision_entries", size=2**40)
    said = decode(row["line"].encode()).body["decision"]["statement"]
    (given_up,) = said["given_up"]
    assert parse_text(split_note(given_up)[0]).size == site.before.size
    assert parse_text(split_note(said["go_on"])[0]).size < site.before.size
