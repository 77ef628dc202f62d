"""Reserving what is limited: one conditional statement, in the caller's transaction.

A reservation commits or rolls back with what it is for, so nothing has to be given back by code.
Whoever reserves several things in one transaction does it in the order modules, versions, storage,
and so does whoever releases them: rows are then locked in one order and nobody waits in a circle.

The organization's number of versions over all modules is kept in the row of subject 0; each module's
own row, which its limit applies to, is locked before it.
"""

from datetime import datetime
from typing import Any

from django.db import connection
from django.utils import timezone

from quotas.errors import QuotaExceeded
from quotas.models import PeriodUsage, UsageGauge
from quotas.resources import GAUGES, Resource
from quotas.services.limits import EFFECTIVE, MAX_BIGINT, effective_limit
from quotas.services.usage import current_period, hour_of

# Every statement takes the same names: org_id, resource, subject, amount, now, hour, period_id.
LEVEL = """
level AS (
    INSERT INTO quotas_usagegauge AS g (org_id, resource, subject, used)
    SELECT %(org_id)s, %(resource)s, %(subject)s, %(amount)s FROM effective
    WHERE %(amount)s::bigint <= cap
    ON CONFLICT (org_id, resource, subject) DO UPDATE SET used = g.used + EXCLUDED.used
        WHERE g.used <= (SELECT cap FROM effective) - EXCLUDED.used
    RETURNING used
)"""
TOTAL = f"""
total AS (
    INSERT INTO quotas_usagegauge AS t (org_id, resource, subject, used)
    SELECT %(org_id)s, %(resource)s, 0, %(amount)s FROM level
    ON CONFLICT (org_id, resource, subject)
        DO UPDATE SET used = LEAST(t.used::numeric + EXCLUDED.used, {MAX_BIGINT})::bigint
    RETURNING used
)"""  # noqa: S608
FALLEN = """
level AS (
    UPDATE quotas_usagegauge SET used = GREATEST(used - %(amount)s, 0)
    WHERE org_id = %(org_id)s AND resource = %(resource)s AND subject = %(subject)s
    RETURNING used
)"""
GONE = """
level AS (
    DELETE FROM quotas_usagegauge
    WHERE org_id = %(org_id)s AND resource = %(resource)s AND subject = %(subject)s
    RETURNING used
)"""
FALLEN_TOTAL = """
total AS (
    UPDATE quotas_usagegauge AS t SET used = GREATEST(t.used - {amount}, 0) FROM level
    WHERE t.org_id = %(org_id)s AND t.resource = %(resource)s AND t.subject = 0
    RETURNING t.used
)"""


def _set_bucket(source: str) -> str:
    """The hour's bucket of a gauge holds its last level."""
    return f"""
bucket AS (
    INSERT INTO quotas_usagebucket (org_id, resource, hour, used)
    SELECT %(org_id)s, %(resource)s, %(hour)s, used FROM {source}
    ON CONFLICT (org_id, resource, hour) DO UPDATE SET used = EXCLUDED.used
)"""  # noqa: S608


def _statement(*parts: str) -> str:
    return f"WITH {', '.join(parts)} SELECT used FROM level"  # noqa: S608


RESERVE = _statement(EFFECTIVE, LEVEL, _set_bucket("level"))
RESERVE_OF_SUBJECT = _statement(EFFECTIVE, LEVEL, TOTAL, _set_bucket("total"))
RELEASE = _statement(FALLEN, _set_bucket("level"))
RELEASE_OF_SUBJECT = _statement(
    FALLEN, FALLEN_TOTAL.format(amount="%(amount)s"), _set_bucket("total")
)
FORGET = _statement(GONE, FALLEN_TOTAL.format(amount="level.used"), _set_bucket("total"))
RESERVE_OF_PERIOD = f"""
WITH {EFFECTIVE}, level AS (
    INSERT INTO quotas_periodusage AS u (org_id, period_id, resource, used)
    SELECT %(org_id)s, %(period_id)s, %(resource)s, %(amount)s FROM effective
    WHERE %(amount)s::bigint <= cap
    ON CONFLICT (period_id, resource) DO UPDATE SET used = u.used + EXCLUDED.used
        WHERE u.used <= (SELECT cap FROM effective) - EXCLUDED.used
    RETURNING used
), bucket AS (
    INSERT INTO quotas_usagebucket AS b (org_id, resource, hour, used)
    SELECT %(org_id)s, %(resource)s, %(hour)s, %(amount)s FROM level
    ON CONFLICT (org_id, resource, hour)
        DO UPDATE SET used = LEAST(b.used::numeric + EXCLUDED.used, {MAX_BIGINT})::bigint
)
SELECT used FROM level
"""  # noqa: S608
RELEASE_OF_PERIOD = """
WITH level AS (
    UPDATE quotas_periodusage SET used = GREATEST(used - %(amount)s, 0)
    WHERE org_id = %(org_id)s AND period_id = %(period_id)s AND resource = %(resource)s
    RETURNING used
), bucket AS (
    UPDATE quotas_usagebucket SET used = GREATEST(used - %(amount)s, 0)
    WHERE org_id = %(org_id)s AND resource = %(resource)s AND hour = %(hour)s
      AND EXISTS (SELECT FROM level)
)
SELECT used FROM level
"""


