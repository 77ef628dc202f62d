"""With Valkey away requests are served under a local limit, and nothing that was served is lost."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis import Redis
from structlog.testing import capture_logs

from conftest import door
from quotas.models import FlushedGeneration, PeriodUsage
from quotas.services import local_limit, rate_limit
from quotas.services.local_limit import Batch, Breaker, LocalLimiter, Spool
from quotas.services.rate_limit import hit_organization, hit_user, requests_of_hour
from quotas.services.valkey import is_silent, shard_of
from quotas.tests.conftest import flush_shard
from quotas.tests.threads import at_once
from spoke.core.errors import ServiceUnavailable
from spoke.devservers.errors import wait_until

HOUR_START = 1_795_442_400  # 2026-11-23T14:00:00Z


@pytest.fixture(autouse=True)
def _two_processes(settings):
    settings.QUOTA_WEB_PROCESSES = 2
    settings.QUOTA_RATE_LIMIT_FAIL_CLOSED = False


@pytest.fixture
def clock(monkeypatch):
    """The breaker's clock, moved by hand: `clock.now += 1`."""

    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(rate_limit.outage, "breaker", Breaker(clock))
    return clock


def misses() -> float:
    return REGISTRY.get_sample_value("spoke_quota_limiter_misses_total") or 0.0


def pending(url: str, org_id: int) -> int:
    """What Valkey holds of an organization's requests, set aside or not."""
    client, shard = Redis.from_url(url), shard_of(org_id)
    keys = [f"spoke:{{{shard}}}:requests"]
    keys += [f"{keys[0]}:{name.decode()}" for name in client.smembers(f"spoke:{{{shard}}}:claimed")]
    hashes: list[Any] = [client.hgetall(key) for key in keys]
    found = sum(
        int(number)
        for counts in hashes
        for field, number in counts.items()
        if field.startswith(f"{org_id}:".encode())
    )
    client.close()
    return found


def test_an_outage_serves_under_the_local_limit_and_recovers_without_a_restart(own_valkey, clock):
    assert hit_organization(org_id=1, limit=10).remaining == 9
    own_valkey.stop()
    before = misses()
    verdicts = [hit_organization(org_id=1, limit=10) for _ in range(7)]
    # Two processes share the limit of 10.
    assert [verdict.allowed for verdict in verdicts] == [True] * 5 + [False] * 2
    assert [verdict.remaining for verdict in verdicts] == [4, 3, 2, 1, 0, 0, 0]
    assert 3600 <= verdicts[-1].reset <= 3661
    assert misses() == before + 7
    assert hit_user(user_id=1, limit=10).allowed
    assert hit_organization(org_id=1, limit=0).allowed is False
    assert hit_organization(org_id=2, limit=None).remaining is None
    assert rate_limit.outage.spool.pending() == 6
    assert requests_of_hour(org_id=1) is None

    own_valkey.start()
    # Within the second nobody asks; after it, the first does, and hands over what was counted here.
    assert hit_organization(org_id=2, limit=10).remaining == 3
    clock.now += 1
    assert hit_organization(org_id=1, limit=10).remaining == 9
    assert rate_limit.outage.spool.pending() == 0
    assert (pending(own_valkey.url, 1), pending(own_valkey.url, 2)) == (6, 2)


def test_while_it_is_down_one_request_a_second_tries(own_valkey, clock, monkeypatch):
    own_valkey.stop()
    tried = []

    def recover() -> None:
        tried.append(clock.now)
        Redis.from_url(own_valkey.url).ping()

    monkeypatch.setattr(rate_limit.outage, "_recover", recover)
    for _ in range(30):
        hit_organization(org_id=1, limit=1000)
        clock.now += 0.1
    assert len(tried) == 2
    assert rate_limit.outage.spool.pending() == 30


def test_a_server_that_hangs_costs_its_time_out_once_and_not_each_time(own_valkey, clock):
    hit_organization(org_id=1, limit=100)
    own_valkey.freeze()
    started = time.perf_counter()
    allowed = [hit_organization(org_id=1, limit=100).allowed for _ in range(40)]
    elapsed = time.perf_counter() - started
    own_valkey.thaw()
    assert allowed == [True] * 40
    assert elapsed < 2.0  # 40 time-outs of 0.25 s would be 10
    assert wait_until(lambda: not is_silent(), seconds=10)
    clock.now += 1
    assert hit_organization(org_id=1, limit=100).used is not None


def test_refusing_instead_is_a_setting(own_valkey, clock, settings):
    settings.QUOTA_RATE_LIMIT_FAIL_CLOSED = True
    own_valkey.stop()
    for call in (
        lambda: hit_organization(org_id=1, limit=10),
        lambda: hit_user(user_id=1, limit=10),
    ):
        with pytest.raises(ServiceUnavailable) as caught:
            call()
        assert caught.value.status == 503
        assert caught.value.headers == {"Retry-After": "5"}
    assert rate_limit.outage.spool.pending() == 0
    own_valkey.start()
    clock.now += 1
    assert hit_organization(org_id=1, limit=10).allowed


