"""Subscriptions: their lives, and their periods from the anchor on."""

from calendar import monthrange
from datetime import UTC, datetime
from fractions import Fraction

from spoke.devservers.stripe import invoices, lines, tariffs
from spoke.devservers.stripe.errors import Refusal
from spoke.devservers.stripe.store import Object, Store, listing, public

LIVE = ("trialing", "active", "past_due", "unpaid", "incomplete", "paused")
EMPTY: Object = {
    **dict.fromkeys(
        (
            *("application", "application_fee_percent", "billing_cycle_anchor_config"),
            *(
                "billing_schedules",
                "billing_thresholds",
                "cancel_at",
                "canceled_at",
                "customer_account",
            ),
            *("days_until_due", "default_payment_method", "default_source", "description"),
            *("ended_at", "latest_invoice", "next_pending_invoice_item_invoice"),
            *("on_behalf_of", "pause_collection", "pending_invoice_item_interval"),
            *("pending_setup_intent", "pending_update", "presentment_details", "schedule"),
            *("test_clock", "transfer_data", "trial_end", "trial_start", "managed_payments"),
        )
    ),
    "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
    "billing_mode": {"type": "classic", "flexible": None},
    "billing_schedules": [],
    "cancel_at_period_end": False,
    "cancellation_details": {"comment": None, "feedback": None, "reason": None},
    "collection_method": "charge_automatically",
    "default_tax_rates": [],
    "discounts": [],
    "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
    "payment_settings": {
        "payment_method_options": None,
        "payment_method_types": None,
        "save_default_payment_method": "off",
    },
    "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
}


def first_item(sub: Object) -> Object:
    """The item that says the period; Spoke's subscriptions have one."""
    item: Object = sub["items"]["data"][0]
    return item


def _after(anchor: datetime, months: int) -> datetime:
    """So many months after the anchor; on the last day of a month that is too short."""
    years, month = divmod(anchor.month - 1 + months, 12)
    year = anchor.year + years
    day = min(anchor.day, monthrange(year, month + 1)[1])
    return anchor.replace(year=year, month=month + 1, day=day)


def natural_period(sub: Object, price: Object, at: int) -> tuple[int, int]:
    """The month or year from the anchor on that contains a time."""
    recurring = price["recurring"]
    step = recurring["interval_count"] * (12 if recurring["interval"] == "year" else 1)
    anchor = datetime.fromtimestamp(sub["billing_cycle_anchor"], UTC)
    moment = datetime.fromtimestamp(at, UTC)
    months = (moment.year - anchor.year) * 12 + moment.month - anchor.month
    whole = months // step * step
    while _after(anchor, whole) > moment:
        whole -= step
    return int(_after(anchor, whole).timestamp()), int(_after(anchor, whole + step).timestamp())


