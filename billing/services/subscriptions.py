"""Subscriptions that are collected by hand: started, changed and ended by staff.

A plan's limits hold from the same moment on. Starting and ending begin a new period of usage; a change
of plan keeps it and is prorated on its invoice.
"""

from datetime import datetime, timedelta

from django.db.models import F, Q

from billing.models import Collection, Subscription, SubscriptionStatus
from orgs.context import SYSTEM, Actor
from orgs.models import Organization, OrganizationStatus
from orgs.services.audit import record_event
from orgs.services.organizations import lock_organization
from quotas.models import Plan, PlanPrice
from quotas.services.periods import restart_period
from quotas.services.plans import DEFAULT_PLAN, assign_plan
from spoke.core import tenancy
from spoke.core.errors import Conflict, InvalidInput, NotFound
from spoke.core.periods import Interval, period_containing

# The shortest period that can be stored, of a subscription whose period Stripe has yet to say.
MOMENT = timedelta(microseconds=1)


def live_subscription(*, org_id: int) -> Subscription | None:
    """The subscription that has not ended."""
    rows = Subscription.objects.select_related("plan", "pending_plan")
    return rows.filter(org_id=org_id, ended_at__isnull=True).first()


def start_subscription(
    *,
    org_id: int,
    plan: Plan,
    interval: Interval,
    currency: str,
    actor: Actor,
    now: datetime,
    trial_days: int = 0,
) -> Subscription:
    """The organization has the plan from now on, and its months or years are counted from here.

    With a trial they are counted from its end, and nothing before is billed. Must run in a transaction.
    Raises Conflict where a subscription is live or the organization closed, and InvalidInput for a plan
    without such a price.
    """
    lock_organization(org_id)
    check_start(org_id=org_id, plan=plan, interval=interval, currency=currency)
    trial_end = now + timedelta(days=trial_days) if trial_days else None
    anchor = trial_end or now
    end = trial_end or period_containing(anchor=anchor, interval=interval, at=now).end
    subscription = Subscription.objects.create(
        org_id=org_id,
        plan=plan,
        status=SubscriptionStatus.TRIALING if trial_end else SubscriptionStatus.ACTIVE,
        interval=interval,
        currency=currency,
        anchor=anchor,
        started_at=now,
        trial_start=now if trial_end else None,
        trial_end=trial_end,
        current_period_start=now,
        current_period_end=end,
        updated_at=now,
    )
    restart_period(org_id=org_id, anchor=anchor, now=now)
    assign_plan(org_id=org_id, plan=plan, actor=actor, now=now)
    record(subscription, actor, "subscription.started", now)
    return subscription


def check_start(*, org_id: int, plan: Plan, interval: str, currency: str) -> None:
    """Raises what starting such a subscription now would."""
    if Organization.objects.filter(pk=org_id, status=OrganizationStatus.CLOSED).exists():
        raise Conflict("The organization is closed.", code="organization_closed")
    if live_subscription(org_id=org_id) is not None:
        raise Conflict("There is a subscription already: change it.", code="subscription_exists")
    price_of(plan, interval, currency)


def check_trial(*, org_id: int, days: int) -> None:
    """Raises Conflict for a second trial: an organization has one, more are for staff to give."""
    if days and Subscription.objects.filter(org_id=org_id, trial_end__isnull=False).exists():
        raise Conflict(
            "The organization has had its trial.", code="trial_used", field="trial_period_days"
        )


def change_plan(*, org_id: int, plan: Plan, actor: Actor, now: datetime) -> Subscription:
    """A dearer plan holds at once, a cheaper one from the end of what is paid for.

    Asking for the plan in force takes a pending change back. Must run in a transaction. Raises NotFound
    without a live subscription, and InvalidInput for a plan without a price in its currency.
    """
    subscription = _locked(org_id)
    interval, currency = subscription.interval, subscription.currency
    new = price_of(plan, interval, currency)
    old = price_of(subscription.plan, interval, currency)
    if plan.pk == subscription.plan_id:
        subscription.pending_plan = None
    elif new >= old:
        subscription.plan, subscription.pending_plan = plan, None
        assign_plan(org_id=org_id, plan=plan, actor=actor, now=now)
    else:
        subscription.pending_plan = plan
    save(subscription, now)
    record(subscription, actor, "subscription.changed", now)
    return subscription


def cancel_subscription(
    *, org_id: int, immediately: bool, actor: Actor, now: datetime, reason: str = ""
) -> Subscription:
    """It ends now, or with what is paid for; then the organization has the default plan. Audited.

    Must run in a transaction. Raises NotFound without a live subscription.
    """
    subscription = _locked(org_id)
    subscription.canceled_at = subscription.canceled_at or now
    if immediately:
        return end_subscription(subscription, actor, now, reason=reason)
    subscription.cancel_at_period_end = True
    save(subscription, now)
    record(subscription, actor, "subscription.cancel_requested", now, reason=reason)
    return subscription


