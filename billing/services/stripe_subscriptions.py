"""What Stripe says of a subscription becomes ours: limits, periods and status follow at once."""

from datetime import datetime

import structlog

from billing.models import Collection, StripePrice, Subscription, SubscriptionStatus
from billing.services import subscriptions
from billing.services.arrears import release
from billing.stripe.gateway import SUBSCRIPTION
from billing.stripe.translate import SubscriptionState
from orgs.context import SYSTEM, Actor
from orgs.services.organizations import lock_organization
from quotas.models import Plan, PlanPrice
from quotas.services.periods import current_period, move_period, restart_period
from quotas.services.plans import assign_plan

logger = structlog.get_logger(__name__)
STATUSES = {
    "incomplete": SubscriptionStatus.INCOMPLETE,
    "incomplete_expired": SubscriptionStatus.CANCELED,
    "trialing": SubscriptionStatus.TRIALING,
    "active": SubscriptionStatus.ACTIVE,
    "past_due": SubscriptionStatus.PAST_DUE,
    "unpaid": SubscriptionStatus.PAST_DUE,
    "paused": SubscriptionStatus.PAST_DUE,
    "canceled": SubscriptionStatus.CANCELED,
}
GRANTING = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE)


def apply_subscription(
    *, org_id: int, state: SubscriptionState, now: datetime, actor: Actor = SYSTEM
) -> Subscription | None:
    """Our subscription is as Stripe's; None where there is nothing to do with it.

    `state` was fetched while the caller held the object's lock, so that nothing newer is undone. The
    same again changes nothing. Must run in a transaction.
    """
    lock_organization(org_id)
    row = _row_of(org_id, state)
    price = _price_of(state)
    if row is None:
        row = _adopted(org_id, state, price, now)
        if row is None:
            return None
    if row.ended_at is not None:
        return row
    before = _seen(row)
    status = STATUSES[state.status]
    granted = before["status"] in GRANTING
    row.stripe_id, row.currency = state.id, state.currency
    row.trial_start, row.trial_end, row.anchor = state.trial_start, state.trial_end, state.anchor
    row.cancel_at_period_end, row.canceled_at = state.cancel_at_period_end, state.canceled_at
    if status == SubscriptionStatus.CANCELED:
        return _ended(row, granted, actor, state, now)
    _set_status(row, status, now)
    turned = state.period_start > row.current_period_start
    row.current_period_start, row.current_period_end = state.period_start, state.period_end
    if status in GRANTING:
        # What Stripe began is a moment later than who asked for it: the time between is no period.
        began = max(now, state.period_start)
        _grant(row, price, granted=granted, turned=turned, actor=actor, now=began)
        if granted and (row.interval, row.anchor) != (before["interval"], before["anchor"]):
            _move_usage(row, turned=turned, now=began)
    if _seen(row) == before:
        return row
    subscriptions.save(row, now)
    if before["status"] != status:
        subscriptions.record(row, actor, f"subscription.{status}", now)
    release(org_id=org_id, actor=actor, now=now)
    return row


def _row_of(org_id: int, state: SubscriptionState) -> Subscription | None:
    rows = Subscription.objects.select_for_update().filter(org_id=org_id)
    found = rows.filter(stripe_id=state.id).first()
    ours = state.metadata.get(SUBSCRIPTION, "")
    if found is None and ours.isdigit():
        found = rows.filter(pk=int(ours), stripe_id__isnull=True).first()
    return found


def _price_of(state: SubscriptionState) -> PlanPrice | None:
    rows = StripePrice.objects.select_related("price__plan").filter(stripe_id=state.price)
    known = rows.first()
    return known.price if known else None


