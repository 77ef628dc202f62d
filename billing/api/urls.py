"""The addresses of billing."""

from typing import Any

from django.urls import URLPattern, URLResolver, path

from billing.api.invoices import InvoiceViewSet
from billing.api.subscription import SubscriptionViewSet
from billing.api.views import BillingViewSet, WebhookViewSet

Actions = dict[str, str | Any]
READ: Actions = {"get": "read"}
SUBSCRIPTION: Actions = {
    "get": "retrieve",
    "post": "subscribe",
    "put": "subscribe",
    "patch": "subscribe",
}
PAYMENT_METHODS: Actions = {"get": "read", "post": "add_payment_method"}
WRITE: Actions = {"post": "write"}
_ORG: dict[str, Actions] = {
    "subscription/cancel": {"post": "cancel"},
    "subscription/reactivate": WRITE,
    "subscription/preview": {"post": "subscribe"},
    "payment-methods": PAYMENT_METHODS,
    "payment-methods/setup-intent": WRITE,
    "payment-methods/<slug:payment_method>/default": {"put": "write"},
    "payment-methods/<slug:payment_method>": {"delete": "write"},
    "billing/portal": WRITE,
    "billing/checkout": {"post": "subscribe"},
}
_INVOICES: dict[str, Actions] = {
    "invoices": {"get": "list"},
    "invoices/upcoming": {"get": "upcoming"},
    "invoices/generate": {"post": "generate"},
    "invoices/<id:invoice_id>": {"get": "retrieve"},
    "invoices/<id:invoice_id>/pdf": {"get": "pdf"},
    "invoices/<id:invoice_id>/html": {"get": "page"},
}
urlpatterns: list[URLPattern | URLResolver] = [
    path("orgs/<org:org>/subscription", SubscriptionViewSet.as_view(SUBSCRIPTION)),
    *(
        path(f"orgs/<org:org>/{address}", InvoiceViewSet.as_view(actions))
        for address, actions in _INVOICES.items()
    ),
    *(
        path(f"orgs/<org:org>/{address}", BillingViewSet.as_view(actions))
        for address, actions in _ORG.items()
    ),
    path("billing/webhook", WebhookViewSet.as_view({"post": "receive"})),
]
