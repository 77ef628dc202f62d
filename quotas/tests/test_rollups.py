"""Events become buckets: each once, however late it commits, and whatever runs at once."""

import random
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import connection

from conftest import door
from quotas import tasks
from quotas.metering import time_weighted_average
from quotas.models import RollupState, UsageEvent
from quotas.services import periods, rollups, usage
from quotas.tests.conftest import NOW
from quotas.tests.events import a_mixture, event, ingest, roll_up, snapshot, used
from quotas.tests.threads import at_once
from spoke.core import tenancy
from spoke.core.periods import Period

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def org_id(committed_cast):
    call_command("seed_plans", verbosity=0)
    return committed_cast.org.pk


@pytest.fixture
def other_id(committed_cast):
    return committed_cast.other_org.pk


def test_the_six_aggregations(org_id):
    day, yesterday = NOW.replace(hour=0, minute=0), NOW.replace(hour=0, minute=0) - DAY
    ingest(
        org_id,
        event("compile_seconds", "1.5", at=day + HOUR),
        event("compile_seconds", 2, at=yesterday),
        event("artifact_downloads", 40, at=day),
        event("artifact_downloads", 0, at=day),
        event("peak_concurrency", 3, at=yesterday),
        event("peak_concurrency", 9, at=day),
        event("peak_concurrency", 4, at=day + HOUR),
        event("active_developers", properties={"user": "ada"}, at=yesterday),
        event("active_developers", properties={"user": "ada"}, at=day),
        event("active_developers", properties={"user": "bob"}, at=day),
        event("queue_depth", 5, at=day + 2 * HOUR),
        event("queue_depth", 8, at=day + HOUR),
        event("queue_depth", 1, at=yesterday),
        event("cache_bytes", 100, at=yesterday + 12 * HOUR),
        event("cache_bytes", -60, at=day + 6 * HOUR),
    )
    assert roll_up() == 15
    expected = {
        "compile_seconds": (3.5, 1.5),
        "artifact_downloads": (2.0, 2.0),
        "peak_concurrency": (9.0, 9.0),
        "active_developers": (2.0, 2.0),
        "queue_depth": (5.0, 5.0),
        # 100 for 18 hours of 48, then 40 for 18; and of today alone.
        "cache_bytes": (pytest.approx((100 * 18 + 40 * 18) / 48), (100 * 6 + 40 * 18) / 24),
    }
    for meter, (two_days, today) in expected.items():
        assert used(org_id, meter, yesterday, day + DAY) == two_days, meter
        assert used(org_id, meter, day, day + DAY) == today, meter
    nothing = (day - 9 * DAY, day - 8 * DAY)
    assert [used(org_id, meter, *nothing) for meter in expected] == [0, 0, None, 0, None, 0]


def test_a_stretch_that_cuts_hours_is_exact(org_id):
    batch = a_mixture(400)
    ingest(org_id, *batch)
    roll_up()
    generator = random.Random(5)
    for _ in range(25):
        cuts = [NOW - timedelta(seconds=generator.randrange(21 * 86400)) for _ in range(2)]
        start, end = min(cuts), max(cuts) + timedelta(microseconds=7)

        def inside(meter, start=start, end=end):
            return [
                (datetime.fromisoformat(e["timestamp"]), Decimal(e["quantity"]), e["properties"])
                for e in batch
                if e["meter"] == meter and start <= datetime.fromisoformat(e["timestamp"]) < end
            ]

        sums = sum(q for _, q, _ in inside("compile_seconds"))
        assert used(org_id, "compile_seconds", start, end) == float(sums)
        assert used(org_id, "artifact_downloads", start, end) == len(inside("artifact_downloads"))
        peaks = [float(q) for _, q, _ in inside("peak_concurrency")]
        assert used(org_id, "peak_concurrency", start, end) == max(peaks, default=None)
        people = {p["user"] for _, _, p in inside("active_developers")}
        assert used(org_id, "active_developers", start, end) == len(people)
        latest = max(((at, float(q)) for at, q, _ in inside("queue_depth")), default=(0, None))
        assert used(org_id, "queue_depth", start, end) == latest[1]
        changes = [(at, q) for at, q, _ in inside("cache_bytes", start=START - 90 * DAY)]
        average = time_weighted_average(
            initial=Decimal(0), changes=changes, period=Period(start, end)
        )
        assert used(org_id, "cache_bytes", start, end) == pytest.approx(float(average), abs=1e-9)


def test_rolled_up_twice_counts_once(org_id):
    ingest(org_id, *a_mixture(300))
    assert roll_up() == 300
    before = snapshot()
    assert roll_up() == 0
    assert tasks.roll_up_events() == 0
    assert snapshot() == before


def test_rolled_up_at_once_counts_once(org_id, other_id):
    ingest(org_id, *a_mixture(600))
    ingest(other_id, *a_mixture(50, seed=2))
    results, errors = at_once(6, lambda _: roll_up(at_once=100))
    assert errors == []
    assert sum(results) == 650
    assert rollups.verify() == []


