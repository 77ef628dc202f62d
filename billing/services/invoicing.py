"""Invoices: one a period, drafted when it ends, given out when its usage is final.

A draft is rated anew until the period is closed, which leaves an hour for late events. Then it gets its
number: numbers of a year follow each other without a gap, since whoever takes one holds the sequence
until the invoice is committed with it.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

from billing.models import Collection, Invoice, InvoiceLine, InvoiceStatus, Subscription
from billing.models.invoice import TRANSITIONS
from billing.services.arrears import release
from billing.services.credits import return_credits, use_credits
from billing.services.details import bill_to_of, branding_of
from billing.services.lines import bill_of
from billing.services.totals import FullBill, completed
from orgs.context import SYSTEM, Actor
from orgs.models import Organization
from orgs.services.audit import record_event
from orgs.services.organizations import lock_organization
from quotas.models import UsagePeriod
from quotas.services.periods import current_period, period_before
from spoke.core import tenancy
from spoke.core.errors import Conflict, NotFound
from spoke.core.money import quantized
from spoke.core.periods import Period

# Periods that ended longer ago are invoiced by hand only: nobody expects the automatism to find them.
LOOK_BACK = timedelta(days=35)
PLACES = 24

# Of a range of organizations; `upto` NULL: of all that follow `after`.
WITHIN = "{row}.org_id > %(after)s AND {row}.org_id <= COALESCE(%(upto)s, 9223372036854775807)"
# Ended periods without an invoice in which a plan with a price held.
DUE = f"""
SELECT DISTINCT p.org_id, p.start FROM quotas_usageperiod p
JOIN quotas_planterm t ON t.org_id = p.org_id AND t.start < p."end"
WHERE {WITHIN.format(row="p")}
  AND p."end" <= %(now)s AND p."end" > %(since)s
  AND (EXISTS (SELECT FROM quotas_planprice r WHERE r.plan_id = t.plan_id AND r.amount_minor > 0)
       OR EXISTS (SELECT FROM quotas_plancharge c WHERE c.plan_id = t.plan_id))
  AND NOT EXISTS (SELECT FROM quotas_planterm later WHERE later.org_id = t.org_id
                  AND later.start > t.start AND later.start <= p.start)
  AND NOT EXISTS (SELECT FROM billing_invoice i WHERE i.org_id = p.org_id
                  AND i.source = 'usage' AND i.period_start = p.start)
ORDER BY 2, 1
"""  # noqa: S608 - constants only
FINAL = f"""
SELECT i.org_id, i.id FROM billing_invoice i
JOIN quotas_usageperiod p ON p.org_id = i.org_id AND p.start = i.period_start
WHERE {WITHIN.format(row="i")}
  AND i.status = 'draft' AND i.source = 'usage' AND NOT i.nothing_due
  AND p.closed_at IS NOT NULL ORDER BY i.period_end, i.id
"""  # noqa: S608 - constants only
NEXT_NUMBER = """
INSERT INTO billing_numbersequence AS s (seller, year, last) VALUES (%s, %s, 1)
ON CONFLICT (seller, year) DO UPDATE SET last = s.last + 1 RETURNING last
"""


def due_for_draft(
    *, now: datetime, after: int = 0, upto: int | None = None
) -> list[tuple[int, datetime]]:
    """(organization, start) of the periods that ended and want an invoice.

    Of the organizations whose ids are above `after`, up to and with `upto`; None: all that follow.
    """
    with tenancy.all_organizations(reason="find periods to invoice"), connection.cursor() as cursor:
        since = now - LOOK_BACK
        cursor.execute(DUE, {"now": now, "since": since, "after": after, "upto": upto})
        return [(org_id, start) for org_id, start in cursor.fetchall()]


def due_for_number(*, after: int = 0, upto: int | None = None) -> list[tuple[int, int]]:
    """(organization, invoice) of the drafts whose period is closed, in due_for_draft's range."""
    with (
        tenancy.all_organizations(reason="find invoices to give out"),
        connection.cursor() as cursor,
    ):
        cursor.execute(FINAL, {"after": after, "upto": upto})
        return [(org_id, invoice_id) for org_id, invoice_id in cursor.fetchall()]


