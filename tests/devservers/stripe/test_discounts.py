"""Tiers, currencies, coupons, tax ids, and the ways a subscription stops for want of money."""

import urllib.parse
import urllib.request

import pytest
import stripe

from tests.devservers.stripe.conftest import types
from tests.devservers.stripe.test_lives import invoices_of


def tiered(client, mode):
    product = client.products.create({"name": "Calls"})
    return client.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "billing_scheme": "tiered",
            "tiers_mode": mode,
            "recurring": {"interval": "month"},
            "tiers": [
                {"up_to": 10, "unit_amount": 100, "flat_amount": 50},
                {"up_to": 100, "unit_amount_decimal": "12.5"},
                {"up_to": "inf", "unit_amount": 1, "flat_amount": 7},
            ],
            "expand": ["tiers"],
        }
    )


# Graduated: 50 + 10 * 100 of the first tier, 12.5 each of the next 90, then 7 + 1 each.
@pytest.mark.parametrize(
    ("mode", "quantity", "total"),
    [
        *(("graduated", 1, 150), ("graduated", 10, 1_050), ("graduated", 11, 1_063)),
        *(("graduated", 100, 2_175), ("graduated", 101, 2_183)),
        *(("volume", 10, 1_050), ("volume", 11, 138), ("volume", 101, 108)),
    ],
)
def test_tiers(client, customer, mode, quantity, total):
    price = tiered(client, mode)
    assert [row.up_to for row in price.tiers] == [10, 100, None]
    sub = client.subscriptions.create(
        {"customer": customer().id, "items": [{"price": price.id, "quantity": quantity}]}
    )
    assert invoices_of(client, sub) == [("subscription_create", "paid", total)]


def test_tiers_that_make_no_table_are_refused(client):
    product = client.products.create({"name": "Calls"}).id
    made = {"product": product, "currency": "usd", "billing_scheme": "tiered"}
    for tiers in (
        [{"up_to": 10, "unit_amount": 1}],
        [{"up_to": "inf", "unit_amount": 1}, {"up_to": 5, "unit_amount": 1}],
        [{"up_to": "inf"}],
    ):
        with pytest.raises(stripe.InvalidRequestError):
            client.prices.create({**made, "tiers_mode": "volume", "tiers": tiers})
    assert client.prices.list().data == []


def test_a_price_in_several_currencies(client, customer):
    product = client.products.create({"name": "Pro"})
    price = client.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 1_000,
            "recurring": {"interval": "month"},
            "currency_options": {"jpy": {"unit_amount": 1_500}},
        }
    )
    wanted = {"customer": customer().id, "items": [{"price": price.id}]}
    sub = client.subscriptions.create({**wanted, "currency": "jpy"})
    assert invoices_of(client, sub) == [("subscription_create", "paid", 1_500)]
    assert sub.currency == "jpy"
    with pytest.raises(stripe.InvalidRequestError):
        client.subscriptions.create({**wanted, "currency": "eur"})


# 12.5% of 1,999 is 249.875, rounded to 250.
@pytest.mark.parametrize(
    ("coupon", "totals"),
    [
        ({"percent_off": 12.5, "duration": "once"}, [1_749, 1_999, 1_999]),
        ({"percent_off": 12.5, "duration": "forever"}, [1_749, 1_749, 1_749]),
        (
            {"percent_off": 50, "duration": "repeating", "duration_in_months": 2},
            [999, 999, 1_999],
        ),
        ({"amount_off": 5_000, "currency": "usd", "duration": "once"}, [0, 1_999, 1_999]),
    ],
)
def test_a_coupon_lasts(fake, client, customer, price, subscribe, coupon, totals):
    made = client.coupons.create(coupon)
    sub = subscribe(customer(), price(1_999), discounts=[{"coupon": made.id}])
    fake.control.advance(days=62)
    assert [total for _, _, total in invoices_of(client, sub)] == totals
    assert client.coupons.retrieve(made.id).times_redeemed == 1


