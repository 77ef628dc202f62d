"""The SQL of the set-based close: the rules of `lines`, `spend`, `charges` and `totals` over many rows.

Numbers are exact decimals throughout. A division is carried to 60 decimals and rounded to the 24 that
a quantity is kept to; both roundings together are as one, since a fraction of whole bytes, microseconds
and unit sizes does not come nearer than 1e-46 to a half of the 24th decimal without being it.
"""

from billing.services import invoicing

# What is due and can be written by the set. `{due}` says which periods, `{orgs}` of whom.
# The rest is for the readable rules: changes of plan and ends within a period that is collected by
# hand, credits that would be used, a partner's branding, currencies that cards are rounded for.
PLAIN = """
SELECT p.id AS period_id, p.org_id, p.start, p."end", p.closed_at, i.id AS draft_id,
       COALESCE(s.currency, %(default_currency)s) AS currency, t.plan_id,
       COALESCE(s.collection = 'manual' AND NOT s.trialing, FALSE) AS base,
       s.interval, COALESCE(s.trialing, FALSE) AS trialing,
       COALESCE(c.collection = 'stripe', FALSE) AS by_stripe,
       paid.start AS paid_start, paid."end" AS paid_end,
       COALESCE(d.country, '') AS country, COALESCE(d.state, '') AS state,
       COALESCE(d.tax_id_type, '') AS tax_id_type, COALESCE(d.tax_exempt, FALSE) AS tax_exempt,
       (p."end" AT TIME ZONE 'UTC' - interval '1 microsecond')::date AS tax_day
FROM quotas_usageperiod p
JOIN LATERAL (
    SELECT plan_id, start FROM quotas_planterm
    WHERE org_id = p.org_id AND start < p."end" ORDER BY start DESC LIMIT 1
) AS t ON TRUE
LEFT JOIN LATERAL (
    SELECT s.*, COALESCE(p.start < s.trial_end, FALSE) AND COALESCE(p.start >= s.trial_start, TRUE)
               AS trialing
    FROM billing_subscription s
    WHERE s.org_id = p.org_id AND s.started_at < p."end" AND s.status <> 'incomplete'
      AND (s.ended_at IS NULL OR s.ended_at > s.started_at)
    ORDER BY s.started_at DESC, s.id DESC LIMIT 1
) AS s ON s.ended_at IS NULL OR s.ended_at > p.start
LEFT JOIN LATERAL (
    SELECT collection FROM billing_subscription
    WHERE org_id = p.org_id ORDER BY started_at DESC, id DESC LIMIT 1
) AS c ON TRUE
LEFT JOIN LATERAL (
    SELECT (n.anchor + make_interval(months => n.months * (n.at - n.early)))
               AT TIME ZONE 'UTC' AS start,
           (n.anchor + make_interval(months => n.months * (n.at - n.early + 1)))
               AT TIME ZONE 'UTC' AS "end"
    FROM (
        SELECT m.*, (m.anchor + make_interval(months => m.months * m.at) > m.start)::int AS early
        FROM (
            SELECT u.*, floor((12 * (EXTRACT(year FROM u.start) - EXTRACT(year FROM u.anchor))
                    + EXTRACT(month FROM u.start) - EXTRACT(month FROM u.anchor)) / u.months)::int AS at
            FROM (SELECT s.anchor AT TIME ZONE 'UTC' AS anchor, p.start AT TIME ZONE 'UTC' AS start,
                         CASE s.interval WHEN 'year' THEN 12 ELSE 1 END AS months) AS u
        ) AS m
    ) AS n
) AS paid ON s.id IS NOT NULL
LEFT JOIN billing_invoice i
    ON i.org_id = p.org_id AND i.source = 'usage' AND i.period_start = p.start
LEFT JOIN billing_billingdetails d ON d.org_id = p.org_id
WHERE p."end" <= %(now)s AND p."end" > %(since)s AND {due} AND {orgs}
  AND (EXISTS (SELECT FROM quotas_planprice r WHERE r.plan_id = t.plan_id AND r.amount_minor > 0)
       OR EXISTS (SELECT FROM quotas_plancharge h WHERE h.plan_id = t.plan_id))
  AND d.partner_id IS NULL
  AND (NOT COALESCE(s.collection = 'manual' AND NOT s.trialing, FALSE)
       OR t.start <= p.start AND (s.interval = 'year' OR p."end" >= paid."end"))
  AND NOT (COALESCE(s.collection = 'stripe', FALSE) AND s.currency = ANY(%(rounded)s))
  AND NOT EXISTS (
      SELECT FROM billing_credit k WHERE k.org_id = p.org_id AND k.remaining_minor > 0
      AND k.currency = COALESCE(s.currency, %(default_currency)s)
      AND (k.expires_at IS NULL OR k.expires_at >= p."end"))
"""
ENDED = "i.id IS NULL AND p.closed_at IS NULL"
FINAL = "p.closed_at IS NOT NULL AND (i.id IS NULL OR i.status = 'draft' AND NOT i.nothing_due)"
WITHIN = invoicing.WITHIN.format(row="p")
LOCKED = "p.org_id = ANY(%(orgs)s)"
# The next organizations in which a period ended lately: a batch costs the same however many there are.
WINDOW = """
SELECT count(*), max(org_id) FROM (
    SELECT DISTINCT org_id FROM quotas_usageperiod
    WHERE org_id > %(after)s AND "end" <= %(now)s AND "end" > %(since)s ORDER BY org_id LIMIT %(most)s
) AS found
"""
CANDIDATES = "SELECT DISTINCT org_id FROM ({plain}) AS found"
LOCK = """
SELECT id FROM orgs_organization WHERE id = ANY(%(orgs)s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""
DROP = (
    "DROP TABLE IF EXISTS pg_temp.close_batch, pg_temp.close_title, pg_temp.close_currency,"
    " pg_temp.close_tax, pg_temp.close_line, pg_temp.close_total, pg_temp.close_invoice"
)
# One period of an organization a batch: of several that are due the earliest, for the order of numbers.
BATCH = """
CREATE TEMPORARY TABLE close_batch ON COMMIT DROP AS
SELECT DISTINCT ON (org_id) *, COALESCE(draft_id, nextval('billing_invoice_id_seq')) AS invoice_id
FROM ({plain}) AS found ORDER BY org_id, start
"""
CHARGES = """
SELECT DISTINCT c.id FROM quotas_plancharge c JOIN close_batch b USING (plan_id, currency)
"""
BUYERS = """
SELECT DISTINCT country, state, tax_id_type, tax_exempt, tax_day FROM close_batch
WHERE country <> '' OR tax_exempt
"""
# Each charge with its title, how many minor units a major one has, and the tax of each kind of buyer.
FACTS = """
CREATE TEMPORARY TABLE close_title ON COMMIT DROP AS
SELECT * FROM unnest(%(charges)s::bigint[], %(titles)s::text[]) AS t(charge_id, title);
CREATE TEMPORARY TABLE close_currency ON COMMIT DROP AS
SELECT * FROM unnest(%(currencies)s::text[], %(units)s::numeric[]) AS t(currency, per_unit);
CREATE TEMPORARY TABLE close_tax ON COMMIT DROP AS
SELECT * FROM unnest(%(countries)s::text[], %(states)s::text[], %(kinds)s::text[], %(exempt)s::bool[],
                     %(days)s::date[], %(names)s::text[], %(rates)s::numeric[], %(notes)s::text[])
    AS t(country, state, tax_id_type, tax_exempt, tax_day, title, percentage, note)
