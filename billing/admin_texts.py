"""What staff are told before they change money, in words: who, how much, and what follows."""

from datetime import datetime
from typing import Any

from billing.models import (
    Collection,
    CreditNote,
    Invoice,
    InvoiceStatus,
    NoteKind,
    Subscription,
)
from billing.models.invoice import TRANSITIONS
from orgs.models import Organization
from quotas.models import PlanPrice
from spoke.core.admin import amount

TO_STRIPE = " Stripe is told within five minutes."
KINDS = {
    NoteKind.REFUND: "is given back",
    NoteKind.CREDIT: "is put to their credit, and pays for what comes",
    NoteKind.REDUCTION: "less is to be paid",
}


def moment(at: datetime) -> str:
    """A time as staff read it: 2026-03-05 09:30 UTC."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _invoice(invoice: Invoice) -> str:
    to = invoice.bill_to.get("legal_name") or invoice.bill_to.get("display_name") or "?"
    about = f"{invoice} to {to} ({invoice.bill_to.get('name', invoice.org_id)})"
    return f"{about}, {amount(invoice.total_minor, invoice.currency)}, {invoice.status}"


def _due(invoice: Invoice) -> str:
    return amount(invoice.due_minor, invoice.currency)


def _stripe(invoice: Invoice) -> str:
    return TO_STRIPE if invoice.stripe_id else ""


def _refused(invoice: Invoice, status: InvoiceStatus) -> str:
    """Why an invoice will not become so; "" where it will."""
    if status in TRANSITIONS[InvoiceStatus(invoice.status)]:
        return ""
    return f"{_invoice(invoice)}: it does not become {status}, and stays as it is."


def paid(invoice: Invoice) -> str:
    """Of an invoice that is marked as paid."""
    return _refused(invoice, InvoiceStatus.PAID) or (
        f"{_invoice(invoice)}: {_due(invoice)} count as received from now on, for good."
        f"{_stripe(invoice)}"
    )


def void(invoice: Invoice) -> str:
    """Of an invoice that is made void."""
    return _refused(invoice, InvoiceStatus.VOID) or (
        f"{_invoice(invoice)}: it becomes void for good. {_due(invoice)} are not owed any more, and "
        f"credits that it used come back. It keeps its number.{_stripe(invoice)}"
    )


def given_up(invoice: Invoice) -> str:
    """Of an invoice that nobody will pay."""
    return _refused(invoice, InvoiceStatus.UNCOLLECTIBLE) or (
        f"{_invoice(invoice)}: {_due(invoice)} count as lost. It can still be paid or made void."
        f"{_stripe(invoice)}"
    )


def _subscription(row: Subscription) -> str:
    terms = {"plan": row.plan, "interval": row.interval, "currency": row.currency}
    price = PlanPrice.objects.filter(**terms).values_list("amount_minor", flat=True).first()
    cost = f" at {amount(price, row.currency)}" if price is not None else ""
    return f"{row.org} on {row.plan} by {row.interval}{cost}"


def _not_ours(row: Subscription) -> str:
    """Why a subscription is not ended here; "" where it is."""
    if row.ended_at is not None:
        return f"{_subscription(row)}: it has ended, and nothing happens to it."
    if row.collection == Collection.STRIPE:
        return (
            f"{_subscription(row)}: Stripe collects it, so nothing happens to it here. Its owner "
            "ends it, or you in Stripe's dashboard."
        )
    return ""


def canceled_now(row: Subscription) -> str:
    """Of a subscription that ends at once."""
    unused = "comes off its last invoice" if row.interval == "month" else "is not given back"
    return _not_ours(row) or (
        f"{_subscription(row)}: it ends now and cannot be taken back. The free plan's limits hold at "
        f"once. What is left until {moment(row.current_period_end)} {unused}; what was used until now "
        "is billed."
    )


def canceled_at_end(row: Subscription) -> str:
    """Of a subscription that ends with what is paid for."""
    return _not_ours(row) or (
        f"{_subscription(row)}: it ends on {moment(row.current_period_end)}; then the free plan's "
        "limits hold. Until then that can be taken back."
    )


def saved(row: Subscription, *, change: bool) -> str:
    """Of a subscription as it was just started, or given another plan."""
    if not change:
        trial = f" Nothing before {moment(row.trial_end)} is billed." if row.trial_end else ""
        return (
            f"{_subscription(row)}: it starts now, and its limits hold at once.{trial} Its first "
            f"{row.interval} ends on {moment(row.current_period_end)}. It is collected by hand."
        )
    if row.pending_plan is not None:
        return (
            f"{_subscription(row)}: on {moment(row.current_period_end)} it becomes {row.pending_plan}. "
            "Nothing changes until then."
        )
    return (
        f"{_subscription(row)}: the new plan's limits hold at once; the difference until "
        f"{moment(row.current_period_end)} is on the next invoice, by the second."
    )


def issued(note: CreditNote) -> str:
    """Of a credit note as it was just issued."""
    invoice = note.invoice
    given = f"{amount(note.amount_minor, note.currency)} {KINDS[NoteKind(note.kind)]}"
    how = ""
    if invoice.stripe_id is not None:
        how = " Stripe does it at once: money goes back to the card that paid."
    elif note.kind == NoteKind.REFUND:
        how = " Pay it out, and mark the credit note as paid out."
    return f"{_invoice(invoice)}: of it {given}. Credit notes are not taken back.{how}"


def paid_out(note: CreditNote) -> str:
    """Of a credit note that is marked as paid out."""
    return f"{_note(note)}: the money counts as paid out from now on, for good."


def note_void(note: CreditNote) -> str:
    """Of a credit note that is made void."""
    return f"{_note(note)}: it becomes void for good, and its amount can be credited again."


def _note(note: CreditNote) -> str:
    return (
        f"{note}, {note.kind} of {amount(note.amount_minor, note.currency)}, of invoice "
        f"{_invoice(note.invoice)}"
    )


def granted(credit: Any) -> str:
    """Of a credit as it was just granted."""
    org: Organization = credit.org
    until = f" until {moment(credit.expires_at)}" if credit.expires_at else ""
    given = amount(credit.amount_minor, credit.currency)
    return f"{org}: {given} pay for coming invoices{until}. A credit cannot be taken back."
