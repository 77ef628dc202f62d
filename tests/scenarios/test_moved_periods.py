"""A trial or a billing anchor that is changed in Stripe's dashboard: usage follows, billed once."""

from datetime import timedelta

import pytest

from billing import tasks
from billing.models import Invoice
from billing.stripe.client import api
from quotas.models import UsagePeriod
from quotas.services.periods import current_period
from spoke.core import tenancy
from tests.support.stripe_world import utc

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def in_dashboard(world, *, told=True, **changes):
    sub = next(iter(world.fake.store.of("subscription").values()))
    api().subscriptions.update(sub["id"], changes)
    if told:
        world.settle()


def seconds(moment):
    return int(moment.timestamp())


def periods(world):
    """The periods of usage since the subscription began; each begins where the one before it ends."""
    with tenancy.organization(world.acme):
        rows = list(UsagePeriod.objects.for_org(world.acme).order_by("start"))
    found = [(row.start, row.end) for row in rows]
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]
    return [span for span in found if span[0] >= utc(3, 5)]


def overages(world):
    """(start, end, minor units) of what was billed of usage."""
    with tenancy.organization(world.acme):
        rows = Invoice.objects.for_org(world.acme).shown().filter(source="usage")
        spans = rows.order_by("period_start").values_list("period_start", "period_end")
        return list(spans.values_list("period_start", "period_end", "total_minor"))


@pytest.mark.parametrize("late", [timedelta(0), 6 * DAY], ids=["told at once", "found at night"])
def test_a_trial_that_is_made_longer(world, late):
    world.subscribe(trial_period_days=14)
    world.to(utc(3, 15))
    in_dashboard(world, told=not late, trial_end=seconds(utc(3, 26)))
    if late:
        world.control.drop_webhooks(1_000)
        # By now the trial would have been over, and its period closed.
        world.to(utc(3, 15) + late)
        world.control.drop_webhooks(0)
        tasks.compare_customer(world.acme)
    sub = world.subscription()
    assert (sub.status, sub.trial_end, sub.anchor) == ("trialing", utc(3, 26), utc(3, 26))
    if late:
        assert periods(world) == [(utc(3, 5), utc(3, 19)), (utc(3, 19), utc(3, 26))]
    else:
        assert periods(world) == [(utc(3, 5), utc(3, 26))]
    world.use(1_500)
    world.to(utc(3, 27))
    assert world.invoices() == [("stripe", 4_900, "paid")]
    assert periods(world)[-1] == (utc(3, 26), utc(4, 26))
    world.use(1_100)
    world.to(utc(4, 26) + 3 * HOUR)
    assert overages(world) == [(utc(3, 26), utc(4, 26), 500)]
    assert world.invoices()[:2] == [("stripe", 4_900, "paid")] * 2
    assert tasks.compare_customer(world.acme) == 0


def test_a_trial_that_is_made_shorter(world):
    world.subscribe(trial_period_days=30)
    world.use(1_500)
    world.to(utc(3, 10))
    in_dashboard(world, trial_end=seconds(utc(3, 12)))
    assert periods(world) == [(utc(3, 5), utc(3, 12))]
    world.to(utc(3, 13))
    assert world.invoices() == [("stripe", 4_900, "paid")]
    assert periods(world) == [(utc(3, 5), utc(3, 12)), (utc(3, 12), utc(4, 12))]
    world.use(1_020)
    world.to(utc(4, 12) + 3 * HOUR)
    assert overages(world) == [(utc(3, 12), utc(4, 12), 100)]


@pytest.mark.parametrize("late", [timedelta(0), DAY])
def test_a_trial_that_is_ended(world, late):
    """What was used in it costs nothing; what is used from when it is heard of is billed."""
    world.subscribe(trial_period_days=14)
    world.use(1_500)
    world.to(utc(3, 12))
    world.control.pause_webhooks()
    in_dashboard(world, told=False, trial_end="now")
    world.at += late
    world._move(world.at)
    world.settle()
    begun = utc(3, 12) + late
    assert world.subscription().status == "active"
    assert periods(world) == [(utc(3, 5), begun), (begun, utc(4, 12))]
    world.use(1_020)
    world.to(utc(4, 12) + 3 * HOUR)
    assert overages(world) == [(begun, utc(4, 12), 100)]
    assert world.invoices()[0] == ("stripe", 4_900, "paid")


