"""Usage by period: meters as they count, gauges as they stand or stood at the period's end."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP

from django.db import connection, transaction

from quotas.models import PeriodUsage, UsageGauge, UsagePeriod
from quotas.resources import METERS, Resource
from quotas.services.levels import average, integrals_over, levels_at
from quotas.services.periods import MOMENT, current_period
from spoke.core.periods import Period

# A period stays open this long after its end, for events and requests that are still on their way.
CLOSE_GRACE = timedelta(hours=1)
MAX_BIGINT = 2**63 - 1

ADD_METER = f"""
WITH counted AS (
    INSERT INTO quotas_periodusage AS u (org_id, period_id, resource, used)
    VALUES (%(org_id)s, %(period_id)s, %(resource)s, %(amount)s)
    ON CONFLICT (period_id, resource)
        DO UPDATE SET used = LEAST(u.used::numeric + EXCLUDED.used, {MAX_BIGINT})::bigint
)
INSERT INTO quotas_usagebucket AS b (org_id, resource, hour, used)
VALUES (%(org_id)s, %(resource)s, %(hour)s, %(amount)s)
ON CONFLICT (org_id, resource, hour)
    DO UPDATE SET used = LEAST(b.used::numeric + EXCLUDED.used, {MAX_BIGINT})::bigint
"""  # noqa: S608 - constants only

ADD_TO_PERIODS = f"""
INSERT INTO quotas_periodusage AS u (org_id, period_id, resource, used)
SELECT %(org_id)s, a.period_id, a.resource, LEAST(a.amount, {MAX_BIGINT})
FROM unnest(%(resources)s::text[], %(periods)s::bigint[], %(amounts)s::numeric[])
    AS a(resource, period_id, amount)
ORDER BY a.period_id, a.resource
ON CONFLICT (period_id, resource)
    DO UPDATE SET used = LEAST(u.used::numeric + EXCLUDED.used, {MAX_BIGINT})::bigint
"""  # noqa: S608 - constants only
ADD_TO_BUCKETS = f"""
INSERT INTO quotas_usagebucket AS b (org_id, resource, hour, used)
SELECT %(org_id)s, a.resource, a.hour, LEAST(a.amount, {MAX_BIGINT})
FROM unnest(%(resources)s::text[], %(hours)s::timestamptz[], %(amounts)s::numeric[])
    AS a(resource, hour, amount)
ORDER BY a.resource, a.hour
ON CONFLICT (org_id, resource, hour)
    DO UPDATE SET used = LEAST(b.used::numeric + EXCLUDED.used, {MAX_BIGINT})::bigint
"""  # noqa: S608 - constants only


def hour_of(at: datetime) -> datetime:
    """The start of the hour, in UTC, that holds a time."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def usage_of_period(*, period: UsagePeriod, now: datetime) -> dict[Resource, int]:
    """What a period has of each resource, as PostgreSQL knows it."""
    return usage_of_periods(org_id=period.org_id, periods=[period], now=now)[period.pk]


def usage_of_periods(
    *, org_id: int, periods: Iterable[UsagePeriod], now: datetime
) -> dict[int, dict[Resource, int]]:
    """What each of one organization's periods has of each resource, by the period's id."""
    found = {period.pk: dict.fromkeys(Resource, 0) for period in periods}
    for row in PeriodUsage.objects.filter(org_id=org_id, period_id__in=found):
        found[row.period_id][Resource(row.resource)] = row.used
    for period in periods:
        if period.closed_at is None:
            found[period.pk].update(_gauges_of(period, now))
    return found


def _gauges_of(period: UsagePeriod, now: datetime) -> dict[Resource, int]:
    if now >= period.end:
        return levels_at(org_id=period.org_id, at=period.end)
    rows = UsageGauge.objects.filter(org_id=period.org_id, subject=0)
    return {Resource(row.resource): row.used for row in rows}


