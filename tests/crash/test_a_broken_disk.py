"""After a write that failed halfway, a file that grows by lines must not grow into nonsense."""

import errno
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.errors import SpoolError
from agent.execution_journal import ExecutionJournal, Line
from tests.agent.test_loop import World
from tests.crash.preload import Action, Blow, Point, Watched

# As another thread of the executor would: the report of an earlier order is confirmed while a
# command runs, that line fails, and then the command ends.
_CODE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from agent.errors import JournalError
from agent.execution_journal import ExecutionJournal, Line
book = ExecutionJournal(Path(sys.argv[1]) / "journal.jsonl")
for what in ("claimed", "started", "finished", "done"):
    try:
        book.append(Line(at=datetime.now(UTC), what=what, order_id="order"))
    except JournalError:
        print("refused", what)
"""


@pytest.mark.parametrize(
    ("what", "action"),
    [("write", Action.SHORT), ("write", Action.FAIL), ("fdatasync", Action.FAIL)],
)
def test_after_a_line_that_failed_the_journal_takes_no_other_and_opens_again(
    library: Path, tmp_path: Path, what: str, action: Action
) -> None:
    (tmp_path / "state").mkdir()
    watched = Watched(library, tmp_path / "state", tmp_path / "beside")
    point = Point(label=f"{what} journal.jsonl", occurrence=2)
    watched.arm(Blow(point=point, action=action, error=errno.ENOSPC))
    words = [sys.executable, "-c", _CODE, str(watched.root)]
    done = subprocess.run(words, env=watched.around(), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["refused started", "refused finished", "refused done"]
    book = ExecutionJournal(watched.root / "journal.jsonl")
    book.append(Line(at=datetime.now(UTC), what="claimed", order_id="another"))
    book.close()
    assert ExecutionJournal(watched.root / "journal.jsonl").orders == {"order", "another"}


def test_a_finding_is_one_finding_when_the_disk_fails_right_after_it_was_spooled(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.spool.on_news(lambda: world.spool._db.execute("PRAGMA query_only = ON"))
    world.host.disks["/var"] = 95.0
    world.cycle(1)
    with pytest.raises(SpoolError):
        world.cycle(1)
    world.spool._db.execute("PRAGMA query_only = OFF")
    assert world.cycle(5) == []
    (spooled,) = world.spooled()
    world.host.disks["/var"] = 20.0
    world.spool._listeners.clear()
    (ended,) = world.cycle(2)
    assert ended.finding_id == spooled.body.finding_id
    world.spool.close()
