"""Plans, a limiter without memory, and a Valkey that can be stopped."""

import contextlib
import io
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import time_machine
from django.conf import settings as django_settings
from django.core.management import call_command
from redis import Redis
from redis.exceptions import RedisError

from orgs.context import SYSTEM
from quotas.models import LimitOverride, Plan
from quotas.resources import Resource
from quotas.services import flush, rate_limit, rollups
from quotas.services.plans import assign_plan
from spoke.devservers.binaries import find_valkey
from spoke.devservers.places import ServerUser

NOW = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _fresh_limiter(monkeypatch) -> None:
    """What a web process knows of an outage does not outlive a test, nor does a thread of its."""
    monkeypatch.setattr(rate_limit, "outage", rate_limit.Outage(by_itself=False))


@pytest.fixture
def plans(db) -> None:
    call_command("seed_plans", stdout=io.StringIO())


@pytest.fixture
def redis() -> "Redis":
    return Redis.from_url(django_settings.REDIS_URL)


@pytest.fixture
def give(cast, plans) -> Callable[..., None]:
    """`give("pro")` assigns a plan to the cast's organization, at NOW."""

    def assign(code: str, now: datetime = NOW) -> None:
        plan = Plan.objects.current().get(code=code)
        assign_plan(org_id=cast.org.pk, plan=plan, actor=SYSTEM, now=now)

    return assign


def flush_shard(*, shard: int, now: datetime) -> int:
    """What the task does, with one shard."""
    return flush.write_set_aside(shard=shard, generations=flush.set_aside([shard])[shard], now=now)


def override(org_id: int, resource: Resource, limit: int | None, **fields) -> LimitOverride:
    """A limit of one organization, written straight into the table."""
    return LimitOverride.objects.create(
        org_id=org_id, resource=resource, limit=limit, created_at=NOW, **fields
    )


# Of transactions in this database alone: other tests run in the same cluster at once. What a lock on a
# transaction's id shows is late by an instant, which would not do for the real thing.
OWN_BOUNDS = """
SELECT LEAST((
    SELECT min(l.transactionid::text::bigint) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE a.datname = current_database() AND l.locktype = 'transactionid'
      AND l.mode = 'ExclusiveLock' AND l.granted
), pg_snapshot_xmax(s)::text::bigint), pg_snapshot_xmax(s)::text::bigint
FROM pg_current_snapshot() AS s
"""


@pytest.fixture
def alone(monkeypatch) -> None:
    """Rollups wait for nothing but what the test itself leaves open."""
    monkeypatch.setattr(rollups, "BOUNDS", OWN_BOUNDS)


@dataclass
class OwnValkey:
    """A server of one test, on a socket of its own; what it holds does not outlive `stop`."""

    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/v.sock?db=0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                str(find_valkey(ServerUser.current(), spare=self.folder)),
                *("--port", "0", "--unixsocket", f"{self.folder}/v.sock"),
                *("--save", "", "--dir", str(self.folder)),
            ],
            stdout=subprocess.DEVNULL,
        )
        client = Redis.from_url(self.url)
        for _ in range(5000):
            with contextlib.suppress(RedisError):
                client.ping()
                client.close()
                return
            os.sched_yield()
        raise RuntimeError("Valkey did not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture
def own_valkey(tmp_path_factory, settings) -> Iterator[OwnValkey]:
    """Started, and the one that the limiter uses."""
    server = OwnValkey(tmp_path_factory.mktemp("v"))
    server.start()
    settings.REDIS_URL = server.url
    yield server
    server.stop()


@pytest.fixture
def at_now(monkeypatch) -> Iterator[None]:
    """It is NOW, for the web process and for Valkey's clock, which counts the requests."""
    ask = rate_limit._ask

    def ask_at_now(keys, limit, org_id, now, **rest):
        return ask(keys, limit, org_id, now or NOW, **rest)

    monkeypatch.setattr(rate_limit, "_ask", ask_at_now)
    with time_machine.travel(NOW, tick=False):
        yield
