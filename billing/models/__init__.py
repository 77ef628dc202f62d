"""Tables of billing."""

from billing.models.invoice import (
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    LineKind,
    NumberSequence,
)
from billing.models.subscription import Subscription, SubscriptionStatus

__all__ = [
    "Invoice",
    "InvoiceLine",
    "InvoiceStatus",
    "LineKind",
    "NumberSequence",
    "Subscription",
    "SubscriptionStatus",
]
