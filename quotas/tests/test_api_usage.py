"""GET /orgs/{id}/usage and /usage/history."""

from datetime import UTC, datetime, timedelta

import pytest

from orgs.roles import Scope
from quotas import tasks
from quotas.models import PeriodUsage, Plan, UsageBucket, UsagePeriod
from quotas.resources import Resource
from quotas.services.reservations import reserve
from quotas.tests.conftest import NOW, override

pytestmark = pytest.mark.usefixtures("plans", "at_now")
URL, HISTORY = "/orgs/acme/usage", "/orgs/acme/usage/history"


def past_period(org, year: int, month: int, **fields) -> UsagePeriod:
    start = datetime(year, month, 1, tzinfo=UTC)
    end = (start + timedelta(days=32)).replace(day=1)
    closed = {"closed_at": end} | fields
    return UsagePeriod.objects.create(org=org, start=start, end=end, **closed)


@pytest.mark.parametrize("who", ["owner", "admin", "developer", "viewer"])
def test_members_read_the_current_periods_usage(api, cast, who):
    reserve(org_id=cast.org.pk, resource=Resource.MODULES, amount=2, now=NOW)
    reserve(org_id=cast.org.pk, resource=Resource.VERSIONS, amount=5, now=NOW, subject=1)
    reserve(org_id=cast.org.pk, resource=Resource.VERSIONS, amount=10, now=NOW, subject=2)
    reserve(org_id=cast.org.pk, resource=Resource.STORAGE, amount=2**28, now=NOW)
    reserve(org_id=cast.org.pk, resource=Resource.COMPILE_JOBS, amount=33, now=NOW)
    client = api(who)
    client.get(URL)
    response = client.get(URL)
    assert response.status_code == 200
    assert response.json() == {
        "period_start": "2026-11-01T00:00:00Z",
        "period_end": "2026-12-01T00:00:00Z",
        "status": "open",
        "modules_count": 2,
        "versions_count": 15,
        "storage_bytes": 2**28,
        "storage_average_bytes": 0,  # stored just now
        "compile_jobs_count": 33,
        "api_requests_count": 2,  # this one included
        "resources": [
            {"resource": resource, "unit": unit, "used": used, "limit": limit, "percent": percent}
            for resource, unit, used, limit, percent in (
                ("modules", "modules", 2, 5, 40.0),
                ("versions", "versions of a module", 10, 50, 20.0),
                ("storage", "bytes", 2**28, 2**30, 25.0),
                ("compile_jobs", "jobs a month", 33, 100, 33.0),
                ("api_requests", "requests an hour", 2, 1000, 0.2),
            )
        ],
    }


def test_requests_count_the_same_before_and_after_the_flush(api):
    client = api("owner")
    seen = []
    for _ in range(3):
        seen.append(client.get(URL).json()["api_requests_count"])
        tasks.flush_api_requests()
    assert seen == [1, 2, 3]
    assert PeriodUsage.objects.get(resource=Resource.API_REQUESTS).used == 3


def test_percent_of_nothing_and_of_no_limit(api, cast):
    override(cast.org.pk, Resource.MODULES, 0)
    override(cast.org.pk, Resource.STORAGE, None)
    rows = {row["resource"]: row for row in api("owner").get(URL).json()["resources"]}
    assert (rows["modules"]["limit"], rows["modules"]["percent"]) == (0, 0.0)
    assert (rows["storage"]["limit"], rows["storage"]["percent"]) == (None, None)


def test_with_valkey_away_usage_is_what_postgresql_knows(api, cast, own_valkey):
    client = api("owner")
    client.get(URL)
    tasks.flush_api_requests()
    own_valkey.stop()
    response = client.get(URL)
    assert response.status_code == 200
    assert response.json()["api_requests_count"] == 1
    requests = response.json()["resources"][-1]
    assert (requests["resource"], requests["used"], requests["percent"]) == (
        "api_requests",
        None,
        None,
    )


def test_staff_read_it_and_use_up_nothing(api):
    assert api("staff").get(URL).json()["api_requests_count"] == 0
    assert api("owner").get(URL).json()["api_requests_count"] == 1


@pytest.mark.parametrize("url", [URL, HISTORY])
def test_outsiders_see_nothing(api, url):
    assert api("outsider").get(url).status_code == 404


def test_a_token_for_reporting_usage_does_not_read_it(api, cast):
    response = cast.client("owner", Scope.USAGE_WRITE).get(URL)
    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"