"""
# The level of a gauge before a time, and its integral up to then.
STOOD = """
LEFT JOIN LATERAL (
    SELECT integral + used * EXTRACT(epoch FROM {at} - at) AS integral FROM quotas_gaugechange
    WHERE org_id = b.org_id AND resource = c.resource AND at < {at} AND u.integral IS NULL
    ORDER BY at DESC LIMIT 1
) AS {name} ON c.resource = ANY(%(gauges)s)"""
OVERAGE = f"""
WITH used AS (
    SELECT b.org_id, b.invoice_id, b.start, b."end", c.id AS charge_id, c.resource, c.unit, c.model,
           c.unit_amount, c.tiers, c.minimum, c.maximum, b.currency,
           round(CASE WHEN c.resource = ANY(%(gauges)s) THEN
                    round(CASE WHEN b.closed_at IS NOT NULL AND u.integral IS NOT NULL THEN u.integral
                        ELSE COALESCE(later.integral, 0) - COALESCE(earlier.integral, 0) END, 60)
                    / (EXTRACT(epoch FROM b."end" - b.start) * c.unit_size)
                 ELSE round(COALESCE(u.used, 0)::numeric, 60) / c.unit_size END, 24) AS units,
           round(round(c.included::numeric, 60) / c.unit_size, 24) AS included
    FROM close_batch b
    JOIN quotas_plancharge c USING (plan_id, currency)
    LEFT JOIN quotas_periodusage u ON u.period_id = b.period_id AND u.resource = c.resource
    {STOOD.format(at='b."end"', name="later")}
    {STOOD.format(at="b.start", name="earlier")}
    WHERE NOT b.trialing AND NOT (c.resource <> 'api_requests' AND EXISTS (
        SELECT FROM quotas_limitoverride o WHERE o.org_id = b.org_id AND o.resource = c.resource
        AND (o.expires_at IS NULL OR o.expires_at >= b."end")))
), billed AS (
    SELECT *, GREATEST(units - included, 0) AS q FROM used
), rated AS (
    SELECT billed.*, LEAST(GREATEST(
        CASE model
        WHEN 'flat' THEN unit_amount
        WHEN 'per_unit' THEN q * unit_amount
        WHEN 'package' THEN ceil(q) * unit_amount
        WHEN 'percentage' THEN q * unit_amount * 0.01
        WHEN 'graduated' THEN (
            SELECT sum(flat + (LEAST(q, up_to) - low) * each) FROM (
                SELECT n, (tier->>'up_to')::numeric AS up_to, (tier->>'unit_amount')::numeric AS each,
                       (tier->>'flat_amount')::numeric AS flat,
                       lag((tier->>'up_to')::numeric, 1, 0) OVER (ORDER BY n) AS low
                FROM jsonb_array_elements(tiers) WITH ORDINALITY AS tier(tier, n)) AS tier
            WHERE n = 1 OR q > low)
        WHEN 'volume' THEN (
            SELECT (tier->>'flat_amount')::numeric + q * (tier->>'unit_amount')::numeric
            FROM jsonb_array_elements(tiers) WITH ORDINALITY AS tier(tier, n)
            WHERE tier->>'up_to' IS NULL OR q <= (tier->>'up_to')::numeric ORDER BY n LIMIT 1)
        END, minimum), maximum) AS precise
    FROM billed
)
SELECT r.org_id, r.invoice_id, 'overage' AS kind, t.title AS description, r.resource, r.start, r."end",
       r.unit, r.units AS quantity, r.included, r.unit_amount, r.precise AS precise_amount,
       round(r.precise * y.per_unit)::bigint AS amount_minor, 2 AS rank
