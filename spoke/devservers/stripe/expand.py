"""`expand`: names of objects replaced by the objects, up to four levels deep."""

from typing import Any

from spoke.devservers.stripe.errors import Refusal
from spoke.devservers.stripe.invoices import intent_of
from spoke.devservers.stripe.store import PREFIXES, Object, Store, listing, public

DEEPEST = 4


def rendered(store: Store, answer: Any, paths: list[str]) -> Any:
    """An answer as it leaves, with what was asked for put in."""
    shown = public(answer)
    for path in paths:
        parts = path.split(".")
        if len([part for part in parts if part != "data"]) > DEEPEST:
            raise Refusal(f"You cannot expand more than {DEEPEST} levels.", param="expand")
        _expand(store, shown, parts)
    return shown


def _expand(store: Store, holder: Any, parts: list[str]) -> None:
    if isinstance(holder, list):
        for row in holder:
            _expand(store, row, parts)
        return
    if not parts or not isinstance(holder, dict):
        return
    name, rest = parts[0], parts[1:]
    if name not in holder and holder.get("object") in INCLUDED:
        _include(store, holder, name)
    if holder.get("object") == "price" and name in ("tiers", "currency_options"):
        _show_price(store, holder, name)
    if name not in holder:
        if holder.get("object") in ("list", "search_result") or holder.get("deleted"):
            return
        raise Refusal(f"This property cannot be expanded ({name}).", param="expand")
    if name == "discounts" and isinstance(holder[name], list):
        holder[name] = [public(store.get("discount", each)) for each in holder[name]]
    else:
        holder[name] = _found(store, holder, name)
    _expand(store, holder[name], rest)


# Lists that are there only when they are asked for.
INCLUDED = {"customer": ("sources", "subscriptions", "tax_ids"), "charge": ("refunds",)}


def _show_price(store: Store, holder: Object, name: str) -> None:
    price = store.get("price", holder["id"])
    if name == "tiers":
        holder["tiers"] = public(price["_tiers"] or [])
        return
    same = ("custom_unit_amount", "tax_behavior", "unit_amount", "unit_amount_decimal")
    own = {price["currency"]: {member: price[member] for member in same}}
    holder["currency_options"] = public({**own, **price["_options"]})


def _include(store: Store, holder: Object, name: str) -> None:
    if name not in INCLUDED[holder["object"]]:
        return
    kind = {"subscriptions": "subscription", "tax_ids": "tax_id", "refunds": "refund"}.get(name, "")
    owner = "charge" if name == "refunds" else "customer"
    rows = [public(row) for row in store.newest(kind) if row.get(owner) == holder["id"]]
    holder[name] = listing(rows, f"/v1/{owner}s/{holder['id']}/{name}")


def _found(store: Store, holder: Object, name: str) -> Any:
    value = holder[name]
    if holder.get("object") == "invoice" and name in ("payments", "confirmation_secret"):
        return _of_invoice(store, holder["id"].removeprefix("upcoming_"), name)
    if not isinstance(value, str):
        return value
    kind = "coupon" if name == "coupon" else PREFIXES.get(value.split("_")[0])
    row = store.of(kind).get(value) if kind else None
    return public(row) if row else value


def _of_invoice(store: Store, name: str, member: str) -> Any:
    invoice = store.of("invoice").get(name)
    if invoice is None:
        return None
    if member == "payments":
        return public(listing(invoice["_payments"], f"/v1/invoices/{name}/payments"))
    if invoice["status"] != "open" or not invoice["amount_due"]:
        return None
    intent = intent_of(store, invoice)
    return {"client_secret": intent["client_secret"], "type": "payment_intent"}