def draft_invoice(*, org_id: int, period_start: datetime, now: datetime) -> Invoice | None:
    """There is one invoice of the period, rated by what is known now; None: the period costs nothing.

    An invoice that is no draft any more is returned as it is. Must run in a transaction. Raises NotFound
    for a period that is not there, and Conflict for one that is not over.
    """
    return _drafted(org_id, period_start, now)[0]


def _drafted(
    org_id: int, period_start: datetime, now: datetime
) -> tuple[Invoice | None, FullBill | None]:
    """As draft_invoice, with what the draft was written from."""
    org = lock_organization(org_id)
    period = UsagePeriod.objects.for_org(org_id).filter(start=period_start).first()
    if period is None:
        raise NotFound("There is no period of usage that starts then.")
    if period.end > now:
        raise Conflict("The period is not over.", code="period_not_over")
    found = Invoice.objects.for_org(org_id).filter(period_start=period_start, source="usage")
    invoice = found.select_for_update().first()
    if invoice is not None and invoice.status != InvoiceStatus.DRAFT:
        return invoice, None
    bill = _full_bill(period, now)
    if bill is None:
        return None, None
    return _write_draft(invoice or Invoice(created_at=now), org, period, bill), bill


def _full_bill(period: UsagePeriod, now: datetime) -> FullBill | None:
    bill = bill_of(period=period, now=now)
    if bill is None:
        return None
    over = Period(period.start, period.end)
    return completed(bill=bill, org_id=period.org_id, over=over)


def _write_draft(
    invoice: Invoice, org: Organization, period: UsagePeriod, bill: FullBill
) -> Invoice:
    invoice.org, invoice.currency, invoice.total_minor = org, bill.currency, bill.total_minor
    invoice.subtotal_minor, invoice.tax_minor = bill.subtotal_minor, bill.tax_minor
    invoice.tax_note = bill.tax_note
    invoice.period_start, invoice.period_end = period.start, period.end
    invoice.bill_to, invoice.branding = bill_to_of(org), branding_of(org_id=org.pk)
    invoice.save()
    InvoiceLine.objects.filter(invoice=invoice).delete()
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            org=org,
            invoice=invoice,
            position=position,
            kind=line.kind,
            description=line.description,
            resource=line.resource,
            start=line.start,
            end=line.end,
            unit=line.unit,
            quantity=quantized(line.quantity, 12),
            included=quantized(line.included, 12),
            unit_amount=line.unit_amount,
            precise_amount=quantized(line.precise_amount, PLACES),
            amount_minor=line.amount_minor,
        )
        for position, line in enumerate(bill.lines, start=1)
    )
    return invoice


def finalize_invoice(*, org_id: int, invoice_id: int, now: datetime) -> Invoice:
    """The invoice has a number and never changes again; nothing to pay is paid. Once, however often.

    Of a subscription that Stripe collects a period without overage stays a draft that nobody is shown.

    Must run in a transaction. Raises NotFound, and Conflict while its period is open to late events.
    """
    lock_organization(org_id)
    invoice = _locked(org_id, invoice_id)
    if invoice.status != InvoiceStatus.DRAFT:
        return invoice
    period = UsagePeriod.objects.for_org(org_id).get(start=invoice.period_start)
    if period.closed_at is None:
        raise Conflict("Its period is still open to late events.", code="period_not_closed")
    rated, bill = _drafted(org_id, period.start, now)
    invoice = rated or invoice
    if not invoice.lines.exists() and _collected_by_stripe(org_id):
        # Its base price is on an invoice of Stripe's, and there is nothing beyond it to write of.
        invoice.nothing_due = True
        invoice.save(update_fields=["nothing_due"])
        return invoice
    use_credits(invoice=invoice, used=bill.used if bill else (), now=now)
    invoice.number = next_number(settings.INVOICE_SELLER, now)
    invoice.status = InvoiceStatus.OPEN if invoice.total_minor else InvoiceStatus.PAID
    invoice.finalized_at = now
    invoice.due_at = now + timedelta(days=settings.INVOICE_DUE_DAYS)
    if not invoice.total_minor:
        invoice.settled_at, invoice.settled_by = now, SYSTEM.label
    invoice.save()
    _record(invoice, SYSTEM, "invoice.finalized", now)
    return invoice