def test_many_increments_are_what_one_rebuild_is(org_id, other_id):
    for seed in range(12):
        ingest((org_id, other_id)[seed % 2], *a_mixture(60, seed))
        roll_up()
    incremental = snapshot()
    assert len(incremental[0]) > 300
    assert rollups.rebuild(now=NOW) == 720
    assert snapshot() == incremental
    assert rollups.rebuild(now=NOW, org_id=other_id) == 360
    assert snapshot() == incremental


def test_portions_end_between_transactions(org_id):
    for seed in range(5):
        ingest(org_id, *a_mixture(40, seed))
    assert roll_up(at_once=10) == 200
    assert rollups.verify() == []


def test_while_events_flow_in_nothing_is_missed_or_counted_twice(org_id):
    """Four writers, whose transactions overlap at random, and two rollups at once."""
    done = threading.Event()

    def work(number: int) -> int:
        if number >= 4:
            total = 0
            while not done.is_set():
                total += roll_up(at_once=50)
            return total
        try:
            for seed in range(8):
                ingest(org_id, *a_mixture(37, seed=100 * number + seed))
        finally:
            if number == 0:
                done.set()
        return 0

    results, errors = at_once(6, work)
    assert errors == []
    assert sum(results) + roll_up() == 4 * 8 * 37
    assert rollups.verify() == []


def test_what_commits_late_is_still_rolled_up(org_id):
    """A transaction stores events, others come and are rolled up meanwhile, then it commits."""
    ingest(org_id, event("compile_seconds", 1000))  # the period is open
    assert roll_up() == 1
    stored, go_on = threading.Event(), threading.Event()
    running: list[int] = []

    def work(number: int) -> None:
        if number == 0:
            with tenancy.organization(org_id):
                ingest(org_id, *[event("compile_seconds", 1) for _ in range(5)])
                running.append(own_transaction())
                stored.set()
                assert go_on.wait(30)
            return
        assert stored.wait(30)
        try:
            ingest(org_id, event("compile_seconds", 100))
            # The horizon waits for the transaction that is still running.
            assert roll_up() == 0
            assert horizon() <= running[0]
        finally:
            go_on.set()

    _, errors = at_once(2, work)
    assert errors == []
    assert roll_up() == 6
    assert used(org_id, "compile_seconds", START, END) == 1105
    assert rollups.verify() == []


def horizon() -> int:
    with door():
        return int(RollupState.objects.get().horizon)


def own_transaction() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        return cursor.fetchone()[0]


def test_killed_half_way_nothing_happened(org_id, monkeypatch):
    ingest(org_id, *a_mixture(100))
    roll_up()
    before = snapshot()
    ingest(org_id, *a_mixture(100, seed=2))
    # After the buckets, before the horizon is moved.
    broken = rollups.SET_STATE
    monkeypatch.setattr(rollups, "SET_STATE", "SELECT 1 / 0, %s, %s")
    with pytest.raises(Exception, match="division by zero"):
        roll_up()
    assert snapshot() == before
    monkeypatch.setattr(rollups, "SET_STATE", broken)
    assert roll_up() == 100
    assert rollups.verify() == []


def test_late_events_change_the_open_period_and_after_its_close_the_next(org_id):
    ingest(org_id, event("compile_seconds", 1, at=NOW))
    roll_up()
    late = END + timedelta(minutes=10)
    ingest(org_id, event("compile_seconds", 10, at=NOW), now=late)
    roll_up()
    assert used(org_id, "compile_seconds", START, END) == 11
    with tenancy.organization(org_id):
        period = periods.current_period(org_id=org_id, now=NOW)
        assert usage.close_period(period_id=period.pk, org_id=org_id, now=END + usage.CLOSE_GRACE)
    ingest(org_id, event("compile_seconds", 100, at=NOW), now=END + 3 * DAY)
    roll_up()
    assert used(org_id, "compile_seconds", START, END) == 11
    assert used(org_id, "compile_seconds", END, END + 31 * DAY) == 100
    with door():
        assert UsageEvent.objects.get(quantity=100).timestamp == NOW


def test_the_latest_is_by_the_events_own_time_whatever_the_order_of_receipt(org_id):
    batch = [event("queue_depth", n, at=NOW - n * HOUR) for n in range(1, 30)]
    random.Random(3).shuffle(batch)
    for one in batch:
        ingest(org_id, one)
        if one["quantity"] % 3:
            roll_up()
    roll_up()
    assert used(org_id, "queue_depth", START, END) == 1
    same = NOW - timedelta(minutes=2)
    ingest(org_id, event("queue_depth", 50, at=same), event("queue_depth", 60, at=same))
    roll_up()
    assert used(org_id, "queue_depth", START, END) == 60
