"""The inbox of what Stripe tells us: each event once, tried until it is done, or kept for staff.

An event only says that something changed: what it is now is fetched, under a lock by its id, so that
order, repeats and gaps make no difference. What was deleted cannot be fetched, and is believed.
"""

import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import connection
from psycopg.types.json import Jsonb

from billing.models import (
    EventStatus,
    Invoice,
    InvoiceSource,
    InvoiceStatus,
    PaymentMethod,
    StripePrice,
    WebhookEvent,
)
from billing.services import by_card, stripe_credit_notes, stripe_invoices
from billing.services.customers import apply_card, apply_customer, lock_name, organization_of
from billing.stripe import adjustments, gateway
from billing.stripe.mirror import link_customer, mirror
from billing.stripe.webhooks import Delivery, delivery_of
from spoke.core import tenancy
from spoke.core.errors import Conflict, NotFound
from spoke.core.locks import held

logger = structlog.get_logger(__name__)
# After so many failures an event waits for staff. The waits between them add up to about a day.
ATTEMPTS = 8
FIRST_WAIT = timedelta(minutes=1)
# How far back the sweep asks; Stripe itself gives up a delivery after three days.
WINDOW = timedelta(days=4)
KEPT = timedelta(days=60)

RECEIVE = """
INSERT INTO billing_webhookevent (event_id, kind, object_id, payload, created_at, received_at, due_at,
                                  source, status, attempts, error)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'waiting', 0, '') ON CONFLICT (event_id) DO NOTHING RETURNING id
"""
Handler = Callable[[dict[str, Any], datetime], object]


def receive(*, delivery: Delivery, now: datetime, source: str = "webhook") -> int | None:
    """The event is in the inbox, once; returns its row's id if it is new. A transaction."""
    with connection.cursor() as cursor:
        values: list[Any] = [
            *(delivery.id, delivery.kind[:100], delivery.object_id[:255]),
            *(Jsonb(delivery.payload), delivery.created_at, now, now, source),
        ]
        cursor.execute(RECEIVE, values)
        made = cursor.fetchone()
    return made[0] if made else None


def process(*, event_id: int, now: datetime) -> bool:
    """What the event tells of is done, once; says whether that was done now. No transaction.

    A failure is kept with its traceback and tried again, later each time; in the end it is dead.
    """
    with held(f"stripe-event-{event_id}"):
        row = WebhookEvent.objects.filter(pk=event_id).first()
        if row is None or row.status != EventStatus.WAITING:
            return False
        try:
            _handle(row, now)
        except Exception as error:  # noqa: BLE001 - whatever it is, the event is not lost
            _failed(row, error, now)
            return False
        row.status, row.processed_at, row.error = EventStatus.DONE, now, ""
        row.attempts += 1
        row.save(update_fields=["status", "processed_at", "error", "attempts"])
        return True


def _failed(row: WebhookEvent, error: Exception, now: datetime) -> None:
    row.attempts += 1
    row.error = "".join(traceback.format_exception(error))[-8000:]
    row.due_at = now + FIRST_WAIT * 2**row.attempts
    if row.attempts >= ATTEMPTS:
        row.status = EventStatus.DEAD
    row.save(update_fields=["attempts", "error", "due_at", "status"])
    log = logger.error if row.status == EventStatus.DEAD else logger.warning
    log("stripe.event_failed", stripe_event=row.event_id, kind=row.kind, cause=repr(error))


def _handle(row: WebhookEvent, now: datetime) -> None:
    about = row.payload["data"]["object"]
    handler = _handler_of(row.kind)
    if handler is not None:
        handler(about, now)
    kind = about.get("object")
    if not row.kind.endswith(".deleted") and kind and about.get("id"):
        _mirror(kind, about["id"])


def _mirror(kind: str, name: str) -> None:
    try:
        mirror(kind, name)
    except (NotFound, Conflict) as error:
        # Gone in the meantime; its own event says so.
        logger.info("stripe.not_mirrored", kind=kind, object=name, cause=str(error))


def _handler_of(kind: str) -> Handler | None:
    """By the longest beginning of the event's name that is known."""
    known = [name for name in HANDLERS if kind.startswith(name)]
    return HANDLERS[max(known, key=len)] if known else None


def _subscription(about: dict[str, Any], now: datetime) -> None:
    by_card.refresh(subscription=about["id"], customer=_customer_id(about), now=now)


def _customer_id(about: dict[str, Any]) -> str:
    found = about.get("customer") or ""
    return found if isinstance(found, str) else str(found["id"])


def _customer(about: dict[str, Any], now: datetime) -> None:
    refresh_customer(customer=about["id"])


def refresh_customer(*, customer: str) -> bool:
    """Our row of a customer is as Stripe's is now; says whether anything changed."""
    org_id = organization_of(customer)
    if org_id is None:
        return False
    with held(lock_name(customer)):
        state = gateway.get_customer(customer)
        with tenancy.organization(org_id):
            changed = apply_customer(org_id=org_id, state=state)
    link_customer(customer=customer, org_id=org_id)
    return changed


