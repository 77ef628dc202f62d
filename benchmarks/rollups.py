"""What rolling up costs: by what is new, and not by what is stored.

    python benchmarks/rollups.py [--write] [--history 200000]

The same increment is added after a history of H events, and after one of 10 times as many.
"""

import sys
import time
from statistics import median

import psycopg
from _harness import own_database, report, table

HISTORY = 200_000
INCREMENT = 20_000
ORGANIZATIONS = 200
ROUNDS = 7

# Spread over organizations, meters, and the last 30 days; what is new over the last two hours.
FILL = """
INSERT INTO quotas_usageevent (org_id, meter_id, idempotency_key, quantity, "timestamp", counted_at,
                               received_at, properties)
SELECT %(first)s + n %% %(orgs)s, m.id, 'k' || n, n %% 11, at, at, %(now)s,
       jsonb_build_object('user', 'u' || n %% 50)
FROM generate_series(1, %(number)s) n
JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS meters
      FROM quotas_meter) m ON m.place = n / 7 %% m.meters
CROSS JOIN LATERAL (
    SELECT %(now)s::timestamptz - (n::bigint * 7919 %% %(seconds)s) * interval '1 second'
) t(at)
"""


def main() -> None:
    history = HISTORY
    if "--history" in sys.argv:
        history = int(sys.argv[sys.argv.index("--history") + 1])
    with own_database("rollups") as conninfo, psycopg.connect(conninfo, autocommit=True) as owner:
        owner.execute("SET spoke.everything = 'on'")
        first, now = prepare()
        fill(owner, first, now, history, seconds=30 * 86_400)
        whole, _ = run()
        small = increments(owner, first, now)
        fill(owner, first, now, 9 * history, seconds=30 * 86_400)
        run()
        large = increments(owner, first, now)
        proof = verified()
    ratio = median(large) / median(small)
    report(
        "Rollups",
        f"Increments of {INCREMENT:,} events of {ORGANIZATIONS} organizations and all meters, into"
        f" hourly and daily buckets; medians of {ROUNDS}. {proof}\n\n"
        + table(
            ["stored before", "first rollup of it", "increment", "events/s", "ratio (goal 1.2)"],
            [
                [f"{history:,}", f"{whole:.2f} s", *figures(small), ""],
                [f"{10 * history:,}", "", *figures(large), f"{ratio:.2f}"],
            ],
        ),
    )


def figures(times: list[float]) -> list[str]:
    return [f"{1000 * median(times):,.0f} ms", f"{INCREMENT / median(times):,.0f}"]


def prepare():
    from django.utils import timezone

    from orgs.models import Organization, User
    from spoke.core import tenancy

    now = timezone.now()
    user = User.objects.create_user("bench@example.com")
    with tenancy.all_organizations(reason="benchmark"):
        rows = Organization.objects.bulk_create(
            Organization(name=f"org-{n}", owner=user, created_at=now, updated_at=now)
            for n in range(ORGANIZATIONS)
        )
    return rows[0].pk, now


def fill(owner, first: int, now, number: int, *, seconds: int) -> None:
    for start in range(0, number, 500_000):
        owner.execute(
            FILL,
            {
                "first": first,
                "orgs": ORGANIZATIONS,
                "now": now,
                "number": min(500_000, number - start),
                "seconds": seconds,
            },
        )
    owner.execute("ANALYZE quotas_usageevent, quotas_meterbucket, quotas_meterdistinct")


def run() -> tuple[float, int]:
    from django.utils import timezone

    from quotas.services.rollups import roll_up

    start = time.perf_counter()
    number = roll_up(now=timezone.now())
    return time.perf_counter() - start, number


def increments(owner, first: int, now) -> list[float]:
    times = []
    for _ in range(ROUNDS + 1):
        fill(owner, first, now, INCREMENT, seconds=7_200)
        elapsed, number = run()
        assert number == INCREMENT, number
        times.append(elapsed)
    return times[1:]


def verified() -> str:
    from quotas.services.rollups import verify

    start = time.perf_counter()
    assert verify() == []
    return f"`usage verify` of all of it: no difference, {time.perf_counter() - start:.1f} s."


if __name__ == "__main__":
    main()
