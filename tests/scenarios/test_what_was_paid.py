"""What holds is what was paid for, and what is given back was paid and not given back before."""

from datetime import timedelta

import pytest
import requests
from structlog.testing import capture_logs

from billing.models import Invoice, InvoiceStatus
from billing.services import subscriptions
from billing.services.invoicing import settle_invoice
from billing.stripe.client import api
from orgs.context import SYSTEM
from quotas.models import Plan, UsagePeriod
from quotas.resources import Resource
from quotas.services.reservations import reserve
from spoke.core import tenancy
from tests.support.stripe_world import utc

SUBSCRIPTION = "/orgs/acme/subscription"
HOURS = timedelta(hours=1)
HALF = utc(3, 5) + (utc(4, 5) - utc(3, 5)) / 2
GB = 2**30


def change(world, **wish):
    answer = world.client().patch(SUBSCRIPTION, wish)
    assert answer.status_code == 200, answer.content
    return answer.json()


def end_at_once(world) -> int:
    """Ends it; the customer's balance, of which below 0 is a credit."""
    answer = world.client().post(f"{SUBSCRIPTION}/cancel", {"immediately": True})
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    world.settle()
    assert world.plan() == "free"
    return int(world.fake.store.of("customer")[world.customer()]["balance"])


def test_a_month_whose_invoice_is_void_is_not_given_back(world):
    world.subscribe()
    world.to(utc(4, 4))
    world.control.fail_card(world.customer())
    world.to(utc(4, 5) + 3 * HOURS, step=HOURS)
    with tenancy.organization(world.acme):
        unpaid = Invoice.objects.get(org_id=world.acme, status="open")
        settle_invoice(
            org_id=world.acme,
            invoice_id=unpaid.pk,
            status=InvoiceStatus.VOID,
            actor=SYSTEM,
            now=world.at,
        )
    world.settle()
    assert world.at_stripe()[1] == ("subscription_cycle", 4_900, "void")
    world.to(utc(4, 10))
    assert end_at_once(world) == 0
    assert len(world.at_stripe()) == 2


@pytest.mark.parametrize(("refunded", "balance"), [(4_900, 0), (2_400, -2_450), (2_500, 0)])
def test_what_was_refunded_is_not_given_back_again(world, refunded, balance):
    """At the half 24.50 are left unused of 49.00: no more than the refund left is given back."""
    world.subscribe()
    charge = world.fake.store.newest("charge")[0]["id"]
    api().refunds.create({"charge": charge, "amount": refunded})
    world.settle()
    world.to(HALF)
    assert end_at_once(world) == balance


def test_while_a_downgrade_waits_what_was_paid_is_given_back(world):
    world.subscribe("enterprise")
    change(world, plan="pro")
    world.to(HALF)
    assert end_at_once(world) == -24_950


def test_a_downgrade_that_waits_holds_at_once_when_it_is_asked_for_by_the_year(world):
    world.subscribe("enterprise")
    change(world, plan="pro")
    world.to(HALF)
    body = change(world, plan="pro", interval="year")
    assert (body["plan"], body["pending_plan"], body["interval"]) == ("pro", None, "year")
    world.settle()
    assert world.plan() == "pro"
    assert world.invoices() == [("stripe", 49_900, "paid"), ("stripe", 49_000 - 24_950, "paid")]


@pytest.mark.parametrize("told", [True, False])
def test_an_upgrade_after_a_turn_that_nobody_told_of_is_paid(world, told):
    """The month began on the cheaper plan at Stripe; asking for the dearer one is an upgrade."""
    world.subscribe("enterprise")
    change(world, plan="pro")
    world.to(utc(4, 5) - HOURS)
    half = utc(4, 5) + (utc(5, 5) - utc(4, 5)) / 2
    world.at = half
    world._move(half)
    world.control.advance_to(half)
    if told:
        world.settle()
    preview = world.client().post(f"{SUBSCRIPTION}/preview", {"plan": "enterprise"}).json()
    assert (preview["takes_effect"], preview["amount_cents"]) == ("now", 22_500)
    assert change(world, plan="enterprise")["plan"] == "enterprise"
    world.settle()
    assert [row[1] for row in world.invoices()] == [49_900, 4_900, 22_500]


def test_what_is_stored_while_nobody_works_for_months_is_billed(world):
    world.subscribe(interval="year")
    with tenancy.organization(world.acme):
        reserve(org_id=world.acme, resource=Resource.STORAGE, amount=15 * GB, now=world.at)
    world.to(utc(4, 5) - HOURS, step=timedelta(days=40))
    world.to(utc(6, 5) + 2 * HOURS, step=timedelta(days=80))
    # The periods between are closed one after another.
    for _ in range(3):
        world.settle()
    with tenancy.organization(world.acme):
        rows = UsagePeriod.objects.filter(org_id=world.acme, start__gte=utc(3, 5))
        assert list(rows.order_by("start").values_list("start", "end")) == [
            (utc(month, 5), utc(month + 1, 5)) for month in (3, 4, 5, 6)
        ]
    billed = [row[1] for row in world.invoices() if row[0] == "usage"]
    # LOOK_BACK: what ended more than 35 days ago is invoiced by staff.
    assert billed == [2_500, 2_500]


