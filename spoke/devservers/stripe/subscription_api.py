"""Subscriptions: what is asked for over HTTP."""

from typing import Any

from spoke.devservers.stripe import (
    coupons,
    forms,
    invoices,
    lines,
    subscriptions,
    tariffs,
    taxes,
)
from spoke.devservers.stripe.customers import alive
from spoke.devservers.stripe.errors import Refusal, invalid, missing
from spoke.devservers.stripe.routes import PAGING, matching, page, route
from spoke.devservers.stripe.store import Object, Store, listing, public

Params = dict[str, Any]
DAY = 86_400
SHARED = (
    "items metadata default_payment_method cancel_at_period_end trial_end proration_behavior"
    " payment_behavior description default_tax_rates automatic_tax off_session payment_settings"
    " trial_settings collection_method days_until_due billing_cycle_anchor discounts"
)
BEHAVIORS = ("allow_incomplete", "default_incomplete", "error_if_incomplete")
PRORATIONS = ("create_prorations", "always_invoice", "none")


@route("POST", "/v1/subscriptions", f"customer currency trial_period_days {SHARED}")
def subscribe(store: Store, params: Params) -> Object:
    """Refused unpaid where `error_if_incomplete` asks for that: then nothing is left of it."""
    customer = alive(store, forms.required(params, "customer"))
    behavior = params.get("payment_behavior", "allow_incomplete")
    if behavior not in BEHAVIORS:
        raise invalid(f"Invalid payment_behavior: {behavior}", "payment_behavior")
    prices = [
        (_price(store, item), forms.integer(item, "quantity", 1) or 1)
        for item in forms.required(params, "items")
    ]
    with store.attempt(customer["id"]):
        sub = _new(store, customer, params, prices)
        _first_payment(store, sub, customer, behavior)
    store.emit("customer.subscription.created", sub)
    return sub


def _first_payment(store: Store, sub: Object, customer: Object, behavior: str) -> None:
    trial = sub["status"] == "trialing"
    if not trial:
        _need_method(sub, customer, behavior)
    invoice = subscriptions.begin(store, sub)
    if trial:
        return
    if invoice["status"] == "paid":
        sub["status"] = "active"
    elif behavior == "default_incomplete":
        invoices.intent_of(store, invoice)
    else:
        status = invoices.collect(store, invoice, off_session=False)
        if status != "succeeded" and behavior == "error_if_incomplete":
            raise subscriptions.payment_refused(store, invoice, status)
        sub["status"] = "active" if status == "succeeded" else "incomplete"


def _price(store: Store, item: Params) -> Object:
    name = forms.required(item, "price")
    found = store.of("price").get(name)
    if found is None:
        raise missing("price", name, param="items[0][price]", status=400)
    if not found["active"] or not found["recurring"]:
        raise invalid("The price is inactive, or not recurring.", "items[0][price]")
    return found


