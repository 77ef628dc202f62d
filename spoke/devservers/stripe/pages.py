"""Pages to click on: Checkout, the portal, and an index with the clock."""

from html import escape
from typing import Any
from urllib.parse import quote

from spoke.devservers.stripe import (
    checkout,
    customers,
    invoices,
    payments,
    schedule,
    subscription_api,
)
from spoke.devservers.stripe.cards import NUMBERS
from spoke.devservers.stripe.errors import Refusal
from spoke.devservers.stripe.store import Object, Store

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;"
    "color:#1a1f36}button,input{font:inherit;padding:.5rem .8rem;border-radius:6px;"
    "border:1px solid #c1c9d2}button{background:#635bff;color:#fff;border:0;cursor:pointer}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem .3rem 0;"
    "border-bottom:1px solid #e3e8ee}.bad{color:#b3093c}form{display:inline}"
)
HINTS = (
    ("4242 4242 4242 4242", "pays"),
    ("4000 0000 0000 0002", "is declined"),
    ("4000 0000 0000 0341", "is taken, and declined when charged"),
    ("4000 0000 0000 3220", "asks for 3-D Secure"),
)
Answer = tuple[int, str, str | None]


def page(server: Any, method: str, path: str, sent: dict[str, str]) -> Answer:
    """(status, text, where to) of a page."""
    store: Store = server.store
    parts = path.strip("/").split("/")
    try:
        if parts[0] == "checkout":
            return _checkout(store, method, store.get("checkout.session", parts[1]), sent)
        if parts[0] == "portal":
            return _portal(store, method, store.get("billing_portal.session", parts[1]), sent)
        if parts[0] == "invoice":
            return _invoice(store, method, store.get("invoice", parts[1]), sent)
        if path == "/":
            return _index(server, method, sent)
    except Refusal as refusal:
        return refusal.status, _html("Sorry", f"<p>{escape(str(refusal))}</p>"), None
    return 404, _html("Not found", "<p>There is no such page.</p>"), None


def _html(title: str, body: str) -> str:
    return (
        f"<!DOCTYPE html><html lang=en><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>{body}"
        "<p><small>This stands in for Stripe in development. No money moves.</small></p>"
    )


def _card_form(button: str, trouble: str) -> str:
    hints = "".join(f"<li><code>{number}</code> {what}" for number, what in HINTS)
    return (
        f"<p class=bad>{escape(trouble)}</p><form method=post>"
        "<label>Card number <input name=number value='4242 4242 4242 4242'></label> "
        f"<button name=do value=card>{escape(button)}</button></form><ul>{hints}</ul>"
    )


def _checkout(store: Store, method: str, session: Object, sent: dict[str, str]) -> Answer:
    trouble = ""
    if method == "POST":
        try:
            with store.attempt(session["customer"]):
                checkout.pay(store, session, sent.get("number", ""))
        except Refusal as refusal:
            trouble = str(refusal)
        else:
            target = (session["success_url"] or "/").replace(
                "{CHECKOUT_SESSION_ID}", quote(session["id"])
            )
            return 303, "", target
    what = []
    for item in session["_items"]:
        price = store.get("price", item["price"])
        product = store.get("product", price["product"])
        interval = price["recurring"]["interval"]
        what.append(f"<p><b>{escape(product['name'])}</b>: {_money(price)} a {interval}</p>")
    back = f"<p><a href='{escape(session['cancel_url'] or '/')}'>Go back</a></p>"
    form = _card_form("Pay" if what else "Save the card", trouble)
    return 200, _html("Checkout", "".join(what) + form + back), None


def _money(price: Object) -> str:
    return _amount(int(price["unit_amount"] or 0), price["currency"])


def _amount(minor: int, currency: str) -> str:
    digits = {"jpy": 0, "krw": 0, "kwd": 3, "bhd": 3}.get(currency, 2)
    whole = f"{abs(minor):0{digits + 1}}"
    amount = f"{whole[:-digits]}.{whole[-digits:]}" if digits else whole
    return f"{'-' if minor < 0 else ''}{amount} {currency.upper()}"


