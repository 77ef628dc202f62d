"""Who may do what: roles, permissions and token scopes. Pure; the table of api.md in code."""

from collections.abc import Iterable
from enum import StrEnum


class Role(StrEnum):
    """A member's role, or `staff` for Spoke's own people."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    VIEWER = "viewer"
    STAFF = "staff"


# The roles a member can have, strongest first.
MEMBER_ROLES = (Role.OWNER, Role.ADMIN, Role.DEVELOPER, Role.VIEWER)


class Permission(StrEnum):
    """One thing that can be allowed."""

    ORG_READ = "org:read"
    ORG_UPDATE = "org:update"
    ORG_CLOSE = "org:close"
    ORG_TRANSFER = "org:transfer"
    # What members do for themselves: leave, accept or decline ownership.
    ORG_SELF = "org:self"
    USAGE_READ = "usage:read"
    USAGE_WRITE = "usage:write"
    QUOTAS_READ = "quotas:read"
    QUOTAS_CHANGE = "quotas:change"
    MODULES_READ = "modules:read"
    MODULES_WRITE = "modules:write"
    TEAM_READ = "team:read"
    TEAM_WRITE = "team:write"
    TOKENS_READ = "tokens:read"
    TOKENS_WRITE = "tokens:write"
    AUDIT_READ = "audit:read"
    ALERTS_READ = "alerts:read"
    ALERTS_WRITE = "alerts:write"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"
    # What staff do to anybody's bills: make, void and credit invoices.
    BILLING_MANAGE = "billing:manage"


P = Permission
_VIEWER = frozenset({P.ORG_READ, P.ORG_SELF, P.USAGE_READ, P.QUOTAS_READ, P.MODULES_READ})
_DEVELOPER = _VIEWER | {P.MODULES_WRITE, P.USAGE_WRITE}
_TEAM = frozenset(
    {
        P.ORG_UPDATE,
        P.TEAM_READ,
        P.TEAM_WRITE,
        P.TOKENS_READ,
        P.TOKENS_WRITE,
        P.AUDIT_READ,
        P.ALERTS_READ,
        P.ALERTS_WRITE,
        P.BILLING_READ,
    }
)
_ADMIN = _DEVELOPER | _TEAM
_OWNER = _ADMIN | {P.BILLING_WRITE, P.ORG_CLOSE, P.ORG_TRANSFER}
_STAFF = _VIEWER | _TEAM | {P.ORG_CLOSE, P.ORG_TRANSFER, P.QUOTAS_CHANGE, P.BILLING_MANAGE}

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.OWNER: _OWNER,
    Role.ADMIN: _ADMIN,
    Role.DEVELOPER: _DEVELOPER,
    Role.VIEWER: _VIEWER,
    Role.STAFF: _STAFF,
}


class Scope(StrEnum):
    """What a token is for. A token never exceeds its user's role, whatever its scopes."""

    READ = "read"
    WRITE = "write"
    USAGE_WRITE = "usage:write"
    BILLING = "billing"
    ADMIN = "admin"


_READ = frozenset(
    {
        P.ORG_READ,
        P.USAGE_READ,
        P.QUOTAS_READ,
        P.MODULES_READ,
        P.TEAM_READ,
        P.ALERTS_READ,
        P.BILLING_READ,
    }
)
SCOPES: dict[Scope, frozenset[Permission]] = {
    Scope.READ: _READ,
    Scope.WRITE: _READ | {P.MODULES_WRITE},
    Scope.USAGE_WRITE: frozenset({P.USAGE_WRITE, P.QUOTAS_READ}),
    Scope.BILLING: frozenset({P.ORG_READ, P.BILLING_READ, P.BILLING_WRITE, P.USAGE_READ}),
    Scope.ADMIN: frozenset(Permission),
}


def permissions_of(
    roles: frozenset[Role], scopes: frozenset[Scope] | None
) -> frozenset[Permission]:
    """What the roles together allow, as far as the token's scopes reach (None: no token, no bound)."""
    allowed: frozenset[Permission] = frozenset().union(*(PERMISSIONS[role] for role in roles))
    if scopes is None:
        return allowed
    return allowed & reach_of(scopes)


def reach_of(scopes: Iterable[Scope]) -> frozenset[Permission]:
    """The permissions that scopes can let through, whatever the role."""
    return frozenset().union(*(SCOPES[scope] for scope in scopes))


def rank(role: Role) -> int:
    """The strength of a role: greater is stronger. Staff ranks above owner."""
    return {Role.STAFF: 5, Role.OWNER: 4, Role.ADMIN: 3, Role.DEVELOPER: 2, Role.VIEWER: 1}[role]


def may_grant(granter: Role, role: Role) -> bool:
    """Nobody grants above their own role."""
    return rank(granter) >= rank(role)
