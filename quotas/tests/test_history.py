"""Series have a point for every step, and never too many."""

from datetime import UTC, datetime, timedelta

import pytest

from quotas.models import GaugeChange, UsageBucket
from quotas.resources import GAUGES, Resource
from quotas.services.history import MAX_POINTS, Point, usage_series
from quotas.tests.conftest import NOW
from spoke.core.errors import InvalidInput

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AT_14 = NOW.replace(minute=0)
MIDNIGHT = NOW.replace(hour=0, minute=0)


@pytest.fixture
def series(cast):
    def read(resource, granularity, since=None, until=None, pending=None):
        return usage_series(
            org_id=cast.org.pk,
            resource=resource,
            granularity=granularity,
            since=since,
            until=until,
            pending=pending or {},
            now=NOW,
        )

    return read


@pytest.fixture
def put(cast):
    def write(resource, hour, used):
        if resource in GAUGES:
            at = hour + timedelta(minutes=7)
            GaugeChange.objects.create(
                org=cast.org, resource=resource, at=at, used=used, integral=0
            )
        else:
            UsageBucket.objects.create(org=cast.org, resource=resource, hour=hour, used=used)

    return write


def test_a_meter_without_a_record_is_zero(series, put):
    put(Resource.COMPILE_JOBS, AT_14 - 2 * HOUR, 5)
    put(Resource.COMPILE_JOBS, AT_14, 2)
    put(Resource.MODULES, AT_14 - HOUR, 9)
    assert series(Resource.COMPILE_JOBS, "hour", since=AT_14 - 3 * HOUR) == [
        Point(AT_14 - 3 * HOUR, 0),
        Point(AT_14 - 2 * HOUR, 5),
        Point(AT_14 - HOUR, 0),
        Point(AT_14, 2),
    ]


def test_a_gauge_without_a_record_keeps_its_level(series, put):
    put(Resource.MODULES, AT_14 - 30 * HOUR, 3)
    put(Resource.MODULES, AT_14 - HOUR, 4)
    assert [p.used for p in series(Resource.MODULES, "hour", since=AT_14 - 3 * HOUR)] == [
        3,
        3,
        4,
        4,
    ]
    assert [p.used for p in series(Resource.MODULES, "hour", since=AT_14 - 31 * HOUR)][:2] == [0, 3]


def test_days_sum_a_meter_and_end_at_a_gauges_last_level(series, put):
    for resource in (Resource.COMPILE_JOBS, Resource.STORAGE):
        put(resource, MIDNIGHT - 3 * HOUR, 7)
        put(resource, MIDNIGHT + HOUR, 10)
        put(resource, MIDNIGHT + 2 * HOUR, 1)
    since = MIDNIGHT - 2 * DAY
    starts = [since, since + DAY, MIDNIGHT]
    meter = series(Resource.COMPILE_JOBS, "day", since=since)
    assert meter == [Point(start, used) for start, used in zip(starts, [0, 7, 11], strict=True)]
    gauge = series(Resource.STORAGE, "day", since=since)
    assert gauge == [Point(start, used) for start, used in zip(starts, [0, 7, 1], strict=True)]


def test_requests_that_are_not_flushed_yet_are_in_it(series, put):
    put(Resource.API_REQUESTS, AT_14, 5)
    pending = {AT_14: 2, AT_14 - HOUR: 1, AT_14 - 90 * HOUR: 8}
    found = series(Resource.API_REQUESTS, "hour", since=AT_14 - HOUR, pending=pending)
    assert [point.used for point in found] == [1, 7]
    assert [p.used for p in series(Resource.MODULES, "hour", pending=pending)] == [0] * 24


def test_by_default_the_last_24_hours_or_30_days(series):
    hours = series(Resource.COMPILE_JOBS, "hour")
    assert (len(hours), hours[0].start, hours[-1].start) == (24, AT_14 - 23 * HOUR, AT_14)
    days = series(Resource.COMPILE_JOBS, "day")
    assert (len(days), days[0].start, days[-1].start) == (30, MIDNIGHT - 29 * DAY, MIDNIGHT)


def test_steps_are_cut_at_full_hours_and_until_is_not_in_it(series):
    found = series(
        Resource.COMPILE_JOBS, "hour", since=AT_14 - HOUR + timedelta(minutes=59), until=AT_14
    )
    assert [point.start for point in found] == [AT_14 - HOUR]
    later = series(Resource.COMPILE_JOBS, "hour", since=AT_14, until=NOW + 100 * DAY)
    assert [point.start for point in later] == [AT_14]


@pytest.mark.parametrize(
    ("since", "until", "detail"),
    [
        (NOW + HOUR, None, "It must lie before `until`, and in the past."),
        (AT_14, AT_14, "It must lie before `until`, and in the past."),
        (AT_14 - MAX_POINTS * HOUR, None, f"That would be 1001 points; {MAX_POINTS} is the most."),
        (None, datetime(1, 1, 1, tzinfo=UTC), "This time is too early."),
    ],
)
def test_what_cannot_be_plotted_is_refused(series, since, until, detail):
    with pytest.raises(InvalidInput) as caught:
        series(Resource.COMPILE_JOBS, "hour", since=since, until=until)
    assert (caught.value.field, caught.value.detail) == ("since", detail)
