"""What an organization lets a period's overage cost, and holding reservations to it.

Whoever reserves what could cost something under a blocking budget holds the budget's row until the end
of the transaction. So one at a time sees what all before it cost, and nothing is estimated: the
reservation is made, the period is rated, and both are undone where the sum is too high. It takes the
budget's lock after gauges of modules and versions, before storage and compile jobs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import transaction

from orgs.context import Actor
from orgs.services.audit import record_event
from orgs.services.organizations import lock_organization
from quotas.errors import BudgetExceeded
from quotas.models import Budget, BudgetAction, PlanCharge, PlanPrice
from quotas.resources import Resource
from quotas.services.plans import plan_of
from quotas.services.spend import current_spend
from spoke.core.errors import InvalidInput

DEFAULT_CURRENCY = "usd"


@contextmanager
def within_budget(*, org_id: int, resource: Resource, now: datetime) -> Iterator[None]:
    """What is reserved inside stands only if it costs nothing more, or all fits the budget.

    Whatever runs at once, to the minor unit. Raises BudgetExceeded, having undone what was done inside.
    """
    with transaction.atomic():
        blocking = Budget.objects.filter(org_id=org_id, action=BudgetAction.BLOCK)
        budget = blocking.select_for_update().first()
        if budget is None:
            yield
            return
        before = current_spend(org_id=org_id, currency=budget.currency, now=now)
        yield
        after = current_spend(org_id=org_id, currency=budget.currency, now=now)
        if after.total_minor > budget.amount_minor and after.of(resource) > before.of(resource):
            raise BudgetExceeded(
                org_id=org_id,
                resource=resource,
                budget_minor=budget.amount_minor,
                cost_minor=after.total_minor,
                currency=budget.currency,
            )


def lock_budget(*, org_id: int) -> Budget | None:
    """The organization's budget, locked with the organization until the transaction ends."""
    lock_organization(org_id)
    return Budget.objects.select_for_update().filter(org_id=org_id).first()


def billed_in(*, org_id: int, subscribed_in: str | None) -> str | None:
    """The currency in which overage is billed; None: the plan has none, and the next may have any.

    `subscribed_in` is the live subscription's. Without one staff gave the plan, and bill in dollars.
    """
    if subscribed_in is not None:
        return subscribed_in
    charged = PlanCharge.objects.filter(plan=plan_of(org_id=org_id)).exists()
    return DEFAULT_CURRENCY if charged else None


def set_budget(
    *,
    org_id: int,
    actor: Actor,
    amount_minor: int | None,
    currency: str,
    action: BudgetAction,
    now: datetime,
    subscribed_in: str | None = None,
) -> Budget | None:
    """Each period's overage is capped at `amount_minor` minor units; None takes the cap away. Audited.

    `subscribed_in` as in `billed_in`. Raises InvalidInput for a currency that no plan is priced in, or
    another than overage is billed in: that would never be reached.
    """
    if not PlanPrice.objects.filter(currency=currency).exists():
        raise InvalidInput("No plan has prices in this currency.", field="currency")
    budget = lock_budget(org_id=org_id)
    billed = billed_in(org_id=org_id, subscribed_in=subscribed_in)
    if amount_minor is not None and billed not in (None, currency):
        raise InvalidInput(
            f"Overage is billed in {billed}: a budget in {currency} would never be reached.",
            field="currency",
        )
    old = _facts(budget)
    if amount_minor is None:
        budget = None
    else:
        budget = budget or Budget(org_id=org_id)
        budget.amount_minor, budget.currency, budget.action = amount_minor, currency, action
        budget.updated_at = now
    if _facts(budget) == old:
        return budget
    if budget is None:
        Budget.objects.filter(org_id=org_id).delete()
    else:
        budget.save()
    record_event(
        org_id=org_id,
        actor=actor,
        action="budget.changed",
        now=now,
        target=("organization", org_id),
        data={"old": old, "new": _facts(budget)},
    )
    return budget


def _facts(budget: Budget | None) -> dict[str, object] | None:
    if budget is None:
        return None
    return {
        "amount_cents": budget.amount_minor,
        "currency": budget.currency,
        "action": str(budget.action),
    }
