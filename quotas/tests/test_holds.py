"""A hold counts once, and comes to one end, whoever asks for which and when."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from conftest import door
from orgs.context import SYSTEM
from quotas import tasks
from quotas.errors import QuotaExceeded
from quotas.models import BudgetAction, Hold, HoldState, PeriodUsage, UsageGauge
from quotas.resources import Resource
from quotas.services import periods, usage
from quotas.services.budgets import set_budget
from quotas.services.holds import (
    KEPT,
    HoldOverdue,
    HoldSettled,
    check_entitlement,
    commit_hold,
    due_holds,
    expire_hold,
    held_storage,
    place_hold,
    prune_holds,
    release_hold,
)
from quotas.services.reservations import reserve
from quotas.tests.conftest import NOW, override
from quotas.tests.threads import at_once
from spoke.core import tenancy
from spoke.core.errors import InvalidInput, NotFound

QUARTER = timedelta(minutes=15)
LATER = NOW + QUARTER
JOBS, STORAGE = Resource.COMPILE_JOBS, Resource.STORAGE


@pytest.fixture
def org_id(cast, plans):
    return cast.org.pk


def place(org_id, resource=JOBS, amount=3, now=NOW, lifetime=QUARTER):
    return place_hold(
        org_id=org_id, resource=resource, amount=amount, lifetime=lifetime, reference="r", now=now
    )


def jobs(org_id, at=NOW):
    period = periods.current_period(org_id=org_id, now=at)
    return usage.usage_of_period(period=period, now=at)[JOBS]


def stored(org_id):
    row = UsageGauge.objects.filter(org_id=org_id, resource=STORAGE).first()
    return row.used if row else 0


def test_it_counts_as_used_at_once_and_stays_so_once_committed(org_id):
    hold = place(org_id)
    assert (hold.state, hold.amount, hold.expires_at) == ("held", 3, LATER)
    assert jobs(org_id) == 3
    done = commit_hold(org_id=org_id, hold_id=hold.pk, now=NOW)
    assert (done.state, done.settled_at, jobs(org_id)) == ("committed", NOW, 3)
    again = commit_hold(org_id=org_id, hold_id=hold.pk, now=LATER, amount=1)
    assert (again.amount, again.settled_at, jobs(org_id)) == (3, NOW, 3)


@pytest.mark.parametrize("used", [0, 2, 3])
def test_what_was_not_used_is_given_back(org_id, used):
    hold = place(org_id)
    done = commit_hold(org_id=org_id, hold_id=hold.pk, amount=used, now=NOW)
    assert (done.amount, jobs(org_id)) == (used, used)


def test_more_than_was_held_cannot_be_committed(org_id):
    hold = place(org_id)
    with pytest.raises(InvalidInput):
        commit_hold(org_id=org_id, hold_id=hold.pk, amount=4, now=NOW)
    assert (Hold.objects.get().state, jobs(org_id)) == ("held", 3)


def test_releasing_gives_back_once(org_id):
    hold = place(org_id)
    for _ in range(2):
        assert release_hold(org_id=org_id, hold_id=hold.pk, now=NOW).state == "released"
        assert jobs(org_id) == 0
    with pytest.raises(HoldSettled) as caught:
        commit_hold(org_id=org_id, hold_id=hold.pk, now=NOW)
    assert caught.value.error_code == "reservation_released"
    assert jobs(org_id) == 0


def test_used_jobs_stay_used_and_stored_bytes_can_be_freed(org_id):
    hold = place(org_id)
    commit_hold(org_id=org_id, hold_id=hold.pk, now=NOW)
    with pytest.raises(HoldSettled):
        release_hold(org_id=org_id, hold_id=hold.pk, now=NOW)
    assert jobs(org_id) == 3
    bytes_held = place(org_id, STORAGE, 1_000)
    commit_hold(org_id=org_id, hold_id=bytes_held.pk, amount=600, now=NOW)
    assert stored(org_id) == held_storage(org_id=org_id) == 600
    release_hold(org_id=org_id, hold_id=bytes_held.pk, now=LATER)
    assert stored(org_id) == held_storage(org_id=org_id) == 0


def test_what_is_not_committed_in_time_is_given_back_once(org_id):
    hold = place(org_id)
    just_before = LATER - timedelta(microseconds=1)
    assert expire_hold(org_id=org_id, hold_id=hold.pk, now=just_before) is False
    assert due_holds(now=just_before) == []
    assert due_holds(now=LATER) == [(org_id, hold.pk)]
    with pytest.raises(HoldOverdue):
        commit_hold(org_id=org_id, hold_id=hold.pk, now=LATER)
    assert expire_hold(org_id=org_id, hold_id=hold.pk, now=LATER) is True
    assert expire_hold(org_id=org_id, hold_id=hold.pk, now=LATER) is False
    assert (Hold.objects.get().state, jobs(org_id)) == ("expired", 0)
    assert release_hold(org_id=org_id, hold_id=hold.pk, now=LATER).state == "expired"
    assert jobs(org_id) == 0


def test_jobs_go_back_to_the_month_they_were_held_in_unless_it_is_closed(org_id):
    eve = NOW.replace(day=30, hour=23, minute=59)
    december = NOW.replace(month=12, day=1, hour=0, minute=1)
    first, second = place(org_id, now=eve, lifetime=timedelta(hours=3)), place(org_id, now=eve)
    release_hold(org_id=org_id, hold_id=first.pk, now=december)
    assert (jobs(org_id, eve), jobs(org_id, december)) == (3, 0)
    period = periods.current_period(org_id=org_id, now=eve)
    assert usage.close_period(period_id=period.pk, org_id=org_id, now=december + timedelta(hours=1))
    assert expire_hold(org_id=org_id, hold_id=second.pk, now=december + timedelta(hours=2))
    assert PeriodUsage.objects.get(period=period, resource=JOBS).used == 3


def test_the_limit_holds(org_id):
    override(org_id, JOBS, 5)
    place(org_id)
    with pytest.raises(QuotaExceeded):
        place(org_id)
    assert (Hold.objects.count(), jobs(org_id)) == (1, 3)


@pytest.mark.parametrize(
    ("resource", "lifetime", "field"),
    [
        (Resource.MODULES, QUARTER, "resource"),
        (Resource.API_REQUESTS, QUARTER, "resource"),
        (JOBS, timedelta(0), "expires_in"),
        (JOBS, timedelta(hours=24, seconds=1), "expires_in"),
    ],
)
def test_what_cannot_be_held(org_id, resource, lifetime, field):
    with pytest.raises(InvalidInput) as caught:
        place(org_id, resource, lifetime=lifetime)
    assert caught.value.field == field
    assert not Hold.objects.exists()


def test_another_organizations_hold_is_not_there(org_id, cast):
    hold = place(org_id)
    for settle in (commit_hold, release_hold):
        with pytest.raises(NotFound):
            settle(org_id=cast.other_org.pk, hold_id=hold.pk, now=NOW)
    assert Hold.objects.get().state == "held"


def test_checking_says_what_reserving_would_and_changes_nothing(org_id, give):
    def check(amount, resource=JOBS):
        found = check_entitlement(org_id=org_id, resource=resource, amount=amount, now=NOW)
        return found.allowed, found.current, found.limit, found.overage, found.refusal

    reserve(org_id=org_id, resource=JOBS, amount=98, now=NOW)
    assert check(2) == (True, 98, 100, False, None)
    assert check(3) == (False, 98, 100, False, "quota_exceeded")
    assert check(6, Resource.MODULES) == (False, 0, 5, False, "quota_exceeded")
    give("pro")
    assert check(903) == (True, 98, 1_000, True, None)
    set_budget(
        org_id=org_id,
        actor=SYSTEM,
        amount_minor=5,
        currency="usd",
        action=BudgetAction.BLOCK,
        now=NOW,
    )
    assert check(903) == (True, 98, 1_000, True, None)
    assert check(904) == (False, 98, 1_000, True, "budget_exceeded")
    assert jobs(org_id) == 98
    assert not UsageGauge.objects.exists()


def test_settled_holds_are_forgotten_but_not_stored_bytes(org_id):
    for resource in (JOBS, STORAGE):
        commit_hold(org_id=org_id, hold_id=place(org_id, resource).pk, now=NOW)
        release_hold(org_id=org_id, hold_id=place(org_id, resource).pk, now=NOW)
    place(org_id)
    assert prune_holds(now=NOW + KEPT) == 0
    assert prune_holds(now=NOW + KEPT + QUARTER) == 3
    states = Hold.objects.order_by("pk").values_list("resource", "state")
    assert list(states) == [("storage", "committed"), ("compile_jobs", "held")]


@pytest.fixture
def seeded(committed_cast):
    call_command("seed_plans", verbosity=0)
    return committed_cast.org.pk


def test_the_task_expires_each_once(seeded, time_machine):
    with tenancy.organization(seeded):
        place(seeded)
        place(seeded, STORAGE, 9)
    time_machine.move_to(LATER, tick=False)
    assert tasks.expire_holds() == 2
    assert tasks.expire_holds() == 0
    with door():
        assert set(Hold.objects.values_list("state", flat=True)) == {HoldState.EXPIRED}
        assert (jobs(seeded), stored(seeded)) == (0, 0)


@pytest.mark.parametrize("resource", [JOBS, STORAGE])
def test_of_commit_release_and_expiry_at_once_one_wins(seeded, resource):
    with tenancy.organization(seeded):
        ids = [place(seeded, resource, 2).pk for _ in range(6)]

    def work(index):
        for hold_id in ids if index % 2 else reversed(ids):
            with tenancy.organization(seeded):
                if index % 3 == 0:
                    return_value = expire_hold(org_id=seeded, hold_id=hold_id, now=LATER)
                    assert return_value in (True, False)
                    continue
                settle = commit_hold if index % 3 == 1 else release_hold
                try:
                    with transaction.atomic():
                        settle(org_id=seeded, hold_id=hold_id, now=NOW)
                except HoldSettled:
                    continue

    assert at_once(9, work)[1] == []
    with door():
        standing = Hold.objects.filter(state="committed").count()
        assert not Hold.objects.filter(state="held").exists()
        level = jobs(seeded) if resource is JOBS else stored(seeded)
        assert level == 2 * standing


def test_sixteen_at_once_hold_up_to_the_limit(seeded):
    with door():
        override(seeded, JOBS, 5)

    def work(_):
        with tenancy.organization(seeded):
            return place(seeded, amount=1).pk

    placed, errors = at_once(16, work)
    assert len(placed) == 5
    assert [type(error) for error in errors] == [QuotaExceeded] * 11
    with door():
        assert (Hold.objects.count(), jobs(seeded)) == (5, 5)
    assert connection.in_atomic_block is False
