"""The notary, killed, cut from power or let down at every write, and at every statement it sends.

Whatever happens: what was offered is in the log once and in order, nothing that PostgreSQL was told
as written is missing from the disk, the log opens again, and an auditor's program finds it whole.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.matrix import (
    WHOLE,
    failures,
    hangups,
    kills,
    of_files,
    of_sql,
    part_of,
    strike_all,
)
from tests.crash.notary_world import World, world
from tests.crash.power import Image
from tests.crash.preload import Blow, Point
from tests.crash.rows import Rows

pytestmark = [pytest.mark.postgres, pytest.mark.crash]
PARTS = 6 if WHOLE else 1


@pytest.fixture
def site(tmp_path: Path, library: Path, dsn: str) -> Iterator[World]:
    with world(tmp_path, library, dsn) as one:
        yield one


def of_a_run(site: World) -> list[Point]:
    """The calls of a start on nothing, and of the entries that wait."""
    site.renew()
    mark = site.notary.watched.mark()
    site.run_into(None)
    assert site.notary.runs
    site.notary.stop()
    return site.notary.watched.points(mark)


def strike_run(site: World, blow: Blow) -> None:
    site.renew()
    site.run_into(blow)
    assert site.notary.watched.struck, "the call was never made"
    site.aftermath(blow)


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_or_cut_from_power_at_each_write_the_log_loses_and_doubles_nothing(
    site: World, part: int
) -> None:
    blows = part_of(kills(of_files(of_a_run(site))), part, PARTS, sample=3)
    strike_all(blows, lambda blow: strike_run(site, blow))


@pytest.mark.parametrize("part", range(PARTS))
def test_let_down_by_its_disk_at_each_write_the_log_loses_and_doubles_nothing(
    site: World, part: int
) -> None:
    blows = part_of(failures(of_files(of_a_run(site))), part, PARTS, sample=3)
    strike_all(blows, lambda blow: strike_run(site, blow))


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_or_cut_off_at_each_statement_the_log_loses_and_doubles_nothing(
    site: World, part: int
) -> None:
    points = of_sql(of_a_run(site))
    blows = part_of([*kills(points), *hangups(points)], part, PARTS, sample=2)
    strike_all(blows, lambda blow: strike_run(site, blow))


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_each_write_of_a_recovery_the_log_is_recovered_once(
    site: World, part: int
) -> None:
    points = of_files(of_a_run(site))
    site.renew()
    torn = [point for point in points if point.label.startswith("fdatasync seg/")][-1]
    site.run_into(Blow(point=torn))
    site.notary.stop()
    image, rows = Image.of(site.notary.log), Rows.of(site.db.dsn)
    segment = next(name for name in image.files if name.startswith("seg/"))
    data, mode = image.files[segment]
    image.files[segment] = (data[:-7], mode)  # a torn last line: it is set aside and recorded

    def begin(blow: Blow | None) -> None:
        site.go_to(image, rows)
        site.run_into(blow)

    def strike(blow: Blow) -> None:
        begin(blow)
        assert site.notary.watched.struck, "the call was never made"
        site.aftermath(blow)

    mark = site.notary.watched.mark()
    begin(None)
    recovery = of_files(site.notary.watched.points(mark))
    assert any("torn/" in point.label for point in recovery)
    # Before each: what was after the last one is before the next.
    strike_all(part_of(kills(recovery)[::2], part, PARTS, sample=2), strike)
