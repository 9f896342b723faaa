"""The hub asks witnesses that are no nodes: a real `sentinel-witness`, and liars over real HTTP."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.errors import SettingsError
from audit.cosignature import cosigned_by, with_cosignatures
from audit.trust import parse_policy
from hub.log_tree import LogTree
from hub.outside_witness import Outside, named
from hub.outside_witnesses import Submitter, start
from hub.persist import views
from hub.persist.database import Database
from hub.persist.witness import newest_checkpoint
from hub.quorum import witnessed
from hub.witnesses import Witnesses
from tests.audit.witnessing import NAME, WitnessProcess
from tests.hub.builders import outbox, sql
from tests.hub.notary import InProcessNotary

pytestmark = pytest.mark.postgres


@dataclass
class Site:
    """A hub, its notary, and one witness elsewhere."""

    db: Database
    notary: InProcessNotary
    witness: WitnessProcess
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10))

    def submitter(self) -> Submitter:
        """As the hub's start makes it."""
        one = Outside(key=self.witness.key, url=f"http://127.0.0.1:{self.witness.port}")
        tell(self.db, one)
        witnesses = Witnesses(self.db, LogTree(), self.notary.signer.vkey)
        return Submitter(db=self.db, witnesses=witnesses, one=one)

    def turn(self) -> bool:
        return self.submitter().turn(self.http)

    def row(self) -> dict[str, Any]:
        (row,) = sql(self.db, "SELECT * FROM outside_witness")
        return row

    def cosigned(self) -> list[int]:
        return [row["size"] for row in sql(self.db, "SELECT size FROM outside_cosignature "
                                                    "ORDER BY size")]  # fmt: skip

    def entries(self) -> list[str]:
        kept = [row["type"] for row in sql(self.db, "SELECT type FROM audit_entry ORDER BY seq")]
        found = [*kept, *(row["type"] for row in outbox(self.db))]
        return [one for one in found if one.startswith("witness.")]


def tell(db: Database, *named_ones: Outside) -> None:
    """What `start` writes down, without its threads."""
    with db.transaction() as work:
        for one in named_ones:
            work.run("outside_add", name=one.key.name, vkey=str(one.key), url=one.url)


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Iterator[Site]:
    notary = InProcessNotary(tmp_path, database)
    notary.write(3)
    (tmp_path / "elsewhere").mkdir()
    witness = WitnessProcess(tmp_path / "elsewhere", logs=(notary.signer.vkey,))
    witness.start()
    one = Site(database, notary, witness)
    yield one
    one.http.close()
    witness.close()
    notary.close()


def test_a_witness_elsewhere_cosigns_as_the_log_grows_and_its_line_verifies(site: Site) -> None:
    assert site.turn()
    first = site.notary.notary.log.size
    site.notary.write(4)
    assert site.turn()
    assert site.turn()  # nothing new: nothing is asked
    size = site.notary.notary.log.size
    assert site.cosigned() == [first, size]
    note = views.cosigned_note(site.db)
    assert note is not None
    assert [one.witness.name for one in cosigned_by(note, [site.witness.key])] == [NAME]
    assert (site.row()["size"], site.row()["trouble"]) == (size, "")


def test_its_cosignature_counts_for_the_quorum_of_an_order(site: Site) -> None:
    keys = [site.witness.key]
    with site.db.transaction() as work:
        newest = newest_checkpoint(work)
        assert newest is not None
        row = {"approvals": [{"seq": newest.size - 1}]}
        assert witnessed(row, work, witnesses=keys, quorum=1) is None
    site.turn()
    with site.db.transaction() as work:
        found = witnessed(row, work, witnesses=keys, quorum=1)
        assert witnessed(row, work, witnesses=keys, quorum=2) is None
    assert found is not None
    assert len(cosigned_by(found["note"], keys)) == 1
    policy = parse_policy(f"log {site.notary.signer.vkey}\nwitness w {keys[0]}\nquorum w\n")
    assert policy.is_enough(one.witness.key for one in cosigned_by(found["note"], keys))


