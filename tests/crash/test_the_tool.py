"""The crash tool: it strikes where it was told, and a power cut takes what was not synced."""

import errno
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.power import Loss, after_the_cut
from tests.crash.preload import Action, Blow, Point, Watched

APPEND = """
import os, sys
fd = os.open(sys.argv[1] + "/book", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
folder = os.open(sys.argv[1], os.O_RDONLY)
os.fsync(folder)
for line in (b"first\\n", b"second\\n"):
    while line:
        line = line[os.write(fd, line):]
    os.fdatasync(fd)
print("done", flush=True)
"""
REPLACE = """
import os, sys
new = sys.argv[1] + "/state.new"
with open(new, "wb") as file:
    file.write(b"new")
    file.flush()
    os.fsync(file.fileno())
os.replace(new, sys.argv[1] + "/state")
folder = os.open(sys.argv[1], os.O_RDONLY)
os.fsync(folder)
"""
SQLITE = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/spool.db", isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = FULL")
db.execute("CREATE TABLE t (n)")
db.execute("INSERT INTO t VALUES (1)")
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def watched(library: Path, tmp_path: Path) -> Watched:
    (tmp_path / "root").mkdir()
    return Watched(library, tmp_path / "root", tmp_path / "beside")


@pytest.fixture
def run(watched: Watched) -> Run:
    def one(code: str, blow: Blow | None = None) -> subprocess.CompletedProcess[str]:
        if blow is not None:
            watched.arm(blow)
        words = [sys.executable, "-c", code, str(watched.root)]
        return subprocess.run(
            words, env=watched.around(), capture_output=True, text=True, check=False
        )

    return one


def the(label: str, occurrence: int = 1) -> Point:
    return Point(label=label, occurrence=occurrence)


def test_every_call_of_the_write_path_is_seen_in_order(run: Run, watched: Watched) -> None:
    assert run(APPEND).returncode == 0
    assert [str(point) for point in watched.points()] == [
        "create book #1",
        "fsync . #1",
        "write book #1",
        "fdatasync book #1",
        "write book #2",
        "fdatasync book #2",
    ]


@pytest.mark.parametrize(("after", "left"), [(False, "first\n"), (True, "first\nsecond\n")])
def test_it_kills_before_or_after_the_call_that_was_chosen(
    run: Run, watched: Watched, *, after: bool, left: str
) -> None:
    done = run(APPEND, Blow(point=the("write book", 2), after=after))
    assert done.returncode == -signal.SIGKILL
    assert watched.struck
    assert (watched.root / "book").read_text() == left


@pytest.mark.parametrize(
    ("loss", "left"),
    [
        (Loss.NOTHING, b"first\nsecond\n"),
        (Loss.ALL, b"first\n"),
        (Loss.HALF, b"first\nsec"),
        (Loss.ZEROS, b"first\n" + bytes(7)),
    ],
)
def test_a_power_cut_takes_what_was_not_synced(
    run: Run, watched: Watched, loss: Loss, left: bytes
) -> None:
    run(APPEND, Blow(point=the("fdatasync book", 2)))
    image = after_the_cut(watched.root, watched.shadow, loss)
    image.put(watched.root)
    assert (watched.root / "book").read_bytes() == left


def test_a_power_cut_after_the_sync_takes_nothing(run: Run, watched: Watched) -> None:
    run(APPEND, Blow(point=the("fdatasync book", 2), after=True))
    for loss in Loss:
        image = after_the_cut(watched.root, watched.shadow, loss)
        assert image.files["book"][0] == b"first\nsecond\n"


@pytest.mark.parametrize(("after", "left"), [(False, b"old"), (True, b"new")])
def test_a_rename_counts_when_its_folder_was_synced(
    run: Run, watched: Watched, *, after: bool, left: bytes
) -> None:
    (watched.root / "state").write_bytes(b"old")
    run(REPLACE, Blow(point=the("fsync ."), after=after))
    image = after_the_cut(watched.root, watched.shadow, Loss.ALL)
    assert image.files["state"][0] == left


def test_a_call_that_fails_is_not_made(run: Run, watched: Watched) -> None:
    done = run(APPEND, Blow(point=the("write book", 2), action=Action.FAIL, error=errno.ENOSPC))
    assert "No space left" in done.stderr
    assert (watched.root / "book").read_text() == "first\n"


def test_a_short_write_takes_half_and_then_goes_on_or_fails(run: Run, watched: Watched) -> None:
    point = the("write book", 2)
    assert run(APPEND, Blow(point=point, action=Action.SHORT)).returncode == 0
    assert (watched.root / "book").read_text() == "first\nsecond\n"
    (watched.root / "book").unlink()
    watched.forget()
    done = run(APPEND, Blow(point=point, action=Action.SHORT, error=errno.EIO))
    assert "Input/output error" in done.stderr
    assert (watched.root / "book").read_text() == "first\nsec"


def test_the_writes_of_sqlite_are_seen_too(run: Run, watched: Watched) -> None:
    run(SQLITE)
    labels = {point.label for point in watched.points()}
    assert {"write spool.db-wal", "fdatasync spool.db-wal", "write spool.db"} <= labels


def test_a_child_of_the_process_is_not_under_test(run: Run, watched: Watched) -> None:
    run(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {APPEND!r}, sys.argv[1]])")
    assert (watched.root / "book").exists()
    assert watched.points() == []
