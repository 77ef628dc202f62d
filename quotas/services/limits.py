"""What an organization may use: an unexpired override, else the limit of its plan."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.db import connection
from django.db.models import Q

from orgs.context import Actor
from orgs.services.audit import record_event
from orgs.services.organizations import lock_organization
from quotas.errors import PlansMissing
from quotas.models import LimitOverride, PlanLimit, QuotaSettings
from quotas.resources import LIMIT_FIELDS, Resource
from quotas.services.plans import DEFAULT_PLAN, plan_of
from spoke.core.database import is_same_json
from spoke.core.errors import InvalidInput

MAX_BIGINT = 2**63 - 1

# A common table `effective` of one row: `bound` is the limit (null: unlimited), `cap` the level that
# nothing passes. An override is a hard limit even where the plan allows overage: staff who set a
# number mean it. Where a budget may block overage nothing passes, and `blockable` says so, unless the
# caller has locked the budget and says that it is `guarded`. No row: the catalogue was never seeded.
EFFECTIVE = f"""
effective AS (
    SELECT bound, blockable,
           CASE WHEN blockable AND NOT %(guarded)s THEN -1
                WHEN overage THEN {MAX_BIGINT}
                ELSE COALESCE(bound, {MAX_BIGINT}) END AS cap
    FROM (
        SELECT CASE WHEN o.id IS NULL THEN l."limit" ELSE o."limit" END AS bound,
               o.id IS NULL AND l.overage AS overage,
               o.id IS NULL AND l.overage AND EXISTS (
                   SELECT FROM quotas_budget WHERE org_id = %(org_id)s AND action = 'block'
               ) AS blockable
        FROM quotas_planlimit l
        LEFT JOIN quotas_limitoverride o
            ON o.org_id = %(org_id)s AND o.resource = l.resource
            AND (o.expires_at IS NULL OR o.expires_at > %(now)s)
        WHERE l.resource = %(resource)s AND l.plan_id = COALESCE(
            (SELECT plan_id FROM quotas_planassignment WHERE org_id = %(org_id)s),
            (SELECT id FROM quotas_plan WHERE code = '{DEFAULT_PLAN}' AND superseded_at IS NULL)
        )
    ) AS found
)
"""  # noqa: S608 - constants only


@dataclass(frozen=True)
class EffectiveLimit:
    """`limit` None is unlimited. With `overage` more is allowed and billed."""

    limit: int | None
    overage: bool
    source: Literal["plan", "override"]
    expires_at: datetime | None = None


def effective_limits(*, org_id: int, now: datetime) -> dict[Resource, EffectiveLimit]:
    """Every limit in force, with where it comes from. Raises PlansMissing before seeding."""
    plan = plan_of(org_id=org_id)
    limits = {
        Resource(row.resource): EffectiveLimit(row.limit, row.overage, "plan")
        for row in PlanLimit.objects.filter(plan=plan)
    }
    for row in LimitOverride.objects.filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=now), org_id=org_id
    ):
        limits[Resource(row.resource)] = EffectiveLimit(
            row.limit, False, "override", row.expires_at
        )
    return {resource: limits[resource] for resource in Resource}


def effective_limit(*, org_id: int, resource: Resource, now: datetime) -> int | None:
    """One limit in force; None is unlimited. Raises PlansMissing before seeding."""
    return limit_and_block(org_id=org_id, resource=resource, now=now)[0]


def limit_and_block(*, org_id: int, resource: Resource, now: datetime) -> tuple[int | None, bool]:
    """One limit in force (None is unlimited), and whether a budget may block what passes it.

    Raises PlansMissing before seeding.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH {EFFECTIVE} SELECT bound, blockable FROM effective",  # noqa: S608
            {"org_id": org_id, "resource": resource.value, "now": now, "guarded": False},
        )
        row = cursor.fetchone()
    if row is None:
        raise PlansMissing
    return row[0], row[1]


def lock_settings(*, org_id: int, now: datetime) -> QuotaSettings:
    """The organization's quota settings, made where missing, locked until the transaction ends.

    Every change of its limits takes this lock first. Raises Organization.DoesNotExist.
    """
    lock_organization(org_id)
    settings, _ = QuotaSettings.objects.get_or_create(org_id=org_id, defaults={"updated_at": now})
    return settings


def set_overrides(
    *,
    org_id: int,
    actor: Actor,
    now: datetime,
    limits: Mapping[Resource, int | None] | None = None,
    reset: Collection[Resource] = (),
    custom_settings: dict[str, Any] | None = None,
    expires_at: datetime | None = None,
    reason: str = "",
) -> QuotaSettings:
    """Sets and removes an organization's overrides; only what is named changes. Audited.

    `limits` None is unlimited; `expires_at` and `reason` go with the limits set. Raises InvalidInput
    when `expires_at` is past or has no limit to go with, or a limit is both set and reset.
    """
    limits = limits or {}
    _check(limits, reset, expires_at, now)
    settings = lock_settings(org_id=org_id, now=now)
    rows = {Resource(row.resource): row for row in LimitOverride.objects.filter(org_id=org_id)}
    wanted = {resource: row for resource, row in rows.items() if resource not in reset}
    for resource, limit in limits.items():
        wanted[resource] = LimitOverride(
            org_id=org_id,
            resource=resource,
            limit=limit,
            reason=reason,
            expires_at=expires_at,
            created_at=now,
        )
    old, new = {}, {}
    for resource in Resource:
        before, after = _facts(rows.get(resource)), _facts(wanted.get(resource))
        if before != after:
            LimitOverride.objects.filter(org_id=org_id, resource=resource).delete()
            if resource in wanted:
                wanted[resource].save(force_insert=True)
            old[LIMIT_FIELDS[resource]], new[LIMIT_FIELDS[resource]] = before, after
    if custom_settings is not None and not is_same_json(custom_settings, settings.custom_settings):
        old["custom_settings"], new["custom_settings"] = settings.custom_settings, custom_settings
        settings.custom_settings = custom_settings
    if not new:
        return settings
    settings.revision += 1
    settings.updated_at = now
    settings.save()
    record_event(
        org_id=org_id,
        actor=actor,
        action="quotas.changed",
        now=now,
        target=("organization", org_id),
        data={"old": old, "new": new, "reason": reason},
    )
    return settings


def _facts(row: LimitOverride | None) -> dict[str, Any] | None:
    """An override as the audit log keeps it; None: the plan's limit holds."""
    if row is None:
        return None
    expires_at = row.expires_at.isoformat() if row.expires_at else None
    return {"limit": row.limit, "expires_at": expires_at, "reason": row.reason}


def _check(
    limits: Mapping[Resource, int | None],
    reset: Collection[Resource],
    expires_at: datetime | None,
    now: datetime,
) -> None:
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("The expiry must lie in the future.", field="expires_at")
    if expires_at is not None and not limits:
        raise InvalidInput("An expiry goes with a limit that is set.", field="expires_at")
    if both := [LIMIT_FIELDS[resource] for resource in reset if resource in limits]:
        raise InvalidInput(f"Set and reset at once: {', '.join(both)}.", field="reset")