def item_of(store: Store, sub: Object, price: Object, quantity: int) -> Object:
    """An item of a subscription."""
    return {
        "id": store.new_id("subscription_item"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": store.now(),
        "current_period_end": 0,
        "current_period_start": 0,
        "discounts": [],
        "metadata": {},
        "plan": tariffs.plan_of(price),
        "price": public(price),
        "quantity": quantity,
        "subscription": sub["id"],
        "tax_rates": [],
    }


def set_period(sub: Object, period: tuple[int, int]) -> None:
    """All items have the same period."""
    rows = [
        {**item, "current_period_start": period[0], "current_period_end": period[1]}
        for item in sub["items"]["data"]
    ]
    sub["items"] = {**sub["items"], "data": rows}


def period_of(sub: Object) -> tuple[int, int]:
    """The period under way."""
    item = first_item(sub)
    return item["current_period_start"], item["current_period_end"]


def set_items(sub: Object, rows: list[Object]) -> None:
    """Replaces the items."""
    url = f"/v1/subscription_items?subscription={sub['id']}"
    sub["items"] = {**listing(rows, url), "total_count": len(rows)}


def begin(store: Store, sub: Object) -> Object:
    """The first invoice: of the trial, for nothing, or of the first period."""
    customer = store.get("customer", sub["customer"])
    trial = sub["status"] == "trialing"
    period = period_of(sub)
    rows = [lines.of_item(store, sub, item, period, trial) for item in sub["items"]["data"]]
    made = invoices.draft(
        store,
        customer,
        reason="subscription_create",
        currency=sub["currency"],
        rows=rows,
        sub=sub,
        period=(store.now(), store.now()),
    )
    invoices.sweep(store, made, invoices.pending_items(store, customer["id"], sub["id"]))
    sub["latest_invoice"] = made["id"]
    customer["currency"] = customer["currency"] or sub["currency"]
    return invoices.finalize(store, made)


def prorate(store: Store, sub: Object, old: Object, new: Object, at: int) -> list[Object]:
    """The two waiting items of a change of price: unused time given back, remaining time charged."""
    start, end = period_of(sub)
    left = Fraction(end - at, end - start)
    name = store.get("product", old["price"]["product"])["name"]
    other = store.get("product", new["price"]["product"])["name"]
    day = f"{datetime.fromtimestamp(at, UTC):%d %b %Y}"
    return [
        _proration(
            store,
            sub,
            old,
            -_share(store, sub, old, left),
            f"Unused time on {name} after {day}",
            at,
        ),
        _proration(
            store,
            sub,
            new,
            _share(store, sub, new, left),
            f"Remaining time on {other} after {day}",
            at,
        ),
    ]


def _share(store: Store, sub: Object, item: Object, left: Fraction) -> int:
    price = store.get("price", item["price"]["id"])
    price = tariffs.in_currency(price, sub["currency"])
    return lines.half_up(tariffs.price_total(price, item["quantity"]) * left)


def unused(store: Store, sub: Object, at: int) -> list[Object]:
    """Waiting items that give back what is left of the period."""
    start, end = period_of(sub)
    left = Fraction(end - at, end - start)
    made = []
    for item in sub["items"]["data"]:
        name = store.get("product", item["price"]["product"])["name"]
        made.append(
            _proration(
                store, sub, item, -_share(store, sub, item, left), f"Unused time on {name}", at
            )
        )
    return made


def _proration(
    store: Store, sub: Object, item: Object, amount: int, described: str, at: int
) -> Object:
    made = store.add(
        "invoiceitem",
        {
            **invoices.item_members(sub["customer"], amount, sub["currency"]),
            "date": store.now(),
            "description": described,
            "invoice": None,
            "metadata": dict(sub["metadata"]),
            "period": {"start": at, "end": period_of(sub)[1]},
            "pricing": {
                "type": "price_details",
                "price_details": {
                    "price": item["price"]["id"],
                    "product": item["price"]["product"],
                },
                "unit_amount_decimal": item["price"]["unit_amount_decimal"],
            },
            "proration": True,
            "_subscription": sub["id"],
            "_tax_rates": sub["_rates"],
        },
    )
    store.emit("invoiceitem.created", made)
    return made


def bill_now(store: Store, sub: Object, rows: list[Object], *, strict: bool) -> Object | None:
    """An invoice of what waits, paid at once. `strict`: a payment that fails is refused."""
    customer = store.get("customer", sub["customer"])
    waiting = invoices.pending_items(store, customer["id"], sub["id"])
    if not waiting and not rows:
        return None
    made = invoices.draft(
        store,
        customer,
        reason="subscription_update",
        currency=sub["currency"],
        rows=rows,
        sub=sub,
    )
    invoices.sweep(store, made, waiting)
    sub["latest_invoice"] = made["id"]
    invoices.finalize(store, made)
    if made["status"] == "open" and sub["collection_method"] == "charge_automatically":
        status = invoices.collect(store, made, off_session=False)
        if strict and status != "succeeded":
            raise payment_refused(store, made, status)
    return made


def payment_refused(store: Store, invoice: Object, status: str) -> Refusal:
    """The error of a change that was not to be made unless it was paid."""
    if status == "requires_action":
        return Refusal(
            "The payment for this subscription requires additional user action.",
            status=402,
            kind="card_error",
            code="subscription_payment_intent_requires_action",
        )
    error = invoices.intent_of(store, invoice)["last_payment_error"]
    if error is None:
        return no_method()
    members = {key: value for key, value in error.items() if key not in ("type", "message")}
    return Refusal(error["message"], status=402, kind="card_error", **members)


def no_method() -> Refusal:
    """A customer with nothing to pay by."""
    return Refusal(
        "This customer has no attached payment source or default payment method.",
        code="resource_missing",
    )


def end(store: Store, sub: Object, *, reason: str, status: str = "canceled") -> None:
    """Over, now; nobody goes on collecting what is unpaid, or sends its drafts, as at Stripe."""
    now = store.now()
    for invoice in store.of("invoice").values():
        unsent = invoice["status"] == "draft" and invoice["_sub"] == sub["id"]
        unpaid = invoice["status"] == "open" and invoice["customer"] == sub["customer"]
        if unsent or unpaid:
            invoice.update(auto_advance=False, next_payment_attempt=None)
    sub.update(
        status=status,
        ended_at=now,
        canceled_at=sub["canceled_at"] or now,
        cancellation_details={**sub["cancellation_details"], "reason": reason},
    )
    if status == "incomplete_expired":
        store.emit("customer.subscription.updated", sub, {"status": "incomplete"})
    else:
        store.emit("customer.subscription.deleted", sub)


def renew(store: Store, sub: Object) -> None:
    """The next period begins: a draft that is finalized in an hour; a trial is over."""
    customer = store.get("customer", sub["customer"])
    ended = period_of(sub)
    trial = sub["status"] == "trialing"
    price = store.get("price", first_item(sub)["price"]["id"])
    with store.changing(sub, "customer.subscription.updated"):
        if trial:
            sub["status"] = "active"
        period = natural_period(sub, price, ended[1])
        set_period(sub, period)
        rows = [lines.of_item(store, sub, item, period, False) for item in sub["items"]["data"]]
        made = invoices.draft(
            store,
            customer,
            reason="subscription_cycle",
            currency=sub["currency"],
            rows=rows,
            sub=sub,
            period=ended,
            # An unpaid subscription goes on being billed, in drafts that nobody sends.
            auto_advance=sub["status"] != "unpaid",
            automatically_finalizes_at=store.now() + invoices.HOUR,
        )
        invoices.sweep(store, made, invoices.pending_items(store, customer["id"], sub["id"]))
        sub["latest_invoice"] = made["id"]
