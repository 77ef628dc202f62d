"""Usage counts in periods that are stored, turn, and are closed once."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core.management import call_command

from conftest import door
from quotas import tasks
from quotas.models import PeriodUsage, UsageBucket, UsagePeriod
from quotas.resources import Resource
from quotas.services import periods, usage
from quotas.services.reservations import release, reserve
from quotas.tests.conftest import NOW
from quotas.tests.threads import at_once
from spoke.core import tenancy

NOVEMBER, DECEMBER = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
JANUARY = datetime(2027, 1, 1, tzinfo=UTC)
DUE = DECEMBER + usage.CLOSE_GRACE


@pytest.fixture
def org_id(cast, plans):
    return cast.org.pk


def stored_periods(org_id):
    rows = UsagePeriod.objects.filter(org_id=org_id).order_by("start")
    return list(rows.values_list("start", "end", "closed_at"))


def kept(period):
    return dict(PeriodUsage.objects.filter(period=period).values_list("resource", "used"))


def test_the_current_period_is_the_calendar_month_and_stored_once(org_id):
    first = periods.current_period(org_id=org_id, now=NOW)
    assert (first.start, first.end, first.closed_at) == (NOVEMBER, DECEMBER, None)
    assert periods.current_period(org_id=org_id, now=DECEMBER - timedelta(microseconds=1)) == first
    following = periods.current_period(org_id=org_id, now=DECEMBER)
    assert (following.start, following.end) == (DECEMBER, JANUARY)
    assert len(stored_periods(org_id)) == 2


def test_a_period_with_another_anchor_is_found(org_id):
    own = UsagePeriod.objects.create(
        org_id=org_id, start=NOW - timedelta(days=3), end=NOW + timedelta(days=3)
    )
    assert periods.current_period(org_id=org_id, now=NOW) == own


def test_many_at_once_open_one_period(committed_cast):
    org_id = committed_cast.org.pk

    def work(_: int) -> int:
        with tenancy.organization(org_id):
            return periods.current_period(org_id=org_id, now=NOW).pk

    ids, errors = at_once(8, work)
    assert errors == []
    assert len(set(ids)) == 1


def test_usage_has_gauges_as_they_stand_and_meters_of_the_period(org_id):
    reserve(org_id=org_id, resource=Resource.MODULES, amount=2, now=NOW)
    reserve(org_id=org_id, resource=Resource.STORAGE, amount=70, now=NOW)
    reserve(org_id=org_id, resource=Resource.VERSIONS, amount=3, now=NOW, subject=1)
    reserve(org_id=org_id, resource=Resource.VERSIONS, amount=1, now=NOW, subject=2)
    usage.record_meter(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=4, at=NOW, now=NOW)
    period = periods.current_period(org_id=org_id, now=NOW)
    assert usage.usage_of_period(period=period, now=NOW) == {
        Resource.MODULES: 2,
        Resource.VERSIONS: 4,
        Resource.STORAGE: 70,
        Resource.COMPILE_JOBS: 4,
        Resource.API_REQUESTS: 0,
    }
    assert usage.fullest_module(org_id=org_id) == 3
    # Gauges live through the turn of the period; meters restart.
    following = periods.current_period(org_id=org_id, now=DECEMBER)
    assert usage.usage_of_period(period=following, now=DECEMBER) == {
        Resource.MODULES: 2,
        Resource.VERSIONS: 4,
        Resource.STORAGE: 70,
        Resource.COMPILE_JOBS: 0,
        Resource.API_REQUESTS: 0,
    }


def test_a_meter_counts_past_the_limit_in_period_and_bucket(org_id):
    for amount in (100, 50):
        usage.record_meter(
            org_id=org_id, resource=Resource.COMPILE_JOBS, amount=amount, at=NOW, now=NOW
        )
    assert PeriodUsage.objects.get(org_id=org_id).used == 150
    bucket = UsageBucket.objects.get(org_id=org_id)
    assert (bucket.resource, bucket.hour, bucket.used) == (
        "compile_jobs",
        NOW.replace(minute=0),
        150,
    )


@pytest.mark.parametrize(
    ("resource", "amount"), [(Resource.MODULES, 1), (Resource.COMPILE_JOBS, -1)]
)
def test_a_meter_takes_no_gauge_and_no_negative_amount(org_id, resource, amount):
    with pytest.raises(ValueError, match="a meter counts"):
        usage.record_meter(org_id=org_id, resource=resource, amount=amount, at=NOW, now=NOW)


def test_what_comes_late_counts_in_its_period_until_that_is_closed(org_id):
    def count(at, now):
        usage.record_meter(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=1, at=at, now=now)

    november = periods.current_period(org_id=org_id, now=NOW)
    count(NOW, DECEMBER)
    assert kept(november) == {"compile_jobs": 1}
    assert usage.close_period(period_id=november.pk, org_id=org_id, now=DUE)
    count(NOW, DUE)
    assert kept(november)["compile_jobs"] == 1
    assert kept(periods.current_period(org_id=org_id, now=DUE)) == {"compile_jobs": 1}
    # The bucket says when it really was.
    assert UsageBucket.objects.get(org_id=org_id).used == 2


def test_closing_keeps_the_levels_at_the_end_and_opens_the_next_once(org_id):
    period = periods.current_period(org_id=org_id, now=NOW)
    reserve(org_id=org_id, resource=Resource.MODULES, amount=4, now=NOW)
    last = DECEMBER - timedelta(seconds=1)
    release(org_id=org_id, resource=Resource.MODULES, amount=1, now=last)
    reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=7, now=NOW)
    # What changes between the end and the closing belongs to the next period.
    reserve(org_id=org_id, resource=Resource.MODULES, amount=2, now=DECEMBER)
    reserve(org_id=org_id, resource=Resource.STORAGE, amount=9, now=DECEMBER)
    expected = {"modules": 3, "versions": 0, "storage": 0, "compile_jobs": 7}
    before = usage.usage_of_period(period=period, now=DUE)
    assert {resource.value: used for resource, used in before.items() if used} == {
        "modules": 3,
        "compile_jobs": 7,
    }
    assert usage.close_period(period_id=period.pk, org_id=org_id, now=DUE)
    assert kept(period) == expected
    assert stored_periods(org_id) == [(NOVEMBER, DECEMBER, DUE), (DECEMBER, JANUARY, None)]
    release(org_id=org_id, resource=Resource.MODULES, amount=2, now=DUE)
    again = usage.close_period(period_id=period.pk, org_id=org_id, now=DUE + timedelta(days=1))
    assert again is False
    assert kept(period) == expected
    assert stored_periods(org_id) == [(NOVEMBER, DECEMBER, DUE), (DECEMBER, JANUARY, None)]
    period.refresh_from_db()
    assert usage.usage_of_period(period=period, now=DUE)[Resource.MODULES] == 3


def test_a_period_is_not_closed_before_its_grace_is_over(org_id):
    period = periods.current_period(org_id=org_id, now=NOW)
    early = DUE - timedelta(microseconds=1)
    assert usage.close_period(period_id=period.pk, org_id=org_id, now=early) is False
    assert usage.due_periods(now=early) == []
    assert usage.due_periods(now=DUE) == [(period.pk, org_id)]


def test_the_task_turns_every_due_period(committed_cast):
    call_command("seed_plans", verbosity=0)
    organizations = (committed_cast.org.pk, committed_cast.other_org.pk)
    for org_id in organizations:
        with tenancy.organization(org_id):
            periods.current_period(org_id=org_id, now=NOW)
    with time_machine.travel(DUE, tick=False):
        assert tasks.turn_due_periods() == 2
        assert tasks.turn_due_periods() == 0
    with door():
        for org_id in organizations:
            assert stored_periods(org_id) == [(NOVEMBER, DECEMBER, DUE), (DECEMBER, JANUARY, None)]


def test_closing_at_once_closes_once(committed_cast):
    org_id = committed_cast.org.pk
    with tenancy.organization(org_id):
        period = periods.current_period(org_id=org_id, now=NOW)

    def work(_: int) -> bool:
        with tenancy.organization(org_id):
            return usage.close_period(period_id=period.pk, org_id=org_id, now=DUE)

    done, errors = at_once(4, work)
    assert errors == []
    assert sorted(done) == [False, False, False, True]
