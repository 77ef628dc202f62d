"""Customers, how they pay, and the intents that set that up."""

from typing import Any

from spoke.devservers.stripe import blanks, forms, tax_ids
from spoke.devservers.stripe.cards import NUMBERS, TOKENS, Card
from spoke.devservers.stripe.errors import Refusal, declined, invalid
from spoke.devservers.stripe.routes import PAGING, lists, page, route
from spoke.devservers.stripe.store import Object, Store, listing

Params = dict[str, Any]
CUSTOMER = (
    "address balance description email invoice_prefix invoice_settings metadata name phone"
    " preferred_locales tax tax_exempt tax_id_data payment_method"
)
TEXTS = ("description", "email", "name", "phone", "tax_exempt")


@route("POST", "/v1/customers", CUSTOMER)
def make_customer(store: Store, params: Params) -> Object:
    made = store.add(
        "customer",
        {
            "address": _address(params),
            "balance": forms.integer(params, "balance", 0),
            "cash_balance": None,
            "currency": None,
            "default_source": None,
            "delinquent": False,
            "description": forms.text(params, "description"),
            "discount": None,
            "email": forms.text(params, "email"),
            "invoice_credit_balance": {},
            "invoice_prefix": f"{store.sequence + 1:08X}",
            "invoice_settings": {
                "custom_fields": None,
                "default_payment_method": None,
                "footer": None,
                "rendering_options": None,
            },
            "metadata": forms.metadata({}, params),
            "name": forms.text(params, "name"),
            "next_invoice_sequence": 1,
            "phone": forms.text(params, "phone"),
            "preferred_locales": [],
            "shipping": None,
            "tax_exempt": params.get("tax_exempt", "none"),
            "test_clock": None,
            "_broken": False,
        },
    )
    for sent in params.get("tax_id_data") or []:
        tax_ids.add(store, made, sent)
    if params.get("payment_method"):
        attach(store, params["payment_method"], made)
    _default(store, made, params)
    store.emit("customer.created", made)
    return made


def _address(params: Params) -> Object | None:
    sent = params.get("address")
    return {**blanks.ADDRESS, **sent} if sent else None


@route("POST", "/v1/customers/{}", CUSTOMER)
def change_customer(store: Store, params: Params, name: str) -> Object:
    found = alive(store, name)
    with store.changing(found, "customer.updated"):
        for key in TEXTS:
            if key in params:
                found[key] = forms.text(params, key)
        if "address" in params:
            found["address"] = _address(params)
        found["balance"] = forms.integer(params, "balance", found["balance"])
        found["metadata"] = forms.metadata(found["metadata"], params)
        _default(store, found, params)
    return found


def alive(store: Store, name: Any, param: str = "customer") -> Object:
    """A customer that is not deleted."""
    return store.alive(name, param)


def _default(store: Store, customer: Object, params: Params) -> None:
    settings = params.get("invoice_settings") or {}
    if "default_payment_method" not in settings:
        return
    name = settings["default_payment_method"] or None
    if name is not None:
        method = store.get("payment_method", name, param="invoice_settings[default_payment_method]")
        if method["customer"] != customer["id"]:
            raise invalid(
                "The customer does not have a payment method with this ID.",
                "invoice_settings[default_payment_method]",
                "resource_missing",
            )
    customer["invoice_settings"] = {
        **customer["invoice_settings"],
        "default_payment_method": name,
    }


@route("GET", "/v1/customers/{}")
def read_customer(store: Store, params: Params, name: str) -> Object:
    found = store.get("customer", name)
    if found.get("deleted"):
        return {"id": name, "object": "customer", "deleted": True}
    return found


@route("GET", "/v1/customers", f"{PAGING} email created")
def list_customers(store: Store, params: Params) -> Object:
    rows = [row for row in store.newest("customer") if not row.get("deleted")]
    if params.get("email"):
        rows = [row for row in rows if row["email"] == params["email"]]
    return page(rows, params, "/v1/customers")


