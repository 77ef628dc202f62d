"""The bases of every view: in an organization, as a person, or as anybody who is signed in."""

from typing import Any, ClassVar

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request

from orgs.api.auth import Remembering
from orgs.context import (
    ACCOUNT_HEADER,
    OrgContext,
    Principal,
    resolve_caller,
    resolve_context,
)
from orgs.models import Organization, User
from orgs.roles import Permission, Scope, reach_of
from orgs.services.grants import Grant, forget, remember
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
    # What the context stands on; None where every request looks it up.
    grant: Grant | None = None
    # Whether the context comes from memory, so that the throttle has to compare its stamp.
    remembered: bool = False

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        self._resolve(request)
        try:
            self._authorise_action(request)
        except Forbidden:
            if not self.remembered:
                raise
            self.look_up_again(request)

    def look_up_again(self, request: Request) -> None:
        """Authenticates and authorises anew, from the database: what was remembered is doubtful."""
        known: Remembering = request.remembering  # type: ignore[attr-defined]
        forget(raw=known.raw, ref=known.ref)
        request._authenticate()  # type: ignore[attr-defined]  # as the request did at first
        self._resolve(request)
        self._authorise_action(request)

    def _resolve(self, request: Request) -> None:
        principal = principal_of(request)
        known: Remembering | None = getattr(request, "remembering", None)
        self.grant, self.remembered = (
            (known.grant, True) if known and known.grant else (None, False)
        )
        if self.grant is not None:
            self.context = self.grant.context
            return
        ref = self.kwargs["org"]
        self.context = resolve_context(principal, ref)
        if known is not None and principal.token is not None:
            self.grant = remember(
                raw=known.raw,
                ref=ref,
                principal=principal,
                context=self.context,
                sighting=known.sighting,
            )

    def _authorise_action(self, request: Request) -> None:
        if self.action is None or self.action not in self.permissions:
            raise MethodNotAllowed(request.method or "")
        self.context.require(self.permissions[self.action])

    def scope(self) -> tenancy.Scope:
        return tenancy.Scope(org_id=self.context.org.pk)

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

    def scope(self) -> tenancy.Scope:
        return tenancy.Scope(user_id=self.user.pk)

    @property
    def user(self) -> User:
        """The calling person."""
        user = principal_of(self.request).user
        if user is None:  # check_permissions let persons only through
            raise Forbidden("A service token is no person.", code="person_required")
        return user


class SharedViewSet(SpokeViewSet):
    """What organizations share with everybody who is signed in. It is only read.

    Counted against the caller's organization: a service token's own; of a person the one that
    `X-Spoke-Organization` names, or else their oldest. Whoever has none has a limit of their own.
    """

    permission: ClassVar[Permission]
    http_method_names = ["get", "head"]
    context: OrgContext | None = None
    grant: Grant | None = None
    remembered: bool = False

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        principal = principal_of(request)
        if self.action is None:
            raise MethodNotAllowed(request.method or "")
        self.context = resolve_caller(principal, request.headers.get(ACCOUNT_HEADER))
        if self.context is not None:
            self.context.require(self.permission)
        elif principal.scopes is not None and self.permission not in reach_of(principal.scopes):
            raise Forbidden(
                f"The token's scopes do not allow this: it needs {self.permission.value}.",
                code="insufficient_scope",
                required_permission=self.permission.value,
            )

    def scope(self) -> tenancy.Scope:
        return tenancy.Scope(org_id=self.context.org.pk if self.context else None, shared=True)

    @property
    def org(self) -> Organization:
        """The organization that the request is counted against, where there is one."""
        if self.context is None:
            raise AuthenticationRequired("The caller belongs to no organization.")
        return self.context.org
