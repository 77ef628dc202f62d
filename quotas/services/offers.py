"""Plans that were made for one organization: on offer to it, and in no catalogue."""

from datetime import datetime

from django.db.models import Q, QuerySet

from orgs.context import Actor
from orgs.services.audit import record_event
from orgs.services.organizations import lock_organization
from quotas.models import Plan, PlanOffer
from spoke.core.errors import NotFound


def plans_for(*, org_id: int) -> "QuerySet[Plan]":
    """The current versions of what an organization may subscribe to: the catalogue, and its offers."""
    offered = PlanOffer.objects.filter(org_id=org_id).values("code")
    return Plan.objects.current().filter(Q(is_public=True) | Q(code__in=offered))


def offer_plan(*, org_id: int, code: str, actor: Actor, now: datetime) -> PlanOffer:
    """The organization may subscribe to the plan's current version; again is nothing. Audited.

    Must run in a transaction. Raises NotFound for a code that no plan has.
    """
    lock_organization(org_id)
    plan = Plan.objects.current().filter(code=code).first()
    if plan is None:
        raise NotFound(f"There is no plan {code!r}.")
    offer, made = PlanOffer.objects.get_or_create(
        org_id=org_id, code=code, defaults={"created_at": now}
    )
    if made:
        _record(org_id, plan, actor, "plan.offered", now)
    return offer


def withdraw_offer(*, org_id: int, code: str, actor: Actor, now: datetime) -> None:
    """The plan is not on offer any more; who has it keeps it. Audited. Must run in a transaction."""
    lock_organization(org_id)
    deleted, _ = PlanOffer.objects.filter(org_id=org_id, code=code).delete()
    plan = Plan.objects.current().filter(code=code).first()
    if deleted and plan is not None:
        _record(org_id, plan, actor, "plan.offer_withdrawn", now)


def _record(org_id: int, plan: Plan, actor: Actor, action: str, now: datetime) -> None:
    record_event(
        org_id=org_id,
        actor=actor,
        action=action,
        now=now,
        target=("plan", plan.pk),
        data={"plan": str(plan)},
    )
