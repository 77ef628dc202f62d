"""What Stripe has of an organization that asks to subscribe: nothing is subscribed to twice."""

from datetime import datetime

from billing.models import Subscription, SubscriptionStatus
from billing.services.stripe_subscriptions import apply_subscription
from billing.stripe import gateway
from billing.stripe.translate import SubscriptionState
from spoke.core import tenancy
from spoke.core.errors import Conflict

OVER = ("canceled", "incomplete_expired")


def take_up(row: Subscription, customer: str, now: datetime) -> SubscriptionState | None:
    """What an earlier try for the row left at Stripe, or None. No transaction.

    Another's first payment that was never made is given up. Raises Conflict where another is live, of
    Checkout say, that nobody told us of: it is the organization's from now on, and the row is gone.
    """
    for found in gateway.subscriptions_of(customer):
        if found.ended_at or found.status in OVER:
            continue
        if found.metadata.get(gateway.SUBSCRIPTION) == str(row.pk):
            return found
        if found.status == "incomplete":
            gateway.cancel_now(subscription=found.id, prorate=False)
            continue
        forget(row)
        with tenancy.organization(row.org_id):
            apply_subscription(org_id=row.org_id, state=found, now=now)
        raise Conflict("There is a subscription already: change it.", code="subscription_exists")
    return None


def forget(row: Subscription) -> None:
    """A row that stood for what was never made at Stripe is gone."""
    with tenancy.organization(row.org_id):
        Subscription.objects.filter(
            pk=row.pk, status=SubscriptionStatus.INCOMPLETE, stripe_id__isnull=True
        ).delete()
