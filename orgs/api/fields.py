"""Fields that several endpoints of organizations share."""

from typing import Any

from rest_framework import serializers

from orgs.models import User, normalize_email
from orgs.roles import MEMBER_ROLES, Role, Scope
from spoke.core.serializers import BoundedListField

MAX_ADDRESS = 254
MAX_SCOPES = 20  # as sent, repetitions too


class AddressField(serializers.EmailField):
    """An e-mail address in the form it is stored in: trimmed, lower case."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_ADDRESS, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        # Before the validators run: lower case can be longer than what was sent.
        address = normalize_email(super().to_internal_value(data))
        # Ignoring case, Django's pattern takes four letters for i, k and s that are not.
        if not address.partition("@")[0].isascii():
            self.fail("invalid")
        return address


class RoleField(serializers.ChoiceField):
    """A role that a member can have."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[role.value for role in MEMBER_ROLES], **kwargs)

    def to_internal_value(self, data: Any) -> Role:
        return Role(super().to_internal_value(data))


class ScopesField(BoundedListField):
    """The scopes of a token, at least one; in any order, repetitions count once."""

    def __init__(self, **kwargs: Any) -> None:
        child = serializers.ChoiceField(choices=[scope.value for scope in Scope])
        super().__init__(child=child, allow_empty=False, max_length=MAX_SCOPES, **kwargs)

    def to_internal_value(self, data: Any) -> list[Scope]:
        return sorted({Scope(value) for value in super().to_internal_value(data)})


class PersonSerializer(serializers.Serializer[User]):
    """A person as others in the organization see them."""

    id = serializers.IntegerField()
    email = serializers.EmailField()
    name = serializers.CharField()
