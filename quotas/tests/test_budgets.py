"""A blocking budget holds to the cent, whatever runs at once; one that only notifies refuses nothing."""

from datetime import UTC, datetime

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from conftest import door
from orgs.context import SYSTEM
from orgs.models import AuditEvent
from orgs.tests.helpers import verify
from quotas import tasks
from quotas.errors import BudgetExceeded, QuotaExceeded
from quotas.models import Alert, Budget, BudgetAction, PeriodUsage, Plan, UsageGauge
from quotas.resources import Resource
from quotas.services import usage
from quotas.services.budget_alerts import evaluate_budget
from quotas.services.budgets import set_budget
from quotas.services.plans import assign_plan
from quotas.services.reservations import Request, release, reserve, reserve_many
from quotas.services.spend import current_spend
from quotas.tests.conftest import NOW, override
from quotas.tests.threads import at_once
from spoke.core import tenancy
from spoke.core.errors import InvalidInput

GB = 2**30
FIRST = datetime(2026, 11, 1, tzinfo=UTC)
HALF = datetime(2026, 11, 16, tzinfo=UTC)
SUBJECT = "Acme has reached 100% of its overage budget of this period"
URL = "/orgs/acme/budget"


def cap(org_id, amount, action=BudgetAction.BLOCK, currency="usd"):
    return set_budget(
        org_id=org_id, actor=SYSTEM, amount_minor=amount, currency=currency, action=action, now=NOW
    )


def take(org_id, amount, resource=Resource.COMPILE_JOBS, now=NOW):
    return reserve(org_id=org_id, resource=resource, amount=amount, now=now)


def spent(org_id, now=NOW):
    return current_spend(org_id=org_id, currency="usd", now=now).total_minor


@pytest.fixture
def org_id(cast, give):
    give("pro")
    return cast.org.pk


def test_overage_is_rated_by_the_plan(org_id):
    take(org_id, 1_020)
    take(org_id, 11 * GB, Resource.STORAGE, FIRST)
    usage.record_meter(
        org_id=org_id, resource=Resource.API_REQUESTS, amount=612_500, at=NOW, now=NOW
    )
    spend = current_spend(org_id=org_id, currency="usd", now=NOW)
    assert [(line.resource.value, line.amount_minor) for line in spend.lines] == [
        ("api_requests", 125),
        ("compile_jobs", 100),
        ("storage", 500),
    ]
    assert spend.total_minor == 725
    assert current_spend(org_id=org_id, currency="eur", now=NOW).total_minor == 725


def test_what_an_override_limits_is_not_billed(org_id):
    take(org_id, 1_020)
    override(org_id, Resource.COMPILE_JOBS, 2_000)
    assert spent(org_id) == 0
    cap(org_id, 0)
    assert take(org_id, 980) == 2_000
    with pytest.raises(QuotaExceeded):
        take(org_id, 1)


def test_jobs_stop_at_the_budget_to_the_cent(org_id):
    cap(org_id, 104)
    assert take(org_id, 1_000) == 1_000
    assert take(org_id, 20) == 1_020
    with pytest.raises(BudgetExceeded) as caught:
        take(org_id, 1)
    error = caught.value
    assert (error.status, error.error_code) == (403, "budget_exceeded")
    assert {k: v for k, v in error.extra.items() if k != "budget_url"} == {
        "error": "budget_exceeded",
        "resource": "compile_jobs",
        "budget_cents": 104,
        "would_cost_cents": 105,
        "currency": "usd",
    }
    assert PeriodUsage.objects.get(org_id=org_id).used == 1_020
    cap(org_id, 105)
    assert take(org_id, 1) == 1_021
    release(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=2, now=NOW)
    assert take(org_id, 2) == 1_021


def test_storage_is_held_to_what_it_will_cost_by_the_end_of_the_period(org_id):
    cap(org_id, 500)
    take(org_id, 10 * GB, Resource.STORAGE, FIRST)
    # For half of the period: the average is 11 GB, and 1 GB beyond the included costs $5.00.
    assert take(org_id, 2 * GB, Resource.STORAGE, HALF) == 12 * GB
    assert spent(org_id, HALF) == 500
    with pytest.raises(BudgetExceeded) as caught:
        take(org_id, GB, Resource.STORAGE, HALF)
    assert caught.value.cost_minor == 750
    assert UsageGauge.objects.get(org_id=org_id, resource="storage").used == 12 * GB
    assert spent(org_id, HALF) == 500
    # Nothing that could be rounded to a cent more.
    assert take(org_id, 1, Resource.STORAGE, HALF) == 12 * GB + 1