def _adopted(
    org_id: int, state: SubscriptionState, price: PlanPrice | None, now: datetime
) -> Subscription | None:
    """A row for a subscription that began at Stripe: at Checkout, or by staff in its dashboard."""
    if STATUSES[state.status] == SubscriptionStatus.CANCELED:
        return None
    if price is None or subscriptions.live_subscription(org_id=org_id) is not None:
        # It is paid for and gives nothing: only staff know which one is to end.
        logger.error("stripe.second_subscription", subscription=state.id, org_id=org_id)
        return None
    return Subscription.objects.create(
        org_id=org_id,
        plan=price.plan,
        status=SubscriptionStatus.INCOMPLETE,
        interval=price.interval,
        currency=price.currency,
        collection=Collection.STRIPE,
        stripe_id=state.id,
        anchor=state.anchor,
        started_at=now,
        trial_start=state.trial_start,
        trial_end=state.trial_end,
        current_period_start=state.period_start,
        current_period_end=state.period_end,
        updated_at=now,
    )


def _seen(row: Subscription) -> dict[str, object]:
    names = (
        *("status", "plan_id", "pending_plan_id", "interval", "currency", "stripe_id", "anchor"),
        *("trial_start", "trial_end", "current_period_start", "current_period_end"),
        *("cancel_at_period_end", "canceled_at", "ended_at", "past_due_since"),
    )
    return {name: getattr(row, name) for name in names}


def _set_status(row: Subscription, status: SubscriptionStatus, now: datetime) -> None:
    row.status = status
    if status == SubscriptionStatus.PAST_DUE:
        row.past_due_since = row.past_due_since or now
    else:
        row.past_due_since = None


def _grant(
    row: Subscription,
    price: PlanPrice | None,
    *,
    granted: bool,
    turned: bool,
    actor: Actor,
    now: datetime,
) -> None:
    """The organization has the plan that Stripe bills; a cheaper one waits for the period's end."""
    plan: Plan = price.plan if price else row.plan
    if not granted:
        row.plan, row.started_at = plan, now
        row.interval = price.interval if price else row.interval
        restart_period(org_id=row.org_id, anchor=row.anchor, now=now)
        assign_plan(org_id=row.org_id, plan=plan, actor=actor, now=now)
        return
    if price is not None and plan.pk == row.plan_id:
        # Stripe will bill the plan in force: what was to take its place was never asked for there.
        row.pending_plan = None
    # With another interval it was asked for anew, and holds at once.
    longer = price is not None and price.interval != row.interval
    waits = row.pending_plan_id == plan.pk and not turned and not longer
    if plan.pk != row.plan_id and not waits:
        row.plan, row.pending_plan = plan, None
        assign_plan(org_id=row.org_id, plan=plan, actor=actor, now=now)
    if price is not None:
        row.interval = price.interval


def _move_usage(row: Subscription, *, turned: bool, now: datetime) -> None:
    """Usage is counted by the same months as what Stripe bills, wherever they were moved to.

    Where Stripe began a period, as with another interval, a trial that was ended or added, or another
    billing anchor, another of usage begins; where it only moved the end of one, as with a longer trial,
    so do we. What was counted stays in the period in which it was.
    """
    if turned:
        restart_period(org_id=row.org_id, anchor=row.anchor, now=now)
    else:
        move_period(org_id=row.org_id, anchor=row.anchor, now=now)


def _ended(
    row: Subscription, granted: bool, actor: Actor, state: SubscriptionState, now: datetime
) -> Subscription:
    if granted:
        done = subscriptions.end_subscription(row, actor, _end_of(row.org_id, state, now))
        release(org_id=row.org_id, actor=actor, now=now)
        return done
    row.status, row.ended_at = SubscriptionStatus.CANCELED, state.ended_at or now
    # It never began: no period was its own, and none is billed in its currency or to its card.
    row.started_at = row.ended_at
    subscriptions.save(row, now)
    return row


def _end_of(org_id: int, state: SubscriptionState, now: datetime) -> datetime:
    """When the plan is over: when Stripe ended it, or with the last period of usage before now.

    A period that begins with the end and goes on until somebody hears of it would be billed again for
    what is stored.
    """
    if state.ended_at is None:
        return now
    return min(now, max(state.ended_at, current_period(org_id=org_id, now=now).start))
