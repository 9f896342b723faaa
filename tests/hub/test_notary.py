"""The notary as a process: nothing offered is lost, nothing is doubled, whenever it is killed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance import envelope
from hub.persist.database import Database
from hub.persist.log_index import how_far
from hub.persist.outbox import actor, offer
from tests.hub.builders import outbox, sql

pytestmark = pytest.mark.postgres

ORIGIN = "test.sentinel.internal/log"


class NotaryProcess:
    """`sentinel-hub notary` over a folder and a database."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        self._config = folder / "notary.toml"
        envelope.make_key(folder / "audit.key")
        self._config.write_text(
            f'dsn = "{dsn}"\nfolder = "{self.log}"\norigin = "{ORIGIN}"\n'
            f'key = "{folder}/audit.key"\nidle_checkpoint_s = 0.5\n'
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "notary.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub", "notary", "--config", str(self._config)],
                stdout=output,
                stderr=output,
            )

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(10)

    def said(self) -> str:
        return (self.folder / "notary.log").read_text()

    def lines(self) -> list[dict[str, Any]]:
        files = sorted((self.log / "seg").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def verify(self) -> int:
        words = [sys.executable, "-m", "audit", "verify", str(self.log)]
        return subprocess.run(words, capture_output=True, check=False).returncode


@pytest.fixture
def notary(tmp_path: Path, dsn: str) -> Iterator[NotaryProcess]:
    one = NotaryProcess(tmp_path, dsn)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.end(signal.SIGKILL)


def offer_many(db: Database, count: int) -> list[str]:
    """Offer entries, each with its commit."""
    ids = []
    for number in range(count):
        with db.transaction() as work:
            ids.append(
                offer(
                    work,
                    type="config.change",
                    actor=actor("hub", "hub"),
                    at=datetime.now(UTC),
                    body={"what": "test", "number": number},
                )
            )
    return ids


def offered(notary: NotaryProcess) -> list[str]:
    """The entries of `offer_many`, as they are in the log."""
    return [line["id"] for line in notary.lines() if line["body"].get("what") == "test"]


def until(condition: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def test_what_is_offered_is_in_the_log_once_in_order_and_signed(
    notary: NotaryProcess, database: Database
) -> None:
    ids = offer_many(database, 20)
    notary.start()
    until(lambda: not outbox(database))
    assert notary.end(signal.SIGTERM) == 0
    assert offered(notary) == ids
    assert notary.verify() == 0


def test_killed_again_and_again_it_loses_nothing_and_doubles_nothing(
    notary: NotaryProcess, database: Database
) -> None:
    ids: list[str] = []
    for pause_s in (0.35, 0.4, 0.45, 0.5, 0.55):
        notary.start()
        started = time.monotonic()
        while time.monotonic() - started < pause_s:  # it dies while it writes
            ids += offer_many(database, 5)
        notary.end(signal.SIGKILL)
    notary.start()
    until(lambda: not outbox(database))
    assert notary.end(signal.SIGTERM) == 0
    written = offered(notary)
    assert sorted(written) == sorted(ids)
    assert len(set(written)) == len(written)
    assert how_far(database).size == len(notary.lines())
    assert notary.verify() == 0


def test_silence_is_evidence_an_idle_log_says_the_time(
    notary: NotaryProcess, database: Database
) -> None:
    notary.start()
    until(lambda: how_far(database).size >= 3)
    notary.end(signal.SIGTERM)
    assert "time.status" in [line["type"] for line in notary.lines()]
    assert notary.verify() == 0


def test_a_log_that_was_set_back_is_not_continued(
    notary: NotaryProcess, database: Database
) -> None:
    offer_many(database, 10)
    notary.start()
    until(lambda: not outbox(database))
    notary.end(signal.SIGTERM)
    segment = next((notary.log / "seg").glob("*.jsonl"))
    kept = segment.read_bytes()
    segment.write_bytes(b"".join(kept.splitlines(keepends=True)[:-3]))
    notary.start()
    assert notary.process is not None
    assert notary.process.wait(20) == 2
    assert "set back" in notary.said()
    assert "Traceback" not in notary.said()


def test_a_row_that_has_no_line_is_noted_and_does_not_stop_the_log(
    notary: NotaryProcess, database: Database
) -> None:
    """Else whoever writes to the database, past `offer`, could end all approvals with one row."""
    (before,) = offer_many(database, 1)
    sql(database, """UPDATE audit_outbox SET body = '{"BAD KEY": 1.5}'""")
    (after,) = offer_many(database, 1)
    notary.start()
    until(lambda: not outbox(database))
    assert notary.end(signal.SIGTERM) == 0
    types = {line["id"]: line["type"] for line in notary.lines()}
    assert (types[before], types[after]) == ("redaction", "config.change")
    assert notary.verify() == 0


def test_a_second_notary_is_refused(notary: NotaryProcess, database: Database, dsn: str) -> None:
    notary.start()
    until(lambda: how_far(database).size >= 1)
    (notary.folder / "second").mkdir()
    second = NotaryProcess(notary.folder / "second", dsn)
    second.start()
    assert second.process is not None
    assert second.process.wait(20) == 2
    assert "another notary" in second.said()
