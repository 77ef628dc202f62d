"""Every kind of object, made by Stripe's own client over HTTP, looks as Stripe's does.

Held against the pinned SDK's classes always, and against Stripe's published fixtures where
../shared/data/stripe/fixtures3.json is beside the checkout, as it is in CI and where Spoke is made.
"""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import stripe
from stripe import billing_portal, checkout

from tests.devservers.stripe import shapes
from tests.devservers.stripe.conftest import START

SHAPES: dict[str, type[stripe.StripeObject]] = {
    "account": stripe.Account,
    "billing_portal.session": billing_portal.Session,
    "charge": stripe.Charge,
    "checkout.session": checkout.Session,
    "coupon": stripe.Coupon,
    "credit_note": stripe.CreditNote,
    "customer": stripe.Customer,
    "discount": stripe.Discount,
    "dispute": stripe.Dispute,
    "event": stripe.Event,
    "invoice": stripe.Invoice,
    "invoice_payment": stripe.InvoicePayment,
    "invoiceitem": stripe.InvoiceItem,
    "line_item": stripe.InvoiceLineItem,
    "payment_intent": stripe.PaymentIntent,
    "payment_method": stripe.PaymentMethod,
    "plan": stripe.Plan,
    "price": stripe.Price,
    "product": stripe.Product,
    "refund": stripe.Refund,
    "setup_intent": stripe.SetupIntent,
    "subscription": stripe.Subscription,
    "subscription_item": stripe.SubscriptionItem,
    "tax_id": stripe.TaxId,
    "tax_rate": stripe.TaxRate,
    "webhook_endpoint": stripe.WebhookEndpoint,
}
# What Stripe's fixtures have and the pinned SDK does not: they are of a later version of the API.
LATER = {
    "charge.payment_method_details.card.transaction_link_id",
    "dispute.payment_method_details.card.network",
    "refund.customer",
    "refund.customer_account",
    "refund.payment_method",
    "subscription.invoice_settings.custom_fields",
    "subscription.invoice_settings.description",
    "subscription.invoice_settings.footer",
    # Gone from the API since 2025-03-31.basil, but left in this fixture.
    "invoice.subscription",
}
# What the fixtures have, and answers have only when it is asked for by `expand`.
EXPANDABLE = {"charge.refunds", "customer.sources", "customer.subscriptions", "customer.tax_ids"}


def raw(answer: Any) -> Any:
    """What was sent, before the SDK made objects of it."""
    return json.loads(answer.last_response.body)


