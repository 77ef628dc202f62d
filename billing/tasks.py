"""Periodic work of billing. Every task is safe to run twice, and at once."""

from datetime import datetime

from celery import shared_task
from django.utils import timezone

from billing.emails import send_due_notice, send_expiry_warning
from billing.services import (
    arrears,
    by_card,
    dunning,
    expiry,
    inbox,
    invoicing,
    reconciliation,
    retries,
    set_close,
    stripe_credit_notes,
    stripe_details,
    stripe_invoices,
    subscriptions,
)
from billing.stripe import client
from spoke.core import tenancy

# Invoices that are written in one transaction.
BATCH = 5_000


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
def draft_due_invoices(after: int = 0) -> int:
    """Drafts a batch of the ended periods that want an invoice, beside a task for the next batch.

    What does not fit a batch has a task of its own. Returns how many periods that was.
    """
    now = timezone.now()
    window = set_close.window_after(after, now=now, most=BATCH)
    if window.upto is not None:
        draft_due_invoices.delay(window.upto)
    written = set_close.draft_window(window, now=now)
    due = invoicing.due_for_draft(now=now, after=after, upto=window.upto)
    for org_id, start in due:
        draft_invoice.delay(org_id, start.isoformat())
    return written + len(due)


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
def finalize_due_invoices(after: int = 0) -> int:
    """Gives out a batch of the invoices whose period is closed, beside a task for the next batch.

    What does not fit a batch has a task of its own. Returns how many periods that was.
    """
    now = timezone.now()
    window = set_close.window_after(after, now=now, most=BATCH)
    if window.upto is not None:
        finalize_due_invoices.delay(window.upto)
    written = set_close.finalize_window(window, now=now)
    if written and client.configured():
        push_due_invoices.delay()
    due = invoicing.due_for_number(after=after, upto=window.upto)
    for org_id, invoice_id in due:
        finalize_invoice.delay(org_id, invoice_id)
    return written + len(due)


@shared_task
def finalize_invoice(org_id: int, invoice_id: int) -> str | None:
    """Gives one invoice out; returns its number."""
    with tenancy.organization(org_id):
        invoice = invoicing.finalize_invoice(
            org_id=org_id, invoice_id=invoice_id, now=timezone.now()
        )
        number = invoice.number
    if number and client.configured():
        push_due_invoices.delay()
    return number


# --- what Stripe collects. Without a key none of these has anything to do. ---------------------


@shared_task
def process_event(event_id: int) -> bool:
    """Does what one event of the inbox tells of; says whether that was done now."""
    return inbox.process(event_id=event_id, now=timezone.now())


@shared_task
def process_due_events() -> int:
    """Starts a task for each event that waits; returns how many."""
    due = inbox.due_events(now=timezone.now()) if client.configured() else []
    for event_id in due:
        process_event.delay(event_id)
    return len(due)


@shared_task
def sweep_events() -> int:
    """Fetches the events that no webhook brought; returns how many."""
    found = inbox.sweep(now=timezone.now()) if client.configured() else []
    for event_id in found:
        process_event.delay(event_id)
    return len(found)


@shared_task
def prune_events() -> int:
    """Deletes events that were done long ago; returns how many."""
    return inbox.prune(now=timezone.now())


@shared_task
def push_due_invoices() -> int:
    """Starts a task for each invoice that Stripe has yet to be told of; returns how many."""
    due = stripe_invoices.due_for_push() if client.configured() else []
    for org_id, invoice_id in due:
        push_invoice.delay(org_id, invoice_id)
    return len(due)


@shared_task
def push_invoice(org_id: int, invoice_id: int) -> str | None:
    """Has one invoice collected by Stripe; returns its id there."""
    return stripe_invoices.push_invoice(org_id=org_id, invoice_id=invoice_id, now=timezone.now())


@shared_task
def retry_due_invoices() -> int:
    """Starts a task for each invoice that another default may pay; returns how many."""
    due = retries.due_for_retry() if client.configured() else []
    for org_id, invoice_id in due:
        retry_invoice.delay(org_id, invoice_id)
    return len(due)