def fails_to_renew(world, plan="enterprise"):
    world.subscribe(plan)
    world.to(utc(4, 4))
    world.control.fail_card(world.customer())
    world.to(utc(4, 5) + 3 * HOURS, step=HOURS)
    assert world.subscription().status == "past_due"


def test_a_month_that_is_overdue_is_paid_before_what_is_left_of_it_is_given_back(world):
    fails_to_renew(world)
    answer = world.client().patch(SUBSCRIPTION, {"plan": "pro", "interval": "year"})
    assert (answer.status_code, answer.json()["code"]) == (402, "card_declined")
    world.settle()
    assert [row[1:] for row in world.at_stripe()] == [(49_900, "paid"), (49_900, "open")]
    assert world.subscription().interval == "month"
    world.control.fix_card(world.customer())
    change(world, plan="pro", interval="year")
    world.settle()
    paid = [row[1] for row in world.at_stripe() if row[2] == "paid"]
    assert paid[:2] == [49_900, 49_900]
    assert 0 > paid[2] > 49_000 - 49_900
    assert world.subscription().status == "active"


def test_a_renewal_of_this_hour_is_paid_before_an_upgrade(world):
    world.subscribe()
    world.to(utc(4, 5) + HOURS / 2)
    assert world.at_stripe()[1][2] == "draft"
    told = world.client().post(f"{SUBSCRIPTION}/preview", {"plan": "enterprise"}).json()
    change(world, plan="enterprise")
    world.settle()
    upgrade = told["amount_cents"]
    assert [row[1:] for row in world.invoices()] == [
        (4_900, "paid"),
        (4_900, "paid"),
        (upgrade, "paid"),
    ]
    world.to(utc(4, 6))
    assert len(world.at_stripe()) == 3


def test_what_is_left_of_a_void_month_pays_for_no_change(world):
    fails_to_renew(world)
    latest = world.fake.store.newest("invoice")[0]["id"]
    api().invoices.void_invoice(latest)
    world.control.fix_card(world.customer())
    world.settle()
    wish = {"plan": "pro", "interval": "year"}
    for answer in (
        world.client().post(f"{SUBSCRIPTION}/preview", wish),
        world.client().patch(SUBSCRIPTION, wish),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "period_unpaid")
    assert change(world, plan="pro")["pending_plan"] == "pro"
    assert len(world.at_stripe()) == 2


def paid_page(world):
    made = world.client().post("/orgs/acme/billing/checkout", {"plan": "enterprise"})
    requests.post(
        made.json()["url"],
        data={"number": "4242424242424242"},
        timeout=10,
        allow_redirects=False,
    )


def test_whoever_paid_on_a_page_that_nobody_told_of_is_not_subscribed_twice(world):
    paid_page(world)
    world.control.drop_webhooks(50)
    world.settle()
    wish = {"plan": "pro", "payment_method_id": "pm_card_mastercard"}
    answer = world.client().post(SUBSCRIPTION, wish)
    assert (answer.status_code, answer.json()["code"]) == (409, "subscription_exists")
    world.settle()
    assert (world.plan(), world.subscription().status) == ("enterprise", "active")
    assert [row["status"] for row in world.fake.store.of("subscription").values()] == ["active"]
    assert [row["amount"] for row in world.fake.store.of("charge").values()] == [49_900]


def test_a_subscription_beside_one_by_hand_is_reported(world):
    paid_page(world)
    with tenancy.organization(world.acme):
        subscriptions.start_subscription(
            org_id=world.acme,
            plan=Plan.objects.current().get(code="pro"),
            interval="month",
            currency="usd",
            actor=SYSTEM,
            now=world.at,
        )
    with capture_logs() as logs:
        world.settle()
    told = [entry for entry in logs if entry["event"] == "stripe.second_subscription"]
    (there,) = world.fake.store.of("subscription")
    assert {(entry["subscription"], entry["org_id"]) for entry in told} == {(there, world.acme)}
    assert world.plan() == "pro"


@pytest.mark.parametrize(("refunded", "status"), [(49_900, 409), (900, 200)])
def test_what_was_refunded_pays_for_no_change(world, refunded, status):
    world.subscribe("enterprise")
    charge = world.fake.store.newest("charge")[0]["id"]
    api().refunds.create({"charge": charge, "amount": refunded})
    world.settle()
    world.to(utc(3, 10))
    answer = world.client().patch(SUBSCRIPTION, {"plan": "pro", "interval": "year"})
    assert answer.status_code == status, answer.content
    world.settle()
    assert world.plan() == ("enterprise" if status == 409 else "pro")
    assert len(world.at_stripe()) == (1 if status == 409 else 2)


def test_a_discount_stands_in_no_changes_way(world):
    world.subscribe()
    coupon = api().coupons.create({"percent_off": 50, "duration": "forever"})
    there = world.subscription().stripe_id
    api().subscriptions.update(there, {"discounts": [{"coupon": coupon.id}]})
    world.to(utc(4, 5) + 3 * HOURS, step=HOURS * 12)
    assert world.invoices() == [("stripe", 4_900, "paid"), ("stripe", 2_450, "paid")]
    change(world, plan="enterprise")
    assert end_at_once(world) < 0
