"""Invoices and invoice items: drafted, finalized, paid, voided."""

from typing import Any

from spoke.devservers.stripe import coupons, lines, payments, taxes
from spoke.devservers.stripe.errors import Refusal
from spoke.devservers.stripe.store import Object, Store, listing

HOUR, DAY = 3_600, 86_400
# After a failed payment; then the invoice stays open.
RETRIES = (3 * DAY, 5 * DAY, 7 * DAY)


def draft(
    store: Store,
    customer: Object,
    *,
    reason: str,
    currency: str,
    rows: list[Object],
    sub: Object | None = None,
    period: tuple[int, int] | None = None,
    **members: Any,
) -> Object:
    """A draft of these lines. `sub`: the subscription that it is for."""
    now = store.now()
    start, end = period or (now, now)
    parent = sub and {
        "quote_details": None,
        "subscription_details": {"metadata": dict(sub["metadata"]), "subscription": sub["id"]},
        "type": "subscription_details",
    }
    made = store.add(
        "invoice",
        {
            **EMPTY,
            "auto_advance": True,
            "billing_reason": reason,
            "collection_method": sub["collection_method"] if sub else "charge_automatically",
            "currency": currency,
            "customer": customer["id"],
            "customer_address": customer["address"],
            "customer_email": customer["email"],
            "customer_name": customer["name"],
            "customer_tax_exempt": customer["tax_exempt"],
            "customer_tax_ids": [
                {"type": row["type"], "value": row["value"]}
                for row in store.newest("tax_id")
                if row["customer"] == customer["id"]
            ],
            "discounts": coupons.for_invoice(store, sub) if sub else [],
            "issuer": {"type": "self"},
            "metadata": {},
            "parent": parent,
            "period_end": end,
            "period_start": start,
            "status_transitions": dict.fromkeys(
                ("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")
            ),
            "_payments": [],
            "_rates": taxes.rates_for(store, customer, sub),
            "_sub": sub["id"] if sub else None,
            **members,
        },
    )
    made["lines"] = listing([], f"/v1/invoices/{made['id']}/lines")
    add_lines(store, made, rows)
    store.emit("invoice.created", made)
    return made


EMPTY: Object = {
    **dict.fromkeys(
        (
            *("account_country", "account_name", "account_tax_ids", "application"),
            *("automatically_finalizes_at", "confirmation_secret", "custom_fields"),
            *("customer_account", "customer_phone", "customer_shipping", "default_payment_method"),
            *("default_source", "description", "due_date", "effective_at", "ending_balance"),
            *("footer", "from_invoice", "hosted_invoice_url", "invoice_pdf"),
            *("last_finalization_error", "latest_revision", "next_payment_attempt", "number"),
            *("on_behalf_of", "payments", "receipt_number", "rendering", "shipping_cost"),
            *("shipping_details", "statement_descriptor", "test_clock", "webhooks_delivered_at"),
        )
    ),
    **dict.fromkeys(
        (
            *("amount_due", "amount_overpaid", "amount_paid", "amount_remaining"),
            *("amount_shipping", "attempt_count", "post_payment_credit_notes_amount"),
            *("pre_payment_credit_notes_amount", "starting_balance", "subtotal"),
            *("subtotal_excluding_tax", "total", "total_excluding_tax"),
        ),
        0,
    ),
    "attempted": False,
    "automatic_tax": {
        "disabled_reason": None,
        "enabled": False,
        "liability": None,
        "provider": None,
        "status": None,
    },
    "default_tax_rates": [],
    "discounts": [],
    "payment_settings": {
        "default_mandate": None,
        "payment_method_options": None,
        "payment_method_types": None,
    },
    "status": "draft",
    "total_discount_amounts": [],
    "total_pretax_credit_amounts": [],
    "total_taxes": [],
}


def add_lines(store: Store, invoice: Object, rows: list[Object]) -> None:
    """Adds lines to a draft and sums it anew."""
    for row in rows:
        row["invoice"] = invoice["id"]
    data = [*invoice["lines"]["data"], *rows]
    invoice["lines"] = {**invoice["lines"], "data": data, "total_count": len(data)}
    subtotal = sum(row["amount"] for row in data)
    off, discounts = coupons.apply(store, data, invoice["discounts"])
    free = taxes.exempt(store.get("customer", invoice["customer"]))
    added, taxed = lines.tax(store, [] if free else data, invoice["_rates"])
    total = subtotal - off + added
    due = max(0, total + _balance(store, invoice))
    net = total - sum(row["amount"] for row in taxed)
    invoice.update(
        subtotal=subtotal,
        subtotal_excluding_tax=net + off,
        total=total,
        total_excluding_tax=net,
        total_discount_amounts=discounts,
        total_taxes=taxed,
        amount_due=due,
        amount_remaining=due,
    )


