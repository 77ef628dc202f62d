"""How months and years go for who pays by card."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import requests

from billing.stripe import gateway
from quotas.services.plan_file import read_plans
from quotas.services.plans import publish_plan
from tests.support.stripe_world import utc

SUBSCRIPTION = "/orgs/acme/subscription"
HOURS = timedelta(hours=1)


def change(world, **wish):
    answer = world.client().patch(SUBSCRIPTION, wish)
    assert answer.status_code == 200, answer.content
    world.settle()
    return answer.json()


def test_month_with_overage_on_pro(world):
    world.subscribe()
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
    world.subscribe()
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
    world.subscribe()
    world.to(utc(3, 15))
    world.control.fail_card(world.customer())
    answer = world.client().patch(SUBSCRIPTION, {"plan": "enterprise"})
    assert (answer.status_code, answer.json()["code"]) == (402, "card_declined")
    world.settle()
    assert world.plan() == "pro"
    assert world.subscription().status == "active"
    assert world.invoices() == [("stripe", 4_900, "paid")]


def test_downgrade(world):
    world.subscribe("enterprise")
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
    world.subscribe()
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
    world.subscribe(interval="year")
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
    world.subscribe(trial_period_days=14)
    assert (world.plan(), world.subscription().status) == ("pro", "trialing")
    world.use(1_500)
    world.to(utc(3, 19) + 2 * HOURS)
    assert world.subscription().status == "active"
    # The trial costs nothing, what was used beyond the plan in it either.
    assert world.invoices() == [("stripe", 4_900, "paid")]
    assert world.subscription().current_period_end == utc(4, 19)


def test_trial_to_cancelled(world):
    world.subscribe(trial_period_days=14)
    world.to(utc(3, 10))
    answer = world.client().post(f"{SUBSCRIPTION}/cancel", {})
    assert answer.json()["cancel_at_period_end"] is True
    world.to(utc(3, 19) + 2 * HOURS)
    assert (world.plan(), world.subscription().status) == ("free", "canceled")
    assert world.invoices() == []
    assert [row[1] for row in world.at_stripe()] == [0]
    # One trial is all that there is: the next subscription is paid for.
    for url in (SUBSCRIPTION, "/orgs/acme/billing/checkout"):
        answer = world.client().post(url, {"plan": "pro", "trial_period_days": 14})
        assert (answer.status_code, answer.json()["code"]) == (409, "trial_used")
    assert (world.plan(), world.subscription().status) == ("free", "canceled")
    world.subscribe()
    assert (world.plan(), world.subscription().status) == ("pro", "active")


def test_cancelled_and_taken_back(world):
    world.subscribe()
    assert world.client().post(f"{SUBSCRIPTION}/cancel", {}).status_code == 200
    back = world.client().post(f"{SUBSCRIPTION}/reactivate")
    assert (back.status_code, back.json()["cancel_at_period_end"]) == (200, False)
    world.to(utc(4, 5) + 2 * HOURS)
    assert world.plan() == "pro"


def test_cancelled_at_once_with_a_credit(world):
    world.subscribe()
    world.to(utc(3, 5) + (utc(4, 5) - utc(3, 5)) / 2)
    answer = world.client().post(f"{SUBSCRIPTION}/cancel", {"immediately": True})
    assert answer.json()["status"] == "canceled"
    world.settle()
    assert world.plan() == "free"
    assert world.invoices() == [("stripe", 4_900, "paid"), ("stripe", -2_450, "paid")]
    # What is left of it pays the next subscription.
    world.subscribe()
    assert world.fake.store.newest("invoice")[0]["amount_paid"] == 2_450


def test_by_month_and_then_by_year(world):
    world.subscribe()
    world.to(utc(3, 5) + (utc(4, 5) - utc(3, 5)) / 2)
    body = change(world, interval="year")
    assert (body["interval"], body["plan"]) == ("year", "pro")
    assert [row[1] for row in world.invoices()] == [4_900, 49_000 - 2_450]
    assert world.client().patch(SUBSCRIPTION, {"interval": "month"}).json()["code"] == (
        "interval_change"
    )


def test_yearly_upgrade_half_way(world):
    """Prorated by the second of the year, and paid at once; the year stays as it was."""
    world.subscribe(interval="year")
    half = utc(3, 5) + (utc(3, 5, year=2027) - utc(3, 5)) / 2
    world.to(half, step=timedelta(days=30))
    preview = world.client().post(f"{SUBSCRIPTION}/preview", {"plan": "enterprise"}).json()
    assert (preview["takes_effect"], preview["amount_cents"]) == ("now", 225_000)
    assert [line["amount_cents"] for line in preview["lines"]] == [-24_500, 249_500]
    body = change(world, plan="enterprise")
    assert (body["plan"], body["interval"]) == ("enterprise", "year")
    assert world.plan() == "enterprise"
    assert world.subscription().current_period_end == utc(3, 5, year=2027)
    world.to(utc(3, 5, year=2027) + 2 * HOURS, step=timedelta(days=30))
    assert world.invoices() == [
        ("stripe", 49_000, "paid"),
        ("stripe", 225_000, "paid"),
        ("stripe", 499_000, "paid"),
    ]
    assert world.at_stripe() == [
        ("subscription_create", 49_000, "paid"),
        ("subscription_update", 225_000, "paid"),
        ("subscription_cycle", 499_000, "paid"),
    ]
    assert world.subscription().current_period_end == utc(3, 5, year=2028)


def subscribed_at(world, moment, **more):
    """Nothing is there before: the clocks are only turned."""
    world.control.advance_to(moment)
    world.at = moment
    world._move(moment)
    world.subscribe(**more)


@pytest.mark.parametrize(
    ("begins", "months", "short"),
    [
        (datetime(2027, 1, 31, 12, tzinfo=UTC), 48, {2: 28, 4: 30, 6: 30, 9: 30, 11: 30}),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), 13, {2: 28}),
    ],
    ids=["31 January", "29 February"],
)
def test_leap_day_and_month_end_anchors_over_years(world, begins, months, short):
    """Each month ends at the anchor's day, or at its own last where it is too short for that."""
    subscribed_at(world, begins)
    ends = []
    for _ in range(months):
        end = world.subscription().current_period_end
        ends.append(end)
        world.to(end + 2 * HOURS, step=timedelta(days=32))
    wanted = []
    for number in range(1, months + 1):
        years, month = divmod(begins.month - 1 + number, 12)
        year = begins.year + years
        leap = month == 1 and year % 4 == 0
        day = 29 if leap else min(begins.day, short.get(month + 1, 31))
        wanted.append(begins.replace(year=year, month=month + 1, day=day))
    assert ends == wanted
    assert world.invoices() == [("stripe", 4_900, "paid")] * (months + 1)
    assert [row[1:] for row in world.at_stripe()] == [(4_900, "paid")] * (months + 1)
    numbers = [row["number"] for row in world.fake.store.of("invoice").values()]
    assert len(set(numbers)) == months + 1


