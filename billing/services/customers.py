"""Organizations as Stripe's customers, and the ways they pay, as rows of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from billing.models import Collection, PaymentMethod, StripeCustomer, Subscription
from billing.stripe import adjustments, gateway
from billing.stripe.translate import CardState, CustomerState, SubscriptionState
from orgs.context import SYSTEM, Actor
from orgs.models import Organization
from orgs.services.audit import record_event
from spoke.core import tenancy
from spoke.core.errors import Conflict, DomainError, NotFound, ServiceUnavailable
from spoke.core.locks import held

STRIPE = Actor("system", None, "Stripe")


def customer_of(org_id: int) -> str | None:
    """Stripe's id of the organization's customer."""
    with tenancy.organization(org_id):
        return _customer_id(org_id)


def _customer_id(org_id: int) -> str | None:
    rows = StripeCustomer.objects.filter(org_id=org_id)
    return rows.values_list("stripe_id", flat=True).first()


def organization_of(customer: str) -> int | None:
    """Whose customer that is."""
    with tenancy.all_organizations(reason="find whose customer this is"):
        rows = StripeCustomer.objects.filter(stripe_id=customer)
        return rows.values_list("org_id", flat=True).first()


def ensure_customer(*, org_id: int, now: datetime) -> str:
    """The organization has one customer at Stripe, however often this is called. No transaction."""
    with tenancy.organization(org_id):
        known = _customer_id(org_id)
        org = Organization.objects.select_related("owner").get(pk=org_id)
        name, email = org.display_name or org.name, org.email
    if known:
        return known
    made = gateway.create_customer(org_id=org_id, name=name, email=email)
    with tenancy.organization(org_id):
        StripeCustomer.objects.bulk_create(
            [StripeCustomer(org_id=org_id, stripe_id=made.id, created_at=now)],
            ignore_conflicts=True,
        )
        return _customer_id(org_id) or made.id


def apply_card(*, org_id: int, state: CardState, now: datetime) -> bool:
    """Our row of a payment method is as Stripe's; says whether anything changed. A transaction."""
    rows = PaymentMethod.objects.filter(org_id=org_id, stripe_id=state.id)
    if state.customer is None or state.customer != _customer_id(org_id):
        deleted, _ = rows.delete()
        return bool(deleted)
    values = {
        "kind": state.kind,
        "brand": state.brand,
        "last4": state.last4,
        "exp_month": state.exp_month,
        "exp_year": state.exp_year,
    }
    # Its webhook may come while the request that attached it is at the same.
    row, made = rows.select_for_update().get_or_create(
        org_id=org_id,
        stripe_id=state.id,
        defaults={"created_at": state.created_at, **values},
    )
    if made:
        record_event(
            org_id=org_id,
            actor=SYSTEM,
            action="payment_method.added",
            now=now,
            target=("payment_method", state.id),
            data={"brand": state.brand, "last4": state.last4},
        )
        return True
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    if changed:
        row.save(update_fields=[*changed])
    return bool(changed)


def apply_customer(*, org_id: int, state: CustomerState) -> bool:
    """The default payment method is Stripe's; says whether anything changed. A transaction."""
    if state.deleted:
        deleted, _ = PaymentMethod.objects.filter(org_id=org_id).delete()
        gone, _ = StripeCustomer.objects.filter(org_id=org_id, stripe_id=state.id).delete()
        return bool(deleted or gone)
    rows = PaymentMethod.objects.filter(org_id=org_id)
    # The old one first: there is one default at most.
    dropped = rows.filter(is_default=True).exclude(stripe_id=state.default_payment_method or "")
    changed = dropped.update(is_default=False)
    if state.default_payment_method:
        chosen = rows.filter(stripe_id=state.default_payment_method, is_default=False)
        changed += chosen.update(is_default=True)
    return bool(changed)