def test_a_hub_that_forgot_where_the_witness_stands_is_told_and_goes_on(site: Site) -> None:
    site.turn()
    sql(site.db, "UPDATE outside_witness SET size = 0")
    sql(site.db, "DELETE FROM outside_cosignature")
    site.notary.write(2)
    assert site.turn()
    assert site.cosigned() == [site.notary.notary.log.size]


def test_a_hub_restored_from_an_old_backup_is_alarmed_at_the_first_request(site: Site) -> None:
    size = site.notary.notary.log.size
    site.notary.backup()
    site.notary.write(5)
    assert site.turn()
    seen, memory = site.notary.notary.log.size, site.witness.memory()
    site.notary.set_back(size)
    sql(site.db, "UPDATE outside_witness SET size = %(size)s", size=size)
    sql(site.db, "DELETE FROM outside_cosignature WHERE size > %(size)s", size=size)
    assert not site.turn()
    assert f"it has cosigned {seen} entries" in site.row()["trouble"]
    assert not site.turn()
    assert site.entries() == ["witness.refuse"]
    (fork,) = views.forks(site.db)
    assert (fork["node"], fork["reason"]) == (NAME, site.row()["trouble"])
    site.notary.write(9)  # it outgrows what was seen, and is another history all the same
    assert not site.turn()
    assert "does not extend what it has cosigned" in site.row()["trouble"]
    assert site.entries() == ["witness.refuse"]
    assert site.witness.memory() == memory
    assert list((site.witness.folder / "witness/evidence").glob("*.notes"))


def test_an_alarm_ends_when_the_witness_cosigns_again_and_not_before(site: Site) -> None:
    site.turn()
    sql(site.db, "UPDATE outside_witness SET alarmed_at = now(), trouble = 'it saw more', "
                 "asked_at = now()")  # fmt: skip
    site.notary.write(1)
    site.witness.stop()
    assert not site.turn()
    assert site.row()["trouble"] == "it saw more"
    assert len(views.forks(site.db)) == 1
    site.witness.start()
    assert site.turn()
    assert views.forks(site.db) == []
    assert site.entries() == ["witness.clear"]