def _collected_by_stripe(org_id: int) -> bool:
    last = Subscription.objects.filter(org_id=org_id).order_by("-started_at", "-pk").first()
    return last is not None and last.collection == Collection.STRIPE


def next_number(seller: str, now: datetime) -> str:
    """The next number of a seller's year. Whoever takes it holds the sequence until they commit."""
    with connection.cursor() as cursor:
        cursor.execute(NEXT_NUMBER, [seller, now.year])
        return f"{seller}-{now.year}-{cursor.fetchone()[0]:06}"


def generate_invoice(*, org_id: int, period_start: datetime | None, now: datetime) -> Invoice:
    """The invoice of an ended period, by default of the last one; the same again returns the same.

    It is given out where its period is closed, else it is a draft. Must run in a transaction. Raises
    NotFound where there is no such period or it costs nothing, and Conflict where it is not over.
    """
    lock_organization(org_id)
    if period_start is None:
        current = current_period(org_id=org_id, now=now)
        before = period_before(org_id=org_id, start=current.start)
        if before is None:
            raise NotFound("No period of usage has ended.")
        period_start = before.start
    invoice = draft_invoice(org_id=org_id, period_start=period_start, now=now)
    if invoice is None:
        raise NotFound("Nothing is to be paid for this period: no plan in it has a price.")
    closed = UsagePeriod.objects.for_org(org_id).filter(start=period_start, closed_at__isnull=False)
    if closed.exists():
        invoice = finalize_invoice(org_id=org_id, invoice_id=invoice.pk, now=now)
    if invoice.nothing_due:
        raise NotFound("Nothing is to be paid for this period beyond its base price.")
    return invoice


def settle_invoice(
    *,
    org_id: int,
    invoice_id: int,
    status: InvoiceStatus,
    actor: Actor,
    now: datetime,
    note: str = "",
    settled_at: datetime | None = None,
) -> Invoice:
    """The invoice is paid, void or uncollectible, with who said so and why; the same again is nothing.

    `settled_at`: when it was, where that is not now. Who was suspended for it, and owes nothing else,
    works again at once. Must run in a transaction. Raises NotFound, and Conflict where its status does
    not lead there.
    """
    hold_organization(org_id)
    invoice = _locked(org_id, invoice_id)
    if invoice.status == status:
        return invoice
    before = InvoiceStatus(invoice.status)
    if before == InvoiceStatus.DRAFT or status not in TRANSITIONS[before]:
        raise Conflict(
            f"An invoice that is {before} does not become {status}.", code="invoice_status"
        )
    invoice.status = status
    invoice.settled_at = settled_at or now
    invoice.settled_by, invoice.settlement_note = actor.label, note
    invoice.save(update_fields=["status", "settled_at", "settled_by", "settlement_note"])
    if status == InvoiceStatus.VOID:
        return_credits(invoice=invoice, now=now)
    _record(invoice, actor, f"invoice.{status}", now, old=before, note=note)
    release(org_id=org_id, actor=actor, now=now)
    return invoice


def hold_organization(org_id: int) -> None:
    """Locks the organization of an invoice, which may be purged by now: it goes before the invoice."""
    Organization.objects.select_for_update(no_key=True).filter(pk=org_id).first()


def upcoming(*, org_id: int, now: datetime) -> tuple[UsagePeriod, FullBill | None]:
    """What the period under way would cost if it ended with what is used by now."""
    period = current_period(org_id=org_id, now=now)
    return period, _full_bill(period, now)


def _locked(org_id: int, invoice_id: int) -> Invoice:
    invoice = Invoice.objects.for_org(org_id).select_for_update().filter(pk=invoice_id).first()
    if invoice is None:
        raise NotFound("There is no such invoice.")
    return invoice


def _record(invoice: Invoice, actor: Actor, action: str, now: datetime, **more: str) -> None:
    record_event(
        org_id=invoice.org_id,
        actor=actor,
        action=action,
        now=now,
        target=("invoice", invoice.pk),
        data={
            "number": invoice.number,
            "amount_cents": invoice.total_minor,
            "currency": invoice.currency,
            **more,
        },
    )
