"""The addresses of billing."""

from typing import Any

from django.urls import URLPattern, URLResolver, path

from billing.api.balance import BalanceViewSet
from billing.api.budget import SubscribedBudgetView
from billing.api.credits import CreditNoteViewSet, CreditViewSet
from billing.api.details import DetailsViewSet
from billing.api.invoices import InvoiceViewSet
from billing.api.payment_methods import PaymentMethodViewSet
from billing.api.subscription import SubscriptionViewSet
from billing.api.webhook import WebhookView

Actions = dict[str, str | Any]
_SUBSCRIPTION: dict[str, Actions] = {
    "subscription": {
        "get": "retrieve",
        "post": "subscribe",
        "put": "change",
        "patch": "change",
    },
    "subscription/cancel": {"post": "cancel"},
    "subscription/reactivate": {"post": "reactivate"},
    "subscription/preview": {"post": "preview"},
}
_PAYMENT: dict[str, Actions] = {
    "payment-methods": {"get": "list", "post": "add"},
    "payment-methods/setup-intent": {"post": "set_up"},
    "payment-methods/<slug:payment_method>/default": {"put": "set_default"},
    "payment-methods/<slug:payment_method>": {"delete": "remove"},
    "billing/portal": {"post": "portal"},
    "billing/checkout": {"post": "checkout"},
}
_INVOICES: dict[str, Actions] = {
    "invoices": {"get": "list"},
    "invoices/upcoming": {"get": "upcoming"},
    "invoices/generate": {"post": "generate"},
    "invoices/<id:invoice_id>": {"get": "retrieve"},
    "invoices/<id:invoice_id>/pdf": {"get": "pdf"},
    "invoices/<id:invoice_id>/html": {"get": "page"},
}
_CREDITS: dict[str, Actions] = {"credits": {"get": "list", "post": "give"}}
_NOTES: dict[str, Actions] = {
    "invoices/<id:invoice_id>/credit-notes": {"get": "list", "post": "issue"},
    "invoices/<id:invoice_id>/credit-notes/<id:note_id>/pdf": {"get": "pdf"},
}
_DETAILS: dict[str, Actions] = {
    "billing/details": {"get": "retrieve", "put": "replace", "patch": "change"}
}
_BALANCE: dict[str, Actions] = {"billing/balance": {"get": "retrieve"}}
_BUDGET: dict[str, Actions] = {"budget": {"get": "retrieve", "put": "update"}}
urlpatterns: list[URLPattern | URLResolver] = [
    *(
        path(f"orgs/<org:org>/{address}", view.as_view(actions))
        for view, routes in (
            (SubscriptionViewSet, _SUBSCRIPTION),
            (PaymentMethodViewSet, _PAYMENT),
            (InvoiceViewSet, _INVOICES),
            (CreditViewSet, _CREDITS),
            (CreditNoteViewSet, _NOTES),
            (DetailsViewSet, _DETAILS),
            (BalanceViewSet, _BALANCE),
            (SubscribedBudgetView, _BUDGET),
        )
        for address, actions in routes.items()
    ),
    path("billing/webhook", WebhookView.as_view()),
]
