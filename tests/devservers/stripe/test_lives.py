"""Lives of subscriptions, seen through Stripe's own client."""

from datetime import UTC, datetime

import pytest
import stripe

from tests.devservers.stripe.conftest import START, types


def stamp(month: int, day: int, year: int = 2026) -> int:
    return int(datetime(year, month, day, 9, 30, tzinfo=UTC).timestamp())


def invoices_of(client, sub):
    found = client.invoices.list({"subscription": sub.id})
    return [(row.billing_reason, row.status, row.total) for row in found.data][::-1]


def test_a_subscription_is_paid_and_renewed(fake, client, customer, price, subscribe):
    sub = subscribe(customer(), price(4_900))
    assert sub.status == "active"
    item = sub["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (stamp(3, 5), stamp(4, 5))
    fake.control.advance(days=31)
    assert invoices_of(client, sub) == [
        ("subscription_create", "paid", 4_900),
        ("subscription_cycle", "draft", 4_900),
    ]
    fake.control.advance(hours=1)
    assert invoices_of(client, sub)[1] == ("subscription_cycle", "paid", 4_900)
    now = client.subscriptions.retrieve(sub.id)["items"].data[0]
    assert (now.current_period_start, now.current_period_end) == (stamp(4, 5), stamp(5, 5))


def test_the_last_of_january(fake, client, customer, price, subscribe):
    fake.control.advance_to(datetime(2027, 1, 31, 12, tzinfo=UTC))
    sub = subscribe(customer(), price(1_000))
    ends = []
    for _ in range(4):
        end = client.subscriptions.retrieve(sub.id)["items"].data[0].current_period_end
        ends.append(f"{datetime.fromtimestamp(end, UTC):%m-%d}")
        fake.control.advance_to(datetime.fromtimestamp(end, UTC))
    assert ends == ["02-28", "03-31", "04-30", "05-31"]


def test_a_card_that_is_declined_leaves_nothing(fake, client, customer, price, subscribe):
    buyer = customer(None)
    with pytest.raises(stripe.CardError) as refused:
        client.payment_methods.attach("pm_card_chargeDeclined", {"customer": buyer.id})
    assert (refused.value.http_status, refused.value.code) == (402, "card_declined")
    assert client.customers.payment_methods.list(buyer.id).data == []
    failing = customer("pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        subscribe(failing, price(4_900), payment_behavior="error_if_incomplete")
    assert client.subscriptions.list({"customer": failing.id, "status": "all"}).data == []
    assert client.invoices.list({"customer": failing.id}).data == []


def test_an_incomplete_subscription_expires(fake, client, customer, price, subscribe):
    sub = subscribe(customer("pm_card_chargeCustomerFail"), price(4_900))
    assert sub.status == "incomplete"
    fake.control.advance(hours=23)
    assert client.subscriptions.retrieve(sub.id).status == "incomplete_expired"
    assert invoices_of(client, sub) == [("subscription_create", "void", 4_900)]


@pytest.mark.parametrize(("ok", "status"), [(True, "active"), (False, "incomplete")])
def test_3d_secure(fake, client, customer, price, subscribe, ok, status):
    buyer = customer("pm_card_threeDSecure2Required")
    sub = subscribe(
        buyer,
        price(4_900),
        expand=["latest_invoice.confirmation_secret", "latest_invoice.payments.data.payment"],
    )
    assert sub.status == "incomplete"
    secret = sub.latest_invoice.confirmation_secret.client_secret
    intent = sub.latest_invoice.payments.data[0].payment.payment_intent
    assert secret.startswith(f"{intent}_secret_")
    assert client.payment_intents.retrieve(intent).status == "requires_action"
    fake.control.complete_3ds(intent, ok=ok)
    assert client.subscriptions.retrieve(sub.id).status == status


def test_an_upgrade_half_way_is_prorated_by_the_second(fake, client, customer, price, subscribe):
    sub = subscribe(customer(), price(1_000))
    half = stamp(3, 5) + (stamp(4, 5) - stamp(3, 5)) // 2
    fake.control.advance_to(datetime.fromtimestamp(half, UTC))
    item, dearer = sub["items"].data[0].id, price(2_000)
    change = {"items": [{"id": item, "price": dearer}], "proration_behavior": "always_invoice"}
    preview = client.invoices.create_preview(
        {"subscription": sub.id, "subscription_details": change}
    )
    assert [line.amount for line in preview.lines.data] == [-500, 1_000]
    assert client.subscriptions.retrieve(sub.id)["items"].data[0].price.unit_amount == 1_000
    assert len(invoices_of(client, sub)) == 1
    client.subscriptions.update(sub.id, change)
    assert invoices_of(client, sub)[1] == ("subscription_update", "paid", preview.total)
    assert preview.total == 500


def test_an_upgrade_that_cannot_be_paid_changes_nothing(fake, client, customer, price, subscribe):
    buyer = customer()
    sub = subscribe(buyer, price(1_000))
    fake.control.advance(days=10)
    fake.control.fail_card(buyer.id)
    change = {
        "items": [{"id": sub["items"].data[0].id, "price": price(2_000)}],
        "proration_behavior": "always_invoice",
        "payment_behavior": "error_if_incomplete",
    }
    with pytest.raises(stripe.CardError):
        client.subscriptions.update(sub.id, change)
    assert client.subscriptions.retrieve(sub.id)["items"].data[0].price.unit_amount == 1_000
    assert client.invoice_items.list({"customer": buyer.id}).data == []
    assert len(invoices_of(client, sub)) == 1


def test_cancelled_at_the_end_and_taken_back(fake, client, customer, price, subscribe):
    sub = subscribe(customer(), price(1_000))
    client.subscriptions.update(sub.id, {"cancel_at_period_end": True})
    again = client.subscriptions.update(sub.id, {"cancel_at_period_end": False})
    assert (again.cancel_at_period_end, again.canceled_at) == (False, None)
    client.subscriptions.update(sub.id, {"cancel_at_period_end": True})
    fake.control.advance(days=31)
    ended = client.subscriptions.retrieve(sub.id)
    assert (ended.status, ended.ended_at) == ("canceled", stamp(4, 5))
    assert types(fake)[-1] == "customer.subscription.deleted"


def test_a_trial_begins_its_months_at_its_end(fake, client, customer, price, subscribe):
    sub = subscribe(customer(), price(1_000), trial_period_days=14)
    assert (sub.status, sub.trial_end) == ("trialing", stamp(3, 19))
    assert invoices_of(client, sub) == [("subscription_create", "paid", 0)]
    fake.control.advance(days=14, hours=1)
    assert "customer.subscription.trial_will_end" in types(fake)
    now = client.subscriptions.retrieve(sub.id)
    assert now.status == "active"
    assert now["items"].data[0].current_period_end == stamp(4, 19)
    assert invoices_of(client, sub)[1] == ("subscription_cycle", "paid", 1_000)


def test_a_failed_renewal_is_retried_and_recovers(fake, client, customer, price, subscribe):
    buyer = customer()
    sub = subscribe(buyer, price(1_000))
    fake.control.fail_card(buyer.id)
    fake.control.advance(days=31, hours=1)
    assert client.subscriptions.retrieve(sub.id).status == "past_due"
    assert client.customers.retrieve(buyer.id).delinquent
    fake.control.advance(days=3)
    fake.control.fix_card(buyer.id)
    fake.control.advance(days=5)
    assert client.subscriptions.retrieve(sub.id).status == "active"
    assert types(fake).count("invoice.payment_failed") == 2
    assert not client.customers.retrieve(buyer.id).delinquent


@pytest.mark.parametrize("settle", ["mark_uncollectible", "void_invoice"])
def test_an_invoice_that_is_settled_keeps_no_subscription_past_due(
    fake, client, customer, price, subscribe, settle
):
    buyer = customer()
    sub = subscribe(buyer, price(1_000))
    fake.control.fail_card(buyer.id)
    fake.control.advance(days=31, hours=1)
    late = client.subscriptions.retrieve(sub.id)
    assert late.status == "past_due"
    getattr(client.invoices, settle)(late.latest_invoice)
    assert client.subscriptions.retrieve(sub.id).status == "active"


def period_of(client, sub):
    found = client.subscriptions.retrieve(sub.id)
    item = found["items"].data[0]
    return found.status, item.current_period_start, item.current_period_end


def test_a_trial_that_is_moved(fake, client, customer, price, subscribe):
    sub = subscribe(customer(), price(1_000), trial_period_days=14)
    fake.control.advance(days=5)
    with pytest.raises(stripe.InvalidRequestError):
        client.subscriptions.update(sub.id, {"trial_end": stamp(3, 1)})
    moved = client.subscriptions.update(sub.id, {"trial_end": stamp(3, 26)})
    assert (moved.trial_start, moved.billing_cycle_anchor) == (stamp(3, 5), stamp(3, 26))
    assert period_of(client, sub) == ("trialing", stamp(3, 5), stamp(3, 26))
    fake.control.advance_to(datetime(2026, 3, 26, 11, tzinfo=UTC))
    assert period_of(client, sub) == ("active", stamp(3, 26), stamp(4, 26))
    assert invoices_of(client, sub)[1:] == [("subscription_cycle", "paid", 1_000)]


def test_a_trial_in_the_middle_gives_back_what_is_left(fake, client, customer, price, subscribe):
    sub = subscribe(customer(), price(3_100))
    fake.control.advance(days=15)
    client.subscriptions.update(sub.id, {"trial_end": stamp(4, 1)})
    assert period_of(client, sub) == ("trialing", stamp(3, 20), stamp(4, 1))
    assert invoices_of(client, sub)[1:] == [("subscription_update", "paid", -1_600)]


def test_another_billing_anchor(fake, client, customer, price, subscribe):
    sub = subscribe(customer(), price(3_100))
    fake.control.advance(days=15)
    client.subscriptions.update(sub.id, {"billing_cycle_anchor": "now"})
    assert period_of(client, sub) == ("active", stamp(3, 20), stamp(4, 20))
    assert invoices_of(client, sub)[1:] == [("subscription_update", "paid", 1_500)]


@pytest.mark.parametrize(("currency", "amount"), [("jpy", 5_000), ("kwd", 15_000)])
def test_yen_and_dinar(client, customer, price, subscribe, currency, amount):
    sub = subscribe(customer(), price(amount, currency=currency))
    assert invoices_of(client, sub) == [("subscription_create", "paid", amount)]


def test_the_clock_stands(fake):
    assert fake.control.clock() == START
