"""What goes in and out at the members' and the transfer's endpoints."""

from typing import Any

from rest_framework import serializers

from orgs.api.fields import AddressField, RoleField
from orgs.models import Membership, OwnershipTransfer, TransferStatus
from orgs.roles import MEMBER_ROLES, Role
from spoke.core.serializers import PageQuerySerializer, StrictSerializer

MAX_OPERATIONS = 500
MAX_ID = 2**63 - 1
ROLES = [role.value for role in MEMBER_ROLES]


class WhoInput(StrictSerializer):
    """A person, by number or by address."""

    user_id = serializers.IntegerField(required=False, min_value=1, max_value=MAX_ID)
    email = AddressField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("user_id" in attrs) == ("email" in attrs):
            raise serializers.ValidationError(
                {"user_id": ["Send either user_id or email."]}, code="invalid"
            )
        return attrs


class MemberInput(WhoInput):
    role = RoleField(default=Role.DEVELOPER.value)


class MemberChange(StrictSerializer):
    role = RoleField()


class MemberQuery(PageQuerySerializer):
    role = RoleField(required=False)
    email = serializers.CharField(required=False, max_length=254, help_text="A part of it.")


class MemberSerializer(serializers.Serializer[Membership]):
    user_id = serializers.IntegerField()
    email = serializers.EmailField(source="user.email")
    name = serializers.CharField(source="user.name")
    role = serializers.ChoiceField(choices=ROLES)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class OperationInput(WhoInput):
    op = serializers.ChoiceField(choices=["add", "change", "remove"])
    role = RoleField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        if attrs["op"] == "change" and "role" not in attrs:
            raise serializers.ValidationError(
                {"role": ["This field is required."]}, code="required"
            )
        if attrs["op"] == "remove" and "role" in attrs:
            raise serializers.ValidationError({"role": ["Removing takes no role."]}, code="invalid")
        return {"role": Role.DEVELOPER, **attrs} if attrs["op"] == "add" else attrs


class BulkInput(StrictSerializer):
    mode = serializers.ChoiceField(choices=["all_or_nothing", "per_row"], default="all_or_nothing")
    operations = OperationInput(  # type: ignore[call-arg]  # a list serializer takes it
        many=True, allow_empty=False, max_length=MAX_OPERATIONS
    )


class BulkRowSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField()
    status = serializers.ChoiceField(choices=["ok", "error"])
    code = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)


class BulkResultSerializer(serializers.Serializer[Any]):
    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()
    results = BulkRowSerializer(many=True)


class TransferSerializer(serializers.Serializer[OwnershipTransfer]):
    id = serializers.IntegerField()
    status = serializers.ChoiceField(choices=TransferStatus.choices)
    from_user_id = serializers.IntegerField()
    from_email = serializers.EmailField(source="from_user.email")
    to_user_id = serializers.IntegerField()
    to_email = serializers.EmailField(source="to_user.email")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
