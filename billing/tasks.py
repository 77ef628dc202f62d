"""Periodic work of billing. Every task is safe to run twice, and at once."""

from datetime import datetime

from celery import shared_task
from django.utils import timezone

from billing.services import invoicing, subscriptions
from spoke.core import tenancy


@shared_task
def turn_due_subscriptions() -> int:
    """Starts a task for each subscription whose month, year or trial is over; returns how many."""
    due = subscriptions.due_subscriptions(now=timezone.now())
    for org_id in due:
        turn_subscription.delay(org_id)
    return len(due)


@shared_task
def turn_subscription(org_id: int) -> bool:
    """Renews or ends one organization's subscription; says whether that was due."""
    with tenancy.organization(org_id):
        return subscriptions.turn_subscription(org_id=org_id, now=timezone.now())


@shared_task
def draft_due_invoices() -> int:
    """Starts a task for each ended period that wants an invoice; returns how many."""
    due = invoicing.due_for_draft(now=timezone.now())
    for org_id, start in due:
        draft_invoice.delay(org_id, start.isoformat())
    return len(due)


@shared_task
def draft_invoice(org_id: int, period_start: str) -> int | None:
    """The invoice of one period, as a draft; returns its id, or None where there is nothing to bill."""
    with tenancy.organization(org_id):
        invoice = invoicing.draft_invoice(
            org_id=org_id,
            period_start=datetime.fromisoformat(period_start),
            now=timezone.now(),
        )
        return None if invoice is None else invoice.pk


@shared_task
def finalize_due_invoices() -> int:
    """Starts a task for each draft whose period is closed; returns how many."""
    due = invoicing.due_for_number()
    for org_id, invoice_id in due:
        finalize_invoice.delay(org_id, invoice_id)
    return len(due)


@shared_task
def finalize_invoice(org_id: int, invoice_id: int) -> str | None:
    """Gives one invoice out; returns its number."""
    with tenancy.organization(org_id):
        invoice = invoicing.finalize_invoice(
            org_id=org_id, invoice_id=invoice_id, now=timezone.now()
        )
        return invoice.number
