"""The one statement that turns events into buckets: increment, rebuild and proof all use it."""

# What the events of a source add up to, by hour and by day. `{events}` is a condition on them.
ROLLED = """
picked AS MATERIALIZED (
    SELECT e.org_id, e.meter_id, m.aggregation, e.id, e.quantity, e."timestamp", e.counted_at,
           date_trunc('hour', e.counted_at, 'UTC') AS hour
    FROM quotas_usageevent e JOIN quotas_meter m ON m.id = e.meter_id
    WHERE {events}
), hours AS MATERIALIZED (
    SELECT org_id, meter_id, hour AS start, count(*) AS events, sum(quantity) AS total,
           max(quantity) AS maximum,
           COALESCE(sum(quantity * EXTRACT(epoch FROM counted_at))
                    FILTER (WHERE aggregation = 'time_weighted_average'), 0) AS moment
    FROM picked GROUP BY org_id, meter_id, hour
), last_of_hours AS MATERIALIZED (
    SELECT DISTINCT ON (org_id, meter_id, hour)
           org_id, meter_id, hour AS start, quantity AS latest, "timestamp" AS latest_at,
           id AS latest_id
    FROM picked WHERE aggregation = 'latest'
    ORDER BY org_id, meter_id, hour, "timestamp" DESC, id DESC
), days AS (
    SELECT org_id, meter_id, date_trunc('day', start, 'UTC') AS start, sum(events)::bigint AS events,
           sum(total) AS total, max(maximum) AS maximum, sum(moment) AS moment
    FROM hours GROUP BY 1, 2, 3
), last_of_days AS (
    SELECT DISTINCT ON (org_id, meter_id, date_trunc('day', start, 'UTC'))
           org_id, meter_id, date_trunc('day', start, 'UTC') AS start, latest, latest_at, latest_id
    FROM last_of_hours
    ORDER BY org_id, meter_id, date_trunc('day', start, 'UTC'), latest_at DESC, latest_id DESC
), rolled AS (
    SELECT h.org_id, h.meter_id, 'hour' AS span, h.start, h.events, h.total, h.maximum, h.moment,
           l.latest, l.latest_at, l.latest_id
    FROM hours h LEFT JOIN last_of_hours l USING (org_id, meter_id, start)
    UNION ALL
    SELECT d.org_id, d.meter_id, 'day', d.start, d.events, d.total, d.maximum, d.moment,
           l.latest, l.latest_at, l.latest_id
    FROM days d LEFT JOIN last_of_days l USING (org_id, meter_id, start)
)"""
COLUMNS = (
    "org_id, meter_id, span, start, events, total, maximum, moment, latest, latest_at, latest_id"
)
NEWER = (
    "(EXCLUDED.latest_at, EXCLUDED.latest_id) > (b.latest_at, b.latest_id) OR b.latest_at IS NULL"
)
ADD_BUCKETS = f"""
WITH {ROLLED}
INSERT INTO quotas_meterbucket AS b ({COLUMNS})
SELECT {COLUMNS} FROM rolled ORDER BY org_id, meter_id, span, start
ON CONFLICT (org_id, meter_id, span, start) DO UPDATE SET
    events = b.events + EXCLUDED.events,
    total = b.total + EXCLUDED.total,
    maximum = GREATEST(b.maximum, EXCLUDED.maximum),
    moment = b.moment + EXCLUDED.moment,
    latest = CASE WHEN {NEWER} THEN EXCLUDED.latest ELSE b.latest END,
    latest_at = CASE WHEN {NEWER} THEN EXCLUDED.latest_at ELSE b.latest_at END,
    latest_id = CASE WHEN {NEWER} THEN EXCLUDED.latest_id ELSE b.latest_id END
"""  # noqa: S608 - constants only
# The digest of a distinct value; `e` is an event and `m` its meter.
DIGEST = (
    "encode(substring(sha256(convert_to(e.properties ->> m.unique_property, 'UTF8')) FOR 16), 'hex')"
    "::uuid"
)
DISTINCT = f"""
values_seen AS (
    SELECT DISTINCT e.org_id, e.meter_id, date_trunc('hour', e.counted_at, 'UTC') AS start,
           {DIGEST} AS digest
    FROM quotas_usageevent e JOIN quotas_meter m ON m.id = e.meter_id
    WHERE m.aggregation = 'unique' AND {{events}}
)"""  # noqa: S608
ADD_DISTINCT = f"""
WITH {DISTINCT}
INSERT INTO quotas_meterdistinct (org_id, meter_id, start, digest)
SELECT org_id, meter_id, start, digest FROM values_seen ORDER BY 1, 2, 3, 4
ON CONFLICT DO NOTHING
"""  # noqa: S608
# Where buckets and events differ; one snapshot sees the buckets and how far they have come.
DIFFERENT_BUCKETS = f"""
WITH {ROLLED}, stored AS (
    SELECT {COLUMNS} FROM quotas_meterbucket e WHERE {{buckets}}
)
SELECT org_id, meter_id, span, start,
       row(r.events, r.total, r.maximum, r.moment, r.latest, r.latest_at, r.latest_id)::text,
       row(s.events, s.total, s.maximum, s.moment, s.latest, s.latest_at, s.latest_id)::text
FROM rolled r FULL JOIN stored s USING (org_id, meter_id, span, start)
WHERE (r.events, r.total, r.maximum, r.moment, r.latest, r.latest_at, r.latest_id)
   IS DISTINCT FROM (s.events, s.total, s.maximum, s.moment, s.latest, s.latest_at, s.latest_id)
ORDER BY 1, 2, 3, 4 LIMIT %(most)s
"""  # noqa: S608
DIFFERENT_VALUES = f"""
WITH {DISTINCT}, stored AS (
    SELECT org_id, meter_id, start, digest FROM quotas_meterdistinct e WHERE {{buckets}}
)
SELECT org_id, meter_id, 'value', start,
       CASE WHEN r.org_id IS NULL THEN '' ELSE digest::text END,
       CASE WHEN s.org_id IS NULL THEN '' ELSE digest::text END
FROM values_seen r FULL JOIN stored s USING (org_id, meter_id, start, digest)
WHERE r.org_id IS NULL OR s.org_id IS NULL
ORDER BY 1, 2, 4 LIMIT %(most)s
"""  # noqa: S608
