"""Reservations never pass the limit, whatever runs at once, and roll back with what they are for."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import transaction

from conftest import door
from quotas.errors import PlansMissing, QuotaExceeded
from quotas.models import GaugeChange, PeriodUsage, UsageBucket, UsageGauge, UsagePeriod
from quotas.resources import Resource
from quotas.services.reservations import forget_subject, release, reserve
from quotas.tests.conftest import NOW, override
from quotas.tests.threads import at_once
from spoke.core import tenancy

MAX = 2**63 - 1
HOUR = timedelta(hours=1)


@pytest.fixture
def seeded(committed_cast, settings):
    call_command("seed_plans", verbosity=0)
    settings.SPOKE_BASE_URL = "https://spoke.test"
    return committed_cast


@pytest.fixture
def org_id(cast, plans, settings):
    settings.SPOKE_BASE_URL = "https://spoke.test"
    return cast.org.pk


def take(org_id, resource=Resource.MODULES, amount=1, now=NOW, subject=0):
    return reserve(org_id=org_id, resource=resource, amount=amount, now=now, subject=subject)


def give_back(org_id, resource=Resource.MODULES, amount=1, now=NOW, subject=0):
    return release(org_id=org_id, resource=resource, amount=amount, now=now, subject=subject)


def gauges(org_id):
    rows = UsageGauge.objects.filter(org_id=org_id).order_by("resource", "subject")
    return list(rows.values_list("resource", "subject", "used"))


def buckets(org_id):
    rows = UsageBucket.objects.filter(org_id=org_id).order_by("resource", "hour")
    return list(rows.values_list("resource", "hour", "used"))


def changes(org_id):
    rows = GaugeChange.objects.filter(org_id=org_id).order_by("resource", "at")
    return list(rows.values_list("resource", "at", "used"))


def test_up_to_the_limit_and_no_further(org_id):
    assert [take(org_id) for _ in range(5)] == [1, 2, 3, 4, 5]
    with pytest.raises(QuotaExceeded) as caught:
        take(org_id)
    error = caught.value
    assert (error.status, error.error_code) == (403, "quota_exceeded")
    assert error.detail == "The limit is 5 modules; 5 are in use."
    assert error.extra == {
        "error": "quota_exceeded",
        "resource": "modules",
        "current": 5,
        "limit": 5,
        "upgrade_url": f"https://spoke.test/orgs/{org_id}/subscription",
    }
    assert gauges(org_id) == [("modules", 0, 5)]
    assert give_back(org_id) == 4
    assert take(org_id) == 5


def test_one_organization_takes_nothing_from_another(org_id, cast):
    for _ in range(5):
        take(org_id)
    assert take(cast.other_org.pk) == 1


def test_an_amount_is_taken_whole_or_not_at_all(org_id):
    assert take(org_id, amount=3) == 3
    with pytest.raises(QuotaExceeded):
        take(org_id, amount=3)
    assert gauges(org_id) == [("modules", 0, 3)]
    with pytest.raises(QuotaExceeded):
        take(org_id, Resource.STORAGE, 2**30 + 1)
    assert gauges(org_id) == [("modules", 0, 3)]
    assert take(org_id, Resource.STORAGE, 2**30) == 2**30


def test_every_change_is_kept_and_those_of_one_moment_are_one(org_id):
    take(org_id, amount=3)
    give_back(org_id, amount=1)
    take(org_id, amount=2, now=NOW + HOUR)
    assert changes(org_id) == [("modules", NOW, 2), ("modules", NOW + HOUR, 4)]


def test_releasing_stops_at_nothing(org_id):
    assert give_back(org_id) == 0
    take(org_id, amount=2)
    assert give_back(org_id, amount=MAX + 1) == 0
    assert gauges(org_id) == [("modules", 0, 0)]
    assert give_back(org_id, Resource.COMPILE_JOBS) == 0


def test_versions_are_limited_per_module_and_summed_for_the_organization(org_id):
    override(org_id, Resource.VERSIONS, 2)
    levels = [take(org_id, Resource.VERSIONS, subject=module) for module in (11, 11, 12)]
    assert levels == [1, 2, 1]
    with pytest.raises(QuotaExceeded) as caught:
        take(org_id, Resource.VERSIONS, subject=11)
    assert (caught.value.current, caught.value.limit) == (2, 2)
    assert gauges(org_id) == [("versions", 0, 3), ("versions", 11, 2), ("versions", 12, 1)]
    assert give_back(org_id, Resource.VERSIONS, subject=11) == 1
    assert gauges(org_id) == [("versions", 0, 2), ("versions", 11, 1), ("versions", 12, 1)]
    forget_subject(org_id=org_id, resource=Resource.VERSIONS, subject=12, now=NOW + HOUR)
    forget_subject(org_id=org_id, resource=Resource.VERSIONS, subject=12, now=NOW + HOUR)
    assert gauges(org_id) == [("versions", 0, 1), ("versions", 11, 1)]
    assert changes(org_id) == [("versions", NOW, 2), ("versions", NOW + HOUR, 1)]


def test_with_overage_the_limit_is_passed(org_id, give):
    give("pro")
    assert take(org_id, Resource.STORAGE, 11 * 2**30) == 11 * 2**30
    assert take(org_id, Resource.COMPILE_JOBS, 1_001) == 1_001
    take(org_id, amount=50)
    with pytest.raises(QuotaExceeded):
        take(org_id)


def test_an_override_is_hard_even_where_the_plan_has_overage_and_ends_by_itself(org_id, give):
    give("pro")
    override(org_id, Resource.STORAGE, 100, expires_at=NOW + HOUR)
    with pytest.raises(QuotaExceeded) as caught:
        take(org_id, Resource.STORAGE, 101)
    assert (caught.value.current, caught.value.limit) == (0, 100)
    assert take(org_id, Resource.STORAGE, 101, now=NOW + HOUR) == 101


def test_unlimited_is_null_and_zero_is_nothing(org_id):
    override(org_id, Resource.MODULES, None)
    override(org_id, Resource.STORAGE, 0)
    assert take(org_id, amount=10**12) == 10**12
    with pytest.raises(QuotaExceeded) as caught:
        take(org_id, Resource.STORAGE, 1)
    assert (caught.value.current, caught.value.limit) == (0, 0)
    # Nothing new is stored, so there is nothing to refuse.
    assert take(org_id, Resource.STORAGE, 0) == 0


def test_an_upgrade_applies_at_once_and_a_downgrade_refuses_until_usage_fits(org_id, give):
    take(org_id, amount=5)
    give("pro")
    assert take(org_id) == 6
    give("free")
    with pytest.raises(QuotaExceeded) as caught:
        take(org_id)
    assert (caught.value.current, caught.value.limit) == (6, 5)
    assert give_back(org_id, amount=2) == 4
    assert take(org_id) == 5


@pytest.mark.parametrize("resource", [Resource.MODULES, Resource.COMPILE_JOBS])
def test_numbers_beyond_a_bigint_are_refused_not_errors(org_id, resource):
    override(org_id, resource, None)
    assert take(org_id, resource, MAX - 1) == MAX - 1
    for amount in (2, MAX, MAX + 1, 10**30):
        with pytest.raises(QuotaExceeded) as caught:
            take(org_id, resource, amount)
        assert (caught.value.current, caught.value.limit) == (MAX - 1, None)
    assert take(org_id, resource, 1) == MAX


def test_the_total_of_versions_stops_at_what_can_be_counted(org_id):
    override(org_id, Resource.VERSIONS, None)
    for module in (1, 2):
        assert take(org_id, Resource.VERSIONS, MAX, subject=module) == MAX
    assert gauges(org_id)[0] == ("versions", 0, MAX)


def test_compile_jobs_count_in_their_month(org_id):
    assert take(org_id, Resource.COMPILE_JOBS, 100) == 100
    with pytest.raises(QuotaExceeded) as caught:
        take(org_id, Resource.COMPILE_JOBS)
    assert (caught.value.current, caught.value.limit) == (100, 100)
    december = NOW.replace(month=12, day=1)
    assert take(org_id, Resource.COMPILE_JOBS, now=december) == 1
    assert give_back(org_id, Resource.COMPILE_JOBS, amount=30) == 70
    rows = PeriodUsage.objects.filter(org_id=org_id).order_by("period__start")
    assert list(rows.values_list("period__start__month", "used")) == [(11, 70), (12, 1)]
    assert buckets(org_id) == [
        ("compile_jobs", NOW.replace(minute=0), 70),
        ("compile_jobs", december.replace(minute=0), 1),
    ]
    assert gauges(org_id) == []


def test_before_seeding_there_is_a_clear_error(cast):
    for resource in (Resource.MODULES, Resource.COMPILE_JOBS):
        with pytest.raises(PlansMissing):
            take(cast.org.pk, resource)
    assert gauges(cast.org.pk) == []


@pytest.mark.parametrize(
    ("resource", "amount", "subject"),
    [
        (Resource.MODULES, -1, 0),
        (Resource.MODULES, 1, 7),
        (Resource.VERSIONS, 1, 0),
        (Resource.API_REQUESTS, 1, 0),
    ],
)
def test_a_call_that_makes_no_sense_is_a_programming_error(org_id, resource, amount, subject):
    for call in (take, give_back):
        with pytest.raises(ValueError, match=r"."):
            call(org_id, resource, amount, subject=subject)


def test_a_rollback_gives_back(org_id):
    take(org_id)
    with transaction.atomic():
        assert take(org_id, amount=2) == 3
        assert take(org_id, Resource.VERSIONS, subject=3) == 1
        assert take(org_id, Resource.COMPILE_JOBS, 4) == 4
        transaction.set_rollback(True)
    assert gauges(org_id) == [("modules", 0, 1)]
    assert changes(org_id) == [("modules", NOW, 1)]
    assert buckets(org_id) == []
    assert not PeriodUsage.objects.exists()


def test_a_reservation_is_one_statement(org_id, django_assert_num_queries):
    for resource, subject in ((Resource.MODULES, 0), (Resource.STORAGE, 0), (Resource.VERSIONS, 5)):
        with django_assert_num_queries(1):
            take(org_id, resource, subject=subject)
        with django_assert_num_queries(1):
            give_back(org_id, resource, subject=subject)


def test_another_tenants_scope_reserves_nothing_here(seeded):
    with (
        pytest.raises(Exception, match="row-level security"),
        tenancy.organization(seeded.other_org.pk),
    ):
        take(seeded.org.pk)
    with door():
        assert gauges(seeded.org.pk) == []


@pytest.mark.parametrize(
    ("resource", "subject"),
    [(Resource.MODULES, 0), (Resource.VERSIONS, 9), (Resource.COMPILE_JOBS, 0)],
)
def test_sixteen_at_once_on_a_limit_of_five_give_exactly_five(seeded, resource, subject):
    org_id = seeded.org.pk
    with door():
        override(org_id, resource, 5)

    def work(_: int) -> int:
        with tenancy.organization(org_id):
            return take(org_id, resource, subject=subject)

    levels, errors = at_once(16, work)
    assert sorted(levels) == [1, 2, 3, 4, 5]
    assert [type(error) for error in errors] == [QuotaExceeded] * 11
    with door():
        if resource is Resource.COMPILE_JOBS:
            assert UsagePeriod.objects.count() == 1
            assert PeriodUsage.objects.get().used == 5
            assert [used for _, _, used in buckets(org_id)] == [5]
        else:
            assert {used for _, _, used in gauges(org_id)} == {5}
            assert [used for _, _, used in changes(org_id)] == [5]


def test_several_reserved_in_the_documented_order_never_deadlock(seeded):
    org_id = seeded.org.pk
    with door():
        override(org_id, Resource.MODULES, None)
        override(org_id, Resource.VERSIONS, None)

    def work(index: int) -> None:
        for _ in range(5):
            with tenancy.organization(org_id):
                take(org_id)
                take(org_id, Resource.VERSIONS, subject=1 + index % 3)
                take(org_id, Resource.STORAGE, 10)
            with tenancy.organization(org_id):
                give_back(org_id)
                give_back(org_id, Resource.VERSIONS, subject=1 + index % 3)
                give_back(org_id, Resource.STORAGE, 4)

    _, errors = at_once(8, work)
    assert errors == []
    with door():
        assert gauges(org_id) == [
            ("modules", 0, 0),
            ("storage", 0, 8 * 5 * 6),
            ("versions", 0, 0),
            *[("versions", module, 0) for module in (1, 2, 3)],
        ]
