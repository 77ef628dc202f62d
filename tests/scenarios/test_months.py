"""How months and years go for who pays by card."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from billing.stripe import gateway
from quotas.services.plan_file import read_plans
from quotas.services.plans import publish_plan
from tests.support.stripe_world import utc

SUBSCRIPTION = "/orgs/acme/subscription"
HOURS = timedelta(hours=1)


def subscribe(world, plan="pro", **more):
    wish = {"plan": plan, "payment_method_id": "pm_card_visa", **more}
    answer = world.client().post(SUBSCRIPTION, wish)
    assert answer.status_code == 201, answer.content
    world.settle()


def change(world, **wish):
    answer = world.client().patch(SUBSCRIPTION, wish)
    assert answer.status_code == 200, answer.content
    world.settle()
    return answer.json()


def test_month_with_overage_on_pro(world):
    subscribe(world)
    world.use(1_234)
    world.to(utc(4, 5) + 6 * HOURS, step=12 * HOURS)
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
    numbers = [row["number"] for row in world.fake.store.of("invoice").values()]
    assert "SPK-2026-000001" in numbers


def test_upgrade_half_way(world):
    subscribe(world)
    half = utc(3, 5) + (utc(4, 5) - utc(3, 5)) / 2
    world.to(half)
    preview = world.client().post(f"{SUBSCRIPTION}/preview", {"plan": "enterprise"}).json()
    assert (preview["takes_effect"], preview["amount_cents"]) == ("now", 22_500)
    assert [line["amount_cents"] for line in preview["lines"]] == [-2_450, 24_950]
    assert world.plan() == "pro"
    assert change(world, plan="enterprise")["plan"] == "enterprise"
    assert world.plan() == "enterprise"
    world.use(100_010)
    world.to(utc(4, 5) + 6 * HOURS)
    assert world.invoices() == [
        ("stripe", 4_900, "paid"),
        ("stripe", 22_500, "paid"),
        ("stripe", 49_900, "paid"),
        ("usage", 30, "paid"),
    ]
    assert [row[1] for row in world.at_stripe()] == [4_900, 22_500, 49_900, 30]


def test_an_upgrade_that_the_card_does_not_pay_changes_nothing(world):
    subscribe(world)
    world.to(utc(3, 15))
    world.control.fail_card(world.customer())
    answer = world.client().patch(SUBSCRIPTION, {"plan": "enterprise"})
    assert (answer.status_code, answer.json()["code"]) == (402, "card_declined")
    world.settle()
    assert world.plan() == "pro"
    assert world.subscription().status == "active"
    assert world.invoices() == [("stripe", 4_900, "paid")]


def test_downgrade(world):
    subscribe(world, "enterprise")
    world.to(utc(3, 20))
    body = change(world, plan="pro")
    assert (body["plan"], body["pending_plan"]) == ("enterprise", "pro")
    assert world.plan() == "enterprise"
    world.to(utc(4, 4))
    assert world.plan() == "enterprise"
    world.to(utc(4, 5) + 2 * HOURS)
    assert world.plan() == "pro"
    assert world.subscription().pending_plan is None
    assert world.invoices() == [("stripe", 49_900, "paid"), ("stripe", 4_900, "paid")]


def test_a_downgrade_taken_back_and_then_an_upgrade(world):
    subscribe(world)
    half = utc(3, 5) + (utc(4, 5) - utc(3, 5)) / 2
    change(world, plan="enterprise")
    change(world, plan="pro")
    assert change(world, plan="enterprise")["pending_plan"] is None
    world.to(half)
    change(world, plan="pro")
    change(world, plan="enterprise")
    world.to(utc(4, 5) + 2 * HOURS)
    assert world.plan() == "enterprise"
    assert [row[1] for row in world.invoices()] == [4_900, 45_000, 49_900]


def test_yearly_with_monthly_overage(world):
    subscribe(world, interval="year")
    world.use(1_100)
    world.to(utc(4, 5) + 2 * HOURS)
    world.use(1_020)
    world.to(utc(5, 5) + 2 * HOURS)
    assert world.invoices() == [
        ("stripe", 49_000, "paid"),
        ("usage", 500, "paid"),
        ("usage", 100, "paid"),
    ]
    assert world.subscription().current_period_end == utc(3, 5, year=2027)


def test_trial_to_paid(world):
    subscribe(world, trial_period_days=14)
    assert (world.plan(), world.subscription().status) == ("pro", "trialing")
    world.use(1_500)
    world.to(utc(3, 19) + 2 * HOURS)
    assert world.subscription().status == "active"
    # The trial costs nothing, what was used beyond the plan in it either.
    assert world.invoices() == [("stripe", 4_900, "paid")]
    assert world.subscription().current_period_end == utc(4, 19)


def test_trial_to_cancelled(world):
    subscribe(world, trial_period_days=14)
    world.to(utc(3, 10))
    answer = world.client().post(f"{SUBSCRIPTION}/cancel", {})
    assert answer.json()["cancel_at_period_end"] is True
    world.to(utc(3, 19) + 2 * HOURS)
    assert (world.plan(), world.subscription().status) == ("free", "canceled")
    assert world.invoices() == []
    assert [row[1] for row in world.at_stripe()] == [0]


def test_cancelled_and_taken_back(world):
    subscribe(world)
    assert world.client().post(f"{SUBSCRIPTION}/cancel", {}).status_code == 200
    back = world.client().post(f"{SUBSCRIPTION}/reactivate")
    assert (back.status_code, back.json()["cancel_at_period_end"]) == (200, False)
    world.to(utc(4, 5) + 2 * HOURS)
    assert world.plan() == "pro"


def test_cancelled_at_once_with_a_credit(world):
    subscribe(world)
    world.to(utc(3, 5) + (utc(4, 5) - utc(3, 5)) / 2)
    answer = world.client().post(f"{SUBSCRIPTION}/cancel", {"immediately": True})
    assert answer.json()["status"] == "canceled"
    world.settle()
    assert world.plan() == "free"
    assert world.invoices() == [("stripe", 4_900, "paid"), ("stripe", -2_450, "paid")]
    # What is left of it pays the next subscription.
    subscribe(world)
    assert world.fake.store.newest("invoice")[0]["amount_paid"] == 2_450


def test_by_month_and_then_by_year(world):
    subscribe(world)
    world.to(utc(3, 5) + (utc(4, 5) - utc(3, 5)) / 2)
    body = change(world, interval="year")
    assert (body["interval"], body["plan"]) == ("year", "pro")
    assert [row[1] for row in world.invoices()] == [4_900, 49_000 - 2_450]
    assert world.client().patch(SUBSCRIPTION, {"interval": "month"}).json()["code"] == (
        "interval_change"
    )


@pytest.mark.parametrize(("plan", "price"), [("pro", 4_900)])
def test_leap_day_and_month_end_anchors(world, plan, price):
    world.to(datetime(2028, 1, 31, 12, tzinfo=UTC), step=timedelta(days=900))
    subscribe(world, plan)
    ends = []
    for _ in range(4):
        ends.append(f"{world.subscription().current_period_end:%m-%d}")
        world.to(world.subscription().current_period_end + 2 * HOURS, step=timedelta(days=20))
    assert ends == ["02-29", "03-31", "04-30", "05-31"]
    assert [row[1] for row in world.invoices()] == [price] * 5


def test_account_closed_mid_period(world):
    subscribe(world)
    world.to(utc(3, 20))
    answer = world.client().delete("/orgs/acme")
    assert answer.status_code in (200, 204), answer.content
    world.settle()
    sub = next(iter(world.fake.store.of("subscription").values()))
    assert sub["status"] == "canceled"
    world.to(utc(4, 6))
    assert [row[1] for row in world.at_stripe()] == [4_900]


def test_failed_card_to_suspension_to_recovery(world, mailoutbox):
    subscribe(world)
    world.control.fail_card(world.customer())
    world.to(utc(4, 5) + 3 * HOURS)
    assert world.subscription().status == "past_due"
    assert world.plan() == "pro"
    told = [mail.to for mail in mailoutbox if "did not go through" in mail.subject]
    assert sorted(told) == [["admin@example.com"], ["owner@example.com"]]
    world.to(utc(4, 18))
    assert world.client().post("/orgs/acme/modules", {"name": "late"}).status_code == 201
    world.to(utc(4, 20))
    refused = world.client().post("/orgs/acme/modules", {"name": "later"})
    assert (refused.status_code, refused.json()["code"]) == (403, "organization_suspended")
    assert world.client().get("/orgs/acme/modules").status_code == 200
    stages = [mail for mail in mailoutbox if mail.to == ["owner@example.com"]]
    assert len([mail for mail in stages if "did not go through" in mail.subject]) == 4
    # Another card, and everything works again.
    world.control.fix_card(world.customer())
    latest = next(iter(world.fake.store.of("subscription").values()))["latest_invoice"]
    gateway.pay_invoice(latest)
    world.settle()
    assert world.subscription().status == "active"
    assert world.client().post("/orgs/acme/modules", {"name": "later"}).status_code == 201


def test_plan_version_change(world):
    """Who subscribed keeps the version that they bought, at its price; who comes now pays anew."""
    subscribe(world)
    definition = next(plan for plan in read_plans() if plan.code == "pro")
    dearer = replace(definition, prices={**definition.prices, ("usd", "month"): 5_900})
    publish_plan(definition=dearer, now=world.at)
    world.to(utc(4, 5) + 2 * HOURS)
    assert world.subscription().plan.version == 1
    assert [row[1] for row in world.invoices()] == [4_900, 4_900]
    world.client().post(f"{SUBSCRIPTION}/cancel", {"immediately": True})
    world.settle()
    subscribe(world)
    assert world.subscription().plan.version == 2
    assert world.fake.store.newest("invoice")[0]["total"] == 5_900
