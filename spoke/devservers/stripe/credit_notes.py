"""Credit notes: what is taken off an open invoice, or given back of a paid one."""

from typing import Any

from spoke.devservers.stripe import forms, invoices, payments
from spoke.devservers.stripe.errors import Refusal, invalid
from spoke.devservers.stripe.routes import lists, route
from spoke.devservers.stripe.store import Object, Store, listing

Params = dict[str, Any]
SPLITS = ("refund_amount", "credit_amount", "out_of_band_amount")


@route("POST", "/v1/credit_notes", "invoice amount credit_amount refund_amount out_of_band_amount"
       " reason memo metadata refunds email_type")  # fmt: skip
def make_note(store: Store, params: Params) -> Object:
    """Of a paid invoice the parts that go somewhere make up the amount, as at Stripe."""
    invoice = store.get("invoice", forms.required(params, "invoice"), param="invoice")
    amount = forms.integer(params, "amount", 0) or 0
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise Refusal("You can only create a credit note for an open or paid invoice.",
                      code="invoice_not_editable")  # fmt: skip
    paid = invoice["status"] == "paid"
    credited = sum(
        row["total"]
        for row in store.of("credit_note").values()
        if row["invoice"] == invoice["id"] and row["status"] == "issued"
    )
    most = invoice["total"] - credited if paid else invoice["amount_remaining"]
    if not 0 < amount <= most:
        raise invalid("The amount is more than there is to credit.", "amount")
    parts = {name: forms.integer(params, name, 0) or 0 for name in SPLITS}
    linked = _linked(store, params)
    given = sum(parts.values()) + sum(row["amount"] for row in linked)
    if given != (amount if paid else 0):
        raise Refusal(
            "The sum of refund_amount, credit_amount and out_of_band_amount must equal the amount"
            " credited after payment."
        )
    refunds = [*linked, *_refund(store, invoice, parts["refund_amount"])]
    made = store.add("credit_note", _members(store, invoice, params, amount, paid, refunds, parts))
    _take_off(store, invoice, made, amount, paid)
    store.emit("credit_note.created", made)
    if not paid and not invoice["amount_remaining"]:
        invoices.mark_paid(store, invoice, 0)
    return made


def _linked(store: Store, params: Params) -> list[Object]:
    """Refunds that were made before, and are of this note."""
    return [store.get("refund", row["refund"]) for row in params.get("refunds") or []]


def _refund(store: Store, invoice: Object, amount: int) -> list[Object]:
    if not amount:
        return []
    intents = [
        row["payment"]["payment_intent"] for row in invoice["_payments"] if row["status"] == "paid"
    ]
    if not intents:
        raise invalid("There is no charge to refund.", "refund_amount")
    return [payments.refund(store, {"payment_intent": intents[0], "amount": str(amount)})]


def _members(
    store: Store,
    invoice: Object,
    params: Params,
    amount: int,
    paid: bool,
    refunds: list[Object],
    parts: dict[str, int],
) -> Object:
    tax = sum(row["amount"] for row in invoice["total_taxes"])
    net = amount - (amount * tax * 2 + invoice["total"]) // (invoice["total"] * 2)
    number = 1 + sum(row["invoice"] == invoice["id"] for row in store.of("credit_note").values())
    return {
        "amount": amount,
        "amount_shipping": 0,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_account": None,
        "customer_balance_transaction": f"cbtxn_{store.sequence}"
        if parts["credit_amount"]
        else None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": store.now(),
        "invoice": invoice["id"],
        "lines": listing([], "/v1/credit_notes/lines"),
        "memo": forms.text(params, "memo"),
        "metadata": forms.metadata({}, params),
        "number": f"{invoice['number']}-CN-{number:02}",
        "out_of_band_amount": parts["out_of_band_amount"] or None,
        "pdf": "",
        "post_payment_amount": amount if paid else 0,
        "pre_payment_amount": 0 if paid else amount,
        "pretax_credit_amounts": [],
        "reason": forms.text(params, "reason"),
        "refunds": [
            {"amount_refunded": row["amount"], "refund": row["id"], "type": "refund"}
            for row in refunds
        ],
        "shipping_cost": None,
        "status": "issued",
        "subtotal": net,
        "subtotal_excluding_tax": net,
        "total": amount,
        "total_excluding_tax": net,
        "total_taxes": [],
        "type": "post_payment" if paid else "pre_payment",
        "voided_at": None,
        "_credit": parts["credit_amount"],
    }


def _take_off(store: Store, invoice: Object, note: Object, amount: int, paid: bool) -> None:
    with store.changing(invoice, "invoice.updated"):
        if paid:
            invoice["post_payment_credit_notes_amount"] += amount
        else:
            invoice["pre_payment_credit_notes_amount"] += amount
            invoice["amount_due"] -= amount
            invoice["amount_remaining"] -= amount
            for payment in invoice["_payments"]:
                intent = store.get("payment_intent", payment["payment"]["payment_intent"])
                intent["amount"] = payment["amount_requested"] = invoice["amount_due"]
    if note["_credit"]:
        customer = store.get("customer", invoice["customer"])
        with store.changing(customer, "customer.updated"):
            left = invoices.balance_in(customer, note["currency"]) - note["_credit"]
            invoices.set_balance(customer, note["currency"], left)


@route("POST", "/v1/credit_notes/{}/void")
def void_note(store: Store, params: Params, name: str) -> Object:
    """Only of an invoice that is still open, as at Stripe."""
    found = store.get("credit_note", name)
    invoice = store.get("invoice", found["invoice"])
    if found["status"] == "void" or invoice["status"] != "open":
        raise Refusal("You can only void a credit note of an open invoice.")
    found.update(status="void", voided_at=store.now())
    with store.changing(invoice, "invoice.updated"):
        invoice["pre_payment_credit_notes_amount"] -= found["total"]
        invoice["amount_due"] += found["total"]
        invoice["amount_remaining"] += found["total"]
    store.emit("credit_note.voided", found)
    return found


lists("credit_note", "/v1/credit_notes", "customer invoice created")