FROM rated r JOIN close_title t USING (charge_id) JOIN close_currency y USING (currency)
"""  # noqa: S608 - constants only
BASE = """
SELECT b.org_id, b.invoice_id, 'base' AS kind, p.name || ', one ' || b.interval AS description,
       '' AS resource, b.paid_start AS start, b.paid_end AS "end", '' AS unit, 1::numeric AS quantity,
       0::numeric AS included, COALESCE(r.amount_minor, 0) / y.per_unit AS unit_amount,
       COALESCE(r.amount_minor, 0) / y.per_unit AS precise_amount,
       COALESCE(r.amount_minor, 0) AS amount_minor, 1 AS rank
FROM close_batch b JOIN quotas_plan p ON p.id = b.plan_id JOIN close_currency y USING (currency)
LEFT JOIN quotas_planprice r
    ON r.plan_id = b.plan_id AND r.currency = b.currency AND r.interval = b.interval
WHERE b.base AND b.paid_start = b.start
"""
LINES = f"""
CREATE TEMPORARY TABLE close_line ON COMMIT DROP AS
SELECT * FROM ({OVERAGE}) AS found WHERE amount_minor <> 0 UNION ALL {BASE}
"""  # noqa: S608 - constants only
# What each invoice comes to. An amount's tax is rounded once, half away from zero, as all is.
TOTALS = """
CREATE TEMPORARY TABLE close_total ON COMMIT DROP AS
SELECT b.*, l.lines, l.subtotal, COALESCE(x.title, '') AS tax_title, y.per_unit,
       COALESCE(round(l.subtotal * x.percentage * 0.01), 0)::bigint AS tax,
       CASE WHEN l.subtotal <> 0 THEN COALESCE(x.note, '') ELSE '' END AS tax_note
FROM close_batch b JOIN close_currency y USING (currency)
LEFT JOIN close_tax x USING (country, state, tax_id_type, tax_exempt, tax_day)
JOIN (SELECT b.invoice_id, count(l.*) AS lines, COALESCE(sum(l.amount_minor), 0)::bigint AS subtotal
      FROM close_batch b LEFT JOIN close_line l USING (invoice_id) GROUP BY 1) AS l USING (invoice_id)
"""
FORGET_LINES = """
DELETE FROM billing_invoiceline WHERE invoice_id IN (
    SELECT draft_id FROM close_batch WHERE draft_id IS NOT NULL)
"""
# Before their invoices: the database takes no line of one that has its number.
KEEP_LINES = """
INSERT INTO billing_invoiceline (org_id, invoice_id, position, kind, description, resource, start, "end",
    unit, quantity, included, unit_amount, precise_amount, amount_minor)
SELECT org_id, invoice_id,
    row_number() OVER (PARTITION BY invoice_id ORDER BY rank, resource COLLATE "C"), kind,
    description, resource, start, "end", unit, round(quantity, 12), round(included, 12),
    unit_amount, round(precise_amount, 24), amount_minor
