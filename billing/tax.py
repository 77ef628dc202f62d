"""Which tax a sale bears, and how much of it. Pure.

Rates come on top of prices. Amounts are in minor units and rounded once, half away from zero.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from spoke.core.money import exponent_of, round_minor

# Member states of the European Union, since 1 February 2020.
EU = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()  # noqa: SIM905
)
# What VAT numbers begin with where that is not the country's code.
VAT_PREFIXES = {"GR": "EL"}
# Forms of VAT numbers: the European Commission's VIES, "VAT number format", FAQ question 11.
_EU_FORMS = {
    "AT": r"U\d{8}",
    "BE": r"[01]\d{9}",
    "BG": r"\d{9,10}",
    "CY": r"\d{8}[A-Z]",
    "CZ": r"\d{8,10}",
    "DE": r"\d{9}",
    "DK": r"\d{8}",
    "EE": r"\d{9}",
    "ES": r"[A-Z0-9]\d{7}[A-Z0-9]",
    "FI": r"\d{8}",
    "FR": r"[A-HJ-NP-Z0-9]{2}\d{9}",
    "GR": r"\d{9}",
    "HR": r"\d{11}",
    "HU": r"\d{8}",
    "IE": r"(\d{7}[A-Z]{1,2}|\d[A-Z+*]\d{5}[A-Z])",
    "IT": r"\d{11}",
    "LT": r"(\d{9}|\d{12})",
    "LU": r"\d{8}",
    "LV": r"\d{11}",
    "MT": r"\d{8}",
    "NL": r"[A-Z0-9+*]{12}",
    "PL": r"\d{10}",
    "PT": r"\d{9}",
    "RO": r"\d{2,10}",
    "SE": r"\d{12}",
    "SI": r"\d{8}",
    "SK": r"\d{10}",
}
# By Stripe's names: of which country, and what the id looks like. eu_vat is by country, above.
TAX_ID_PATTERNS: dict[str, tuple[str, str]] = {
    "eu_vat": ("", ""),
    "au_abn": ("AU", r"\d{11}"),
    "br_cnpj": ("BR", r"\d{14}"),
    "ca_bn": ("CA", r"\d{9}"),
    "ca_gst_hst": ("CA", r"\d{9}RT\d{4}"),
    "ch_vat": ("CH", r"CHE\d{9}(MWST|TVA|IVA)"),
    "gb_vat": ("GB", r"GB(\d{9}|\d{12}|(GD|HA)\d{3})"),
    "in_gst": ("IN", r"\d{2}[A-Z]{5}\d{4}[A-Z][A-Z0-9]Z[A-Z0-9]"),
    "jp_trn": ("JP", r"T\d{13}"),
    "no_vat": ("NO", r"\d{9}MVA"),
    "nz_gst": ("NZ", r"\d{8,9}"),
    "sg_uen": ("SG", r"(\d{8,9}[A-Z]|[A-Z]\d{2}[A-Z]{2}\d{4}[A-Z])"),
    "us_ein": ("US", r"\d{9}"),
    "za_vat": ("ZA", r"4\d{9}"),
}
REVERSE_CHARGE = (
    "Reverse charge: VAT is to be paid by the recipient (Article 196 of Directive 2006/112/EC)."
)
EXEMPT = "Exempt from tax."


@dataclass(frozen=True)
class Buyer:
    """What of a buyer decides about tax. `country` may be empty."""

    country: str = ""
    state: str = ""
    tax_id_type: str = ""
    exempt: bool = False


@dataclass(frozen=True)
class Rate:
    """A rate, in force on [valid_from, valid_until)."""

    country: str
    state: str
    name: str
    percentage: Decimal
    valid_from: date
    valid_until: date | None = None
    id: int = 0


@dataclass(frozen=True)
class Tax:
    """The tax of an invoice. Without a name none is charged; `note` then may say why."""

    name: str = ""
    percentage: Decimal = Decimal(0)
    reverse_charge: bool = False
    note: str = ""
    rate_id: int = 0


def tax_of(*, buyer: Buyer, seller_country: str, rates: Iterable[Rate], on: date) -> Tax:
    """The tax that a sale to the buyer bears on a day.

    A business of another country of the EU pays its own (Articles 44 and 196 of Directive
    2006/112/EC); so none is charged. A state's rate goes before its country's.
    """
    if buyer.exempt:
        return Tax(note=EXEMPT)
    abroad = buyer.country in EU and buyer.country != seller_country
    if abroad and buyer.tax_id_type == "eu_vat":
        return Tax(reverse_charge=True, note=REVERSE_CHARGE)
    places = {buyer.state.casefold(), ""}
    found = [
        rate
        for rate in rates
        if rate.country == buyer.country
        and rate.state.casefold() in places
        and rate.valid_from <= on
        and (rate.valid_until is None or on < rate.valid_until)
    ]
    if not found:
        return Tax()
    best = max(found, key=lambda rate: bool(rate.state))
    return Tax(name=best.name, percentage=best.percentage, rate_id=best.id)


def tax_minor(subtotal: int, percentage: Decimal, currency: str) -> int:
    """The tax on an amount in minor units. Raises ValueError for an unknown currency."""
    exponent = exponent_of(currency)
    return round_minor(Decimal(subtotal).scaleb(-exponent) * percentage / 100, currency)


def tax_share(*, gross: int, tax: int, before: int, amount: int) -> int:
    """How much of a credited amount is tax, where `before` was credited of the same invoice already.

    `tax` lies in `gross`. The shares of any parts that make up the whole add up to the whole tax.
    """
    return _half_up(Fraction(tax * (before + amount), gross)) - _half_up(
        Fraction(tax * before, gross)
    )


def _half_up(amount: Fraction) -> int:
    return int(amount + Fraction(1, 2))


def clean_tax_id(value: str) -> str:
    """A tax id as it is compared and printed: capitals, without blanks, dots and dashes."""
    return re.sub(r"[\s.\-]", "", value).upper()


def tax_id_fits(*, kind: str, value: str, country: str) -> bool:
    """Whether a cleaned tax id has the form of its kind and belongs to the country."""
    of_country, pattern = TAX_ID_PATTERNS[kind]
    if kind == "eu_vat":
        of_country = country if country in EU else "?"
        pattern = VAT_PREFIXES.get(country, country) + _EU_FORMS.get(country, "")
    return of_country == country and re.fullmatch(pattern, value) is not None