def _need_method(sub: Object, customer: Object, behavior: str) -> None:
    has = sub["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    automatic = sub["collection_method"] == "charge_automatically"
    if automatic and not has and behavior != "default_incomplete":
        raise subscriptions.no_method()


def _new(
    store: Store, customer: Object, params: Params, prices: list[tuple[Object, int]]
) -> Object:
    method = forms.text(params, "default_payment_method")
    if method and store.get("payment_method", method)["customer"] != customer["id"]:
        raise invalid(
            "The customer does not have a payment method with this ID.",
            "default_payment_method",
            "resource_missing",
        )
    now = store.now()
    trial_end = _trial_end(store, params)
    sub = store.add(
        "subscription",
        {
            **subscriptions.EMPTY,
            "billing_cycle_anchor": trial_end or now,
            "cancel_at_period_end": forms.flag(params, "cancel_at_period_end"),
            "collection_method": params.get("collection_method", "charge_automatically"),
            "currency": str(params.get("currency") or prices[0][0]["currency"]).lower(),
            "customer": customer["id"],
            "days_until_due": forms.integer(params, "days_until_due"),
            "default_payment_method": method,
            "description": forms.text(params, "description"),
            "metadata": forms.metadata({}, params),
            "start_date": now,
            "status": "trialing" if trial_end else "incomplete",
            "trial_end": trial_end,
            "trial_start": now if trial_end else None,
            "_rates": [],
            "_warned": False,
        },
    )
    taxes.set_tax(store, sub, params)
    sub["trial_settings"] = _trial_settings(params, sub)
    sub["discounts"] = coupons.give(store, params, customer["id"], sub=sub["id"])
    rows = [subscriptions.item_of(store, sub, price, quantity) for price, quantity in prices]
    subscriptions.set_items(sub, rows)
    period = subscriptions.natural_period(sub, prices[0][0], now)
    subscriptions.set_period(sub, (now, trial_end) if trial_end else period)
    return sub


def _trial_settings(params: Params, sub: Object) -> Object:
    sent = (params.get("trial_settings") or {}).get("end_behavior") or {}
    before = sub["trial_settings"]["end_behavior"]["missing_payment_method"]
    chosen = sent.get("missing_payment_method", before)
    if chosen not in ("cancel", "create_invoice", "pause"):
        raise invalid(f"Invalid end_behavior: {chosen}", "trial_settings[end_behavior]")
    return {"end_behavior": {"missing_payment_method": chosen}}


def _trial_end(store: Store, params: Params) -> int | None:
    days = forms.integer(params, "trial_period_days", 0) or 0
    if days:
        return store.now() + days * DAY
    end = params.get("trial_end")
    return int(end) if end and end != "now" else None


@route("POST", "/v1/subscriptions/{}", f"cancel_at cancellation_details proration_date {SHARED}")
def change(store: Store, params: Params, name: str) -> Object:
    sub = store.get("subscription", name)
    if sub["status"] in ("canceled", "incomplete_expired"):
        raise Refusal("A canceled subscription can only update its cancellation_details and"
                      " metadata.", code="resource_missing")  # fmt: skip
    with store.attempt(sub["customer"]), store.changing(sub, "customer.subscription.updated"):
        _apply(store, sub, params)
    return sub


def _apply(store: Store, sub: Object, params: Params) -> None:
    if "cancel_at_period_end" in params:
        ends = forms.flag(params, "cancel_at_period_end")
        sub["cancel_at_period_end"] = ends
        sub["cancel_at"] = subscriptions.period_of(sub)[1] if ends else None
        sub["canceled_at"] = store.now() if ends else None
    if "default_payment_method" in params:
        sub["default_payment_method"] = forms.text(params, "default_payment_method")
    if "description" in params:
        sub["description"] = forms.text(params, "description")
    taxes.set_tax(store, sub, params)
    if "discounts" in params:
        sub["discounts"] = coupons.give(store, params, sub["customer"], sub=sub["id"])
    sub["trial_settings"] = _trial_settings(params, sub)
    sub["metadata"] = forms.metadata(sub["metadata"], params)
    if params.get("trial_end") == "now" and sub["status"] == "trialing":
        sub["trial_end"] = sub["billing_cycle_anchor"] = store.now()
        item = subscriptions.first_item(sub)
        subscriptions.set_period(sub, (item["current_period_start"], store.now()))
        subscriptions.renew(store, sub)
    elif params.get("trial_end") not in (None, "", "now"):
        _move_trial(store, sub, int(params["trial_end"]), params)
    if params.get("items"):
        _change_price(store, sub, params)
    elif params.get("billing_cycle_anchor") == "now":
        behavior = params.get("proration_behavior", "create_prorations")
        item = subscriptions.first_item(sub)
        _change_interval(store, sub, item, store.now(), behavior, strict=False)


def _move_trial(store: Store, sub: Object, end: int, params: Params) -> None:
    """A trial ends another time; without one, one begins, and what is left of the period is given back.

    In either case the months are counted from its end.
    """
    now = store.now()
    if end <= now:
        raise invalid("Invalid timestamp: must be in the future.", "trial_end")
    trialing = sub["status"] == "trialing"
    start = subscriptions.period_of(sub)[0] if trialing else now
    if not trialing and params.get("proration_behavior") != "none":
        subscriptions.unused(store, sub, now)
    sub.update(
        status="trialing",
        trial_start=sub["trial_start"] if trialing else now,
        trial_end=end,
        billing_cycle_anchor=end,
        _warned=False,
    )
    subscriptions.set_period(sub, (start, end))
    if not trialing:
        items = sub["items"]["data"]
        rows = [lines.of_item(store, sub, item, (start, end), True) for item in items]
        subscriptions.bill_now(store, sub, rows, strict=False)


def _change_price(store: Store, sub: Object, params: Params) -> None:
    sent = params["items"][0]
    behavior = params.get("proration_behavior", "create_prorations")
    if behavior not in PRORATIONS:
        raise invalid(f"Invalid proration_behavior: {behavior}", "proration_behavior")
    old = subscriptions.first_item(sub)
    if sent.get("id") not in (None, old["id"]):
        raise missing("subscription_item", sent["id"], param="items[0][id]")
    price = _price(store, sent) if sent.get("price") else store.get("price", old["price"]["id"])
    new = {
        **old,
        "plan": tariffs.plan_of(price),
        "price": public(price),
        "quantity": forms.integer(sent, "quantity", old["quantity"]),
    }
    at = forms.integer(params, "proration_date", store.now()) or store.now()
    strict = params.get("payment_behavior") == "error_if_incomplete"
    recurring = (old["price"]["recurring"]["interval"], price["recurring"]["interval"])
    if recurring[0] != recurring[1] and sub["status"] != "trialing":
        _change_interval(store, sub, new, at, behavior, strict=strict)
        return
    if behavior != "none" and sub["status"] in ("active", "past_due") and new != old:
        subscriptions.prorate(store, sub, old, new, at)
    subscriptions.set_items(sub, [new])
    if behavior == "always_invoice":
        subscriptions.bill_now(store, sub, [], strict=strict)


def _change_interval(
    store: Store, sub: Object, new: Object, at: int, behavior: str, *, strict: bool
) -> None:
    """A new interval begins a new period at once, which is billed at once."""
    if behavior != "none":
        subscriptions.unused(store, sub, at)
    sub["billing_cycle_anchor"] = at
    subscriptions.set_items(sub, [new])
    price = store.get("price", new["price"]["id"])
    period = subscriptions.natural_period(sub, price, at)
    subscriptions.set_period(sub, period)
    row = lines.of_item(store, sub, subscriptions.first_item(sub), period, False)
    subscriptions.bill_now(store, sub, [row], strict=strict)


@route("DELETE", "/v1/subscriptions/{}", "invoice_now prorate cancellation_details")
def cancel(store: Store, params: Params, name: str) -> Object:
    sub = store.get("subscription", name)
    if sub["status"] in ("canceled", "incomplete_expired"):
        raise missing("subscription", name)
    if forms.flag(params, "prorate") and sub["status"] in ("active", "past_due", "unpaid"):
        # Whether the period was paid for or not, as at Stripe.
        subscriptions.unused(store, sub, store.now())
    if forms.flag(params, "invoice_now"):
        subscriptions.bill_now(store, sub, [], strict=False)
    latest = store.of("invoice").get(sub["latest_invoice"] or "")
    if latest and latest["status"] == "open" and sub["status"] == "incomplete":
        invoices.close(store, latest, "void", "voided_at", "invoice.voided")
    subscriptions.end(store, sub, reason="cancellation_requested")
    return sub


@route("DELETE", "/v1/customers/{}")
def delete_customer(store: Store, params: Params, name: str) -> Object:
    """Whose subscriptions have ended with them."""
    found = alive(store, name)
    for sub in store.newest("subscription"):
        if sub["customer"] == name and sub["status"] in subscriptions.LIVE:
            subscriptions.end(store, sub, reason="cancellation_requested")
    found["deleted"] = True
    store.emit("customer.deleted", found)
    return {"id": name, "object": "customer", "deleted": True}


@route("POST", "/v1/subscriptions/{}/resume", "billing_cycle_anchor proration_behavior")
def resume(store: Store, params: Params, name: str) -> Object:
    """A paused subscription begins a period, and is active once that is paid."""
    sub = store.get("subscription", name)
    if sub["status"] != "paused":
        raise Refusal("Only paused subscriptions can be resumed.", code="resource_missing")
    with store.attempt(sub["customer"]), store.changing(sub, "customer.subscription.updated"):
        sub["billing_cycle_anchor"] = store.now()
        item = subscriptions.first_item(sub)
        price = store.get("price", item["price"]["id"])
        period = subscriptions.natural_period(sub, price, store.now())
        subscriptions.set_period(sub, period)
        rows = [lines.of_item(store, sub, each, period, False) for each in sub["items"]["data"]]
        subscriptions.bill_now(store, sub, rows, strict=False)
    return sub


@route("POST", "/v1/invoices/create_preview", "customer subscription subscription_details"
       " currency")  # fmt: skip
def preview(store: Store, params: Params) -> Object:
    """What a change would be billed: it is made, looked at, and taken back."""
    sub = store.get("subscription", forms.required(params, "subscription"))
    details = dict(params.get("subscription_details") or {})
    with store.attempt(sub["customer"], undo=True):
        if details.get("items"):
            _change_price(store, sub, {**details, "payment_behavior": "allow_incomplete"})
        if details.get("proration_behavior") == "always_invoice" and sub["latest_invoice"]:
            found = public(store.get("invoice", sub["latest_invoice"]))
        else:
            found = _next(store, sub)
    # A preview was neither finalized nor paid.
    found.update(status="draft", number=None, amount_paid=0, id=f"upcoming_{found['id']}")
    return {**found, "amount_remaining": found["amount_due"]}


def _next(store: Store, sub: Object) -> Object:
    subscriptions.renew(store, sub)
    return dict(public(store.get("invoice", sub["latest_invoice"])))


@route("GET", "/v1/subscriptions", f"{PAGING} customer status price created collection_method")
def list_subscriptions(store: Store, params: Params) -> Object:
    rows = matching(store.newest("subscription"), params, "customer created collection_method")
    status = params.get("status")
    if status == "ended":
        rows = [row for row in rows if row["status"] not in subscriptions.LIVE]
    elif status is None:
        rows = [row for row in rows if row["status"] not in ("canceled", "incomplete_expired")]
    elif status != "all":
        rows = [row for row in rows if row["status"] == status]
    return page(rows, params, "/v1/subscriptions")


@route("GET", "/v1/subscriptions/{}")
def read_subscription(store: Store, params: Params, name: str) -> Object:
    return store.get("subscription", name)


@route("GET", "/v1/subscription_items", f"{PAGING} subscription")
def list_items(store: Store, params: Params) -> Object:
    sub = store.get("subscription", forms.required(params, "subscription"))
    return listing(sub["items"]["data"], "/v1/subscription_items")
