"""The plan catalogue, and which plan an organization has."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Max

from orgs.context import Actor
from orgs.services.audit import record_event
from orgs.services.organizations import lock_organization, set_plan_tier
from quotas.charges import ChargeDefinition, plain, rule_of
from quotas.errors import PlansMissing
from quotas.models import Plan, PlanAssignment, PlanCharge, PlanLimit, PlanPrice, PlanTerm
from quotas.resources import Resource
from spoke.core.periods import Period

# What an organization has that was never given a plan.
DEFAULT_PLAN = "free"


@dataclass(frozen=True)
class LimitDefinition:
    """`limit` None is unlimited; with `overage` more is allowed and billed."""

    limit: int | None
    overage: bool = False


@dataclass(frozen=True, kw_only=True)
class PlanDefinition:
    """Everything that makes a version of a plan.

    `prices` in minor units by (currency, interval); `charges` by (resource, currency).
    """

    code: str
    name: str
    limits: Mapping[Resource, LimitDefinition]
    description: str = ""
    is_public: bool = True
    position: int = 0
    prices: Mapping[tuple[str, str], int] = field(default_factory=dict)
    charges: Mapping[tuple[Resource, str], ChargeDefinition] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """The definition as flat names and plain values, for comparing."""
        facts: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "public": self.is_public,
            "position": self.position,
        }
        for resource, limit in self.limits.items():
            facts[f"limits.{resource}"] = "unlimited" if limit.limit is None else limit.limit
            facts[f"overage.{resource}"] = limit.overage
        for (currency, interval), amount in self.prices.items():
            facts[f"prices.{currency}.{interval}"] = amount
        for (resource, currency), charge in self.charges.items():
            prefix = f"charges.{resource}.{currency}"
            facts[f"{prefix}.unit"] = f"{charge.unit_size} ({charge.unit})"
            facts[f"{prefix}.included"] = charge.included
            facts[f"{prefix}.unit_amount"] = plain(charge.unit_amount)
            # What a charge per unit lacks is left out: its facts are what they were before it.
            if charge.model != "per_unit":
                facts[f"{prefix}.model"] = charge.model
            if charge.tiers:
                facts[f"{prefix}.tiers"] = tiers_as_json(charge)
            for bound in ("minimum", "maximum"):
                if (amount_of := getattr(charge, bound)) is not None:
                    facts[f"{prefix}.{bound}"] = plain(amount_of)
        return facts

    @property
    def digest(self) -> str:
        """SHA-256 of the definition; equal for equal definitions."""
        text = json.dumps([self.code, self.facts()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def definition_of(plan: Plan) -> PlanDefinition:
    """The definition that a published version was made from."""
    return PlanDefinition(
        code=plan.code,
        name=plan.name,
        description=plan.description,
        is_public=plan.is_public,
        position=plan.position,
        limits={
            Resource(row.resource): LimitDefinition(row.limit, row.overage)
            for row in plan.limits.all()
        },
        prices={(row.currency, row.interval): row.amount_minor for row in plan.prices.all()},
        charges={
            (Resource(row.resource), row.currency): row.definition for row in plan.charges.all()
        },
    )


def tiers_as_json(charge: ChargeDefinition) -> list[dict[str, str | None]]:
    """The tiers of a charge as they are stored."""
    return [
        {
            "up_to": None if tier.up_to is None else plain(tier.up_to),
            "unit_amount": plain(tier.unit_amount),
            "flat_amount": plain(tier.flat_amount),
        }
        for tier in charge.tiers
    ]


def unpriced_overage(definition: PlanDefinition) -> tuple[Resource, str] | None:
    """A (resource, currency) of which more than the limit is allowed and would be free."""
    for resource, limit in definition.limits.items():
        for currency in sorted({currency for currency, _ in definition.prices}):
            if limit.overage and (resource, currency) not in definition.charges:
                return resource, currency
    return None


def changes_to(*, definition: PlanDefinition) -> list[str] | None:
    """What publishing would change, one line a fact; empty: nothing; None: the plan is new."""
    plan = Plan.objects.current().filter(code=definition.code).first()
    if plan is None:
        return None
    old, new = definition_of(plan).facts(), definition.facts()
    return [
        f"{name}: {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name, "absent") != new.get(name, "absent")
    ]


def lock_catalogue() -> None:
    """Makes publishers take turns until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('quotas.plan_catalogue'))")