def _balance(store: Store, invoice: Object) -> int:
    return balance_in(store.get("customer", invoice["customer"]), invoice["currency"])


def balance_in(customer: Object, currency: str) -> int:
    """A customer's balance in one currency, in minor units; below 0 it is a credit."""
    if customer["currency"] in (None, currency):
        return int(customer["balance"])
    return int(customer["invoice_credit_balance"].get(currency, 0))


def set_balance(customer: Object, currency: str, minor: int) -> None:
    """What is owed in one currency never pays for another."""
    if customer["currency"] in (None, currency):
        customer.update(balance=minor, currency=currency if minor else customer["currency"])
        return
    customer["invoice_credit_balance"] = {**customer["invoice_credit_balance"], currency: minor}


def pending_items(store: Store, customer: str, sub: str | None) -> list[Object]:
    """Invoice items that wait for an invoice of this subscription, oldest first."""
    waiting = [
        row
        for row in store.newest("invoiceitem")
        if row["customer"] == customer
        and row["invoice"] is None
        and row["_subscription"] in (None, sub)
    ]
    return waiting[::-1]


def sweep(store: Store, invoice: Object, items: list[Object]) -> None:
    """Puts waiting items on a draft."""
    for item in items:
        item["invoice"] = invoice["id"]
    add_lines(store, invoice, [lines.of_invoice_item(store, item) for item in items])


def finalize(store: Store, invoice: Object) -> Object:
    """Numbered and open; what has nothing to pay is paid."""
    if invoice["status"] != "draft":
        raise Refusal("This invoice is already finalized, you can't re-finalize it.",
                      code="invoice_not_editable")  # fmt: skip
    customer = store.get("customer", invoice["customer"])
    if invoice["number"] is None:
        invoice["number"] = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}"
        customer["next_invoice_sequence"] += 1
    with store.changing(customer, "customer.updated"):
        invoice["starting_balance"] = _balance(store, invoice)
        wanted = invoice["total"] + invoice["starting_balance"]
        invoice["ending_balance"] = min(0, wanted)
        set_balance(customer, invoice["currency"], invoice["ending_balance"])
    due = max(0, wanted)
    invoice.update(
        status="open",
        amount_due=due,
        amount_remaining=due,
        effective_at=store.now(),
        automatically_finalizes_at=None,
        hosted_invoice_url=f"{store.base_url}/invoice/{invoice['id']}",
    )
    invoice["status_transitions"]["finalized_at"] = store.now()
    store.emit("invoice.finalized", invoice)
    if not due:
        mark_paid(store, invoice, 0)
    return invoice


def mark_paid(store: Store, invoice: Object, paid: int) -> None:
    """The invoice is paid; its subscription is told."""
    invoice.update(
        status="paid",
        amount_paid=paid,
        amount_remaining=0,
        attempted=True,
        auto_advance=False,
        next_payment_attempt=None,
    )
    invoice["status_transitions"]["paid_at"] = store.now()
    for payment in invoice["_payments"]:
        payment.update(status="paid", amount_paid=paid)
    store.emit("invoice.paid", invoice)
    store.emit("invoice.payment_succeeded", invoice)
    _tell_subscription(store, invoice)


def _tell_subscription(store: Store, invoice: Object) -> None:
    """A subscription that waits for this payment goes on."""
    if not invoice["_sub"]:
        return
    sub = store.get("subscription", invoice["_sub"])
    before = sub["status"]
    waits = before in ("incomplete", "past_due", "unpaid", "paused")
    if waits and _decides(store, sub) == invoice["id"]:
        with store.changing(sub, "customer.subscription.updated"):
            sub["status"] = "active"
        if before == "paused":
            store.emit("customer.subscription.resumed", sub)
        with store.changing(store.get("customer", sub["customer"]), "customer.updated"):
            store.get("customer", sub["customer"])["delinquent"] = False


