"""What a period costs, reckoned naively from what the test did, and from who had which plan when."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal, localcontext

from billing.models import Subscription
from quotas.models import PeriodUsage, Plan, PlanCharge, PlanPrice, PlanTerm, UsagePeriod
from tests.support.lives.life import SECOND, Life, cents

MOMENT = timedelta(microseconds=1)


def price_of(plan: Plan, interval: str, currency: str) -> int:
    found = PlanPrice.objects.get(plan=plan, interval=interval, currency=currency)
    return int(found.amount_minor)


def subscription_of(life: Life, period: UsagePeriod) -> Subscription | None:
    """The one whose time that is."""
    found = None
    for row in Subscription.objects.filter(org_id=life.org).order_by("started_at", "pk"):
        began = row.status != "incomplete" and row.started_at < period.end
        if began and (row.ended_at is None or row.ended_at > row.started_at):
            found = row
    if found is not None and found.ended_at is not None and found.ended_at <= period.start:
        return None
    return found


def _average(life: Life, period: UsagePeriod) -> Decimal:
    """Of what was stored over a period, bytes."""
    level, since, total = 0, period.start, 0
    for at, now in [*life.levels, (period.end, 0)]:
        upto = min(max(at, period.start), period.end)
        total += level * ((upto - since) // MOMENT)
        level, since = (now if at < period.end else level), upto
    with localcontext() as exact:
        exact.prec = 60
        return Decimal(total) / ((period.end - period.start) // MOMENT)


def overage(life: Life, period: UsagePeriod) -> tuple[str, dict[str, int]]:
    """The currency, and what a closed period costs beyond its plan, by resource; zeros left out."""
    row = subscription_of(life, period)
    if row is None:
        return "usd", {}
    if row.trial_end is not None and period.start < row.trial_end:
        return row.currency, {}
    terms = PlanTerm.objects.filter(org_id=life.org, start__lt=period.end).order_by("start")
    plan = terms.last().plan
    found: dict[str, int] = {}
    for charge in PlanCharge.objects.filter(plan=plan, currency=row.currency):
        kind = charge.resource
        if kind != "api_requests" and _overridden(life, kind, period.end):
            continue
        if kind == "storage":
            used = _average(life, period)
        elif kind == "compile_jobs":
            used = Decimal(sum(n for at, n in life.jobs if period.start <= at < period.end))
        else:
            rows = PeriodUsage.objects.filter(period=period, resource=kind)
            used = Decimal(sum(rows.values_list("used", flat=True)))
        with localcontext() as exact:
            exact.prec = 60
            more = max(Decimal(0), used - charge.included) / charge.unit_size * charge.unit_amount
        if cents(more):
            found[kind] = cents(more)
    return row.currency, found


def _overridden(life: Life, resource: str, end: datetime) -> bool:
    """Whether a limit of staff's held when the period ended, as the test set and took it."""
    held = False
    for at, name, until in life.overrides:
        if name == resource and at < end:
            held = until is not False and (until is None or until >= end)
    return held


def _months(anchor: datetime, interval: str, at: datetime) -> tuple[datetime, datetime]:
    """The month or year of an anchor that contains a moment."""
    step, number = (12 if interval == "year" else 1), -1
    bounds = [_month(anchor, number * step)]
    while bounds[-1] <= at:
        number += 1
        bounds.append(_month(anchor, number * step))
    return bounds[-2], bounds[-1]


def _month(anchor: datetime, number: int) -> datetime:
    years, month = divmod(anchor.month - 1 + number, 12)
    for day in range(anchor.day, 0, -1):
        try:
            return anchor.replace(year=anchor.year + years, month=month + 1, day=day)
        except ValueError:
            continue
    raise AssertionError


def base_of(life: Life, row: Subscription, period: UsagePeriod) -> Iterator[int]:
    """The lines of base price of a period that is collected by hand."""
    if row.trial_end is not None and period.start < row.trial_end:
        return
    terms = list(PlanTerm.objects.filter(org_id=life.org, start__lt=period.end).order_by("start"))
    while len(terms) > 1 and terms[1].start <= period.start:
        terms.pop(0)
    start, end = _months(row.anchor, row.interval, period.start)
    prices = [price_of(x.plan, row.interval, row.currency) for x in terms]

    def share(price: int, at: datetime) -> int:
        return cents(Decimal(price) * ((end - at) // SECOND) / ((end - start) // SECOND) / 100)

    if start == period.start:
        yield prices[0]
    for number, term in enumerate(terms[1:], start=1):
        yield -share(prices[number - 1], term.start)
        yield share(prices[number], term.start)
    if row.interval == "month" and period.end < end:
        yield -share(prices[-1], period.end)
