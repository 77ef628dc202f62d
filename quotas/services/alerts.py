"""Alerts of usage: thresholds in percent of a limit that fire once a period each.

Nobody's request pays for them: a task looks at the organizations whose usage changed lately, in one
statement, and fires what was reached in a transaction of each organization (`evaluate_organization`).
Whoever knows of a level by themselves calls `fire`.
"""

import json
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import connection

from quotas.mail_tasks import send_alert
from quotas.services.alert_settings import DEFAULT_THRESHOLDS
from quotas.services.periods import current_period
from quotas.services.plans import DEFAULT_PLAN
from quotas.services.usage import hour_of
from spoke.core import tenancy
from spoke.core.enqueue import enqueue_on_commit

# Rows of one statement are inserted in the order of their thresholds, so two that fire at once wait for
# each other in one order. `notify` only when nothing higher has fired: a threshold added below the
# present level crosses nothing.
FIRE = """
INSERT INTO quotas_alert
    (org_id, period_id, resource, threshold, fired_at, used, "limit", notify, told)
SELECT %(org_id)s, %(period_id)s, %(resource)s, t, %(now)s, %(used)s, %(limit)s,
       t = %(highest)s AND NOT EXISTS (
           SELECT FROM quotas_alert h WHERE h.period_id = %(period_id)s
           AND h.resource = %(resource)s AND h.threshold > %(highest)s),
       '{}'
FROM unnest(%(reached)s::int[]) AS t
ORDER BY t
ON CONFLICT (period_id, resource, threshold) DO NOTHING
RETURNING id, threshold, notify
"""

# The limit of a resource is the override in force, else the plan's; that of API requests is the amount
# that a month includes, since their limit is one of the hour. `fresh`: reached and not yet fired. An
# organization that has no period yet has one with nothing in it. What belongs to one organization is
# looked up by its unique key, row by row: that takes as long as there are organizations, whatever the
# planner believes of the tables.
REACHED = f"""
WITH candidate AS MATERIALIZED (
    SELECT o.id AS org_id,
           COALESCE((SELECT a.plan_id FROM quotas_planassignment a WHERE a.org_id = o.id), (
               SELECT id FROM quotas_plan WHERE code = '{DEFAULT_PLAN}' AND superseded_at IS NULL
           )) AS plan_id,
           (SELECT p.id FROM quotas_usageperiod p
            WHERE p.org_id = o.id AND p.start <= %(now)s AND p."end" > %(now)s
            ORDER BY p.start DESC LIMIT 1) AS period_id,
           (SELECT s.thresholds FROM quotas_alertsettings s WHERE s.org_id = o.id) AS own
    FROM orgs_organization o WHERE o.status = 'active' AND {{which}}
), included AS MATERIALIZED (
    SELECT plan_id, resource, "limit" FROM quotas_planlimit
    WHERE resource IN ('modules', 'storage', 'compile_jobs')
    UNION ALL
    SELECT plan_id, resource, NULLIF(min(included), 0) FROM quotas_plancharge
    WHERE resource = 'api_requests' GROUP BY plan_id, resource
), level AS MATERIALIZED (
    SELECT c.org_id, c.period_id, i.resource,
           COALESCE(c.own -> i.resource, %(default)s::jsonb) AS thresholds,
           CASE WHEN i.resource IN ('modules', 'storage') THEN (
               SELECT g.used FROM quotas_usagegauge g
               WHERE g.org_id = c.org_id AND g.resource = i.resource AND g.subject = 0)
           ELSE (SELECT u.used FROM quotas_periodusage u
                 WHERE u.period_id = c.period_id AND u.resource = i.resource)
           END AS used,
           CASE WHEN i.resource = 'api_requests' THEN i."limit" ELSE (
               SELECT CASE WHEN count(*) = 0 THEN i."limit" ELSE min(v."limit") END
               FROM quotas_limitoverride v
               WHERE v.org_id = c.org_id AND v.resource = i.resource
               AND (v.expires_at IS NULL OR v.expires_at > %(now)s))
           END AS bound
    FROM candidate c JOIN included i ON i.plan_id = c.plan_id
), reached AS (
    SELECT l.org_id, l.period_id, l.resource, l.used, l.bound, ARRAY(
        SELECT t::int FROM jsonb_array_elements_text(l.thresholds) AS t
        WHERE l.used::numeric * 100 >= t::int * l.bound::numeric AND NOT EXISTS (
            SELECT FROM quotas_alert f WHERE f.period_id = l.period_id
            AND f.resource = l.resource AND f.threshold = t::int)
    ) AS fresh
    FROM level l WHERE l.used > 0 AND l.bound IS NOT NULL
)
SELECT {{columns}} FROM reached WHERE fresh <> '{{{{}}}}' ORDER BY {{order}}
"""  # noqa: S608 - constants only
EVERYBODY = "true"
# Meters are written down by the hour, gauges by each change.
CHANGED_LATELY = """o.id IN (
    SELECT org_id FROM quotas_usagebucket WHERE hour >= %(since)s
    UNION ALL SELECT org_id FROM quotas_gaugechange WHERE at >= %(since)s
)"""
ONE = "o.id = %(org_id)s"
ORGANIZATIONS = {"columns": "DISTINCT org_id", "order": "org_id"}
LEVELS = {"columns": "period_id, resource, used, bound, fresh", "order": "resource"}


