"""The addresses of orgs."""

from django.urls import URLPattern, URLResolver, path

from orgs.api import converters
from orgs.api.audit import AuditLogViewSet
from orgs.api.invitations import AcceptanceViewSet, InvitationViewSet, OfferViewSet
from orgs.api.me import MeViewSet
from orgs.api.members import MemberListViewSet, MemberViewSet
from orgs.api.organizations import OrganizationListViewSet, OrganizationViewSet
from orgs.api.tokens import PersonalTokenViewSet, ServiceTokenViewSet
from orgs.api.transfers import TransferViewSet

converters.register()

urlpatterns: list[URLPattern | URLResolver] = [
    path("orgs", OrganizationListViewSet.as_view({"get": "list", "post": "create"})),
    path(
        "orgs/<org:org>",
        OrganizationViewSet.as_view(
            {"get": "retrieve", "put": "update", "patch": "update", "delete": "destroy"}
        ),
    ),
    path("orgs/<org:org>/reopen", OrganizationViewSet.as_view({"post": "reopen"})),
    path("orgs/<org:org>/members", MemberListViewSet.as_view({"get": "list", "post": "create"})),
    path("orgs/<org:org>/members/bulk", MemberListViewSet.as_view({"post": "bulk"})),
    path(
        "orgs/<org:org>/members/<id:user_id>",
        MemberViewSet.as_view(
            {"get": "retrieve", "put": "update", "patch": "update", "delete": "destroy"}
        ),
    ),
    path(
        "orgs/<org:org>/transfer",
        TransferViewSet.as_view({"get": "retrieve", "post": "create", "delete": "destroy"}),
    ),
    path("orgs/<org:org>/transfer/accept", TransferViewSet.as_view({"post": "accept"})),
    path(
        "orgs/<org:org>/invitations",
        InvitationViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(
        "orgs/<org:org>/invitations/<id:invitation_id>",
        InvitationViewSet.as_view({"delete": "destroy"}),
    ),
    path(
        "orgs/<org:org>/invitations/<id:invitation_id>/resend",
        InvitationViewSet.as_view({"post": "resend"}),
    ),
    path("invitations/<invitation:token>", OfferViewSet.as_view({"get": "retrieve"})),
    path("invitations/<invitation:token>/accept", AcceptanceViewSet.as_view({"post": "accept"})),
    path("orgs/<org:org>/tokens", ServiceTokenViewSet.as_view({"get": "list", "post": "create"})),
    path("orgs/<org:org>/tokens/<id:token_id>", ServiceTokenViewSet.as_view({"delete": "destroy"})),
    path("orgs/<org:org>/audit-log", AuditLogViewSet.as_view({"get": "list"})),
    path("orgs/<org:org>/audit-log/export", AuditLogViewSet.as_view({"get": "export"})),
    path("me", MeViewSet.as_view({"get": "retrieve", "put": "update", "patch": "update"})),
    path("me/tokens", PersonalTokenViewSet.as_view({"get": "list", "post": "create"})),
    path("me/tokens/<id:token_id>", PersonalTokenViewSet.as_view({"delete": "destroy"})),
]
