"""Stripe and Spoke compared, object by object; what differs is repaired and reported."""

from datetime import datetime, timedelta

import structlog
from django.db.models import Q
from prometheus_client import Counter

from billing.models import (
    Collection,
    Invoice,
    InvoiceStatus,
    PaymentMethod,
    StripeCustomer,
    Subscription,
    SubscriptionStatus,
)
from billing.services import (
    by_card,
    inbox,
    stripe_credit_notes,
    stripe_details,
    stripe_invoices,
)
from billing.services.customers import apply_card
from billing.stripe import adjustments, gateway
from orgs.models import Organization, OrganizationStatus
from spoke.core import tenancy
from spoke.core.errors import InvalidInput

logger = structlog.get_logger(__name__)
# A request that takes longer than this has died.
ABANDONED = timedelta(minutes=10)
# Settled invoices older than this are not looked at every night.
INVOICES = timedelta(days=45)
REPAIRED = Counter(
    "spoke_stripe_differences_total", "Differences from Stripe that were repaired.", ["kind"]
)


def unfinished(*, now: datetime) -> list[int]:
    """Organizations with a subscription that a request left half-made, or that outlived them."""
    half_made = Q(
        status=SubscriptionStatus.INCOMPLETE, stripe_id__isnull=True, updated_at__lt=now - ABANDONED
    )
    closed = Q(org__status=OrganizationStatus.CLOSED)
    with tenancy.all_organizations(reason="find subscriptions to finish"):
        live = Subscription.objects.filter(collection=Collection.STRIPE, ended_at__isnull=True)
        return list(live.filter(half_made | closed).values_list("org_id", flat=True))


def end_if_closed(*, org_id: int, now: datetime) -> bool:
    """The subscription of a closed organization has ended; says whether it did now."""
    with tenancy.organization(org_id):
        closed = Organization.objects.filter(pk=org_id, status=OrganizationStatus.CLOSED).exists()
    return closed and by_card.end_of_closed(org_id=org_id, now=now)


def customers() -> list[int]:
    """All organizations that are customers of Stripe's."""
    with tenancy.all_organizations(reason="compare with Stripe"):
        return list(StripeCustomer.objects.order_by("pk").values_list("org_id", flat=True))


def compare(*, org_id: int, now: datetime) -> int:
    """An organization's rows are as Stripe's objects; returns how many were not. No transaction."""
    with tenancy.organization(org_id):
        found = StripeCustomer.objects.filter(org_id=org_id)
        customer = found.values_list("stripe_id", flat=True).first()
        known = set(PaymentMethod.objects.filter(org_id=org_id).values_list("stripe_id", flat=True))
    if customer is None:
        return 0
    differences = {
        "payment_method": _compare_cards(org_id, customer, known, now),
        "customer": int(inbox.refresh_customer(customer=customer)),
        "subscription": sum(
            by_card.refresh(subscription=state.id, customer=customer, now=now)
            for state in reversed(gateway.subscriptions_of(customer))
        ),
        "invoice": sum(
            stripe_invoices.refresh(invoice=name, customer=customer, now=now)
            for name in _invoices(org_id, customer, now)
        ),
        "credit_note": sum(
            stripe_credit_notes.refresh(invoice=invoice, customer=customer, now=now)
            for invoice in sorted(adjustments.corrected_invoices(customer, since=now - INVOICES))
        ),
    }
    differences["tax"] = _compare_tax(org_id, now)
    for kind, count in differences.items():
        if count:
            REPAIRED.labels(kind).inc(count)
            logger.warning("stripe.difference", org_id=org_id, kind=kind, count=count)
    return sum(differences.values())


def _invoices(org_id: int, customer: str, now: datetime) -> list[str]:
    """Stripe's ids of the latest invoices, and of all that are open here, the oldest first."""
    with tenancy.organization(org_id):
        rows = Invoice.objects.for_org(org_id).filter(status=InvoiceStatus.OPEN)
        open_ones = rows.filter(stripe_id__isnull=False).order_by("pk")
        names = [name for name in open_ones.values_list("stripe_id", flat=True) if name]
    latest = reversed(gateway.invoices_of(customer, since=now - INVOICES))
    return list(dict.fromkeys([*names, *(state.id for state in latest)]))


def _compare_tax(org_id: int, now: datetime) -> int:
    try:
        return int(stripe_details.sync_subscription_tax(org_id=org_id, now=now))
    except InvalidInput as error:
        # Without an address, say, Stripe Tax cannot be; the rest is compared all the same.
        logger.warning("stripe.tax_refused", org_id=org_id, cause=error.detail)
        return 0


def _compare_cards(org_id: int, customer: str, known: set[str], now: datetime) -> int:
    there = {state.id: state for state in gateway.payment_methods_of(customer)}
    changed = 0
    with tenancy.organization(org_id):
        for state in there.values():
            changed += apply_card(org_id=org_id, state=state, now=now)
        gone = PaymentMethod.objects.filter(org_id=org_id, stripe_id__in=known - set(there))
        deleted, _ = gone.delete()
    return changed + deleted