def reserve(
    *, org_id: int, resource: Resource, amount: int, now: datetime, subject: int = 0
) -> int:
    """Takes `amount` of a resource if the limit in force allows it, and returns the new level.

    Whatever runs at once, the level never passes the limit; where the plan allows overage it may.
    Versions are limited per module: `subject` is the module's id. Compile jobs count in the current
    period. Raises QuotaExceeded, having changed nothing, and PlansMissing before seeding.
    """
    _check_call(resource, amount, subject)
    if amount == 0:
        return _level(org_id, resource, subject, now)
    level = None
    if amount <= MAX_BIGINT:
        level = _run(_reserving(resource), org_id, resource, amount, subject, now)
    if level is None:
        limit = effective_limit(org_id=org_id, resource=resource, now=now)
        current = _level(org_id, resource, subject, now)
        raise QuotaExceeded(org_id=org_id, resource=resource, current=current, limit=limit)
    return level


def release(
    *, org_id: int, resource: Resource, amount: int, now: datetime, subject: int = 0
) -> int:
    """Gives `amount` of a resource back, down to nothing at most, and returns the new level."""
    _check_call(resource, amount, subject)
    statement = RELEASE_OF_SUBJECT if resource is Resource.VERSIONS else RELEASE
    if resource not in GAUGES:
        statement = RELEASE_OF_PERIOD
    return _run(statement, org_id, resource, min(amount, MAX_BIGINT), subject, now) or 0


def forget_subject(
    *, org_id: int, resource: Resource, subject: int, now: datetime | None = None
) -> None:
    """Drops the gauge of a subject that is gone, and its share of the organization's total."""
    _check_call(resource, 0, subject)
    _run(FORGET, org_id, resource, 0, subject, now or timezone.now())


def _check_call(resource: Resource, amount: int, subject: int) -> None:
    if amount < 0:
        raise ValueError("an amount is not negative")
    if resource is Resource.API_REQUESTS:
        raise ValueError("API requests are limited by quotas.services.rate_limit")
    if (resource is Resource.VERSIONS) != bool(subject):
        raise ValueError("versions, and only they, are counted by subject: the module's id")


def _reserving(resource: Resource) -> str:
    if resource not in GAUGES:
        return RESERVE_OF_PERIOD
    return RESERVE_OF_SUBJECT if resource is Resource.VERSIONS else RESERVE


def _run(
    statement: str, org_id: int, resource: Resource, amount: int, subject: int, now: datetime
) -> int | None:
    parameters: dict[str, Any] = {
        "org_id": org_id,
        "resource": resource.value,
        "amount": amount,
        "subject": subject,
        "now": now,
        "hour": hour_of(now),
    }
    if resource not in GAUGES:
        parameters["period_id"] = current_period(org_id=org_id, now=now).pk
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def _level(org_id: int, resource: Resource, subject: int, now: datetime) -> int:
    row: UsageGauge | PeriodUsage | None
    if resource in GAUGES:
        key = {"org_id": org_id, "resource": resource, "subject": subject}
        row = UsageGauge.objects.filter(**key).first()
    else:
        period = current_period(org_id=org_id, now=now)
        row = PeriodUsage.objects.filter(org_id=org_id, period=period, resource=resource).first()
    return row.used if row else 0
