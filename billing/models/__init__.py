"""Tables of billing."""

from billing.models.credit import (
    Credit,
    CreditApplication,
    CreditNote,
    NoteKind,
    NoteSource,
    NoteStatus,
)
from billing.models.details import BillingDetails, Branding, Partner, TaxRate
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
    "BillingDetails",
    "Branding",
    "Collection",
    "Credit",
    "CreditApplication",
    "CreditNote",
    "DunningNotice",
    "EventStatus",
    "Invoice",
    "InvoiceLine",
    "InvoiceSource",
    "InvoiceStatus",
    "LineKind",
    "NoteKind",
    "NoteSource",
    "NoteStatus",
    "NumberSequence",
    "Partner",
    "PaymentMethod",
    "StripeCustomer",
    "StripePrice",
    "Subscription",
    "SubscriptionStatus",
    "TaxRate",
    "WebhookEvent",
]
