"""Invoices and invoice items: what is asked for over HTTP."""

from typing import Any

from spoke.devservers.stripe import coupons, forms, invoices, lines
from spoke.devservers.stripe.customers import alive
from spoke.devservers.stripe.errors import Refusal, invalid
from spoke.devservers.stripe.routes import PAGING, lists, matching, page, route
from spoke.devservers.stripe.store import Object, Store, listing

Params = dict[str, Any]
INVOICE = (
    "customer collection_method days_until_due auto_advance currency default_payment_method metadata"
    " description footer number pending_invoice_items_behavior subscription due_date"
    " default_tax_rates automatic_tax custom_fields discounts"
)


@route("POST", "/v1/invoices", INVOICE)
def make_invoice(store: Store, params: Params) -> Object:
    customer = alive(store, forms.required(params, "customer"))
    sub = params.get("subscription") and store.get("subscription", params["subscription"])
    items = invoices.pending_items(store, customer["id"], sub["id"] if sub else None)
    if params.get("pending_invoice_items_behavior", "exclude") == "exclude":
        items = []
    number = forms.text(params, "number")
    if number and any(row["number"] == number for row in store.of("invoice").values()):
        raise invalid(f"An invoice has the number {number} already.", "number")
    made = invoices.draft(
        store,
        customer,
        reason="manual",
        currency=str(params.get("currency") or customer["currency"] or "usd").lower(),
        rows=[],
        number=number,
        sub=sub or None,
        collection_method=params.get("collection_method", "charge_automatically"),
        auto_advance=forms.flag(params, "auto_advance"),
        default_payment_method=forms.text(params, "default_payment_method"),
        description=forms.text(params, "description"),
        footer=forms.text(params, "footer"),
        metadata=forms.metadata({}, params),
        _rates=params.get("default_tax_rates") or [],
    )
    made["discounts"] += coupons.give(store, params, customer["id"], invoice=made["id"])
    if made["auto_advance"]:
        made["automatically_finalizes_at"] = store.now() + invoices.HOUR
    invoices.sweep(store, made, items)
    return made


@route("POST", "/v1/invoices/{}", "auto_advance metadata description footer number"
       " default_payment_method")  # fmt: skip
def change_invoice(store: Store, params: Params, name: str) -> Object:
    found = store.get("invoice", name)
    with store.changing(found, "invoice.updated"):
        found["metadata"] = forms.metadata(found["metadata"], params)
        found["auto_advance"] = forms.flag(params, "auto_advance", default=found["auto_advance"])
        for key in ("description", "footer", "number", "default_payment_method"):
            if key in params:
                found[key] = forms.text(params, key)
    return found


@route("POST", "/v1/invoices/{}/finalize", "auto_advance")
def finalize_invoice(store: Store, params: Params, name: str) -> Object:
    found = invoices.finalize(store, store.get("invoice", name))
    automatic = forms.flag(params, "auto_advance", default=found["auto_advance"])
    found["auto_advance"] = automatic and found["status"] == "open"
    if found["auto_advance"] and found["collection_method"] == "charge_automatically":
        found["next_payment_attempt"] = store.now() + invoices.HOUR
    return found


@route("POST", "/v1/invoices/{}/pay", "payment_method off_session paid_out_of_band")
def pay_invoice(store: Store, params: Params, name: str) -> Object:
    found = store.get("invoice", name)
    if found["status"] == "draft":
        invoices.finalize(store, found)
    if found["status"] not in ("open", "uncollectible"):
        raise Refusal(f"Invoice is already {found['status']}", code="invoice_not_payable")
    if forms.flag(params, "paid_out_of_band"):
        invoices.mark_paid(store, found, found["amount_due"])
        return found
    chosen = params.get("payment_method")
    method = store.get("payment_method", chosen, param="payment_method") if chosen else None
    off = forms.flag(params, "off_session", default=True)
    status = invoices.collect(store, found, off_session=off, method=method)
    if status != "succeeded":
        raise _refused(store, found, status)
    return found


def _refused(store: Store, invoice: Object, status: str) -> Refusal:
    if status == "requires_action":
        return Refusal(
            "This payment requires additional user action before it can be completed.",
            status=402,
            kind="card_error",
            code="invoice_payment_intent_requires_action",
        )
    error = invoices.intent_of(store, invoice)["last_payment_error"]
    if error is None:
        return Refusal("There is no payment method to pay the invoice by.", code="resource_missing")
    members = {key: value for key, value in error.items() if key not in ("type", "message")}
    return Refusal(error["message"], status=402, kind="card_error", **members)


@route("POST", "/v1/invoices/{}/void")
def void_invoice(store: Store, params: Params, name: str) -> Object:
    return invoices.close(store, store.get("invoice", name), "void", "voided_at", "invoice.voided")


