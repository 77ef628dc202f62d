"""Which rates an invoice bears: those of its subscription, or automatic ones."""

from typing import Any

from spoke.devservers.stripe import forms
from spoke.devservers.stripe.errors import Refusal
from spoke.devservers.stripe.store import Object, Store, json_number, public

Params = dict[str, Any]
# What the account is registered for in Stripe Tax; elsewhere there is none.
AUTOMATIC = {"DE": ("VAT", "19"), "FR": ("VAT", "20"), "GB": ("VAT", "20"), "JP": ("JCT", "10")}


def set_tax(store: Store, sub: Object, params: Params) -> None:
    """The subscription's rates, and whether they are automatic, as asked for. Raises Refusal."""
    if "default_tax_rates" in params:
        sub["_rates"] = params["default_tax_rates"] or []
        sub["default_tax_rates"] = [
            public(store.get("tax_rate", name, param="default_tax_rates")) for name in sub["_rates"]
        ]
    if "automatic_tax" in params:
        enabled = forms.flag(params["automatic_tax"], "enabled")
        sub["automatic_tax"] = {**sub["automatic_tax"], "enabled": enabled}
    if sub["automatic_tax"]["enabled"]:
        if sub["_rates"]:
            raise Refusal("You cannot set `default_tax_rates` with automatic tax.")
        if not (store.get("customer", sub["customer"])["address"] or {}).get("country"):
            raise Refusal(
                "The customer's location isn't recognized.", code="customer_tax_location_invalid"
            )


def rates_for(store: Store, customer: Object, sub: Object | None) -> list[str]:
    """The rates that a new invoice bears where its lines have none of their own."""
    if sub is None or not sub["automatic_tax"]["enabled"]:
        return list(sub["_rates"]) if sub else []
    country = (customer["address"] or {}).get("country")
    if country not in AUTOMATIC:
        return []
    name, percentage = AUTOMATIC[country]
    for row in store.of("tax_rate").values():
        if row["_automatic"] and row["country"] == country:
            return [row["id"]]
    return [add_rate(store, name, percentage, country=country, automatic=True)["id"]]


def add_rate(
    store: Store, name: str, percentage: str, *, automatic: bool = False, **members: Any
) -> Object:
    """A tax rate, on top of prices where nothing else is said."""
    return store.add(
        "tax_rate",
        {
            "active": True,
            "country": None,
            "description": None,
            "display_name": name,
            "effective_percentage": json_number(percentage),
            "flat_amount": None,
            "inclusive": False,
            "jurisdiction": None,
            "jurisdiction_level": None,
            "metadata": {},
            "percentage": json_number(percentage),
            "rate_type": "percentage",
            "state": None,
            "tax_type": None,
            **members,
            "_percentage": percentage,
            "_automatic": automatic,
        },
    )


def exempt(customer: Object) -> bool:
    """Whether nothing is charged: the customer is exempt, or pays the tax themselves."""
    return customer["tax_exempt"] in ("exempt", "reverse")
