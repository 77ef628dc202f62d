"""Who is calling: a person or a service token."""

from typing import Any

from allauth.account.models import EmailAddress
from drf_spectacular.utils import (
    OpenApiExample,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_field,
)
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import principal_of
from orgs.api.invitation_serializers import OrganizationNameSerializer
from orgs.api.token_serializers import SCOPES
from orgs.models import ApiToken, Organization, OrganizationStatus, User
from orgs.roles import MEMBER_ROLES, Scope
from orgs.services.people import rename_user
from spoke.core import tenancy
from spoke.core.errors import Forbidden
from spoke.core.serializers import StrictSerializer
from spoke.core.views import SpokeViewSet

TAGS = ["Me"]
PERSON = {
    "kind": "user",
    "id": 3,
    "email": "ada@example.com",
    "name": "Ada",
    "email_verified": True,
    "is_staff": False,
    "token": {
        "id": 31,
        "name": "laptop",
        "prefix": "spk_00000000",
        "scopes": ["read", "write"],
        "expires_at": None,
    },
}
SERVICE = {
    "kind": "service_token",
    "id": 32,
    "name": "ci",
    "prefix": "spk_00000000",
    "role": "developer",
    "scopes": ["read", "write"],
    "expires_at": None,
    "organization": {"id": 7, "name": "acme", "display_name": "Acme Inc."},
}


class ProfileInput(StrictSerializer):
    name = serializers.CharField(max_length=200, allow_blank=True, required=False)


class UsedTokenSerializer(serializers.Serializer[ApiToken]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    prefix = serializers.CharField()
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=SCOPES))
    expires_at = serializers.DateTimeField(allow_null=True)


class PersonProfileSerializer(serializers.Serializer[User]):
    """The calling person; `token` is the personal token in use, null in a session."""

    kind = serializers.SerializerMethodField()
    id = serializers.IntegerField()
    email = serializers.EmailField()
    name = serializers.CharField()
    email_verified = serializers.SerializerMethodField()
    is_staff = serializers.BooleanField()
    token = serializers.SerializerMethodField()

    def get_kind(self, user: User) -> str:
        return "user"

    def get_email_verified(self, user: User) -> bool:
        addresses = EmailAddress.objects.filter(user=user, email__iexact=user.email)
        return bool(addresses.filter(verified=True).exists())

    @extend_schema_field(UsedTokenSerializer(allow_null=True))
    def get_token(self, user: User) -> Any:
        token: ApiToken | None = self.context["token"]
        return None if token is None else UsedTokenSerializer(token).data


class ServiceProfileSerializer(UsedTokenSerializer):
    """The calling service token."""

    kind = serializers.SerializerMethodField()
    role = serializers.ChoiceField(choices=[role.value for role in MEMBER_ROLES])
    organization = serializers.SerializerMethodField()

    def get_kind(self, token: ApiToken) -> str:
        return "service_token"

    @extend_schema_field(OrganizationNameSerializer)
    def get_organization(self, token: ApiToken) -> Any:
        return OrganizationNameSerializer(self.context["organization"]).data


ANSWER = PolymorphicProxySerializer(
    component_name="Me",
    serializers={"user": PersonProfileSerializer, "service_token": ServiceProfileSerializer},
    resource_type_field_name="kind",
)


class MeViewSet(SpokeViewSet):
    """Any credential may ask what it is; changing oneself takes a person."""

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        principal = principal_of(request)
        if self.action == "retrieve":
            return
        if principal.user is None:
            raise Forbidden("A service token is no person.", code="person_required")
        if not principal.has_scope(Scope.WRITE):
            raise Forbidden(
                "The token's scopes do not allow this: it needs write.", code="insufficient_scope"
            )

    def scope(self) -> tenancy.Scope:
        principal = principal_of(self.request)
        if principal.user is not None:
            return tenancy.Scope(user_id=principal.user.pk)
        return tenancy.Scope(org_id=principal.token.org_id if principal.token else None)

    @extend_schema(
        summary="Who am I",
        description="The person, or the service token, that the credentials stand for.",
        responses=ANSWER,
        tags=TAGS,
        examples=[
            OpenApiExample("A person", value=PERSON, response_only=True),
            OpenApiExample("A service token", value=SERVICE, response_only=True),
        ],
    )
    def retrieve(self, request: Request) -> Response:
        principal = principal_of(request)
        if principal.user is not None:
            return self._person(principal.user, principal.token)
        return self._service_token(principal.token)

    @extend_schema(
        summary="Change your profile",
        request=ProfileInput,
        responses=PersonProfileSerializer,
        tags=TAGS,
        examples=[
            OpenApiExample("A name", value={"name": "Ada"}, request_only=True),
            OpenApiExample("Changed", value=PERSON, response_only=True),
        ],
    )
    def update(self, request: Request) -> Response:
        data = self.valid(ProfileInput, request.data)
        principal = principal_of(request)
        user: Any = principal.user
        if "name" in data:
            user = rename_user(user=user, name=data["name"])
        return self._person(user, principal.token)

    def _person(self, user: User, token: ApiToken | None) -> Response:
        context = {**self.get_serializer_context(), "token": token}
        return Response(PersonProfileSerializer(user, context=context).data)

    def _service_token(self, token: ApiToken | None) -> Response:
        org_id = token.org_id if token else None
        org = Organization.objects.filter(pk=org_id).first() if org_id else None
        if org is None or org.status == OrganizationStatus.CLOSED:
            raise Forbidden("The organization is closed.", code="organization_closed")
        context = {**self.get_serializer_context(), "organization": org}
        return Response(ServiceProfileSerializer(token, context=context).data)
