"""Reserving what is limited: one conditional statement, in the caller's transaction.

A reservation commits or rolls back with what it is for, so nothing has to be given back by code.
Whoever reserves several things in one transaction does it in the order modules, versions, compile
jobs, storage, and so does whoever releases them: rows are then locked in one order and nobody waits in
a circle.

The organization's number of versions over all modules is kept in the row of subject 0; each module's
own row, which its limit applies to, is locked before it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from quotas.errors import QuotaExceeded
from quotas.models import PeriodUsage, UsageGauge
from quotas.resources import GAUGES, Resource
from quotas.services.budgets import within_budget
from quotas.services.levels import RECORD_CHANGE, STOOD, STOOD_UNTIL_NOW
from quotas.services.limits import EFFECTIVE, MAX_BIGINT, limit_and_block
from quotas.services.periods import current_period
from quotas.services.usage import hour_of, keep_open
from spoke.core.database import prepared_cursor

# Whoever reserves or releases several things does it in this order.
ORDER = (Resource.MODULES, Resource.VERSIONS, Resource.COMPILE_JOBS, Resource.STORAGE)

# Every statement takes the same names: org_id, resource, subject, amount, now, hour, period_id, and
# guarded, which says that the caller has locked the budget.
LEVEL = f"""
level AS (
    INSERT INTO quotas_usagegauge AS g (org_id, resource, subject, used, integral, changed_at)
    SELECT %(org_id)s, %(resource)s, %(subject)s, %(amount)s, 0, %(now)s FROM effective
    WHERE %(amount)s::bigint <= cap
    ON CONFLICT (org_id, resource, subject) DO UPDATE SET used = g.used + EXCLUDED.used, {STOOD}
        WHERE g.used <= (SELECT cap FROM effective) - EXCLUDED.used
    RETURNING used, integral, changed_at
)"""  # noqa: S608 - constants only
TOTAL = f"""
total AS (
    INSERT INTO quotas_usagegauge AS g (org_id, resource, subject, used, integral, changed_at)
    SELECT %(org_id)s, %(resource)s, 0, %(amount)s, 0, %(now)s FROM level
    ON CONFLICT (org_id, resource, subject)
        DO UPDATE SET used = LEAST(g.used::numeric + EXCLUDED.used, {MAX_BIGINT})::bigint, {STOOD}
    RETURNING used, integral, changed_at
)"""  # noqa: S608
FALLEN = f"""
level AS (
    UPDATE quotas_usagegauge AS g SET used = GREATEST(used - %(amount)s, 0), {STOOD_UNTIL_NOW}
    WHERE org_id = %(org_id)s AND resource = %(resource)s AND subject = %(subject)s
    RETURNING used, integral, changed_at
)"""  # noqa: S608
GONE = """
level AS (
    DELETE FROM quotas_usagegauge
    WHERE org_id = %(org_id)s AND resource = %(resource)s AND subject = %(subject)s
    RETURNING used
)"""
FALLEN_TOTAL = f"""
total AS (
    UPDATE quotas_usagegauge AS g SET used = GREATEST(g.used - {{amount}}, 0), {STOOD_UNTIL_NOW}
    FROM level
    WHERE g.org_id = %(org_id)s AND g.resource = %(resource)s AND g.subject = 0
    RETURNING g.used, g.integral, g.changed_at
)"""  # noqa: S608


def _changed(source: str) -> str:
    """What the organization's gauge became, with its integral up to then."""
    return f"change AS ({RECORD_CHANGE.format(source=source)})"


def _statement(*parts: str) -> str:
    return f"WITH {', '.join(parts)} SELECT used FROM level"  # noqa: S608


RESERVE = _statement(EFFECTIVE, LEVEL, _changed("level"))
RESERVE_OF_SUBJECT = _statement(EFFECTIVE, LEVEL, TOTAL, _changed("total"))
RELEASE = _statement(FALLEN, _changed("level"))
RELEASE_OF_SUBJECT = _statement(FALLEN, FALLEN_TOTAL.format(amount="%(amount)s"), _changed("total"))
FORGET = _statement(GONE, FALLEN_TOTAL.format(amount="level.used"), _changed("total"))
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
    period. Raises QuotaExceeded or BudgetExceeded, having changed nothing, and PlansMissing before
    seeding.
    """
    _check_call(resource, amount, subject)
    if amount == 0:
        return _level(org_id, resource, subject, now)
    statement, level = _reserving(resource), None
    if amount <= MAX_BIGINT:
        level = _run(statement, org_id, resource, amount, subject, now)
    if level is not None:
        return level
    limit, blockable = limit_and_block(org_id=org_id, resource=resource, now=now)
    if blockable and amount <= MAX_BIGINT:
        with within_budget(org_id=org_id, resource=resource, now=now):
            level = _run(statement, org_id, resource, amount, subject, now, guarded=True)
    if level is None:
        current = _level(org_id, resource, subject, now)
        raise QuotaExceeded(org_id=org_id, resource=resource, current=current, limit=limit)
    return level


@dataclass(frozen=True)
class Request:
    """So much of a resource; of versions, for the module `subject`."""

    resource: Resource
    amount: int
    subject: int = 0


def reserve_many(*, org_id: int, requests: Iterable[Request], now: datetime) -> list[int]:
    """Takes everything that is asked for, or nothing; the new levels, in the order of the requests.

    Rows are locked in the one order that all keep. Raises what `reserve` raises.
    """
    asked = list(requests)
    order = sorted(
        range(len(asked)), key=lambda n: (ORDER.index(asked[n].resource), asked[n].subject)
    )
    levels = dict.fromkeys(range(len(asked)), 0)
    with transaction.atomic():
        for n in order:
            levels[n] = reserve(
                org_id=org_id,
                resource=asked[n].resource,
                amount=asked[n].amount,
                now=now,
                subject=asked[n].subject,
            )
    return list(levels.values())


def release(
    *, org_id: int, resource: Resource, amount: int, now: datetime, subject: int = 0
) -> int:
    """Gives `amount` of a resource back, down to nothing at most, and returns the new level."""
    _check_call(resource, amount, subject)
    statement = RELEASE_OF_SUBJECT if resource is Resource.VERSIONS else RELEASE
    if resource not in GAUGES:
        statement = RELEASE_OF_PERIOD
    return _run(statement, org_id, resource, min(amount, MAX_BIGINT), subject, now) or 0


def give_back(*, org_id: int, resource: Resource, amount: int, used_at: datetime) -> bool:
    """What was reserved of a meter at a time is not used after all; says whether that could be so.

    What a closed period says, its invoice says: there the use stays.
    """
    if not keep_open(current_period(org_id=org_id, now=used_at)):
        return False
    release(org_id=org_id, resource=resource, amount=amount, now=used_at)
    return True


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
    statement: str,
    org_id: int,
    resource: Resource,
    amount: int,
    subject: int,
    now: datetime,
    *,
    guarded: bool = False,
) -> int | None:
    parameters: dict[str, Any] = {
        "org_id": org_id,
        "resource": resource.value,
        "amount": amount,
        "subject": subject,
        "now": now,
        "hour": hour_of(now),
        "guarded": guarded,
    }
    if resource not in GAUGES:
        parameters["period_id"] = current_period(org_id=org_id, now=now).pk
    with prepared_cursor() as cursor:
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