def fire(
    *,
    org_id: int,
    period_id: int,
    resource: str,
    used: int,
    limit: int,
    thresholds: Collection[int],
    now: datetime,
) -> list[int]:
    """The thresholds that `used` of `limit` reaches and that had not fired in the period, once each.

    However many call at once, each threshold is in one caller's answer only. Of those in an answer the
    highest is mailed once the transaction has committed, unless a higher one had fired before. Nothing
    used reaches nothing; anything used of a limit of 0 reaches everything. Whoever fires for several
    resources in one transaction does so in the order of their names.
    """
    reached = sorted({t for t in thresholds if used > 0 and used * 100 >= t * limit})
    if not reached:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            FIRE,
            {
                "org_id": org_id,
                "period_id": period_id,
                "resource": resource,
                "now": now,
                "used": used,
                "limit": limit,
                "reached": reached,
                "highest": reached[-1],
            },
        )
        rows = cursor.fetchall()
    for alert_id, _, notify in rows:
        if notify:
            enqueue_on_commit(send_alert, org_id, alert_id)
    return sorted(threshold for _, threshold, _ in rows)


def organizations_to_alert(*, now: datetime, all_of_them: bool = False) -> list[int]:
    """The organizations that reached a threshold which has not fired in this period.

    Of those whose usage changed in this hour or the last, or of all of them: limits and periods change
    as well, and usage may be counted in an hour long past.
    """
    parameters = _parameters(now) | {"since": hour_of(now) - timedelta(hours=1)}
    which = EVERYBODY if all_of_them else CHANGED_LATELY
    with (
        tenancy.all_organizations(reason="find usage alerts that are due"),
        connection.cursor() as cursor,
    ):
        if all_of_them:
            cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(REACHED.format(which=which, **ORGANIZATIONS), parameters)
        return [org_id for (org_id,) in cursor.fetchall()]


def evaluate_organization(*, org_id: int, now: datetime) -> int:
    """Every threshold that the organization reached in its current period has fired; returns how many
    did so now."""
    current_period(org_id=org_id, now=now)  # opened, if nobody has needed it yet
    with connection.cursor() as cursor:
        cursor.execute(REACHED.format(which=ONE, **LEVELS), _parameters(now) | {"org_id": org_id})
        rows = cursor.fetchall()
    return sum(
        len(
            fire(
                org_id=org_id,
                period_id=period_id,
                resource=resource,
                used=used,
                limit=limit,
                thresholds=fresh,
                now=now,
            )
        )
        for period_id, resource, used, limit, fresh in rows
    )


def _parameters(now: datetime) -> dict[str, datetime | str | int]:
    return {"now": now, "default": json.dumps(DEFAULT_THRESHOLDS)}
