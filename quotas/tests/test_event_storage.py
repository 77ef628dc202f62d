"""Rolled up figures can be proved and made anew; storage of events is kept in bounds."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from conftest import door
from quotas import tasks
from quotas.models import Meter, MeterBucket, MeterDistinct, RollupState, UsageEvent
from quotas.services import partitions, rollups
from quotas.services.meter_usage import meter_series
from quotas.tests.conftest import NOW
from quotas.tests.events import a_mixture, event, ingest, roll_up, snapshot, used
from quotas.tests.threads import at_once
from spoke.core import tenancy

RIGHT = "rolled up usage is what the events say, integrals what their changes say\n"
END = datetime(2026, 12, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def org_id(committed_cast):
    call_command("seed_plans", verbosity=0)
    return committed_cast.org.pk


@pytest.fixture
def other_id(committed_cast):
    return committed_cast.other_org.pk


def verify_command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("usage", "verify", *arguments, stdout=out)
    return out.getvalue()


def test_verify_names_what_differs_and_rebuild_mends_it(org_id, other_id):
    ingest(org_id, *a_mixture(200))
    ingest(other_id, *a_mixture(50, seed=2))
    roll_up()
    assert verify_command() == RIGHT
    right = snapshot()
    with door():
        MeterBucket.objects.filter(org_id=org_id, span="day").order_by("pk").first().delete()
        MeterBucket.objects.filter(org_id=org_id, span="hour").update(events=77)
        MeterDistinct.objects.filter(org_id=org_id).order_by("pk").first().delete()
        extra = MeterDistinct.objects.filter(org_id=org_id).first()
        extra.pk, extra.start = None, extra.start - DAY
        extra.save()
    out = io.StringIO()
    with pytest.raises(CommandError, match=r"\d+ differences"):
        call_command("usage", "verify", stdout=out)
    assert "stored is nothing" in out.getvalue()
    assert "events say nothing" in out.getvalue()
    assert verify_command("--org", "rival") == RIGHT
    with pytest.raises(CommandError):
        verify_command("--org", str(org_id))
    call_command("usage", "rebuild", "--org", "acme", stdout=out)
    assert out.getvalue().endswith("rebuilt from 200 events\n")
    assert verify_command() == RIGHT
    assert snapshot() == right
    with pytest.raises(CommandError, match="no organization nobody"):
        verify_command("--org", "nobody")


def test_rebuilding_leaves_what_came_after_the_horizon_to_the_next_increment(org_id):
    ingest(org_id, *a_mixture(50))
    roll_up()
    ingest(org_id, *a_mixture(60, seed=2))
    assert rollups.rebuild(now=NOW) == 50
    assert roll_up() == 60
    assert rollups.verify() == []


def test_a_restored_dump_is_noticed_and_rebuilt(org_id):
    """Its horizon and its events are of transactions that this cluster has not come to."""
    ingest(org_id, *a_mixture(50))
    roll_up()
    before = snapshot()
    with door(), connection.cursor() as cursor:
        cursor.execute("UPDATE quotas_usageevent SET xid = '999999999'")
        cursor.execute("UPDATE quotas_rollupstate SET horizon = '1000000000'")
    ingest(org_id, *a_mixture(5, seed=2))
    with pytest.raises(rollups.HorizonAhead):
        roll_up()
    with pytest.raises(rollups.HorizonAhead):
        rollups.rebuild(now=NOW, org_id=org_id)
    assert snapshot() == before
    assert rollups.rebuild(now=NOW) == 55
    ingest(org_id, *a_mixture(7, seed=3))
    assert roll_up() == 7
    assert rollups.verify() == []


def test_partitions_past_retention_are_dropped_and_their_buckets_stay(org_id, settings):
    settings.USAGE_EVENT_RETENTION_MONTHS = 2
    old, newer = NOW - 100 * DAY, NOW - 40 * DAY
    for at in (old, newer, NOW):
        ingest(org_id, event("compile_seconds", 1, at=at), now=at)
    assert partitions.maintain_partitions(now=NOW) == []  # the old event is not rolled up yet
    roll_up()
    before = snapshot()
    assert partitions.maintain_partitions(now=NOW) == ["quotas_usageevent_202608"]
    with door():
        assert UsageEvent.objects.count() == 2
        assert RollupState.objects.get().complete_since == datetime(2026, 9, 2, tzinfo=UTC)
    assert partitions.maintain_partitions(now=NOW) == []
    assert rollups.verify() == []
    assert rollups.rebuild(now=NOW) == 2
    assert snapshot() == before
    assert used(org_id, "compile_seconds", old - DAY, END) == 3


def test_keys_are_kept_past_the_window_and_then_forgotten(org_id, monkeypatch):
    monkeypatch.setattr(partitions, "PRUNE_AT_ONCE", 3)
    ingest(org_id, *[event(at=NOW) for _ in range(10)])
    assert partitions.prune_keys(now=NOW + 40 * DAY) == 0
    assert partitions.prune_keys(now=NOW + 40 * DAY + timedelta(seconds=1)) == 10


def test_storage_is_maintained_by_a_task_that_may_run_twice_at_once(org_id):
    _, errors = at_once(4, lambda _: tasks.maintain_event_storage())
    assert errors == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'")
        assert cursor.fetchone()[0] >= 4


def test_a_series_has_a_point_for_every_step(org_id):
    day = NOW.replace(hour=0, minute=0)
    ingest(
        org_id,
        event("cache_bytes", 10, at=day - 3 * DAY),
        event("cache_bytes", 14, at=day + 6 * HOUR),
        event("queue_depth", 4, at=day),
        event("active_developers", properties={"user": "ada"}, at=day),
        event("active_developers", properties={"user": "ada"}, at=day + HOUR),
        event("compile_seconds", 2, at=day),
        event("compile_seconds", 3, at=day + HOUR),
    )
    roll_up()

    def series(meter, granularity, start, end):
        with tenancy.organization(org_id):
            points = meter_series(
                org_id=org_id,
                meter=Meter.objects.get(code=meter),
                start=start,
                end=end,
                granularity=granularity,
            )
        return [(p.start, None if p.value is None else float(p.value)) for p in points]

    two_days = (day - DAY, NOW)
    assert series("cache_bytes", "day", *two_days) == [(day - DAY, 10), (day, 10 + 14 * 18 / 24)]
    assert series("queue_depth", "day", *two_days) == [(day - DAY, None), (day, 4)]
    assert series("active_developers", "day", *two_days) == [(day - DAY, 0), (day, 1)]
    assert series("active_developers", "hour", day, day + 2 * HOUR) == [(day, 1), (day + HOUR, 1)]
    assert series("compile_seconds", "hour", day + HOUR / 2, day + 3 * HOUR) == [
        (day, 2),
        (day + HOUR, 3),
        (day + 2 * HOUR, 0),
    ]
