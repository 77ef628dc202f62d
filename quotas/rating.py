"""What a quantity costs. Pure; the rules are those of the plans' charges.

Amounts are Decimal in major units. A line is rounded once, at its end, half away from zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from itertools import pairwise
from typing import Literal

from spoke.core.money import EXACT_DIGITS, round_minor

Model = Literal["flat", "per_unit", "package", "graduated", "volume", "percentage"]
TIERED = ("graduated", "volume")
ZERO, HUNDRED = Decimal(0), Decimal(100)


@dataclass(frozen=True)
class Tier:
    """Quantities up to and with `up_to` (None: all above), each at `unit_amount`, and `flat_amount`."""

    up_to: Decimal | None
    unit_amount: Decimal
    flat_amount: Decimal = ZERO


@dataclass(frozen=True)
class Charge:
    """How a quantity is priced.

    flat: `unit_amount`, whatever the quantity. per_unit: each unit. package: each started
    `package_size`. graduated: each tier's units at its price. volume: all units at the price of the
    tier they reach. percentage: `unit_amount` percent of the quantity, which is money in major units.

    `included` is taken off first; `minimum` and `maximum` bound the line, in major units. Raises
    ValueError for a charge that makes no sense.
    """

    model: Model
    unit_amount: Decimal = ZERO
    tiers: Sequence[Tier] = ()
    package_size: Decimal = Decimal(1)
    included: Decimal = ZERO
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    currency: str = "usd"

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"there is no charge model {self.model!r}")
        if self.package_size <= 0:
            raise ValueError("a package holds more than nothing")
        if self.included < 0:
            raise ValueError("what is included is not negative")
        if None not in (self.minimum, self.maximum) and self.minimum > self.maximum:  # type: ignore[operator]
            raise ValueError("the minimum is not above the maximum")
        if (self.model in TIERED) != bool(self.tiers):
            raise ValueError("tiers belong to graduated and volume charges, and to no others")
        if self.tiers:
            _check_tiers(self.tiers)


@dataclass(frozen=True)
class Rated:
    """What a line costs: exactly, in major units, and rounded to minor units."""

    precise: Decimal
    minor: int


def _check_tiers(tiers: Sequence[Tier]) -> None:
    bounds = [tier.up_to for tier in tiers]
    if bounds[-1] is not None or None in bounds[:-1]:
        raise ValueError("the last tier, and only the last, has no bound")
    rising = [ZERO, *(bound for bound in bounds if bound is not None)]
    if any(low >= high for low, high in pairwise(rising)):
        raise ValueError("the bounds of tiers rise, from above 0")


def rate_charge(charge: Charge, quantity: Decimal) -> Rated:
    """What a quantity costs under a charge. Raises ValueError for a negative or infinite quantity."""
    if not quantity.is_finite() or quantity < 0:
        raise ValueError("a quantity is finite and not negative")
    with localcontext() as exact:
        exact.prec = EXACT_DIGITS
        billed = max(quantity - charge.included, ZERO)
        precise = MODELS[charge.model](charge, billed)
        if charge.minimum is not None:
            precise = max(precise, charge.minimum)
        if charge.maximum is not None:
            precise = min(precise, charge.maximum)
    return Rated(precise, round_minor(precise, charge.currency))


def _flat(charge: Charge, _: Decimal) -> Decimal:
    return charge.unit_amount


def _per_unit(charge: Charge, quantity: Decimal) -> Decimal:
    return quantity * charge.unit_amount


def _package(charge: Charge, quantity: Decimal) -> Decimal:
    started = (quantity / charge.package_size).to_integral_value(ROUND_CEILING)
    return started * charge.unit_amount


def _graduated(charge: Charge, quantity: Decimal) -> Decimal:
    total, low = ZERO, ZERO
    for number, tier in enumerate(charge.tiers):
        if number and quantity <= low:
            break
        high = quantity if tier.up_to is None else min(quantity, tier.up_to)
        total += tier.flat_amount + (high - low) * tier.unit_amount
        low = high if tier.up_to is None else tier.up_to
    return total


def _volume(charge: Charge, quantity: Decimal) -> Decimal:
    reached = next(tier for tier in charge.tiers if tier.up_to is None or quantity <= tier.up_to)
    return reached.flat_amount + quantity * reached.unit_amount


def _percentage(charge: Charge, quantity: Decimal) -> Decimal:
    return quantity * charge.unit_amount / HUNDRED


MODELS: dict[str, Callable[[Charge, Decimal], Decimal]] = {
    "flat": _flat,
    "per_unit": _per_unit,
    "package": _package,
    "graduated": _graduated,
    "volume": _volume,
    "percentage": _percentage,
}
