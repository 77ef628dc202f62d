"""Periods tile time, from whatever anchor, and begin anew with a subscription."""

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from quotas.models import UsagePeriod
from quotas.resources import Resource
from quotas.services import flush, periods, usage
from quotas.services.plans import plan_terms
from quotas.services.reservations import reserve
from quotas.tests.conftest import NOW
from quotas.tests.threads import at_once
from spoke.core import tenancy
from spoke.core.periods import Period

NOVEMBER, DECEMBER = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def org_id(cast, plans):
    with tenancy.organization(cast.org.pk):
        yield cast.org.pk


def bounds(org_id):
    rows = UsagePeriod.objects.filter(org_id=org_id).order_by("start")
    return list(rows.values_list("start", "end"))


def test_a_subscription_begins_a_period_and_the_next_follow_its_anchor(org_id):
    anchor = datetime(2027, 1, 31, 9, 30, tzinfo=UTC)
    reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=3, now=anchor - DAY)
    new = periods.restart_period(org_id=org_id, anchor=anchor, now=anchor)
    assert (new.start, new.end) == (anchor, datetime(2027, 2, 28, 9, 30, tzinfo=UTC))
    assert reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=1, now=anchor) == 1
    later = periods.current_period(org_id=org_id, now=datetime(2027, 3, 5, tzinfo=UTC))
    # From the anchor itself, never from the last bound.
    assert later.end == datetime(2027, 3, 31, 9, 30, tzinfo=UTC)
    assert bounds(org_id) == [
        (datetime(2027, 1, 1, tzinfo=UTC), anchor),
        (anchor, datetime(2027, 2, 28, 9, 30, tzinfo=UTC)),
        (datetime(2027, 2, 28, 9, 30, tzinfo=UTC), datetime(2027, 3, 31, 9, 30, tzinfo=UTC)),
    ]


def test_its_end_returns_to_the_calendar(org_id):
    periods.restart_period(org_id=org_id, anchor=NOW, now=NOW)
    end = NOW + 20 * DAY
    last = periods.restart_period(org_id=org_id, anchor=None, now=end)
    assert (last.start, last.end) == (end, datetime(2027, 1, 1, tzinfo=UTC))
    after = periods.current_period(org_id=org_id, now=datetime(2027, 1, 7, tzinfo=UTC))
    assert (after.start, after.end) == (
        datetime(2027, 1, 1, tzinfo=UTC),
        datetime(2027, 2, 1, tzinfo=UTC),
    )


def test_restarting_twice_at_one_moment_cuts_once(org_id):
    for _ in range(2):
        periods.restart_period(org_id=org_id, anchor=NOW, now=NOW)
    assert bounds(org_id) == [(NOVEMBER, NOW), (NOW, datetime(2026, 12, 23, 14, 20, tzinfo=UTC))]


def test_a_period_opened_ahead_is_not_overlapped(org_id):
    """An event minutes ahead of the turn had opened the next month already."""
    turn = DECEMBER - timedelta(minutes=2)
    periods.current_period(org_id=org_id, now=DECEMBER)
    new = periods.restart_period(org_id=org_id, anchor=turn, now=turn)
    assert (new.start, new.end) == (turn, DECEMBER)


def test_a_period_that_is_moved_goes_on_and_the_next_follow(org_id):
    reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=3, now=NOW)
    later = datetime(2026, 12, 9, tzinfo=UTC)
    moved = periods.move_period(org_id=org_id, anchor=later, now=NOW)
    assert (moved.start, moved.end) == (NOVEMBER, later)
    assert reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=1, now=NOW + DAY) == 4
    assert periods.current_period(org_id=org_id, now=later).end == datetime(2027, 1, 9, tzinfo=UTC)
    sooner = NOW + DAY
    moved = periods.move_period(org_id=org_id, anchor=sooner, now=NOW)
    assert (moved.start, moved.end) == (NOVEMBER, sooner)
    for _ in range(2):
        # What was opened ahead of it stays, and what lies between is a period of its own.
        between = periods.current_period(org_id=org_id, now=sooner)
        assert (between.start, between.end) == (sooner, later)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_moved_and_begun_anew_periods_tile_time(org_id, seed):
    chance = random.Random(seed)
    at = NOW
    for _ in range(40):
        at += chance.randrange(1, 40 * 24) * timedelta(hours=1)
        anchor = at + chance.randrange(-40, 40) * DAY
        if chance.random() < 0.3:
            periods.current_period(org_id=org_id, now=at + timedelta(minutes=5))
        if chance.random() < 0.5:
            found = periods.move_period(org_id=org_id, anchor=anchor, now=at)
        else:
            found = periods.restart_period(org_id=org_id, anchor=anchor, now=at)
        assert found.start <= at < found.end
    spans = bounds(org_id)
    assert all(start < end for start, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    # Whatever lies between is opened by whoever needs it, and then nothing does.
    now = spans[0][0]
    while now < at:
        now = periods.current_period(org_id=org_id, now=now).end
    spans = bounds(org_id)
    assert [end for _, end in spans[:-1]] == [start for start, _ in spans[1:]]


def test_the_period_before_a_restart_is_found_and_none_is_invented(org_id):
    periods.restart_period(org_id=org_id, anchor=NOW, now=NOW)
    before = periods.period_before(org_id=org_id, start=NOW)
    assert (before.start, before.end) == (NOVEMBER, NOW)
    assert periods.period_before(org_id=org_id, start=NOW + DAY) is None


def test_the_flush_counts_by_the_anchor(org_id):
    periods.restart_period(org_id=org_id, anchor=NOW, now=NOW)
    at = NOW + 40 * DAY
    hour = int(usage.hour_of(at).timestamp())
    assert flush.write_generation(generation="g", counts={(org_id, hour): 5}, now=at)
    period = periods.current_period(org_id=org_id, now=at)
    assert (period.start.day, period.start.hour) == (23, 14)
    assert usage.usage_of_period(period=period, now=at)[Resource.API_REQUESTS] == 5


def test_many_at_once_begin_one_period(committed_cast):
    org_id = committed_cast.org.pk

    def work(_: int) -> int:
        with tenancy.organization(org_id):
            return periods.restart_period(org_id=org_id, anchor=NOW, now=NOW).pk

    ids, errors = at_once(6, work)
    assert errors == []
    assert len(set(ids)) == 1


def test_the_plans_of_a_period_are_remembered(cast, give, org_id):
    give("pro", NOW)
    give("enterprise", NOW + DAY)
    whole = plan_terms(org_id=org_id, period=Period(NOVEMBER, DECEMBER))
    assert [(term.plan.code, term.start) for term in whole] == [
        ("free", NOVEMBER),
        ("pro", NOW),
        ("enterprise", NOW + DAY),
    ]
    rest = plan_terms(org_id=org_id, period=Period(NOW + DAY, DECEMBER))
    assert [(term.plan.code, term.start) for term in rest] == [("enterprise", NOW + DAY)]
