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
    void = [bill for bill in bills if bill.status == "void" and bill not in reaching]
    settled = all(bill.status == "paid" or bill in void for bill in bills)
    return settled and _is_covered(row, state, reaching, now)


def check_change(row: Subscription, state: SubscriptionState, now: datetime) -> list[InvoiceState]:
    """What was billed of the period under way: a change gives back what is left of it. No transaction.

    Raises Conflict where it is void, or was given back.
    """
    reaching = _reaching(adjustments.bills_of(state.id), now)
    if not _is_covered(row, state, reaching, now):
        raise Conflict(
            "What is left of the current period was not paid, or was given back: change the plan when"
            " the next one begins.",
            code="period_unpaid",
        )
    return reaching


def collect_current(row: Subscription, state: SubscriptionState, now: datetime) -> None:
    """What was billed of the period under way is paid, before a change gives back what is left of it.

    It may be a draft of the last hour, or overdue. No transaction. Raises PaymentDeclined, and Conflict
    as `check_change` or where nothing is there to pay by.
    """
    for bill in check_change(row, state, now):
        if bill.status in ("paid", "void") or bill.total <= 0:
            continue
        found = gateway.finalize_invoice(bill.id) if bill.status == "draft" else bill
        if found.status != "paid":
            gateway.pay_invoice(bill.id)


def _reaching(bills: list[InvoiceState], now: datetime) -> list[InvoiceState]:
    """Those for a time that is not over."""
    return [bill for bill in bills if any(line.end > now for line in bill.lines)]


def _is_covered(
    row: Subscription, state: SubscriptionState, bills: list[InvoiceState], now: datetime
) -> bool:
    """Whether bills that are paid, or will be, are as much as is left unused."""
    valid = [bill for bill in bills if bill.status != "void"]
    kept = sum(_kept(bill) for bill in valid)
    # Each line of what was paid was rounded once.
    return kept + sum(len(bill.lines) for bill in valid) >= _unused_minor(row, state, now)


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
    """What credit notes and refunds left of an invoice, at its lines' prices, in minor units.

    That is without tax, and without a discount, which what Stripe gives back has as well.
    """
    listed = sum(line.amount for line in bill.lines)
    if bill.total <= 0:
        return Fraction(listed)
    return Fraction(listed * (bill.total - _given_back(bill)), bill.total)


def _given_back(bill: InvoiceState) -> int:
    notes = [note for note in adjustments.credit_notes_of(bill.id) if not note.void]
    claimed = {name for note in notes for name in note.refunds}
    refunds = adjustments.refunds_of(bill.id)
    alone = [row.amount for row in refunds if not row.failed and row.id not in claimed]
    return sum(note.total for note in notes) + sum(alone)
