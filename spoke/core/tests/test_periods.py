"""Periods repeat from their anchor."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoke.core.periods import Period, period_containing

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001
times = st.datetimes(
    min_value=NAIVE.replace(year=1900), max_value=NAIVE.replace(year=2200), timezones=st.just(UTC)
)
intervals = st.sampled_from(["month", "year"])
counts = st.integers(1, 30)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def bounds(anchor: str, interval, start: str, number: int) -> list[str]:
    """The starts of consecutive periods, beginning with the one that contains `start`."""
    found, moment = [], at(start)
    for _ in range(number):
        period = period_containing(anchor=at(anchor), interval=interval, at=moment)
        found.append(period.start.isoformat()[:10])
        moment = period.end
    return found


def test_an_anchor_on_the_31st_comes_back_to_the_31st_after_shorter_months():
    assert bounds("2026-01-31T10:00", "month", "2026-01-31T10:00", 5) == [
        "2026-01-31",
        "2026-02-28",
        "2026-03-31",
        "2026-04-30",
        "2026-05-31",
    ]
    assert bounds("2028-01-31", "month", "2028-01-31", 3) == [
        "2028-01-31",
        "2028-02-29",
        "2028-03-31",
    ]


def test_29_february_a_year_on_is_the_28th_until_the_next_leap_year():
    assert bounds("2024-02-29", "year", "2024-02-29", 6) == [
        "2024-02-29",
        "2025-02-28",
        "2026-02-28",
        "2027-02-28",
        "2028-02-29",
        "2029-02-28",
    ]


def test_a_period_holds_its_start_and_not_its_end():
    march = period_containing(anchor=at("2026-01-01"), interval="month", at=at("2026-03-31T23:59"))
    assert march == Period(at("2026-03-01"), at("2026-04-01"))
    assert at("2026-03-01") in march
    assert at("2026-04-01") not in march
    assert march.length == timedelta(days=31)


def test_the_time_of_day_of_the_anchor_counts():
    before = period_containing(
        anchor=at("2026-01-15T12:00"), interval="month", at=at("2026-03-15T11:59:59")
    )
    assert before == Period(at("2026-02-15T12:00"), at("2026-03-15T12:00"))


def test_several_intervals_make_one_period_and_times_before_the_anchor_have_one():
    assert period_containing(
        anchor=at("2026-01-31"), interval="month", at=at("2025-12-01"), count=3
    ) == Period(at("2025-10-31"), at("2026-01-31"))
    assert period_containing(
        anchor=at("2024-02-29"), interval="year", at=at("2026-01-01"), count=4
    ) == Period(at("2024-02-29"), at("2028-02-29"))


def test_bounds_are_in_utc_whatever_the_zone_of_the_input():
    zone = timezone(timedelta(hours=5, minutes=30))
    local = datetime(2026, 4, 1, 3, 0, tzinfo=zone)  # 31 March, 21:30 UTC
    assert period_containing(anchor=at("2026-01-01"), interval="month", at=local) == Period(
        at("2026-03-01"), at("2026-04-01")
    )


@given(anchor=times, moment=times, interval=intervals, count=counts)
def test_periods_tile_time(anchor, moment, interval, count):
    period = period_containing(anchor=anchor, interval=interval, at=moment, count=count)
    assert moment in period
    following = period_containing(anchor=anchor, interval=interval, at=period.end, count=count)
    assert following.start == period.end
    before = period_containing(
        anchor=anchor, interval=interval, at=period.start - timedelta(microseconds=1), count=count
    )
    assert before.end == period.start


@given(anchor=times, interval=intervals, count=counts)
def test_the_anchor_starts_a_period(anchor, interval, count):
    period = period_containing(anchor=anchor, interval=interval, at=anchor, count=count)
    assert period.start == anchor


@given(anchor=times, moment=times, interval=intervals, count=counts)
def test_a_bound_keeps_the_anchors_day_or_is_the_last_of_its_month(anchor, moment, interval, count):
    start = period_containing(anchor=anchor, interval=interval, at=moment, count=count).start
    assert start.timetz() == anchor.timetz()
    last_of_month = (start + timedelta(days=1)).month != start.month
    assert start.day == anchor.day or (last_of_month and start.day < anchor.day)


@pytest.mark.parametrize(
    ("anchor", "moment", "count"),
    [
        (NAIVE, at("2026-01-01"), 1),
        (at("2026-01-01"), NAIVE, 1),
        (at("2026-01-01"), at("2026-01-01"), 0),
        (at("2026-01-01"), at("9999-12-31"), 1),
    ],
)
def test_what_has_no_answer_is_refused(anchor, moment, count):
    with pytest.raises(ValueError, match=r"."):
        period_containing(anchor=anchor, interval="month", at=moment, count=count)