def _invoice(store: Store, method: str, invoice: Object, sent: dict[str, str]) -> Answer:
    """The page that an invoice's hosted_invoice_url names: its lines, and a way to pay it."""
    trouble = ""
    if method == "POST":
        try:
            with store.attempt(invoice["customer"]):
                _pay(store, invoice, sent)
        except Refusal as refusal:
            trouble = str(refusal)
    rows = "".join(
        f"<tr><td>{escape(row['description'] or '')}<td>{_amount(row['amount'], row['currency'])}"
        for row in invoice["lines"]["data"]
    )
    off = sum(entry["amount"] for entry in invoice["total_discount_amounts"])
    taxes = invoice["total"] - invoice["subtotal"] + off
    for label, amount in (("Discount", -off), ("Tax", taxes), ("Total", invoice["total"])):
        if amount or label == "Total":
            rows += f"<tr><th>{label}<th>{_amount(amount, invoice['currency'])}"
    form = _card_form("Pay", trouble) if invoice["status"] == "open" else ""
    body = f"<p>{invoice['status'].capitalize()}</p><table>{rows}</table>{form}"
    return 200, _html(f"Invoice {invoice['number'] or '(draft)'}", body), None


def _pay(store: Store, invoice: Object, sent: dict[str, str]) -> None:
    customer = store.alive(invoice["customer"])
    method = customers.attach(store, _card(store, sent)["id"], customer)
    status = invoices.collect(store, invoice, off_session=False, method=method)
    if status == "requires_action":
        # The page asks the bank at once, and the bank says yes.
        payments.complete_payment(store, invoices.intent_of(store, invoice), ok=True)
        invoices.mark_paid(store, invoice, invoice["amount_due"])
    elif status != "succeeded":
        raise Refusal("Your card was declined.", status=402, kind="card_error")


def _card(store: Store, sent: dict[str, str]) -> Object:
    card = NUMBERS.get(sent.get("number", "").replace(" ", ""))
    if card is None:
        raise Refusal("Your card number is incorrect.", status=402, kind="card_error")
    return customers.method_from(store, card, None, {})


def _portal(store: Store, method: str, session: Object, sent: dict[str, str]) -> Answer:
    customer = store.get("customer", session["customer"])
    trouble = ""
    if method == "POST":
        try:
            with store.attempt(customer["id"]):
                _in_portal(store, customer, sent)
        except Refusal as refusal:
            trouble = str(refusal)
    rows = []
    for sub in store.newest("subscription"):
        if sub["customer"] != customer["id"] or sub["status"] == "canceled":
            continue
        name = store.get("product", sub["items"]["data"][0]["price"]["product"])["name"]
        ends = sub["cancel_at_period_end"]
        do, label = ("resume", "Keep it") if ends else ("cancel", "Cancel at the period's end")
        rows.append(
            f"<p><b>{escape(name)}</b> ({sub['status']}) <form method=post>"
            f"<input type=hidden name=sub value='{sub['id']}'>"
            f"<button name=do value={do}>{label}</button></form></p>"
        )
    rows.append(_invoices_of(store, customer))
    back = f"<p><a href='{escape(session['return_url'] or '/')}'>Return</a></p>"
    return 200, _html("Billing", "".join(rows) + _card_form("Use this card", trouble) + back), None


def _invoices_of(store: Store, customer: Object) -> str:
    rows = [row for row in store.newest("invoice") if row["customer"] == customer["id"]]
    return "<h2>Invoices</h2><table>{}</table>".format(
        "".join(
            f"<tr><td><a href='/invoice/{row['id']}'>{escape(row['number'] or 'Draft')}</a>"
            f"<td>{_amount(row['total'], row['currency'])}<td>{row['status']}"
            for row in rows[:12]
        )
    )


def _in_portal(store: Store, customer: Object, sent: dict[str, str]) -> None:
    if sent.get("do") in ("cancel", "resume"):
        ends = "true" if sent["do"] == "cancel" else "false"
        subscription_api.change(store, {"cancel_at_period_end": ends}, sent["sub"])
        return
    made = customers.attach(store, _card(store, sent)["id"], customer)
    settings = {"default_payment_method": made["id"]}
    customers.change_customer(store, {"invoice_settings": settings}, customer["id"])


def _index(server: Any, method: str, sent: dict[str, str]) -> Answer:
    store: Store = server.store
    if method == "POST":
        schedule.advance(store, store.now() + int(sent.get("days", "0")) * 86_400)
        return 303, "", "/"
    buttons = "".join(
        f"<form method=post><button name=days value={days}>+{days} days</button></form> "
        for days in (1, 3, 14, 31)
    )
    counts = "".join(
        f"<tr><td>{escape(kind)}<td>{len(rows)}" for kind, rows in sorted(store.objects.items())
    )
    log = "".join(
        f"<tr><td>{escape(row['type'])}<td>{row['status'] or 'no answer'}"
        for row in list(server.deliveries.log)[:30]
    )
    body = (
        f"<p>The clock shows {store.moment():%Y-%m-%d %H:%M} UTC. {buttons}</p>"
        f"<h2>Objects</h2><table>{counts}</table><h2>Last webhooks</h2><table>{log}</table>"
    )
    return 200, _html("Stripe, in development", body), None
