"""Closing a month for many organizations: periods, then invoices of four lines each.

    python benchmarks/period_close.py [--write] [--organizations 100000] [--rounds 5]

Beside it, on the same rows: the readable rules one organization after another (the ORM loop), and the
bare aggregate of the usage, which is the least that any close has to read. One batch is one transaction,
with row-level security, the audit log and the guards of documents in force.
"""

import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psycopg
from _harness import own_database, report, table

START, END = datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 4, 1, tzinfo=UTC)
NOW = END + timedelta(hours=1)
BATCH = 5_000
LOOP = 300
FILL = """
INSERT INTO orgs_organization (name, display_name, description, owner_id, settings, status,
    status_reason, staff_hold, plan_tier, pending_plan_tier, revision, created_at, updated_at)
SELECT 'org-' || n, 'Organization ' || n, '', %(owner)s, '{}', 'active', '', '', 'pro', '', 1, %(start)s,
    %(start)s FROM generate_series(%(from)s::int, %(to)s::int) n;
INSERT INTO quotas_planassignment (org_id, plan_id, assigned_at)
SELECT id, %(plan)s, %(start)s FROM orgs_organization WHERE id > %(after)s;
INSERT INTO quotas_planterm (org_id, plan_id, start)
SELECT id, %(plan)s, %(start)s FROM orgs_organization WHERE id > %(after)s;
INSERT INTO billing_subscription (org_id, plan_id, status, interval, currency, anchor, started_at,
    current_period_start, current_period_end, cancel_at_period_end, collection, revision, updated_at)
SELECT id, %(plan)s, 'active', 'month', 'usd', %(start)s, %(start)s, %(start)s, %(end)s, FALSE,
    'manual', 1, %(start)s FROM orgs_organization WHERE id > %(after)s;
INSERT INTO quotas_usageperiod (org_id, start, "end")
SELECT id, %(start)s, %(end)s FROM orgs_organization WHERE id > %(after)s;
INSERT INTO quotas_periodusage (org_id, period_id, resource, used)
SELECT p.org_id, p.id, r.resource, r.used + p.org_id %% 997
FROM quotas_usageperiod p
CROSS JOIN (VALUES ('compile_jobs', 1001), ('api_requests', 650000)) r(resource, used)
WHERE p.org_id > %(after)s;
INSERT INTO quotas_gaugechange (org_id, resource, at, used, integral)
SELECT id, 'storage', %(start)s + (id %% 86400) * interval '1 second', 12000000000 + id, 0
FROM orgs_organization WHERE id > %(after)s;
"""
BARE = """
SELECT count(*), sum(used) FROM (
    SELECT u.org_id, sum(u.used) AS used FROM quotas_usageperiod p
    JOIN quotas_periodusage u ON u.period_id = p.id WHERE p."end" = %s GROUP BY 1) AS found
"""
FORGET = (
    "TRUNCATE billing_invoice, billing_invoiceline, billing_numbersequence, orgs_auditevent CASCADE"
)
TABLES = (
    "orgs_organization, quotas_planterm, billing_subscription, quotas_usageperiod, quotas_periodusage,"
    " quotas_gaugechange, billing_invoice, billing_invoiceline"
)