@route("POST", "/v1/invoices/{}/mark_uncollectible")
def give_up_invoice(store: Store, params: Params, name: str) -> Object:
    return invoices.close(
        store,
        store.get("invoice", name),
        "uncollectible",
        "marked_uncollectible_at",
        "invoice.marked_uncollectible",
    )


@route("DELETE", "/v1/invoices/{}")
def delete_invoice(store: Store, params: Params, name: str) -> Object:
    found = store.get("invoice", name)
    if found["status"] != "draft":
        raise Refusal("You can only delete draft invoices.", code="invoice_not_editable")
    for item in store.of("invoiceitem").values():
        if item["invoice"] == name:
            item["invoice"] = None
    del store.of("invoice")[name]
    store.emit("invoice.deleted", found)
    return {"id": name, "object": "invoice", "deleted": True}


@route("GET", "/v1/invoices", f"{PAGING} customer status subscription created collection_method")
def list_invoices(store: Store, params: Params) -> Object:
    rows = matching(store.newest("invoice"), params, "customer status created collection_method")
    if params.get("subscription"):
        rows = [row for row in rows if row["_sub"] == params["subscription"]]
    return page(rows, params, "/v1/invoices")


@route("GET", "/v1/invoices/search", "query limit page")
def search_invoices(store: Store, params: Params) -> Object:
    """By one member of the metadata only: metadata['key']:'value'."""
    query = forms.required(params, "query")
    _, _, rest = query.partition("metadata['")
    key, _, value = rest.partition("']:'")
    value = value.rstrip("'")
    rows = [row for row in store.newest("invoice") if row["metadata"].get(key) == value]
    return {**listing(rows, "/v1/invoices/search"), "object": "search_result", "next_page": None}


@route("GET", "/v1/invoices/{}/lines", PAGING)
def invoice_lines(store: Store, params: Params, name: str) -> Object:
    rows = store.get("invoice", name)["lines"]["data"]
    return page(rows, params, f"/v1/invoices/{name}/lines")


@route("GET", "/v1/invoice_payments", f"{PAGING} invoice status payment")
def invoice_payments(store: Store, params: Params) -> Object:
    rows = [row for found in store.newest("invoice") for row in found["_payments"]]
    wanted = (params.get("payment") or {}).get("payment_intent")
    if wanted:
        rows = [row for row in rows if row["payment"]["payment_intent"] == wanted]
    return page(matching(rows, params, "invoice status"), params, "/v1/invoice_payments")


@route("POST", "/v1/invoiceitems", "customer amount currency description invoice metadata period"
       " price pricing quantity subscription tax_rates unit_amount_decimal discountable")  # fmt: skip
def make_item(store: Store, params: Params) -> Object:
    customer = alive(store, forms.required(params, "customer"))
    amount = forms.integer(params, "amount")
    if amount is None:
        raise Refusal("Missing required param: amount.", code="parameter_missing", param="amount")
    invoice = params.get("invoice") and store.get("invoice", params["invoice"], param="invoice")
    if invoice and invoice["status"] != "draft":
        raise Refusal("You can't add items to an invoice that is not a draft.",
                      code="invoice_not_editable")  # fmt: skip
    now = store.now()
    period = params.get("period") or {}
    made = store.add(
        "invoiceitem",
        {
            **invoices.item_members(
                customer["id"], amount, str(params.get("currency") or "usd").lower()
            ),
            "date": now,
            "description": forms.text(params, "description"),
            "discountable": forms.flag(params, "discountable", default=True),
            "invoice": invoice["id"] if invoice else None,
            "metadata": forms.metadata({}, params),
            "period": {
                "start": forms.integer(period, "start", now),
                "end": forms.integer(period, "end", now),
            },
            "_subscription": forms.text(params, "subscription"),
            "_tax_rates": params.get("tax_rates") or [],
        },
    )
    store.emit("invoiceitem.created", made)
    if invoice:
        with store.changing(invoice, "invoice.updated"):
            invoices.add_lines(store, invoice, [lines.of_invoice_item(store, made)])
    return made


@route("DELETE", "/v1/invoiceitems/{}")
def delete_item(store: Store, params: Params, name: str) -> Object:
    found = store.get("invoiceitem", name)
    if found["invoice"]:
        raise Refusal("This item is on an invoice.", code="invoice_not_editable")
    del store.of("invoiceitem")[name]
    store.emit("invoiceitem.deleted", found)
    return {"id": name, "object": "invoiceitem", "deleted": True}


@route("GET", "/v1/invoices/{}")
def read_invoice(store: Store, params: Params, name: str) -> Object:
    return store.get("invoice", name)


lists("invoiceitem", "/v1/invoiceitems", "customer invoice created")