def _decides(store: Store, sub: Object) -> str | None:
    """The invoice that a subscription's status depends on: the latest that is not void."""
    for row in store.newest("invoice"):
        if row["_sub"] == sub["id"] and row["status"] != "void":
            return str(row["id"])
    return None


def method_for(store: Store, invoice: Object) -> Object | None:
    """How an invoice is paid: its own method, its subscription's, the customer's."""
    customer = store.get("customer", invoice["customer"])
    sub = store.of("subscription").get(invoice["_sub"] or "")
    for name in (
        invoice["default_payment_method"],
        sub and sub["default_payment_method"],
        customer["invoice_settings"]["default_payment_method"],
    ):
        if name:
            return store.get("payment_method", name)
    return None


def intent_of(store: Store, invoice: Object) -> Object:
    """The intent that pays an invoice, made where there is none."""
    if invoice["_payments"]:
        return store.get("payment_intent", invoice["_payments"][0]["payment"]["payment_intent"])
    intent = payments.make_intent(
        store,
        amount=invoice["amount_due"],
        currency=invoice["currency"],
        customer=invoice["customer"],
        invoice=invoice["id"],
        why=f"Invoice {invoice['number']}",
    )
    payment = {
        "id": store.new_id("invoice_payment"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": invoice["amount_due"],
        "created": store.now(),
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
    invoice["_payments"] = [payment]
    return intent


def collect(
    store: Store, invoice: Object, *, off_session: bool, method: Object | None = None
) -> str:
    """Tries to pay an open invoice. Returns its intent's status."""
    intent = intent_of(store, invoice)
    invoice["attempted"] = True
    invoice["attempt_count"] += 1
    chosen = method or method_for(store, invoice)
    if chosen is None:
        status = "requires_payment_method"
    else:
        status = payments.confirm(store, intent, chosen, off_session=off_session)
    if status == "succeeded":
        mark_paid(store, invoice, invoice["amount_due"])
    elif status == "requires_action":
        store.emit("invoice.payment_action_required", invoice)
    else:
        _failed(store, invoice)
    return status


def _failed(store: Store, invoice: Object) -> None:
    tried = invoice["attempt_count"]
    again = tried <= len(RETRIES) and invoice["billing_reason"] != "subscription_create"
    invoice["next_payment_attempt"] = store.now() + RETRIES[tried - 1] if again else None
    store.emit("invoice.payment_failed", invoice)
    sub = store.of("subscription").get(invoice["_sub"] or "")
    if sub and sub["status"] in ("active", "trialing"):
        with store.changing(sub, "customer.subscription.updated"):
            sub["status"] = "past_due"
        customer = store.get("customer", sub["customer"])
        with store.changing(customer, "customer.updated"):
            customer["delinquent"] = True


def close(store: Store, invoice: Object, status: str, stamp: str, event: str) -> Object:
    """An open invoice is given up."""
    if invoice["status"] not in ("open", "uncollectible"):
        raise Refusal(f"You can only do this to open invoices; this is {invoice['status']}.",
                      code="invoice_not_editable")  # fmt: skip
    invoice.update(status=status, auto_advance=False, next_payment_attempt=None)
    invoice["status_transitions"][stamp] = store.now()
    store.emit(event, invoice)
    if status == "uncollectible":
        # Written off, it keeps no subscription past due, as at Stripe.
        _tell_subscription(store, invoice)
    else:
        _tell_of_void(store, invoice)
    return invoice


def _tell_of_void(store: Store, invoice: Object) -> None:
    """What is void decides nothing: the one before it does, if it is settled."""
    sub = store.of("subscription").get(invoice["_sub"] or "")
    if sub is None or sub["status"] not in ("past_due", "unpaid"):
        return
    before = store.of("invoice").get(_decides(store, sub) or "")
    if before is not None and before["status"] in ("paid", "uncollectible"):
        _tell_subscription(store, before)


def item_members(customer: str, amount: int, currency: str) -> Object:
    """What all invoice items have."""
    return {
        "amount": amount,
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "discountable": True,
        "discounts": [],
        "net_amount": amount,
        "parent": None,
        "pricing": None,
        "proration": False,
        "proration_details": None,
        "quantity": 1,
        "quantity_decimal": "1",
        "tax_rates": [],
        "test_clock": None,
        "_tax_rates": [],
    }
