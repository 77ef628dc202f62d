"""The integral of a gauge is that of its history, exactly, whatever happens when."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from django.core.management import call_command

from quotas.metering import time_weighted_average
from quotas.models import GaugeChange, PeriodUsage, UsageGauge
from quotas.resources import Resource
from quotas.services import levels, periods, usage
from quotas.services.reconciliation import reconcile_gauge
from quotas.services.reservations import forget_subject, release, reserve
from quotas.tests.conftest import override
from quotas.tests.threads import at_once
from spoke.core import tenancy
from spoke.core.periods import Period

MARCH = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
APRIL = Period(MARCH.end, datetime(2026, 5, 1, tzinfo=UTC))
DAY = timedelta(days=1)


@pytest.fixture
def org_id(cast, plans):
    override(cast.org.pk, Resource.STORAGE, None)
    return cast.org.pk


def take(org_id, amount, now):
    return reserve(org_id=org_id, resource=Resource.STORAGE, amount=amount, now=now)


def give_back(org_id, amount, now):
    return release(org_id=org_id, resource=Resource.STORAGE, amount=amount, now=now)


def average(org_id, period, resource=Resource.STORAGE):
    return levels.average(
        levels.integrals_over(org_id=org_id, period=period)[resource], period.length
    )


def history(org_id):
    """The changes of the storage gauge, each by how much it rose or fell."""
    level, found = 0, []
    rows = GaugeChange.objects.filter(org_id=org_id, resource="storage").order_by("at")
    for at, used in rows.values_list("at", "used"):
        found.append((at, Decimal(used - level)))
        level = used
    return found


def test_the_average_of_march(org_id):
    take(org_id, 2500, datetime(2026, 3, 5, tzinfo=UTC))
    assert str(average(org_id, MARCH)).startswith("2177.4193548387")
    assert average(org_id, APRIL) == 2500
    before = Period(datetime(2026, 2, 1, tzinfo=UTC), MARCH.start)
    assert average(org_id, before) == 0


def test_what_rose_and_fell_between_two_looks_counts(org_id):
    take(org_id, 31 * 86_400, MARCH.start + DAY)
    give_back(org_id, 31 * 86_400, MARCH.start + DAY + timedelta(seconds=10))
    assert average(org_id, MARCH) == 10
    assert average(org_id, APRIL) == 0


def test_a_level_of_any_moment_is_that_just_before_it(org_id):
    take(org_id, 3, MARCH.start)
    take(org_id, 4, MARCH.start + timedelta(microseconds=1))
    at = [MARCH.start + timedelta(microseconds=n) for n in range(3)]
    assert [levels.levels_at(org_id=org_id, at=t)[Resource.STORAGE] for t in at] == [0, 3, 7]


@pytest.mark.parametrize("seed", range(5))
def test_random_changes_add_up_to_the_integral_of_their_history(org_id, seed):
    rng = random.Random(seed)
    now = MARCH.start - 3 * DAY
    model, level, stood_since = Decimal(0), 0, now
    for _ in range(60):
        # Some come with a clock that is behind: they count from the last change on.
        now += timedelta(seconds=rng.uniform(-3_000, 150_000))
        stood = max(now, stood_since)
        inside = max(min(stood, MARCH.end), MARCH.start) - max(stood_since, MARCH.start)
        model += level * Decimal(max(inside, timedelta(0)) // timedelta(microseconds=1))
        stood_since = stood
        if rng.random() < 0.6:
            level = take(org_id, rng.randrange(10**12), now)
        elif rng.random() < 0.9:
            level = give_back(org_id, rng.randrange(10**12), now)
        else:
            level = rng.randrange(10**12)
            reconcile_gauge(org_id=org_id, resource=Resource.STORAGE, actual=level, now=now)
    assert stood_since > MARCH.end
    with localcontext() as exact:
        exact.prec = levels.EXACT_DIGITS
        expected = time_weighted_average(initial=Decimal(0), changes=history(org_id), period=MARCH)
        assert average(org_id, MARCH) == expected
        assert expected == model / (MARCH.length // timedelta(microseconds=1))


def test_an_integral_that_is_not_that_of_its_history_is_named(org_id):
    for days in (0, 1, 3):
        take(org_id, 1, MARCH.start + days * DAY)
    assert levels.wrong_integrals() == []
    last = GaugeChange.objects.order_by("at").last()
    GaugeChange.objects.filter(pk=last.pk).update(integral=5)
    right = Decimal(5 * 86_400)
    expected = [levels.WrongIntegral(org_id, "storage", last.at, right, Decimal(5))]
    assert levels.wrong_integrals() == levels.wrong_integrals(org_id=org_id) == expected
    assert levels.wrong_integrals(org_id=0) == []


def test_versions_of_all_modules_have_one_history(org_id):
    for module, at in ((1, MARCH.start), (2, MARCH.start + DAY)):
        reserve(org_id=org_id, resource=Resource.VERSIONS, amount=1, now=at, subject=module)
    forget_subject(org_id=org_id, resource=Resource.VERSIONS, subject=2, now=MARCH.start + 2 * DAY)
    rows = GaugeChange.objects.filter(org_id=org_id, resource="versions").order_by("at")
    assert list(rows.values_list("used", flat=True)) == [1, 2, 1]
    assert average(org_id, MARCH, Resource.VERSIONS) * 31 == 32


def test_closing_a_period_keeps_its_integral(org_id):
    period = periods.current_period(org_id=org_id, now=MARCH.start)
    take(org_id, 100, MARCH.start + 10 * DAY)
    # After the end and before the closing: of the next period.
    take(org_id, 900, MARCH.end)
    due = MARCH.end + usage.CLOSE_GRACE
    assert usage.close_period(period_id=period.pk, org_id=org_id, now=due)
    kept = PeriodUsage.objects.get(period=period, resource="storage")
    assert kept.used == 100
    assert kept.integral == 100 * 21 * 86_400
    assert levels.average(kept.integral, MARCH.length) * 31 == 2100


def test_a_gauge_that_was_never_used_stood_at_nothing_since_ever(org_id):
    reconcile_gauge(org_id=org_id, resource=Resource.STORAGE, actual=7, now=MARCH.start + DAY)
    assert average(org_id, MARCH) * 31 == 210


def test_old_changes_are_forgotten_but_the_last_of_each_gauge(org_id, cast):
    for days in (0, 1, 2):
        take(org_id, 1, MARCH.start + days * DAY)
    reserve(org_id=cast.other_org.pk, resource=Resource.MODULES, amount=1, now=MARCH.start)
    later = MARCH.start + 2 * DAY + levels.KEPT + timedelta(seconds=1)
    before = average(org_id, APRIL)
    with tenancy.all_organizations(reason="test"):
        assert levels.prune_changes(now=later) == 2
        assert levels.prune_changes(now=later) == 0
    rows = GaugeChange.objects.order_by("resource", "at").values_list("resource", "used")
    assert list(rows) == [("modules", 1), ("storage", 3)]
    assert average(org_id, APRIL) == before == 3


@pytest.mark.django_db(transaction=True)
def test_changes_at_once_leave_one_history_without_gaps(committed_cast):
    call_command("seed_plans", verbosity=0)
    org_id = committed_cast.org.pk
    start = MARCH.start

    def work(number: int) -> None:
        rng = random.Random(number)
        for _ in range(15):
            at = start + timedelta(seconds=rng.randrange(20 * 86_400))
            with tenancy.organization(org_id):
                (take if rng.random() < 0.7 else give_back)(org_id, rng.randrange(1_000), at)

    assert at_once(8, work)[1] == []
    with tenancy.organization(org_id):
        level, integral, since = 0, Decimal(0), start
        for change in GaugeChange.objects.filter(org_id=org_id).order_by("at"):
            integral += level * Decimal((change.at - since) // timedelta(seconds=1))
            assert change.integral == integral
            level, since = change.used, change.at
        gauge = UsageGauge.objects.get(org_id=org_id)
        assert (gauge.used, gauge.integral, gauge.changed_at) == (level, integral, since)
