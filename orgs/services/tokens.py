"""API tokens: made once, shown once, kept as digests."""

import hashlib
import secrets
import string
import zlib
from datetime import datetime, timedelta

from django.db.models import Q

from orgs.context import Actor, OrgContext, Principal
from orgs.models import ApiToken, User
from orgs.roles import Role, Scope, may_grant, permissions_of, reach_of
from orgs.services.audit import record_event
from orgs.services.people import touch_organizations_of
from spoke.core import tenancy
from spoke.core.errors import Forbidden, InvalidInput, NotFound

# spk_ + 43 base62 characters (256 random bits) + 6 characters of CRC-32: secret scanners find it by
# its form, and a mistyped token is refused without a look into the database.
TOKEN_PREFIX = "spk_"  # noqa: S105
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
SECRET_LENGTH, CHECKSUM_LENGTH, VISIBLE_LENGTH = 43, 6, 12
# The time of last use is written at most this often, so that reading costs no write each time.
LAST_USED_RESOLUTION = timedelta(minutes=1)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, rest = divmod(number, 62)
        digits.append(BASE62[rest])
    return "".join(reversed(digits))


def _checksum(secret: str) -> str:
    return _base62(zlib.crc32(secret.encode()), CHECKSUM_LENGTH)


def new_secret() -> str:
    """A new bearer token of 256 random bits."""
    secret = _base62(secrets.randbits(256), SECRET_LENGTH)
    return f"{TOKEN_PREFIX}{secret}{_checksum(secret)}"


def is_well_formed(raw: str) -> bool:
    """Whether the text has the form and the checksum of one of our tokens."""
    body = raw.removeprefix(TOKEN_PREFIX)
    if body == raw or len(body) != SECRET_LENGTH + CHECKSUM_LENGTH or not body.isalnum():
        return False
    return body.isascii() and _checksum(body[:SECRET_LENGTH]) == body[SECRET_LENGTH:]


def digest_of(raw: str) -> str:
    """What is stored of a token: the hex SHA-256."""
    return hashlib.sha256(raw.encode()).hexdigest()


def resolve_token(*, raw: str, now: datetime) -> Principal | None:
    """The principal of a usable token; None for one that is unknown, revoked or expired."""
    if not is_well_formed(raw):
        return None
    digest = digest_of(raw)
    with tenancy.presenting(digest):
        token = ApiToken.objects.usable(now).filter(digest=digest).select_related("user").first()
        if token is None or (token.user is not None and not token.user.is_active):
            return None
        stale = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - LAST_USED_RESOLUTION)
        if token.last_used_at is None or token.last_used_at <= now - LAST_USED_RESOLUTION:
            ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    return Principal(user=token.user, token=token)


def create_personal_token(
    *,
    user: User,
    name: str,
    scopes: list[Scope],
    now: datetime,
    expires_at: datetime | None = None,
    creator: Principal | None = None,
) -> tuple[ApiToken, str]:
    """Creates a token that acts as the user, and returns it with its secret, which is not kept.

    `creator` is who asks for it, None for the user themselves. Raises Forbidden
    (`insufficient_scope`) when a scope reaches past the creator's token, InvalidInput when
    `expires_at` is not in the future.
    """
    _require_future(expires_at, now)
    if creator is not None and creator.scopes is not None:
        missing = reach_of(scopes) - reach_of(creator.scopes)
        if missing:
            raise Forbidden(
                "A token cannot create one whose scopes reach further than its own.",
                field="scopes",
                code="insufficient_scope",
            )
    raw = new_secret()
    token = ApiToken.objects.create(
        user=user,
        created_by=user,
        name=name,
        prefix=raw[:VISIBLE_LENGTH],
        digest=digest_of(raw),
        scopes=sorted(set(scopes)),
        created_at=now,
        expires_at=expires_at,
    )
    return token, raw


def create_service_token(
    *,
    context: OrgContext,
    name: str,
    role: Role,
    scopes: list[Scope],
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Creates a token of the organization, no stronger than the caller, and returns it and its secret.

    Raises Forbidden when the role goes beyond the caller's own, or when role and scopes together
    allow what the caller may not do (`insufficient_scope`); InvalidInput when `expires_at` is not in
    the future.
    """
    _require_future(expires_at, now)
    granter = Role.ADMIN if context.role is Role.STAFF else context.role
    if not may_grant(granter, role):
        raise Forbidden("Nobody grants above their own role.", field="role", code="role_too_high")
    beyond = permissions_of(frozenset({role}), frozenset(scopes)) - context.permissions
    if beyond:
        raise Forbidden(
            f"The token would be allowed what you are not: {', '.join(sorted(beyond))}.",
            field="scopes",
            code="insufficient_scope",
        )
    raw = new_secret()
    token = ApiToken.objects.create(
        org=context.org,
        created_by=context.actor.user,
        name=name,
        role=role,
        prefix=raw[:VISIBLE_LENGTH],
        digest=digest_of(raw),
        scopes=sorted(set(scopes)),
        created_at=now,
        expires_at=expires_at,
    )
    record_event(
        org_id=context.org.pk,
        actor=context.actor,
        action="token.created",
        now=now,
        target=("token", token.pk),
        data={"name": name, "role": role, "scopes": token.scopes, "prefix": token.prefix},
    )
    return token, raw


def revoke_service_token(*, org_id: int, actor: Actor, token_id: int, now: datetime) -> None:
    """The token stops working with the next request; revoking twice changes nothing.

    Raises NotFound when the organization has no such token.
    """
    token = ApiToken.objects.filter(org_id=org_id, pk=token_id).first()
    if token is None:
        raise NotFound("There is no such token.")
    revoked = ApiToken.objects.filter(pk=token_id, revoked_at__isnull=True).update(revoked_at=now)
    if revoked:
        record_event(
            org_id=org_id,
            actor=actor,
            action="token.revoked",
            now=now,
            target=("token", token_id),
            data={"name": token.name, "prefix": token.prefix},
        )


def revoke_personal_token(*, user: User, token_id: int, now: datetime) -> None:
    """The token stops working with the next request. Raises NotFound when it is not the user's."""
    tokens = ApiToken.objects.filter(user=user, pk=token_id)
    if not tokens.exists():
        raise NotFound("There is no such token.")
    tokens.filter(revoked_at__isnull=True).update(revoked_at=now)
    touch_organizations_of(user=user)


def _require_future(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("The expiry must lie in the future.", field="expires_at")
