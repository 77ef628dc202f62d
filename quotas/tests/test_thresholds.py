"""Thresholds are crossed upwards, in (previous, current]."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.thresholds import crossed

LEVELS = st.integers(-50, 500)
THRESHOLDS = st.lists(st.integers(1, 200), max_size=6)


@pytest.mark.parametrize(
    ("previous", "current", "expected"),
    [
        (8, 30, [10, 30]),
        (10, 30, [30]),
        (0, 9, []),
        (30, 49, []),
        (0, 50, [10, 30, 50]),
        (50, 8, []),
        (10, 10, []),
    ],
)
def test_of_10_30_50(previous, current, expected):
    assert crossed(previous=previous, current=current, thresholds=[50, 10, 30, 10]) == expected


def test_recurring_goes_on_beyond_the_last():
    found = crossed(previous=45, current=112, thresholds=[10, 30, 50], recurring=25)
    assert found == [50, 75, 100]
    assert crossed(previous=75, current=100, thresholds=[50], recurring=25) == [100]
    assert crossed(previous=100, current=101, thresholds=[50], recurring=25) == []
    assert crossed(previous=0, current=7, thresholds=[], recurring=3) == [3, 6]
    assert crossed(previous=60, current=20, thresholds=[10], recurring=5) == []


def test_decimals_are_exact():
    step = Decimal("0.1")
    found = crossed(previous=Decimal(0), current=Decimal("0.3"), thresholds=[step], recurring=step)
    assert found == [Decimal("0.1"), Decimal("0.2"), Decimal("0.3")]


@pytest.mark.parametrize("recurring", [0, -1])
def test_a_step_is_above_zero(recurring):
    with pytest.raises(ValueError, match="above 0"):
        crossed(previous=0, current=1, thresholds=[], recurring=recurring)


@given(LEVELS, LEVELS, THRESHOLDS, st.none() | st.integers(1, 40))
def test_it_is_what_looking_at_every_level_finds(previous, current, thresholds, recurring):
    last = max(thresholds, default=0)

    def is_one(level):
        further = recurring is not None and level > last and (level - last) % recurring == 0
        return level in thresholds or further

    expected = [level for level in range(previous + 1, current + 1) if is_one(level)]
    found = crossed(previous=previous, current=current, thresholds=thresholds, recurring=recurring)
    assert found == expected


@given(LEVELS, LEVELS, LEVELS, THRESHOLDS, st.none() | st.integers(1, 40))
def test_two_steps_cross_what_one_does(a, b, c, thresholds, recurring):
    low, middle, high = sorted((a, b, c))

    def of(previous, current):
        return crossed(
            previous=previous, current=current, thresholds=thresholds, recurring=recurring
        )

    assert of(low, middle) + of(middle, high) == of(low, high)
