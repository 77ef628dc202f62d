"""Governance with few and with many organizations: how long a look-up takes, and what one costs Valkey.

    python benchmarks/organizations.py [--write] [--full] [--rounds 7]

Two databases, of 1,000 and of 100,000 organizations (--full: 1,000,000), each with a process of its own
that takes turns with the other. 10,000 of the organizations (or all, if there are fewer) are active in
Valkey; the process remembers 1,000 of them (--full: all).
"""

import argparse
import contextlib
import multiprocessing
import os
import random
from collections.abc import Callable
from statistics import median
from typing import Any

import psycopg
from _harness import interleaved, own_database, ratio, report, table

SMALL, LARGE, FULL = 1_000, 100_000, 1_000_000
ACTIVE, REMEMBERED = 10_000, 1_000
# Look-ups in one turn. A cold one asks PostgreSQL, the others do not.
TURNS = {"script": 3_000, "warm": 1_000, "cold": 200}
TITLES = {
    "script": "limit, count and stamp: one EVALSHA",
    "warm": "governance of a request, remembered",
    "cold": "the same, nothing remembered",
}
# Far from the ids of whatever else counts in this Valkey.
FIRST_IDS = {"small": 10**12, "large": 2 * 10**12}


class Side:
    """One database with its organizations, and the ways to look one up."""

    def __init__(self, first_id: int, number: int, conninfo: str) -> None:
        import django.test
        from django.conf import settings
        from redis import Redis

        self.redis = Redis.from_url(settings.REDIS_URL)
        step = max(number // ACTIVE, 1)
        self.org_ids = [first_id + n for n in range(0, number, step)][:ACTIVE]
        with psycopg.connect(conninfo, autocommit=True) as owner:
            owner.execute("SET spoke.everything = 'on'")
            owner.execute("SET statement_timeout = 0")
            tokens = seed(owner, first_id, number, self.org_ids)
            owner.execute("VACUUM ANALYZE")
        factory = django.test.RequestFactory()
        self.requests = [
            (
                str(org_id),
                factory.get(f"/orgs/{org_id}", headers={"Authorization": f"Bearer {raw}"}),
            )
            for org_id, raw in zip(self.org_ids, tokens, strict=True)
        ]
        random.Random(1).shuffle(self.requests)
        self.position = 0

    def next(self, number: int) -> list[tuple[str, Any]]:
        """The next active organizations in a fixed, shuffled order, round and round."""
        some = [self.requests[(self.position + n) % len(self.requests)] for n in range(number)]
        self.position += number
        return some

    def script(self) -> int:
        some = [
            self.org_ids[(self.position + n) % len(self.org_ids)] for n in range(TURNS["script"])
        ]
        self.position += len(some)
        return self._hit(some)

    def _hit(self, org_ids: list[int]) -> int:
        from quotas.services.rate_limit import hit_organization

        for org_id in org_ids:
            assert hit_organization(org_id=org_id, limit=10**9, stamp="").allowed
        return len(org_ids)

    def warm(self) -> int:
        for ref, request in self.next(TURNS["warm"]):
            govern(ref, request)
        return TURNS["warm"]

    def cold(self) -> int:
        from orgs.services import grants
        from quotas.api import throttling

        for ref, request in self.next(TURNS["cold"]):
            grants.forget(raw=request.headers["Authorization"].partition(" ")[2], ref=ref)
            throttling._limits.drop(int(ref))
            govern(ref, request)
        return TURNS["cold"]

    def first_time(self) -> float:
        """Every active organization is called once; bytes of Valkey's memory that each took."""
        self._hit(self.org_ids[:1])  # the connection's and the script's own
        before = self._memory()
        self._hit(self.org_ids[1:])
        taken = self._memory() - before
        for ref, request in self.requests:
            govern(ref, request)
        return taken / (len(self.org_ids) - 1)

    def _memory(self) -> int:
        return int(self.redis.info("memory")["used_memory"])

    def forget(self) -> int:
        """Valkey has nothing of these organizations any more."""
        from quotas.services import valkey

        pipeline = self.redis.pipeline(transaction=False)
        for org_id in self.org_ids:
            requests = valkey.requests_key(valkey.shard_of(org_id))
            pipeline.delete(valkey.organization_key(org_id))
            pipeline.hkeys(requests)
        for org_id, fields in zip(self.org_ids, pipeline.execute()[1::2], strict=True):
            mine = [field for field in fields if field.startswith(b"%d:" % org_id)]
            if mine:
                self.redis.hdel(valkey.requests_key(valkey.shard_of(org_id)), *mine)
        return 0


def govern(ref: str, request: Any) -> None:
    """What stands in front of `GET /orgs/{id}`: token, membership, permission, limit, count."""
    from orgs.api.organizations import OrganizationViewSet

    view = OrganizationViewSet()
    view.action_map, view.args, view.kwargs = {"get": "retrieve"}, (), {"org": ref}
    view.request = view.initialize_request(request)
    view.initial(view.request)
    assert view.request.limit_headers


def seed(owner: Any, first_id: int, number: int, called: list[int]) -> list[str]:
    """Organizations with an owner each, by statements over all of them; the tokens of those called."""
    from django.utils import timezone

    from orgs.models import ApiToken, Membership, Organization, User
    from orgs.services.tokens import digest_of, new_secret
    from quotas.models import Plan, PlanAssignment
    from spoke.core import tenancy

    now = timezone.now()
    times = {"created_at": now, "updated_at": now}
    plan = Plan.objects.current().get(code="enterprise")
    with tenancy.all_organizations(reason="benchmark"):
        user = User.objects.create(id=first_id - 1, email="first@example.com", password="!")
        org = Organization.objects.create(id=first_id - 1, name="first", owner=user, **times)
        member = Membership.objects.create(org=org, user=user, role="owner", **times)
        assignment = PlanAssignment.objects.create(org=org, plan=plan, assigned_at=now)
    own_id = f"{first_id} + n"
    for model, changed in (
        (user, {"id": own_id, "email": "'u' || n || '@example.com'"}),
        (org, {"id": own_id, "owner_id": own_id, "name": "'org-' || n"}),
        (member, {"org_id": own_id, "user_id": own_id}),
        (assignment, {"org_id": own_id}),
    ):
        repeat(owner, model, changed, number)
    secrets = [new_secret() for _ in called]
    with tenancy.all_organizations(reason="benchmark"):
        ApiToken.objects.bulk_create(
            [
                ApiToken(
                    user_id=org_id,
                    created_by_id=org_id,
                    name="bench",
                    prefix=secret[:12],
                    digest=digest_of(secret),
                    scopes=["admin"],
                    created_at=now,
                    last_used_at=now,
                )
                for org_id, secret in zip(called, secrets, strict=True)
            ],
            batch_size=2_000,
        )
    return secrets


def repeat(owner: Any, row: Any, changed: dict[str, str], number: int) -> None:
    """So many copies of a row, with some columns as expressions of n."""
    fields = [field for field in row._meta.concrete_fields if field.column in changed]
    others = [
        field
        for field in row._meta.concrete_fields
        if field.column not in changed and not (field.primary_key and field.column == "id")
    ]
    columns = [f'"{field.column}"' for field in (*fields, *others)]
    values = [changed[field.column] for field in fields] + [f't."{f.column}"' for f in others]
    owner.execute(
        f'INSERT INTO "{row._meta.db_table}" ({", ".join(columns)})'
        f' SELECT {", ".join(values)} FROM "{row._meta.db_table}" t, generate_series(0, %s) n'
        f' WHERE t."{row._meta.pk.column}" = %s',
        [number - 1, row.pk],
    )


def serve(pipe: Any, name: str, number: int) -> None:
    """A process: makes its database, then does as it is told until it is told None."""
    os.environ["PRINCIPAL_CACHE_SECONDS"] = "36000"
    with own_database(f"organizations_{name}") as conninfo:
        side = Side(FIRST_IDS[name], number, conninfo)
        pipe.send("ready")
        try:
            while (method := pipe.recv()) is not None:
                pipe.send(getattr(side, method)())
        except EOFError:
            pass
        finally:
            side.forget()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} organizations")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    sizes = {"small": SMALL, "large": FULL if options.full else LARGE}
    # Nothing of Django is loaded yet: each process sets it up for a database of its own.
    context = multiprocessing.get_context("fork")
    pipes, processes = {}, []
    for name, number in sizes.items():
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(theirs, name, number)))
        processes[-1].start()
        theirs.close()

    def told(name: str, method: str) -> Any:
        pipes[name].send(method)
        return pipes[name].recv()

    def turn(name: str, method: str) -> Callable[[], int]:
        return lambda: told(name, method)

    try:
        for pipe in pipes.values():
            assert pipe.recv() == "ready"
        memory = {name: told(name, "first_time") for name in sizes}
        rates = interleaved(
            {f"{name} {way}": turn(name, way) for way in TURNS for name in sizes},
            rounds=options.rounds,
        )
    finally:
        for pipe in pipes.values():
            with contextlib.suppress(OSError):
                pipe.send(None)
        for process in processes:
            process.join(60)
    present(sizes, memory, rates, options.rounds)