def reactivate_subscription(*, org_id: int, actor: Actor, now: datetime) -> Subscription:
    """A cancellation that has not come into force is taken back; without one nothing changes.

    Must run in a transaction. Raises NotFound without a live subscription.
    """
    subscription = _locked(org_id)
    if not subscription.cancel_at_period_end:
        return subscription
    subscription.cancel_at_period_end, subscription.canceled_at = False, None
    save(subscription, now)
    record(subscription, actor, "subscription.reactivated", now)
    return subscription


def due_subscriptions(*, now: datetime) -> list[int]:
    """Whose subscription by hand has come to the end of a month, year or trial, or who has closed."""
    over = Q(current_period_end__lte=now) | Q(org__status=OrganizationStatus.CLOSED)
    with tenancy.all_organizations(reason="find subscriptions to renew"):
        by_hand = Subscription.objects.filter(collection=Collection.MANUAL)
        due = by_hand.filter(over, ended_at__isnull=True)
        return list(due.order_by("current_period_end").values_list("org_id", flat=True))


def turn_subscription(*, org_id: int, now: datetime) -> bool:
    """What was due at the end of the current month, year or trial has happened, as of that end, once.

    It ends, takes its pending plan, or goes on; that of a closed organization ends when it closed. Says
    whether anything was due. One step a call: a subscription that is several months behind is found
    again. Must run in a transaction.
    """
    org = lock_organization(org_id)
    subscription = live_subscription(org_id=org_id)
    if subscription is None or subscription.collection != Collection.MANUAL:
        return False
    at = subscription.current_period_end
    if org.closed_at is not None and org.closed_at < at:
        end_subscription(
            subscription, SYSTEM, max(org.closed_at, subscription.current_period_start)
        )
        return True
    if at > now:
        return False
    if subscription.cancel_at_period_end:
        end_subscription(subscription, SYSTEM, at)
        return True
    if subscription.pending_plan is not None:
        subscription.plan, subscription.pending_plan = subscription.pending_plan, None
        assign_plan(org_id=org_id, plan=subscription.plan, actor=SYSTEM, now=at)
    interval: Interval = "year" if subscription.interval == "year" else "month"
    following = period_containing(anchor=subscription.anchor, interval=interval, at=at)
    subscription.status = SubscriptionStatus.ACTIVE
    subscription.current_period_start, subscription.current_period_end = at, following.end
    save(subscription, now)
    record(subscription, SYSTEM, "subscription.renewed", now)
    return True


def end_subscription(
    subscription: Subscription, actor: Actor, at: datetime, *, reason: str = ""
) -> Subscription:
    """A subscription that the caller holds locked ends; its organization has the default plan."""
    subscription.status, subscription.ended_at = SubscriptionStatus.CANCELED, at
    subscription.canceled_at = subscription.canceled_at or at
    subscription.pending_plan = None
    save(subscription, at)
    restart_period(org_id=subscription.org_id, anchor=None, now=at)
    default = Plan.objects.current().get(code=DEFAULT_PLAN)
    assign_plan(org_id=subscription.org_id, plan=default, actor=actor, now=at)
    record(subscription, actor, "subscription.ended", at, reason=reason)
    return subscription


def _locked(org_id: int) -> Subscription:
    lock_organization(org_id)
    subscription = live_subscription(org_id=org_id)
    if subscription is None:
        raise NotFound("There is no subscription.", code="no_subscription")
    if subscription.collection != Collection.MANUAL:
        raise Conflict("The subscription is collected by Stripe.", code="collected_by_stripe")
    return subscription


def price_of(plan: Plan, interval: str, currency: str) -> int:
    """The plan's base price, in minor units. Raises InvalidInput for one that has none.

    It may be 0 where a plan costs what is used of it, but nobody subscribes to what all have.
    """
    prices = PlanPrice.objects.filter(plan=plan, interval=interval, currency=currency)
    price = prices.values_list("amount_minor", flat=True).first()
    if price is None or plan.code == DEFAULT_PLAN:
        raise InvalidInput(
            f"The plan {plan.code} has no price by {interval} in {currency}.", field="plan"
        )
    return price


def save(subscription: Subscription, now: datetime) -> None:
    """Writes a subscription that the caller holds locked, as its next revision."""
    subscription.updated_at = now
    subscription.revision = F("revision") + 1
    subscription.save()
    subscription.refresh_from_db(fields=["revision"])


def record(
    subscription: Subscription, actor: Actor, action: str, now: datetime, *, reason: str = ""
) -> None:
    """Tells the audit log what became of a subscription, and why where that was said."""
    pending = subscription.pending_plan
    record_event(
        org_id=subscription.org_id,
        actor=actor,
        action=action,
        now=now,
        target=("subscription", subscription.pk),
        data={
            "plan": str(subscription.plan),
            "interval": subscription.interval,
            "currency": subscription.currency,
            "pending_plan": str(pending) if pending else None,
            "current_period_end": subscription.current_period_end.isoformat(),
            **({"reason": reason} if reason else {}),
        },
    )
