"""Who is calling, and what they may do in which organization."""

import re
from dataclasses import dataclass, field

from orgs.models import ApiToken, Membership, Organization, OrganizationStatus, User
from orgs.roles import Permission, Role, Scope, permissions_of, rank
from spoke.core import tenancy
from spoke.core.errors import Forbidden, InvalidInput, NotFound

# What still works while an organization is suspended: reading, paying, leaving, closing.
ALLOWED_WHILE_SUSPENDED = frozenset(
    permission for permission in Permission if permission.value.endswith(":read")
) | {Permission.BILLING_WRITE, Permission.ORG_SELF, Permission.ORG_CLOSE}
ALLOWED_WHILE_CLOSED = frozenset(
    permission for permission in Permission if permission.value.endswith(":read")
) | {Permission.ORG_CLOSE}


@dataclass(frozen=True)
class Actor:
    """Who did something, as the audit log keeps it."""

    kind: str  # user | token (a service token) | staff | system
    id: int | None
    label: str
    user: User | None = field(default=None, compare=False)


# Names the organization that a person calls for, where the address names none.
ACCOUNT_HEADER = "X-Spoke-Organization"
NUMBER = re.compile("[0-9]{1,18}")  # as in addresses (spoke.core.converters)
SYSTEM = Actor("system", None, "system")


@dataclass(frozen=True)
class Principal:
    """An authenticated caller: a user (perhaps by a personal token) or a service token."""

    user: User | None
    token: ApiToken | None = None

    @property
    def scopes(self) -> frozenset[Scope] | None:
        """The token's reach; None for a signed-in person, whom only their role bounds."""
        return None if self.token is None else frozenset(Scope(s) for s in self.token.scopes)

    def has_scope(self, scope: Scope) -> bool:
        """Whether calls outside any organization that need this scope are allowed."""
        enough = {scope, Scope.ADMIN} | ({Scope.WRITE} if scope is Scope.READ else set())
        return self.scopes is None or not enough.isdisjoint(self.scopes)


@dataclass(frozen=True)
class OrgContext:
    """A caller in an organization: the only thing that authorises."""

    org: Organization
    actor: Actor
    role: Role
    permissions: frozenset[Permission]
    # What the role allows without the bound of the token's scopes, to tell the two refusals apart.
    role_permissions: frozenset[Permission]
    membership: Membership | None = None

    def can(self, permission: Permission) -> bool:
        """Whether the caller may do this, leaving the organization's status aside."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Raises Forbidden unless the caller may do this now."""
        if permission not in self.role_permissions:
            raise Forbidden(
                f"Your role ({self.role.value}) does not allow this: it needs {permission.value}.",
                required_permission=permission.value,
            )
        if permission not in self.permissions:
            raise Forbidden(
                f"The token's scopes do not allow this: it needs {permission.value}.",
                code="insufficient_scope",
                required_permission=permission.value,
            )
        if self.role is Role.STAFF:
            return
        require_open(self.org, permission)


def require_open(org: Organization, permission: Permission) -> None:
    """Raises Forbidden when the organization's status does not allow this."""
    if org.status == OrganizationStatus.SUSPENDED and permission not in ALLOWED_WHILE_SUSPENDED:
        raise Forbidden(
            "The organization is suspended: reading works, changing does not.",
            code="organization_suspended",
        )
    if org.status == OrganizationStatus.CLOSED and permission not in ALLOWED_WHILE_CLOSED:
        raise Forbidden("The organization is closed.", code="organization_closed")


def resolve_context(principal: Principal, ref: str) -> OrgContext:
    """The caller's place in the organization named by number or slug.

    Raises NotFound for outsiders, whether or not the organization exists.
    """
    context = (
        _service_context(principal.token, ref)
        if principal.user is None and principal.token is not None
        else _user_context(principal, ref)
    )
    if context is None:
        raise NotFound("There is no such organization, or you are not a member of it.")
    closed = context.org.status == OrganizationStatus.CLOSED
    if closed and rank(context.role) < rank(Role.OWNER):
        raise NotFound("There is no such organization, or you are not a member of it.")
    return context


def _by_ref(ref: str, prefix: str = "") -> dict[str, str | int]:
    # A slug starts with a letter, so the two never meet. Not every digit or number is a number of ours.
    if ref.isdigit() and not NUMBER.fullmatch(ref):
        raise NotFound("There is no such organization, or you are not a member of it.")
    return {f"{prefix}id": int(ref)} if ref.isdigit() else {f"{prefix}name": ref}


def _user_context(principal: Principal, ref: str) -> OrgContext | None:
    user = principal.user
    if user is None:
        return None
    with tenancy.person(user.pk):
        membership = (
            Membership.objects.select_related("org")
            .filter(user_id=user.pk, **_by_ref(ref, "org__"))
            .first()
        )
    org = membership.org if membership else None
    if org is None and user.is_staff:
        with tenancy.all_organizations(reason="staff reads context", actor=f"user:{user.pk}"):
            org = Organization.objects.filter(**_by_ref(ref)).first()
    if org is None:
        return None
    roles = {Role(membership.role)} if membership else set()
    if user.is_staff:
        roles.add(Role.STAFF)
    role = max(roles, key=rank)
    kind = "staff" if membership is None else "user"
    return OrgContext(
        org=org,
        actor=Actor(kind, user.pk, user.email, user),
        role=role,
        permissions=permissions_of(frozenset(roles), principal.scopes),
        role_permissions=permissions_of(frozenset(roles), None),
        membership=membership,
    )


def _service_context(token: ApiToken, ref: str) -> OrgContext | None:
    if token.org_id is None:
        return None
    with tenancy.organization(token.org_id):
        org = Organization.objects.filter(pk=token.org_id, **_by_ref(ref)).first()
    # Reading what is closed is for people who may still reopen it, not for machines.
    if org is None or org.status == OrganizationStatus.CLOSED:
        return None
    roles = frozenset({Role(token.role)})
    scopes = frozenset(Scope(scope) for scope in token.scopes)
    return OrgContext(
        org=org,
        actor=Actor("token", token.pk, f"{token.prefix}… {token.name}"),
        role=Role(token.role),
        permissions=permissions_of(roles, scopes),
        role_permissions=permissions_of(roles, None),
    )


def resolve_caller(principal: Principal, named: str | None) -> OrgContext | None:
    """The organization on whose account somebody calls who asks nothing of their own one.

    A service token's is its own. A person's is the one they name, by number or slug, or else that of
    their oldest membership in one that is not closed; None where they have none. Raises InvalidInput
    (`not_a_member`) where they do not belong to the one named.
    """
    ref = named or _own_ref(principal)
    if ref is None:
        return None
    try:
        context = resolve_context(principal, ref)
    except NotFound:
        context = None
    if context is None or (context.membership is None and principal.user is not None):
        raise InvalidInput(
            "You are not a member of this organization.", field=ACCOUNT_HEADER, code="not_a_member"
        )
    return context


def _own_ref(principal: Principal) -> str | None:
    if principal.user is None:
        return str(principal.token.org_id) if principal.token else None
    with tenancy.person(principal.user.pk):
        mine = Membership.objects.filter(user_id=principal.user.pk)
        found = (
            mine.exclude(org__status=OrganizationStatus.CLOSED)
            .order_by("created_at", "pk")
            .values_list("org_id", flat=True)
            .first()
        )
    return None if found is None else str(found)
