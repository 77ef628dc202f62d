"""Which tax a sale bears, and how much: the pure rules."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.tax import (
    EU,
    EXEMPT,
    REVERSE_CHARGE,
    TAX_ID_PATTERNS,
    Buyer,
    Rate,
    Tax,
    clean_tax_id,
    tax_id_fits,
    tax_minor,
    tax_of,
    tax_share,
)

GERMAN = Rate("DE", "", "VAT", Decimal(19), date(2021, 1, 1), id=1)
RATES = [
    GERMAN,
    Rate("DE", "", "VAT", Decimal(16), date(2020, 7, 1), date(2021, 1, 1), id=2),
    Rate("US", "", "Sales tax", Decimal(1), date(2020, 1, 1), id=3),
    Rate("US", "CA", "Sales tax", Decimal("7.25"), date(2020, 1, 1), id=4),
]
TODAY = date(2026, 3, 5)


def of(buyer, seller="DE", on=TODAY, rates=RATES):
    return tax_of(buyer=buyer, seller_country=seller, rates=rates, on=on)


@pytest.mark.parametrize(
    ("buyer", "seller", "on", "expected"),
    [
        (Buyer("DE"), "DE", TODAY, Tax("VAT", Decimal(19), rate_id=1)),
        # A rate holds until the day before the next.
        (Buyer("DE"), "DE", date(2020, 12, 31), Tax("VAT", Decimal(16), rate_id=2)),
        (Buyer("DE"), "DE", date(2021, 1, 1), Tax("VAT", Decimal(19), rate_id=1)),
        (Buyer("DE"), "DE", date(2020, 6, 30), Tax()),
        # At home a tax id changes nothing; in another country of the EU its holder pays.
        (Buyer("DE", tax_id_type="eu_vat"), "DE", TODAY, Tax("VAT", Decimal(19), rate_id=1)),
        (
            Buyer("DE", tax_id_type="eu_vat"),
            "FR",
            TODAY,
            Tax(reverse_charge=True, note=REVERSE_CHARGE),
        ),
        (
            Buyer("DE", tax_id_type="eu_vat"),
            "US",
            TODAY,
            Tax(reverse_charge=True, note=REVERSE_CHARGE),
        ),
        (Buyer("DE"), "FR", TODAY, Tax("VAT", Decimal(19), rate_id=1)),
        (Buyer("US", tax_id_type="us_ein"), "DE", TODAY, Tax("Sales tax", Decimal(1), rate_id=3)),
        (Buyer("US", "ca"), "US", TODAY, Tax("Sales tax", Decimal("7.25"), rate_id=4)),
        (Buyer("US", "TX"), "US", TODAY, Tax("Sales tax", Decimal(1), rate_id=3)),
        (Buyer("DE", exempt=True), "DE", TODAY, Tax(note=EXEMPT)),
        (Buyer("CH"), "DE", TODAY, Tax()),
        (Buyer(), "DE", TODAY, Tax()),
    ],
)
def test_which_tax_holds(buyer, seller, on, expected):
    assert of(buyer, seller, on) == expected


@pytest.mark.parametrize(
    ("subtotal", "percentage", "currency", "expected"),
    [
        (1_170, "19", "usd", 222),  # 2.223
        (50, "19", "usd", 10),  # 0.095: half away from zero
        (-50, "19", "usd", -10),
        (101, "10", "jpy", 10),
        (1_005, "10", "kwd", 101),  # 0.1005
        (10_000, "7.2500", "usd", 725),
        (0, "19", "usd", 0),
    ],
)
def test_tax_is_rounded_once(subtotal, percentage, currency, expected):
    assert tax_minor(subtotal, Decimal(percentage), currency) == expected


percentages = st.decimals(0, 100, places=4)


@given(st.integers(0, 10**12), percentages, st.sampled_from(["usd", "jpy", "kwd"]))
def test_tax_is_exact_to_half_a_minor_unit(subtotal, percentage, currency):
    exact = Decimal(subtotal) * percentage / 100
    assert abs(tax_minor(subtotal, percentage, currency) - exact) <= Decimal("0.5")
    assert tax_minor(-subtotal, percentage, currency) == -tax_minor(subtotal, percentage, currency)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=20), st.data())
def test_shares_of_parts_add_up_to_the_whole_tax(parts, data):
    gross = sum(parts)
    tax = data.draw(st.integers(0, gross))
    before, shares = 0, []
    for part in parts:
        shares.append(tax_share(gross=gross, tax=tax, before=before, amount=part))
        before += part
    assert sum(shares) == tax
    assert all(0 <= share <= part for share, part in zip(shares, parts, strict=True))


@pytest.mark.parametrize(
    ("kind", "value", "country", "fits"),
    [
        ("eu_vat", "DE123456789", "DE", True),
        ("eu_vat", "DE12345678", "DE", False),
        ("eu_vat", "DE123456789", "FR", False),
        ("eu_vat", "EL123456789", "GR", True),
        ("eu_vat", "GR123456789", "GR", False),
        ("eu_vat", "FRXX123456789", "FR", True),
        ("eu_vat", "NL123456789B01", "NL", True),
        ("eu_vat", "ATU12345678", "AT", True),
        ("eu_vat", "US", "US", False),
        ("eu_vat", "", "", False),
        ("gb_vat", "GB123456789", "GB", True),
        ("gb_vat", "GB123456789", "US", False),
        ("us_ein", "123456789", "US", True),
        ("us_ein", "123456789\n", "US", False),
        ("ch_vat", "CHE123456789MWST", "CH", True),
    ],
)
def test_a_tax_id_has_the_form_of_its_kind_and_country(kind, value, country, fits):
    assert tax_id_fits(kind=kind, value=value, country=country) is fits


def test_every_country_of_the_union_has_a_form_and_ids_are_cleaned():
    for country in EU:
        assert not tax_id_fits(kind="eu_vat", value=country, country=country)
    assert clean_tax_id(" de 123.456-789 ") == "DE123456789"
    assert set(TAX_ID_PATTERNS) >= {"eu_vat", "gb_vat", "us_ein"}
