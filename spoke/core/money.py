"""Money: whole minor units, rounded once, shared out without loss. Pure."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

# Decimals of a currency's minor unit, where they are not two: ISO 4217, amendment 177 (2024-06-25).
DEFAULT_EXPONENT = 2
EXPONENTS = {
    **dict.fromkeys(
        "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(),  # noqa: SIM905
        0,
    ),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),  # noqa: SIM905
    **dict.fromkeys("CLF UYW".split(), 4),  # noqa: SIM905
}
TWO_DECIMALS = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
    CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG
    HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU
    MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR
    SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES
    WST XCD XCG YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905
)
CURRENCIES = TWO_DECIMALS | frozenset(EXPONENTS)
# Wide enough for any amount that is stored.
EXACT_DIGITS = 120


def exponent_of(currency: str) -> int:
    """How many decimals the currency's minor unit is of its major unit. Raises ValueError."""
    code = currency.upper()
    if code in EXPONENTS:
        return EXPONENTS[code]
    if code in TWO_DECIMALS:
        return DEFAULT_EXPONENT
    raise ValueError(f"{currency!r} is no currency of ISO 4217")


def round_minor(amount: Decimal, currency: str) -> int:
    """An amount in major units as whole minor units, half away from zero.

    Raises ValueError for an unknown currency or an amount that is not finite.
    """
    if not amount.is_finite():
        raise ValueError("an amount of money is finite")
    exponent = exponent_of(currency)
    with localcontext() as exact:
        exact.prec = EXACT_DIGITS
        return int(amount.scaleb(exponent).to_integral_value(ROUND_HALF_UP))


def quantized(amount: Decimal, places: int) -> Decimal:
    """An amount of any size to so many decimals, half away from zero."""
    with localcontext() as exact:
        exact.prec = EXACT_DIGITS
        return amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def format_minor(minor: int, currency: str) -> str:
    """An amount in minor units as people read it, in major units: -123456 usd is "-1,234.56".

    Raises ValueError for an unknown currency.
    """
    return f"{Decimal(minor).scaleb(-exponent_of(currency)):,f}"


def allocate(minor: int, weights: Sequence[int | Decimal]) -> list[int]:
    """An amount in minor units shared out by weights: nothing is lost, nothing made.

    Largest remainder (Hamilton's method); of equal remainders the earlier weight's comes first. A
    negative amount mirrors its positive. Raises ValueError for a negative weight, or when none is
    above 0.
    """
    shares = [Fraction(weight) for weight in weights]
    whole = sum(shares)
    if whole <= 0 or min(shares) < 0:
        raise ValueError("weights are not negative, and one at least is above 0")
    if minor < 0:
        return [-part for part in allocate(-minor, weights)]
    exact = [minor * share / whole for share in shares]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda n: parts[n] - exact[n])
    for n in by_remainder[: minor - sum(parts)]:
        parts[n] += 1
    return parts
