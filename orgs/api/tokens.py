"""API tokens: a person's own, and an organization's."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet, PersonViewSet, principal_of
from orgs.api.token_serializers import (
    NewPersonalTokenSerializer,
    NewServiceTokenSerializer,
    PersonalTokenSerializer,
    ServiceTokenInput,
    ServiceTokenSerializer,
    TokenInput,
    TokenQuery,
)
from orgs.models import ApiToken
from orgs.models.token import TokenQuerySet
from orgs.roles import Permission, Scope
from orgs.services import tokens as service
from spoke.core.schema import problem_example
from spoke.core.views import SpokeViewSet

TAGS = ["Tokens"]
SECRET = "spk_" + "0" * 43 + "rDFAv0"  # an example: its checksum does not even hold
PERSONAL = {
    "id": 31,
    "name": "laptop",
    "prefix": "spk_00000000",
    "scopes": ["read", "write"],
    "status": "active",
    "created_at": "2026-03-01T10:00:00Z",
    "expires_at": "2026-05-30T10:00:00Z",
    "last_used_at": None,
    "revoked_at": None,
}
SERVICE = {
    **PERSONAL,
    "name": "ci",
    "role": "developer",
    "created_by": {"id": 3, "email": "ada@example.com", "name": "Ada"},
}
STRONGER = problem_example(
    "Stronger",
    status=403,
    code="insufficient_scope",
    detail="A token cannot create one whose scopes reach further than its own.",
)


class Listing:
    """What both lists of tokens share."""

    def page_of(self: Any, rows: TokenQuerySet) -> Response:
        """One page of the tokens that the query asks for, the active ones unless it says."""
        status = self.query["status"]
        rows = rows if status == "all" else rows.in_status(status, self.now)
        page = self.paginate_queryset(rows)
        response: Response = self.get_paginated_response(self.get_serializer(page, many=True).data)
        return response


def shown_once(view: SpokeViewSet, serializer: Any, token: ApiToken, secret: str) -> Response:
    """The only answer that holds the secret."""
    context = {**view.get_serializer_context(), "secret": secret}
    body = serializer(token, context=context).data
    return Response(body, status=201, headers={"Cache-Control": "no-store"})


class ServiceTokenViewSet(Listing, OrgScopedViewSet):
    permissions = {
        "list": Permission.TOKENS_READ,
        "create": Permission.TOKENS_WRITE,
        "destroy": Permission.TOKENS_WRITE,
    }
    queries = {"list": TokenQuery}
    serializer_class = ServiceTokenSerializer
    queryset = ApiToken.objects.none()

    @extend_schema(
        summary="List service tokens",
        description="Newest first; the active ones unless `status` says otherwise.",
        tags=TAGS,
        examples=[OpenApiExample("A token", value=SERVICE, response_only=True)],
    )
    def list(self, request: Request, org: str) -> Response:
        return self.page_of(ApiToken.objects.for_org(self.org.pk))

    @extend_schema(
        summary="Create a service token",
        description="The secret is in this answer only. No token is stronger than who creates it.",
        request=ServiceTokenInput,
        responses={201: NewServiceTokenSerializer},
        tags=TAGS,
        examples=[
            OpenApiExample(
                "For a pipeline",
                value={
                    "name": "ci",
                    "role": "developer",
                    "scopes": ["read", "write"],
                    "expires_in_days": 90,
                },
                request_only=True,
            ),
            OpenApiExample("Created", value={**SERVICE, "token": SECRET}, response_only=True),
            STRONGER,
        ],
    )
    def create(self, request: Request, org: str) -> Response:
        data = self.valid(ServiceTokenInput, request.data)
        token, secret = service.create_service_token(context=self.context, now=self.now, **data)
        return shown_once(self, NewServiceTokenSerializer, token, secret)

    @extend_schema(
        summary="Revoke a service token",
        description="It stops working with the next request. Revoking again changes nothing.",
        responses={204: None},
        tags=TAGS,
    )
    def destroy(self, request: Request, org: str, token_id: int) -> Response:
        service.revoke_service_token(
            org_id=self.org.pk, actor=self.context.actor, token_id=token_id, now=self.now
        )
        return Response(status=204)


class PersonalTokenViewSet(Listing, PersonViewSet):
    # Making or ending tokens takes a signed-in person, or a token that may do everything they may.
    scopes = {"list": Scope.READ, "create": Scope.ADMIN, "destroy": Scope.ADMIN}
    queries = {"list": TokenQuery}
    serializer_class = PersonalTokenSerializer
    queryset = ApiToken.objects.none()

    @extend_schema(
        summary="List your tokens",
        description="Newest first; the active ones unless `status` says otherwise.",
        tags=TAGS,
        examples=[OpenApiExample("A token", value=PERSONAL, response_only=True)],
    )
    def list(self, request: Request) -> Response:
        return self.page_of(ApiToken.objects.filter(user=self.user))

    @extend_schema(
        summary="Create a personal token",
        description="The secret is in this answer only. It acts as you, wherever you are a member.",
        request=TokenInput,
        responses={201: NewPersonalTokenSerializer},
        tags=TAGS,
        examples=[
            OpenApiExample(
                "For a laptop",
                value={"name": "laptop", "scopes": ["read", "write"], "expires_in_days": 90},
                request_only=True,
            ),
            OpenApiExample("Created", value={**PERSONAL, "token": SECRET}, response_only=True),
            STRONGER,
        ],
    )
    def create(self, request: Request) -> Response:
        data = self.valid(TokenInput, request.data)
        token, secret = service.create_personal_token(
            user=self.user, creator=principal_of(request), now=self.now, **data
        )
        return shown_once(self, NewPersonalTokenSerializer, token, secret)

    @extend_schema(
        summary="Revoke a personal token",
        description="It stops working with the next request. Revoking again changes nothing.",
        responses={204: None},
        tags=TAGS,
    )
    def destroy(self, request: Request, token_id: int) -> Response:
        service.revoke_personal_token(user=self.user, token_id=token_id, now=self.now)
        return Response(status=204)