@transaction.atomic
def publish_plan(*, definition: PlanDefinition, now: datetime) -> Plan:
    """Publishes a new version when the definition differs from the current one, which it supersedes.

    Existing assignments keep their version. Raises ValueError when a resource has no limit, or a charge
    makes no sense.
    """
    if missing := set(Resource) - set(definition.limits):
        raise ValueError(f"plan {definition.code}: no limit for {', '.join(sorted(missing))}")
    for (_, currency), charge in definition.charges.items():
        rule_of(charge, currency)
    lock_catalogue()
    versions = Plan.objects.filter(code=definition.code)
    current = versions.current().first()
    if current is not None and current.digest == definition.digest:
        return current
    versions.current().update(superseded_at=now)
    newest = versions.aggregate(newest=Max("version"))["newest"] or 0
    plan = Plan.objects.create(
        code=definition.code,
        version=newest + 1,
        name=definition.name,
        description=definition.description,
        is_public=definition.is_public,
        position=definition.position,
        digest=definition.digest,
        created_at=now,
    )
    _write_parts(plan, definition)
    return plan


def _write_parts(plan: Plan, definition: PlanDefinition) -> None:
    PlanLimit.objects.bulk_create(
        PlanLimit(plan=plan, resource=resource, limit=limit.limit, overage=limit.overage)
        for resource, limit in definition.limits.items()
    )
    PlanPrice.objects.bulk_create(
        PlanPrice(plan=plan, currency=currency, interval=interval, amount_minor=amount)
        for (currency, interval), amount in definition.prices.items()
    )
    PlanCharge.objects.bulk_create(
        PlanCharge(
            plan=plan,
            resource=resource,
            currency=currency,
            unit=charge.unit,
            unit_size=charge.unit_size,
            included=charge.included,
            unit_amount=charge.unit_amount,
            model=charge.model,
            tiers=tiers_as_json(charge),
            minimum=charge.minimum,
            maximum=charge.maximum,
        )
        for (resource, currency), charge in definition.charges.items()
    )


def plan_of(*, org_id: int) -> Plan:
    """The plan version an organization has: the one assigned, else the current free plan.

    Raises PlansMissing when the catalogue was never seeded.
    """
    assignment = PlanAssignment.objects.select_related("plan").filter(org_id=org_id).first()
    if assignment is not None:
        return assignment.plan
    plan = Plan.objects.current().filter(code=DEFAULT_PLAN).first()
    if plan is None:
        raise PlansMissing
    return plan


@dataclass(frozen=True)
class Term:
    """From `start` on the organization has this plan version."""

    plan: Plan
    start: datetime


def plan_terms(*, org_id: int, period: Period) -> list[Term]:
    """Which plan versions an organization has over a period, in order; the first from its start on.

    Before anything was assigned it had the default plan: the version current at the period's start.
    Raises PlansMissing when the catalogue was never seeded.
    """
    rows = PlanTerm.objects.select_related("plan").filter(org_id=org_id, start__lt=period.end)
    rows = rows.order_by("start")
    before = rows.filter(start__lte=period.start).last()
    first = before.plan if before else _default_plan_at(period.start)
    within = rows.filter(start__gt=period.start)
    return [Term(first, period.start), *(Term(row.plan, row.start) for row in within)]


def _default_plan_at(at: datetime) -> Plan:
    versions = Plan.objects.filter(code=DEFAULT_PLAN)
    of_then = versions.filter(created_at__lte=at).order_by("-version").first()
    plan = of_then or versions.order_by("version").first()
    if plan is None:
        raise PlansMissing
    return plan


def assign_plan(*, org_id: int, plan: Plan, actor: Actor, now: datetime) -> PlanAssignment:
    """Gives an organization a plan version, at once; assigning the same again changes nothing.

    Must run in a scope that sees the organization. Raises Organization.DoesNotExist otherwise.
    """
    lock_organization(org_id)
    assignment = PlanAssignment.objects.select_related("plan").filter(org_id=org_id).first()
    if assignment is not None and assignment.plan_id == plan.pk:
        return assignment
    before = assignment.plan if assignment else None
    assignment, _ = PlanAssignment.objects.update_or_create(
        org_id=org_id, defaults={"plan": plan, "assigned_at": now}
    )
    PlanTerm.objects.update_or_create(org_id=org_id, start=now, defaults={"plan": plan})
    set_plan_tier(org_id=org_id, plan_tier=plan.code, now=now)
    record_event(
        org_id=org_id,
        actor=actor,
        action="plan.assigned",
        now=now,
        target=("plan", plan.pk),
        data={"old": str(before) if before else DEFAULT_PLAN, "new": str(plan)},
    )
    return assignment
