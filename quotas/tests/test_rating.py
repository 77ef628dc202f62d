"""Every charge model, with the figures of the rules, and what holds for all figures."""

from dataclasses import replace
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.rating import Charge, Tier, rate_charge
from spoke.core.money import round_minor

D = Decimal
GRADUATED = Charge(
    "graduated",
    tiers=[Tier(D(10), D(10), D(2)), Tier(D(20), D(5), D(3)), Tier(None, D(5), D(3))],
)
VOLUME = Charge("volume", tiers=[Tier(D(5), D(7)), Tier(D(10), D("6.5")), Tier(None, D(6))])
QUANTITIES = st.decimals(0, 10**9, allow_nan=False, places=6)
PRICES = st.decimals(0, 1000, allow_nan=False, places=12)


def costs(charge, quantity):
    return rate_charge(charge, D(quantity)).precise


@pytest.mark.parametrize(
    ("quantity", "cost"), [(0, 2), (1, 12), (10, 102), (11, 110), (12, 115), (20, 155), (21, 163)]
)
def test_graduated(quantity, cost):
    assert costs(GRADUATED, quantity) == cost


@pytest.mark.parametrize(
    ("quantity", "cost"), [(0, 0), (1, 7), (5, 35), (6, 39), (20, 120), (25, 150)]
)
def test_volume(quantity, cost):
    assert costs(VOLUME, quantity) == cost


def test_between_two_whole_numbers_the_next_tier_has_begun():
    assert costs(GRADUATED, "10.5") == D("107.5")
    assert costs(VOLUME, "5.5") == D("35.75")


@pytest.mark.parametrize(("quantity", "cost"), [(0, 0), (1, 3), (100, 3), (101, 6), ("200.1", 9)])
def test_started_packages_are_charged_whole(quantity, cost):
    assert costs(Charge("package", unit_amount=D(3), package_size=D(100)), quantity) == cost


def test_the_simple_models():
    assert costs(Charge("flat", unit_amount=D("49.00")), 7) == 49
    assert costs(Charge("per_unit", unit_amount=D("0.05")), 20) == 1
    assert costs(Charge("percentage", unit_amount=D("2.9")), 200) == D("5.8")


def test_what_is_included_comes_off_before_the_tiers():
    charge = Charge("graduated", tiers=GRADUATED.tiers, included=D(100))
    assert costs(charge, 40) == 2
    assert costs(charge, 111) == 110
    assert costs(Charge("per_unit", unit_amount=D(1), included=D(10)), 9) == 0


def test_a_line_has_bounds():
    charge = Charge("per_unit", unit_amount=D(1), minimum=D(5), maximum=D("7.5"))
    assert [costs(charge, n) for n in (0, 5, 6, 8)] == [5, 5, 6, D("7.5")]


def test_a_line_is_rounded_once_to_its_currency():
    def minor(currency):
        charge = Charge("per_unit", unit_amount=D("0.333333333333"), currency=currency)
        return rate_charge(charge, D("4.5")).minor

    assert [minor(currency) for currency in ("usd", "jpy", "kwd")] == [150, 1, 1500]


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "other"},
        {"model": "package", "package_size": D(0)},
        {"model": "flat", "included": D(-1)},
        {"model": "flat", "minimum": D(2), "maximum": D(1)},
        {"model": "volume"},
        {"model": "flat", "tiers": [Tier(None, D(1))]},
        {"model": "volume", "tiers": [Tier(D(5), D(1))]},
        {"model": "volume", "tiers": [Tier(None, D(1)), Tier(None, D(1))]},
        {"model": "volume", "tiers": [Tier(D(5), D(1)), Tier(D(5), D(1)), Tier(None, D(1))]},
        {"model": "volume", "tiers": [Tier(D(0), D(1)), Tier(None, D(1))]},
    ],
)
def test_charges_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"."):
        Charge(**wrong)


@pytest.mark.parametrize("quantity", ["-1", "NaN", "Infinity"])
def test_quantities_that_make_no_sense_are_refused(quantity):
    with pytest.raises(ValueError, match="quantity"):
        rate_charge(GRADUATED, D(quantity))


@st.composite
def tiered(draw, model):
    bounds = sorted(draw(st.sets(st.integers(1, 1000), max_size=4)))
    return Charge(
        model,
        tiers=[
            Tier(bound, draw(PRICES), draw(PRICES))
            for bound in [*(D(bound) for bound in bounds), None]
        ],
        included=draw(st.sampled_from([D(0), D(7)])),
    )


@given(tiered("graduated"), QUANTITIES, QUANTITIES)
def test_more_never_costs_less_in_graduated_tiers(charge, a, b):
    low, high = sorted((a, b))
    assert costs(charge, low) <= costs(charge, high)


@given(tiered("graduated"), st.integers(0, 300))
def test_graduated_is_the_sum_of_its_units(charge, quantity):
    total, reached = charge.tiers[0].flat_amount, charge.tiers[0]
    for unit in range(1, max(quantity - int(charge.included), 0) + 1):
        tier = next(t for t in charge.tiers if t.up_to is None or unit <= t.up_to)
        if tier is not reached:
            total, reached = total + tier.flat_amount, tier
        total += tier.unit_amount
    assert costs(charge, quantity) == total


@given(tiered("volume"), QUANTITIES)
def test_volume_is_one_tiers_price_for_all(charge, quantity):
    billed = max(quantity - charge.included, D(0))
    tier = next(t for t in charge.tiers if t.up_to is None or billed <= t.up_to)
    with localcontext() as wide:
        wide.prec = 60
        assert costs(charge, quantity) == tier.flat_amount + billed * tier.unit_amount


@given(tiered("graduated"), QUANTITIES, st.sampled_from(["usd", "jpy", "kwd"]))
def test_the_rounded_amount_is_that_of_the_precise_one_whatever_the_context(
    charge, quantity, currency
):
    charge = replace(charge, currency=currency)
    expected = rate_charge(charge, quantity)
    with localcontext() as narrow:
        narrow.prec = 4
        assert rate_charge(charge, quantity) == expected
    assert expected.minor == round_minor(expected.precise, currency)
