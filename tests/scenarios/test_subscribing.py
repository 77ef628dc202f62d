"""An owner subscribes, by card."""

from datetime import timedelta

from tests.support.stripe_world import utc


def test_a_card_that_pays_gives_the_plan_at_once(world):
    answer = world.client().post(
        "/orgs/acme/subscription", {"plan": "pro", "payment_method_id": "pm_card_visa"}
    )
    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert (body["status"], body["payment"]["status"]) == ("active", "succeeded")
    assert body["current_period_end"] == "2026-04-05T09:30:00Z"
    assert world.plan() == "pro"
    assert world.cards() == [("4242", True)]
    world.settle()
    assert world.invoices() == world.invoices() == [("stripe", 4_900, "paid")]
    assert world.at_stripe() == [("subscription_create", 4_900, "paid")]


def test_a_month_with_overage_on_pro(world):
    world.client().post(
        "/orgs/acme/subscription", {"plan": "pro", "payment_method_id": "pm_card_visa"}
    )
    world.use(1_234)
    world.to(utc(4, 5) + timedelta(hours=6), step=timedelta(hours=12))
    assert world.invoices() == [
        ("stripe", 4_900, "paid"),
        ("stripe", 4_900, "paid"),
        ("usage", 1_170, "paid"),
    ]
    assert world.at_stripe() == [
        ("subscription_create", 4_900, "paid"),
        ("subscription_cycle", 4_900, "paid"),
        ("manual", 1_170, "paid"),
    ]
    assert world.subscription().current_period_end == utc(5, 5)