@shared_task
def retry_invoices_of(org_id: int) -> int:
    """As retry_due_invoices, of one organization, whose default has changed."""
    due = retries.due_for_retry(org_id=org_id) if client.configured() else []
    for _, invoice_id in due:
        retry_invoice.delay(org_id, invoice_id)
    return len(due)


@shared_task
def retry_invoice(org_id: int, invoice_id: int) -> bool:
    """Tries the default for one open invoice; says whether it is paid."""
    return retries.retry_invoice(org_id=org_id, invoice_id=invoice_id, now=timezone.now())


@shared_task
def push_due_notes() -> int:
    """Starts a task for each credit note that Stripe has yet to be told of; returns how many."""
    due = stripe_credit_notes.due_for_push() if client.configured() else []
    for org_id, note_id in due:
        push_note.delay(org_id, note_id)
    return len(due)


@shared_task
def push_note(org_id: int, note_id: int) -> str | None:
    """Has Stripe do what one credit note promises; returns its id there."""
    return stripe_credit_notes.push_note(org_id=org_id, note_id=note_id, now=timezone.now())


@shared_task
def push_due_details() -> int:
    """Starts a task for each organization whose billing details changed; returns how many."""
    due = stripe_details.due_for_push() if client.configured() else []
    for org_id in due:
        push_details.delay(org_id)
    return len(due)


@shared_task
def push_details(org_id: int) -> bool:
    """Tells Stripe of one organization's billing details; says whether that was due."""
    return client.configured() and stripe_details.push_details(org_id=org_id, now=timezone.now())


@shared_task
def sync_taxes() -> int:
    """Starts a task for each customer, since rates of tax changed; returns how many."""
    customers = reconciliation.customers() if client.configured() else []
    for org_id in customers:
        sync_tax.delay(org_id)
    return len(customers)


@shared_task
def sync_tax(org_id: int) -> bool:
    """Has Stripe bill one organization at the rates that hold; says whether it did not."""
    return stripe_details.sync_subscription_tax(org_id=org_id, now=timezone.now())


@shared_task
def reconcile_subscriptions() -> int:
    """Starts a task for each subscription that was left half-made, or whose organization is closed."""
    due = reconciliation.unfinished(now=timezone.now()) if client.configured() else []
    for org_id in due:
        finish_subscription.delay(org_id)
    return len(due)


@shared_task
def finish_subscription(org_id: int) -> bool:
    """Finishes what one organization's subscription was left at."""
    now = timezone.now()
    done = by_card.finish_abandoned(org_id=org_id, now=now)
    return reconciliation.end_if_closed(org_id=org_id, now=now) or done


@shared_task
def compare_with_stripe() -> int:
    """Starts a task for each customer; returns how many."""
    customers = reconciliation.customers() if client.configured() else []
    for org_id in customers:
        compare_customer.delay(org_id)
    return len(customers)


@shared_task
def compare_customer(org_id: int) -> int:
    """Compares one organization with Stripe and repairs what differs; returns how many things."""
    return reconciliation.compare(org_id=org_id, now=timezone.now())


@shared_task
def chase_overdue() -> int:
    """Starts a task for each organization that is overdue, or was; returns how many."""
    late = arrears.to_chase(now=timezone.now())
    for org_id in late:
        chase.delay(org_id)
    return len(late)


@shared_task
def chase(org_id: int) -> int:
    """Reminds one organization of what it owes, or suspends or releases it; returns how many mails."""
    now = timezone.now()
    with tenancy.organization(org_id):
        dunning.enforce(org_id=org_id, now=now)
    return send_due_notice(org_id=org_id, now=now)


@shared_task
def warn_of_expiry() -> int:
    """Starts a task for each organization whose card is about to expire; returns how many."""
    soon = expiry.expiring(now=timezone.now())
    for org_id in soon:
        warn_of_card.delay(org_id)
    return len(soon)


@shared_task
def warn_of_card(org_id: int) -> int:
    """Tells one organization that its card expires; returns how many were written to."""
    return send_expiry_warning(org_id=org_id, now=timezone.now())
