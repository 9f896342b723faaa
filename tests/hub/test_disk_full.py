"""The database's disk is full: one line, nothing acknowledged, nothing lost, then it goes on."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from appliance.launch import Launcher, Postgres
from hub.errors import DatabaseError
from hub.ingest import Ingest
from hub.persist.database import Database
from hub.persist.ingest import store_events
from hub.persist.migrate import migrate
from tests.hub.builders import NOW, add_node, finding, received, sql

pytestmark = pytest.mark.postgres
SMALL_MB = 120


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small filesystem of its own, where we may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MB}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(words, check=False).returncode != 0:
        pytest.skip("mounting a small filesystem needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(folder: Path) -> Path:
    """Take what is left, as somebody else's file would."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def test_on_a_full_disk_nothing_is_acknowledged_and_later_nothing_is_missing(
    small_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    launcher = Launcher(tmp_path / "logs")
    postgres = Postgres(folder=small_disk / "pg", launcher=launcher)
    postgres.start()
    try:
        postgres.create("sentinel")
        migrate(postgres.dsn())
        with Database(postgres.dsn()) as db:
            add_node(db)
            ballast = _fill(small_disk)
            batch = [received(finding(summary=f"number {number}")) for number in range(300)]
            complaint = _until_refused(db, batch)
            assert "\n" not in complaint
            ballast.unlink()
            answers = asyncio.run(_through_ingest(db, batch))
            assert answers == [None] * len(batch)
            assert sql(db, "SELECT count(*) FROM incident") == [{"count": len(batch)}]
    finally:
        postgres.close()
        launcher.stop_all()


def _until_refused(db: Database, batch: list[object]) -> str:
    """Store one after the other until the disk says no; what PostgreSQL said."""
    for one in batch:
        try:
            store_events(db, [one], now=NOW)  # type: ignore[list-item]
        except DatabaseError as error:
            return str(error)
    pytest.fail("the disk was never full")


async def _through_ingest(db: Database, batch: list[object]) -> list[str | None]:
    """The same events again, as agents would send them after a reconnect."""
    ingest = Ingest(lambda group: store_events(db, group, now=NOW))
    task = asyncio.create_task(ingest.run())
    async with asyncio.timeout(60):
        waiting = [await ingest.accept(one) for one in batch]  # type: ignore[arg-type]
        answers = [await one for one in waiting]
    task.cancel()
    return answers
