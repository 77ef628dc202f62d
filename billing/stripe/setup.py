"""Making an account of Stripe's ready for Spoke: prices, and the webhook. Safe to repeat."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from django.conf import settings
from djstripe.models import WebhookEndpoint

from billing.stripe.catalogue import stripe_price_of
from billing.stripe.client import api, translated
from quotas.models import PlanPrice

EVENTS = [
    *("customer.created", "customer.updated", "customer.deleted"),
    *("customer.subscription.created", "customer.subscription.updated"),
    *("customer.subscription.deleted", "customer.subscription.trial_will_end"),
    *("customer.subscription.paused", "customer.subscription.resumed"),
    *("invoice.created", "invoice.updated", "invoice.finalized", "invoice.paid"),
    *("invoice.payment_failed", "invoice.payment_action_required", "invoice.voided"),
    *("invoice.marked_uncollectible", "invoice.deleted", "invoice.finalization_failed"),
    *("payment_method.attached", "payment_method.detached", "payment_method.updated"),
    *("payment_method.automatically_updated", "setup_intent.succeeded"),
    *("setup_intent.setup_failed", "payment_intent.payment_failed"),
    *("credit_note.created", "credit_note.updated", "credit_note.voided"),
    *("refund.updated", "refund.failed"),
    *("charge.refunded", "charge.dispute.created", "charge.dispute.updated"),
    *("charge.dispute.closed", "checkout.session.completed"),
    *("product.created", "product.updated", "product.deleted"),
    *("price.created", "price.updated", "price.deleted"),
]
OURS = "spoke"


def check_account() -> str:
    """The account's id. Raises what `client.translated` says where the key is refused."""
    with translated():
        return str(api().accounts.retrieve_current().id)


def make_prices() -> int:
    """Every current plan's prices are at Stripe; returns how many there are."""
    rows = PlanPrice.objects.select_related("plan").filter(
        plan__superseded_at__isnull=True, amount_minor__gt=0
    )
    for price in rows.order_by("plan__position", "pk"):
        stripe_price_of(price)
    return len(rows)


def make_webhook(*, url: str, rotate: bool = False) -> tuple[str, bool]:
    """(id, whether it is new) of the endpoint that delivers to this address, whose secret we keep.

    Rotated: a new endpoint with a new secret; deliveries of the old one stay valid here.
    """
    for found in _endpoints():
        kept = WebhookEndpoint.objects.filter(id=found.id).exclude(secret="").first()
        if kept is None or rotate:
            # Nobody knows its secret, or it is to be a new one.
            with translated():
                api().webhook_endpoints.delete(found.id)
            continue
        with translated():
            api().webhook_endpoints.update(found.id, {"url": url, "enabled_events": EVENTS})
        WebhookEndpoint.objects.filter(id=found.id).update(url=url, enabled_events=EVENTS)
        return str(found.id), False
    return _new_endpoint(url), True


def _endpoints() -> Iterator[Any]:
    with translated():
        found = list(api().webhook_endpoints.list({"limit": 100}).auto_paging_iter())
    for row in found:
        if (row.metadata or {}).get("made_by") == OURS:
            yield row


def _new_endpoint(url: str) -> str:
    uuid = uuid4()
    with translated():
        made = api().webhook_endpoints.create(
            {
                "url": url,
                "enabled_events": EVENTS,
                "api_version": settings.STRIPE_API_VERSION,
                "description": "Spoke",
                "metadata": {"made_by": OURS, "djstripe_uuid": str(uuid)},
            }
        )
    WebhookEndpoint.objects.update_or_create(
        id=made.id,
        defaults={
            "url": url,
            # In this answer only: Stripe does not tell it again.
            "secret": made.secret,
            "status": made.status,
            "enabled_events": EVENTS,
            "api_version": settings.STRIPE_API_VERSION,
            "livemode": made.livemode,
            "djstripe_uuid": uuid,
            "created": datetime.fromtimestamp(made.created, UTC),
            "stripe_data": {"id": made.id, "url": url},
        },
    )
    return str(made.id)