class Maker:
    """Makes objects through Stripe's client; `made` has what was sent, by kind and case."""

    def __init__(self, client: Any, fake: Any) -> None:
        self.client, self.fake = client, fake
        self.made: list[tuple[str, str, Any]] = []

    def keep(self, case: str, answer: Any) -> Any:
        sent = raw(answer)
        self.made.append((sent["object"], case, sent))
        return answer

    def catalogue(self) -> None:
        client = self.client
        self.keep("", client.accounts.retrieve_current())
        product = self.keep("", client.products.create({"name": "Pro"})).id
        monthly = {"product": product, "currency": "usd", "recurring": {"interval": "month"}}
        both = {"expand": ["tiers", "currency_options"]}
        simple = {**monthly, "unit_amount": 1_000}
        self.price = self.keep("per unit", client.prices.create(simple)).id
        self.keep("once", client.prices.create({**simple, "recurring": None}))
        several = {"currency_options": {"jpy": {"unit_amount": 150}}, **both}
        self.keep("several currencies", client.prices.create({**simple, **several}))
        tiers = [
            {"up_to": 10, "unit_amount": 100},
            {"up_to": "inf", "unit_amount_decimal": "0.5", "flat_amount": 7},
        ]
        tiered = {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers}
        self.tiered = self.keep("tiered", client.prices.create({**monthly, **tiered, **both})).id
        self.keep("", client.plans.retrieve(self.price))
        half = {"percent_off": 12.5, "duration": "repeating", "duration_in_months": 3}
        self.coupon = self.keep("percent", client.coupons.create(half)).id
        self.keep("amount", client.coupons.create({"amount_off": 500, "currency": "usd"}))
        vat = {"display_name": "VAT", "percentage": 8.875, "inclusive": False}
        self.rate = self.keep("", client.tax_rates.create(vat)).id

    def customer(self) -> None:
        client = self.client
        address = {"country": "DE", "line1": "Hauptstr. 1"}
        acme = {"name": "Acme", "email": "ada@acme.example", "address": address}
        self.buyer = self.keep("", client.customers.create(acme)).id
        vat = {"type": "eu_vat", "value": "DE123456789"}
        self.keep("", client.customers.tax_ids.create(self.buyer, vat))
        for card in ("pm_card_visa", "pm_card_threeDSecure2Required"):
            intent = self.keep("new", client.setup_intents.create({"customer": self.buyer}))
            chosen = {"payment_method": card}
            self.keep(card, client.setup_intents.confirm(intent.id, chosen))
        method = self.keep("", client.payment_methods.attach("pm_card_visa", self._of()))
        settings = {"invoice_settings": {"default_payment_method": method.id}}
        self.keep("that pays", client.customers.update(self.buyer, settings))

    def _of(self, **more: Any) -> dict[str, Any]:
        return {"customer": self.buyer, **more}

    def subscriptions(self) -> None:
        client, items = self.client, [{"price": self.price}]
        taxed = {"default_tax_rates": [self.rate], "discounts": [{"coupon": self.coupon}]}
        asked = {"items": items, **taxed, "expand": ["discounts.source.coupon"]}
        sub = self.keep("taxed, discounted", client.subscriptions.create(self._of(**asked)))
        self.made.append(("discount", "", raw(sub)["discounts"][0]))
        self.keep("", client.subscriptions.create(self._of(items=[{"price": self.tiered}])))
        trial = self.keep(
            "trial", client.subscriptions.create(self._of(items=items, trial_period_days=3))
        )
        self.keep("ending", client.subscriptions.update(trial.id, {"cancel_at_period_end": True}))
        self.keep("ended", client.subscriptions.cancel(trial.id))
        rows = raw(client.subscription_items.list({"subscription": sub.id}))["data"]
        self.made.append(("subscription_item", "", rows[0]))
        invoice = client.invoices.retrieve(sub.latest_invoice, {"expand": ["payments"]})
        self.keep("paid", invoice)
        sent = raw(invoice)
        self.made.append(("line_item", "of a subscription", sent["lines"]["data"][0]))
        self.made.append(("invoice_payment", "", sent["payments"]["data"][0]))
        self.keep("", client.invoices.create_preview({"subscription": sub.id}))
        self.invoice = invoice.id
        self.intent = invoice.payments.data[0].payment.payment_intent

    def payments(self) -> None:
        client = self.client
        intent = self.keep("succeeded", client.payment_intents.retrieve(self.intent))
        self.keep("", client.charges.retrieve(intent.latest_charge))
        item = {"amount": 5, "currency": "usd", "description": "Compile jobs"}
        self.keep("", client.invoice_items.create(self._of(**item)))
        with_items = self._of(pending_invoice_items_behavior="include")
        draft = self.keep("draft", client.invoices.create(with_items))
        rows = raw(client.invoices.line_items.list(draft.id))["data"]
        self.made.append(("line_item", "of an item", rows[0]))
        self.keep("open", client.invoices.finalize_invoice(draft.id))
        self.fake.control.fail_card(self.buyer)
        with pytest.raises(stripe.CardError):
            client.invoices.pay(draft.id)
        declined = client.invoices.retrieve(draft.id, {"expand": ["payments"]})
        failed = declined.payments.data[0].payment.payment_intent
        self.keep("declined", client.payment_intents.retrieve(failed))
        self.keep("declined", client.charges.list(self._of()).data and self._charge())
        self.keep("void", client.invoices.void_invoice(draft.id))
        self.keep("", client.refunds.create({"payment_intent": self.intent, "amount": 3}))
        note = {"invoice": self.invoice, "amount": 300, "credit_amount": 300}
        self.keep("", client.credit_notes.create(note))
        self.fake.control.dispute(intent.latest_charge)
        self.keep("", client.disputes.retrieve(client.disputes.list().data[0].id))

    def _charge(self) -> Any:
        newest = self.client.charges.list(self._of()).data[0]
        return self.client.charges.retrieve(newest.id)

    def sessions(self) -> None:
        client = self.client
        setup = self.keep("setup", client.checkout.sessions.create(self._of(mode="setup")))
        paying = {"mode": "subscription", "line_items": [{"price": self.price, "quantity": 1}]}
        self.keep("subscription", client.checkout.sessions.create(self._of(**paying)))
        self.keep("expired", client.checkout.sessions.expire(setup.id))
        self.keep("", client.billing_portal.sessions.create(self._of()))
        hook = {"url": "http://127.0.0.1:9/", "enabled_events": ["invoice.paid"]}
        self.keep("", client.webhook_endpoints.create(hook))
        for event in raw(client.events.list({"limit": 100}))["data"]:
            self.made.append(("event", event["type"], event))


