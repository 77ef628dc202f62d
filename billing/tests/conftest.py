"""Plans, and a month that begins at an odd moment."""

import io
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.core.management import call_command

from billing.models import Invoice, InvoiceLine, Subscription
from billing.services import invoicing, subscriptions
from orgs.context import SYSTEM
from quotas.models import Plan, UsagePeriod
from quotas.services import usage
from quotas.services.periods import current_period
from spoke.core import tenancy

# Half past nine on 5 March 2026.
START = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)


def at(month: int, day: int, hour: int = 9, minute: int = 30, year: int = 2026) -> datetime:
    """A moment; without a time, the one of day at which START is."""
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


@pytest.fixture
def plans(db) -> None:
    call_command("seed_plans", stdout=io.StringIO())


@pytest.fixture
def org_id(cast, plans) -> int:
    return cast.org.pk


@pytest.fixture
def subscribe(org_id) -> Callable[..., Subscription]:
    """`subscribe("pro")` starts a subscription at START."""

    def start(code="pro", interval="month", currency="usd", now=START, **more) -> Subscription:
        with tenancy.organization(org_id):
            return subscriptions.start_subscription(
                org_id=org_id,
                plan=plan(code),
                interval=interval,
                currency=currency,
                actor=SYSTEM,
                now=now,
                **more,
            )

    return start


def plan(code: str) -> Plan:
    return Plan.objects.current().get(code=code)


def work_through(org_id: int, now: datetime) -> None:
    """What the periodic tasks do for one organization up to `now`, in their order."""
    with tenancy.organization(org_id):
        while subscriptions.turn_subscription(org_id=org_id, now=now):
            pass
        period = None
        while period is None or period.end <= now:
            period = current_period(org_id=org_id, now=period.end if period else _first(org_id))
        for start in _starts(org_id, now):
            invoicing.draft_invoice(org_id=org_id, period_start=start, now=now)
        for row in UsagePeriod.objects.filter(org_id=org_id, closed_at=None).order_by("start"):
            usage.close_period(period_id=row.pk, org_id=org_id, now=now)
        for pk in drafts(org_id):
            period = UsagePeriod.objects.get(
                org_id=org_id, start=Invoice.objects.get(pk=pk).period_start
            )
            if period.closed_at:
                invoicing.finalize_invoice(org_id=org_id, invoice_id=pk, now=now)


def _first(org_id: int) -> datetime:
    return UsagePeriod.objects.filter(org_id=org_id).order_by("start").first().start


def _starts(org_id: int, now: datetime) -> list[datetime]:
    rows = UsagePeriod.objects.filter(org_id=org_id, end__lte=now).order_by("start")
    return list(rows.values_list("start", flat=True))


def drafts(org_id: int) -> list[int]:
    rows = Invoice.objects.filter(org_id=org_id, status="draft").order_by("period_start")
    return list(rows.values_list("pk", flat=True))


def bills(org_id: int) -> list[tuple[str, int, str]]:
    """(period's start, total in minor units, status) of each invoice."""
    with tenancy.organization(org_id):
        rows = Invoice.objects.filter(org_id=org_id).order_by("period_start")
        return [(f"{row.period_start:%Y-%m-%d}", row.total_minor, row.status) for row in rows]


def lines(org_id: int, period_start: datetime) -> list[tuple[str, int]]:
    """(description, minor units) of the lines of one invoice, whose sum is its total."""
    with tenancy.organization(org_id):
        invoice = Invoice.objects.get(org_id=org_id, period_start=period_start)
        rows = list(InvoiceLine.objects.filter(invoice=invoice).order_by("position"))
        assert sum(row.amount_minor for row in rows) == invoice.total_minor
        return [(row.description, row.amount_minor) for row in rows]
