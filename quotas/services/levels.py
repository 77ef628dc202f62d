"""The level of a gauge at any time, and its integral: level times seconds.

Each change of an organization's gauge is kept with the integral up to it, in the statement that makes
the change. So the average over any stretch is exact and costs two look-ups, however many changes there
were, and no sampling misses what rose and fell in between.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, localcontext

from django.db import connection

from quotas.resources import GAUGES, Resource
from spoke.core.periods import Period

# Assignments to a gauge `g` that changes at EXCLUDED.changed_at, or at %(now)s: how long the level
# has stood is added, and time never goes back.
STOOD = """
    integral = g.integral
        + g.used * GREATEST(EXTRACT(epoch FROM EXCLUDED.changed_at - g.changed_at), 0),
    changed_at = GREATEST(g.changed_at, EXCLUDED.changed_at)"""
STOOD_UNTIL_NOW = STOOD.replace("EXCLUDED.changed_at", "%(now)s::timestamptz")
# `{source}` is a row of the gauge after the change. Changes of one moment are one.
RECORD_CHANGE = """
    INSERT INTO quotas_gaugechange AS c (org_id, resource, at, used, integral)
    SELECT %(org_id)s, %(resource)s, changed_at, used, integral FROM {source}
    ON CONFLICT (org_id, resource, at) DO UPDATE SET used = EXCLUDED.used"""
LAST_CHANGES = """
SELECT resource, c.at, c.used, c.integral
FROM unnest(%(resources)s::text[]) AS resource,
LATERAL (SELECT at, used, integral FROM quotas_gaugechange
         WHERE org_id = %(org_id)s AND resource = resource.resource AND at < %(at)s
         ORDER BY at DESC LIMIT 1) AS c
"""
SET_LEVEL = f"""
WITH level AS (
    UPDATE quotas_usagegauge AS g SET used = %(used)s, {STOOD_UNTIL_NOW}
    WHERE org_id = %(org_id)s AND resource = %(resource)s AND subject = 0
    RETURNING used, integral, changed_at
) {RECORD_CHANGE.format(source="level")}
"""  # noqa: S608 - constants only
# Levels are shown by hour and day for so long; the last change before is kept for ever.
KEPT = timedelta(days=400)
PRUNE = """
DELETE FROM quotas_gaugechange AS c
WHERE at < %(before)s AND EXISTS (
    SELECT FROM quotas_gaugechange AS later
    WHERE later.org_id = c.org_id AND later.resource = c.resource
      AND later.at > c.at AND later.at < %(before)s
)
"""
WRONG = """
SELECT org_id, resource, at, expected, integral FROM (
    SELECT org_id, resource, at, integral,
           lag(integral) OVER before
               + lag(used) OVER before * EXTRACT(epoch FROM at - lag(at) OVER before) AS expected
    FROM quotas_gaugechange WHERE {of_org}
    WINDOW before AS (PARTITION BY org_id, resource ORDER BY at)
) AS found
WHERE expected <> integral ORDER BY 1, 2, 3 LIMIT %(most)s
"""
# More than any sum of bytes times microseconds needs, so that only a division rounds.
EXACT_DIGITS = 80


@dataclass(frozen=True)
class WrongIntegral:
    """A change whose integral (level times seconds) is not the sum of its history."""

    org_id: int
    resource: str
    at: datetime
    expected: Decimal
    stored: Decimal


def levels_at(*, org_id: int, at: datetime) -> dict[Resource, int]:
    """The level of each gauge just before a time."""
    return {resource: used for resource, (_, used, _) in _last_changes(org_id, at).items()}


def integrals_at(*, org_id: int, at: datetime) -> dict[Resource, Decimal]:
    """Level times seconds of each gauge, from the beginning up to a time. Exact."""
    with localcontext() as exact:
        exact.prec = EXACT_DIGITS
        return {
            resource: integral + used * _seconds(at - since)
            for resource, (since, used, integral) in _last_changes(org_id, at).items()
        }


def integrals_over(*, org_id: int, period: Period) -> dict[Resource, Decimal]:
    """Level times seconds of each gauge over a period; after the last change its level stands."""
    since = integrals_at(org_id=org_id, at=period.start)
    until = integrals_at(org_id=org_id, at=period.end)
    with localcontext() as exact:
        exact.prec = EXACT_DIGITS
        return {resource: until[resource] - since[resource] for resource in until}


def average(integral: Decimal, length: timedelta) -> Decimal:
    """The time-weighted average of a level whose integral over that length is given."""
    with localcontext() as exact:
        exact.prec = EXACT_DIGITS
        return integral / _seconds(length)


def set_level(*, org_id: int, resource: Resource, used: int, now: datetime) -> None:
    """The organization's gauge, whose row exists, stands at `used` from now on."""
    with connection.cursor() as cursor:
        cursor.execute(
            SET_LEVEL,
            {"org_id": org_id, "resource": resource.value, "used": used, "now": now},
        )


def wrong_integrals(*, org_id: int | None = None, most: int = 100) -> list[WrongIntegral]:
    """Where a change's integral is not what the changes before it add up to; see all first."""
    with connection.cursor() as cursor:
        cursor.execute(
            WRONG.format(of_org="TRUE" if org_id is None else "org_id = %(org_id)s"),
            {"org_id": org_id, "most": most},
        )
        return [WrongIntegral(*row) for row in cursor.fetchall()]


def prune_changes(*, now: datetime) -> int:
    """Forgets changes that no plot shows any more, but each gauge's last; see all first."""
    with connection.cursor() as cursor:
        cursor.execute(PRUNE, {"before": now - KEPT})
        return int(cursor.rowcount)


def _last_changes(org_id: int, at: datetime) -> dict[Resource, tuple[datetime, int, Decimal]]:
    """When each gauge changed last before a time, to what, and its integral up to then."""
    found = dict.fromkeys(sorted(GAUGES), (at, 0, Decimal(0)))
    names = [resource.value for resource in found]
    with connection.cursor() as cursor:
        cursor.execute(LAST_CHANGES, {"org_id": org_id, "resources": names, "at": at})
        for resource, *change in cursor.fetchall():
            found[Resource(resource)] = change[0], change[1], change[2]
    return found


def _seconds(length: timedelta) -> Decimal:
    return Decimal(length // timedelta(microseconds=1)).scaleb(-6)