def test_jobs_and_storage_share_it(org_id):
    cap(org_id, 600)
    take(org_id, 11 * GB, Resource.STORAGE, FIRST)
    assert take(org_id, 1_020) == 1_020
    for resource, amount in ((Resource.COMPILE_JOBS, 1), (Resource.STORAGE, GB)):
        with pytest.raises(BudgetExceeded):
            take(org_id, amount, resource)
    assert spent(org_id) == 600


def test_what_costs_nothing_is_never_refused(org_id):
    usage.record_meter(
        org_id=org_id, resource=Resource.API_REQUESTS, amount=900_000, at=NOW, now=NOW
    )
    cap(org_id, 1)
    assert spent(org_id) == 3_000
    assert take(org_id, 1_000) == 1_000
    assert take(org_id, 10 * GB, Resource.STORAGE) == 10 * GB
    assert take(org_id, 1, Resource.MODULES) == 1
    with pytest.raises(BudgetExceeded):
        take(org_id, 1)


def test_a_budget_that_notifies_refuses_nothing_and_one_taken_away_neither(org_id):
    cap(org_id, 5, BudgetAction.NOTIFY)
    assert take(org_id, 1_010) == 1_010
    cap(org_id, 5)
    with pytest.raises(BudgetExceeded):
        take(org_id, 1)
    assert cap(org_id, None) is None
    assert take(org_id, 1) == 1_011


def test_a_plan_without_overage_stops_at_its_limit_as_ever(org_id, give):
    give("free")
    cap(org_id, 0)
    assert take(org_id, 100) == 100
    with pytest.raises(QuotaExceeded):
        take(org_id, 1)


def test_a_change_is_audited_once_and_the_same_again_is_none(org_id):
    first = cap(org_id, 5)
    assert cap(org_id, 5) == first
    events = AuditEvent.objects.filter(org_id=org_id, action="budget.changed")
    assert [event.data for event in events] == [
        {"old": None, "new": {"amount_cents": 5, "currency": "usd", "action": "block"}}
    ]
    with pytest.raises(InvalidInput):
        cap(org_id, 5, currency="xxx")
    assert Budget.objects.get(org_id=org_id).currency == "usd"


def test_several_are_reserved_together_or_not_at_all(org_id):
    asked = [
        Request(Resource.STORAGE, 5),
        Request(Resource.VERSIONS, 2, subject=7),
        Request(Resource.MODULES, 1),
        Request(Resource.COMPILE_JOBS, 3),
    ]
    assert reserve_many(org_id=org_id, requests=asked, now=NOW) == [5, 2, 1, 3]
    with pytest.raises(QuotaExceeded) as caught:
        reserve_many(org_id=org_id, requests=[*asked, Request(Resource.MODULES, 50)], now=NOW)
    assert caught.value.resource is Resource.MODULES
    levels = UsageGauge.objects.filter(org_id=org_id).order_by("resource", "subject")
    assert list(levels.values_list("resource", "subject", "used")) == [
        ("modules", 0, 1),
        ("storage", 0, 5),
        ("versions", 0, 2),
        ("versions", 7, 2),
    ]
    assert PeriodUsage.objects.get(org_id=org_id).used == 3


def test_its_thresholds_fire_once_each(org_id):
    assert evaluate_budget(org_id=org_id, now=NOW) == []
    cap(org_id, 200, BudgetAction.NOTIFY)
    take(org_id, 1_019)
    assert evaluate_budget(org_id=org_id, now=NOW) == []
    take(org_id, 1)
    assert evaluate_budget(org_id=org_id, now=NOW) == [50]
    assert evaluate_budget(org_id=org_id, now=NOW) == []
    take(org_id, 30)
    assert evaluate_budget(org_id=org_id, now=NOW) == [80, 100]
    fired = Alert.objects.filter(org_id=org_id).order_by("threshold")
    assert list(fired.values_list("resource", "threshold", "used", "limit", "notify")) == [
        ("overage", 50, 100, 200, True),
        ("overage", 80, 250, 200, False),
        ("overage", 100, 250, 200, True),
    ]


@pytest.mark.django_db(transaction=True)
def test_the_task_looks_at_every_budget(committed_cast, mailoutbox):
    call_command("seed_plans", verbosity=0)
    org_id = committed_cast.org.pk
    now = timezone.now()
    with door():
        verify(committed_cast.owner)
    mailoutbox.clear()
    with tenancy.organization(org_id):
        plan = Plan.objects.current().get(code="pro")
        assign_plan(org_id=org_id, plan=plan, actor=SYSTEM, now=now)
        take(org_id, 1_020, now=now)
        cap(org_id, 100, BudgetAction.NOTIFY)
    assert tasks.evaluate_budgets() == 1
    with door():
        assert Alert.objects.filter(org_id=org_id, resource="overage").count() == 3
    for _ in range(2):
        assert [(mail.to, mail.subject) for mail in mailoutbox] == [
            ([committed_cast.owner.email], SUBJECT)
        ]
        assert tasks.evaluate_budgets() == 1