def test_a_witness_killed_before_it_answered_is_asked_again(site: Site) -> None:
    site.turn()
    site.witness.stop()
    site.witness.before = (
        "import os, signal\nfrom audit import witness_command\n"
        "witness_command.cosign = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    site.witness.start()
    site.notary.write(2)
    size = site.notary.notary.log.size
    assert not site.turn()
    assert "does not answer" in site.row()["trouble"]
    assert size not in site.cosigned()
    assert site.entries() == []
    site.witness.close()
    site.witness.before = ""
    site.witness.start()
    assert site.turn()
    assert size in site.cosigned()


# Witnesses that are wrong, or lie.

Answer = Callable[[bytes], tuple[int, dict[str, str], bytes]]


@dataclass
class Liar:
    """Answers as it was told to, over real HTTP."""

    answer: Answer
    asked: list[bytes] = field(default_factory=list)

    def __enter__(self) -> int:
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                liar.asked.append(data)
                status, headers, body = liar.answer(data)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return int(self.server.server_address[1])

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


SIZE = {"Content-Type": "text/x.tlog.size"}


@pytest.mark.parametrize(
    ("answer", "because", "alarm"),
    [
        ((404, {}, b"who are you"), "404: who are you", False),
        ((403, {}, b"not your key"), "403: not your key", False),
        ((500, {}, b"\xff\x00"), "it answered 500", False),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), "it answered 302", False),
        ((422, {}, b"no proof"), "does not extend what it has cosigned", True),
        ((409, {}, b"3\n"), "409 without size", False),
        ((409, SIZE, b"03\n"), "409 without size", False),
        ((409, SIZE, b"-3\n"), "409 without size", False),
        ((409, SIZE, b"9999999999999\n"), "the hub was set back", True),
        ((409, SIZE, b"0\n"), "another history of 0 entries", True),
        ((200, {}, b""), "counts for nothing", False),
        ((200, {}, b"x" * 70_000), "too long", False),
        ((200, {}, b"\xe2\x80\x94 audit.site/witness AAAA\n" * 40), "counts for nothing", False),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_cosignature_counts_for_nothing_and_says_why(
    site: Site, answer: tuple[int, dict[str, str], bytes], because: str, *, alarm: bool
) -> None:
    with Liar(lambda _: answer) as port:
        site.witness.port = port
        assert not site.turn()
    row = site.row()
    assert because in row["trouble"]
    assert (row["alarmed_at"] is not None) == alarm
    assert site.cosigned() == []
    assert (len(views.forks(site.db)) == 1) == alarm


def test_a_witness_that_moves_with_every_answer_is_asked_three_times_and_no_more(
    site: Site,
) -> None:
    sizes = iter(range(1, 100))
    liar = Liar(lambda _: (409, SIZE, f"{next(sizes)}\n".encode()))
    with liar as port:
        site.witness.port = port
        assert not site.turn()
    assert len(liar.asked) == 3
    assert site.cosigned() == []


def test_another_witnesss_cosignature_does_not_count_under_its_name(site: Site) -> None:
    site.turn()
    honest = views.cosigned_note(site.db)
    assert honest is not None
    line = honest.rstrip("\n").split("\n")[-1].encode() + b"\n"
    site.notary.write(1)
    with Liar(lambda _: (200, {}, line)) as port:  # its own line, over an older checkpoint
        site.witness.port = port
        before = site.cosigned()
        assert not site.turn()
    assert site.cosigned() == before
    assert with_cosignatures(honest, [])


def test_witnesses_in_threads_of_their_own_keep_nobody_waiting(site: Site) -> None:
    """One hangs; the other has cosigned long before that one is given up."""
    release = threading.Event()

    def hang(_: bytes) -> tuple[int, dict[str, str], bytes]:
        release.wait(30)
        return 500, {}, b""

    stop = threading.Event()
    with Liar(hang) as port:
        slow_folder = site.witness.folder / "slow"
        slow_folder.mkdir()
        slow = WitnessProcess(slow_folder, name="slow.site/witness")
        good = Outside(key=site.witness.key, url=f"http://127.0.0.1:{site.witness.port}")
        hanging = Outside(key=slow.key, url=f"http://127.0.0.1:{port}")
        witnesses = Witnesses(site.db, LogTree(), site.notary.signer.vkey)
        threads = start(site.db, witnesses, [hanging, good], ca=None, stop=stop)
        done = threading.Event()
        for _ in range(600):
            if site.cosigned():
                break
            done.wait(0.05)
        assert site.cosigned() == [site.notary.notary.log.size]
        stop.set()
        release.set()
        for thread in threads:
            thread.join(30)


def test_the_policy_names_whom_to_ask_and_a_wrong_one_stops_the_start(site: Site) -> None:
    file = site.witness.folder / "witnesses.policy"
    head = f"log {site.notary.signer.vkey}\n"
    file.write_text(f"{head}witness out {site.witness.key} https://audit.site:7445/w/\n")
    assert named(file) == [Outside(key=site.witness.key, url="https://audit.site:7445/w")]
    file.write_text(f"{head}witness node {site.witness.key}\n")
    assert named(file) == []
    for wrong in ("ftp://audit.site", "file:///etc", "https://x?y", "audit.site"):
        file.write_text(f"{head}witness out {site.witness.key} {wrong}\n")
        with pytest.raises(SettingsError, match="expected the http or https URL"):
            named(file)
    file.write_text(f"{head}witness out nonsense https://audit.site\n")
    with pytest.raises(SettingsError):
        named(file)
