"""Invoices and Stripe: ours are collected there, and those that Stripe writes are copied here."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog
from django.db import connection

from billing.models import Invoice, InvoiceLine, InvoiceSource, InvoiceStatus, LineKind
from billing.services.arrears import COLLECTION
from billing.services.customers import STRIPE, customer_of, organization_of
from billing.services.details import bill_to_of, branding_of
from billing.services.invoicing import settle_invoice
from billing.services.stripe_credit_notes import push_lock, push_reductions
from billing.stripe import gateway
from billing.stripe.client import PaymentDeclined
from billing.stripe.translate import InvoiceState
from orgs.models import Organization
from orgs.services.organizations import lock_organization
from spoke.core import tenancy
from spoke.core.errors import Conflict
from spoke.core.locks import held
from spoke.core.money import exponent_of, quantized

logger = structlog.get_logger(__name__)
# How far apart our clock and Stripe's may be.
SKEW = timedelta(hours=1)
SETTLED = (InvoiceStatus.PAID, InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE)

# Ours that are open, of periods whose subscription Stripe collects; and all that Stripe has, its own
# too, that were settled here since it was told.
TO_PUSH = f"""
SELECT i.org_id, i.id FROM billing_invoice i
WHERE i.number IS NOT NULL
  AND (i.source = 'usage' AND i.status = 'open' AND i.pushed_at IS NULL AND {COLLECTION} = 'stripe'
       OR i.stripe_id IS NOT NULL AND i.settled_by <> %(stripe)s
       AND i.settled_at > COALESCE(i.pushed_at, '-infinity'))
ORDER BY i.id
"""  # noqa: S608 - constants only


def lock_name(invoice: str) -> str:
    """Of the lock under which an invoice of Stripe's is fetched and applied."""
    return f"stripe-invoice-{invoice}"


def due_for_push() -> list[tuple[int, int]]:
    """(organization, invoice) of those that Stripe has yet to be told of."""
    reason = "find invoices for Stripe to collect"
    with tenancy.all_organizations(reason=reason), connection.cursor() as cursor:
        cursor.execute(TO_PUSH, {"stripe": STRIPE.label})
        return [(org_id, invoice_id) for org_id, invoice_id in cursor.fetchall()]


def push_invoice(*, org_id: int, invoice_id: int, now: datetime) -> str | None:
    """Stripe has this invoice of ours, once, with its number and lines, and tries to collect it.

    One that staff settled is settled there. Each step may be taken again after a crash. No transaction.
    Returns Stripe's id; None where there is nothing to tell. Raises what the gateway does.
    """
    with held(push_lock(invoice_id)):
        with tenancy.organization(org_id):
            invoice = Invoice.objects.for_org(org_id).get(pk=invoice_id)
            lines = list(invoice.lines.order_by("position"))
        customer = customer_of(org_id)
        if customer is None or invoice.number is None:
            return None
        if invoice.stripe_id is None and invoice.status != InvoiceStatus.OPEN:
            return None
        state = _found_or_made(invoice, customer)
        with tenancy.organization(org_id):
            Invoice.objects.filter(pk=invoice_id).update(stripe_id=state.id)
        if state.status == "draft" and invoice.source == InvoiceSource.USAGE:
            _add_lines(customer, state, lines, invoice.currency)
            state = gateway.finalize_invoice(state.id)
        if push_reductions(org_id=org_id, invoice_id=invoice_id, now=now):
            state = gateway.get_invoice(state.id)
        given_up = state.status == "uncollectible"
        declined = False
        if state.status == "open" or (given_up and invoice.status in SETTLED[:2]):
            state, declined = _settled_there(invoice, state)
        with tenancy.organization(org_id):
            # Together: who dies before has not told Stripe yet, and does it again.
            Invoice.objects.filter(pk=invoice_id).update(pushed_at=now)
            apply_invoice(org_id=org_id, state=state, now=now, declined=declined)
        return state.id


