"""Which card pays: the organization's default, for the base price and for what is used beyond it."""

from datetime import timedelta

import requests
from structlog.testing import capture_logs

from billing.models import Invoice, InvoiceStatus
from billing.services import subscriptions
from billing.services.invoicing import settle_invoice
from billing.stripe import gateway
from orgs.context import SYSTEM
from quotas.models import Plan
from quotas.services.plans import assign_plan
from spoke.core import tenancy
from tests.support.stripe_world import utc

METHODS = "/orgs/acme/payment-methods"
SUBSCRIPTION = "/orgs/acme/subscription"
HOURS = timedelta(hours=1)


def charged(world) -> list[str]:
    """The last digits of the card of each payment that was made, oldest first."""
    rows = sorted(world.fake.store.of("charge").values(), key=lambda row: row["_n"])
    return [row["payment_method_details"]["card"]["last4"] for row in rows if row["paid"]]


def add(world, token, **more):
    answer = world.client().post(METHODS, {"stripe_payment_method_id": token, **more})
    assert answer.status_code == 201, answer.content
    return answer.json()["stripe_payment_method_id"]


def test_another_default_pays_the_renewal(world):
    world.subscribe()
    other = add(world, "pm_card_mastercard")
    assert world.client().put(f"{METHODS}/{other}/default").status_code == 200
    world.to(utc(4, 5) + 3 * HOURS)
    assert charged(world) == ["4242", "4444"]


def test_a_card_that_fails_is_replaced_and_the_next_try_is_paid(world):
    world.client().post(
        SUBSCRIPTION, {"plan": "pro", "payment_method_id": "pm_card_visa", "trial_period_days": 7}
    )
    answer = world.client().patch(SUBSCRIPTION, {"payment_method_id": "pm_card_chargeCustomerFail"})
    assert answer.status_code == 200, answer.content
    world.to(utc(3, 12) + 3 * HOURS)
    assert world.subscription().status == "past_due"
    answer = world.client().patch(SUBSCRIPTION, {"payment_method_id": "pm_card_mastercard"})
    assert answer.status_code == 200, answer.content
    world.to(utc(3, 17))
    assert world.subscription().status == "active"
    assert charged(world) == ["4444"]


def checked_out(world):
    made = world.client().post("/orgs/acme/billing/checkout", {"plan": "pro"})
    page = made.json()["url"]
    requests.post(page, data={"number": "4242424242424242"}, timeout=10, allow_redirects=False)
    world.settle()


def test_the_card_of_checkout_pays_for_what_is_used_beyond_the_plan(world):
    checked_out(world)
    assert world.cards() == [("4242", True)]
    world.use(1_234)
    world.to(utc(4, 5) + 6 * HOURS, step=12 * HOURS)
    assert world.invoices() == [
        ("stripe", 4_900, "paid"),
        ("stripe", 4_900, "paid"),
        ("usage", 1_170, "paid"),
    ]


def test_and_another_default_takes_its_place(world):
    checked_out(world)
    add(world, "pm_card_mastercard", set_as_default=True)
    world.to(utc(4, 5) + 3 * HOURS)
    assert charged(world) == ["4242", "4444"]


def test_whoever_has_a_default_keeps_it_at_checkout(world):
    add(world, "pm_card_mastercard")
    checked_out(world)
    assert sorted(world.cards()) == [("4242", False), ("4444", True)]


def test_a_change_that_is_refused_takes_no_card(world):
    for wish in ({}, {"plan": "gold"}):
        wish["payment_method_id"] = "pm_card_visa"
        assert world.client().patch(SUBSCRIPTION, wish).status_code == 404
    assert world.cards() == []
    world.subscribe(interval="year")
    for wish, status in (({"plan": "gold"}, 400), ({"interval": "month"}, 409)):
        wish["payment_method_id"] = "pm_card_mastercard"
        assert world.client().patch(SUBSCRIPTION, wish).status_code == status
    assert world.cards() == [("4242", True)]


