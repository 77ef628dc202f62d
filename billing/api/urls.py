"""The addresses of billing."""

from typing import Any

from django.urls import URLPattern, URLResolver, path

from billing.api.views import BillingViewSet, WebhookViewSet

Actions = dict[str, str | Any]
READ: Actions = {"get": "read"}
SUBSCRIPTION: Actions = {
    "get": "read",
    "post": "subscribe",
    "put": "subscribe",
    "patch": "subscribe",
}
PAYMENT_METHODS: Actions = {"get": "read", "post": "add_payment_method"}
WRITE: Actions = {"post": "write"}
_ORG: dict[str, Actions] = {
    "subscription": SUBSCRIPTION,
    "subscription/cancel": {"post": "cancel"},
    "subscription/reactivate": WRITE,
    "subscription/preview": {"post": "subscribe"},
    "invoices": READ,
    "invoices/upcoming": READ,
    "invoices/generate": WRITE,
    "invoices/<id:invoice_id>": {"get": "read_invoice"},
    "invoices/<id:invoice_id>/pdf": READ,
    "payment-methods": PAYMENT_METHODS,
    "payment-methods/setup-intent": WRITE,
    "payment-methods/<slug:payment_method>/default": {"put": "write"},
    "payment-methods/<slug:payment_method>": {"delete": "write"},
    "billing/portal": WRITE,
    "billing/checkout": {"post": "subscribe"},
}
urlpatterns: list[URLPattern | URLResolver] = [
    *(
        path(f"orgs/<org:org>/{address}", BillingViewSet.as_view(actions))
        for address, actions in _ORG.items()
    ),
    path("billing/webhook", WebhookViewSet.as_view({"post": "receive"})),
]
