"""What is left unused of a period of a subscription, of which only what was paid is given back."""

from datetime import datetime
from fractions import Fraction

from billing.models import Subscription
from billing.proration import remaining, share_of
from billing.services import subscriptions
from billing.stripe import adjustments, gateway
from billing.stripe.translate import InvoiceState, SubscriptionState
from spoke.core import tenancy
from spoke.core.errors import Conflict
from spoke.core.periods import Period


def is_paid_for(row: Subscription, state: SubscriptionState, now: datetime) -> bool:
    """Whether what is left was paid, and was not given back already. No transaction.

    Stripe would give it back in any case. All that was billed has to be paid, or void for a time that
    is over, and credit notes and refunds to have left as much as is given back.
    """
    bills = adjustments.bills_of(state.id)
    reaching = _reaching(bills, now)
    for bill in bills:
        over = bill not in reaching or bill.total <= 0
        if bill.status != "paid" and not (bill.status == "void" and over):
            return False
    paid = [bill for bill in reaching if bill.status == "paid"]
    kept = sum(_kept(bill) for bill in paid)
    # Each line of what was paid was rounded once.
    return kept + sum(len(bill.lines) for bill in paid) >= _unused_minor(row, state, now)


def collect_current(subscription: str, now: datetime) -> None:
    """What was billed of the period under way is paid: a change gives back what is left of it.

    It may be a draft of the last hour, or overdue. No transaction. Raises PaymentDeclined, and Conflict
    where it is void or nothing is there to pay by.
    """
    for bill in _reaching(adjustments.bills_of(subscription), now):
        if bill.status == "paid" or bill.total <= 0:
            continue
        _check_payable(bill)
        state = gateway.finalize_invoice(bill.id) if bill.status == "draft" else bill
        if state.status != "paid":
            gateway.pay_invoice(bill.id)


def check_collectable(subscription: str, now: datetime) -> None:
    """Raises Conflict where what was billed of the period under way can not be paid any more."""
    for bill in _reaching(adjustments.bills_of(subscription), now):
        _check_payable(bill)


def _check_payable(bill: InvoiceState) -> None:
    """Raises Conflict for an invoice that is void: what was not paid would be given back."""
    if bill.status == "void" and bill.total > 0:
        raise Conflict(
            "The current period was not paid for: change the plan when the next one begins.",
            code="period_unpaid",
        )


def _reaching(bills: list[InvoiceState], now: datetime) -> list[InvoiceState]:
    """Those for a time that is not over."""
    return [bill for bill in bills if any(line.end > now for line in bill.lines)]


def _unused_minor(row: Subscription, state: SubscriptionState, now: datetime) -> int:
    """The base price of what is left of the period, without tax, in minor units."""
    if state.status == "trialing":
        return 0
    with tenancy.organization(row.org_id):
        price = subscriptions.price_of(row.plan, row.interval, row.currency)
    period = Period(state.period_start, state.period_end)
    # Stripe's clock may differ from ours.
    at = min(max(now, period.start), period.end)
    return share_of(price, remaining(period=period, at=at))


def _kept(bill: InvoiceState) -> Fraction:
    """What credit notes and refunds left of a paid invoice, without tax, in minor units."""
    if bill.total <= 0:
        return Fraction(bill.total - bill.tax)
    return Fraction((bill.total - bill.tax) * (bill.total - _given_back(bill)), bill.total)


def _given_back(bill: InvoiceState) -> int:
    notes = [note for note in adjustments.credit_notes_of(bill.id) if not note.void]
    claimed = {name for note in notes for name in note.refunds}
    refunds = adjustments.refunds_of(bill.id)
    alone = [row.amount for row in refunds if not row.failed and row.id not in claimed]
    return sum(note.total for note in notes) + sum(alone)
