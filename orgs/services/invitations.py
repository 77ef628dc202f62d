"""Invitations: a secret sent to an address, good for one acceptance within seven days.

Lock order: organization, then invitation. The one pending invitation per address is decided by the
partial unique index, the one acceptance by a conditional UPDATE.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q

from orgs.context import SYSTEM, Actor, OrgContext
from orgs.models import (
    Invitation,
    InvitationStatus,
    Membership,
    Organization,
    OrganizationStatus,
    User,
    normalize_email,
)
from orgs.roles import Role, may_grant
from orgs.services.audit import record_event
from orgs.services.members import AlreadyMember, add_member
from orgs.services.organizations import lock_organization
from orgs.services.tokens import digest_of
from spoke.core import tenancy
from spoke.core.errors import Conflict, Forbidden, Gone, NotFound

LIFETIME = timedelta(days=7)
SECRET_BYTES = 32
SWEEP_SIZE = 500
ENDED = {
    InvitationStatus.ACCEPTED: "The invitation was already accepted.",
    InvitationStatus.REVOKED: "The invitation was revoked.",
    InvitationStatus.EXPIRED: "The invitation has expired. Ask for a new one.",
}


@dataclass(frozen=True)
class Offer:
    """What the holder of an invitation's token may know of it."""

    invitation: Invitation
    org: Organization


def accept_url(token: str) -> str:
    """The page on which a person accepts; its address is the secret."""
    return f"{settings.SPOKE_BASE_URL}/accounts/invitations/{token}"


def create_invitation(
    *, context: OrgContext, email: str, role: Role, now: datetime
) -> tuple[Invitation, str]:
    """Invites an address and returns the invitation with its token, which is not kept.

    The caller has it sent: `orgs.tasks.send_invitation_email`. Raises Forbidden for a role above the
    caller's own, AlreadyMember, and Conflict (`invitation_pending`, naming its id).
    """
    _require_grantable(context, role)
    email = normalize_email(email)
    lock_organization(context.org.pk)
    _require_no_member(context.org.pk, email)
    overdue = Invitation.objects.filter(org_id=context.org.pk, email=email).due(now)
    _expire(overdue.select_for_update(of=("self",)), org_id=context.org.pk, now=now)
    token = _new_token()
    try:
        with transaction.atomic():
            invitation = Invitation.objects.create(
                org=context.org,
                email=email,
                role=role,
                digest=digest_of(token),
                invited_by=context.actor.user,
                created_at=now,
                expires_at=now + LIFETIME,
            )
    except IntegrityError as exc:
        raise _pending_conflict(context.org.pk, email) from exc
    _record(invitation, "invitation.created", actor=context.actor, now=now)
    return invitation, token


def resend_invitation(
    *, context: OrgContext, invitation_id: int, now: datetime
) -> tuple[Invitation, str]:
    """Gives a pending or expired invitation a new token and seven new days; the old token is void.

    Raises NotFound, Forbidden for a role above the caller's own, AlreadyMember, and Conflict when it
    was accepted or revoked, or when another invitation of the address is pending.
    """
    lock_organization(context.org.pk)
    invitation = get_locked_invitation(org_id=context.org.pk, invitation_id=invitation_id)
    _require_grantable(context, Role(invitation.role))
    if invitation.status in (InvitationStatus.ACCEPTED, InvitationStatus.REVOKED):
        raise _ended_conflict(invitation)
    _require_no_member(context.org.pk, invitation.email)
    token = _new_token()
    invitation.status = InvitationStatus.PENDING
    invitation.digest = digest_of(token)
    invitation.expires_at = now + LIFETIME
    invitation.ended_at = None
    invitation.revision += 1
    try:
        with transaction.atomic():
            invitation.save()
    except IntegrityError as exc:
        raise _pending_conflict(context.org.pk, invitation.email) from exc
    _record(invitation, "invitation.resent", actor=context.actor, now=now)
    return invitation, token