def test_taxes_are_on_what_is_left(client, customer, price, subscribe):
    rate = client.tax_rates.create({"display_name": "VAT", "percentage": 19, "inclusive": False})
    coupon = client.coupons.create({"percent_off": 25, "duration": "once"})
    taxed = {"default_tax_rates": [rate.id], "discounts": [{"coupon": coupon.id}]}
    sub = subscribe(customer(), price(1_000), **taxed, expand=["latest_invoice"])
    invoice = sub.latest_invoice
    assert (invoice.subtotal, invoice.total) == (1_000, 893)
    assert invoice.total_discount_amounts[0].amount == 250
    # 19% of 750 is 142.5.
    assert [(row.amount, row.taxable_amount) for row in invoice.total_taxes] == [(143, 750)]


def test_an_amount_is_shared_to_the_last_cent(client, customer):
    buyer = customer().id
    off = client.coupons.create({"amount_off": 100, "currency": "usd", "duration": "once"})
    asked = {"customer": buyer, "discounts": [{"coupon": off.id}]}
    draft = client.invoices.create(asked)
    for _ in range(3):
        item = {"customer": buyer, "invoice": draft.id, "amount": 100, "currency": "usd"}
        client.invoice_items.create(item)
    done = client.invoices.finalize_invoice(draft.id)
    assert [row.discount_amounts[0].amount for row in done.lines.data] == [33, 33, 34]
    assert (done.subtotal, done.total, done.amount_due) == (300, 200, 200)


def test_a_coupon_that_is_used_up_is_refused(client, customer, price, subscribe):
    coupon = client.coupons.create({"percent_off": 50, "duration": "once", "max_redemptions": 1})
    given, each = [{"coupon": coupon.id}], price(1_000)
    subscribe(customer(), each, discounts=given)
    assert not client.coupons.retrieve(coupon.id).valid
    other = customer()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        subscribe(other, each, discounts=given)
    assert refused.value.code == "coupon_expired"
    assert client.subscriptions.list({"customer": other.id, "status": "all"}).data == []


def test_a_card_that_is_declined_redeems_nothing(client, customer, price, subscribe):
    coupon = client.coupons.create({"percent_off": 50, "duration": "once"})
    with pytest.raises(stripe.CardError):
        subscribe(
            customer("pm_card_chargeCustomerFail"),
            price(1_000),
            discounts=[{"coupon": coupon.id}],
            payment_behavior="error_if_incomplete",
        )
    assert client.coupons.retrieve(coupon.id).times_redeemed == 0


def test_a_preview_redeems_nothing(fake, client, customer, price, subscribe):
    coupon = client.coupons.create({"percent_off": 50, "duration": "once"})
    sub = subscribe(customer(), price(1_000), trial_period_days=3)
    client.subscriptions.update(sub.id, {"discounts": [{"coupon": coupon.id}]})
    for _ in range(2):
        assert client.invoices.create_preview({"subscription": sub.id}).total == 500
    fake.control.advance(days=3, hours=1)
    assert invoices_of(client, sub)[1] == ("subscription_cycle", "paid", 500)


def test_tax_ids(fake, client, customer):
    buyer = customer().id
    made = client.customers.tax_ids.create(buyer, {"type": "eu_vat", "value": "DE123456789"})
    assert (made.country, made.verification.status) == ("DE", "verified")
    invoice = client.invoices.create({"customer": buyer})
    assert [(row.type, row.value) for row in invoice.customer_tax_ids] == [
        ("eu_vat", "DE123456789")
    ]
    client.customers.tax_ids.delete(buyer, made.id)
    assert client.customers.tax_ids.list(buyer).data == []
    with pytest.raises(stripe.InvalidRequestError):
        client.customers.tax_ids.retrieve(buyer, made.id)
    assert types(fake)[-1] == "customer.tax_id.deleted"
    both = [{"type": "gb_vat", "value": "GB123456000"}]
    other = client.customers.create({"name": "Other", "tax_id_data": both})
    kept = client.customers.tax_ids.list(other.id).data
    assert [(row.country, row.verification.status) for row in kept] == [("GB", "unverified")]