def add_payment_method(
    *,
    org_id: int,
    payment_method: str,
    set_as_default: bool,
    wish: str,
    now: datetime,
    field: str = "payment_method_id",
) -> PaymentMethod:
    """The payment method is the organization's; its first one is the default. No transaction.

    `wish` names what it is attached for: asked for again with the same one, because an answer was
    lost, it is the same payment method, also where Stripe makes one of a test token. Raises
    PaymentDeclined and InvalidInput, of the input `field`, and then nothing is changed.
    """
    customer = ensure_customer(org_id=org_id, now=now)
    card = gateway.attach_payment_method(
        customer=customer,
        payment_method=payment_method,
        key=f"spoke-attach-{org_id}-{payment_method}-{wish}",
        field=field,
    )
    with tenancy.organization(org_id):
        others = PaymentMethod.objects.filter(org_id=org_id).exclude(stripe_id=card.id)
        first = not others.exists()
        apply_card(org_id=org_id, state=card, now=now)
    if set_as_default or first:
        _pays_all(org_id, customer, card.id)
    with tenancy.organization(org_id):
        return PaymentMethod.objects.get(org_id=org_id, stripe_id=card.id)


def make_default(*, org_id: int, payment_method: str) -> PaymentMethod:
    """Invoices are paid by it from now on. No transaction. Raises NotFound."""
    row = _known(org_id, payment_method)
    customer = customer_of(org_id) or ""
    _pays_all(org_id, customer, row.stripe_id)
    with tenancy.organization(org_id):
        return PaymentMethod.objects.get(pk=row.pk)


@contextmanager
def keeping_default(*, org_id: int) -> Iterator[None]:
    """Where what is done within is refused, the default is what it was before: a card that was
    declined does not pay for what goes on. No transaction.
    """
    before = _default(org_id)
    try:
        yield
    except ServiceUnavailable:
        # It is taken up again.
        raise
    except DomainError:
        if before is not None and before != _default(org_id):
            make_default(org_id=org_id, payment_method=before)
        raise


def _default(org_id: int) -> str | None:
    with tenancy.organization(org_id):
        rows = PaymentMethod.objects.filter(org_id=org_id, is_default=True)
        return rows.values_list("stripe_id", flat=True).first()


def lock_name(customer: str) -> str:
    """Of the lock under which a customer is changed, or fetched, and applied."""
    return f"stripe-customer-{customer}"


def _pays_all(org_id: int, customer: str, payment_method: str) -> None:
    """It is the default, and of the subscription too, which may have had a card of its own."""
    with held(lock_name(customer)):
        state = gateway.set_default_payment_method(customer=customer, payment_method=payment_method)
        with tenancy.organization(org_id):
            apply_customer(org_id=org_id, state=state)
    with tenancy.organization(org_id):
        live = Subscription.objects.filter(org_id=org_id, collection=Collection.STRIPE)
        running = live.filter(ended_at__isnull=True, stripe_id__isnull=False)
        name = running.values_list("stripe_id", flat=True).first()
    if name is not None:
        subscription = gateway.get_subscription(name)
        if subscription.payment_method and not subscription.ended_at:
            adjustments.pay_by_default(name)


def share_card(*, org_id: int, subscription: SubscriptionState) -> bool:
    """A card that only pays for the subscription, as Checkout leaves it, pays for overage too.

    Whoever has a default keeps it. Says whether it is the default now. No transaction.
    """
    card = subscription.payment_method
    with tenancy.organization(org_id):
        known = PaymentMethod.objects.filter(org_id=org_id, is_default=True).exists()
    if card is None or known or subscription.ended_at or subscription.status == "incomplete":
        return False
    state = gateway.get_customer(subscription.customer)
    if state.deleted or state.default_payment_method:
        return False
    _pays_all(org_id, subscription.customer, card)
    return True


def remove_payment_method(*, org_id: int, payment_method: str, now: datetime) -> None:
    """It is nobody's any more. No transaction.

    Raises NotFound, and Conflict for the default of a subscription that Stripe collects.
    """
    row = _known(org_id, payment_method)
    with tenancy.organization(org_id):
        live = Subscription.objects.filter(org_id=org_id, ended_at__isnull=True)
        if row.is_default and live.filter(collection=Collection.STRIPE).exists():
            raise Conflict(
                "The subscription is paid by it: make another one the default first.",
                code="payment_method_needed",
            )
    state = gateway.detach_payment_method(row.stripe_id)
    with tenancy.organization(org_id):
        apply_card(org_id=org_id, state=state, now=now)


def _known(org_id: int, payment_method: str) -> PaymentMethod:
    with tenancy.organization(org_id):
        row = PaymentMethod.objects.filter(org_id=org_id, stripe_id=payment_method).first()
    if row is None:
        raise NotFound("There is no such payment method.")
    return row
