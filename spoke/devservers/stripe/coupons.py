"""Coupons, and the discounts that they give on subscriptions and invoices."""

from calendar import monthrange
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from spoke.devservers.stripe import forms
from spoke.devservers.stripe.errors import Refusal, invalid
from spoke.devservers.stripe.lines import half_up, net
from spoke.devservers.stripe.routes import lists, route
from spoke.devservers.stripe.store import Object, Store, json_number

Params = dict[str, Any]
DURATIONS = ("forever", "once", "repeating")


@route("POST", "/v1/coupons", "id amount_off currency duration duration_in_months max_redemptions"
       " metadata name percent_off redeem_by")  # fmt: skip
def make_coupon(store: Store, params: Params) -> Object:
    name = forms.text(params, "id") or store.new_id("coupon").removeprefix("coupon_")[:8].upper()
    if name in store.of("coupon"):
        raise Refusal(f"Coupon already exists: {name}", code="resource_already_exists")
    amount, percent = forms.integer(params, "amount_off"), forms.text(params, "percent_off")
    if (amount is None) == (percent is None):
        raise invalid("Give either percent_off or amount_off.", "percent_off")
    duration = params.get("duration", "once")
    if duration not in DURATIONS:
        raise invalid(f"Invalid duration: {duration}", "duration")
    months = forms.integer(params, "duration_in_months")
    if (duration == "repeating") != (months is not None):
        raise invalid("Repeating coupons, and they only, last for months.", "duration_in_months")
    made = store.add(
        "coupon",
        {
            "id": name,
            "amount_off": amount,
            "currency": str(forms.required(params, "currency")).lower() if amount else None,
            "duration": duration,
            "duration_in_months": months,
            "max_redemptions": forms.integer(params, "max_redemptions"),
            "metadata": forms.metadata({}, params),
            "name": forms.text(params, "name"),
            "percent_off": json_number(percent) if percent else None,
            "_percent": percent,
            "redeem_by": forms.integer(params, "redeem_by"),
            "times_redeemed": 0,
            "valid": True,
        },
    )
    store.emit("coupon.created", made)
    return made


@route("POST", "/v1/coupons/{}", "metadata name")
def change_coupon(store: Store, params: Params, name: str) -> Object:
    found = store.get("coupon", name)
    with store.changing(found, "coupon.updated"):
        found["metadata"] = forms.metadata(found["metadata"], params)
        found["name"] = forms.text(params, "name", found["name"])
    return found


@route("DELETE", "/v1/coupons/{}")
def delete_coupon(store: Store, params: Params, name: str) -> Object:
    """What was given by it stays; nobody gets it any more."""
    found = store.get("coupon", name)
    store.emit("coupon.deleted", found)
    del store.of("coupon")[name]
    return {"id": name, "object": "coupon", "deleted": True}


def give(
    store: Store,
    params: Params,
    customer: str,
    *,
    sub: str | None = None,
    invoice: str | None = None,
) -> list[str]:
    """The discounts that `discounts` asks for: of a coupon, or one that is there already."""
    given = []
    for sent in params.get("discounts") or []:
        if sent.get("discount"):
            given.append(store.get("discount", sent["discount"], param="discounts")["id"])
            continue
        coupon = store.get("coupon", forms.required(sent, "coupon"), param="discounts[0][coupon]")
        given.append(_discount(store, coupon, customer, sub, invoice)["id"])
    return given


def _discount(
    store: Store, coupon: Object, customer: str, sub: str | None, invoice: str | None
) -> Object:
    if not _redeemable(store, coupon):
        raise Refusal(f"Coupon {coupon['id']} is used up or expired.", code="coupon_expired")
    coupon["times_redeemed"] += 1
    coupon["valid"] = _redeemable(store, coupon)
    made = store.add(
        "discount",
        {
            "checkout_session": None,
            "customer": customer,
            "customer_account": None,
            "end": _end(store, coupon),
            "invoice": invoice,
            "invoice_item": None,
            "promotion_code": None,
            "source": {"coupon": coupon["id"], "type": "coupon"},
            "start": store.now(),
            "subscription": sub,
            "subscription_item": None,
            "_coupon": dict(coupon),
        },
    )
    store.emit("customer.discount.created", made)
    return made


def _redeemable(store: Store, coupon: Object) -> bool:
    most, until = coupon["max_redemptions"], coupon["redeem_by"]
    return (most is None or coupon["times_redeemed"] < most) and (
        until is None or store.now() < until
    )


def _end(store: Store, coupon: Object) -> int | None:
    if coupon["duration"] != "repeating":
        return None
    now = datetime.fromtimestamp(store.now(), UTC)
    years, month = divmod(now.month - 1 + coupon["duration_in_months"], 12)
    year = now.year + years
    day = min(now.day, monthrange(year, month + 1)[1])
    return int(now.replace(year=year, month=month + 1, day=day).timestamp())


def for_invoice(store: Store, sub: Object) -> list[str]:
    """The discounts of a subscription's next invoice; those for once, and ended ones, are spent."""
    lasting, now = [], []
    for name in sub["discounts"]:
        found = store.get("discount", name)
        if found["end"] is not None and found["end"] <= store.now():
            store.emit("customer.discount.deleted", found)
            continue
        now.append(name)
        if found["_coupon"]["duration"] != "once":
            lasting.append(name)
    sub["discounts"] = lasting
    return now


def apply(store: Store, rows: list[Object], names: list[str]) -> tuple[int, list[Object]]:
    """Puts discounts on lines. Returns what they take off, and `total_discount_amounts`.

    A percentage is taken of each line, rounded half away from zero; an amount is shared among the
    lines that are no prorations, by what they cost, the last one taking what is left over.
    """
    for row in rows:
        row.update(discounts=[], discount_amounts=[])
    sums: list[Object] = []
    for name in names:
        coupon = store.get("discount", name)["_coupon"]
        shares = _shares(coupon, [row for row in rows if row["discountable"]])
        for row, amount in shares:
            row["discounts"].append(name)
            row["discount_amounts"].append({"amount": amount, "discount": name})
        sums.append({"amount": sum(amount for _, amount in shares), "discount": name})
    return sum(entry["amount"] for entry in sums), sums


def _shares(coupon: Object, rows: list[Object]) -> list[tuple[Object, int]]:
    if coupon["_percent"] is not None:
        share = Fraction(coupon["_percent"]) / 100
        return [(row, half_up(net(row) * share)) for row in rows]
    charged = [row for row in rows if net(row) > 0 and not _prorates(row)]
    total = sum(net(row) for row in charged)
    left = off = min(coupon["amount_off"], total)
    shares = []
    for row in charged:
        amount = left if row is charged[-1] else half_up(Fraction(off * net(row), total))
        left -= amount
        shares.append((row, amount))
    return shares


def _prorates(row: Object) -> bool:
    details = row["parent"]["invoice_item_details"] or row["parent"]["subscription_item_details"]
    return bool(details["proration"])


lists("coupon", "/v1/coupons", "created")
