"""What goes in and out at the organizations' endpoints."""

from typing import Any

from drf_spectacular.utils import extend_schema_field, inline_serializer
from rest_framework import serializers

from orgs.api.fields import RoleField
from orgs.models import Organization, OrganizationStatus
from orgs.roles import MEMBER_ROLES, Role
from orgs.services.organizations import FREE, PAID
from spoke.core.serializers import JSONObjectField, PageQuerySerializer, StrictSerializer

ROLES = [role.value for role in MEMBER_ROLES]


class OrganizationInput(StrictSerializer):
    name = serializers.RegexField(
        r"^[a-z][a-z0-9]*(-[a-z0-9]+)*\Z",
        min_length=3,
        max_length=63,
        help_text="The slug: lower-case letters, digits and single hyphens. It never changes.",
    )
    display_name = serializers.CharField(required=False, max_length=200)
    description = serializers.CharField(default="", max_length=2000, allow_blank=True)
    plan_tier = serializers.ChoiceField(choices=[FREE, *PAID], default=FREE)
    settings = JSONObjectField(default=dict, help_text="Yours to use; Spoke only stores it.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {"display_name": attrs["name"], **attrs}


class OrganizationChange(StrictSerializer):
    name = serializers.CharField(required=False, help_text="Accepted only as it is.")
    display_name = serializers.CharField(required=False, max_length=200)
    description = serializers.CharField(required=False, max_length=2000, allow_blank=True)
    settings = JSONObjectField(required=False)

    def validate_name(self, name: str) -> str:
        if name != self.context["view"].org.name:
            raise serializers.ValidationError("The name never changes.", code="immutable")
        return name


class OrganizationQuery(PageQuerySerializer):
    status = serializers.ChoiceField(choices=OrganizationStatus.choices, required=False)
    role = RoleField(required=False)


class OwnerSerializer(serializers.Serializer[Any]):
    user_id = serializers.IntegerField(source="pk")
    email = serializers.EmailField()
    name = serializers.CharField()


class OrganizationSerializer(serializers.Serializer[Organization]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    display_name = serializers.CharField()
    description = serializers.CharField()
    plan_tier = serializers.CharField(help_text="The plan in force.")
    pending_plan_tier = serializers.SerializerMethodField(
        help_text="The paid tier asked for, until its subscription is completed."
    )
    next_step = serializers.SerializerMethodField()
    status = serializers.ChoiceField(choices=OrganizationStatus.choices)
    status_reason = serializers.CharField()
    settings = serializers.DictField()
    owner = OwnerSerializer()
    role = serializers.SerializerMethodField(help_text="Your own role.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)
    purge_after = serializers.DateTimeField(allow_null=True)

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_pending_plan_tier(self, org: Organization) -> str | None:
        return org.pending_plan_tier or None

    @extend_schema_field(
        inline_serializer(
            "NextStep",
            {
                "detail": serializers.CharField(),
                "method": serializers.CharField(),
                "url": serializers.CharField(),
            },
            allow_null=True,
        )
    )
    def get_next_step(self, org: Organization) -> dict[str, str] | None:
        if not org.pending_plan_tier:
            return None
        return {
            "detail": (
                f"The organization is on the free plan's limits until its"
                f" {org.pending_plan_tier} subscription is completed."
            ),
            "method": "POST",
            "url": f"/orgs/{org.pk}/subscription",
        }

    @extend_schema_field(serializers.ChoiceField(choices=[*ROLES, Role.STAFF.value]))
    def get_role(self, org: Organization) -> str:
        roles: dict[int, str] = self.context["roles"]
        return roles[org.pk]
