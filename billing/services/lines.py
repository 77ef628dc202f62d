"""What an invoice of one period says: base price, changes of plan within it, and overage.

Everything follows from what is stored (the subscription, which plan held when, usage), so that a draft
can be rated anew as often as one likes. Base prices are collected with the period they are for.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from django.db.models import F

from billing.models import Collection, LineKind, Subscription, SubscriptionStatus
from billing.proration import prorate_change, remaining, share_of
from quotas.models import PlanCharge, PlanPrice, UsagePeriod
from quotas.resources import Resource
from quotas.services.plans import Term, plan_terms
from quotas.services.spend import OverageLine, spend_of
from spoke.core.money import exponent_of
from spoke.core.periods import Interval, Period, period_containing

# Of who has no subscription: staff gave them a plan, and its overage is billed.
DEFAULT_CURRENCY = "usd"
# Cards are charged these in tens of their minor units (Stripe's "three-decimal currencies").
ROUNDED_FOR_CARDS = dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 10)
TITLE_LENGTH = 255
TITLES = {
    Resource.MODULES: "Modules",
    Resource.VERSIONS: "Versions",
    Resource.STORAGE: "Storage beyond the plan",
    Resource.COMPILE_JOBS: "Compile jobs beyond the plan",
    Resource.API_REQUESTS: "API requests beyond the plan",
}


@dataclass(frozen=True)
class Line:
    """A line to be. Amounts as in InvoiceLine."""

    kind: LineKind
    description: str
    start: datetime
    end: datetime
    amount_minor: int
    unit_amount: Decimal
    precise_amount: Decimal
    quantity: Decimal = Decimal(1)
    included: Decimal = Decimal(0)
    unit: str = ""
    resource: str = ""


@dataclass(frozen=True)
class Bill:
    """All lines of a period, in one currency."""

    currency: str
    lines: list[Line]
    # What is collected is a multiple of so many minor units.
    step: int = 1

    @property
    def total_minor(self) -> int:
        """The sum of the rounded lines, in minor units."""
        return sum(line.amount_minor for line in self.lines)


def bill_of(*, period: UsagePeriod, now: datetime) -> Bill | None:
    """What a period costs by what is known now; None: no plan in it has a price.

    The base price of a subscription that Stripe collects is on Stripe's own invoices.
    Overage is at the plan that held at the period's end. Nothing is billed of a trial.
    """
    over = Period(period.start, period.end)
    terms = plan_terms(org_id=period.org_id, period=over)
    subscription = _subscription_of(period)
    currency = subscription.currency if subscription else DEFAULT_CURRENCY
    if subscription is None and not _priced(terms):
        return None
    if subscription and _in_trial(period, subscription):
        return Bill(currency, [])
    by_hand = subscription is not None and subscription.collection == Collection.MANUAL
    lines = list(_base_lines(subscription, terms, over)) if subscription and by_hand else []
    spend = spend_of(period=period, plan=terms[-1].plan, currency=currency, now=now)
    lines += [_overage(line, over) for line in spend.lines if line.amount_minor]
    by_card = subscription is not None and not by_hand
    return Bill(currency, lines, ROUNDED_FOR_CARDS.get(currency, 1) if by_card else 1)


def _in_trial(period: UsagePeriod, subscription: Subscription) -> bool:
    begun = subscription.trial_start is None or subscription.trial_start <= period.start
    return begun and subscription.trial_end is not None and period.start < subscription.trial_end


def _subscription_of(period: UsagePeriod) -> Subscription | None:
    rows = Subscription.objects.filter(org_id=period.org_id, started_at__lt=period.end)
    # One whose first payment never came gave nothing and bills nothing.
    rows = rows.exclude(status=SubscriptionStatus.INCOMPLETE).exclude(ended_at__lte=F("started_at"))
    last = rows.order_by("-started_at", "-pk").first()
    if last is None or (last.ended_at is not None and last.ended_at <= period.start):
        return None
    return last


def _priced(terms: Iterable[Term]) -> bool:
    plans = [term.plan for term in terms]
    return (
        PlanPrice.objects.filter(plan__in=plans, amount_minor__gt=0).exists()
        or PlanCharge.objects.filter(plan__in=plans).exists()
    )


def _base_lines(subscription: Subscription, terms: list[Term], over: Period) -> Iterator[Line]:
    """The base price of the month or year that begins with the period, and what changed within.

    What a cancellation left unused of a month is taken off; of a year it is not.
    """
    interval: Interval = "year" if subscription.interval == "year" else "month"
    paid_for = period_containing(anchor=subscription.anchor, interval=interval, at=over.start)
    prices = [_price(subscription, term) for term in terms]
    currency = subscription.currency
    if paid_for.start == over.start:
        title = f"{terms[0].plan.name}, one {interval}"
        yield line_of(LineKind.BASE, title, paid_for, prices[0], currency)
    for (old, old_price), (new, new_price) in pairwise(zip(terms, prices, strict=True)):
        change = prorate_change(
            old_minor=old_price,
            new_minor=new_price,
            period=paid_for,
            at=new.start,
            currency=currency,
        )
        rest = Period(new.start, paid_for.end)
        unused, left = f"Unused time on {old.plan.name}", f"Remaining time on {new.plan.name}"
        yield line_of(LineKind.PRORATION, unused, rest, change.credit, currency)
        yield line_of(LineKind.PRORATION, left, rest, change.charge, currency)
    if interval == "month" and over.end < paid_for.end:
        rest, title = Period(over.end, paid_for.end), f"Unused time on {terms[-1].plan.name}"
        unused_minor = share_of(prices[-1], remaining(period=paid_for, at=over.end))
        yield line_of(LineKind.PRORATION, title, rest, -unused_minor, currency)


def _price(subscription: Subscription, term: Term) -> int:
    """The plan's base price, in minor units; 0 for one that has none in this currency."""
    prices = PlanPrice.objects.filter(
        plan=term.plan, currency=subscription.currency, interval=subscription.interval
    )
    return prices.values_list("amount_minor", flat=True).first() or 0


def line_of(kind: LineKind, description: str, over: Period, minor: int, currency: str) -> Line:
    """A line of one amount in minor units, whatever was used."""
    amount = Decimal(minor).scaleb(-exponent_of(currency))
    return Line(kind, description, over.start, over.end, minor, amount, amount)


def overage_title(resource: Resource, pricing: str) -> str:
    """What a line of overage is called; `pricing` says how it is priced, where that wants saying."""
    title = f"{TITLES[resource]} ({pricing})" if pricing else TITLES[resource]
    return title if len(title) <= TITLE_LENGTH else f"{title[: TITLE_LENGTH - 1]}…"


def _overage(line: OverageLine, over: Period) -> Line:
    return Line(
        kind=LineKind.OVERAGE,
        description=overage_title(line.resource, line.pricing),
        start=over.start,
        end=over.end,
        amount_minor=line.amount_minor,
        unit_amount=line.unit_amount,
        precise_amount=line.precise,
        quantity=line.quantity,
        included=line.included,
        unit=line.unit,
        resource=line.resource.value,
    )
