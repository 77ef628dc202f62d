"""Closing the periods of many organizations at once, as `usage.close_period` closes each.

A batch is a handful of statements and one transaction, however many periods it holds. A period that
somebody holds at that moment is left for the next batch.
"""

from collections.abc import Collection
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Exists, Max, Min, OuterRef, Subquery

from quotas.models import UsagePeriod
from quotas.resources import GAUGES
from quotas.services.periods import CALENDAR, anchors_of
from quotas.services.usage import CLOSE_GRACE
from spoke.core import tenancy
from spoke.core.periods import Period, period_containing

# The level of a gauge before a time, and its integral up to then.
STOOD = """
LEFT JOIN LATERAL (
    SELECT used, integral + used * EXTRACT(epoch FROM {at} - at) AS integral
    FROM quotas_gaugechange
    WHERE org_id = due.org_id AND resource = gauge.resource AND at < {at}
    ORDER BY at DESC LIMIT 1
) AS {name} ON TRUE"""
CLOSE = f"""
WITH due AS MATERIALIZED (
    SELECT id, org_id, start, "end" FROM quotas_usageperiod
    WHERE id = ANY(%(ids)s) AND closed_at IS NULL
    ORDER BY id FOR UPDATE SKIP LOCKED
), kept AS (
    INSERT INTO quotas_periodusage AS u (org_id, period_id, resource, used, integral)
    SELECT due.org_id, due.id, gauge.resource, COALESCE(later.used, 0),
           COALESCE(later.integral, 0) - COALESCE(earlier.integral, 0)
    FROM due CROSS JOIN unnest(%(gauges)s::text[]) AS gauge(resource)
    {STOOD.format(at='due."end"', name="later")}
    {STOOD.format(at="due.start", name="earlier")}
    ORDER BY due.id, gauge.resource
    ON CONFLICT (period_id, resource)
        DO UPDATE SET used = EXCLUDED.used, integral = EXCLUDED.integral
)
UPDATE quotas_usageperiod AS p SET closed_at = %(now)s FROM due WHERE p.id = due.id
"""  # noqa: S608 - constants only


def close_periods(*, now: datetime, most: int) -> int:
    """Up to `most` of the periods that are over are closed, and the next ones open; returns how many."""
    with tenancy.all_organizations(reason="close usage periods"), transaction.atomic():
        due = UsagePeriod.objects.all().due(now - CLOSE_GRACE).order_by("end", "pk")
        found = list(due.values_list("pk", "org_id")[:most])
        if not found:
            return 0
        # The flush opens the next period before it locks the one that ends; so do we, or each would
        # wait for the other.
        open_periods(org_ids={org_id for _, org_id in found}, now=now)
        open_following(period_ids=[period_id for period_id, _ in found])
        with connection.cursor() as cursor:
            ids = [period_id for period_id, _ in found]
            gauges = sorted(gauge.value for gauge in GAUGES)
            cursor.execute(CLOSE, {"ids": ids, "gauges": gauges, "now": now})
            return int(cursor.rowcount)


def open_periods(*, org_ids: Collection[int], now: datetime) -> int:
    """Each organization has a period that contains `now`; returns how many were opened.

    Must run in a transaction that sees them all.
    """
    stored = UsagePeriod.objects.filter(org_id__in=org_ids)
    has_one = stored.filter(start__lte=now, end__gt=now).values_list("org_id", flat=True)
    missing = sorted(set(org_ids) - set(has_one))
    if not missing:
        return 0
    around = UsagePeriod.objects.filter(org_id__in=missing).order_by().values_list("org_id")
    before = dict(around.filter(end__lte=now).annotate(Max("end")))
    after = dict(around.filter(start__gt=now).annotate(Min("start")))
    anchors = anchors_of(missing)
    opened = []
    for org_id in missing:
        natural = period_containing(anchor=anchors.get(org_id, CALENDAR), interval="month", at=now)
        start = max(natural.start, before.get(org_id, natural.start))
        end = min(natural.end, after.get(org_id, natural.end))
        opened.append((org_id, Period(start, end)))
    UsagePeriod.objects.bulk_create(
        [UsagePeriod(org_id=org_id, start=p.start, end=p.end) for org_id, p in opened],
        ignore_conflicts=True,
    )
    return len(opened)


def open_following(*, period_ids: Collection[int]) -> int:
    """After each of the periods there is one that begins with its end; returns how many were opened.

    Where nobody worked for longer than a month, none would lie between it and the one under way, and
    what is stored meanwhile be billed in none. Must run in a transaction that sees them all.
    """
    stored = UsagePeriod.objects.filter(org_id=OuterRef("org_id"))
    alone = UsagePeriod.objects.filter(pk__in=period_ids).exclude(
        Exists(stored.filter(start=OuterRef("end")))
    )
    after = stored.filter(start__gt=OuterRef("end")).order_by("start").values("start")[:1]
    ends = list(alone.annotate(after=Subquery(after)).values_list("org_id", "end", "after"))
    anchors = anchors_of(org_id for org_id, _, _ in ends)
    opened = []
    for org_id, start, upto in ends:
        anchor = anchors.get(org_id, CALENDAR)
        natural = period_containing(anchor=anchor, interval="month", at=start)
        end = natural.end if upto is None else min(natural.end, upto)
        opened.append(UsagePeriod(org_id=org_id, start=start, end=end))
    UsagePeriod.objects.bulk_create(opened, ignore_conflicts=True)
    return len(opened)
