"""dj-stripe's tables as a mirror of Stripe's objects, for staff to look things up in.

Nothing of ours is decided by them: what Stripe says is read fresh and translated. A row here that is
missing or old is a nuisance, not an error in money.
"""

from typing import Any

import structlog
from djstripe import models

from billing.stripe.client import api, mirroring, translated

logger = structlog.get_logger(__name__)
# The kinds of objects that are mirrored, as Stripe names them.
MODELS: dict[str, Any] = {
    "product": models.Product,
    "price": models.Price,
    "customer": models.Customer,
    "payment_method": models.PaymentMethod,
    "setup_intent": models.SetupIntent,
    "payment_intent": models.PaymentIntent,
    "charge": models.Charge,
    "refund": models.Refund,
    "dispute": models.Dispute,
    "subscription": models.Subscription,
    "invoice": models.Invoice,
    "checkout.session": models.Session,
}
RESOURCES = {
    "product": "products",
    "price": "prices",
    "customer": "customers",
    "payment_method": "payment_methods",
    "setup_intent": "setup_intents",
    "payment_intent": "payment_intents",
    "charge": "charges",
    "refund": "refunds",
    "dispute": "disputes",
    "subscription": "subscriptions",
    "invoice": "invoices",
}


def mirror(kind: str, name: str) -> bool:
    """The object as it is now is in dj-stripe's tables; says whether its kind is mirrored.

    Must run outside of transactions. Raises what `client.translated` says.
    """
    if kind not in RESOURCES:
        return False
    with translated(), mirroring():
        found = getattr(api(), RESOURCES[kind]).retrieve(name)
        if getattr(found, "deleted", False):
            MODELS[kind].objects.filter(id=name).delete()
        else:
            MODELS[kind].sync_from_stripe_data(found)
    return True


def link_customer(*, customer: str, org_id: int) -> None:
    """dj-stripe's customer says which organization it is. Nothing where it is not mirrored yet."""
    models.Customer.objects.filter(id=customer).update(subscriber_id=org_id)
