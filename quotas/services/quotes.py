"""What a plan would cost for a given usage, by the rules that invoices are rated by."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from quotas.charges import explained, rate_usage
from quotas.resources import Resource
from quotas.services.plans import PlanDefinition


@dataclass(frozen=True)
class QuoteLine:
    """A line; `quantity` and `included` in units of the charge, empty of a base price."""

    title: str
    amount_minor: int
    quantity: Decimal | None = None
    included: Decimal | None = None
    unit: str = ""
    pricing: str = ""


@dataclass(frozen=True)
class Quote:
    """What a month of usage costs, in minor units; of a yearly price its first month."""

    currency: str
    lines: list[QuoteLine]

    @property
    def total_minor(self) -> int:
        """The sum of the lines."""
        return sum(line.amount_minor for line in self.lines)


def quote(
    *,
    definition: PlanDefinition,
    currency: str,
    interval: str,
    usage: Mapping[Resource, Decimal],
) -> Quote:
    """The base price, and each charge at its usage, counted as its resource is (bytes, jobs, requests).

    Raises ValueError for a charge that makes no sense or a negative usage.
    """
    lines = []
    base = definition.prices.get((currency, interval))
    if base is not None:
        lines.append(QuoteLine(f"{definition.name}, one {interval}", base))
    for resource in Resource:
        charge = definition.charges.get((resource, currency))
        if charge is None:
            continue
        priced = rate_usage(charge, currency=currency, used=usage.get(resource, Decimal(0)))
        lines.append(
            QuoteLine(
                title=resource.value.replace("_", " "),
                amount_minor=priced.rated.minor,
                quantity=priced.quantity,
                included=priced.included,
                unit=charge.unit,
                pricing=explained(charge),
            )
        )
    return Quote(currency, lines)
