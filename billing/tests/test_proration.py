"""Proration by the second: figures of Stripe's documentation, and what holds for all."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import rating
from billing.proration import Proration, prorate_change, remaining
from spoke.core.periods import Period

MONTH = Period(datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))
HALF = MONTH.start + MONTH.length / 2
prices = st.integers(0, 10**9)
seconds = st.integers(0, MONTH.length // timedelta(seconds=1))


def change(old, new, at, **more):
    return prorate_change(old_minor=old, new_minor=new, period=MONTH, at=at, currency="usd", **more)


def test_ten_dollars_to_twenty_half_way():
    assert change(1000, 2000, HALF) == Proration(credit=-500, charge=1000)
    assert change(1000, 2000, HALF).total == 500


def test_pro_to_enterprise_after_ten_days():
    # 20 of 30 days: 49.00 * 2/3 = 32.666..., 499.00 * 2/3 = 332.666...
    assert change(4900, 49900, MONTH.start + timedelta(days=10)) == Proration(-3267, 33267)


def test_at_the_ends_all_or_nothing():
    assert change(4900, 49900, MONTH.start) == Proration(-4900, 49900)
    assert change(4900, 49900, MONTH.end) == Proration(0, 0)


def test_another_interval_is_charged_whole():
    year = Period(HALF, HALF.replace(year=2027))
    assert change(4900, 49000, HALF, new_period=year) == Proration(-2450, 49000)


def test_halves_round_away_from_zero():
    assert change(1, 3, HALF) == Proration(credit=-1, charge=2)


@pytest.mark.parametrize(
    ("old", "new", "at", "currency"),
    [
        (-1, 0, HALF, "usd"),
        (0, -1, HALF, "usd"),
        (0, 0, MONTH.end + timedelta(seconds=1), "usd"),
        (0, 0, MONTH.start - timedelta(seconds=1), "usd"),
        (0, 0, HALF, "xyz"),
    ],
)
def test_nonsense_is_refused(old, new, at, currency):
    with pytest.raises(ValueError, match=r"\w"):
        prorate_change(old_minor=old, new_minor=new, period=MONTH, at=at, currency=currency)


@given(old=prices, new=prices, second=seconds)
def test_a_credit_never_exceeds_what_was_paid(old, new, second):
    found = change(old, new, MONTH.start + timedelta(seconds=second))
    assert -old <= found.credit <= 0 <= found.charge <= new


@given(price=prices, first=seconds, second=seconds)
def test_adjacent_parts_add_up_within_one_minor_unit(price, first, second):
    """What is used between two changes, and before and after them, is the whole price."""
    early, late = sorted((first, second))
    at = [MONTH.start + timedelta(seconds=s) for s in (early, late)]
    left = [-change(price, 0, moment).credit for moment in at]
    before, between, after = price - left[0], left[0] - left[1], left[1]
    assert before + between + after == price
    exact = price * (remaining(period=MONTH, at=at[0]) - remaining(period=MONTH, at=at[1]))
    assert abs(between - exact) <= 1


def test_a_second_counts_whole():
    assert remaining(period=MONTH, at=MONTH.end - timedelta(microseconds=1)) == 0
    short = Period(MONTH.start, MONTH.start + timedelta(microseconds=5))
    assert remaining(period=short, at=short.start) == 0


def test_rating_is_that_of_budgets():
    rated = rating.rate_charge(
        rating.Charge(model="per_unit", unit_amount=Decimal("0.05")), Decimal(3)
    )
    assert (rated.precise, rated.minor) == (Decimal("0.15"), 15)
