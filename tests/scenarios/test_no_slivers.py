"""Where Stripe's moments and ours differ no period lies between, which would be billed on its own."""

from datetime import timedelta

import pytest

from quotas.models import UsagePeriod
from quotas.resources import Resource
from quotas.services.reservations import reserve
from spoke.core import tenancy
from tests.support.stripe_world import utc

SUBSCRIPTION = "/orgs/acme/subscription"
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
GB = 2**30


def store(world, amount):
    with tenancy.organization(world.acme):
        reserve(org_id=world.acme, resource=Resource.STORAGE, amount=amount, now=world.at)


def periods(world):
    with tenancy.organization(world.acme):
        rows = UsagePeriod.objects.for_org(world.acme).order_by("start")
        return [(row.start, row.end) for row in rows]


@pytest.mark.parametrize("late", [timedelta(minutes=1), 20 * HOUR])
def test_what_is_stored_when_a_subscription_ends_is_billed_once(world, late):
    """Its end is heard of a moment, or a day, after it."""
    world.subscribe()
    store(world, 15 * GB)
    assert world.client().post(f"{SUBSCRIPTION}/cancel", {}).status_code == 200
    world.to(utc(4, 5) - HOUR)
    world.to(utc(4, 5) + late, step=late + HOUR)
    assert world.subscription().ended_at == utc(4, 5)
    world.to(utc(5, 2))
    assert world.plan() == "free"
    assert world.invoices() == [("stripe", 4_900, "paid"), ("usage", 2_500, "paid")]
    assert periods(world)[1:3] == [
        (utc(3, 5), utc(4, 5)),
        (utc(4, 5), utc(5, 1, 0, 0)),
    ]


def test_a_subscription_that_stripe_begins_a_moment_later_begins_with_its_first_month(world):
    world.control.advance_to(world.at + SECOND)
    world.subscribe()
    begun = utc(3, 5) + SECOND
    assert periods(world)[1:] == [(begun, utc(4, 5) + SECOND)]
    assert world.subscription().started_at == begun
    half = utc(3, 20)
    world.to(half)
    world.control.advance_to(half + SECOND)
    answer = world.client().patch(SUBSCRIPTION, {"interval": "year"})
    assert answer.status_code == 200, answer.content
    assert periods(world)[1:] == [
        (begun, half + SECOND),
        (half + SECOND, utc(4, 20) + SECOND),
    ]