@route("GET", "/v1/customers/{}/sources", f"{PAGING} object")
def sources(store: Store, params: Params, name: str) -> Object:
    return listing([], f"/v1/customers/{name}/sources")


# --- payment methods -------------------------------------------------------------------------


def method_from(store: Store, card: Card, customer: str | None, details: Params) -> Object:
    """A payment method of a card."""
    return store.add(
        "payment_method",
        {
            "allow_redisplay": "unspecified",
            "billing_details": {
                "address": dict(blanks.ADDRESS),
                "email": None,
                "name": None,
                "phone": None,
                "tax_id": None,
            },
            "card": {
                "brand": card.brand,
                "checks": {
                    "address_line1_check": None,
                    "address_postal_code_check": None,
                    "cvc_check": "pass",
                },
                "country": "US",
                "display_brand": card.brand,
                "exp_month": forms.integer(details, "exp_month", 12),
                "exp_year": forms.integer(details, "exp_year", store.moment().year + 3),
                "fingerprint": f"fake{card.number[-12:]}",
                "funding": "credit",
                "generated_from": None,
                "last4": card.number[-4:],
                "networks": {"available": [card.brand], "preferred": None},
                "regulated_status": "unregulated",
                "three_d_secure_usage": {"supported": True},
                "wallet": None,
            },
            "customer": customer,
            "customer_account": None,
            "metadata": {},
            "type": "card",
            "_number": card.number,
            "_authenticated": False,
        },
    )


@route("POST", "/v1/payment_methods", "type card billing_details metadata")
def make_method(store: Store, params: Params) -> Object:
    details = params.get("card") or {}
    number = str(forms.required(details, "number"))
    card = NUMBERS.get(number.replace(" ", ""))
    if card is None:
        raise Refusal(
            "Your card number is incorrect.", status=402, kind="card_error", code="incorrect_number"
        )
    return method_from(store, card, None, details)


