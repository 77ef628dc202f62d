"""Handing an organization over: an owner offers, the other member confirms.

Lock order: organization, then the offer.
"""

from datetime import datetime, timedelta

from django.db.models import F

from orgs.context import Actor
from orgs.models import Membership, Organization, OwnershipTransfer, TransferStatus, User
from orgs.roles import Role
from orgs.services.audit import record_event
from orgs.services.organizations import lock_organization
from spoke.core.errors import Conflict, Forbidden, Gone, InvalidInput, NotFound

LIFETIME = timedelta(days=7)


def pending_transfer(*, org: Organization) -> OwnershipTransfer:
    """The offer that waits for an answer, expired or not. Raises NotFound."""
    found = (
        OwnershipTransfer.objects.filter(org=org, status=TransferStatus.PENDING)
        .select_related("from_user", "to_user")
        .first()
    )
    if found is None:
        raise NotFound("No transfer of ownership is pending.")
    return found


def offer_ownership(
    *, org: Organization, actor: Actor, to_user: User, now: datetime
) -> OwnershipTransfer:
    """The member has seven days to confirm. An offer that expired makes way for the new one.

    Raises InvalidInput when the person is no member or is the owner, Conflict while another offer
    is pending.
    """
    org = lock_organization(org.pk)
    if not Membership.objects.filter(org=org, user=to_user).exists():
        raise InvalidInput("This person is not a member.", field="user_id", code="not_a_member")
    if org.owner_id == to_user.pk:
        raise InvalidInput("This person is the owner already.", field="user_id")
    pending = OwnershipTransfer.objects.filter(org=org, status=TransferStatus.PENDING)
    pending.filter(expires_at__lte=now).update(status=TransferStatus.CANCELLED, ended_at=now)
    if pending.exists():
        raise Conflict("Another transfer is pending.", code="transfer_pending")
    transfer = OwnershipTransfer.objects.create(
        org=org,
        from_user=org.owner,
        to_user=to_user,
        created_at=now,
        expires_at=now + LIFETIME,
    )
    _record(transfer, actor, "transfer.offered", now)
    return transfer


def accept_ownership(
    *, org: Organization, actor: Actor, user: User, now: datetime
) -> OwnershipTransfer:
    """The member is the owner, and who handed over is an admin.

    Raises NotFound, Forbidden for anybody but the recipient, Gone when it expired.
    """
    org = lock_organization(org.pk)
    transfer = pending_transfer(org=org)
    if transfer.to_user_id != user.pk:
        raise Forbidden("Only the person it was offered to can accept.")
    if transfer.expires_at <= now:
        raise Gone("The offer has expired.", code="transfer_expired")
    members = Membership.objects.filter(org=org)
    changed = {"revision": F("revision") + 1, "updated_at": now}
    members.filter(user_id=transfer.to_user_id).update(role=Role.OWNER, **changed)
    members.filter(user_id=transfer.from_user_id, role=Role.OWNER).update(
        role=Role.ADMIN, **changed
    )
    Organization.objects.filter(pk=org.pk).update(owner_id=transfer.to_user_id, **changed)
    _end(transfer, TransferStatus.CONFIRMED, now)
    _record(transfer, actor, "transfer.confirmed", now)
    return transfer


def cancel_transfer(
    *, org: Organization, actor: Actor, user_id: int | None, may_cancel: bool, now: datetime
) -> None:
    """The offer is void: cancelled by those who may, or declined by its recipient.

    Raises NotFound when none is pending, Forbidden for anybody else.
    """
    lock_organization(org.pk)
    transfer = pending_transfer(org=org)
    declining = transfer.to_user_id == user_id
    if not declining and not may_cancel:
        raise Forbidden("Only an owner or the recipient can end the transfer.")
    _end(transfer, TransferStatus.CANCELLED, now)
    _record(transfer, actor, "transfer.declined" if declining else "transfer.cancelled", now)


def _end(transfer: OwnershipTransfer, status: TransferStatus, now: datetime) -> None:
    transfer.status = status
    transfer.ended_at = now
    transfer.save(update_fields=["status", "ended_at"])


def _record(transfer: OwnershipTransfer, actor: Actor, action: str, now: datetime) -> None:
    record_event(
        org_id=transfer.org_id,
        actor=actor,
        action=action,
        now=now,
        target=("user", transfer.to_user_id),
        data={"from": transfer.from_user.email, "to": transfer.to_user.email},
    )