@pytest.mark.django_db(transaction=True)
def test_sixteen_at_once_stay_within_the_budget_to_the_cent(committed_cast):
    call_command("seed_plans", verbosity=0)
    org_id = committed_cast.org.pk
    with tenancy.organization(org_id):
        plan = Plan.objects.current().get(code="pro")
        assign_plan(org_id=org_id, plan=plan, actor=SYSTEM, now=NOW)
        take(org_id, 1_000)
        take(org_id, 10 * GB, Resource.STORAGE, FIRST)
        cap(org_id, 1_037)

    def work(index: int) -> bool:
        resource, amount = (Resource.COMPILE_JOBS, 7) if index % 2 else (Resource.STORAGE, GB // 4)
        done = 0
        for _ in range(6):
            try:
                with tenancy.organization(org_id):
                    reserve(org_id=org_id, resource=resource, amount=amount, now=FIRST)
                    done += 1
            except BudgetExceeded:
                pass
        return bool(done)

    _, errors = at_once(16, work)
    assert errors == []
    with door():
        total = spent(org_id)
        # Neither would fit any more: jobs cost 35 a time, storage 125.
        assert 1_037 - 35 < total <= 1_037
        jobs = PeriodUsage.objects.get(resource="compile_jobs").used - 1_000
        stored = UsageGauge.objects.get(resource="storage").used - 10 * GB
        assert total == jobs * 5 + stored // (GB // 4) * 125


def test_a_rollback_of_the_caller_takes_it_back(org_id):
    cap(org_id, 100)
    take(org_id, 1_000)
    with transaction.atomic():
        take(org_id, 20)
        transaction.set_rollback(True)
    assert take(org_id, 20) == 1_020


def test_the_api_reads_and_sets_it(api, cast, org_id):
    take(org_id, 1_020)
    owner = api("owner")
    response = owner.get(URL)
    assert response.status_code == 200
    body = response.json()
    assert (body["amount_cents"], body["currency"], body["action"]) == (None, "usd", "notify")
    assert body["spend"]["percent"] is None
    response = owner.put(URL, {"amount_cents": 400, "action": "block"})
    assert response.status_code == 200
    assert response.json() == {
        "amount_cents": 400,
        "currency": "usd",
        "action": "block",
        "spend": {
            "period_start": "2026-11-01T00:00:00Z",
            "period_end": "2026-12-01T00:00:00Z",
            "amount_cents": 100,
            "percent": 25.0,
            "lines": [
                {
                    "resource": resource,
                    "unit": unit,
                    "quantity": quantity,
                    "included": included,
                    "amount_cents": amount,
                }
                for resource, unit, quantity, included, amount in (
                    ("api_requests", "1,000 requests", "0", "600", 0),
                    ("compile_jobs", "job", "1020", "1000", 100),
                    ("storage", "GB-month", "0", "10", 0),
                )
            ],
        },
    }
    assert owner.put(URL, {"amount_cents": None}).json()["amount_cents"] is None
    assert not Budget.objects.exists()


def test_a_change_based_on_an_old_reading_is_refused(api, cast, org_id):
    owner = api("owner")
    old = owner.get(URL).headers["ETag"]
    assert owner.put(URL, {"amount_cents": 4}, headers={"If-Match": old}).status_code == 200
    response = owner.put(URL, {"amount_cents": 5}, headers={"If-Match": old})
    assert response.status_code == 412
    assert Budget.objects.get().amount_minor == 4


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"amount_cents": -1}, "amount_cents"),
        ({"amount_cents": 2**63}, "amount_cents"),
        ({"amount_cents": "much"}, "amount_cents"),
        ({"amount_cents": 1, "currency": "xxx"}, "currency"),
        ({"amount_cents": 1, "currency": "US Dollar"}, "currency"),
        ({"amount_cents": 1, "action": "shout"}, "action"),
        ({"amount": 1}, "amount"),
    ],
)
def test_bad_budgets_are_refused_by_name(api, cast, org_id, sent, field):
    response = api("owner").put(URL, sent)
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == field
    assert not Budget.objects.exists()


@pytest.mark.parametrize("who", ["admin", "developer", "staff"])
def test_only_owners_set_it(api, cast, org_id, who):
    assert api(who).put(URL, {"amount_cents": 1}).status_code == 403
    assert not Budget.objects.exists()
