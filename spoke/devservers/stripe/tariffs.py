"""What so many units of a price cost: per unit, or in tiers, in each of its currencies."""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from spoke.devservers.stripe import forms
from spoke.devservers.stripe.errors import Refusal, invalid
from spoke.devservers.stripe.store import Object

Params = dict[str, Any]
MODES = ("graduated", "volume")


def unit(params: Params, at: str = "unit_amount") -> tuple[int | None, str]:
    """An amount in minor units, whole where it is, and as a decimal. Refuses a missing one."""
    found = optional_unit(params, at)
    if found[1] is None:
        raise Refusal("Missing required param: unit_amount.", code="parameter_missing", param=at)
    return found[0], found[1]


def optional_unit(params: Params, at: str) -> tuple[int | None, str | None]:
    """As `unit`, or two times None."""
    sent = params.get(f"{at}_decimal", params.get(at))
    if sent in (None, ""):
        return None, None
    try:
        amount = Decimal(str(sent))
    except InvalidOperation:
        raise invalid(f"Invalid decimal: {sent}", at) from None
    whole = int(amount) if amount == int(amount) else None
    return whole, f"{amount.normalize():f}"


def tiers(params: Params) -> list[Object]:
    """The tiers that a price is made with; the last one is open. Refuses what makes no table."""
    if params.get("tiers_mode") not in MODES:
        raise invalid("Give tiers_mode as graduated or volume.", "tiers_mode")
    rows = [_tier(sent) for sent in forms.required(params, "tiers")]
    ends = [row["up_to"] for row in rows]
    if ends[-1] is not None or None in ends[:-1] or ends[:-1] != sorted(set(ends[:-1])):
        raise invalid("Tiers end one after the other, and the last one at inf.", "tiers")
    return rows


def _tier(sent: Params) -> Object:
    up_to = None if sent.get("up_to") == "inf" else forms.integer(sent, "up_to")
    row: Object = {"up_to": up_to}
    for name in ("flat_amount", "unit_amount"):
        row[name], row[f"{name}_decimal"] = optional_unit(sent, name)
    if row["flat_amount_decimal"] is None and row["unit_amount_decimal"] is None:
        raise invalid("A tier has an amount a unit, or a flat one.", "tiers")
    return row


def options(params: Params) -> dict[str, Object]:
    """What a price costs in other currencies."""
    made = {}
    for currency, sent in (params.get("currency_options") or {}).items():
        whole, decimal = (None, None) if sent.get("tiers") else unit(sent)
        made[currency.lower()] = {
            "custom_unit_amount": None,
            "tax_behavior": sent.get("tax_behavior", "unspecified"),
            "unit_amount": whole,
            "unit_amount_decimal": decimal,
            **({"tiers": [_tier(tier) for tier in sent["tiers"]]} if sent.get("tiers") else {}),
        }
    return made


def in_currency(price: Object, currency: str) -> Object:
    """The price as it is in one of its currencies. Refuses others."""
    if currency == price["currency"]:
        return price
    option = price["_options"].get(currency)
    if option is None:
        raise invalid(f"The price {price['id']} has no amount in {currency}.", "currency")
    return {
        **price,
        "currency": currency,
        "unit_amount": option["unit_amount"],
        "unit_amount_decimal": option["unit_amount_decimal"],
        "_tiers": option.get("tiers"),
    }


def price_total(price: Object, quantity: int) -> int:
    """What so many units cost, in minor units."""
    if price["billing_scheme"] == "tiered":
        exact = _in_tiers(price["_tiers"], price["tiers_mode"], quantity)
    else:
        exact = Decimal(price["unit_amount_decimal"] or "0") * quantity
    return int(exact.to_integral_value(ROUND_HALF_UP))


def _in_tiers(rows: list[Object], mode: str, quantity: int) -> Decimal:
    total, before = Decimal(0), 0
    for row in rows:
        end = quantity if row["up_to"] is None else min(quantity, row["up_to"])
        flat, each = (
            Decimal(row[f"{name}_decimal"] or 0) for name in ("flat_amount", "unit_amount")
        )
        if mode == "volume" and (row["up_to"] is None or quantity <= row["up_to"]):
            return flat + each * quantity
        if mode == "graduated" and (end > before or row is rows[0]):
            total += flat + each * (end - before)
            before = end
    return total


def plan_of(price: Object) -> Object | None:
    """A recurring price in the older form, which subscription items still carry."""
    if not price["recurring"]:
        return None
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "livemode": False,
        "metadata": dict(price["metadata"]),
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": price["recurring"]["usage_type"],
    }
