"""What goes in and out at the invitations' endpoints."""

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from orgs.api.fields import AddressField, PersonSerializer, RoleField
from orgs.models import Invitation, InvitationStatus, Membership
from orgs.roles import MEMBER_ROLES
from orgs.services.invitations import Offer
from spoke.core.serializers import PageQuerySerializer, StrictSerializer

ROLES = [role.value for role in MEMBER_ROLES]


class InvitationInput(StrictSerializer):
    email = AddressField(help_text="Who is invited; the account that accepts must own it.")
    role = RoleField(default="developer", help_text="At most your own role.")


class InvitationQuery(PageQuerySerializer):
    status = serializers.ChoiceField(choices=InvitationStatus.choices, required=False)
    email = AddressField(required=False)


class InvitationSerializer(serializers.Serializer[Invitation]):
    """An invitation; its token is in the answers to create and resend, and nowhere else."""

    id = serializers.IntegerField()
    email = serializers.EmailField()
    role = serializers.ChoiceField(choices=ROLES)
    status = serializers.SerializerMethodField()
    invited_by = PersonSerializer(allow_null=True)
    accepted_by = PersonSerializer(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(
        allow_null=True, help_text="When it was accepted, revoked or found expired."
    )

    @extend_schema_field(serializers.ChoiceField(choices=InvitationStatus.choices))
    def get_status(self, invitation: Invitation) -> str:
        return invitation.status_at(self.context["view"].now).value


class NewInvitationSerializer(InvitationSerializer):
    token = serializers.SerializerMethodField(help_text="Shown in this answer only.")
    accept_url = serializers.SerializerMethodField(
        help_text="The page the e-mail links to. Shown in this answer only."
    )

    def get_token(self, invitation: Invitation) -> str:
        return str(self.context["token"])

    def get_accept_url(self, invitation: Invitation) -> str:
        return str(self.context["accept_url"])


class OrganizationNameSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    display_name = serializers.CharField()


class InviterSerializer(serializers.Serializer[Any]):
    email = serializers.EmailField()
    name = serializers.CharField()


class OfferSerializer(serializers.Serializer[Offer]):
    """What an invitation's token invites to."""

    organization = OrganizationNameSerializer(source="org")
    role = serializers.ChoiceField(choices=ROLES, source="invitation.role")
    email = serializers.EmailField(source="invitation.email")
    invited_by = InviterSerializer(source="invitation.invited_by", allow_null=True)
    created_at = serializers.DateTimeField(source="invitation.created_at")
    expires_at = serializers.DateTimeField(source="invitation.expires_at")


@extend_schema_serializer(component_name="AcceptedInvitation")
class AcceptedSerializer(serializers.Serializer[Membership]):
    """The membership that accepting an invitation made."""

    organization = OrganizationNameSerializer(source="org")
    user_id = serializers.IntegerField()
    role = serializers.ChoiceField(choices=ROLES)
    created_at = serializers.DateTimeField()
