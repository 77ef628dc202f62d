"""Counted requests reach PostgreSQL: neither lost nor doubled, wherever the flush is killed."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from redis.exceptions import ConnectionError as RedisConnectionError

from conftest import door
from orgs.models import Organization
from quotas import tasks
from quotas.models import FlushedGeneration, PeriodUsage, UsageBucket, UsagePeriod
from quotas.resources import Resource
from quotas.services import flush, overview, periods, usage
from quotas.services.rate_limit import hit_organization
from quotas.services.valkey import claimed_key, requests_key, shard_of
from quotas.tests.conftest import NOW, flush_shard
from quotas.tests.threads import at_once
from spoke.core import tenancy

HOUR = timedelta(hours=1)


class Killed(BaseException):
    """The process is gone: nothing after this line of code runs."""


class Fatal(str):
    """SQL that kills whoever sends it."""

    __slots__ = ()

    def encode(self, *args: str) -> bytes:
        raise Killed


@pytest.fixture
def org_id(committed_cast) -> int:
    return committed_cast.org.pk


def served(org_id: int, number: int, now: datetime = NOW) -> None:
    for _ in range(number):
        hit_organization(org_id=org_id, limit=None, now=now)


def run(org_id: int, now: datetime = NOW) -> int:
    return flush_shard(shard=shard_of(org_id), now=now)


def stored(org_id: int) -> tuple[int, int]:
    """What the periods and the buckets have of an organization's requests."""
    with door():
        rows = PeriodUsage.objects.filter(org_id=org_id, resource=Resource.API_REQUESTS)
        buckets = UsageBucket.objects.filter(org_id=org_id, resource=Resource.API_REQUESTS)
        return (
            sum(rows.values_list("used", flat=True)),
            sum(buckets.values_list("used", flat=True)),
        )


def left(redis, org_id: int) -> list[bytes]:
    shard = shard_of(org_id)
    return sorted(redis.keys(f"{requests_key(shard)}*")) + sorted(redis.keys(claimed_key(shard)))


def test_requests_are_written_by_hour_and_period_and_cleared(org_id, redis):
    served(org_id, 3)
    served(org_id, 2, NOW + HOUR)
    december = datetime(2026, 12, 1, 0, 30, tzinfo=UTC)
    served(org_id, 4, december)
    assert run(org_id, december) == 9
    with door():
        buckets = UsageBucket.objects.filter(org_id=org_id).order_by("hour")
        assert list(buckets.values_list("resource", "hour", "used")) == [
            ("api_requests", NOW.replace(minute=0), 3),
            ("api_requests", NOW.replace(minute=0) + HOUR, 2),
            ("api_requests", december.replace(minute=0), 4),
        ]
        rows = PeriodUsage.objects.filter(org_id=org_id).order_by("period__start")
        assert list(rows.values_list("period__start", "resource", "used")) == [
            (datetime(2026, 11, 1, tzinfo=UTC), "api_requests", 5),
            (datetime(2026, 12, 1, tzinfo=UTC), "api_requests", 4),
        ]
    assert left(redis, org_id) == []


def test_a_second_flush_adds_to_the_first(org_id):
    served(org_id, 3)
    assert run(org_id) == 3
    assert run(org_id) == 0
    served(org_id, 2)
    assert run(org_id) == 2
    assert stored(org_id) == (5, 5)