FROM (
    SELECT * FROM close_line UNION ALL
    SELECT org_id, invoice_id, 'tax', tax_title, '', start, "end", '', 1, 0, tax / per_unit,
           tax / per_unit, tax, 3
    FROM close_total WHERE tax_title <> '' AND subtotal <> 0
) AS l
"""
COUNT = "SELECT count(*) FROM close_total WHERE lines > 0 OR NOT by_stripe"
# `{status}` of those that say something; a period without a line that Stripe collects says nothing.
INVOICES = """
CREATE TEMPORARY TABLE close_invoice ON COMMIT DROP AS
SELECT t.*, t.subtotal + t.tax AS total, n.number, {final} AND n.number IS NULL AS nothing_due,
       CASE WHEN n.number IS NULL THEN 'draft' WHEN t.subtotal + t.tax = 0 THEN 'paid' ELSE 'open'
       END AS status,
       jsonb_build_object('name', o.name, 'display_name', o.display_name, 'email', w.email)
       || CASE WHEN d.id IS NULL THEN '{{}}'::jsonb ELSE jsonb_build_object(
           'legal_name', d.legal_name, 'line1', d.line1, 'line2', d.line2, 'city', d.city,
           'postal_code', d.postal_code, 'state', d.state, 'country', d.country,
           'tax_id_type', d.tax_id_type, 'tax_id', d.tax_id) END AS bill_to
FROM close_total t
JOIN orgs_organization o ON o.id = t.org_id JOIN orgs_user w ON w.id = o.owner_id
LEFT JOIN billing_billingdetails d ON d.org_id = t.org_id
LEFT JOIN (
    SELECT invoice_id, %(seller)s || '-' || %(year)s || '-'
           || lpad(n::text, GREATEST(6, length(n::text)), '0') AS number
    FROM (SELECT invoice_id, %(after)s + row_number() OVER (ORDER BY "end", org_id) AS n
          FROM close_total WHERE {final} AND (lines > 0 OR NOT by_stripe)) AS numbered
) AS n USING (invoice_id)
"""
VALUES = """
    number = v.number, status = v.status, currency = v.currency, total_minor = v.total,
    subtotal_minor = v.subtotal, tax_minor = v.tax, tax_note = v.tax_note, bill_to = v.bill_to,
    period_end = v."end", branding_id = NULL, nothing_due = v.nothing_due,
    finalized_at = CASE WHEN v.number IS NOT NULL THEN %(now)s::timestamptz END,
    due_at = CASE WHEN v.number IS NOT NULL THEN %(due_at)s::timestamptz END,
    settled_at = CASE WHEN v.status = 'paid' THEN %(now)s::timestamptz END,
    settled_by = CASE WHEN v.status = 'paid' THEN %(actor)s ELSE '' END"""
UPDATE_DRAFTS = f"""
UPDATE billing_invoice AS i SET {VALUES} FROM close_invoice v WHERE i.id = v.draft_id
"""  # noqa: S608 - constants only
KEEP_INVOICES = """
INSERT INTO billing_invoice (id, org_id, period_start, period_end, number, status, currency, total_minor,
    subtotal_minor, tax_minor, credited_minor, tax_note, bill_to, created_at, finalized_at, due_at,
    settled_at, settled_by, settlement_note, nothing_due, source)
SELECT invoice_id, org_id, start, "end", number, status, currency, total, subtotal, tax, 0, tax_note,
    bill_to, %(now)s, CASE WHEN number IS NOT NULL THEN %(now)s::timestamptz END,
    CASE WHEN number IS NOT NULL THEN %(due_at)s::timestamptz END,
    CASE WHEN status = 'paid' THEN %(now)s::timestamptz END,
    CASE WHEN status = 'paid' THEN %(actor)s ELSE '' END, '', nothing_due, 'usage'
FROM close_invoice WHERE draft_id IS NULL
"""
AUDIT = """
INSERT INTO orgs_auditevent (org_id, at, actor_kind, actor_label, action, target_type, target_id, data,
    request_id)
SELECT org_id, %(now)s, %(actor_kind)s, %(actor)s, 'invoice.finalized', 'invoice', invoice_id::text,
    jsonb_build_object('number', number, 'amount_cents', total, 'currency', currency), %(request_id)s
FROM close_invoice WHERE number IS NOT NULL
"""
TAKE_NUMBERS = """
INSERT INTO billing_numbersequence AS s (seller, year, last) VALUES (%(seller)s, %(year)s, %(count)s)
ON CONFLICT (seller, year) DO UPDATE SET last = s.last + EXCLUDED.last RETURNING last
"""
