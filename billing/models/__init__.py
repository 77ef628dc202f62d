"""Tables of billing."""

from billing.models.invoice import (
    Invoice,
    InvoiceLine,
    InvoiceSource,
    InvoiceStatus,
    LineKind,
    NumberSequence,
)
from billing.models.stripe import (
    DunningNotice,
    EventStatus,
    PaymentMethod,
    StripeCustomer,
    StripePrice,
    WebhookEvent,
)
from billing.models.subscription import Collection, Subscription, SubscriptionStatus

__all__ = [
    "Collection",
    "DunningNotice",
    "EventStatus",
    "Invoice",
    "InvoiceLine",
    "InvoiceSource",
    "InvoiceStatus",
    "LineKind",
    "NumberSequence",
    "PaymentMethod",
    "StripeCustomer",
    "StripePrice",
    "Subscription",
    "SubscriptionStatus",
    "WebhookEvent",
]
