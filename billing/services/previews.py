"""What a plan would be billed before anybody decides for it. Changes nothing."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.conf import settings

from billing.models import BillingDetails, Subscription
from billing.proration import prorate_change
from billing.services import by_card, subscriptions
from billing.services.taxes import tax_for
from billing.services.totals import tax_title
from billing.services.unused import check_change
from billing.stripe import gateway
from billing.stripe.catalogue import stripe_price_of
from billing.stripe.translate import InvoiceState, SubscriptionState
from billing.tax import Tax, tax_minor
from quotas.models import Plan
from spoke.core import tenancy
from spoke.core.periods import Interval, Period, period_containing


@dataclass(frozen=True)
class PreviewLine:
    """A line of the invoice that would be; minor units."""

    description: str
    amount_minor: int
    over: Period


@dataclass(frozen=True)
class Preview:
    """The invoice that would be, at once or at the end of what is paid for."""

    at_once: bool
    currency: str
    lines: list[PreviewLine]

    @property
    def total_minor(self) -> int:
        """The sum of the lines, in minor units."""
        return sum(line.amount_minor for line in self.lines)


def of_change(*, org_id: int, plan: Plan, interval: str | None, now: datetime) -> Preview:
    """What a change would be billed. Raises what the change would before it asks Stripe."""
    state = by_card.catch_up(org_id=org_id, now=now)
    with tenancy.organization(org_id):
        row = by_card.locked(org_id)
        dearer = by_card.is_dearer(row, plan, interval)
    if dearer:
        check_change(row, state, now)
    price = stripe_price_of(by_card.price_row(plan, interval or row.interval, row.currency))
    prorate = dearer and state.status != "trialing"
    found = gateway.preview_change(subscription=state, price=price, prorate=prorate, at=now)
    if prorate:
        found = _at_price_in_force(row, state, found, now)
    return Preview(dearer, found.currency, _lines(found))


def of_start(
    *, org_id: int, plan: Plan, interval: Interval, currency: str, now: datetime
) -> Preview:
    """What the first month or year would be billed. What Stripe Tax would add is not known yet."""
    with tenancy.organization(org_id):
        price = subscriptions.price_of(plan, interval, currency)
        tax = Tax() if settings.STRIPE_TAX else _tax(org_id, now)
    over = period_containing(anchor=now, interval=interval, at=now)
    lines = [PreviewLine(f"{plan.name}, one {interval}", price, over)]
    if tax.name:
        taxed = tax_minor(price, tax.percentage, currency)
        lines.append(PreviewLine(tax_title(tax), taxed, over))
    return Preview(True, currency, lines)


def _tax(org_id: int, now: datetime) -> Tax:
    details = BillingDetails.objects.filter(org_id=org_id).first()
    return tax_for(details=details, on=now.date()) if details else Tax()


def _at_price_in_force(
    row: Subscription, state: SubscriptionState, found: InvoiceState, now: datetime
) -> InvoiceState:
    """As `change_plan` does it: where a cheaper plan waits, what is given back is what was paid."""
    if row.pending_plan is None:
        return found
    period = Period(state.period_start, state.period_end)
    told, right = (
        prorate_change(
            old_minor=subscriptions.price_of(plan, row.interval, row.currency),
            new_minor=0,
            period=period,
            # Stripe's clock may differ from ours.
            at=min(max(now.replace(microsecond=0), period.start), period.end),
            currency=row.currency,
        ).credit
        for plan in (row.pending_plan, row.plan)
    )
    at = next((n for n, x in enumerate(found.lines) if x.proration and x.amount == told), None)
    if at is None:
        return found
    lines = list(found.lines)
    lines[at] = replace(lines[at], amount=right, description=f"Unused time on {row.plan.name}")
    taxes = list(found.taxes)
    if taxes:
        rate = _percentage(row.org_id, found, now)
        more = tax_minor(right, rate, row.currency) - tax_minor(told, rate, row.currency)
        taxes[0] = replace(taxes[0], amount=taxes[0].amount + more)
        right += more
    return replace(found, lines=lines, taxes=taxes, total=found.total + right - told)


def _percentage(org_id: int, found: InvoiceState, now: datetime) -> Decimal:
    if settings.STRIPE_TAX:
        return Decimal(100 * found.tax) / (found.total - found.tax)
    with tenancy.organization(org_id):
        return _tax(org_id, now).percentage


def _lines(found: InvoiceState) -> list[PreviewLine]:
    """The lines, then taxes and discounts: all together they are the total."""
    lines = [
        PreviewLine(line.description, line.amount, Period(line.start, line.end))
        for line in found.lines
    ]
    over = Period(found.period_start, found.period_end)
    if lines:
        over = Period(min(x.over.start for x in lines), max(x.over.end for x in lines))
    lines += [PreviewLine(tax.description, tax.amount, over) for tax in found.taxes]
    if rest := found.total - sum(line.amount_minor for line in lines):
        lines.append(PreviewLine("Discounts", rest, over))
    return lines
