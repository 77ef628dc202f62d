"""Comparing a gauge with what it counts, and repairing it.

Everything counted is reserved in the transaction that stores it. So whoever holds the gauge's lock and
counts *afterwards* counts exactly what the gauge should say. The call is, in one transaction:
`lock_gauge(...)`, then COUNT or SUM in a statement of its own, then `reconcile_gauge(actual=...)`.
"""

from datetime import UTC, datetime

import structlog
from django.db.models import Sum
from prometheus_client import Counter

from quotas.models import UsageGauge
from quotas.resources import GAUGES, Resource
from quotas.services.levels import set_level

logger = structlog.get_logger(__name__)
DRIFT = Counter(
    "spoke_quota_gauge_drift_total", "Units by which gauges were found wrong.", ["resource"]
)


def levels_of(*, org_id: int, resource: Resource) -> dict[int, int]:
    """The level of each subject of a gauge: 0 is the organization, for versions also each module."""
    rows = UsageGauge.objects.filter(org_id=org_id, resource=resource)
    return dict(rows.values_list("subject", "used"))


def lock_gauge(*, org_id: int, resource: Resource, subject: int = 0) -> int:
    """Holds off every reservation of a gauge until the transaction ends; returns its level."""
    if resource not in GAUGES:
        raise ValueError(f"{resource} is no gauge")
    key = {"org_id": org_id, "resource": resource, "subject": subject}
    # A gauge that was never used stood at nothing since ever.
    gauge = UsageGauge(**key, used=0, changed_at=datetime.min.replace(tzinfo=UTC))
    UsageGauge.objects.bulk_create([gauge], ignore_conflicts=True)
    return UsageGauge.objects.select_for_update().get(**key).used


def reconcile_gauge(
    *, org_id: int, resource: Resource, subject: int = 0, actual: int, now: datetime
) -> int:
    """The gauge says `actual` afterwards; returns by how much it was wrong (positive: too high).

    Drift is logged and counted as a metric. A module's versions carry the organization's total along.
    """
    drift = lock_gauge(org_id=org_id, resource=resource, subject=subject) - actual
    if drift:
        if subject:
            rows = UsageGauge.objects.filter(org_id=org_id, resource=resource, subject=subject)
            rows.update(used=actual)
        else:
            set_level(org_id=org_id, resource=resource, used=actual, now=now)
        DRIFT.labels(resource=resource.value).inc(abs(drift))
        logger.warning(
            "quotas.gauge_drift", org_id=org_id, resource=resource, subject=subject, drift=drift
        )
    if subject:
        _reconcile_total(org_id, resource, now)
    return drift


def _reconcile_total(org_id: int, resource: Resource, now: datetime) -> None:
    total = lock_gauge(org_id=org_id, resource=resource)
    rows = UsageGauge.objects.filter(org_id=org_id, resource=resource)
    actual = rows.exclude(subject=0).aggregate(total=Sum("used"))["total"] or 0
    if total != actual:
        set_level(org_id=org_id, resource=resource, used=actual, now=now)
