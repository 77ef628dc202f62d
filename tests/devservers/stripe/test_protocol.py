"""How the server answers: keys, lists, expansion, refusals, invoices of one's own, webhooks."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import stripe

from spoke.devservers.stripe.store import Store
from tests.devservers.stripe.conftest import types


def test_without_a_test_key_nothing_is_answered(fake):
    for key in ("sk_live_" + "x" * 24, "nonsense"):
        with pytest.raises(stripe.AuthenticationError):
            stripe.StripeClient(key, base_addresses={"api": fake.url}).v1.customers.list()


def test_what_it_does_not_know_is_refused(client):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.customers.create({"nickname": "Ada"})
    assert (refused.value.code, refused.value.param) == ("parameter_unknown", "nickname")
    with pytest.raises(stripe.InvalidRequestError) as absent:
        client.customers.retrieve("cus_none")
    assert (absent.value.http_status, absent.value.code) == (404, "resource_missing")


def test_an_idempotency_key_answers_once(client):
    key = {"idempotency_key": "first"}
    made = client.customers.create({"name": "Acme"}, key)
    assert client.customers.create({"name": "Acme"}, key).id == made.id
    assert len(client.customers.list().data) == 1
    with pytest.raises(stripe.IdempotencyError):
        client.customers.create({"name": "Other"}, key)


def test_lists_are_newest_first_and_paged(client):
    made = [client.customers.create({"name": str(number)}).id for number in range(5)]
    first = client.customers.list({"limit": 2})
    assert ([row.id for row in first.data], first.has_more) == (made[:2:-1], True)
    assert [row.id for row in first.auto_paging_iter()] == made[::-1]


def test_names_are_expanded(client, customer, price, subscribe):
    subscribe(customer(), price(1_000))
    found = client.subscriptions.list(
        {"expand": ["data.customer", "data.latest_invoice.lines.data.pricing"]}
    )
    assert found.data[0].customer.email == "ada@acme.example"
    assert found.data[0].latest_invoice.total == 1_000
    with pytest.raises(stripe.InvalidRequestError):
        client.subscriptions.list({"expand": ["data.nonsense"]})


def test_an_invoice_of_ones_own(client, customer):
    buyer = customer()
    draft = client.invoices.create(
        {"customer": buyer.id, "number": "SPK-2026-000001", "metadata": {"ours": "7"}}
    )
    for amount in (1_170, 830):
        client.invoice_items.create(
            {
                "customer": buyer.id,
                "invoice": draft.id,
                "amount": amount,
                "currency": "usd",
                "description": "Compile jobs",
                "period": {"start": 1, "end": 2},
            }
        )
    done = client.invoices.finalize_invoice(draft.id)
    assert (done.number, done.status, done.amount_due) == ("SPK-2026-000001", "open", 2_000)
    paid = client.invoices.pay(draft.id)
    assert (paid.status, paid.amount_paid) == ("paid", 2_000)
    found = client.invoices.search({"query": "metadata['ours']:'7'"})
    assert [row.id for row in found.data] == [draft.id]
    with pytest.raises(stripe.InvalidRequestError):
        client.invoice_items.create(
            {"customer": buyer.id, "invoice": draft.id, "amount": 1, "currency": "usd"}
        )


def test_void_and_uncollectible(client, customer):
    buyer = customer()
    names = []
    for _ in range(2):
        draft = client.invoices.create({"customer": buyer.id})
        item = {"customer": buyer.id, "invoice": draft.id, "amount": 100, "currency": "usd"}
        client.invoice_items.create(item)
        names.append(client.invoices.finalize_invoice(draft.id).id)
    assert client.invoices.void_invoice(names[0]).status == "void"
    assert client.invoices.mark_uncollectible(names[1]).status == "uncollectible"
    assert client.invoices.pay(names[1]).status == "paid"


def test_refunds_and_credit_notes(client, customer, price, subscribe):
    buyer = customer()
    sub = subscribe(buyer, price(1_000), expand=["latest_invoice.payments"])
    intent = sub.latest_invoice.payments.data[0].payment.payment_intent
    client.refunds.create({"payment_intent": intent, "amount": 400})
    charge = client.charges.list({"customer": buyer.id}).data[0]
    assert (charge.amount_refunded, charge.refunded) == (400, False)
    with pytest.raises(stripe.InvalidRequestError):
        client.refunds.create({"payment_intent": intent, "amount": 601})
    note = {"invoice": sub.latest_invoice.id, "amount": 300, "credit_amount": 300}
    client.credit_notes.create(note)
    assert client.customers.retrieve(buyer.id).balance == -300


def test_taxes_are_rounded_line_by_line(client, customer, price, subscribe):
    rate = client.tax_rates.create({"display_name": "VAT", "percentage": 8.875, "inclusive": False})
    sub = subscribe(customer(), price(4_900), default_tax_rates=[rate.id])
    invoice = client.invoices.retrieve(sub.latest_invoice)
    assert (invoice.subtotal, invoice.total, invoice.total_taxes[0].amount) == (4_900, 5_335, 435)


def test_setting_up_a_card(fake, client, customer):
    buyer = customer(None)
    intent = client.setup_intents.create({"customer": buyer.id})
    waiting = client.setup_intents.confirm(
        intent.id, {"payment_method": "pm_card_authenticationRequiredOnSetup"}
    )
    assert waiting.status == "requires_action"
    fake.control.complete_3ds(intent.id)
    assert client.setup_intents.retrieve(intent.id).status == "succeeded"
    method = client.customers.payment_methods.list(buyer.id).data[0]
    assert method.card.last4 == "3155"
    client.payment_methods.detach(method.id)
    assert types(fake)[-1] == "payment_method.detached"


@pytest.mark.parametrize("kind", ["500", "429", "disconnect_after"])
def test_faults_on_demand(fake, client, kind):
    fake.control.fault(kind, method="POST", path="/v1/customers")
    with pytest.raises(stripe.StripeError):
        client.customers.create({"name": "Acme"})
    assert len(client.customers.list().data) == (1 if kind == "disconnect_after" else 0)
    client.customers.create({"name": "Acme"})


def test_its_state_outlives_it(tmp_path):
    file = tmp_path / "state.json"
    store = Store(file=file)
    store.add("customer", {"name": "Acme"})
    store.turn_to(store.now() + 86_400)
    store.save()
    again = Store(file=file)
    assert [row["name"] for row in again.newest("customer")] == ["Acme"]
    assert abs(again.now() - store.now()) < 60


class Listener:
    """Keeps what is delivered to it."""

    def __init__(self) -> None:
        outer = self
        self.got: list[tuple[bytes, str]] = []
        self.status = 200

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((body, self.headers["Stripe-Signature"]))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ids(self) -> list[str]:
        return [json.loads(body)["id"] for body, _ in self.got]


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_events_are_signed_and_delivered(fake, client, listener):
    endpoint = client.webhook_endpoints.create({"url": listener.url, "enabled_events": ["*"]})
    client.customers.create({"name": "Acme"})
    fake.control.deliver()
    body, header = listener.got[0]
    event = stripe.Webhook.construct_event(body, header, endpoint.secret)
    assert (event.type, event.data.object.name) == ("customer.created", "Acme")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, header, "whsec_other")
    assert "secret" not in client.webhook_endpoints.retrieve(endpoint.id)


def test_a_delivery_that_failed_is_made_again(fake, client, listener):
    client.webhook_endpoints.create({"url": listener.url, "enabled_events": ["*"]})
    fake.control.pause_webhooks()
    listener.status = 500
    client.customers.create({"name": "Acme"})
    assert fake.control.deliver() == 1
    assert len(client.events.list({"delivery_success": False}).data) == 1
    listener.status = 200
    assert [fake.control.deliver(), fake.control.deliver()] == [1, 0]
    assert len(set(listener.ids())) == 1
    assert client.events.list({"delivery_success": False}).data == []


def test_deliveries_are_spoilt_on_demand(fake, client, listener):
    client.webhook_endpoints.create({"url": listener.url, "enabled_events": ["customer.created"]})
    fake.control.pause_webhooks()
    fake.control.drop_webhooks(1)
    fake.control.duplicate_webhooks(1)
    fake.control.reorder_webhooks(10)
    for number in range(6):
        client.customers.create({"name": str(number)})
    fake.control.deliver()
    ids = listener.ids()
    made = [event.id for event in client.events.list({"type": "customer.created"}).data][::-1]
    assert len(ids) == 6
    assert set(ids) == set(made[1:])
    assert ids.count(made[1]) == 2
    assert ids != sorted(ids, key=made.index)
    missed = client.events.list({"delivery_success": False})
    assert [event.id for event in missed.data] == [made[0]]