def test_a_card_that_was_declined_does_not_pay_for_what_goes_on(world):
    """Neither after an upgrade that it did not pay nor after a first payment that it did not."""
    add(world, "pm_card_mastercard")
    failing = {"payment_method_id": "pm_card_chargeCustomerFail"}
    answer = world.client().post(SUBSCRIPTION, {"plan": "pro", **failing})
    assert answer.status_code == 402, answer.content
    assert sorted(world.cards()) == [("0341", False), ("4444", True)]
    assert world.client().post(SUBSCRIPTION, {"plan": "pro"}).status_code == 201
    answer = world.client().patch(SUBSCRIPTION, {"plan": "enterprise", **failing})
    assert answer.status_code == 402, answer.content
    world.to(utc(4, 5) + 3 * HOURS)
    assert charged(world) == ["4444", "4444"]
    assert world.subscription().status == "active"


def test_an_invoice_by_hand_is_not_charged_to_the_card_of_who_changes_to_one(world):
    """It was to be paid otherwise, and may be on its way."""
    with tenancy.organization(world.acme):
        subscriptions.start_subscription(
            org_id=world.acme,
            plan=Plan.objects.current().get(code="pro"),
            interval="month",
            currency="usd",
            actor=SYSTEM,
            now=world.at,
        )
    world.to(utc(4, 4))
    with tenancy.organization(world.acme):
        subscriptions.cancel_subscription(
            org_id=world.acme, immediately=False, actor=SYSTEM, now=world.at
        )
    world.to(utc(4, 6))
    assert world.invoices() == [("usage", 4_900, "open")]
    world.subscribe()
    world.use(1_020)
    world.to(utc(5, 6, 14))
    assert world.invoices() == [
        ("usage", 4_900, "open"),
        ("stripe", 4_900, "paid"),
        ("stripe", 4_900, "paid"),
        ("usage", 100, "paid"),
    ]


def test_a_void_invoice_that_is_paid_all_the_same_is_reported(world):
    world.subscribe()
    world.use(1_234)
    world.to(utc(4, 4))
    world.control.fail_card(world.customer())
    world.to(utc(4, 5) + 3 * HOURS, step=HOURS)
    with tenancy.organization(world.acme):
        row = Invoice.objects.get(source="usage", number__isnull=False)
        settle_invoice(
            org_id=world.acme,
            invoice_id=row.pk,
            status=InvoiceStatus.VOID,
            actor=SYSTEM,
            now=world.at,
        )
    world.control.fix_card(world.customer())
    gateway.pay_invoice(row.stripe_id)
    with capture_logs() as logs:
        world.settle()
    told = [entry for entry in logs if entry["event"] == "stripe.void_invoice_paid"]
    assert told[0] == {
        "event": "stripe.void_invoice_paid",
        "log_level": "error",
        "invoice": row.number,
        "org_id": world.acme,
    }
    assert ("usage", 1_170, "void") in world.invoices()


def test_a_subscription_that_never_began_bills_nothing_to_its_card(world):
    """Staff gave the plan; what is used beyond it is billed by hand, in dollars, as before."""
    add(world, "pm_card_visa")
    with tenancy.organization(world.acme):
        plan = Plan.objects.current().get(code="pro")
        assign_plan(org_id=world.acme, plan=plan, actor=SYSTEM, now=world.at)
    world.use(1_234)
    wish = {"plan": "pro", "currency": "eur", "payment_method_id": "pm_card_threeDSecure2Required"}
    answer = world.client().post(SUBSCRIPTION, wish)
    assert answer.json()["status"] == "incomplete", answer.content
    world.to(utc(4, 2))
    assert world.subscription().status == "canceled"
    with tenancy.organization(world.acme):
        row = Invoice.objects.get(source="usage")
    assert (row.currency, row.total_minor, row.status, row.stripe_id) == (
        "usd",
        1_170,
        "open",
        None,
    )
