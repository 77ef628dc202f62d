"""How plans price usage: units, what is included, and each model through one function."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.charges import ChargeDefinition, explained, rate_usage, units_of
from quotas.rating import Tier

D = Decimal
GRADUATED = (Tier(D(10), D(10), D(2)), Tier(D(20), D(5), D(3)), Tier(None, D(5), D(3)))
VOLUME = (Tier(D(5), D(7)), Tier(D(10), D("6.5")), Tier(None, D(6)))


def cost(used, currency="usd", **more):
    more = {"unit": "job", "unit_size": 1, "included": 0, **more}
    return rate_usage(ChargeDefinition(**more), currency=currency, used=D(used)).rated.minor


def test_storage_on_pro_by_its_average():
    charge = ChargeDefinition("GB-month", 2**30, 10 * 2**30, D("5.00"))
    priced = rate_usage(charge, currency="usd", used=D(10 * 2**30 + 2**28))
    assert (priced.quantity, priced.included) == (D("10.25"), D(10))
    assert (priced.rated.precise, priced.rated.minor) == (D("1.25"), 125)


@pytest.mark.parametrize(
    ("used", "minor"), [(0, 200), (1, 1200), (10, 10200), (11, 11000), (12, 11500), (21, 16300)]
)
def test_graduated_as_the_rules_have_it(used, minor):
    assert cost(used, model="graduated", tiers=GRADUATED) == minor


@pytest.mark.parametrize(
    ("used", "minor"), [(1, 700), (5, 3500), (6, 3900), (20, 12000), (25, 15000)]
)
def test_volume_as_the_rules_have_it(used, minor):
    assert cost(used, model="volume", tiers=VOLUME) == minor


@pytest.mark.parametrize(
    ("used", "minor"), [(600_000, 0), (600_001, 10), (601_000, 10), (601_001, 20)]
)
def test_a_started_package_is_charged_whole(used, minor):
    charge = {"unit_size": 1000, "included": 600_000, "unit_amount": D("0.10")}
    assert cost(used, model="package", **charge) == minor


@pytest.mark.parametrize("used", [1, 2, 3, 4, 7, 8, 3_000_001])
def test_packages_whose_size_does_not_divide_evenly(used):
    started = -(-(used - 1) // 3)
    assert cost(used, model="package", unit_size=3, included=1, unit_amount=D(1)) == started * 100


def test_flat_percentage_and_bounds():
    assert cost(0, model="flat", unit_amount=D("9.99")) == 999
    assert cost(250, model="percentage", unit_amount=D("2.9")) == 725
    assert cost(1, unit_amount=D("0.05"), minimum=D(5)) == 500
    assert cost(1_000, unit_amount=D("0.05"), maximum=D("20")) == 2000


def test_currencies_round_to_their_own_units():
    charge = {"unit_amount": D("1000.5")}
    assert cost(1, currency="jpy", **charge) == 1001
    assert cost(1, currency="kwd", **charge) == 1_000_500
    assert cost(1, currency="usd", **charge) == 100_050


@given(amount=st.integers(0, 2**80), size=st.integers(1, 2**40))
def test_units_are_within_half_of_the_last_digit(amount, size):
    units = Fraction(units_of(D(amount), size))
    assert abs(units - Fraction(amount, size)) <= Fraction(1, 2 * 10**24)


@pytest.mark.parametrize(
    ("charge", "text"),
    [
        ({"unit_amount": D("0.050")}, ""),
        ({"model": "package", "unit_amount": D(2)}, "2 for each started job"),
        ({"model": "percentage", "unit_amount": D("2.90")}, "2.9%"),
        ({"model": "flat", "unit_amount": D(1), "minimum": D(0)}, "flat; at least 0"),
        ({"unit_amount": D(1), "maximum": D(100)}, "at most 100"),
        (
            {"model": "graduated", "tiers": GRADUATED},
            "graduated: to 10 at 10 + 2, to 20 at 5 + 3, above at 5 + 3",
        ),
        ({"model": "volume", "tiers": VOLUME}, "volume: to 5 at 7, to 10 at 6.5, above at 6"),
    ],
)
def test_how_it_is_priced_can_be_read(charge, text):
    assert explained(ChargeDefinition("job", 1, 0, **charge)) == text