@pytest.mark.parametrize(
    ("chosen", "status", "event"),
    [
        ("past_due", "past_due", "invoice.payment_failed"),
        ("unpaid", "unpaid", "customer.subscription.updated"),
        ("canceled", "canceled", "customer.subscription.deleted"),
    ],
)
def test_after_the_last_retry(fake, client, customer, price, subscribe, chosen, status, event):
    buyer = customer()
    sub = subscribe(buyer, price(1_000))
    fake.control.after_retries(chosen)
    fake.control.advance(days=31)
    fake.control.fail_card(buyer.id)
    fake.control.advance(days=14)
    assert client.subscriptions.retrieve(sub.id).status == "past_due"
    fake.control.advance(days=2)
    assert client.subscriptions.retrieve(sub.id).status == status
    assert types(fake)[-1] == event


def test_an_unpaid_subscription_goes_on_in_drafts_until_it_is_paid(
    fake, client, customer, price, subscribe
):
    buyer = customer()
    sub = subscribe(buyer, price(1_000))
    fake.control.after_retries("unpaid")
    fake.control.fail_card(buyer.id)
    fake.control.advance(days=31 + 30)
    assert [status for _, status, _ in invoices_of(client, sub)] == ["paid", "open", "draft"]
    fake.control.fix_card(buyer.id)
    client.invoices.pay(client.subscriptions.retrieve(sub.id).latest_invoice)
    assert client.subscriptions.retrieve(sub.id).status == "active"


@pytest.mark.parametrize(
    ("chosen", "status"),
    [("create_invoice", "active"), ("cancel", "canceled"), ("pause", "paused")],
)
def test_a_trial_that_ends_without_a_card(fake, client, customer, price, subscribe, chosen, status):
    asked = {"end_behavior": {"missing_payment_method": chosen}}
    sub = subscribe(customer(None), price(1_000), trial_period_days=3, trial_settings=asked)
    fake.control.advance(days=3)
    assert client.subscriptions.retrieve(sub.id).status == status


def test_a_paused_subscription_is_resumed(fake, client, customer, price, subscribe):
    asked = {"end_behavior": {"missing_payment_method": "pause"}}
    buyer = customer(None)
    sub = subscribe(buyer, price(1_000), trial_period_days=3, trial_settings=asked)
    fake.control.advance(days=10)
    assert len(invoices_of(client, sub)) == 1
    method = client.payment_methods.attach("pm_card_visa", {"customer": buyer.id})
    settings = {"invoice_settings": {"default_payment_method": method.id}}
    client.customers.update(buyer.id, settings)
    resumed = client.subscriptions.resume(sub.id, {"billing_cycle_anchor": "now"})
    assert resumed.status == "active"
    assert invoices_of(client, sub)[1] == ("subscription_update", "paid", 1_000)
    assert "customer.subscription.resumed" in types(fake)
    with pytest.raises(stripe.InvalidRequestError):
        client.subscriptions.resume(sub.id)


def click(url, **sent):
    body = urllib.parse.urlencode(sent).encode() if sent else None
    with urllib.request.urlopen(url, body, timeout=10) as answer:
        return answer.read().decode()


def test_an_invoice_is_paid_on_its_page(fake, client, customer, price, subscribe):
    sub = subscribe(customer("pm_card_chargeCustomerFail"), price(1_000), expand=["latest_invoice"])
    url = sub.latest_invoice.hosted_invoice_url
    shown = click(url)
    assert "10.00 USD" in shown
    assert "Open" in shown
    assert "declined" in click(url, number="4000 0000 0000 0341")
    assert client.subscriptions.retrieve(sub.id).status == "incomplete"
    assert "Paid" in click(url, number="4242 4242 4242 4242")
    assert client.subscriptions.retrieve(sub.id).status == "active"


def test_the_portal_lists_invoices(client, customer, price, subscribe):
    sub = subscribe(customer(), price(1_000), expand=["latest_invoice"])
    session = client.billing_portal.sessions.create({"customer": sub.customer})
    shown = click(session.url)
    assert sub.latest_invoice.number in shown
    assert f"/invoice/{sub.latest_invoice.id}" in shown