def _found_or_made(invoice: Invoice, customer: str) -> InvoiceState:
    if invoice.stripe_id:
        return gateway.get_invoice(invoice.stripe_id)
    found = gateway.find_invoice(customer=customer, our_id=invoice.pk)
    return found or gateway.create_invoice(
        customer=customer,
        currency=invoice.currency,
        number=invoice.number or "",
        org_id=invoice.org_id,
        our_id=invoice.pk,
    )


def _add_lines(customer: str, state: InvoiceState, lines: list[InvoiceLine], currency: str) -> None:
    there = gateway.lines_pushed(state.id)
    for line in lines:
        if str(line.pk) in there:
            continue
        gateway.add_line(
            customer=customer,
            invoice=state.id,
            our_id=line.pk,
            amount_minor=line.amount_minor,
            currency=currency,
            description=line.description,
            start=line.start,
            end=line.end,
        )


def _settled_there(invoice: Invoice, state: InvoiceState) -> tuple[InvoiceState, bool]:
    """Paid by card, or settled as staff settled it; and whether nothing paid it.

    What is declined stays open, and Stripe retries.
    """
    if invoice.status == InvoiceStatus.PAID:
        return gateway.pay_out_of_band(state.id), False
    if invoice.status == InvoiceStatus.VOID:
        return gateway.void_invoice(state.id), False
    if invoice.status == InvoiceStatus.UNCOLLECTIBLE:
        return gateway.give_up_invoice(state.id), False
    try:
        return gateway.pay_invoice(state.id), False
    except (PaymentDeclined, Conflict):
        # Declined, or there is nothing to pay by.
        return gateway.get_invoice(state.id), True


def refresh(*, invoice: str, customer: str, now: datetime) -> bool:
    """Our invoice is as Stripe's is now; says whether anything changed."""
    org_id = organization_of(customer)
    if org_id is None:
        return False
    with held(lock_name(invoice)):
        state = gateway.get_invoice(invoice)
        with tenancy.organization(org_id):
            return apply_invoice(org_id=org_id, state=state, now=now)


def copy_credits(*, customer: str, subscription: str, now: datetime) -> None:
    """What Stripe just gave back of a subscription is here at once, so that nobody does it again."""
    for state in gateway.invoices_of(customer, since=now - SKEW):
        if state.subscription == subscription and state.total < 0:
            refresh(invoice=state.id, customer=customer, now=now)


def apply_invoice(
    *, org_id: int, state: InvoiceState, now: datetime, declined: bool = False
) -> bool:
    """Ours is settled as Stripe's is, or Stripe's own is copied; says whether anything changed.

    `state` was fetched under the invoice's lock; `declined`: a payment was tried just now that did not
    come. Must run in a transaction.
    """
    org = lock_organization(org_id)
    rows = Invoice.objects.for_org(org_id).select_for_update()
    ours = state.metadata.get(gateway.INVOICE, "")
    if ours.isdigit():
        row = rows.filter(pk=int(ours), source=InvoiceSource.USAGE).first()
        return row is not None and _follow(row, state, now, declined)
    row = rows.filter(stripe_id=state.id).first()
    if row is None and not state.total:
        # The first invoice of a trial, say: there is nothing to show.
        return False
    if row is None or row.status == InvoiceStatus.DRAFT:
        return _copy(row, org, state, now)
    return _follow(row, state, now, declined)


def _follow(row: Invoice, state: InvoiceState, now: datetime, declined: bool) -> bool:
    # This first: what settles it looks at all that is overdue.
    changed = _collected(row, state, now, declined)
    return _settle(row, state, now) or changed


