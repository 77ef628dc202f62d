"""Credit notes, tax ids and automatic tax, as Stripe's own client sees them."""

import pytest
import stripe

GERMANY = {"country": "DE", "city": "Berlin"}


def test_where_a_paid_invoice_is_credited_to_makes_up_the_amount(
    client, customer, price, subscribe
):
    payer = customer()
    invoice = subscribe(payer, price(4_900)).latest_invoice
    for parts in ({}, {"refund_amount": 400}, {"refund_amount": 400, "credit_amount": 200}):
        with pytest.raises(stripe.InvalidRequestError, match="must equal"):
            client.credit_notes.create({"invoice": invoice, "amount": 500, **parts})
    assert not client.credit_notes.list({"invoice": invoice}).data
    made = client.credit_notes.create(
        {"invoice": invoice, "amount": 500, "refund_amount": 400, "credit_amount": 100}
    )
    assert (made.status, made.total, made.post_payment_amount) == ("issued", 500, 500)
    refund = client.refunds.retrieve(made.refunds[0].refund)
    assert refund.amount == 400
    assert client.customers.retrieve(payer.id).balance == -100
    with pytest.raises(stripe.InvalidRequestError, match="more than there is"):
        client.credit_notes.create({"invoice": invoice, "amount": 4_401, "credit_amount": 4_401})
    with pytest.raises(stripe.InvalidRequestError, match="open invoice"):
        client.credit_notes.void_credit_note(made.id)


def test_the_payment_of_a_charge_leads_to_its_invoice(client, customer, price, subscribe):
    invoice = subscribe(customer(), price(4_900)).latest_invoice
    subscribe(customer(), price(900))
    intent = client.invoice_payments.list({"invoice": invoice}).data[0].payment.payment_intent
    found = client.invoice_payments.list(
        {"payment": {"type": "payment_intent", "payment_intent": intent}}
    )
    assert [row.invoice for row in found.data] == [invoice]


def test_tax_ids_come_and_go(client, customer):
    who = customer()
    made = client.customers.tax_ids.create(who.id, {"type": "eu_vat", "value": "DE123456789"})
    assert [row.value for row in client.customers.tax_ids.list(who.id).data] == ["DE123456789"]
    assert client.customers.tax_ids.delete(who.id, made.id).deleted
    assert not client.customers.tax_ids.list(who.id).data


def test_automatic_tax_wants_an_address_and_no_rates(client, customer, price, subscribe):
    payer, plan = customer(), price(4_900)
    automatic = {"automatic_tax": {"enabled": True}}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        subscribe(payer, plan, **automatic)
    assert refused.value.code == "customer_tax_location_invalid"
    client.customers.update(payer.id, {"address": GERMANY})
    rate = client.tax_rates.create({"display_name": "VAT", "percentage": 7, "inclusive": False})
    with pytest.raises(stripe.InvalidRequestError, match="automatic tax"):
        subscribe(payer, plan, default_tax_rates=[rate.id], **automatic)
    made = subscribe(payer, plan, **automatic)
    assert client.invoices.retrieve(made.latest_invoice).total == 5_831
    changed = client.subscriptions.update(
        made.id, {"automatic_tax": {"enabled": False}, "default_tax_rates": [rate.id]}
    )
    assert [row.percentage for row in changed.default_tax_rates] == [7]


@pytest.mark.parametrize(("exempt", "total"), [("none", 5_243), ("reverse", 4_900)])
def test_who_pays_the_tax_themselves_is_charged_none(
    client, customer, price, subscribe, exempt, total
):
    payer = customer()
    client.customers.update(payer.id, {"tax_exempt": exempt})
    rate = client.tax_rates.create({"display_name": "VAT", "percentage": 7, "inclusive": False})
    made = subscribe(payer, price(4_900), default_tax_rates=[rate.id])
    assert client.invoices.retrieve(made.latest_invoice).total == total
