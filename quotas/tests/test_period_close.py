"""Periods closed by the batch are as if each had been closed alone."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from conftest import door
from quotas import tasks
from quotas.models import PeriodUsage, QuotaSettings, UsagePeriod
from quotas.resources import Resource
from quotas.services import periods, usage
from quotas.services.period_close import close_periods, open_periods
from quotas.services.reservations import release, reserve
from quotas.tests.threads import at_once
from spoke.core import tenancy
from tests.factories import OrganizationFactory

START = datetime(2026, 11, 1, tzinfo=UTC)
NOW = datetime(2026, 12, 7, 12, tzinfo=UTC)
GAUGES = (Resource.MODULES, Resource.STORAGE)


def live_through(org_id: int, chance: random.Random) -> None:
    """Some weeks of usage, and periods by the calendar or from an odd moment on."""
    with tenancy.organization(org_id):
        at = START + timedelta(seconds=chance.randrange(86_400 * 20))
        if chance.random() < 0.6:
            periods.restart_period(org_id=org_id, anchor=at, now=at)
        else:
            periods.current_period(org_id=org_id, now=at)
        levels = dict.fromkeys(GAUGES, 0)
        for _ in range(chance.randrange(8)):
            at += timedelta(microseconds=chance.randrange(86_400 * 4 * 10**6))
            resource = chance.choice(GAUGES)
            if levels[resource] == 5 or (levels[resource] and chance.random() < 0.4):
                release(org_id=org_id, resource=resource, amount=1, now=at)
                levels[resource] -= 1
            else:
                reserve(org_id=org_id, resource=resource, amount=1, now=at)
                levels[resource] += 1
            if chance.random() < 0.5:
                reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=3, now=at)


def everything() -> tuple[list, list]:
    """All periods and what they have, without the ids that depend on who came first."""
    kept = PeriodUsage.objects.order_by("org_id", "period__start", "resource")
    stored = UsagePeriod.objects.order_by("org_id", "start")
    return (
        list(stored.values_list("org_id", "start", "end", "closed_at")),
        list(kept.values_list("org_id", "period__start", "resource", "used", "integral")),
    )


@pytest.mark.parametrize("seed", range(4))
def test_together_as_each_alone(cast, plans, seed):
    chance = random.Random(seed)
    for number in range(25):
        org = OrganizationFactory(name=f"org-{seed}-{number}", owner=cast.owner)
        live_through(org.pk, chance)
    with transaction.atomic():
        for period_id, org_id in usage.due_periods(now=NOW):
            with tenancy.organization(org_id):
                assert usage.close_period(period_id=period_id, org_id=org_id, now=NOW)
        alone = everything()
        transaction.set_rollback(True)
    due = len(usage.due_periods(now=NOW))
    assert due > 15
    done = []
    while closed := close_periods(now=NOW, most=7):
        done.append(closed)
    assert (sum(done), max(done)) == (due, 7)
    assert everything() == alone


def test_opened_once_between_its_neighbours(cast, plans):
    org_id = cast.org.pk
    anchor = NOW - timedelta(days=40)
    QuotaSettings.objects.create(org_id=org_id, period_anchor=anchor, updated_at=NOW)
    UsagePeriod.objects.create(org_id=org_id, start=anchor, end=NOW - timedelta(days=2))
    later = NOW + timedelta(days=3)
    UsagePeriod.objects.create(org_id=org_id, start=later, end=later + timedelta(days=9))
    assert open_periods(org_ids=[org_id], now=NOW) == 1
    assert open_periods(org_ids=[org_id], now=NOW) == 0
    opened = UsagePeriod.objects.get(org_id=org_id, start__lte=NOW, end__gt=NOW)
    assert (opened.start, opened.end) == (NOW - timedelta(days=2), later)


def test_what_somebody_holds_waits_for_the_next_batch(committed_cast):
    org_id = committed_cast.org.pk
    with tenancy.organization(org_id):
        period = periods.current_period(org_id=org_id, now=START)

    def hold() -> int:
        with tenancy.organization(org_id):
            assert usage.keep_open(period)
            (done,), errors = at_once(1, lambda _: close_periods(now=NOW, most=10))
            assert errors == []
            return done

    assert hold() == 0
    assert close_periods(now=NOW, most=10) == 1


def test_batches_at_once_close_each_period_once(committed_cast):
    with door():
        for number in range(30):
            org = OrganizationFactory(name=f"org-{number}", owner=committed_cast.owner)
            periods.current_period(org_id=org.pk, now=START)

    def work(_: int) -> int:
        done = 0
        while closed := close_periods(now=NOW, most=4):
            done += closed
        return done

    done, errors = at_once(4, work)
    assert errors == []
    # Whoever found only what others held stopped early; nothing was closed twice.
    assert sum(done) <= 30
    rest = close_periods(now=NOW, most=100)
    assert sum(done) + rest == 30
    with door():
        assert UsagePeriod.objects.filter(end__lte=NOW, closed_at=None).count() == 0
        assert UsagePeriod.objects.filter(start__lte=NOW, end__gt=NOW).count() == 30


def test_the_task_goes_on_while_batches_are_full(cast, plans, monkeypatch, time_machine):
    for number in range(5):
        org = OrganizationFactory(name=f"org-{number}", owner=cast.owner)
        periods.current_period(org_id=org.pk, now=START)
    monkeypatch.setattr(tasks, "PERIODS", 2)
    time_machine.move_to(NOW, tick=False)
    assert tasks.turn_due_periods() == 2
    assert UsagePeriod.objects.filter(end__lte=NOW, closed_at=None).count() == 0