def get_locked_invitation(*, org_id: int, invitation_id: int) -> Invitation:
    """The organization's invitation, locked. Raises NotFound."""
    invitation = (
        Invitation.objects.for_org(org_id)
        .select_for_update(of=("self",))
        .filter(pk=invitation_id)
        .first()
    )
    if invitation is None:
        raise NotFound("There is no such invitation.")
    return invitation


def revoke_invitation(*, invitation: Invitation, actor: Actor, now: datetime) -> None:
    """The token is void from now on; revoking what has ended unaccepted changes nothing.

    Takes the row locked. Raises Conflict when the invitation was accepted: it is the member who can
    be removed then.
    """
    if invitation.status == InvitationStatus.ACCEPTED:
        raise _ended_conflict(invitation)
    if invitation.status == InvitationStatus.PENDING:
        _end(invitation, InvitationStatus.REVOKED, now=now)
        _record(invitation, "invitation.revoked", actor=actor, now=now)


def find_offer(*, token: str, now: datetime) -> Offer:
    """What the token invites to; holding it is all that is asked for.

    Raises NotFound for an unknown token and Gone (`invitation_accepted`, `invitation_revoked`,
    `invitation_expired`, `organization_closed`) when nobody can accept it any more.
    """
    with tenancy.presenting(digest_of(token)):
        invitation = _presented(digest_of(token), now=now)
        org = Organization.objects.get(pk=invitation.org_id)
        _require_not_closed(org)
    return Offer(invitation=invitation, org=org)


def accept_invitation(*, token: str, user: User, now: datetime) -> Membership:
    """Makes the user a member with the role offered; of two acceptances at once, one wins.

    Raises NotFound, Gone as `find_offer` does, Forbidden (`email_mismatch`, `email_not_verified`,
    `organization_suspended`) and AlreadyMember; after that one, call `dismiss_invitation`, since the
    transaction that raised it is rolled back.
    """
    digest = digest_of(token)
    with tenancy.person(user.pk, secret=digest):
        invitation = _presented(digest, now=now)
        _require_verified(user, invitation.email)
        org = lock_organization(invitation.org_id)
        _require_not_closed(org)
        if org.status == OrganizationStatus.SUSPENDED:
            raise Forbidden(
                "The organization is suspended and takes no members at the moment.",
                code="organization_suspended",
            )
        accepted = (
            Invitation.objects.pending()
            .filter(pk=invitation.pk, digest=digest, expires_at__gt=now)
            .update(
                status=InvitationStatus.ACCEPTED,
                accepted_by=user,
                ended_at=now,
                revision=F("revision") + 1,
            )
        )
        if not accepted:
            _presented(digest, now=now)  # says which way it ended while we waited for the lock
            raise NotFound("There is no such invitation.")
        actor, role = _as_actor(user), Role(invitation.role)
        _record(invitation, "invitation.accepted", actor=actor, now=now)
        # Who invited granted the role, within their own; whoever accepts needs none.
        return add_member(org=org, context_role=role, actor=actor, user=user, role=role, now=now)


def dismiss_invitation(*, token: str, user: User, now: datetime) -> None:
    """Ends the invitation of somebody who is a member by other ways; repeating it changes nothing."""
    digest = digest_of(token)
    with tenancy.person(user.pk, secret=digest):
        found = Invitation.objects.filter(digest=digest).first()
        if found is None:
            return
        tenancy.adopt(found.org_id)
        lock_organization(found.org_id)
        invitation = get_locked_invitation(org_id=found.org_id, invitation_id=found.pk)
        member = Membership.objects.filter(org_id=found.org_id, user=user).exists()
        if not member or invitation.status != InvitationStatus.PENDING:
            return
        _end(invitation, InvitationStatus.REVOKED, now=now)
        _record(
            invitation,
            "invitation.revoked",
            actor=_as_actor(user),
            now=now,
            reason="already_member",
        )


def organizations_with_due_invitations(*, now: datetime) -> list[int]:
    """The organizations in which an invitation is overdue. Goes through the door."""
    with tenancy.all_organizations(reason="find overdue invitations"):
        due = Invitation.objects.due(now).order_by("org_id").values_list("org_id", flat=True)
        return list(due.distinct())


