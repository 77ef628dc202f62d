"""A server of its own for each test, and Stripe's own client to it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from spoke.devservers.stripe.fake import FakeStripe

START = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(start=START) as server:
        yield server


@pytest.fixture
def client(fake) -> Any:
    made: Any = stripe.StripeClient(
        "sk_test_" + "x" * 24, base_addresses={"api": fake.url}, max_network_retries=0
    )
    return made.v1


@pytest.fixture
def price(client) -> Callable[..., str]:
    """`price(1000)` is the id of a price of so many minor units a month."""

    def make(amount: int, interval: str = "month", currency: str = "usd") -> str:
        product = client.products.create({"name": f"Plan at {amount}"})
        made = client.prices.create(
            {
                "product": product.id,
                "currency": currency,
                "unit_amount": amount,
                "recurring": {"interval": interval},
            }
        )
        return str(made.id)

    return make


@pytest.fixture
def customer(client) -> Callable[..., Any]:
    """`customer("pm_card_visa")` is a customer that pays by that card."""

    def make(card: str | None = "pm_card_visa") -> Any:
        made = client.customers.create({"name": "Acme", "email": "ada@acme.example"})
        if card:
            method = client.payment_methods.attach(card, {"customer": made.id})
            settings = {"default_payment_method": method.id}
            made = client.customers.update(made.id, {"invoice_settings": settings})
        return made

    return make


@pytest.fixture
def subscribe(client) -> Callable[..., Any]:
    def make(customer: Any, price: str, **more: Any) -> Any:
        return client.subscriptions.create(
            {"customer": customer.id, "items": [{"price": price}], **more}
        )

    return make


def types(fake: FakeStripe) -> list[str]:
    """Types of all events, in their order."""
    rows = sorted(fake.store.of("event").values(), key=lambda row: row["_n"])
    return [row["type"] for row in rows]
