"""What a period's overage costs by now, line by line, by the rules that invoices are rated by."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from quotas.charges import explained, rate_usage
from quotas.models import PeriodUsage, Plan, PlanCharge, UsagePeriod
from quotas.resources import GAUGES, METERS, Resource
from quotas.services.levels import average, integrals_over
from quotas.services.limits import effective_limits
from quotas.services.periods import MOMENT, current_period
from quotas.services.plans import plan_of
from quotas.services.usage import usage_of_period
from spoke.core.periods import Period


@dataclass(frozen=True)
class OverageLine:
    """`quantity` and `included` are in the charge's units, each at `unit_amount` major units.

    `precise` is what it costs in major units, `amount_minor` the same rounded to minor units; `pricing`
    says how, where it is not so much a unit.
    """

    resource: Resource
    unit: str
    quantity: Decimal
    included: Decimal
    unit_amount: Decimal
    precise: Decimal
    amount_minor: int
    pricing: str = ""


@dataclass(frozen=True)
class Spend:
    """The overage of one period."""

    period_start: datetime
    period_end: datetime
    currency: str
    lines: list[OverageLine]

    @property
    def total_minor(self) -> int:
        """All lines together, in minor units."""
        return sum(line.amount_minor for line in self.lines)

    def of(self, resource: Resource) -> int:
        """The cost of one resource's overage, in minor units."""
        return sum(line.amount_minor for line in self.lines if line.resource is resource)


def current_spend(*, org_id: int, currency: str, now: datetime) -> Spend:
    """The overage of the current period: meters as counted, storage as if its level stayed.

    Storage is billed by its average over the whole period, so what it costs is known in advance as
    long as nothing changes. Requests that are not flushed yet are missing. Raises PlansMissing before
    seeding.
    """
    period = current_period(org_id=org_id, now=now)
    return spend_of(period=period, plan=plan_of(org_id=org_id), currency=currency, now=now)


def spend_of(*, period: UsagePeriod, plan: Plan, currency: str, now: datetime) -> Spend:
    """The overage of a period at a plan's charges, as far as it is known now.

    Resources under an override are not billed: their limit is hard. One that ends with the period held
    in it, although it is over when the period is rated.
    """
    limits = effective_limits(org_id=period.org_id, now=min(now, period.end - MOMENT))
    used = usage_of_period(period=period, now=now)
    averages = _averages(period)
    lines = []
    for charge in PlanCharge.objects.filter(plan=plan, currency=currency).order_by("resource"):
        resource = Resource(charge.resource)
        # The override of requests is of another thing: how many an hour.
        if limits[resource].source == "override" and resource is not Resource.API_REQUESTS:
            continue
        quantity = Decimal(used[resource]) if resource in METERS else averages[resource]
        lines.append(_rated(charge, resource, quantity))
    return Spend(period.start, period.end, currency, lines)


def _averages(period: UsagePeriod) -> dict[Resource, Decimal]:
    """Each gauge over the whole period: of one that is closed as it was kept, else by the changes."""
    over = Period(period.start, period.end)
    integrals: dict[Resource, Decimal] = {}
    if period.closed_at is not None:
        kept = PeriodUsage.objects.filter(
            period=period, resource__in=GAUGES, integral__isnull=False
        )
        integrals = {
            Resource(row.resource): row.integral for row in kept if row.integral is not None
        }
    if len(integrals) < len(GAUGES):
        integrals = integrals_over(org_id=period.org_id, period=over) | integrals
    return {resource: average(integral, over.length) for resource, integral in integrals.items()}


def _rated(charge: PlanCharge, resource: Resource, used: Decimal) -> OverageLine:
    definition = charge.definition
    priced = rate_usage(definition, currency=charge.currency, used=used)
    return OverageLine(
        resource,
        charge.unit,
        priced.quantity,
        priced.included,
        charge.unit_amount,
        priced.rated.precise,
        priced.rated.minor,
        explained(definition),
    )
