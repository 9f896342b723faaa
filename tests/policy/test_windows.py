"""Change windows: hub and node look at the same ones, each with its own clock."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.bundle import parse_bundle
from policy.errors import PolicyError
from policy.windows import is_open, window

NIGHT = window(["fri"], "22:00", "04:00")
NOON = window([], "12:00", "13:30")


@pytest.mark.parametrize(
    ("moment", "is_it"),
    [
        ("2026-01-02T21:59", False),  # a Friday
        ("2026-01-02T22:00", True),
        ("2026-01-03T03:59", True),
        ("2026-01-03T04:00", False),
        ("2026-01-03T22:30", False),
        ("2026-01-02T03:00", False),
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_it_starts(moment: str, *, is_it: bool) -> None:
    assert NIGHT.holds(datetime.fromisoformat(moment).replace(tzinfo=UTC)) is is_it


def test_a_window_is_in_utc_whatever_the_clock_shows() -> None:
    there = datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert NOON.holds(there)
    assert not is_open([], there)
    assert is_open([NIGHT, NOON], there)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_window_and_the_rest_of_the_day_share_no_minute(moment: datetime) -> None:
    rest = window([], "13:30", "12:00")
    assert NOON.holds(moment) is not rest.holds(moment)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('start = "22:00"\nend = "22:00"\n', "same time"),
        ('start = "24:00"\nend = "01:00"\n', "no time of day"),
        ('start = "9:00"\nend = "10:00"\n', "no time of day"),
        ('start = "09:60"\nend = "10:00"\n', "no time of day"),
        ('start = "09:00"\nend = "10:00"\ndays = ["friday"]\n', "no day"),
        ('start = "09:00"\n', "end"),
    ],
)
def test_a_wrong_window_is_a_broken_policy_with_its_line(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message) as caught:
        parse_bundle({"a.toml": f'[places]\nsecret = ["/x"]\n[[window]]\n{text}'.encode()})
    assert caught.value.line in (1, 3)


def test_windows_of_several_files_are_joined() -> None:
    files = {
        "a.toml": b'[places]\nsecret = ["/x"]\n[[window]]\nstart = "01:00"\nend = "02:00"\n',
        "b.toml": b'[[window]]\nstart = "03:00"\nend = "04:00"\ndays = ["sun"]\n',
    }
    assert len(parse_bundle(files).windows) == 2
