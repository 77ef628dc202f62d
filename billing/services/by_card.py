"""Subscriptions that Stripe collects: asked for by their owners, in steps that can be taken again.

Each function does its network calls outside of transactions, so none may be called inside one. What
is meant to happen is written first, then Stripe is asked, then what Stripe says is applied. Whoever
dies in between leaves a row that the same request, or the reconciliation, goes on from.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from billing.models import Collection, Subscription, SubscriptionStatus
from billing.services import subscriptions
from billing.services.customers import (
    add_payment_method,
    customer_of,
    ensure_customer,
    keeping_default,
    organization_of,
    share_card,
)
from billing.services.left_behind import forget, take_up
from billing.services.lines import ROUNDED_FOR_CARDS
from billing.services.stripe_details import push_details, stripe_rates
from billing.services.stripe_invoices import copy_credits
from billing.services.stripe_subscriptions import apply_subscription
from billing.services.unused import collect_current, is_paid_for
from billing.stripe import adjustments, gateway
from billing.stripe.catalogue import stripe_price_of
from billing.stripe.client import PaymentDeclined
from billing.stripe.translate import PaymentStep, SubscriptionState
from orgs.context import SYSTEM, Actor
from orgs.models import OrganizationStatus
from orgs.services.organizations import lock_organization
from quotas.models import Plan, PlanPrice
from spoke.core import tenancy
from spoke.core.errors import (
    Conflict,
    DomainError,
    InvalidInput,
    NotFound,
    ServiceUnavailable,
)
from spoke.core.locks import held

# Stripe counts these in other units than ISO 4217, or does not take them (its list of currencies).
NOT_BY_CARD = frozenset(["isk", "ugx", "mga", "iqd", "lyd", "clf", "uyi", "uyw"])
# Seconds that a request waits for what is being done of the same subscription, such as a webhook.
PATIENCE = 2


@dataclass(frozen=True)
class Wish:
    """What somebody wants to subscribe to."""

    plan: Plan
    interval: str
    currency: str
    trial_days: int = 0
    payment_method: str | None = None

    def digest(self) -> str:
        """The same for the same wish."""
        parts = (self.plan.pk, self.interval, self.currency, self.trial_days, self.payment_method)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def lock_name(org_id: int) -> str:
    """Of the lock under which an organization's subscription is fetched and applied."""
    return f"stripe-subscription-{org_id}"


def subscribe(
    *, org_id: int, wish: Wish, actor: Actor, now: datetime
) -> tuple[Subscription, PaymentStep]:
    """The organization has the plan once its first payment, or its trial, is there.

    Asked for again after a failure it goes on where that left it. Raises Conflict where a subscription
    is live or the trial was had, InvalidInput, PaymentDeclined (then nothing is left of it), and
    ServiceUnavailable.
    """
    with held(lock_name(org_id), wait=PATIENCE), keeping_default(org_id=org_id):
        row = _reserve(org_id, wish, now)
        try:
            state, step = _made(row, wish, now)
        except ServiceUnavailable:
            raise
        except DomainError:
            forget(row)
            raise
        if step.status == "requires_payment_method" and state.status == "incomplete":
            gateway.cancel_now(subscription=state.id, prorate=False)
            forget(row)
            raise PaymentDeclined(
                step.message or "The card was declined.",
                decline_code=step.decline_code,
                field="payment_method_id",
            )
        with tenancy.organization(org_id):
            done = apply_subscription(org_id=org_id, state=state, now=now, actor=actor)
        return done or row, step


def _reserve(org_id: int, wish: Wish, now: datetime) -> Subscription:
    """The row that stands for what is being made, which may have stood there before."""
    with tenancy.organization(org_id):
        org = lock_organization(org_id)
        if org.status == OrganizationStatus.CLOSED:
            raise Conflict("The organization is closed.", code="organization_closed")
        live = subscriptions.live_subscription(org_id=org_id)
        if live is not None and live.status == SubscriptionStatus.INCOMPLETE and not live.stripe_id:
            subscriptions.check_trial(org_id=org_id, days=wish.trial_days)
            live.plan, live.interval, live.currency = wish.plan, wish.interval, wish.currency
            subscriptions.save(live, now)
            return live
        subscriptions.check_start(
            org_id=org_id, plan=wish.plan, interval=wish.interval, currency=wish.currency
        )
        subscriptions.check_trial(org_id=org_id, days=wish.trial_days)
        return Subscription.objects.create(
            org_id=org_id,
            plan=wish.plan,
            status=SubscriptionStatus.INCOMPLETE,
            interval=wish.interval,
            currency=wish.currency,
            collection=Collection.STRIPE,
            anchor=now,
            started_at=now,
            current_period_start=now,
            current_period_end=now + subscriptions.MOMENT,
            updated_at=now,
        )


