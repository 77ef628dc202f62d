"""What a period's overage costs by now, line by line, by the rules that invoices are rated by."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from quotas.models import PlanCharge
from quotas.rating import Charge, rate_charge
from quotas.resources import METERS, Resource
from quotas.services.levels import average, integrals_over
from quotas.services.limits import effective_limits
from quotas.services.periods import current_period
from quotas.services.plans import plan_of
from quotas.services.usage import usage_of_period
from spoke.core.periods import Period


@dataclass(frozen=True)
class OverageLine:
    """`quantity` and `included` are in the charge's units, `amount_minor` in minor units."""

    resource: Resource
    unit: str
    quantity: Decimal
    included: Decimal
    amount_minor: int


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
    long as nothing changes. Resources under an override are not billed: their limit is hard. Requests
    that are not flushed yet are missing. Raises PlansMissing before seeding.
    """
    period = current_period(org_id=org_id, now=now)
    limits = effective_limits(org_id=org_id, now=now)
    charges = PlanCharge.objects.filter(plan=plan_of(org_id=org_id), currency=currency)
    used = usage_of_period(period=period, now=now)
    over = Period(period.start, period.end)
    storage = integrals_over(org_id=org_id, period=over)[Resource.STORAGE]
    lines = []
    for charge in charges.order_by("resource"):
        resource = Resource(charge.resource)
        # The override of requests is of another thing: how many an hour.
        if limits[resource].source == "override" and resource is not Resource.API_REQUESTS:
            continue
        quantity = Decimal(used[resource])
        if resource not in METERS:
            quantity = average(storage, over.length)
        lines.append(_rated(charge, resource, quantity))
    return Spend(period.start, period.end, currency, lines)


def _rated(charge: PlanCharge, resource: Resource, quantity: Decimal) -> OverageLine:
    units = quantity / charge.unit_size
    included = Decimal(charge.included) / charge.unit_size
    rule = Charge(
        model="per_unit",
        unit_amount=charge.unit_amount,
        included=included,
        currency=charge.currency,
    )
    return OverageLine(resource, charge.unit, units, included, rate_charge(rule, units).minor)