def present(sizes: dict[str, int], memory: dict[str, float], rates: Any, rounds: int) -> None:
    rows = []
    for way, title in TITLES.items():
        small, large = (rates[f"{name} {way}"] for name in sizes)
        flat = ratio(rates, f"large {way}", f"small {way}")
        rows.append(
            [
                title,
                *(f"{1e6 / median(r):,.0f} µs" for r in (small, large)),
                f"{flat:.2f}",
                "≥ 0.90",
            ]
        )
    rows.append(
        ["Valkey's memory, an active organization"]
        + [f"{memory[name]:,.0f} bytes" for name in sizes]
        + ["", "≤ 1,024 bytes"]
    )
    report(
        f"From {SMALL:,} to {sizes['large']:,} organizations",
        "One process, no HTTP: what stands in front of the handler of `GET /orgs/{id}` (token,"
        f" membership, permission, limit, count, stamp). {ACTIVE:,} at most are active, and"
        f" the process remembers {ACTIVE if sizes['large'] == FULL else REMEMBERED:,} of them."
        f" Medians of {rounds} rounds that take turns between both databases; the ratio is of rates in"
        " the same round.\n\n"
        + table(["", *(f"{n:,}" for n in sizes.values()), "large / small", "goal"], rows),
    )


if __name__ == "__main__":
    main()
