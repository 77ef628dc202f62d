"""What goes in and out at the tokens' endpoints."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from orgs.api.fields import PersonSerializer, RoleField, ScopesField
from orgs.models import ApiToken, TokenStatus
from orgs.roles import MEMBER_ROLES, Scope
from spoke.core.serializers import PageQuerySerializer, StrictSerializer

MAX_DAYS = 3650
SCOPES = [scope.value for scope in Scope]


class TokenInput(StrictSerializer):
    name = serializers.CharField(max_length=100, help_text="What the token is for.")
    scopes = ScopesField(
        default=[Scope.READ, Scope.WRITE], help_text="What the token reaches; at most what you do."
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    expires_in_days = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_DAYS,
        help_text="Instead of `expires_at`. Without either the token does not expire.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        days = attrs.pop("expires_in_days", None)
        if days is None:
            return attrs
        if attrs.get("expires_at") is not None:
            raise serializers.ValidationError(
                {"expires_in_days": ["Send this or expires_at, not both."]}, code="invalid"
            )
        return {**attrs, "expires_at": self.context["view"].now + timedelta(days=days)}


class ServiceTokenInput(TokenInput):
    role = RoleField(default="developer", help_text="At most your own role.")


class TokenQuery(PageQuerySerializer):
    status = serializers.ChoiceField(
        choices=["all", *TokenStatus.values], default=TokenStatus.ACTIVE.value
    )


class PersonalTokenSerializer(serializers.Serializer[ApiToken]):
    """A token that acts as its user; the secret is in the answer to its creation only."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The first characters, to recognize the token by.")
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=SCOPES))
    status = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(
        allow_null=True, help_text="To the minute; null: never used."
    )
    revoked_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field(serializers.ChoiceField(choices=TokenStatus.choices))
    def get_status(self, token: ApiToken) -> str:
        return token.status_at(self.context["view"].now).value


class NewPersonalTokenSerializer(PersonalTokenSerializer):
    token = serializers.SerializerMethodField(help_text="The secret. Shown in this answer only.")

    def get_token(self, token: ApiToken) -> str:
        return str(self.context["secret"])


class ServiceTokenSerializer(PersonalTokenSerializer):
    """A token of the organization; it lives on when its creator leaves."""

    role = serializers.ChoiceField(choices=[role.value for role in MEMBER_ROLES])
    created_by = PersonSerializer(allow_null=True)


class NewServiceTokenSerializer(ServiceTokenSerializer):
    token = serializers.SerializerMethodField(help_text="The secret. Shown in this answer only.")

    def get_token(self, token: ApiToken) -> str:
        return str(self.context["secret"])