def _payment_method(about: dict[str, Any], now: datetime) -> None:
    refresh_payment_method(payment_method=about["id"], now=now)


def refresh_payment_method(*, payment_method: str, now: datetime) -> bool:
    """Our row of a payment method is as Stripe's is now; says whether anything changed."""
    with held(f"stripe-method-{payment_method}"):
        state = gateway.get_payment_method(payment_method)
        org_id = organization_of(state.customer) if state.customer else _holder_of(payment_method)
        if org_id is None:
            return False
        with tenancy.organization(org_id):
            changed = apply_card(org_id=org_id, state=state, now=now)
    if state.customer:
        changed |= refresh_customer(customer=state.customer)
    return changed


def _holder_of(payment_method: str) -> int | None:
    """Who has the row of a payment method that is nobody's any more."""
    with tenancy.all_organizations(reason="find whose payment method that was"):
        rows = PaymentMethod.objects.filter(stripe_id=payment_method)
        return rows.values_list("org_id", flat=True).first()


def _invoice(about: dict[str, Any], now: datetime) -> None:
    try:
        stripe_invoices.refresh(invoice=about["id"], customer=_customer_id(about), now=now)
    except NotFound:
        # A draft that was deleted before this event's turn came.
        _invoice_deleted(about, now)


def _credit_note(about: dict[str, Any], now: datetime) -> None:
    _refresh_notes(str(about["invoice"]), _customer_id(about), now)


def _refunded(about: dict[str, Any], now: datetime) -> None:
    invoice = adjustments.invoice_of_charge(about["id"])
    if invoice is not None:
        _refresh_notes(invoice, _customer_id(about), now)


def _refund(about: dict[str, Any], now: datetime) -> None:
    invoice = adjustments.invoice_of_charge(about["charge"]) if about.get("charge") else None
    if invoice is not None:
        _refresh_notes(invoice, gateway.get_invoice(invoice).customer, now)


def _refresh_notes(invoice: str, customer: str, now: datetime) -> None:
    # The invoice first: there may be no copy of it yet.
    stripe_invoices.refresh(invoice=invoice, customer=customer, now=now)
    stripe_credit_notes.refresh(invoice=invoice, customer=customer, now=now)


def _invoice_deleted(about: dict[str, Any], now: datetime) -> None:
    """Only drafts can be deleted; ours of it goes too."""
    org_id = organization_of(_customer_id(about))
    if org_id is not None:
        with tenancy.organization(org_id):
            copies = Invoice.objects.filter(org_id=org_id, stripe_id=about["id"])
            copies.filter(source=InvoiceSource.STRIPE, status=InvoiceStatus.DRAFT).delete()


def _nothing(about: dict[str, Any], now: datetime) -> None:
    """Of what has no row here."""


def _price_deleted(about: dict[str, Any], now: datetime) -> None:
    StripePrice.objects.filter(stripe_id=about["id"]).delete()


def _checkout(about: dict[str, Any], now: datetime) -> None:
    if about.get("subscription"):
        by_card.refresh(subscription=about["subscription"], customer=_customer_id(about), now=now)


HANDLERS: dict[str, Handler] = {
    "customer.": _customer,
    "customer.subscription.": _subscription,
    "customer.source.": _nothing,
    "customer.discount.": _nothing,
    "customer.tax_id.": _nothing,
    "payment_method.": _payment_method,
    "charge.refunded": _refunded,
    "credit_note.": _credit_note,
    "refund.": _refund,
    "invoice.": _invoice,
    "invoice.upcoming": _nothing,
    "invoice.deleted": _invoice_deleted,
    "price.deleted": _price_deleted,
    "checkout.session.completed": _checkout,
}


def due_events(*, now: datetime) -> list[int]:
    """Events that wait to be tried, or tried again, oldest first."""
    rows = WebhookEvent.objects.filter(status=EventStatus.WAITING, due_at__lte=now)
    return list(rows.order_by("due_at").values_list("pk", flat=True)[:1000])


def sweep(*, now: datetime) -> list[int]:
    """The rows of events that no webhook brought; they are in the inbox now. No transaction."""
    found = []
    for data in gateway.undelivered_events(since=now - WINDOW):
        made = receive(delivery=delivery_of(data), now=now, source="sweep")
        if made is not None:
            found.append(made)
    if found:
        logger.warning("stripe.events_missed", count=len(found))
    return found


def replay(*, event_id: int, now: datetime) -> bool:
    """A dead or done event is tried again from the start; says whether it waits now."""
    return bool(
        WebhookEvent.objects.filter(pk=event_id)
        .exclude(status=EventStatus.WAITING)
        .update(status=EventStatus.WAITING, attempts=0, due_at=now)
    )


def prune(*, now: datetime) -> int:
    """Deletes what was done long ago; dead letters stay. Says how many."""
    old = WebhookEvent.objects.filter(status=EventStatus.DONE, received_at__lt=now - KEPT)
    deleted, _ = old.delete()
    return deleted
