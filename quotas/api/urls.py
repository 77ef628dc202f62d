"""The addresses of quotas."""

from django.urls import URLPattern, URLResolver, path

from quotas.api.events import UsageEventsView
from quotas.api.meters import MeterUsageView
from quotas.api.views import PlansView, QuotasView, UsageView

urlpatterns: list[URLPattern | URLResolver] = [
    path("plans", PlansView.as_view({"get": "list"})),
    path("plans/<slug:code>", PlansView.as_view({"get": "retrieve"})),
    path(
        "orgs/<org:org>/quotas",
        QuotasView.as_view({"get": "retrieve", "put": "update", "patch": "update"}),
    ),
    path("orgs/<org:org>/usage", UsageView.as_view({"get": "retrieve"})),
    path("orgs/<org:org>/usage/history", UsageView.as_view({"get": "list"})),
    path("orgs/<org:org>/usage/events", UsageEventsView.as_view({"post": "create"})),
    path("orgs/<org:org>/usage/meters", MeterUsageView.as_view({"get": "list"})),
]
