"""Months and years as they are billed, to the cent, by what the periodic tasks do."""

from datetime import timedelta

import pytest

from billing.models import Invoice, Subscription, SubscriptionStatus
from billing.services import subscriptions
from billing.tests.conftest import START, at, bills, lines, plan, work_through
from orgs.context import SYSTEM
from orgs.models import AuditEvent, Organization
from orgs.services.organizations import close_organization
from quotas.models import UsagePeriod
from quotas.resources import Resource
from quotas.services import usage
from quotas.services.limits import effective_limit, set_overrides
from quotas.services.reservations import reserve
from spoke.core import tenancy
from spoke.core.errors import Conflict, InvalidInput, NotFound

GB = 2**30


def change(org_id, code, now):
    with tenancy.organization(org_id):
        return subscriptions.change_plan(org_id=org_id, plan=plan(code), actor=SYSTEM, now=now)


def cancel(org_id, now, immediately=False):
    with tenancy.organization(org_id):
        return subscriptions.cancel_subscription(
            org_id=org_id, immediately=immediately, actor=SYSTEM, now=now
        )


def use(org_id, resource, amount, now):
    with tenancy.organization(org_id):
        reserve(org_id=org_id, resource=resource, amount=amount, now=now)


def limit(org_id, resource, now):
    with tenancy.organization(org_id):
        return effective_limit(org_id=org_id, resource=resource, now=now)


def test_a_month_of_pro_with_overage(org_id, subscribe):
    subscribe("pro")
    use(org_id, Resource.COMPILE_JOBS, 1_234, at(3, 20))
    # From the middle of the month's 31 days on, 16 GB: 8 GB on average, less than 10 GB.
    middle = START + (at(4, 5) - START) / 2
    use(org_id, Resource.STORAGE, 16 * GB, middle)
    with tenancy.organization(org_id):
        usage.record_meter(
            org_id=org_id,
            resource=Resource.API_REQUESTS,
            amount=700_500,
            at=at(3, 30),
            now=at(3, 30),
        )
    work_through(org_id, at(4, 5, 10, 30))
    assert bills(org_id) == [("2026-03-05", 4_900 + 1_170 + 1_005, "open")]
    assert lines(org_id, START) == [
        ("Pro, one month", 4_900),
        ("API requests beyond the plan", 1_005),  # 100,500 at 0.10 the thousand
        ("Compile jobs beyond the plan", 1_170),  # 234 at 0.05
    ]
    # The next month has 16 GB all through: 6 GB-months at 5.00.
    work_through(org_id, at(5, 5, 10, 30))
    assert lines(org_id, at(4, 5)) == [
        ("Pro, one month", 4_900),
        ("Storage beyond the plan", 3_000),
    ]


def test_a_draft_waits_for_late_usage(org_id, subscribe):
    subscribe("pro")
    end = at(4, 5)
    work_through(org_id, end + timedelta(minutes=10))
    assert bills(org_id) == [("2026-03-05", 4_900, "draft")]
    with tenancy.organization(org_id):
        usage.record_meter(
            org_id=org_id,
            resource=Resource.COMPILE_JOBS,
            amount=1_020,
            at=end - timedelta(minutes=1),
            now=end + timedelta(minutes=50),
        )
    work_through(org_id, end + timedelta(minutes=60))
    assert bills(org_id) == [("2026-03-05", 4_900 + 100, "open")]


def test_an_upgrade_half_way_counts_at_once_and_is_prorated(org_id, subscribe):
    subscribe("pro")
    half = START + (at(4, 5) - START) / 2
    use(org_id, Resource.COMPILE_JOBS, 1_500, at(3, 10))
    assert limit(org_id, Resource.MODULES, half) == 50
    changed = change(org_id, "enterprise", half)
    assert (changed.plan.code, changed.pending_plan) == ("enterprise", None)
    assert limit(org_id, Resource.MODULES, half) == 1_000
    work_through(org_id, at(4, 5, 10, 30))
    # Its 1,500 jobs are within what enterprise includes.
    assert lines(org_id, START) == [
        ("Pro, one month", 4_900),
        ("Unused time on Pro", -2_450),
        ("Remaining time on Enterprise", 24_950),
    ]
    work_through(org_id, at(5, 5, 10, 30))
    assert lines(org_id, at(4, 5)) == [("Enterprise, one month", 49_900)]


