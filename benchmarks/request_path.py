"""The governed request beside the bare view and the conventional stack, over HTTP.

The server is pinned to one core; PostgreSQL, Valkey and the client share the other. `--organizations N`
sets how many exist (10,000 of them are called at most), `--seconds S` the length of a turn.
"""

import argparse
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median

import psycopg
from _harness import interleaved, own_database, ratio, report, table

CONNECTIONS = 8
HERE = Path(__file__).parent
ROUNDS = 7
PINNED = (
    "import os, sys; os.sched_setaffinity(0, {0});"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--organizations", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with own_database("path") as conninfo:
        callers = seed(options.organizations)
        with psycopg.connect(conninfo, autocommit=True) as owner:
            owner.execute("SET spoke.everything = 'on'")
            from _peers import TABLES

            owner.execute(TABLES)
        with served(options.threads) as port:
            # The last caller's limit is used up.
            client = Client(port, callers[:-1], options.seconds)
            refused = Client(port, callers[-1:], options.seconds, status=429)
            variants = {
                "governed": lambda: client.run("/orgs/{}"),
                "bare": lambda: client.run("/bare/{}"),
                "conventional": lambda: client.run("/conventional/{}"),
                "refused": lambda: refused.run("/orgs/{}"),
            }
            # Every organization once, so that nobody pays for another's cold start.
            client.warm("/orgs/{}")
            rates = interleaved(variants, rounds=ROUNDS)
    rows = [[name, f"{median(rates[name]):,.0f}", ""] for name in variants]
    rows += [
        ["governed / bare", f"{ratio(rates, 'governed', 'bare'):.2f}", "≥ 0.90"],
        ["governed / conventional", f"{ratio(rates, 'governed', 'conventional'):.2f}", "≥ 3.0"],
        ["cost of a refused one", f"{ratio(rates, 'governed', 'refused'):.2f}", "≤ 0.50"],
    ]
    report(
        f"Request path, {options.organizations:,} organizations",
        f"`GET /orgs/{{id}}`, {CONNECTIONS} connections, granian with {options.threads} threads on one"
        f" core, medians of {ROUNDS} interleaved rounds of {options.seconds:g} s.\n\n"
        + table(["variant", "requests/s or ratio", "goal"], rows),
    )


def seed(number: int) -> list[tuple[int, str]]:
    """Organizations, each with an owner; (id, token) of those that are called."""
    from django.utils import timezone

    from orgs.models import ApiToken, Membership, Organization, User
    from orgs.services.tokens import digest_of, new_secret
    from quotas.models import LimitOverride, Plan, PlanAssignment
    from spoke.core import tenancy

    now = timezone.now()
    times = {"created_at": now, "updated_at": now}
    called = min(number, 10_000)
    plan = Plan.objects.current().get(code="enterprise")
    secrets = [new_secret() for _ in range(called)]
    with tenancy.all_organizations(reason="benchmark"):
        people = User.objects.bulk_create(
            [User(email=f"u{n}@example.com", password="!") for n in range(number)], batch_size=5_000
        )
        organizations = Organization.objects.bulk_create(
            [
                Organization(name=f"org-{n}", display_name="Bench", owner=people[n], **times)
                for n in range(number)
            ],
            batch_size=5_000,
        )
        Membership.objects.bulk_create(
            [
                Membership(org=org, user=person, role="owner", **times)
                for org, person in zip(organizations, people, strict=True)
            ],
            batch_size=5_000,
        )
        PlanAssignment.objects.bulk_create(
            [PlanAssignment(org=org, plan=plan, assigned_at=now) for org in organizations],
            batch_size=5_000,
        )
        LimitOverride.objects.create(
            org=organizations[called - 1], resource="api_requests", limit=0, created_at=now
        )
        ApiToken.objects.bulk_create(
            ApiToken(
                user=people[n],
                created_by=people[n],
                name="bench",
                prefix=secret[:12],
                digest=digest_of(secret),
                scopes=["admin"],
                created_at=now,
                last_used_at=now,
            )
            for n, secret in enumerate(secrets)
        )
    return [(organizations[n].pk, secret) for n, secret in enumerate(secrets)]


@contextlib.contextmanager
def served(threads: int):
    """A server of the whole application on the first core; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "_bench_settings",
        "PYTHONPATH": f"{HERE}:{HERE.parent}",
        "LOG_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore",
        "PRINCIPAL_CACHE_SECONDS": "600",
    }
    command = ["granian", "--interface", "wsgi", "spoke.wsgi:application", "--no-ws"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--blocking-threads", str(threads), "--backlog", "1024"]
    process = subprocess.Popen(
        [sys.executable, "-c", PINNED, "-m", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.sched_setaffinity(0, {1} if (os.cpu_count() or 1) > 1 else {0})
    try:
        wait_for(port)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health/live")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError("the server did not start")


class Client:
    """Keeps a few connections busy with reads of organizations, in turn."""

    def __init__(
        self, port: int, callers: list[tuple[int, str]], seconds: float, status: int = 200
    ) -> None:
        self.port, self.callers, self.seconds, self.status = port, callers, seconds, status

    def warm(self, path: str) -> None:
        for _ in range(3):
            self._together(path, len(self.callers) // CONNECTIONS + 1, None)

    def run(self, path: str) -> int:
        return self._together(path, None, time.perf_counter() + self.seconds)

    def _together(self, path: str, count: int | None, end: float | None) -> int:
        done = [0] * CONNECTIONS
        failures: list[str] = []

        def work(number: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            position = number
            while count is None or done[number] < count:
                if end is not None and time.perf_counter() >= end:
                    break
                org_id, token = self.callers[position % len(self.callers)]
                position += CONNECTIONS
                connection.request(
                    "GET", path.format(org_id), headers={"Authorization": f"Bearer {token}"}
                )
                response = connection.getresponse()
                body = response.read()
                if response.status != self.status:
                    failures.append(f"{response.status} {body[:200]!r}")
                    return
                done[number] += 1

        threads = [threading.Thread(target=work, args=(n,)) for n in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise RuntimeError(failures[0])
        return sum(done)


if __name__ == "__main__":
    main()
