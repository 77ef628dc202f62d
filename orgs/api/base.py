"""The two bases of every view: in an organization, or as a person."""

from contextlib import AbstractContextManager
from typing import Any, ClassVar

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request

from orgs.context import OrgContext, Principal, resolve_context
from orgs.models import Organization, User
from orgs.roles import Permission, Scope
from spoke.core import tenancy
from spoke.core.errors import AuthenticationRequired, Forbidden
from spoke.core.views import SpokeViewSet


def principal_of(request: Request) -> Principal:
    """The authenticated caller, as every authentication class here leaves it."""
    principal: Any = request.auth
    if not isinstance(principal, Principal):
        raise AuthenticationRequired("Authentication credentials were not provided.")
    return principal


class OrgScopedViewSet(SpokeViewSet):
    """Everything under /orgs/{org}/: the one place that scopes to an organization and authorises.

    `permissions` names the permission of every action; an action without one is refused, and a test
    fails. Outsiders get a 404 whatever the method.
    """

    permissions: ClassVar[dict[str, Permission]] = {}
    context: OrgContext

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        self.context = resolve_context(principal_of(request), self.kwargs["org"])
        if self.action is None or self.action not in self.permissions:
            raise MethodNotAllowed(request.method or "")
        self.context.require(self.permissions[self.action])

    def scope(self) -> AbstractContextManager[None]:
        scope: AbstractContextManager[None] = tenancy.organization(self.context.org.pk)
        return scope

    @property
    def org(self) -> Organization:
        """The organization that the request is about."""
        return self.context.org


class PersonViewSet(SpokeViewSet):
    """What a person does as themselves: their organizations, tokens and invitations."""

    # The token scope each action needs; a signed-in person needs none.
    scopes: ClassVar[dict[str, Scope]] = {}

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        principal = principal_of(request)
        if self.action is None or self.action not in self.scopes:
            raise MethodNotAllowed(request.method or "")
        if principal.user is None:
            raise Forbidden(
                "A service token acts in its organization only.", code="person_required"
            )
        if not principal.has_scope(self.scopes[self.action]):
            raise Forbidden(
                f"The token's scopes do not allow this: it needs {self.scopes[self.action]}.",
                code="insufficient_scope",
            )

    def scope(self) -> AbstractContextManager[None]:
        scope: AbstractContextManager[None] = tenancy.person(self.user.pk)
        return scope

    @property
    def user(self) -> User:
        """The calling person."""
        user = principal_of(self.request).user
        if user is None:  # check_permissions let persons only through
            raise Forbidden("A service token is no person.", code="person_required")
        return user
