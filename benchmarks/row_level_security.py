"""What row-level security costs: the same work with policies and context, and with neither."""

from contextlib import nullcontext
from statistics import median

import psycopg
from _harness import interleaved, own_database, ratio, report, table

ORGANIZATIONS = 1_000
MODULES_EACH = 50
TRANSACTIONS = 300
ROUNDS = 9

PROTECTED = ("registry_module", "orgs_auditevent")


def main() -> None:
    with own_database("rls") as conninfo, psycopg.connect(conninfo, autocommit=True) as owner:
        org_ids = seed()
        owner.execute("VACUUM ANALYZE")
        rows = [compare(owner, title, *pair) for title, pair in workloads(org_ids).items()]
    report(
        "Row-level security",
        f"{ORGANIZATIONS:,} organizations, {MODULES_EACH} modules each; through Django on one"
        f" connection; medians of {ROUNDS} interleaved rounds.\n\n"
        + table(["work", "with, tx/s", "without, tx/s", "ratio"], rows),
    )


def compare(owner, title: str, scoped, bare) -> list[str]:
    """Policies are switched between the rounds; each run warms up first."""
    rates = {"with": [], "without": []}
    for _ in range(ROUNDS):
        for name, switch, work in (("with", "ENABLE", scoped), ("without", "DISABLE", bare)):
            for protected in PROTECTED:
                owner.execute(f"ALTER TABLE {protected} {switch} ROW LEVEL SECURITY")
            rates[name] += interleaved({name: work}, rounds=1)[name]
    medians = [f"{median(rates[name]):,.0f}" for name in rates]
    return [title, *medians, f"{ratio(rates, 'with', 'without'):.2f}"]


def seed() -> list[int]:
    """Organizations with modules; returns the organizations' ids."""
    from django.utils import timezone

    from orgs.models import Organization, User
    from registry.models import Module
    from spoke.core import tenancy

    times = {"created_at": timezone.now(), "updated_at": timezone.now()}
    user = User.objects.create_user("bench@example.com")
    with tenancy.all_organizations(reason="benchmark"):
        organizations = Organization.objects.bulk_create(
            Organization(name=f"org-{n}", display_name="", owner=user, **times)
            for n in range(ORGANIZATIONS)
        )
        Module.objects.bulk_create(
            Module(org=org, name=f"module-{n}", **times)
            for org in organizations
            for n in range(MODULES_EACH)
        )
    return [org.pk for org in organizations]


def workloads(org_ids: list[int]):
    """Each piece of work in its scope, and in a bare transaction."""
    from django.db import transaction
    from django.utils import timezone

    from orgs.models import AuditEvent
    from registry.models import Module
    from spoke.core import tenancy

    now = timezone.now()

    def read(org_id: int, times: int) -> None:
        for number in range(times):
            Module.objects.get(org_id=org_id, name=f"module-{number % MODULES_EACH}")

    def add(org_id: int) -> None:
        AuditEvent.objects.create(
            org_id=org_id,
            actor_kind="system",
            actor_label="bench",
            action="bench.added",
            at=now,
        )

    def runs(work, scope):
        def run() -> int:
            for number in range(TRANSACTIONS):
                org_id = org_ids[number * 7 % ORGANIZATIONS]
                with scope(org_id):
                    work(org_id)
            return TRANSACTIONS

        return run

    def bare(_org_id: int):
        return transaction.atomic()

    def reading(org_id: int):
        return tenancy.reading(tenancy.Scope(org_id=org_id))

    pairs = {
        title: (runs(work, tenancy.organization), runs(work, bare))
        for title, work in {
            "one row by (org, name)": lambda org_id: read(org_id, 1),
            "ten rows, one by one": lambda org_id: read(org_id, 10),
            "insert an audit event": add,
        }.items()
    }
    pairs["one row, as a GET reads it"] = (
        runs(lambda org_id: read(org_id, 1), reading),
        runs(lambda org_id: read(org_id, 1), lambda _org_id: nullcontext()),
    )
    return pairs


if __name__ == "__main__":
    main()
