"""dj-stripe's tables as a mirror of Stripe's objects, for staff to look things up in.

Nothing of ours is decided by them: what Stripe says is read fresh and translated. A row here that is
missing or old is a nuisance, not an error in money.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from django.conf import settings
from django.core.management import call_command
from djstripe import models
from djstripe.management.commands import djstripe_sync_models

from billing.stripe.client import api, mirroring, translated
from spoke.core import tenancy

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
    with translated(), seeing_subscribers():
        found = getattr(api(), RESOURCES[kind]).retrieve(name)
        if getattr(found, "deleted", False):
            MODELS[kind].objects.filter(id=name).delete()
        else:
            MODELS[kind].sync_from_stripe_data(found, api_key=settings.STRIPE_SECRET_KEY)
    return True


@contextmanager
def seeing_subscribers() -> Iterator[None]:
    """dj-stripe reads whose customer somebody is; it has no tenant to say, and no transaction."""
    with mirroring(), tenancy.reading(tenancy.Scope(everything=True)):
        yield


def mirror_everything(*, kinds: list[str]) -> None:
    """All objects of these models (none named: of all that we mirror) are. Raises CommandError."""
    names = kinds or [model.__name__ for model in MODELS.values()]
    call_command("djstripe_sync_models", *names, fail_on_error=True)


class SyncCommand(djstripe_sync_models.Command):  # type: ignore[misc]  # dj-stripe has no types
    """dj-stripe's command, through our door to Stripe, seeing whose customer somebody is."""

    def handle(self, *args: Any, **options: Any) -> None:
        api()  # what dj-stripe calls goes through our door
        with seeing_subscribers():
            super().handle(*args, **options)

    @staticmethod
    def get_list_kwargs_tax_id(default_list_kwargs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Tax ids by their owner: by `id`, as dj-stripe 2.11 asks for them, Stripe lists none."""
        parent = djstripe_sync_models.Command.get_list_kwargs_tax_id(default_list_kwargs)
        return [
            {**rest, "owner": {"type": "customer", "customer": customer}}
            for customer, rest in ((row.pop("id"), row) for row in parent)
        ]


def link_customer(*, customer: str, org_id: int) -> None:
    """dj-stripe's customer says which organization it is. Nothing where it is not mirrored yet."""
    models.Customer.objects.filter(id=customer).update(subscriber_id=org_id)
