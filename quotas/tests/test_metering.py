"""What a meter's figures mean, against the figures of the rules and against properties."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.metering import cover, time_weighted_average
from spoke.core.periods import Period

MARCH = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
amounts = st.decimals(-(10**12), 10**12, places=6)
times = st.integers(0, 31 * 24 * 3600 * 10**6 - 1).map(
    lambda microseconds: MARCH.start + timedelta(microseconds=microseconds)
)
changes_in_march = st.lists(st.tuples(times, amounts), max_size=20)


def average(initial, changes, period=MARCH):
    return time_weighted_average(initial=Decimal(initial), changes=changes, period=period)


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def test_the_figure_of_the_rules():
    figure = average(0, [(at(5), Decimal(2500))])
    assert str(figure).startswith("2177.4193548387")
    assert figure == Decimal(2500) * 27 / 31


@pytest.mark.parametrize(
    ("initial", "changes", "expected"),
    [
        (0, [], 0),
        (7, [], 7),
        (100, [(at(1), Decimal(-100))], 0),
        (0, [(at(31, 12), Decimal(62))], 1),
        (10, [(MARCH.end, Decimal(99))], 10),  # the end is not in the period
        (10, [(MARCH.start - timedelta(days=1), Decimal(5))], 15),  # before: from the start
        (31, [(at(2), Decimal(31)), (at(3), Decimal(-31))], 32),
    ],
)
def test_levels_are_weighted_with_how_long_they_stood(initial, changes, expected):
    assert average(initial, changes) == expected


@given(changes_in_march, amounts)
def test_the_order_of_changes_does_not_matter(changes, initial):
    assert average(initial, changes) == average(initial, reversed(changes))


@given(changes_in_march, amounts)
def test_it_is_the_sum_of_level_times_seconds(changes, initial):
    level, area, last = initial, Decimal(0), MARCH.start
    for when, change in sorted(changes):
        area += level * ((when - last) // timedelta(microseconds=1))
        level, last = level + change, when
    area += level * ((MARCH.end - last) // timedelta(microseconds=1))
    expected = area / (MARCH.length // timedelta(microseconds=1))
    assert abs(average(initial, changes) - expected) <= Decimal("1e-6")


@given(changes_in_march, amounts)
def test_it_lies_between_the_lowest_and_the_highest_level(changes, initial):
    levels = [initial]
    for _, change in sorted(changes):
        levels.append(levels[-1] + change)
    slack = Decimal("1e-12")
    assert min(levels) - slack <= average(initial, changes) <= max(levels) + slack


@given(changes_in_march, amounts, times)
def test_two_parts_of_a_period_average_to_the_whole(changes, initial, cut):
    if cut == MARCH.start:
        return
    first, second = Period(MARCH.start, cut), Period(cut, MARCH.end)
    before = [change for change in changes if change[0] < cut]
    level = initial + sum(change for _, change in before)
    after = [change for change in changes if change[0] >= cut]
    parts = average(initial, before, first) * (first.length // timedelta(microseconds=1))
    parts += average(level, after, second) * (second.length // timedelta(microseconds=1))
    whole = average(initial, changes) * (MARCH.length // timedelta(microseconds=1))
    assert abs(parts - whole) <= abs(whole) * Decimal("1e-20") + Decimal("1e-3")


def test_an_empty_period_or_a_time_without_zone_is_a_mistake():
    with pytest.raises(ValueError, match="ends after its start"):
        average(0, [], Period(MARCH.start, MARCH.start))
    with pytest.raises(ValueError, match="time zone"):
        average(0, [(datetime(2026, 3, 5), Decimal(1))])  # noqa: DTZ001


@given(times, times)
def test_pieces_cover_a_stretch_without_gap_or_overlap(one, other):
    start, end = sorted((one, other))
    pieces = cover(start, end)
    assert len(pieces) <= 5
    edges = [start]
    for piece in pieces:
        assert piece.start == edges[-1]
        assert piece.start < piece.end
        edges.append(piece.end)
        if piece.span != "moment":
            assert piece.start.minute == piece.end.minute == piece.start.microsecond == 0
        if piece.span == "day":
            assert piece.start.hour == piece.end.hour == 0
        if piece.span == "moment":
            assert piece.end - piece.start < timedelta(hours=2)
        if piece.span == "hour":
            assert piece.end - piece.start < timedelta(hours=48)
    assert edges[-1] == end


def test_a_month_is_read_as_one_piece_of_days():
    assert [(p.span, p.start, p.end) for p in cover(MARCH.start, MARCH.end)] == [
        ("day", MARCH.start, MARCH.end)
    ]
