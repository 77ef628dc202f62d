"""The addresses of quotas."""

from django.urls import URLPattern, URLResolver, path

from quotas.api.alerts import AlertsView
from quotas.api.events import UsageEventsView
from quotas.api.holds import EntitlementView, HoldViewSet
from quotas.api.meters import MeterUsageView
from quotas.api.views import OrganizationPlansView, PlansView, QuotasView, UsageView

urlpatterns: list[URLPattern | URLResolver] = [
    path("plans", PlansView.as_view({"get": "list"})),
    path("plans/<slug:code>", PlansView.as_view({"get": "retrieve"})),
    path("orgs/<org:org>/plans", OrganizationPlansView.as_view({"get": "list"})),
    path(
        "orgs/<org:org>/quotas",
        QuotasView.as_view({"get": "retrieve", "put": "update", "patch": "update"}),
    ),
    path("orgs/<org:org>/quotas/check", EntitlementView.as_view({"post": "check"})),
    path(
        "orgs/<org:org>/quotas/reservations",
        HoldViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(
        "orgs/<org:org>/quotas/reservations/<id:hold_id>",
        HoldViewSet.as_view({"get": "retrieve"}),
    ),
    path(
        "orgs/<org:org>/quotas/reservations/<id:hold_id>/commit",
        HoldViewSet.as_view({"post": "commit"}),
    ),
    path(
        "orgs/<org:org>/quotas/reservations/<id:hold_id>/release",
        HoldViewSet.as_view({"post": "release"}),
    ),
    path("orgs/<org:org>/usage", UsageView.as_view({"get": "retrieve"})),
    path("orgs/<org:org>/usage/history", UsageView.as_view({"get": "list"})),
    path("orgs/<org:org>/usage/events", UsageEventsView.as_view({"post": "create"})),
    path("orgs/<org:org>/alerts", AlertsView.as_view({"get": "retrieve", "put": "update"})),
    path("orgs/<org:org>/usage/meters", MeterUsageView.as_view({"get": "list"})),
]
