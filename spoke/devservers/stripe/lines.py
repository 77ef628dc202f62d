"""Lines of invoices: what they come to, and the taxes on them."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

from spoke.devservers.stripe.store import Object, Store
from spoke.devservers.stripe.tariffs import in_currency, price_total


def half_up(amount: Fraction) -> int:
    """Rounded to a whole, halves away from zero."""
    sign = -1 if amount < 0 else 1
    return sign * int((abs(amount) * 2 + 1) // 2)


def line(
    store: Store,
    *,
    amount: int,
    currency: str,
    description: str | None,
    period: tuple[int, int],
    parent: Object,
    price: Object | None = None,
    quantity: int = 1,
    metadata: dict[str, str] | None = None,
    discountable: bool = True,
) -> Object:
    """A line of an invoice."""
    pricing = price and {
        "type": "price_details",
        "price_details": {"price": price["id"], "product": price["product"]},
        "unit_amount_decimal": price["unit_amount_decimal"],
    }
    return {
        "id": store.new_id("line_item"),
        "object": "line_item",
        "amount": amount,
        "currency": currency,
        "description": description,
        "discount_amounts": [],
        "discountable": discountable,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": metadata or {},
        "parent": parent,
        "period": {"start": period[0], "end": period[1]},
        "pretax_credit_amounts": [],
        "pricing": pricing,
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        "subscription": (parent["subscription_item_details"] or {}).get("subscription"),
        "subtotal": amount,
        "taxes": [],
    }


def of_item(
    store: Store, sub: Object, item: Object, period: tuple[int, int], trial: bool
) -> Object:
    """The line of a subscription's item for a period."""
    price = in_currency(store.get("price", item["price"]["id"]), sub["currency"])
    product = store.get("product", price["product"])
    interval = price["recurring"]["interval"]
    unit = Decimal(price["unit_amount_decimal"] or 0)
    described = f"{item['quantity']} x {product['name']} (at {unit / 100:.2f} / {interval})"
    if trial:
        described = f"Trial period for {product['name']}"
    return line(
        store,
        amount=0 if trial else price_total(price, item["quantity"]),
        currency=price["currency"],
        description=described,
        period=period,
        price=price,
        quantity=item["quantity"],
        metadata=dict(sub["metadata"]),
        parent={
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": sub["id"],
                "subscription_item": item["id"],
            },
        },
    )


def of_invoice_item(store: Store, item: Object) -> Object:
    """The line of an invoice item."""
    made = line(
        store,
        amount=item["amount"],
        currency=item["currency"],
        description=item["description"],
        period=(item["period"]["start"], item["period"]["end"]),
        quantity=item["quantity"],
        metadata=dict(item["metadata"]),
        discountable=item["discountable"],
        parent={
            "type": "invoice_item_details",
            "invoice_item_details": {
                "invoice_item": item["id"],
                "proration": item["proration"],
                "proration_details": {"credited_items": None},
                "subscription": item["_subscription"],
            },
            "subscription_item_details": None,
        },
    )
    made["subscription"] = item["_subscription"]
    made["pricing"] = item["pricing"]
    made["_tax_rates"] = item["_tax_rates"]
    return made


def net(row: Object) -> int:
    """What is left of a line after its discounts, in minor units."""
    return int(row["amount"] - sum(entry["amount"] for entry in row["discount_amounts"]))


def tax(store: Store, lines: list[Object], rates: list[str]) -> tuple[int, list[Object]]:
    """Puts taxes on the lines. Returns what they add to the total, and the invoice's `total_taxes`."""
    totals: dict[str, list[int]] = {}
    added = 0
    for row in lines:
        row["taxes"] = []
        for name in row.get("_tax_rates") or rates:
            rate = store.get("tax_rate", name, param="default_tax_rates")
            share = Fraction(rate["_percentage"]) / 100
            base = Fraction(net(row))
            if rate["inclusive"]:
                amount = half_up(base - base / (1 + share))
                taxable = net(row) - amount
            else:
                amount, taxable = half_up(base * share), net(row)
                added += amount
            row["taxes"].append(_tax(rate, amount, taxable))
            sums = totals.setdefault(name, [0, 0])
            sums[0] += amount
            sums[1] += taxable
    of_rate: dict[str, Any] = store.of("tax_rate")
    return added, [_tax(of_rate[name], *sums) for name, sums in totals.items()]


def _tax(rate: Object, amount: int, taxable: int) -> Object:
    return {
        "amount": amount,
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": "standard_rated",
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }
