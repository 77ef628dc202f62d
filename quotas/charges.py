"""The charges of plans: how usage is priced. Pure; what a quantity costs is `quotas.rating`'s."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from quotas.rating import TIERED, Charge, Model, Rated, Tier, rate_charge
from spoke.core.money import EXACT_DIGITS, quantized

# A quantity in a charge's units is kept to so many decimals: 4 bytes of storage over a month are
# 0.000000003725290298461914 GB-months. The set-based close divides in SQL and gets the same.
UNIT_DECIMALS = 24
ZERO = Decimal(0)


@dataclass(frozen=True)
class ChargeDefinition:
    """How a plan prices a resource in one currency.

    Usage and `included` are counted as the resource is (bytes, jobs, requests); `unit_size` of them are
    one `unit`, and tiers and amounts are of units, in major units of the currency. A package is a unit.
    """

    unit: str
    unit_size: int
    included: int
    unit_amount: Decimal = ZERO
    model: Model = "per_unit"
    tiers: Sequence[Tier] = ()
    minimum: Decimal | None = None
    maximum: Decimal | None = None


@dataclass(frozen=True)
class RatedUsage:
    """What usage costs; `quantity` and `included` in the charge's units."""

    quantity: Decimal
    included: Decimal
    rated: Rated


def rule_of(definition: ChargeDefinition, currency: str) -> Charge:
    """The charge as it is rated by, in its units. Raises ValueError where it makes no sense."""
    return Charge(
        model=definition.model,
        unit_amount=definition.unit_amount,
        tiers=definition.tiers,
        included=units_of(Decimal(definition.included), definition.unit_size),
        minimum=definition.minimum,
        maximum=definition.maximum,
        currency=currency,
    )


def rate_usage(definition: ChargeDefinition, *, currency: str, used: Decimal) -> RatedUsage:
    """What usage, counted as its resource is, costs. Raises ValueError for a negative one."""
    rule = rule_of(definition, currency)
    quantity = units_of(used, definition.unit_size)
    return RatedUsage(quantity, rule.included, rate_charge(rule, quantity))


def units_of(amount: Decimal, unit_size: int) -> Decimal:
    """An amount in units of a size, to 24 decimals, half away from zero."""
    with localcontext() as exact:
        exact.prec = EXACT_DIGITS
        return quantized(amount / unit_size, UNIT_DECIMALS).normalize()


def explained(definition: ChargeDefinition) -> str:
    """What makes the price more than so much a unit, for people to read; empty where nothing does."""
    parts = []
    if definition.model in TIERED:
        parts.append(f"{definition.model}: {', '.join(_tiers(definition.tiers))}")
    elif definition.model == "package":
        parts.append(f"{plain(definition.unit_amount)} for each started {definition.unit}")
    elif definition.model == "percentage":
        parts.append(f"{plain(definition.unit_amount)}%")
    elif definition.model == "flat":
        parts.append("flat")
    if definition.minimum is not None:
        parts.append(f"at least {plain(definition.minimum)}")
    if definition.maximum is not None:
        parts.append(f"at most {plain(definition.maximum)}")
    return "; ".join(parts)


def _tiers(tiers: Sequence[Tier]) -> list[str]:
    shown = []
    for tier in tiers:
        reach = "above" if tier.up_to is None else f"to {plain(tier.up_to)}"
        flat = f" + {plain(tier.flat_amount)}" if tier.flat_amount else ""
        shown.append(f"{reach} at {plain(tier.unit_amount)}{flat}")
    return shown


def plain(amount: Decimal) -> str:
    """A decimal without exponent and without zeros at its end."""
    return f"{amount.normalize():f}"
