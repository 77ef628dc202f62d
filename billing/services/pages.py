"""Pages of Stripe's that an organization is sent to. Nothing here runs inside a transaction."""

from datetime import datetime

from billing.services import subscriptions
from billing.services.by_card import Wish, price_row
from billing.services.customers import ensure_customer
from billing.services.stripe_details import push_details, stripe_rates
from billing.stripe import adjustments, gateway
from billing.stripe.catalogue import stripe_price_of
from spoke.core import tenancy


def begin_setup(*, org_id: int, now: datetime) -> tuple[str, str]:
    """(id, client secret) of an intent by which a page adds a card; its webhook makes our row."""
    customer = ensure_customer(org_id=org_id, now=now)
    return gateway.create_setup_intent(customer=customer, key=None)


def open_portal(*, org_id: int, return_url: str, now: datetime) -> str:
    """The address of the page where cards are changed and the subscription is ended."""
    customer = ensure_customer(org_id=org_id, now=now)
    return gateway.create_portal(customer=customer, return_url=return_url)


def open_checkout(
    *, org_id: int, wish: Wish, success_url: str, cancel_url: str, now: datetime
) -> tuple[str, str]:
    """(id, address) of the page where the organization subscribes; its webhook makes our row.

    Pages that were opened before are closed: two that are paid would be two subscriptions. Raises
    Conflict where a subscription is live or the trial was had, and InvalidInput for a plan without
    such a price.
    """
    with tenancy.organization(org_id):
        subscriptions.check_start(
            org_id=org_id, plan=wish.plan, interval=wish.interval, currency=wish.currency
        )
        subscriptions.check_trial(org_id=org_id, days=wish.trial_days)
    customer = ensure_customer(org_id=org_id, now=now)
    adjustments.close_checkouts(customer)
    push_details(org_id=org_id, now=now)
    return gateway.create_checkout(
        customer=customer,
        price=stripe_price_of(price_row(wish.plan, wish.interval, wish.currency)),
        org_id=org_id,
        trial_days=wish.trial_days,
        tax_rates=stripe_rates(org_id=org_id, now=now),
        success_url=success_url,
        cancel_url=cancel_url,
    )