def test_the_outage_is_logged_once_a_minute(own_valkey, clock):
    own_valkey.stop()
    with capture_logs() as logs:
        for _ in range(20):
            hit_organization(org_id=1, limit=100)
    away = [entry for entry in logs if entry["event"] == "quotas.limiter_away"]
    assert len(away) == 1
    assert away[0]["log_level"] == "error"
    assert "ConnectionError" in away[0]["cause"]


def test_what_was_counted_here_reaches_postgresql_once(committed_cast, own_valkey, clock):
    org_id = committed_cast.org.pk
    own_valkey.stop()
    for _ in range(3):
        hit_organization(org_id=org_id, limit=100)
    own_valkey.start()
    clock.now += 1
    hit_organization(org_id=org_id, limit=100)
    shard, now = shard_of(org_id), datetime.now(UTC)
    assert flush_shard(shard=shard, now=now) == 4
    assert flush_shard(shard=shard, now=now) == 0
    with door():
        assert PeriodUsage.objects.get(org_id=org_id).used == 4


@pytest.mark.parametrize("late", [False, True])
def test_a_process_that_is_asked_nothing_more_hands_over_by_itself(own_valkey, monkeypatch, late):
    outage = rate_limit.Outage()
    monkeypatch.setattr(rate_limit, "outage", outage)
    own_valkey.stop()
    if late:  # kept by a request that was slower than the end of the outage
        outage.keep(1, HOUR_START)
        own_valkey.start()
    else:
        for _ in range(3):
            hit_organization(org_id=1, limit=100)
        assert outage.breaker.is_open
        own_valkey.start()
    assert wait_until(lambda: not outage._watching, seconds=10)
    assert outage.spool.pending() == 0
    assert pending(own_valkey.url, 1) == (1 if late else 3)


def test_a_hand_over_that_fails_is_repeated_under_the_same_name(own_valkey):
    spool, names = Spool(), []
    for org_id in (1, 2, 65):
        spool.add(org_id, HOUR_START + 5)

    def fail_second_time(batch: Batch) -> None:
        names.append((batch.shard, batch.generation))
        if len(names) == 2:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        spool.hand_over(fail_second_time)
    spool.add(1, HOUR_START + 6)
    assert spool.pending() == 2
    spool.hand_over(fail_second_time)
    assert spool.pending() == 0
    assert [shard for shard, _ in names] == [1, 2, 2, 1]
    assert names[1] == names[2]
    assert names[0] != names[3]


def test_a_process_that_ends_leaves_its_counts_in_postgresql(committed_cast, own_valkey, clock):
    org_id = committed_cast.org.pk
    own_valkey.stop()
    for _ in range(3):
        hit_organization(org_id=org_id, limit=100)
    rate_limit._hand_over_at_exit()
    rate_limit._hand_over_at_exit()
    assert rate_limit.outage.spool.pending() == 0
    with door():
        assert PeriodUsage.objects.get(org_id=org_id).used == 3
        assert FlushedGeneration.objects.count() == 1


def test_counts_that_do_not_fit_are_counted_as_lost(monkeypatch):
    monkeypatch.setattr(local_limit, "MOST_COUNTS", 2)
    before = REGISTRY.get_sample_value("spoke_quota_requests_lost_total") or 0.0
    spool = Spool()
    for org_id in (1, 2, 3, 1):
        spool.add(org_id, HOUR_START)
    assert spool.pending() == 3
    assert REGISTRY.get_sample_value("spoke_quota_requests_lost_total") == before + 1


def test_the_local_hour_slides_by_minutes():
    limiter, start = LocalLimiter(), HOUR_START + 30.0
    assert [limiter.hit("a", 2, start)[0] for _ in range(3)] == [True, True, False]
    assert limiter.hit("b", 2, start) == (True, 1, 3631)
    assert limiter.hit("a", 2, start + 3600)[0] is False
    assert limiter.hit("a", 2, HOUR_START + 3660.0) == (True, 1, 3661)


def test_the_local_limiter_forgets_whoever_was_away_for_longest(monkeypatch):
    monkeypatch.setattr(local_limit, "MOST_SUBJECTS", 2)
    limiter = LocalLimiter()
    for key in ("a", "b", "a", "c"):
        limiter.hit(key, 5, HOUR_START)
    assert limiter.hit("a", 5, HOUR_START)[1] == 2
    assert limiter.hit("b", 5, HOUR_START)[1] == 4


def test_the_local_limit_holds_for_many_threads():
    limiter = LocalLimiter()
    allowed, errors = at_once(
        8, lambda _: sum(limiter.hit("a", 100, HOUR_START)[0] for _ in range(50))
    )
    assert errors == []
    assert sum(allowed) == 100
