"""What people change about themselves."""

from orgs.models import User


def rename_user(*, user: User, name: str) -> User:
    """The user is shown under this name from now on; an empty one shows the address."""
    User.objects.filter(pk=user.pk).update(name=name)
    user.name = name
    return user
