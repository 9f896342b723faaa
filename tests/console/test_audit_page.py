"""The audit page over a real log: what the marks say, what is found, what is given out, to whom."""

import json
import re
import shlex
import tarfile
import tempfile
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask

from appliance.ids import uuid7
from audit.__main__ import main as sentinel_audit
from audit.signer import LocalSigner
from hub.console.log_lines import SegmentLines
from hub.console.settings import ConsoleSettings
from hub.errors import DatabaseError
from hub.persist import witness
from hub.persist.database import Database
from hub.persist.outbox import actor, offer
from tests.console import seed
from tests.console.conftest import Browser
from tests.hub.notary import ORIGIN, InProcessNotary

pytestmark = pytest.mark.postgres

SignIn = Callable[[str], Browser]
GREEN, RED = 'class="badge good"', 'class="badge bad"'


@pytest.fixture
def settings(settings: ConsoleSettings, tmp_path: Path) -> ConsoleSettings:
    """The console was given the log's files, and the key that somebody noted."""
    return msgspec.structs.replace(
        settings, log=tmp_path / "log", log_vkey=tmp_path / "noted.vkey", page_rows=10
    )


@pytest.fixture
def notary(tmp_path: Path, database: Database) -> Iterator[InProcessNotary]:
    made = InProcessNotary(tmp_path, database)
    (tmp_path / "noted.vkey").write_text(f"{made.signer.vkey}\n")
    yield made
    made.close()


def say(db: Database, text: str, *, incident: str | None = None, **more) -> None:
    """An entry for the log: by a person, or as told."""
    with db.transaction() as work:
        offer(
            work,
            type=more.get("type", "manual.step"),
            actor=more.get("by", actor("operator", "anna", session="s-1")),
            at=more.get("at", datetime.now(UTC)),
            incident=incident,
            body={"text": text, **more.get("body", {})},
        )


def segment(notary: InProcessNotary) -> Path:
    return notary.folder / "log" / "seg" / "000000000000.jsonl"


def flip(notary: InProcessNotary, text: str) -> None:
    """Change one byte of the segment file: the first of this text."""
    path = segment(notary)
    data = bytearray(path.read_bytes())
    at = data.index(text.encode())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def row_of(text: str, seq: int) -> str:
    found = re.search(rf'<tr><td class="number"><a id="e-{seq}".*?</tr>', text, re.DOTALL)
    assert found, f"no row {seq}"
    return found[0]