def _made(row: Subscription, wish: Wish, now: datetime) -> tuple[SubscriptionState, PaymentStep]:
    """Stripe's subscription for the row; one that an earlier try left behind is found, not doubled."""
    org_id = row.org_id
    customer = ensure_customer(org_id=org_id, now=now)
    # Paid after all, a page of Checkout would make a second one.
    adjustments.close_checkouts(customer)
    found = take_up(row, customer, now)
    if found is not None:
        return found, gateway.get_payment_step(found.id)
    # What is taxed, and how, has to be there before the first invoice.
    push_details(org_id=org_id, now=now)
    rates = stripe_rates(org_id=org_id, now=now)
    card = None
    if wish.payment_method:
        card = add_payment_method(
            org_id=org_id,
            payment_method=wish.payment_method,
            set_as_default=True,
            wish=f"subscription-{row.pk}",
            now=now,
        ).stripe_id
    return gateway.create_subscription(
        customer=customer,
        price=stripe_price_of(price_row(wish.plan, wish.interval, wish.currency)),
        org_id=org_id,
        our_id=row.pk,
        trial_days=wish.trial_days,
        tax_rates=rates,
        key=f"spoke-subscription-{row.pk}-{wish.digest()}-{card}-{rates}",
    )


def price_row(plan: Plan, interval: str, currency: str) -> PlanPrice:
    """The row of a plan's base price. Raises InvalidInput where none is, or no card pays it."""
    price = subscriptions.price_of(plan, interval, currency)
    if currency in NOT_BY_CARD or price % ROUNDED_FOR_CARDS.get(currency, 1):
        raise InvalidInput(f"This price in {currency} is not collected by card.", field="currency")
    rows = PlanPrice.objects.select_related("plan")
    return rows.get(plan=plan, interval=interval, currency=currency)


def change_plan(
    *, org_id: int, plan: Plan, actor: Actor, now: datetime, interval: str | None = None
) -> Subscription:
    """A dearer plan or a longer interval holds at once and is paid at once, prorated.

    A cheaper plan holds from the end of what is paid for; asking for the plan in force takes that back.
    Raises NotFound, InvalidInput, Conflict, PaymentDeclined (then nothing is changed) and
    ServiceUnavailable.
    """
    with held(lock_name(org_id), wait=PATIENCE):
        state = _heard(org_id, now)
        row, dearer = _intend(org_id, plan, interval, now)
        price = stripe_price_of(price_row(plan, interval or row.interval, row.currency))
        waiting = state.price
        if dearer:
            collect_current(row, state, now)
            state = _restored(row, state)
        if state.price != price:
            try:
                state = gateway.change_price(
                    subscription=state,
                    price=price,
                    prorate=dearer and state.status != "trialing",
                    key=f"spoke-change-{row.pk}-{row.revision}-{price}",
                )
            except ServiceUnavailable:
                raise
            except DomainError:
                _take_back(row, state, waiting, now)
                raise
        return _apply(org_id, state, actor, now)


def _heard(org_id: int, now: datetime) -> SubscriptionState:
    """What Stripe has, which is ours too from now on: a month may have turned that nobody told us of."""
    with tenancy.organization(org_id):
        row = locked(org_id)
    state = gateway.get_subscription(row.stripe_id or "")
    _apply(org_id, state, SYSTEM, now)
    return state


def catch_up(*, org_id: int, now: datetime) -> SubscriptionState:
    """The subscription is as Stripe's, which is returned. Raises NotFound and Conflict as `locked`."""
    with held(lock_name(org_id), wait=PATIENCE):
        return _heard(org_id, now)


def check_change(*, org_id: int, plan: Plan, interval: str | None) -> None:
    """Raises what `change_plan` would before it asks Stripe."""
    with tenancy.organization(org_id):
        is_dearer(locked(org_id), plan, interval)


def is_dearer(row: Subscription, plan: Plan, interval: str | None) -> bool:
    """Whether the change is for something dearer or longer. Raises Conflict and InvalidInput."""
    if row.status == SubscriptionStatus.INCOMPLETE:
        raise Conflict("Its first payment is not made yet.", code="subscription_incomplete")
    if interval == "month" and row.interval == "year":
        raise Conflict(
            "A year that is paid for ends first: cancel, and subscribe by month then.",
            code="interval_change",
        )
    new = subscriptions.price_of(plan, interval or row.interval, row.currency)
    old = subscriptions.price_of(row.plan, row.interval, row.currency)
    return new > old or interval not in (None, row.interval)


def _intend(
    org_id: int, plan: Plan, interval: str | None, now: datetime
) -> tuple[Subscription, bool]:
    """Writes a pending plan before Stripe is asked; says whether the change is for something dearer."""
    with tenancy.organization(org_id):
        row = locked(org_id)
        if is_dearer(row, plan, interval):
            return row, True
        row.pending_plan = None if plan.pk == row.plan_id else plan
        subscriptions.save(row, now)
        return row, False


def _restored(row: Subscription, state: SubscriptionState) -> SubscriptionState:
    """The price in force, where a cheaper one waited: what is given back is what was paid."""
    price = stripe_price_of(price_row(row.plan, row.interval, row.currency))
    if row.pending_plan_id is None or state.price == price:
        return state
    return gateway.change_price(
        subscription=state,
        price=price,
        prorate=False,
        key=f"spoke-restore-{row.pk}-{row.revision}",
    )