@pytest.mark.parametrize("point", ["after the claim", "before the commit", "after the commit"])
def test_killed_anywhere_it_neither_loses_nor_doubles(org_id, redis, monkeypatch, point):
    served(org_id, 3)

    def die(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        if point == "after the claim":
            patch.setattr(flush, "_counts_of", die)
        elif point == "before the commit":
            # Every statement but the last of the transaction has run.
            patch.setattr(flush, "COUNT_IN_BUCKETS", Fatal())
        else:
            patch.setattr(flush, "_forget", die)
        with pytest.raises(Killed):
            run(org_id)
    assert stored(org_id) == ((3, 3) if point == "after the commit" else (0, 0))
    assert len(left(redis, org_id)) == 2  # set aside, and named as such
    served(org_id, 2)
    assert run(org_id) == (2 if point == "after the commit" else 5)
    assert stored(org_id) == (5, 5)
    assert left(redis, org_id) == []


def test_killed_between_deleting_and_forgetting_the_name(org_id, redis):
    served(org_id, 3)
    run(org_id)
    redis.sadd(claimed_key(shard_of(org_id)), "gone")
    assert run(org_id) == 0
    assert stored(org_id) == (3, 3)
    assert left(redis, org_id) == []


def test_a_generation_that_comes_back_is_not_counted_again(org_id, redis):
    """As after a fail-over to a replica that had not heard of the flush."""
    served(org_id, 3)
    copy = redis.dump(requests_key(shard_of(org_id)))
    run(org_id)
    redis.restore(requests_key(shard_of(org_id)), 0, copy)
    assert run(org_id) == 0
    assert stored(org_id) == (3, 3)


@pytest.fixture
def disk(monkeypatch):
    """Notes what the flush does in which order, on a Valkey whose disk answers `disk.answer`."""

    class Disk:
        answer = [1, 0]
        done: list[str]

    disk = Disk()
    disk.done = []
    write = flush.write_generation

    def call(client, command, *arguments):
        disk.done.append(command)
        return disk.answer

    def written(**parameters):
        disk.done.append("write")
        return write(**parameters)

    monkeypatch.setattr(flush, "call", call)
    monkeypatch.setattr(flush, "write_generation", written)
    monkeypatch.setattr(flush, "_disk", flush._Disk())
    return disk


def test_what_is_set_aside_is_on_disk_before_it_is_written(org_id, disk):
    assert run(org_id) == 0
    assert disk.done == []
    served(org_id, 2)
    assert run(org_id) == 2
    assert disk.done == ["WAITAOF", "write"]


def test_a_disk_that_confirms_nothing_holds_up_one_flush_a_minute(org_id, disk):
    disk.answer = [0, 0]
    for _ in range(3):
        served(org_id, 1)
        assert run(org_id) == 1
    assert disk.done == ["WAITAOF", "write", "write", "write"]


def test_two_flushes_at_once_write_once(org_id):
    served(org_id, 5)
    written, errors = at_once(4, lambda _: run(org_id))
    assert errors == []
    assert sum(written) == 5
    assert stored(org_id) == (5, 5)


def test_requests_served_during_flushes_are_all_there_in_the_end(org_id):
    stop = threading.Event()

    def work(index: int) -> None:
        if index:
            served(org_id, 100)
            return
        while not stop.is_set():
            run(org_id)
            if stored(org_id)[0] >= 150:
                stop.set()

    _, errors = at_once(3, work)
    assert errors == []
    run(org_id)
    assert stored(org_id) == (200, 200)


def test_an_organization_that_is_gone_is_left_out_and_the_others_written(org_id, committed_cast):
    gone = org_id + 64 * 1000
    served(gone, 4)
    served(org_id, 3)
    assert run(org_id) == 7
    assert stored(org_id) == (3, 3)
    with door():
        assert Organization.objects.filter(pk=gone).count() == 0
        assert not UsageBucket.objects.exclude(org_id=org_id).exists()


def test_only_organizations_that_are_gone(committed_cast, redis):
    served(64 * 1000, 4)
    assert run(64 * 1000) == 4
    assert left(redis, 64 * 1000) == []
    with door():
        assert not UsagePeriod.objects.exists()


def test_what_comes_after_its_period_was_closed_counts_in_the_current_one(org_id):
    december = datetime(2026, 12, 1, 1, tzinfo=UTC)
    with tenancy.organization(org_id):
        november = periods.current_period(org_id=org_id, now=NOW)
        usage.close_period(period_id=november.pk, org_id=org_id, now=december)
    served(org_id, 3)
    run(org_id, december)
    with door():
        row = PeriodUsage.objects.get(org_id=org_id, resource=Resource.API_REQUESTS)
        assert row.period.start == datetime(2026, 12, 1, tzinfo=UTC)
        assert row.used == 3
        assert UsageBucket.objects.get(org_id=org_id).hour == NOW.replace(minute=0)


def test_a_period_closes_after_the_flush_that_writes_into_it(org_id):
    """The flush holds the periods that it counts in: closing waits, and nothing is lost in between."""
    december = datetime(2026, 12, 1, 1, tzinfo=UTC)
    with tenancy.organization(org_id):
        november = periods.current_period(org_id=org_id, now=NOW)
    served(org_id, 3)

    def work(index: int):
        if index == 0:
            return run(org_id, december)
        with tenancy.organization(org_id):
            return usage.close_period(period_id=november.pk, org_id=org_id, now=december)

    results, errors = at_once(2, work)
    assert errors == []
    assert sorted(results) == [True, 3]
    assert stored(org_id) == (3, 3)


def test_the_task_flushes_every_shard(committed_cast):
    for org_id in (committed_cast.org.pk, committed_cast.other_org.pk):
        served(org_id, 2)
    assert tasks.flush_api_requests() == 4
    assert tasks.flush_api_requests() == 0
    assert stored(committed_cast.org.pk) == (2, 2)
    assert stored(committed_cast.other_org.pk) == (2, 2)


def test_the_task_fails_loudly_when_valkey_is_away(own_valkey, transactional_db):
    own_valkey.stop()
    with pytest.raises(RedisConnectionError):
        tasks.flush_api_requests()


def test_old_generations_are_forgotten_after_a_week(committed_cast, org_id):
    served(org_id, 1)
    run(org_id)
    with time_machine.travel(NOW + timedelta(days=7), tick=False):
        tasks.flush_api_requests()
        assert FlushedGeneration.objects.count() == 1
    with time_machine.travel(NOW + timedelta(days=7, seconds=1), tick=False):
        tasks.flush_api_requests()
    assert FlushedGeneration.objects.count() == 0


def test_pending_requests_are_seen_before_during_and_after_the_flush(org_id, monkeypatch):
    def shown() -> int:
        counted = overview.read_counted(org_id=org_id, now=NOW)
        with tenancy.organization(org_id):
            period = periods.current_period(org_id=org_id, now=NOW)
            found = overview.period_overview(
                org_id=org_id, periods=[period], counted=counted, now=NOW
            )
        return found[0]["api_requests_count"]

    served(org_id, 3)
    assert shown() == 3

    def die(*args):
        raise Killed

    for step in ("_counts_of", "_forget"):  # set aside; written but not deleted
        with monkeypatch.context() as patch:
            patch.setattr(flush, step, die)
            with pytest.raises(Killed):
                run(org_id)
        served(org_id, 1)
        assert shown() == {"_counts_of": 4, "_forget": 5}[step]
    run(org_id)
    assert shown() == 5


def test_a_flush_between_the_two_readings_is_not_counted_twice(org_id):
    served(org_id, 3)
    counted = overview.read_counted(org_id=org_id, now=NOW)
    served(org_id, 2)
    run(org_id)
    with tenancy.organization(org_id):
        period = periods.current_period(org_id=org_id, now=NOW)
        found = overview.period_overview(org_id=org_id, periods=[period], counted=counted, now=NOW)
    assert found[0]["api_requests_count"] == 5