def attach(store: Store, name: str, customer: Object) -> Object:
    """Attaches a payment method, made of a test token where it is one. Raises Refusal."""
    if name in TOKENS:
        found = method_from(store, TOKENS[name], None, {})
    else:
        found = store.get("payment_method", name, param="payment_method")
    if found["customer"] not in (None, customer["id"]):
        raise Refusal(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    reason = NUMBERS[found["_number"]].attach
    if reason:
        del store.of("payment_method")[found["id"]]
        raise declined(reason, param="payment_method")
    if found["customer"] is None:
        found["customer"] = customer["id"]
        store.emit("payment_method.attached", found)
    return found


@route("POST", "/v1/payment_methods/{}/attach", "customer")
def attach_method(store: Store, params: Params, name: str) -> Object:
    return attach(store, name, alive(store, forms.required(params, "customer")))


@route("POST", "/v1/payment_methods/{}/detach")
def detach_method(store: Store, params: Params, name: str) -> Object:
    found = store.get("payment_method", name)
    if found["customer"] is None:
        raise Refusal("The payment method you provided is not attached to a customer.")
    customer = store.get("customer", found["customer"])
    found["customer"] = None
    store.emit("payment_method.detached", found, {"customer": customer["id"]})
    if customer["invoice_settings"]["default_payment_method"] == name:
        with store.changing(customer, "customer.updated"):
            customer["invoice_settings"] = {
                **customer["invoice_settings"],
                "default_payment_method": None,
            }
    for sub in store.of("subscription").values():
        if sub["default_payment_method"] == name:
            sub["default_payment_method"] = None
    return found


@route("POST", "/v1/payment_methods/{}", "card billing_details metadata allow_redisplay")
def change_method(store: Store, params: Params, name: str) -> Object:
    found = store.get("payment_method", name)
    with store.changing(found, "payment_method.updated"):
        card = params.get("card") or {}
        found["card"] = {
            **found["card"],
            "exp_month": forms.integer(card, "exp_month", found["card"]["exp_month"]),
            "exp_year": forms.integer(card, "exp_year", found["card"]["exp_year"]),
        }
        found["metadata"] = forms.metadata(found["metadata"], params)
    return found


def _methods_of(store: Store, customer: str) -> list[Object]:
    return [row for row in store.newest("payment_method") if row["customer"] == customer]


@route("GET", "/v1/payment_methods", f"{PAGING} customer type")
def list_methods(store: Store, params: Params) -> Object:
    rows = _methods_of(store, params["customer"]) if params.get("customer") else []
    return page(rows, params, "/v1/payment_methods")


@route("GET", "/v1/customers/{}/payment_methods", f"{PAGING} type")
def list_methods_of(store: Store, params: Params, name: str) -> Object:
    url = f"/v1/customers/{name}/payment_methods"
    return page(_methods_of(store, name), params, url)


@route("GET", "/v1/payment_methods/{}")
def read_method(store: Store, params: Params, name: str) -> Object:
    return store.get("payment_method", name)


@route("GET", "/v1/customers/{}/payment_methods/{}")
def read_method_of(store: Store, params: Params, customer: str, name: str) -> Object:
    return store.get("payment_method", name)


# --- setup intents ---------------------------------------------------------------------------


@route("POST", "/v1/setup_intents", "customer payment_method payment_method_types usage confirm"
       " metadata automatic_payment_methods description return_url")  # fmt: skip
def make_setup(store: Store, params: Params) -> Object:
    name = store.new_id("setup_intent")
    made = store.add(
        "setup_intent",
        {
            "id": name,
            "application": None,
            "automatic_payment_methods": None,
            "cancellation_reason": None,
            "client_secret": f"{name}_secret_{name[-8:]}",
            "customer": params.get("customer") and alive(store, params["customer"])["id"],
            "customer_account": None,
            "description": forms.text(params, "description"),
            "excluded_payment_method_types": None,
            "flow_directions": None,
            "last_setup_error": None,
            "latest_attempt": None,
            "mandate": None,
            "metadata": forms.metadata({}, params),
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": None,
            "payment_method_types": ["card"],
            "single_use_mandate": None,
            "status": "requires_payment_method",
            "usage": params.get("usage", "off_session"),
        },
    )
    store.emit("setup_intent.created", made)
    if forms.flag(params, "confirm"):
        confirm_setup(store, {"payment_method": params.get("payment_method")}, name)
    return made


@route("POST", "/v1/setup_intents/{}/confirm", "payment_method return_url")
def confirm_setup(store: Store, params: Params, name: str) -> Object:
    """Attaches what was chosen; a card that asks for 3-D Secure waits for it."""
    found = store.get("setup_intent", name)
    customer = alive(store, found["customer"])
    method = attach(store, forms.required(params, "payment_method"), customer)
    found["payment_method"] = method["id"]
    if NUMBERS[method["_number"]].secure and not method["_authenticated"]:
        found["status"] = "requires_action"
        found["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
        store.emit("setup_intent.requires_action", found)
        return found
    return complete_setup(store, found, ok=True)


def complete_setup(store: Store, intent: Object, *, ok: bool) -> Object:
    """What the customer's bank said of a setup."""
    intent["next_action"] = None
    if ok:
        intent["status"] = "succeeded"
        store.get("payment_method", intent["payment_method"])["_authenticated"] = True
        store.emit("setup_intent.succeeded", intent)
    else:
        intent["status"], intent["payment_method"] = "requires_payment_method", None
        intent["last_setup_error"] = {
            "code": "setup_intent_authentication_failure",
            "message": "The provided payment method has failed authentication.",
            "type": "card_error",
        }
        store.emit("setup_intent.setup_failed", intent)
    return intent


lists("setup_intent", "/v1/setup_intents", "customer created")