def _take_back(row: Subscription, state: SubscriptionState, price: str, now: datetime) -> None:
    """A change that was declined has left nothing; the next try is another one to Stripe too."""
    if state.price != price:
        gateway.change_price(
            subscription=state,
            price=price,
            prorate=False,
            key=f"spoke-take-back-{row.pk}-{row.revision}",
        )
    with tenancy.organization(row.org_id):
        # Stripe keeps the refusal for a day under its key, which is made of the revision.
        subscriptions.save(locked(row.org_id), now)


def cancel(*, org_id: int, immediately: bool, actor: Actor, now: datetime) -> Subscription:
    """It ends with what is paid for, or now, with a credit for what is left unused of what was paid.

    One whose first payment is not made ends at once. Raises NotFound and ServiceUnavailable.
    """
    with held(lock_name(org_id), wait=PATIENCE):
        state = _heard(org_id, now)
        if state.ended_at is not None:
            return _apply(org_id, state, actor, now)
        with tenancy.organization(org_id):
            row = locked(org_id)
        name = row.stripe_id or ""
        if row.status == SubscriptionStatus.INCOMPLETE:
            state = gateway.cancel_now(subscription=name, prorate=False)
        elif immediately:
            # Stripe would give back what is left of a period whether that was paid for or not.
            prorate = is_paid_for(row, state, now)
            if prorate:
                _restored(row, state)
            state = gateway.cancel_now(subscription=name, prorate=prorate)
            copy_credits(customer=state.customer, subscription=name, now=now)
        else:
            state = gateway.set_cancel_at_period_end(subscription=name, cancel=True)
        return _apply(org_id, state, actor, now)


def reactivate(*, org_id: int, actor: Actor, now: datetime) -> Subscription:
    """A cancellation that has not come into force is taken back."""
    with held(lock_name(org_id), wait=PATIENCE):
        with tenancy.organization(org_id):
            row = locked(org_id)
        state = gateway.set_cancel_at_period_end(subscription=row.stripe_id or "", cancel=False)
        return _apply(org_id, state, actor, now)


def refresh(*, subscription: str, customer: str, now: datetime) -> bool:
    """Our subscription is as Stripe's is now; says whether anything changed."""
    org_id = organization_of(customer) or _subscriber(subscription)
    if org_id is None:
        return False
    with held(lock_name(org_id)):
        state = gateway.get_subscription(subscription)
        with tenancy.organization(org_id):
            rows = Subscription.objects.filter(org_id=org_id, stripe_id=subscription)
            before = rows.values_list("revision", flat=True).first()
            apply_subscription(org_id=org_id, state=state, now=now)
            changed = before != rows.values_list("revision", flat=True).first()
        share_card(org_id=org_id, subscription=state)
        return changed


def _subscriber(subscription: str) -> int | None:
    """Whose subscription that is, where the customer was deleted, which ended it."""
    with tenancy.all_organizations(reason="find whose subscription this is"):
        rows = Subscription.objects.filter(stripe_id=subscription)
        return rows.values_list("org_id", flat=True).first()


def end_of_closed(*, org_id: int, now: datetime) -> bool:
    """The subscription of a closed organization has ended at Stripe, without a credit."""
    with held(lock_name(org_id)):
        with tenancy.organization(org_id):
            row = subscriptions.live_subscription(org_id=org_id)
        if row is None or row.collection != Collection.STRIPE or not row.stripe_id:
            return False
        state = gateway.cancel_now(subscription=row.stripe_id, prorate=False)
        _apply(org_id, state, SYSTEM, now)
        return True


def finish_abandoned(*, org_id: int, now: datetime) -> bool:
    """What a request that died left behind is found at Stripe and applied, or forgotten."""
    with held(lock_name(org_id)):
        with tenancy.organization(org_id):
            row = subscriptions.live_subscription(org_id=org_id)
        if row is None or row.stripe_id or row.status != SubscriptionStatus.INCOMPLETE:
            return False
        customer = customer_of(org_id)
        for state in gateway.subscriptions_of(customer) if customer else ():
            if state.metadata.get(gateway.SUBSCRIPTION) == str(row.pk):
                _apply(org_id, state, SYSTEM, now)
                return True
        forget(row)
        return True


def _apply(org_id: int, state: SubscriptionState, actor: Actor, now: datetime) -> Subscription:
    with tenancy.organization(org_id):
        done = apply_subscription(org_id=org_id, state=state, now=now, actor=actor)
    if done is None:
        raise NotFound("There is no subscription.", code="no_subscription")
    return done


def locked(org_id: int) -> Subscription:
    """The subscription that Stripe collects, locked. Raises NotFound, and Conflict for one by hand."""
    lock_organization(org_id)
    row = subscriptions.live_subscription(org_id=org_id)
    if row is None:
        raise NotFound("There is no subscription.", code="no_subscription")
    if row.collection != Collection.STRIPE or not row.stripe_id:
        raise Conflict(
            "The subscription is not collected by card: ask us to change it.",
            code="collected_by_hand",
        )
    return row
