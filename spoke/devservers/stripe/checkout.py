"""Checkout and the customer portal: sessions, and what a click on their pages does."""

from typing import Any

from spoke.devservers.stripe import blanks, customers, forms, invoices, payments, subscription_api
from spoke.devservers.stripe.cards import NUMBERS
from spoke.devservers.stripe.errors import Refusal
from spoke.devservers.stripe.routes import empty, lists, route
from spoke.devservers.stripe.store import Object, Store

Params = dict[str, Any]
DAY = 86_400
# Of the subscription's data.
TAKEN = ("metadata", "trial_period_days", "default_tax_rates")
SESSION = (
    "customer mode line_items success_url cancel_url subscription_data setup_intent_data metadata"
    " client_reference_id currency payment_method_types allow_promotion_codes"
    " payment_method_collection automatic_tax billing_address_collection tax_id_collection"
    " customer_update locale"
)


@route("POST", "/v1/checkout/sessions", SESSION)
def make_session(store: Store, params: Params) -> Object:
    mode = forms.required(params, "mode")
    customer = params.get("customer") and customers.alive(store, params["customer"])["id"]
    name = store.new_id("checkout.session")
    return store.add(
        "checkout.session",
        {
            **blanks.CHECKOUT,
            "id": name,
            "automatic_tax": {
                "enabled": forms.flag(params.get("automatic_tax") or {}, "enabled"),
                "liability": None,
                "provider": None,
                "status": None,
            },
            "cancel_url": forms.text(params, "cancel_url"),
            "client_reference_id": forms.text(params, "client_reference_id"),
            "client_secret": None,
            "custom_fields": [],
            "custom_text": dict(blanks.CUSTOM_TEXT),
            "customer": customer,
            "expires_at": store.now() + DAY,
            "metadata": forms.metadata({}, params),
            "mode": mode,
            "payment_method_options": {},
            "payment_method_types": ["card"],
            "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
            "shipping_options": [],
            "status": "open",
            "success_url": forms.text(params, "success_url"),
            "url": f"{store.base_url}/checkout/{name}",
            "_items": params.get("line_items") or [],
            "_subscription": params.get("subscription_data") or {},
        },
    )


def pay(store: Store, session: Object, number: str) -> Object:
    """What the page does: the card is attached, and subscribed with or set up. Raises Refusal."""
    if session["status"] != "open":
        raise Refusal("This session is over.")
    customer = customers.alive(store, session["customer"])
    card = NUMBERS.get(number.replace(" ", ""))
    if card is None:
        raise Refusal("Your card number is incorrect.", status=402, kind="card_error")
    method = customers.attach(store, customers.method_from(store, card, None, {})["id"], customer)
    if session["mode"] == "subscription":
        _subscribe(store, session, method)
    else:
        made = customers.make_setup(store, {"customer": customer["id"]})
        customers.confirm_setup(store, {"payment_method": method["id"]}, made["id"])
        session["setup_intent"] = made["id"]
    session["status"] = "complete"
    store.emit("checkout.session.completed", session)
    return session


def _subscribe(store: Store, session: Object, method: Object) -> None:
    data = session["_subscription"]
    sub = subscription_api.subscribe(
        store,
        {
            "customer": session["customer"],
            "items": session["_items"],
            "default_payment_method": method["id"],
            "payment_behavior": "allow_incomplete",
            **{key: data[key] for key in TAKEN if key in data},
            "automatic_tax": {"enabled": str(session["automatic_tax"]["enabled"]).lower()},
        },
    )
    invoice = store.get("invoice", sub["latest_invoice"])
    if sub["status"] == "incomplete":
        intent = invoices.intent_of(store, invoice)
        if intent["status"] == "requires_action":
            # The page asks the bank at once, and the bank says yes.
            payments.complete_payment(store, intent, ok=True)
            invoices.mark_paid(store, invoice, invoice["amount_due"])
    if sub["status"] == "incomplete":
        subscription_api.cancel(store, {}, sub["id"])
        raise Refusal("Your card was declined.", status=402, kind="card_error")
    session.update(
        subscription=sub["id"],
        invoice=invoice["id"],
        payment_status="paid",
        amount_total=invoice["total"],
        currency=sub["currency"],
    )


@route("POST", "/v1/checkout/sessions/{}/expire")
def expire(store: Store, params: Params, name: str) -> Object:
    found = store.get("checkout.session", name)
    found["status"] = "expired"
    store.emit("checkout.session.expired", found)
    return found


@route("POST", "/v1/billing_portal/sessions", "customer return_url configuration flow_data locale")
def make_portal(store: Store, params: Params) -> Object:
    customer = customers.alive(store, forms.required(params, "customer"))
    name = store.new_id("billing_portal.session")
    return store.add(
        "billing_portal.session",
        {
            "id": name,
            "configuration": "bpc_fake",
            "customer": customer["id"],
            "customer_account": None,
            "flow": None,
            "locale": None,
            "on_behalf_of": None,
            "return_url": forms.text(params, "return_url"),
            "url": f"{store.base_url}/portal/{name}",
        },
    )


lists("checkout.session", "/v1/checkout/sessions", "customer subscription status created")
empty("/v1/billing_portal/configurations")