def option(name: str, default: int) -> int:
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def main() -> None:
    most, rounds = option("--organizations", 100_000), option("--rounds", 5)
    rows = []
    with own_database("close") as conninfo, psycopg.connect(conninfo, autocommit=True) as owner:
        owner.execute("SET spoke.everything = 'on'")
        stored = 0
        for number in (most // 10, most):
            fill(owner, stored, number)
            closing = closed(number - stored)
            stored = number
            rows.append(measure(owner, number, closing, rounds))
        backend = anonymous_memory()
    small, large = rows
    report(
        "Period close",
        f"Invoices of four lines (base price and three overages) in batches of {BATCH:,}, on one"
        f" connection, or two side by side; medians of {rounds} interleaved rounds; the loop over"
        f" {LOOP} organizations. Most memory: {peak_memory():,.0f} MiB in Python, {backend:,.0f} MiB in"
        " its PostgreSQL process.\n\n"
        + table(
            [
                *("organizations", "periods closed/s", "invoices/s (goal 20,000)"),
                *("two windows side by side", "ORM loop"),
                *("ours / loop", "bare aggregate", "ours / bare (goal 10)"),
            ],
            [shown(row) for row in rows],
        )
        + f"\n\nTen times the organizations: {large['set'] / small['set']:.2f} of the invoices/s.",
    )


def shown(row: dict[str, float]) -> list[str]:
    return [
        f"{row['number']:,.0f}",
        f"{row['closing']:,.0f}",
        f"{row['set']:,.0f}",
        f"{row['both']:,.0f}",
        f"{row['loop']:,.0f}",
        f"{row['set'] / row['loop']:,.0f}",
        f"{row['bare']:.2f} s",
        f"{row['number'] / row['set'] / row['bare']:,.0f}",
    ]


def fill(owner, stored: int, number: int) -> None:
    from orgs.models import User
    from quotas.models import Plan

    user = User.objects.filter(email="bench@example.com").first()
    user = user or User.objects.create_user("bench@example.com")
    (after,) = owner.execute("SELECT COALESCE(max(id), 0) FROM orgs_organization").fetchone()
    values = {
        "owner": user.pk,
        "plan": Plan.objects.current().get(code="pro").pk,
        "start": START,
        "end": END,
        "from": stored + 1,
        "to": number,
        "after": after,
    }
    for statement in FILL.strip().split(";"):
        if statement:
            owner.execute(statement, values)
    owner.execute(f"VACUUM ANALYZE {TABLES}")


def closed(expected: int) -> float:
    """Periods closed a second."""
    from quotas.services.period_close import close_periods

    start, done = time.perf_counter(), 0
    while count := close_periods(now=NOW, most=BATCH):
        done += count
    assert done == expected, done
    return done / (time.perf_counter() - start)


def measure(owner, number: int, closing: float, rounds: int) -> dict[str, float]:
    owner.execute(f"VACUUM ANALYZE {TABLES}")
    rates: dict[str, list[float]] = {"set": [], "both": [], "loop": [], "bare": []}
    work = {
        "set": lambda: number / by_set(owner, number),
        "both": lambda: number / by_set(owner, number, side_by_side=2),
        "loop": lambda: LOOP / by_loop(owner),
        "bare": lambda: bare(owner, number),
    }
    for turn in range(rounds):
        for name in list(work) if turn % 2 else reversed(list(work)):
            rates[name].append(work[name]())
    return {
        "number": number,
        "closing": closing,
        **{name: median(values) for name, values in rates.items()},
    }


def by_set(owner, number: int, side_by_side: int = 1) -> float:
    from billing.services.set_close import windows

    owner.execute(FORGET)
    start = time.perf_counter()
    with ThreadPoolExecutor(side_by_side) as pool:
        run = map if side_by_side == 1 else pool.map
        done = sum(run(finalized, windows(now=NOW, most=BATCH)))
    elapsed = time.perf_counter() - start
    (lines,) = owner.execute("SELECT count(*) FROM billing_invoiceline").fetchone()
    (last,) = owner.execute("SELECT max(number) FROM billing_invoice").fetchone()
    assert (done, lines, last) == (number, 4 * number, f"SPK-2027-{number:06}"), (done, lines, last)
    return elapsed


def finalized(window) -> int:
    from billing.services.set_close import finalize_window

    return finalize_window(window, now=NOW)


def by_loop(owner) -> float:
    from billing.services import invoicing
    from orgs.models import Organization
    from spoke.core import tenancy

    owner.execute(FORGET)
    with tenancy.all_organizations(reason="benchmark"):
        ids = list(Organization.objects.order_by("pk").values_list("pk", flat=True)[:LOOP])
    start = time.perf_counter()
    for org_id in ids:
        with tenancy.organization(org_id):
            draft = invoicing.draft_invoice(org_id=org_id, period_start=START, now=NOW)
            done = invoicing.finalize_invoice(org_id=org_id, invoice_id=draft.pk, now=NOW)
    elapsed = time.perf_counter() - start
    assert done.number == f"SPK-2027-{LOOP:06}"
    return elapsed


def bare(owner, number: int) -> float:
    start = time.perf_counter()
    found, _ = owner.execute(BARE, [END]).fetchone()
    assert found == number
    return time.perf_counter() - start


def peak_memory() -> float:
    """MiB, of this process since it began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def anonymous_memory() -> float:
    """MiB that Django's PostgreSQL process has of its own, beside the shared buffers."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