def test_a_leap_day_by_the_year_over_four_years(world):
    subscribed_at(world, datetime(2028, 2, 29, 12, tzinfo=UTC), interval="year")
    ends = []
    for _ in range(4):
        end = world.subscription().current_period_end
        ends.append(f"{end:%Y-%m-%d}")
        world.to(end + 2 * HOURS, step=timedelta(days=366))
    assert ends == ["2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]
    assert world.invoices() == [("stripe", 49_000, "paid")] * 5


def test_account_closed_mid_period(world):
    """Nothing is paid back and no month follows; what was used beyond the plan until then is billed."""
    world.subscribe()
    world.use(1_300)
    world.to(utc(3, 20))
    answer = world.client().delete("/orgs/acme")
    assert answer.status_code in (200, 204), answer.content
    world.settle()
    sub = next(iter(world.fake.store.of("subscription").values()))
    assert (sub["status"], sub["ended_at"]) == ("canceled", int(utc(3, 20).timestamp()))
    assert world.subscription().status == "canceled"
    refused = world.client().post("/orgs/acme/modules", {"name": "late"})
    assert refused.status_code in (403, 404, 410), refused.content
    world.to(utc(4, 6))
    assert world.at_stripe() == [
        ("subscription_create", 4_900, "paid"),
        ("manual", 1_500, "paid"),
    ]
    world.to(utc(4, 18))
    assert len(world.at_stripe()) == 2


def test_failed_card_to_suspension_to_recovery(world, mailoutbox):
    world.subscribe()
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
    world.subscribe()
    definition = next(plan for plan in read_plans() if plan.code == "pro")
    dearer = replace(definition, prices={**definition.prices, ("usd", "month"): 5_900})
    publish_plan(definition=dearer, now=world.at)
    world.to(utc(4, 5) + 2 * HOURS)
    assert world.subscription().plan.version == 1
    assert [row[1] for row in world.invoices()] == [4_900, 4_900]
    world.client().post(f"{SUBSCRIPTION}/cancel", {"immediately": True})
    world.settle()
    world.subscribe()
    assert world.subscription().plan.version == 2
    assert world.fake.store.newest("invoice")[0]["total"] == 5_900


def test_a_card_expires_and_is_replaced(world, mailoutbox):
    """Owners and admins are told before; the bank's renewal and another card each end the matter."""
    methods = "/orgs/acme/payment-methods"
    world.subscribe()
    (name,) = (row["id"] for row in world.fake.store.of("payment_method").values())
    expires(world, name, 5, 2026)

    def told():
        """Who was written to of which month since this was asked last."""
        found = [
            (mail.to[0], re.search(r"the end of (\w+ \d+)", mail.body)[1])
            for mail in mailoutbox
            if "expires" in mail.subject
        ]
        mailoutbox.clear()
        return sorted(found)

    world.to(utc(5, 1))
    assert told() == []
    world.to(utc(5, 6))
    both = ["admin@example.com", "owner@example.com"]
    assert told() == [(address, "May 2026") for address in both]
    # The bank renews it: Stripe says so, and it is told of in its new month.
    expires(world, name, 8, 2026)
    world.settle()
    card = world.client().get(methods).json()["results"][0]
    assert (card["exp_month"], card["exp_year"]) == (8, 2026)
    world.to(utc(7, 30))
    assert told() == []
    world.to(utc(8, 2))
    assert told() == [(address, "August 2026") for address in both]
    # The owner puts another one in its place, which pays from then on.
    other = {"stripe_payment_method_id": "pm_card_mastercard", "set_as_default": True}
    assert world.client().post(methods, other).status_code == 201
    assert world.client().delete(f"{methods}/{name}").status_code == 204
    world.to(utc(9, 6))
    assert told() == []
    assert world.invoices() == [("stripe", 4_900, "paid")] * 7
    assert world.at_stripe() == [
        ("subscription_create", 4_900, "paid"),
        *[("subscription_cycle", 4_900, "paid")] * 6,
    ]
    newest = max(world.fake.store.of("charge").values(), key=lambda row: row["_n"])
    assert newest["payment_method_details"]["card"]["last4"] == "4444"


def expires(world, name, month, year):
    """The card of a payment method is good until the end of that month, says Stripe."""
    url = f"{world.fake.url}/v1/payment_methods/{name}"
    sent = {"card[exp_month]": month, "card[exp_year]": year}
    requests.post(url, data=sent, auth=("sk_test_x", ""), timeout=10).raise_for_status()
    world.settle()
