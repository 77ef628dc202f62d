"""The pages of orgs for people; sign-in and account pages are the account library's."""

from django.urls import URLPattern, URLResolver, path

from orgs.web import views

# The converter is registered by orgs.api.urls, which the root configuration includes first.
urlpatterns: list[URLPattern | URLResolver] = [
    path("accounts/invitations/<invitation:token>", views.invitation, name="orgs_invitation"),
    path("accounts/invitations/back/<str:sealed>", views.back, name="orgs_invitation_back"),
]