def test_a_downgrade_waits_for_the_end_of_the_period(org_id, subscribe):
    subscribe("enterprise")
    changed = change(org_id, "pro", at(3, 12))
    assert (changed.plan.code, changed.pending_plan.code) == ("enterprise", "pro")
    assert limit(org_id, Resource.MODULES, at(4, 5, 9, 29)) == 1_000
    work_through(org_id, at(4, 5, 9, 31))
    assert limit(org_id, Resource.MODULES, at(4, 5, 9, 31)) == 50
    work_through(org_id, at(5, 5, 10, 30))
    assert bills(org_id) == [("2026-03-05", 49_900, "open"), ("2026-04-05", 4_900, "open")]


def test_a_downgrade_can_be_taken_back(org_id, subscribe):
    subscribe("enterprise")
    change(org_id, "pro", at(3, 12))
    assert change(org_id, "enterprise", at(3, 13)).pending_plan is None
    work_through(org_id, at(4, 5))
    assert limit(org_id, Resource.MODULES, at(4, 5)) == 1_000


def test_a_year_is_paid_with_its_first_month_and_overage_month_by_month(org_id, subscribe):
    subscription = subscribe("pro", interval="year")
    assert subscription.current_period_end == at(3, 5, year=2027)
    use(org_id, Resource.COMPILE_JOBS, 1_100, at(5, 1))
    work_through(org_id, at(6, 5, 10, 30))
    assert bills(org_id) == [
        ("2026-03-05", 49_000, "open"),
        ("2026-04-05", 500, "open"),
        # Nothing to pay is paid.
        ("2026-05-05", 0, "paid"),
    ]


def test_a_trial_is_free_and_then_paid(org_id, subscribe):
    subscription = subscribe("pro", trial_days=14)
    assert (subscription.status, subscription.current_period_end) == ("trialing", at(3, 19))
    use(org_id, Resource.COMPILE_JOBS, 1_100, at(3, 10))
    work_through(org_id, at(4, 19, 10, 30))
    with tenancy.organization(org_id):
        assert Subscription.objects.get().status == SubscriptionStatus.ACTIVE
    assert bills(org_id) == [("2026-03-05", 0, "paid"), ("2026-03-19", 4_900, "open")]


def test_a_trial_that_is_cancelled_costs_nothing(org_id, subscribe):
    subscribe("pro", trial_days=14)
    cancel(org_id, at(3, 8))
    work_through(org_id, at(4, 10))
    assert bills(org_id) == [("2026-03-05", 0, "paid")]
    assert limit(org_id, Resource.MODULES, at(3, 20)) == 5


def test_cancelled_at_the_end_it_ends_there_and_usage_goes_on_by_the_calendar(org_id, subscribe):
    subscribe("pro")
    assert cancel(org_id, at(3, 20)).cancel_at_period_end is True
    assert limit(org_id, Resource.MODULES, at(4, 1)) == 50
    # The worker was away for a while: it ends when it should have, all the same.
    work_through(org_id, at(4, 7))
    with tenancy.organization(org_id):
        ended = Subscription.objects.get()
        assert (ended.status, ended.ended_at) == ("canceled", at(4, 5))
        last = UsagePeriod.objects.filter(org_id=org_id).order_by("start").last()
        assert (last.start, last.end) == (at(4, 5), at(5, 1, 0, 0))
        assert Organization.objects.get(pk=org_id).plan_tier == "free"
    assert limit(org_id, Resource.MODULES, at(4, 7)) == 5
    work_through(org_id, at(6, 2))
    assert bills(org_id) == [("2026-03-05", 4_900, "open")]


def test_cancelled_at_once_the_unused_rest_is_not_charged(org_id, subscribe):
    subscribe("pro")
    half = START + (at(4, 5) - START) / 2
    use(org_id, Resource.COMPILE_JOBS, 1_010, at(3, 10))
    cancel(org_id, half, immediately=True)
    assert limit(org_id, Resource.MODULES, half) == 5
    work_through(org_id, half + timedelta(hours=1))
    assert lines(org_id, START) == [
        ("Pro, one month", 4_900),
        ("Unused time on Pro", -2_450),
        ("Compile jobs beyond the plan", 50),
    ]


def test_closing_the_organization_ends_its_subscription_then(org_id, subscribe):
    subscribe("pro")
    half = START + (at(4, 5) - START) / 2
    with tenancy.organization(org_id):
        close_organization(org=Organization.objects.get(pk=org_id), actor=SYSTEM, now=half)
    assert subscriptions.due_subscriptions(now=half) == [org_id]
    work_through(org_id, half + timedelta(hours=2))
    assert subscriptions.due_subscriptions(now=at(4, 6)) == []
    assert lines(org_id, START) == [("Pro, one month", 4_900), ("Unused time on Pro", -2_450)]