def test_before_seeding_it_says_what_to_do(api):
    Plan.objects.all().delete()
    response = api("owner").get(URL)
    assert response.status_code == 503
    assert response.json()["code"] == "plans_missing"


def test_earlier_periods_come_newest_first_by_pages(api, cast):
    for month in (8, 9, 10):
        period = past_period(cast.org, 2026, month)
        for resource, used in ((Resource.MODULES, month), (Resource.COMPILE_JOBS, 10 * month)):
            PeriodUsage.objects.create(org=cast.org, period=period, resource=resource, used=used)
    past_period(cast.other_org, 2026, 10)
    client = api("owner")
    client.get(URL)  # opens the current one, which is not history
    first = client.get(f"{HISTORY}?limit=2")
    assert first.status_code == 200
    assert [row["period_start"] for row in first.json()["results"]] == [
        "2026-10-01T00:00:00Z",
        "2026-09-01T00:00:00Z",
    ]
    assert first.json()["results"][0] == {
        "period_start": "2026-10-01T00:00:00Z",
        "period_end": "2026-11-01T00:00:00Z",
        "status": "closed",
        "modules_count": 10,
        "versions_count": 0,
        "storage_bytes": 0,
        "storage_average_bytes": None,  # closed before integrals were kept
        "compile_jobs_count": 100,
        "api_requests_count": 0,
    }
    second = client.get(first.json()["next"]).json()
    assert [row["period_start"] for row in second["results"]] == ["2026-08-01T00:00:00Z"]
    assert second["next"] is None


def test_a_page_of_periods_costs_the_same_however_long(api, cast, django_assert_max_num_queries):
    for month in range(1, 11):
        period = past_period(cast.org, 2026, month)
        PeriodUsage.objects.create(org=cast.org, period=period, resource="modules", used=1)
    client = api("owner")
    client.get(HISTORY)
    with django_assert_max_num_queries(40) as few:
        client.get(f"{HISTORY}?limit=1")
    with django_assert_max_num_queries(len(few)):
        assert len(client.get(HISTORY).json()["results"]) == 10


def test_a_series_of_hours(api, cast):
    hour = NOW.replace(minute=0)
    UsageBucket.objects.create(
        org=cast.org, resource="api_requests", hour=hour - timedelta(hours=2), used=7
    )
    UsageBucket.objects.create(org=cast.other_org, resource="api_requests", hour=hour, used=9)
    response = api("owner").get(f"{HISTORY}?granularity=hour&since=2026-11-23T12:00:00Z")
    assert response.status_code == 200
    assert response.json() == {
        "resource": "api_requests",
        "granularity": "hour",
        "results": [
            {"start": "2026-11-23T12:00:00Z", "used": 7},
            {"start": "2026-11-23T13:00:00Z", "used": 0},
            {"start": "2026-11-23T14:00:00Z", "used": 1},  # this request, not flushed yet
        ],
        "next": None,
        "previous": None,
    }


def test_a_series_of_days_of_a_gauge(api, cast):
    reserve(org_id=cast.org.pk, resource=Resource.MODULES, amount=3, now=NOW - timedelta(days=2))
    response = api("viewer").get(
        f"{HISTORY}?granularity=day&resource=modules&since=2026-11-20T00:00:00Z"
        "&until=2026-11-23T00:00:00Z"
    )
    assert [(row["start"][:10], row["used"]) for row in response.json()["results"]] == [
        ("2026-11-20", 0),
        ("2026-11-21", 3),
        ("2026-11-22", 3),
    ]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("granularity=minute", "granularity"),
        ("granularity=hour&resource=users", "resource"),
        ("granularity=hour&since=yesterday", "since"),
        ("granularity=hour&since=2026-01-01T00:00:00Z", "since"),
        ("granularity=day&since=2099-01-01T00:00:00Z", "since"),
        ("granularity=day&since=0001-01-01T00:00:00%2B14:00", "since"),
        ("granularity=day&until=0001-01-01T00:00:00Z", "since"),
        ("granularity=day&since=9999-12-31T23:59:59-14:00", "since"),
        ("since=2026-11-01T00:00:00Z", "since"),
        ("resource=modules", "resource"),
        ("colour=red", "colour"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_and_named(api, query, field):
    response = api("owner").get(f"{HISTORY}?{query}")
    assert response.status_code == 400, response.content
    assert [error["field"] for error in response.json()["errors"]] == [field]
