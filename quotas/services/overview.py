"""An organization's limits and usage as they are shown: figures gathered from everywhere, once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.exceptions import RedisError

from quotas.models import QuotaSettings, UsagePeriod
from quotas.resources import LIMIT_FIELDS, UNITS, USAGE_FIELDS, Resource
from quotas.services import flush, rate_limit, usage
from quotas.services.limits import effective_limits
from quotas.services.periods import current_period
from quotas.services.plans import plan_of


@dataclass(frozen=True)
class Counted:
    """What Valkey knows: the requests of the last hour (None: it is away), and those not flushed."""

    last_hour: int | None
    pending: Mapping[str, Mapping[datetime, int]]


def read_counted(*, org_id: int, now: datetime) -> Counted:
    """Asks Valkey; call it before a transaction opens. What it cannot say is left out."""
    last_hour = rate_limit.requests_of_hour(org_id=org_id)
    if last_hour is None:
        return Counted(None, {})
    try:
        return Counted(last_hour, flush.read_pending(org_id=org_id, now=now))
    except RedisError:
        rate_limit.outage.breaker.trip()
        return Counted(None, {})


def revision_of(*, org_id: int) -> int:
    """Raised by every change of the organization's overrides and custom settings; 1 at first."""
    settings = QuotaSettings.objects.filter(org_id=org_id).first()
    return settings.revision if settings else 1


def quota_overview(*, org_id: int, counted: Counted, now: datetime) -> dict[str, Any]:
    """Every limit in force, where it comes from, and what is used of it. Raises PlansMissing."""
    plan = plan_of(org_id=org_id)
    limits = effective_limits(org_id=org_id, now=now)
    period = current_period(org_id=org_id, now=now)
    used = _used_of_limits(org_id, period, counted, now)
    settings = QuotaSettings.objects.filter(org_id=org_id).first()
    return {
        **{LIMIT_FIELDS[resource]: limits[resource].limit for resource in Resource},
        "custom_settings": settings.custom_settings if settings else {},
        "plan": plan.code,
        "plan_version": plan.version,
        "limits": [
            {
                "resource": resource.value,
                "limit": found.limit,
                "unit": UNITS[resource],
                "source": found.source,
                "overage": found.overage,
                "used": used[resource],
                "remaining": _remaining(found.limit, used[resource]),
                "override_expires_at": found.expires_at,
            }
            for resource, found in limits.items()
        ],
    }


def usage_overview(*, org_id: int, counted: Counted, now: datetime) -> dict[str, Any]:
    """The current period's usage, and of each limit how much is used. Raises PlansMissing."""
    period = current_period(org_id=org_id, now=now)
    limits = effective_limits(org_id=org_id, now=now)
    used = _used_of_limits(org_id, period, counted, now)
    return {
        **period_overview(org_id=org_id, periods=[period], counted=counted, now=now)[0],
        "resources": [
            {
                "resource": resource.value,
                "unit": UNITS[resource],
                "used": used[resource],
                "limit": limits[resource].limit,
                "percent": _percent(limits[resource].limit, used[resource]),
            }
            for resource in Resource
        ],
    }


def period_overview(
    *, org_id: int, periods: list[UsagePeriod], counted: Counted, now: datetime
) -> list[dict[str, Any]]:
    """The usage of each period, requests that are not flushed yet included."""
    totals = usage.usage_of_periods(org_id=org_id, periods=periods, now=now)
    averages = usage.storage_averages(org_id=org_id, periods=periods, now=now)
    pending = flush.unwritten(counted.pending)
    return [
        {
            "period_start": period.start,
            "period_end": period.end,
            "status": "open" if period.closed_at is None else "closed",
            **{USAGE_FIELDS[resource]: total for resource, total in totals[period.pk].items()},
            "storage_average_bytes": averages[period.pk],
            USAGE_FIELDS[Resource.API_REQUESTS]: totals[period.pk][Resource.API_REQUESTS]
            + sum(n for hour, n in pending.items() if period.start <= hour < period.end),
        }
        for period in periods
    ]


def _used_of_limits(
    org_id: int, period: UsagePeriod, counted: Counted, now: datetime
) -> dict[Resource, int | None]:
    """What each limit is compared with: versions of the fullest module, requests of the last hour."""
    return {
        **usage.usage_of_period(period=period, now=now),
        Resource.VERSIONS: usage.fullest_module(org_id=org_id),
        Resource.API_REQUESTS: counted.last_hour,
    }


def _remaining(limit: int | None, used: int | None) -> int | None:
    return None if limit is None or used is None else max(limit - used, 0)


def _percent(limit: int | None, used: int | None) -> float | None:
    """Of the limit, to two decimals; None: unlimited or not known. Nothing of nothing is 0."""
    if limit is None or used is None:
        return None
    if limit == 0:
        return 100.0 if used else 0.0
    return round(100 * used / limit, 2)