@pytest.fixture
def made(fake, client) -> list[tuple[str, str, Any]]:
    maker = Maker(client, fake)
    maker.catalogue()
    maker.customer()
    maker.subscriptions()
    maker.payments()
    maker.sessions()
    return maker.made


def trouble(made: list[tuple[str, str, Any]], fixtures: dict[str, Any]) -> list[str]:
    return [
        f"{line} [{case}]"
        for kind, case, sent in made
        for line in shapes.differences(SHAPES[kind], sent, fixtures.get(kind), kind)
        if line.partition(": ")[0] not in LATER | EXPANDABLE
    ]


def test_every_kind_is_made(made):
    assert {kind for kind, _, _ in made} == set(SHAPES)


def test_as_the_sdk_has_them(made):
    assert trouble(made, {}) == []


def test_as_stripes_fixtures_have_them(made):
    """Where they are absent, which the head of the test run says, only the SDK's classes are asked."""
    assert trouble(made, shapes.fixtures()) == []


def test_an_event_has_an_object_of_its_kind(made):
    kinds = {}
    for kind, case, sent in made:
        if kind == "event":
            about = sent["data"]["object"]
            kinds[case] = about["object"]
            found = shapes.differences(SHAPES[about["object"]], about, None, case)
            assert list(found) == []
    assert kinds["invoice.paid"] == "invoice"
    assert kinds["customer.discount.created"] == "discount"


def test_stripes_own_fixtures_are_of_the_sdks_shapes():
    """But for what is of a later version: what is listed above is all, and none of it is stale."""
    fixtures = shapes.fixtures()
    found = {
        line.partition(": ")[0]
        for kind, shape in SHAPES.items()
        if kind in fixtures
        for line in shapes.differences(shape, fixtures[kind], None, kind)
    }
    assert found == (LATER if fixtures else set())


def changed(sent: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {**sent, **members}


CASES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "one too many": (lambda it: changed(it, colour="red"), "customer.colour: Stripe has none"),
    "of another type": (lambda it: changed(it, created="1"), "customer.created: '1' is no int"),
    "true is no number": (lambda it: changed(it, created=True), "customer.created: True is no int"),
    "null where none is": (
        lambda it: changed(it, livemode=None),
        "customer.livemode: None is no bool",
    ),
    "no such word": (
        lambda it: changed(it, tax_exempt="maybe"),
        "customer.tax_exempt: 'maybe' is none of exempt, none, reverse",
    ),
    "further down": (
        lambda it: changed(it, address={**it["address"], "city": 7}),
        "customer.address.city: 7 is no str",
    ),
    "missing": (
        lambda it: {name: each for name, each in it.items() if name != "livemode"},
        "customer.livemode: is missing",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_difference_is_found(client, case):
    sent = raw(client.customers.create({"name": "Acme", "address": {"country": "DE"}}))
    spoil, found = CASES[case]
    assert list(shapes.differences(stripe.Customer, spoil(sent), None, "customer")) == [found]


def test_a_member_that_only_the_fixture_asks_for(client):
    sent = raw(client.customers.create({"name": "Acme"}))
    like = SimpleNamespace(customer={**sent, "phone": "1"}).customer
    del sent["phone"]
    assert list(shapes.differences(stripe.Customer, sent, None, "it")) == []
    assert list(shapes.differences(stripe.Customer, sent, like, "it")) == ["it.phone: is missing"]


def test_the_clock_of_made_objects_is_the_servers(client):
    assert client.customers.create({"name": "Acme"}).created == int(START.timestamp())