def storage_averages(
    *, org_id: int, periods: Iterable[UsagePeriod], now: datetime
) -> dict[int, int | None]:
    """The time-weighted average of storage, in bytes, of the part of each period that has passed.

    None: the period was closed before integrals were kept.
    """
    closed = {period.pk: period for period in periods if period.closed_at is not None}
    rows = PeriodUsage.objects.filter(
        org_id=org_id, period_id__in=closed, resource=Resource.STORAGE, integral__isnull=False
    )
    integrals = dict(rows.values_list("period_id", "integral"))
    found: dict[int, int | None] = {}
    for period in periods:
        passed = Period(period.start, min(max(now, period.start + MOMENT), period.end))
        if period.pk not in closed:
            over = integrals_over(org_id=org_id, period=passed)
            integrals[period.pk] = over[Resource.STORAGE]
        integral = integrals.get(period.pk)
        found[period.pk] = (
            None
            if integral is None
            else int(average(integral, passed.length).to_integral_value(ROUND_HALF_UP))
        )
    return found


def fullest_module(*, org_id: int) -> int:
    """The most versions any one module has: versions are limited per module."""
    rows = UsageGauge.objects.filter(org_id=org_id, resource=Resource.VERSIONS, subject__gt=0)
    return rows.order_by("-used").values_list("used", flat=True).first() or 0


def record_meter(
    *, org_id: int, resource: Resource, amount: int, at: datetime, now: datetime
) -> None:
    """Counts what was used at a time, whatever the limit, in the period of that time.

    What comes after that period was closed counts in the current one. Raises ValueError for a gauge
    or a negative amount.
    """
    if resource not in METERS or amount < 0:
        raise ValueError("a meter counts amounts that are not negative")
    period = current_period(org_id=org_id, now=at)
    if not keep_open(period):
        period = current_period(org_id=org_id, now=now)
    with connection.cursor() as cursor:
        cursor.execute(
            ADD_METER,
            {
                "org_id": org_id,
                "period_id": period.pk,
                "resource": resource.value,
                "amount": min(amount, MAX_BIGINT),
                "hour": hour_of(at),
            },
        )


def add_to_meters(
    *,
    org_id: int,
    periods: Mapping[tuple[Resource, int], int],
    hours: Mapping[tuple[Resource, datetime], int],
) -> None:
    """Counts amounts, whatever the limit, in periods that the caller holds open and in their hours.

    Rows are locked in one order: periods by id, then hours.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            ADD_TO_PERIODS,
            {
                "org_id": org_id,
                "resources": [resource.value for resource, _ in periods],
                "periods": [period_id for _, period_id in periods],
                "amounts": list(periods.values()),
            },
        )
        cursor.execute(
            ADD_TO_BUCKETS,
            {
                "org_id": org_id,
                "resources": [resource.value for resource, _ in hours],
                "hours": [hour for _, hour in hours],
                "amounts": list(hours.values()),
            },
        )


def keep_open(period: UsagePeriod) -> bool:
    """The period stays open until the transaction ends; False when it is closed already."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT closed_at FROM quotas_usageperiod WHERE id = %s FOR SHARE", [period.pk]
        )
        row = cursor.fetchone()
    return row is not None and row[0] is None


def due_periods(*, now: datetime) -> list[tuple[int, int]]:
    """(period, organization) of the open periods whose end and grace have passed; see all first."""
    due = UsagePeriod.objects.all().due(now - CLOSE_GRACE).order_by("end", "pk")
    return list(due.values_list("pk", "org_id"))


@transaction.atomic
def close_period(*, period_id: int, org_id: int, now: datetime) -> bool:
    """Closes an ended period: keeps the gauges' levels and integrals, opens the next one, once.

    Says whether it did; a period that is closed, not over or gone is left alone.
    """
    due = UsagePeriod.objects.for_org(org_id).due(now - CLOSE_GRACE).filter(pk=period_id)
    if not due.exists():
        return False
    # The flush opens the next period before it locks the one that ends; so do we, or each would
    # wait for the other.
    current_period(org_id=org_id, now=now)
    period = due.select_for_update().first()
    if period is None:
        return False
    levels = levels_at(org_id=org_id, at=period.end)
    integrals = integrals_over(org_id=org_id, period=Period(period.start, period.end))
    PeriodUsage.objects.bulk_create(
        [
            PeriodUsage(
                org_id=org_id,
                period=period,
                resource=resource,
                used=used,
                integral=integrals[resource],
            )
            for resource, used in sorted(levels.items())
        ],
        update_conflicts=True,
        unique_fields=["period", "resource"],
        update_fields=["used", "integral"],
    )
    period.closed_at = now
    period.save(update_fields=["closed_at"])
    return True
