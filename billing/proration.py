"""What changes of a base price within a period cost. Pure; by the second, in whole minor units.

The formula is Stripe's: the unused part of the old price is credited and the remaining part of the new
one charged, each by the seconds left of the period's seconds, and each rounded once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from spoke.core.money import exponent_of
from spoke.core.periods import Period

SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Proration:
    """`credit` is not above 0 and `charge` not below, both in minor units."""

    credit: int
    charge: int

    @property
    def total(self) -> int:
        """What is owed in the end, or given back where it is below 0; minor units."""
        return self.credit + self.charge


def prorate_change(
    *,
    old_minor: int,
    new_minor: int,
    period: Period,
    at: datetime,
    currency: str,
    new_period: Period | None = None,
) -> Proration:
    """A change of the price of a period at a time within it, in minor units.

    With a `new_period`, which a change of interval begins, the new price is charged whole for it. Raises
    ValueError for a negative price, an unknown currency, or a time outside the period.
    """
    exponent_of(currency)
    if old_minor < 0 or new_minor < 0:
        raise ValueError("a price is not negative")
    left = remaining(period=period, at=at)
    charge = new_minor if new_period is not None else share_of(new_minor, left)
    return Proration(credit=-share_of(old_minor, left), charge=charge)


def remaining(*, period: Period, at: datetime) -> Fraction:
    """How much of a period is left at a time, by whole seconds. Raises ValueError outside of it."""
    if not period.start <= at <= period.end:
        raise ValueError("a change lies within the period that it changes")
    return Fraction((period.end - at) // SECOND, max(period.length // SECOND, 1))


def share_of(minor: int, share: Fraction) -> int:
    """A share of an amount that is not negative, in minor units, rounded half away from zero."""
    return int(minor * share + Fraction(1, 2))