def test_another_billing_anchor(world):
    """A new month begins at once, at Stripe and here: each is billed for what was used in it."""
    world.subscribe()
    world.use(1_100)
    world.to(utc(3, 20))
    in_dashboard(world, billing_cycle_anchor="now")
    sub = world.subscription()
    assert (sub.anchor, sub.current_period_end) == (utc(3, 20), utc(4, 20))
    assert periods(world) == [(utc(3, 5), utc(3, 20)), (utc(3, 20), utc(4, 20))]
    # 49.00 anew, less 16 days of 31.
    assert world.invoices() == [
        ("stripe", 4_900, "paid"),
        ("stripe", 2_371, "paid"),
        ("usage", 500, "draft"),
    ]
    world.use(1_020)
    world.to(utc(4, 20) + 3 * HOUR)
    assert overages(world) == [
        (utc(3, 5), utc(3, 20), 500),
        (utc(3, 20), utc(4, 20), 100),
    ]
    assert [total for source, total, _ in world.invoices() if source == "stripe"] == [
        *(4_900, 2_371, 4_900)
    ]
    in_dashboard(world, metadata={"note": "nothing of ours"})
    assert periods(world)[-1] == (utc(4, 20), utc(5, 20))


def test_a_trial_in_the_middle_moves_the_anchor_and_leaves_billed_what_was_used_before(world):
    """As staff move the day of billing. March is over, and its draft is still being rated."""
    world.subscribe()
    world.use(1_100)
    world.to(utc(4, 5))
    in_dashboard(world, trial_end=seconds(utc(4, 20)), proration_behavior="none")
    assert world.subscription().status == "trialing"
    world.to(utc(4, 5) + 3 * HOUR, step=HOUR)
    assert overages(world) == [(utc(3, 5), utc(4, 5), 500)]
    world.use(1_500)
    world.to(utc(4, 21))
    assert periods(world)[1:] == [(utc(4, 5), utc(4, 20)), (utc(4, 20), utc(5, 20))]
    assert len(overages(world)) == 1
    world.use(1_020)
    world.to(utc(5, 20) + 3 * HOUR)
    assert overages(world)[1:] == [(utc(4, 20), utc(5, 20), 100)]


def test_a_cheaper_plan_that_waits_holds_from_the_new_month_on(world):
    world.subscribe("enterprise")
    world.client().patch("/orgs/acme/subscription", {"plan": "pro"})
    world.to(utc(3, 20))
    assert world.plan() == "enterprise"
    in_dashboard(world, billing_cycle_anchor="now", proration_behavior="none")
    assert world.plan() == "pro"
    assert world.subscription().pending_plan is None


def test_a_period_that_was_opened_ahead_is_moved_too(world):
    """By usage that is a few minutes ahead, say."""
    world.subscribe(trial_period_days=14)
    world.to(utc(3, 19) - HOUR)
    with tenancy.organization(world.acme):
        current_period(org_id=world.acme, now=utc(3, 19) + HOUR)
    in_dashboard(world, trial_end=seconds(utc(3, 26)))
    assert periods(world) == [(utc(3, 5), utc(3, 19)), (utc(3, 19), utc(3, 26))]
    world.to(utc(3, 27))
    assert periods(world)[2:] == [(utc(3, 26), utc(4, 26))]


def test_once_applied_it_is_not_applied_again(world):
    world.subscribe()
    world.to(utc(3, 20))
    in_dashboard(world, billing_cycle_anchor="now")
    before = periods(world)
    world.to(utc(3, 24))
    for _ in range(2):
        tasks.compare_customer(world.acme)
        world.settle()
    assert periods(world) == before
