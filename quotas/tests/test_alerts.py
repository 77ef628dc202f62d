"""Thresholds fire once a period each, whoever looks and however often."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core import mail
from django.core.management import call_command
from django.db import ProgrammingError

from conftest import door
from orgs.models import Organization
from orgs.tests.helpers import verify
from quotas import tasks
from quotas.models import (
    Alert,
    AlertSettings,
    GaugeChange,
    PlanCharge,
    UsageGauge,
    UsagePeriod,
)
from quotas.models.alert import OVERAGE
from quotas.resources import Resource
from quotas.services.alerts import evaluate_organization, fire, organizations_to_alert
from quotas.services.periods import current_period
from quotas.services.reservations import release, reserve
from quotas.services.usage import record_meter
from quotas.tests.conftest import NOW, override
from quotas.tests.threads import at_once
from spoke.core import tenancy

DEFAULT = [50, 80, 100]
NEXT_MONTH = datetime(2026, 12, 1, 0, 5, tzinfo=UTC)


def fire_storage(cast, used, thresholds=DEFAULT, *, limit=1000, now=NOW, resource="storage"):
    period = current_period(org_id=cast.org.pk, now=now)
    return fire(
        org_id=cast.org.pk,
        period_id=period.pk,
        resource=resource,
        used=used,
        limit=limit,
        thresholds=thresholds,
        now=now,
    )


def use(cast, resource, amount, now=NOW):
    reserve(org_id=cast.org.pk, resource=resource, amount=amount, now=now)


def evaluate(cast, now=NOW):
    return evaluate_organization(org_id=cast.org.pk, now=now)


def fired(cast, resource=None):
    rows = Alert.objects.filter(org=cast.org).order_by("period", "resource", "threshold")
    if resource is not None:
        rows = rows.filter(resource=resource)
    return list(rows.values_list("resource", "threshold", "used", "limit", "notify"))


@pytest.mark.parametrize(
    ("used", "thresholds", "expected"),
    [
        (0, DEFAULT, []),
        (499, DEFAULT, []),
        (500, DEFAULT, [50]),
        (799, DEFAULT, [50]),
        (800, DEFAULT, [50, 80]),
        (999, DEFAULT, [50, 80]),
        (1000, DEFAULT, [50, 80, 100]),
        (1001, DEFAULT, [50, 80, 100]),
        (9999, [1000, 999, 1], [1, 999]),
        (10_000, [1000, 999, 1, 1], [1, 999, 1000]),
        (10, [1], [1]),
        (9, [1], []),
        (500, [], []),
    ],
)
def test_a_threshold_is_reached_at_exactly_its_percentage(cast, used, thresholds, expected):
    assert fire_storage(cast, used, thresholds) == expected
    assert [row[1] for row in fired(cast)] == expected
    assert fire_storage(cast, used, thresholds) == []
    assert len(fired(cast)) == len(expected)


@pytest.mark.parametrize(
    ("used", "limit", "expected"),
    [(2**63 - 1, 2**63 - 1, DEFAULT), (2**62 - 1, 2**63 - 1, []), (2**62, 2**63 - 1, [50])],
)
def test_the_largest_numbers_are_compared_exactly(cast, used, limit, expected):
    assert fire_storage(cast, used, limit=limit) == expected


def test_of_a_limit_of_nothing_anything_is_all_and_nothing_is_nothing(cast):
    assert fire_storage(cast, 0, limit=0) == []
    assert fire_storage(cast, 1, limit=0) == DEFAULT


def test_what_is_reached_step_by_step_fires_step_by_step(cast):
    assert fire_storage(cast, 510) == [50]
    assert fire_storage(cast, 300) == []
    assert fire_storage(cast, 820) == [80]
    assert fire_storage(cast, 2000) == [100]
    assert fired(cast) == [
        ("storage", 50, 510, 1000, True),
        ("storage", 80, 820, 1000, True),
        ("storage", 100, 2000, 1000, True),
    ]


def test_of_several_at_once_only_the_highest_has_a_message(cast):
    assert fire_storage(cast, 900) == [50, 80]
    assert fired(cast) == [("storage", 50, 900, 1000, False), ("storage", 80, 900, 1000, True)]


def test_a_threshold_added_below_the_level_is_kept_without_a_message(cast):
    fire_storage(cast, 850)
    assert fire_storage(cast, 860, [50, 60, 80, 100]) == [60]
    assert ("storage", 60, 860, 1000, False) in fired(cast)


def test_resources_organizations_and_periods_have_thresholds_of_their_own(cast):
    assert fire_storage(cast, 500) == [50]
    assert fire_storage(cast, 500, resource=OVERAGE) == [50]
    assert fire_storage(cast, 500, now=NEXT_MONTH) == [50]
    other = current_period(org_id=cast.other_org.pk, now=NOW)
    assert fire(
        org_id=cast.other_org.pk,
        period_id=other.pk,
        resource="storage",
        used=500,
        limit=1000,
        thresholds=DEFAULT,
        now=NOW,
    ) == [50]
    assert Alert.objects.count() == 4


def test_another_organizations_alerts_can_be_neither_seen_nor_made(committed_cast):
    cast = committed_cast
    with door():
        fire_storage(cast, 500)
        period = current_period(org_id=cast.org.pk, now=NOW)
    with tenancy.organization(cast.other_org.pk):
        assert not Alert.objects.exists()
    foreign = {"org_id": cast.org.pk, "period_id": period.pk, "resource": "storage"}
    with (
        pytest.raises(ProgrammingError, match="row-level security"),
        tenancy.organization(cast.other_org.pk),
    ):
        fire(**foreign, used=900, limit=1000, thresholds=DEFAULT, now=NOW)
    with door():
        assert fired(cast) == [("storage", 50, 500, 1000, True)]


def test_sixteen_at_once_fire_each_threshold_once_and_send_one_mail(committed_cast):
    cast = committed_cast
    with door():
        for person in (cast.owner, cast.admin):
            verify(person)
        current_period(org_id=cast.org.pk, now=NOW)
    mail.outbox.clear()

    def work(_):
        with tenancy.organization(cast.org.pk):
            return fire_storage(cast, 900)

    results, errors = at_once(16, work)
    assert errors == []
    assert sorted(results) == [[]] * 15 + [[50, 80]]
    with door():
        assert fired(cast) == [("storage", 50, 900, 1000, False), ("storage", 80, 900, 1000, True)]
    assert sorted(message.to[0] for message in mail.outbox) == [
        "admin@example.com",
        "owner@example.com",
    ]
    assert {message.subject for message in mail.outbox} == {
        "Acme has reached 80% of its storage limit"
    }


def test_sixteen_at_different_levels_fire_each_threshold_once(committed_cast):
    cast = committed_cast
    with door():
        current_period(org_id=cast.org.pk, now=NOW)

    def work(index):
        with tenancy.organization(cast.org.pk):
            return fire_storage(cast, 100 * (index + 1), [10 * n for n in range(1, 11)])

    results, errors = at_once(16, work)
    assert errors == []
    assert sorted(itertools.chain(*results)) == [10 * n for n in range(1, 11)]
    with door():
        assert [row[1] for row in fired(cast)] == [10 * n for n in range(1, 11)]


def test_sixteen_evaluations_at_once_fire_once_and_mail_once(committed_cast):
    cast = committed_cast
    with door():
        call_command("seed_plans", verbosity=0)
        verify(cast.owner)
        use(cast, Resource.MODULES, 4)
        use(cast, Resource.COMPILE_JOBS, 100)
    mail.outbox.clear()

    with time_machine.travel(NOW, tick=False):
        results, errors = at_once(16, lambda _: tasks.evaluate_alerts_of(cast.org.pk))
    assert errors == []
    assert sum(results) == 5
    assert len(mail.outbox) == 2
    with door():
        assert [row[:2] for row in fired(cast)] == [
            ("compile_jobs", 50),
            ("compile_jobs", 80),
            ("compile_jobs", 100),
            ("modules", 50),
            ("modules", 80),
        ]


@pytest.mark.usefixtures("plans")
class TestEvaluation:
    def test_gauges_and_meters_are_compared_with_the_plans_limits(self, cast):
        use(cast, Resource.MODULES, 4)
        use(cast, Resource.STORAGE, 2**29)
        use(cast, Resource.COMPILE_JOBS, 79)
        assert organizations_to_alert(now=NOW) == [cast.org.pk]
        assert evaluate(cast) == 4
        assert fired(cast) == [
            ("compile_jobs", 50, 79, 100, True),
            ("modules", 50, 4, 5, False),
            ("modules", 80, 4, 5, True),
            ("storage", 50, 2**29, 2**30, True),
        ]

    def test_evaluating_again_finds_and_fires_nothing(self, cast):
        use(cast, Resource.MODULES, 4)
        assert evaluate(cast) == 2
        assert organizations_to_alert(now=NOW) == []
        assert organizations_to_alert(now=NOW, all_of_them=True) == []
        assert evaluate(cast) == 0
        use(cast, Resource.MODULES, 1)
        assert organizations_to_alert(now=NOW) == [cast.org.pk]
        assert evaluate(cast) == 1
        release(org_id=cast.org.pk, resource=Resource.MODULES, amount=3, now=NOW)
        use(cast, Resource.MODULES, 3)
        assert organizations_to_alert(now=NOW) == []

    def test_an_override_is_the_limit_until_it_ends(self, cast):
        override(cast.org.pk, Resource.MODULES, 40, expires_at=NOW + timedelta(hours=1))
        use(cast, Resource.MODULES, 4)
        assert evaluate(cast) == 0
        assert evaluate(cast, NOW + timedelta(hours=1)) == 2
        assert fired(cast)[0] == ("modules", 50, 4, 5, False)

    def test_without_a_limit_nothing_fires(self, cast):
        for resource in Resource:
            override(cast.org.pk, resource, None)
        use(cast, Resource.MODULES, 1000)
        use(cast, Resource.COMPILE_JOBS, 10**6)
        assert organizations_to_alert(now=NOW) == []
        assert organizations_to_alert(now=NOW, all_of_them=True) == []
        assert evaluate(cast) == 0
        assert fired(cast) == []

    def test_versions_and_the_hourly_limit_have_no_alerts(self, cast):
        reserve(org_id=cast.org.pk, resource=Resource.VERSIONS, amount=50, now=NOW, subject=1)
        record_meter(
            org_id=cast.org.pk, resource=Resource.API_REQUESTS, amount=10**6, at=NOW, now=NOW
        )
        assert organizations_to_alert(now=NOW, all_of_them=True) == []
        assert evaluate(cast) == 0

    def test_api_requests_are_compared_with_what_a_month_includes(self, cast, give):
        give("pro")
        record_meter(
            org_id=cast.org.pk, resource=Resource.API_REQUESTS, amount=480_000, at=NOW, now=NOW
        )
        assert evaluate(cast) == 2
        assert fired(cast, "api_requests")[1] == ("api_requests", 80, 480_000, 600_000, True)

    def test_where_nothing_is_included_api_requests_have_no_alerts(self, cast, give):
        give("pro")
        PlanCharge.objects.filter(resource="api_requests").update(included=0)
        record_meter(org_id=cast.org.pk, resource=Resource.API_REQUESTS, amount=1, at=NOW, now=NOW)
        assert evaluate(cast) == 0

    def test_overage_goes_past_a_hundred_percent(self, cast, give):
        give("pro")
        AlertSettings.objects.create(
            org=cast.org, thresholds={"compile_jobs": [100, 150]}, updated_at=NOW
        )
        use(cast, Resource.COMPILE_JOBS, 1500)
        assert evaluate(cast) == 2
        assert fired(cast) == [
            ("compile_jobs", 100, 1500, 1000, False),
            ("compile_jobs", 150, 1500, 1000, True),
        ]

    def test_own_thresholds_replace_the_default_ones_resource_by_resource(self, cast):
        AlertSettings.objects.create(
            org=cast.org, thresholds={"modules": [20], "compile_jobs": []}, updated_at=NOW
        )
        use(cast, Resource.MODULES, 4)
        use(cast, Resource.COMPILE_JOBS, 100)
        use(cast, Resource.STORAGE, 2**30)
        assert evaluate(cast) == 4
        assert [row[:2] for row in fired(cast)] == [
            ("modules", 20),
            ("storage", 50),
            ("storage", 80),
            ("storage", 100),
        ]

    def test_a_new_period_arms_the_thresholds_again(self, cast):
        use(cast, Resource.MODULES, 4)
        use(cast, Resource.COMPILE_JOBS, 60)
        assert evaluate(cast) == 3
        # The level of modules lives on, the jobs begin at nothing; the period is opened by need.
        assert organizations_to_alert(now=NEXT_MONTH, all_of_them=True) == [cast.org.pk]
        assert evaluate(cast, NEXT_MONTH) == 2
        assert evaluate(cast, NEXT_MONTH) == 0
        use(cast, Resource.COMPILE_JOBS, 50, NEXT_MONTH)
        assert evaluate(cast, NEXT_MONTH) == 1
        new = UsagePeriod.objects.get(org=cast.org, start=datetime(2026, 12, 1, tzinfo=UTC))
        rows = Alert.objects.filter(period=new).order_by("resource", "threshold")
        assert list(rows.values_list("resource", "threshold")) == [
            ("compile_jobs", 50),
            ("modules", 50),
            ("modules", 80),
        ]

    def test_changed_lately_is_this_hour_and_the_last(self, cast):
        use(cast, Resource.MODULES, 4)
        for minutes, found in ((0, True), (39, True), (99, True), (100, False)):
            at = NOW + timedelta(minutes=minutes)
            assert organizations_to_alert(now=at) == ([cast.org.pk] if found else [])
            assert organizations_to_alert(now=at, all_of_them=True) == [cast.org.pk]

    def test_a_lowered_limit_is_seen_with_all_organizations(self, cast):
        use(cast, Resource.MODULES, 2)
        override(cast.org.pk, Resource.MODULES, 2)
        GaugeChange.objects.all().delete()
        assert organizations_to_alert(now=NOW) == []
        assert organizations_to_alert(now=NOW, all_of_them=True) == [cast.org.pk]

    @pytest.mark.parametrize("status", ["suspended", "closed"])
    def test_only_active_organizations_are_looked_at(self, cast, status):
        use(cast, Resource.MODULES, 4)
        Organization.objects.filter(pk=cast.org.pk).update(
            status=status, closed_at=NOW if status == "closed" else None
        )
        assert organizations_to_alert(now=NOW, all_of_them=True) == []
        assert evaluate(cast) == 0
        assert fired(cast) == []

    def test_only_the_organizations_that_reached_something_are_found(self, cast):
        use(cast, Resource.MODULES, 2)
        reserve(org_id=cast.other_org.pk, resource=Resource.MODULES, amount=3, now=NOW)
        assert organizations_to_alert(now=NOW) == [cast.other_org.pk]
        assert evaluate(cast) == 0
        assert not Alert.objects.exists()


def test_before_the_plans_are_published_nothing_fires(cast):
    UsageGauge.objects.create(org=cast.org, resource="modules", used=5)
    assert organizations_to_alert(now=NOW, all_of_them=True) == []
    assert evaluate(cast) == 0


@pytest.mark.parametrize("task", ["evaluate_alerts", "evaluate_all_alerts"])
def test_the_tasks_evaluate_and_mail_once(committed_cast, task):
    cast = committed_cast
    with door():
        call_command("seed_plans", verbosity=0)
        verify(cast.owner)
        use(cast, Resource.MODULES, 5)
        reserve(org_id=cast.other_org.pk, resource=Resource.MODULES, amount=1, now=NOW)
    mail.outbox.clear()
    with time_machine.travel(NOW, tick=False):
        assert getattr(tasks, task)() == 1
        assert getattr(tasks, task)() == 0
    assert [(message.to, message.subject) for message in mail.outbox] == [
        (["owner@example.com"], "Acme has reached 100% of its module limit")
    ]
    with door():
        assert [row[1] for row in fired(cast)] == DEFAULT
        assert not Alert.objects.filter(org=cast.other_org).exists()