def expire_due_invitations(*, org_id: int, now: datetime) -> int:
    """Marks up to SWEEP_SIZE overdue invitations of one organization as expired; says how many.

    Safe to run twice and at the same time: rows that another sweep holds are left to it.
    """
    lock_organization(org_id)
    due = Invitation.objects.filter(org_id=org_id).due(now).order_by("pk")
    locked = due.select_for_update(skip_locked=True)[:SWEEP_SIZE]
    return _expire(locked, org_id=org_id, now=now)


def _new_token() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def _require_grantable(context: OrgContext, role: Role) -> None:
    if not may_grant(context.role, role):
        raise Forbidden("Nobody grants above their own role.", field="role", code="role_too_high")


def _require_no_member(org_id: int, email: str) -> None:
    owned = EmailAddress.objects.filter(email__iexact=email, verified=True)
    known_as = Q(user__email=email) | Q(user_id__in=owned.values("user_id"))
    if Membership.objects.filter(known_as, org_id=org_id).exists():
        raise AlreadyMember(f"{email} is a member already.", field="email")


def _require_not_closed(org: Organization) -> None:
    if org.status == OrganizationStatus.CLOSED:
        raise Gone("The organization is closed.", code="organization_closed")


def _require_verified(user: User, email: str) -> None:
    """Only who proved to own the invited address may use the invitation."""
    addresses = EmailAddress.objects.filter(user=user, email__iexact=email)
    if addresses.filter(verified=True).exists():
        return
    if addresses.exists() or normalize_email(user.email) == email:
        raise Forbidden(
            "Verify your address first: the invitation is for it.", code="email_not_verified"
        )
    raise Forbidden("The invitation is for another address than yours.", code="email_mismatch")


def _presented(digest: str, *, now: datetime) -> Invitation:
    """The invitation of the secret presented, adopting its organization. Raises NotFound or Gone."""
    invitation = Invitation.objects.filter(digest=digest).first()
    if invitation is None:
        raise NotFound("There is no such invitation.")
    status = invitation.status_at(now)
    if status != InvitationStatus.PENDING:
        raise Gone(ENDED[status], code=f"invitation_{status.value}")
    tenancy.adopt(invitation.org_id)
    return Invitation.objects.select_related("invited_by").get(pk=invitation.pk)


def _as_actor(user: User) -> Actor:
    return Actor("user", user.pk, user.email, user)


def _pending_conflict(org_id: int, email: str) -> Conflict:
    pending = Invitation.objects.filter(org_id=org_id, email=email).pending().first()
    return Conflict(
        f"An invitation for {email} is pending.",
        code="invitation_pending",
        field="email",
        invitation_id=pending.pk if pending else None,
    )


def _ended_conflict(invitation: Invitation) -> Conflict:
    status = InvitationStatus(invitation.status)
    return Conflict(ENDED[status], code=f"invitation_{status.value}")


def _end(invitation: Invitation, status: InvitationStatus, *, now: datetime) -> None:
    invitation.status = status
    invitation.ended_at = now
    invitation.revision += 1
    invitation.save(update_fields=["status", "ended_at", "revision"])


def _expire(locked: Iterable[Invitation], *, org_id: int, now: datetime) -> int:
    invitations = list(locked)
    Invitation.objects.filter(org_id=org_id, pk__in=[i.pk for i in invitations]).update(
        status=InvitationStatus.EXPIRED, ended_at=now, revision=F("revision") + 1
    )
    for invitation in invitations:
        _record(invitation, "invitation.expired", actor=SYSTEM, now=now)
    return len(invitations)


def _record(
    invitation: Invitation, action: str, *, actor: Actor, now: datetime, **extra: str
) -> None:
    record_event(
        org_id=invitation.org_id,
        actor=actor,
        action=action,
        now=now,
        target=("invitation", invitation.pk),
        data={"email": invitation.email, "role": invitation.role, **extra},
    )
