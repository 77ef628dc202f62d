"""Rounding once and sharing out without loss."""

from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoke.core.money import EXPONENTS, TWO_DECIMALS, allocate, exponent_of, round_minor

AMOUNTS = st.decimals("-1e15", "1e15", allow_nan=False, places=12)
CURRENCIES = st.sampled_from(["usd", "EUR", "jpy", "KWD", "clf"])


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("10.275", "USD", 1028),
        ("0.004", "usd", 0),
        ("0.005", "usd", 1),
        ("10.125", "usd", 1013),
        ("-10.125", "usd", -1013),
        ("1000.5", "JPY", 1001),
        ("-100.5", "jpy", -101),
        ("1.2345", "kwd", 1235),
        ("0", "usd", 0),
    ],
)
def test_half_away_from_zero_to_the_currencys_exponent(amount, currency, minor):
    assert round_minor(Decimal(amount), currency) == minor


def test_each_line_is_rounded_for_itself():
    assert sum(round_minor(Decimal("10.333333"), "usd") for _ in range(3)) == 3099


def test_exponents():
    assert [exponent_of(c) for c in ("JPY", "usd", "Kwd", "CLF")] == [0, 2, 3, 4]
    assert not TWO_DECIMALS & EXPONENTS.keys()
    for unknown in ("", "XXX", "dollar"):
        with pytest.raises(ValueError, match="no currency"):
            exponent_of(unknown)


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
def test_what_is_not_finite_is_no_amount(amount):
    with pytest.raises(ValueError, match="finite"):
        round_minor(Decimal(amount), "usd")


@given(AMOUNTS, CURRENCIES)
def test_rounding_is_within_a_half_and_mirrors(amount, currency):
    minor = round_minor(amount, currency)
    distance = abs(Fraction(minor, 10 ** exponent_of(currency)) - Fraction(amount))
    assert distance * 2 <= Fraction(1, 10 ** exponent_of(currency))
    assert round_minor(-amount, currency) == -minor


@given(AMOUNTS)
def test_the_callers_precision_does_not_matter(amount):
    expected = int(amount.scaleb(2).to_integral_value(ROUND_HALF_UP))
    with localcontext() as narrow:
        narrow.prec = 3
        assert round_minor(amount, "usd") == expected


@pytest.mark.parametrize(
    ("minor", "weights", "expected"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (-100, [1, 1, 1], [-34, -33, -33]),
        (5, [3, 7], [2, 3]),
        (1, [0, 1, 1], [0, 1, 0]),
        (0, [1, 2], [0, 0]),
        (7, [Decimal("0.5"), Decimal("0.25"), Decimal("0.25")], [3, 2, 2]),
    ],
)
def test_the_largest_remainders_come_first_and_of_equals_the_earlier(minor, weights, expected):
    assert allocate(minor, weights) == expected


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [2, -1]])
def test_weights_that_cannot_share(weights):
    with pytest.raises(ValueError, match="weights"):
        allocate(1, weights)


@given(
    st.integers(-(10**15), 10**15),
    st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any),
)
def test_sharing_loses_nothing_and_is_fair(minor, weights):
    parts = allocate(minor, weights)
    assert sum(parts) == minor
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(minor) * weight / sum(weights)) < 1
    assert allocate(-minor, weights) == [-part for part in parts]
