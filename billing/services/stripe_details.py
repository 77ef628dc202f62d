"""Billing details and rates of tax, as Stripe's customers and subscriptions have them.

Details are kept here and told to Stripe after; who dies in between leaves a revision that is not pushed
yet, and the next run goes on. Nothing here runs inside a transaction.
"""

from datetime import datetime

from django.conf import settings
from django.db.models import Exists, F, OuterRef

from billing.models import (
    BillingDetails,
    Collection,
    StripeCustomer,
    Subscription,
    SubscriptionStatus,
    TaxRate,
)
from billing.services.customers import customer_of
from billing.services.details import ADDRESS
from billing.services.taxes import tax_for
from billing.stripe import adjustments, gateway
from billing.stripe.translate import SubscriptionState
from billing.tax import Tax
from orgs.models import Organization
from spoke.core import tenancy
from spoke.core.errors import DomainError
from spoke.core.locks import held


def due_for_push() -> list[int]:
    """Organizations whose details Stripe has yet to be told of."""
    with tenancy.all_organizations(reason="find billing details to push"):
        customers = StripeCustomer.objects.filter(org_id=OuterRef("org_id"))
        rows = BillingDetails.objects.filter(Exists(customers), pushed_revision__lt=F("revision"))
        return list(rows.order_by("org_id").values_list("org_id", flat=True))


def push_details(*, org_id: int, now: datetime) -> bool:
    """Stripe's customer, and the rates of its subscription, are as our details; says whether they
    were not. A refusal is kept with the details, for staff to read, and tried again.
    """
    with held(f"stripe-details-{org_id}"):
        customer = customer_of(org_id)
        with tenancy.organization(org_id):
            details = BillingDetails.objects.filter(org_id=org_id).first()
        if customer is None or details is None or details.pushed_revision >= details.revision:
            return False
        try:
            _tell(customer, details, now)
            sync_subscription_tax(org_id=org_id, now=now)
        except DomainError as error:
            _write(details, push_error=error.detail[:500])
            raise
        _write(details, pushed_revision=details.revision, push_error="")
        return True


def _tell(customer: str, details: BillingDetails, now: datetime) -> None:
    with tenancy.organization(details.org_id):
        org = Organization.objects.get(pk=details.org_id)
        tax = tax_for(details=details, on=now.date())
    adjustments.set_customer_details(
        customer=customer,
        name=details.legal_name or org.display_name or org.name,
        address={name: value for name in ADDRESS if (value := getattr(details, name))},
        tax_exempt=_exemption(tax, details),
    )
    adjustments.set_tax_id(customer=customer, kind=details.tax_id_type, value=details.tax_id)


def _exemption(tax: Tax, details: BillingDetails) -> str:
    """As Stripe has it."""
    if details.tax_exempt:
        return "exempt"
    return "reverse" if tax.reverse_charge else "none"


def _write(details: BillingDetails, **values: object) -> None:
    with tenancy.organization(details.org_id):
        BillingDetails.objects.filter(pk=details.pk, pushed_revision__lt=details.revision).update(
            **values
        )


def stripe_rates(*, org_id: int, now: datetime) -> list[str] | None:
    """Stripe's tax rates for what Stripe bills the organization from now; None: Stripe Tax reckons."""
    if settings.STRIPE_TAX:
        return None
    with tenancy.organization(org_id):
        details = BillingDetails.objects.filter(org_id=org_id).first()
        tax = tax_for(details=details, on=now.date()) if details else Tax()
    if not tax.rate_id:
        return []
    return [adjustments.stripe_rate_of(TaxRate.objects.get(pk=tax.rate_id))]


def sync_subscription_tax(*, org_id: int, now: datetime) -> bool:
    """What Stripe writes next bears the rates that hold now; says whether it would not have."""
    with tenancy.organization(org_id):
        live = Subscription.objects.filter(org_id=org_id, collection=Collection.STRIPE)
        running = live.filter(ended_at__isnull=True).exclude(status=SubscriptionStatus.INCOMPLETE)
        subscription = running.values_list("stripe_id", flat=True).first()
    if not subscription:
        return False
    wanted = stripe_rates(org_id=org_id, now=now)
    state: SubscriptionState = gateway.get_subscription(subscription)
    if state.tax_rates == wanted:
        return False
    adjustments.set_subscription_tax(subscription=subscription, tax_rates=wanted)
    return True