def test_upgraded_and_cancelled_in_one_month(org_id, subscribe):
    subscribe("pro")
    third, two_thirds = START + timedelta(days=10), START + timedelta(days=20)
    change(org_id, "enterprise", third)
    cancel(org_id, two_thirds, immediately=True)
    work_through(org_id, two_thirds + timedelta(hours=1))
    # 21 and 11 of 31 days are left.
    assert lines(org_id, START) == [
        ("Pro, one month", 4_900),
        ("Unused time on Pro", -3_319),
        ("Remaining time on Enterprise", 33_803),
        ("Unused time on Enterprise", -17_706),
    ]


def test_a_cancellation_can_be_taken_back(org_id, subscribe):
    subscribe("pro")
    cancel(org_id, at(3, 20))
    with tenancy.organization(org_id):
        again = subscriptions.reactivate_subscription(org_id=org_id, actor=SYSTEM, now=at(3, 21))
    assert (again.cancel_at_period_end, again.canceled_at) == (False, None)
    work_through(org_id, at(4, 5, 10, 30))
    assert limit(org_id, Resource.MODULES, at(4, 6)) == 50


def test_the_31st_is_kept_over_short_months_and_leap_years(org_id, subscribe):
    subscribe("pro", now=at(1, 31, year=2027))
    ends = []
    for _ in range(14):
        with tenancy.organization(org_id):
            end = Subscription.objects.get().current_period_end
            ends.append(f"{end:%y-%m-%d}")
            assert subscriptions.turn_subscription(org_id=org_id, now=end)
    assert ends[:4] == ["27-02-28", "27-03-31", "27-04-30", "27-05-31"]
    assert ends[12] == "28-02-29"


def test_euros_have_their_own_prices_and_numbers_follow_each_other(org_id, subscribe):
    subscribe("pro", currency="eur")
    work_through(org_id, at(5, 5, 10, 30))
    with tenancy.organization(org_id):
        found = list(Invoice.objects.order_by("period_start").values_list("number", "currency"))
    assert found == [("SPK-2026-000001", "eur"), ("SPK-2026-000002", "eur")]


def test_one_subscription_at_a_time(org_id, subscribe):
    subscribe("pro")
    with pytest.raises(Conflict, match="already"):
        subscribe("enterprise")
    with tenancy.organization(org_id):
        assert Subscription.objects.count() == 1
        assert limit(org_id, Resource.MODULES, at(3, 6)) == 50


@pytest.mark.parametrize(("code", "currency"), [("custom", "usd"), ("pro", "jpy"), ("free", "usd")])
def test_a_plan_needs_a_price(org_id, subscribe, code, currency):
    with pytest.raises(InvalidInput, match="no price"):
        subscribe(code, currency=currency)
    with tenancy.organization(org_id):
        assert not Subscription.objects.exists()


def test_without_a_subscription_there_is_nothing_to_change(org_id):
    for act in (
        lambda: change(org_id, "pro", START),
        lambda: cancel(org_id, START),
    ):
        with pytest.raises(NotFound, match="no subscription"):
            act()


def test_each_step_is_in_the_audit_log(org_id, subscribe):
    subscribe("pro")
    change(org_id, "enterprise", at(3, 6))
    cancel(org_id, at(3, 7))
    work_through(org_id, at(4, 5, 10, 30))
    with tenancy.organization(org_id):
        actions = list(
            AuditEvent.objects.filter(target_type__in=("subscription", "invoice"))
            .order_by("pk")
            .values_list("action", flat=True)
        )
    assert actions == [
        "subscription.started",
        "subscription.changed",
        "subscription.cancel_requested",
        "subscription.ended",
        "invoice.finalized",
    ]


@pytest.mark.parametrize(("until", "total"), [(at(4, 5), 4_900), (at(4, 4), 4_900 + 1_170)])
def test_an_override_that_ends_with_the_period_held_in_it(org_id, subscribe, until, total):
    """The period is rated an hour after both are over; what was allowed then is not billed now."""
    subscribe("pro")
    use(org_id, Resource.COMPILE_JOBS, 1_234, at(3, 20))
    with tenancy.organization(org_id):
        set_overrides(
            org_id=org_id,
            actor=SYSTEM,
            now=at(3, 21),
            limits={Resource.COMPILE_JOBS: 2_000},
            expires_at=until,
        )
    work_through(org_id, at(4, 5, 11))
    assert bills(org_id) == [("2026-03-05", total, "open")]
