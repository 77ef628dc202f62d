"""What people change about themselves."""

from orgs.models import Membership, User
from spoke.core import stamps


def rename_user(*, user: User, name: str) -> User:
    """The user is shown under this name from now on; an empty one shows the address."""
    User.objects.filter(pk=user.pk).update(name=name)
    user.name = name
    return user


def touch_organizations_of(*, user: User) -> None:
    """What is remembered of the user, wherever they are a member, ends with the commit.

    Call it where their memberships are visible: in their own scope or behind the door.
    """
    for org_id in Membership.objects.filter(user=user).values_list("org_id", flat=True):
        stamps.touch(org_id)