def test_each_entry_is_verified_from_the_files_and_the_page_says_how_many(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    say(database, "needle")
    size = notary.write()
    text = browser.get("/audit").text
    assert f"{min(10, size)} of {min(10, size)} verified now" in text
    assert RED not in text
    assert "signature checked now" in text
    assert notary.signer.vkey in text
    assert "✔</span> verified" in row_of(text, size - 1)


def test_a_flipped_byte_in_a_segment_turns_the_mark_red_and_no_other(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    say(database, "before")
    say(database, "needle")
    size = notary.write()
    assert RED not in browser.get("/audit").text
    flip(notary, "needle")
    text = browser.get("/audit").text
    row = row_of(text, size - 1)
    assert "NOT VERIFIED" in row
    assert GREEN not in row
    assert "The line in the segment file is not what was signed" in row
    assert "✔</span> verified" in row_of(text, size - 2)
    assert "1 of " in text
    page = browser.get(f"/audit/{size - 1}").text
    assert "NOT VERIFIED" in page
    assert "Take the proof along" not in page
    for path in ("proof", "line"):
        answer = browser.get(f"/audit/{size - 1}/{path}")
        assert answer.status_code == 409
        assert "not what was signed" in answer.text
    flip(notary, "oeedle")
    assert RED not in browser.get("/audit").text


def test_what_the_database_says_otherwise_is_red_and_the_signed_words_are_shown(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    say(database, "the truth")
    size = notary.write()
    with database.transaction() as work:
        work._connection.execute(
            "UPDATE audit_entry SET line = replace(line, 'the truth', 'the other thing')"
        )
    row = row_of(browser.get("/audit").text, size - 1)
    assert "verified, but not as indexed" in row
    assert RED in row
    assert "the truth" in row
    assert "the other thing" not in row


def test_an_entry_taken_out_of_the_index_is_named_and_nothing_is_green(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    size = notary.write(3)
    with database.transaction() as work:
        work._connection.execute("DELETE FROM audit_entry WHERE seq = %s", [size - 2])
    text = browser.get("/audit").text
    assert f"index lacks entry {size - 2}" in text
    assert "does not lead to the root signed" in text
    assert "verified now" not in text
    assert "✔</span> verified" not in text


def test_a_log_whose_tail_was_cut_from_the_index_is_noticed(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    size = notary.write(3)
    with database.transaction() as work:
        work._connection.execute("DELETE FROM audit_entry WHERE seq >= %s", [size - 2])
    assert f"index lacks entries {size - 2} to {size - 1}" in browser.get("/audit").text


def test_files_that_were_set_back_are_alarmed_with_both_notes(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    notary.write(2)
    old = (notary.folder / "log" / "checkpoint").read_text()
    size = notary.write(4)
    new = (notary.folder / "log" / "checkpoint").read_text()
    (notary.folder / "log" / "checkpoint").write_text(old)
    text = browser.get("/audit").text
    assert "The log was set back" in text
    assert f"knows {size}" in text
    for note in (old, new):
        assert note.split("\n")[2] in text


def test_a_checkpoint_of_another_key_proves_nothing(
    notary: InProcessNotary, signed_in: SignIn, database: Database, tmp_path: Path
) -> None:
    browser = signed_in("viewer-1")
    notary.write(2)
    stranger = LocalSigner(ORIGIN, Ed25519PrivateKey.generate())
    (tmp_path / "noted.vkey").write_text(f"{stranger.vkey}\n")
    text = browser.get("/audit").text
    assert "cannot be verified" in text
    assert "✔</span> verified" not in text
    assert "signature checked now" not in text


@pytest.mark.parametrize("path", ["checkpoint", "seg/000000000000.jsonl"])
def test_files_that_are_not_there_are_said_to_be_so(
    notary: InProcessNotary, signed_in: SignIn, path: str
) -> None:
    browser = signed_in("viewer-1")
    notary.write(2)
    (notary.folder / "log" / path).unlink()
    text = browser.get("/audit").text
    assert RED in text
    assert "verified now" not in text


def test_a_console_without_the_files_says_that_it_checked_nothing(
    settings: ConsoleSettings, signed_in: SignIn, notary: InProcessNotary, app: Flask
) -> None:
    app.extensions["log"].folder = None
    browser = signed_in("admin-1")
    notary.write(1)
    text = browser.get("/audit").text
    assert "was not given the log&#39;s files" in text
    assert "not checked" in text
    assert "✔</span> verified" not in text
    assert browser.get("/audit/0/proof").status_code == 409
    export = browser.post("/audit/export", {"reason": "x"}, page="/audit")
    assert export.status_code == 409


def test_entries_are_found_by_incident_person_node_type_time_and_text(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    seeded = seed.opened(database)
    old = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    say(database, "first", incident=seeded.incident_id)
    say(database, "second", by=actor("operator", "bob"), at=old)
    say(database, "third", by=actor("node", "node-7", node="node-7"))
    say(database, "fourth", by=actor("hub", "hub-1"), body={"node": "node-7"})
    say(database, 'no "node":"node-7" here')
    notary.write()

    def found(query: str) -> set[str]:
        text = browser.get(f"/audit?{query}").text
        said = ("first", "second", "third", "fourth", "here")
        return {word for word in said if f" {word}</span>" in text}

    assert found(f"incident={seeded.incident_id}") == {"first"}
    assert found("who=anna") == {"first", "here"}
    assert found("who=bob") == {"second"}
    assert found("node=node-7") == {"third", "fourth"}
    assert found("node=node-1") == {"first"}, "an entry of an incident of that node"
    assert found("type=manual.step&since=2026-01-02T03:04&until=2026-01-02T03:05") == {"second"}
    assert found("until=2026-01-02T03:04") == set()
    assert found("text=FOURTH") == {"fourth"}
    assert found("type=log.open") == set()


@pytest.mark.parametrize(
    "query", ["since=yesterday", "incident=7", "type=none.such", "before=x", "until=2026-13-01"]
)
def test_a_filter_that_is_not_understood_lists_nothing_instead_of_everything(
    notary: InProcessNotary, signed_in: SignIn, query: str
) -> None:
    browser = signed_in("viewer-1")
    notary.write(2)
    text = browser.get(f"/audit?{query}").text
    assert 'class="banner bad" role="alert"' in text
    assert "data-item" not in text


def test_an_address_shows_the_same_entries_however_far_the_log_grows(
    notary: InProcessNotary, signed_in: SignIn
) -> None:
    browser = signed_in("viewer-1")
    notary.write(30)
    text = browser.get("/audit").text
    older = re.search(r'id="page-after" href="([^"]+)"', text)
    assert older

    def seqs(path: str) -> list[str]:
        return re.findall(r'id="e-(\d+)"', browser.get(path).text)

    there = seqs(older[1].replace("&amp;", "&"))
    assert len(there) == 10
    notary.write(7)
    assert seqs(older[1].replace("&amp;", "&")) == there
    newer = re.search(r'id="page-before" href="([^"]+)"', browser.get(older[1]).text)
    assert newer
    back = seqs(newer[1])
    assert int(back[-1]) == int(there[0]) + 1


def test_an_entry_has_its_body_its_neighbours_and_its_way_to_the_root(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    incident = uuid7()
    for word in ("one", "two", "three"):
        say(database, word, incident=incident, body={"deep": {"list": [{"x": word}]}})
    size = notary.write()
    text = browser.get(f"/audit/{size - 2}").text
    assert "<dt>deep.list 1.x</dt><dd>two</dd>" in text
    assert "What a person did by hand" in text
    for seq in (size - 3, size - 1):
        assert f'id="beside-{seq}"' in text
    assert f"root of {size}" in text
    root = b64decode((notary.folder / "log" / "checkpoint").read_text().split("\n")[2]).hex()
    assert text.count(root[:8]) >= 2, "in the picture and in the table"
    assert root in text
    assert browser.get("/audit/999999").status_code == 404
    assert browser.get("/audit/99999999999999999999").status_code == 404


def test_the_commands_on_an_entrys_page_do_what_they_say(
    notary: InProcessNotary,
    signed_in: SignIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    browser = signed_in("viewer-1")
    kept = None
    for _ in range(2):
        size = notary.write(20)
        kept = kept or browser.get("/audit/checkpoint").data
    seq = size - 7
    work = tmp_path / "auditor"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "log.vkey").write_text(f"{notary.signer.vkey}\n")
    (work / "checkpoint").write_bytes(kept or b"")
    for path in ("proof", "line"):
        answer = browser.get(f"/audit/{seq}/{path}")
        name = re.search(r'filename="([^"]+)"', answer.headers["Content-Disposition"])
        assert name
        (work / name[1]).write_bytes(answer.data)
    text = browser.get(f"/audit/{seq}").text
    blocks = re.findall(r'<pre class="typed" id="offline-[a-z]+">([^<]*)</pre>', text)
    commands = [line for block in blocks for line in block.split("\n")]
    assert len(commands) == 4
    assert run(commands[0]) == 0
    assert f"VALID: entry {seq} of {ORIGIN}" in capsys.readouterr().out
    (work / "log").symlink_to(tmp_path / "log")
    for command in commands[1:]:
        assert run(command) == 0, command
    line = segment(notary).read_bytes().split(b"\n")[seq].decode()
    assert line in capsys.readouterr().out
    assert (work / f"entry-{seq}.entry").read_bytes().decode() == line
    (work / f"entry-{seq}.entry").write_text(line.replace("config", "confih"))
    assert run(commands[0]) == 1


def run(command: str) -> int:
    words = shlex.split(command.split(" | ", maxsplit=1)[0])
    assert words[0] == "sentinel-audit"
    return sentinel_audit(words[1:])


def test_an_export_by_the_console_is_byte_for_byte_that_of_the_command_and_is_on_record(
    notary: InProcessNotary, signed_in: SignIn, database: Database, tmp_path: Path
) -> None:
    browser = signed_in("admin-1")
    incident = uuid7()
    say(database, "one", incident=incident)
    say(database, "two", incident=incident)
    size = notary.write(20)
    options = {
        ("incident", incident): ["--incident", incident],
        ("first", "3"): ["--from", "3", "--to", str(size - 4)],
    }
    for number, ((field, value), words) in enumerate(options.items()):
        form = {field: value, "reason": "the yearly audit"}
        if field == "first":
            form["last"] = str(size - 4)
        answer = browser.post("/audit/export", form, page="/audit")
        assert answer.status_code == 200, answer.text
        out = tmp_path / f"{number}.tar"
        sentinel_audit(
            ["export", str(tmp_path / "log"), "--out", str(out), *words,
             "--vkey-file", str(tmp_path / "noted.vkey")]
        )  # fmt: skip
        assert answer.data == out.read_bytes()
        answer.close()
        notary.write()
        entry = json.loads(segment(notary).read_bytes().splitlines()[-1])
        assert entry["type"] == "export.create"
        assert entry["actor"]["id"] == "admin-1"
        assert entry["body"]["reason"] == "the yearly audit"
        assert entry["body"]["first_seq"] == json.loads(member(out, "export.json"))["first"]
        named = answer.headers["Content-Disposition"]
        assert ("INCOMPLETE" in named) is (field == "incident"), "an incident that is not closed"


def member(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as tar:
        found = tar.extractfile(f"{tar.getnames()[0].split('/')[0]}/{name}")
        assert found is not None
        return found.read()


@pytest.mark.parametrize("name", ["viewer-1", "operator-1"])
def test_only_an_administrator_gives_a_part_out(
    notary: InProcessNotary, signed_in: SignIn, database: Database, name: str
) -> None:
    browser = signed_in(name)
    notary.write(5)
    assert "/audit/export" not in browser.get("/audit").text
    answer = browser.post("/audit/export", {"reason": "curious"}, page="/audit")
    assert answer.status_code == 403
    with database.transaction() as work:
        kinds = [row["type"] for row in work.all("take_outbox", limit=1000)]
    assert "export.create" not in kinds


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"reason": ""}, "Say why"),
        ({"reason": "x", "incident": "7"}, "whole id"),
        ({"reason": "x", "first": "-1"}, "by their numbers"),
        ({"reason": "x", "incident": "00000000-0000-0000-0000-000000000000"}, "has no entry"),
        ({"reason": "x", "first": "5", "last": "3"}, "not made"),
        ({"reason": "x", "last": "9999999"}, "sentinel-hub export"),
    ],
)
def test_an_export_that_cannot_be_made_is_refused_in_words_and_not_recorded(
    notary: InProcessNotary,
    signed_in: SignIn,
    database: Database,
    form: dict[str, str],
    said: str,
) -> None:
    browser = signed_in("admin-1")
    notary.write(5)
    answer = browser.post("/audit/export", form, page="/audit")
    assert answer.status_code == 409
    assert said in answer.text
    with database.transaction() as work:
        kinds = [row["type"] for row in work.all("take_outbox", limit=1000)]
    assert "export.create" not in kinds


def test_a_fork_shows_administrators_both_notes_and_everybody_the_alarm(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    notary.write(3)
    with database.transaction() as work:
        notes = ["accepted\n\n\u2014 log AAAA\n", "refused\n\n\u2014 log BBBB\n"]
        witness.forked(work, node="node-1", reason="two", notes=notes, now=seed.now())
        work.run("witness_seen", node="node-1", size=2, root="ab" * 32, now=seed.now())
    admin, viewer = (
        signed_in("admin-1").get("/audit").text,
        signed_in("viewer-1").get("/audit").text,
    )
    for text in (admin, viewer):
        assert "refuses our log" in text
    assert "log AAAA" in admin
    assert "log BBBB" in admin
    assert "log AAAA" not in viewer


def test_a_text_from_outside_is_inert_on_an_entrys_page(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    say(database, "<img src=x onerror=alert(1)>\x1b[2J\u202eknow", body={"node": "<b>"})
    size = notary.write()
    browser = signed_in("viewer-1")
    for path in ("/audit", f"/audit/{size - 1}"):
        text = browser.get(path).text
        assert "<img" not in text
        assert "\u202e" not in text
        assert "&lt;img" in text
        assert re.search(r"<style|<[^>]*\s(style|on[a-z]+)=", text) is None


def test_many_entries_over_many_reads_are_each_the_one_at_their_place(
    notary: InProcessNotary, tmp_path: Path
) -> None:
    notary.write(300)
    lines = SegmentLines(tmp_path / "log")
    stored = segment(notary).read_bytes().splitlines()
    for seq in (0, 63, 64, 65, 299, 128, 1, len(stored) - 1):
        assert lines.line(seq) == stored[seq]
    assert lines.line(len(stored)) is None
    assert lines.line(1_000_000) is None
    assert lines.lines(250, 10_000) == stored[250:]
    segment(notary).write_bytes(b"x\n" + b"\n".join(stored[:200]) + b"\n" + stored[200])
    assert lines.line(100) == stored[99]
    assert lines.line(201) is None, "a line without its end is none"


def test_what_is_signed_and_not_indexed_yet_spoils_no_mark(
    notary: InProcessNotary, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = signed_in("viewer-1")
    size = notary.write(5)
    with monkeypatch.context() as patch:
        patch.setattr(type(notary.notary), "_index", lambda *_: None)
        with notary.db.transaction() as work:
            offer(work, type="config.change", actor=actor("hub", "hub"), at=seed.now(), body={})
        notary.notary.turn()
    assert (notary.folder / "log" / "checkpoint").read_text().split("\n", 2)[1] != str(size)
    text = browser.get("/audit").text
    assert RED not in text
    assert "10 of 10 verified now" in text


def test_an_entry_that_no_checkpoint_covers_yet_is_not_called_verified(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    notary.write(2)
    old = (notary.folder / "log" / "checkpoint").read_bytes()
    size = notary.write(1)
    (notary.folder / "log" / "checkpoint").write_bytes(old)
    with database.transaction() as work:
        work._connection.execute("DELETE FROM audit_checkpoint WHERE size = %s", [size])
    row = row_of(browser.get("/audit").text, size - 1)
    assert "not signed yet" in row
    assert GREEN not in row
    assert browser.get(f"/audit/{size - 1}/proof").status_code == 409


def test_a_proof_is_given_out_under_the_checkpoint_that_nodes_cosigned(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    size = notary.write(4)
    with database.transaction() as work:
        row = work.one("view_checkpoint")
        assert row is not None
        work.run(
            "witness_cosigned", node="node-1", size=size, root=row["root"], vkey="v",
            cosignature="\u2014 node-1 AAAAAAAA", now=seed.now(),
        )  # fmt: skip
    notary.write(4)
    given = browser.get("/audit/2/proof").text
    assert "\u2014 node-1 AAAAAAAA" in given
    assert f"\n{size}\n" in given
    assert "node-1" not in browser.get(f"/audit/{size + 1}/proof").text


def test_an_altered_log_is_exported_as_evidence_and_its_name_says_so(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("admin-1")
    say(database, "needle")
    notary.write()
    flip(notary, "needle")
    answer = browser.post("/audit/export", {"reason": "court"}, page="/audit")
    assert answer.status_code == 200
    assert "ALTERED.tar" in answer.headers["Content-Disposition"]
    answer.close()


def test_what_cannot_be_recorded_is_not_exported(
    notary: InProcessNotary, signed_in: SignIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = signed_in("admin-1")
    notary.write(3)

    def broken(*_: object, **__: object) -> None:
        raise DatabaseError("the connection is lost")

    monkeypatch.setattr("hub.export.offer", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    answer = browser.post("/audit/export", {"reason": "x"}, page="/audit")
    assert answer.status_code == 503
    assert b"MANIFEST" not in answer.data
    assert not list(tmp_path.glob("sentinel-export-*"))


def test_no_name_of_a_node_stops_the_index(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    for name in ("x" * 3000, 'a"b', "a\\b", "\x01", "\ud7ff" * 255, ""):
        say(database, "named", body={"node": name, "deep": [{"node": f"{name}2"}] * 50})
    say(database, "last", body={"node": "y"})
    size = notary.write()
    assert f'id="e-{size - 1}"' in browser.get("/audit?node=y").text


def test_witnesses_elsewhere_are_listed_with_how_far_behind_each_is(
    notary: InProcessNotary, signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    size = notary.write(5)
    with database.transaction() as work:
        for name, trouble in (("north.example/w", ""), ("south.example/w", "it saw <b>more</b>")):
            work.run("outside_add", name=name, vkey="v", url="https://w.example/")
            work.run(
                "outside_said", name=name, size=size - 2, trouble=trouble, alarm=bool(trouble),
                now=seed.now(),
            )  # fmt: skip
    text = browser.get("/audit").text
    assert "north.example/w" in text
    assert "2 behind" in text
    assert "refuses our log" in text.split("south.example/w")[-1]
    assert "&lt;b&gt;more" in text
    assert "<b>more" not in text
