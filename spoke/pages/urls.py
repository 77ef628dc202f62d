"""The addresses of the pages."""

from django.urls import URLPattern, URLResolver, path

from spoke.pages import paying, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.Organizations.as_view(), name="pages_organizations"),
    path("<org:org>/", views.Overview.as_view(), name="pages_overview"),
    path("<org:org>/modules", views.Modules.as_view(), name="pages_modules"),
    path("<org:org>/team", views.Team.as_view(), name="pages_team"),
    path("<org:org>/tokens", views.Tokens.as_view(), name="pages_tokens"),
    path("<org:org>/billing", paying.Billing.as_view(), name="pages_billing"),
    path("<org:org>/plan", paying.Plan.as_view(), name="pages_plan"),
    path("<org:org>/limits", paying.Limits.as_view(), name="pages_limits"),
    path("<org:org>/activity", views.Activity.as_view(), name="pages_activity"),
    path("<org:org>/settings", views.Settings.as_view(), name="pages_settings"),
    path("<org:org>/offer", views.Offer.as_view(), name="pages_offer"),
]
