"""Our base prices as Stripe's products and prices: made once, found again by their lookup keys."""

from typing import Any

from billing.models import StripePrice
from billing.stripe.client import api, translated
from quotas.models import PlanPrice


def stripe_price_of(price: PlanPrice) -> str:
    """The id of Stripe's price, made where there is none. Must run outside of transactions."""
    known = StripePrice.objects.filter(price=price).values_list("stripe_id", flat=True).first()
    if known:
        return known
    product = _product_of(price)
    found = _price_at(price, product)
    StripePrice.objects.bulk_create(
        [StripePrice(price=price, stripe_id=found.id, product_id=product)], ignore_conflicts=True
    )
    return StripePrice.objects.values_list("stripe_id", flat=True).get(price=price)


def lookup_key(price: PlanPrice) -> str:
    """By which the price is found again."""
    plan = price.plan
    return f"spoke_{plan.code}_v{plan.version}_{price.interval}_{price.currency}"


def _product_of(price: PlanPrice) -> str:
    plan = price.plan
    name = f"spoke_{plan.code}"
    with translated():
        found = api().products.list({"ids": [name]}).data
        if not found:
            product = {
                "id": name,
                "name": f"Spoke {plan.name}",
                "metadata": {"spoke_plan": plan.code},
            }
            api().products.create(product, {"idempotency_key": f"spoke-product-{plan.code}"})
    return name


def _price_at(price: PlanPrice, product: str) -> Any:
    key = lookup_key(price)
    with translated():
        found = api().prices.list({"lookup_keys": [key], "limit": 1}).data
        if found:
            return found[0]
        return api().prices.create(
            {
                "product": product,
                "currency": price.currency,
                "unit_amount": price.amount_minor,
                "recurring": {"interval": price.interval},
                "lookup_key": key,
                "metadata": {"spoke_plan": price.plan.code, "spoke_version": price.plan.version},
            },
            {"idempotency_key": f"spoke-price-{key}-{price.amount_minor}"},
        )