def _collected(row: Invoice, state: InvoiceState, now: datetime, declined: bool) -> bool:
    """How far Stripe has come with collecting it; says whether anything changed."""
    seen = _collection(row, state, now, declined)
    changed = {name: value for name, value in seen.items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    if changed:
        row.save(update_fields=[*changed])
    # The address of the page is another one each time that it is asked for.
    return bool(changed.keys() - {"payment_url"})


def _collection(
    row: Invoice | None, state: InvoiceState, now: datetime, declined: bool
) -> dict[str, Any]:
    before = (row.failed_at, row.tried_with) if row else (None, "")
    failed = state.failed or (declined and state.status == "open")
    return {
        "failed_at": before[0] or (now if failed else None),
        "tried_with": before[1] or state.tried_with,
        "prepaid_minor": state.prepaid,
        "payment_url": state.url if state.status == "open" else "",
    }


def _settle(row: Invoice, state: InvoiceState, now: datetime) -> bool:
    """What is settled here stays as it is; Stripe is told by `push_invoice`."""
    status = InvoiceStatus(state.status)
    if row.status == InvoiceStatus.VOID and status == InvoiceStatus.PAID:
        # Somebody paid before Stripe was told: only staff can give it back.
        logger.error("stripe.void_invoice_paid", invoice=row.number, org_id=row.org_id)
    if status == row.status or status not in SETTLED or row.status in SETTLED[:2]:
        return False
    settle_invoice(
        org_id=row.org_id,
        invoice_id=row.pk,
        status=status,
        actor=STRIPE,
        now=now,
        settled_at=state.paid_at,
    )
    return True


def _copy(row: Invoice | None, org: Organization, state: InvoiceState, now: datetime) -> bool:
    start, end = _span(state)
    number = None if state.status == "draft" else state.number
    values: dict[str, Any] = {
        "period_start": start,
        "period_end": end,
        "number": number,
        "currency": state.currency,
        "subtotal_minor": state.total - state.tax,
        "tax_minor": state.tax,
        "total_minor": state.total,
        "finalized_at": state.finalized_at,
        "due_at": state.finalized_at,
        "settled_at": state.paid_at,
        "settled_by": STRIPE.label if state.paid_at else "",
        **_collection(row, state, now, False),
    }
    fresh = row is None
    row = row or Invoice(
        org=org,
        source=InvoiceSource.STRIPE,
        stripe_id=state.id,
        created_at=state.created_at,
    )
    if fresh:
        row.bill_to, row.branding = bill_to_of(org), branding_of(org_id=org.pk)
    before = [getattr(row, name) for name in values], row.status
    for name, value in values.items():
        setattr(row, name, value)
    # Lines are written while it is a draft: afterwards the database lets nobody.
    row.status, row.number = InvoiceStatus.DRAFT, None
    row.save()
    row.lines.all().delete()
    InvoiceLine.objects.bulk_create(_lines(row, state))
    row.status, row.number = InvoiceStatus(state.status), number
    row.save()
    return fresh or before != ([getattr(row, name) for name in values], row.status)


def _span(state: InvoiceState) -> tuple[datetime, datetime]:
    """From the first line's start to the last one's end: what is paid for."""
    if not state.lines:
        return state.period_start, state.period_end
    return min(line.start for line in state.lines), max(line.end for line in state.lines)


def _lines(row: Invoice, state: InvoiceState) -> list[InvoiceLine]:
    exponent = -exponent_of(state.currency)
    made = []
    for position, line in enumerate(state.lines, start=1):
        kind = LineKind.PRORATION if line.proration else LineKind.BASE
        amount = Decimal(line.amount).scaleb(exponent)
        made.append(
            InvoiceLine(
                org_id=row.org_id,
                invoice=row,
                position=position,
                kind=kind,
                description=line.description[:255],
                start=line.start,
                end=line.end,
                quantity=line.quantity,
                unit_amount=quantized(amount / line.quantity, 12),
                precise_amount=amount,
                amount_minor=line.amount,
            )
        )
    for tax in state.taxes:
        made.append(_flat(row, len(made) + 1, LineKind.TAX, tax.description, tax.amount))
    rest = state.total - sum(line.amount_minor for line in made)
    if rest:
        made.append(_flat(row, len(made) + 1, LineKind.CREDIT, "Discounts", rest))
    return made


def _flat(row: Invoice, position: int, kind: LineKind, description: str, minor: int) -> InvoiceLine:
    amount = Decimal(minor).scaleb(-exponent_of(row.currency))
    return InvoiceLine(
        org_id=row.org_id,
        invoice=row,
        position=position,
        kind=kind,
        description=description[:255],
        start=row.period_start,
        end=row.period_end,
        quantity=1,
        unit_amount=amount,
        precise_amount=amount,
        amount_minor=minor,
    )
