"""Members: who works in an organization, and as what.

Lock order: the organization's row first. With it held, "at least one owner" cannot be raced.
"""

from datetime import datetime

from django.db.models import F

from orgs.context import Actor
from orgs.models import Membership, Organization, User, normalize_email
from orgs.roles import Role, rank
from orgs.services.audit import record_event
from orgs.services.organizations import lock_organization, void_offers
from spoke.core.errors import Conflict, Forbidden, InvalidInput, NotFound


class AlreadyMember(Conflict):
    code, title = "already_member", "Already a member"


class LastOwner(Conflict):
    code, title = "last_owner", "Last owner"


def find_user(*, user_id: int | None = None, email: str | None = None) -> User:
    """The active user of this id or address. Raises InvalidInput naming the field."""
    people = User.objects.filter(is_active=True)
    if email is not None and user_id is None:
        user = people.filter(email=normalize_email(email)).first()
        field, hint = "email", "Nobody has signed up with this address: send an invitation instead."
    elif user_id is not None and email is None:
        user = people.filter(pk=user_id).first()
        field, hint = "user_id", "There is no such user."
    else:
        raise InvalidInput("Send either user_id or email.", field="user_id")
    if user is None:
        raise InvalidInput(hint, field=field, code="user_not_found")
    return user


def _require_rank(context_role: Role, *, granted: Role | None, held: Role | None) -> None:
    """Nobody grants above their own role, and nobody touches who stands above them."""
    if granted is not None and rank(granted) > rank(context_role):
        raise Forbidden("Nobody grants above their own role.", field="role", code="role_too_high")
    if held is not None and rank(held) > rank(context_role):
        raise Forbidden("This member's role is above yours.", code="role_too_high")


def add_member(
    *,
    org: Organization,
    context_role: Role,
    actor: Actor,
    user: User,
    role: Role,
    now: datetime,
) -> Membership:
    """The user is a member with this role.

    Raises AlreadyMember, and Forbidden above the caller's role.
    """
    _require_rank(context_role, granted=role, held=None)
    lock_organization(org.pk)
    if Membership.objects.filter(org=org, user=user).exists():
        raise AlreadyMember("This person is already a member.")
    membership = Membership.objects.create(
        org=org, user=user, role=role, created_at=now, updated_at=now
    )
    _record(org, actor, "member.added", user, now, role=role)
    return membership


def lock_membership(*, org: Organization, user_id: int) -> Membership:
    """The membership, with the organization locked before it. Raises NotFound."""
    lock_organization(org.pk)
    found = (
        Membership.objects.select_for_update(of=("self",))
        .for_org(org.pk)
        .filter(user_id=user_id)
        .first()
    )
    if found is None:
        raise NotFound("There is no such member.")
    return found


def change_role(
    *,
    org: Organization,
    context_role: Role,
    actor: Actor,
    user_id: int,
    role: Role,
    now: datetime,
) -> Membership:
    """The member has this role from the next request on; the same role again changes nothing.

    Raises NotFound, Forbidden above the caller's role or for one's own rise, LastOwner.
    """
    membership = lock_membership(org=org, user_id=user_id)
    old = Role(membership.role)
    if old is role:
        return membership
    _require_rank(context_role, granted=role, held=old)
    if old is Role.OWNER:
        _give_up_ownership(org, membership, actor, now)
    membership.role = role
    membership.revision += 1
    membership.updated_at = now
    membership.save(update_fields=["role", "revision", "updated_at"])
    _record(org, actor, "member.role_changed", membership.user, now, old=old, new=role)
    return membership


def remove_member(
    *, org: Organization, context_role: Role, actor: Actor, user_id: int, now: datetime
) -> None:
    """The person has no access from the next request on; leaving oneself is removing oneself.

    Raises NotFound, Forbidden for a member above the caller, LastOwner.
    """
    membership = lock_membership(org=org, user_id=user_id)
    leaving = actor.user is not None and actor.user.pk == user_id
    if not leaving:
        _require_rank(context_role, granted=None, held=Role(membership.role))
    if membership.role == Role.OWNER:
        _give_up_ownership(org, membership, actor, now)
    void_offers(org_id=org.pk, actor=actor, now=now, to_user_id=user_id)
    user, role = membership.user, membership.role
    membership.delete()
    _record(org, actor, "member.left" if leaving else "member.removed", user, now, role=role)


def _give_up_ownership(
    org: Organization, membership: Membership, actor: Actor, now: datetime
) -> None:
    """Another owner stands for the organization, and what this one offered to hand over is void.

    The caller holds the organization's row.
    """
    others = Membership.objects.for_org(org.pk).owners().exclude(pk=membership.pk)
    heir = others.order_by("created_at", "pk").first()
    if heir is None:
        raise LastOwner("An organization always has an owner: make somebody else one first.")
    Organization.objects.filter(pk=org.pk, owner_id=membership.user_id).update(
        owner_id=heir.user_id, revision=F("revision") + 1, updated_at=now
    )
    void_offers(org_id=org.pk, actor=actor, now=now, from_user_id=membership.user_id)


def _record(
    org: Organization, actor: Actor, action: str, user: User, now: datetime, **data: str
) -> None:
    record_event(
        org_id=org.pk,
        actor=actor,
        action=action,
        now=now,
        target=("user", user.pk),
        data={"email": user.email, **data},
    )
