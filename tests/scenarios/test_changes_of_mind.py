"""Changes that are declined, taken back or cut short: nothing is lost, and nothing given for nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from quotas.models import PlanPrice
from quotas.services.plan_file import read_plans
from quotas.services.plans import publish_plan
from tests.scenarios.test_credit_notes import details, german_vat  # noqa: F401 - a fixture
from tests.support.stripe_world import utc

SUBSCRIPTION = "/orgs/acme/subscription"
HOURS = timedelta(hours=1)
HALF = utc(3, 5) + (utc(4, 5) - utc(3, 5)) / 2


def change(world, status=200, **wish):
    answer = world.client().patch(SUBSCRIPTION, wish)
    assert answer.status_code == status, answer.content
    return answer.json()


def preview(world, **wish):
    answer = world.client().post(f"{SUBSCRIPTION}/preview", wish)
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert sum(line["amount_cents"] for line in body["lines"]) == body["amount_cents"]
    return body["amount_cents"]


def test_an_upgrade_that_was_declined_is_tried_again_on_the_same_day(world):
    world.subscribe()
    world.to(HALF)
    world.control.fail_card(world.customer())
    assert change(world, 402, plan="enterprise")["code"] == "card_declined"
    world.control.fix_card(world.customer())
    assert change(world, plan="enterprise")["plan"] == "enterprise"
    world.settle()
    assert world.invoices() == [("stripe", 4_900, "paid"), ("stripe", 22_500, "paid")]


def test_a_downgrade_waits_although_another_change_is_declined(world):
    world.subscribe("enterprise")
    change(world, plan="pro")
    world.control.fail_card(world.customer())
    assert change(world, 402, interval="year")["code"] == "card_declined"
    world.control.fix_card(world.customer())
    world.settle()
    assert world.subscription().pending_plan.code == "pro"
    world.to(utc(4, 5) + 2 * HOURS)
    assert world.plan() == "pro"
    assert world.invoices() == [("stripe", 49_900, "paid"), ("stripe", 4_900, "paid")]


def test_a_downgrade_that_stripe_never_heard_of_is_not_shown(world):
    world.subscribe("enterprise")
    world.control.fault("500", method="POST", path="/v1/subscriptions/", times=10)
    assert change(world, 503, plan="pro")["code"] == "stripe_unavailable"
    world.control.clear_faults()
    world.to(utc(4, 5) + 2 * HOURS)
    assert world.invoices() == [("stripe", 49_900, "paid"), ("stripe", 49_900, "paid")]
    assert world.client().get(SUBSCRIPTION).json()["pending_plan"] is None


def test_what_is_previewed_while_a_downgrade_waits_is_what_is_billed(world, german_vat):  # noqa: F811
    details(world)
    world.subscribe("enterprise")
    world.to(HALF)
    change(world, plan="pro")
    told = preview(world, plan="enterprise", interval="year")
    # 4,990.00 less what is left of 499.00, each with 19%.
    assert told == 499_000 + 94_810 - 24_950 - 4_741
    change(world, interval="year")
    world.settle()
    assert world.invoices() == [("stripe", 59_381, "paid"), ("stripe", told, "paid")]


def test_a_first_month_is_previewed_with_its_tax(world, german_vat):  # noqa: F811
    details(world)
    assert preview(world, plan="pro") == 5_831
    world.subscribe()
    assert world.invoices() == [("stripe", 5_831, "paid")]


def test_what_is_refused_has_no_preview(world):
    world.subscribe(interval="year")
    answer = world.client().post(f"{SUBSCRIPTION}/preview", {"plan": "pro", "interval": "month"})
    assert (answer.status_code, answer.json()["code"]) == (409, "interval_change")


@pytest.mark.parametrize("hours", [0.5, 3])
def test_a_month_that_was_not_paid_for_is_not_given_back(world, hours):
    """Neither while its invoice is a draft nor when the card was declined."""
    world.subscribe()
    world.to(utc(4, 4))
    world.control.fail_card(world.customer())
    world.to(utc(4, 5) + hours * HOURS, step=HOURS / 2)
    answer = world.client().post(f"{SUBSCRIPTION}/cancel", {"immediately": True})
    assert answer.json()["status"] == "canceled"
    world.settle()
    assert world.fake.store.of("customer")[world.customer()]["balance"] == 0
    assert [row[1] for row in world.at_stripe()] == [4_900, 4_900]
    assert world.plan() == "free"
    # Nobody goes on taking money for what was ended.
    world.control.fix_card(world.customer())
    world.to(utc(4, 20))
    assert [row[2] == "paid" for row in world.at_stripe()] == [True, False]


def test_a_credit_in_one_currency_pays_nothing_in_another(world):
    world.subscribe()
    world.to(HALF)
    world.client().post(f"{SUBSCRIPTION}/cancel", {"immediately": True})
    world.settle()
    world.subscribe(currency="eur")
    euros = PlanPrice.objects.get(
        plan__code="pro", plan__superseded_at=None, currency="eur", interval="month"
    ).amount_minor
    assert world.fake.store.newest("invoice")[0]["amount_paid"] == euros
    assert world.fake.store.of("customer")[world.customer()]["balance"] == -2_450


def test_asking_for_the_plan_in_force_keeps_the_version_that_was_bought(world):
    world.subscribe()
    definition = next(plan for plan in read_plans() if plan.code == "pro")
    prices = {key: 2 * amount for key, amount in definition.prices.items()}
    publish_plan(definition=replace(definition, prices=prices), now=world.at)
    world.to(HALF)
    body = change(world, plan="pro")
    assert (body["plan_version"], body["pending_plan"]) == (1, None)
    assert world.invoices() == [("stripe", 4_900, "paid")]
    told = preview(world, plan="pro", interval="year")
    assert told == 49_000 - 2_450
    assert change(world, plan="pro", interval="year")["plan_version"] == 1
    world.settle()
    assert world.invoices() == [("stripe", 4_900, "paid"), ("stripe", told, "paid")]
