"""Organizations: made, changed, closed, reopened, suspended and at last purged.

Lock order: the organization's row first. Every change of its status takes that lock.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F

from orgs.context import SYSTEM, Actor
from orgs.models import (
    ApiToken,
    Invitation,
    InvitationStatus,
    Membership,
    Organization,
    OrganizationStatus,
    OwnershipTransfer,
    RetiredName,
    TransferStatus,
    User,
)
from orgs.roles import Role
from orgs.services.audit import record_event
from spoke.core import idempotency, tenancy
from spoke.core.database import is_same_json
from spoke.core.errors import Conflict, InvalidInput

# How long a closed organization can be reopened before everything in it is deleted.
PURGE_DELAY = timedelta(days=30)
FREE, PAID = "free", ("pro", "enterprise")
# Names that would be mistaken for Spoke's own addresses or people.
RESERVED_NAMES = frozenset(
    {
        *(
            "accounts",
            "admin",
            "api",
            "billing",
            "docs",
            "health",
            "invitations",
            "login",
            "logout",
        ),
        *("metrics", "modules", "openapi", "orgs", "plans", "settings", "signup", "spoke", "staff"),
        *("static", "support", "system", "www"),
    }
)


class NameTaken(Conflict):
    code, title = "name_taken", "Name taken"


def _next_id() -> int:
    """An id before the row exists: row-level security wants the scope first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('orgs_organization', 'id'))")
        return int(cursor.fetchone()[0])


def create_organization(
    *,
    user: User,
    name: str,
    display_name: str,
    description: str = "",
    plan_tier: str = FREE,
    settings: dict[str, Any] | None = None,
    now: datetime,
) -> Organization:
    """The user owns a new organization on the free plan; a paid tier waits for its subscription.

    Must run in a tenancy scope without an organization, which then works for the new one. Raises
    NameTaken, and InvalidInput for a reserved name or an unknown tier.
    """
    if name in RESERVED_NAMES:
        raise InvalidInput("This name is reserved.", field="name", code="name_reserved")
    if plan_tier not in (FREE, *PAID):
        raise InvalidInput("Choose free, pro or enterprise.", field="plan_tier")
    org_id = _next_id()
    tenancy.adopt(org_id)
    org = Organization(
        pk=org_id,
        name=name,
        display_name=display_name,
        description=description,
        owner=user,
        pending_plan_tier="" if plan_tier == FREE else plan_tier,
        settings=settings or {},
        created_at=now,
        updated_at=now,
    )
    try:
        with transaction.atomic():
            org.save(force_insert=True)
    except IntegrityError as exc:
        if "orgs_organization_name" not in str(exc):
            raise
        raise NameTaken("Another organization has this name.", field="name") from exc
    # Looked at once the name is ours: whoever purges its last owner has retired it by then.
    if RetiredName.objects.filter(name=name).exists():
        raise NameTaken("Another organization had this name.", field="name")
    Membership.objects.create(org=org, user=user, role=Role.OWNER, created_at=now, updated_at=now)
    record_event(
        org_id=org_id,
        actor=Actor("user", user.pk, user.email, user),
        action="organization.created",
        now=now,
        target=("organization", org_id),
        data={"name": name, "plan_tier": plan_tier},
    )
    return org


def lock_organization(org_id: int) -> Organization:
    """The organization's row, locked until the transaction ends. Raises Organization.DoesNotExist."""
    return Organization.objects.select_for_update(no_key=True).get(pk=org_id)


def update_organization(
    *, org: Organization, actor: Actor, changes: dict[str, Any], now: datetime
) -> Organization:
    """Exactly the named fields have their new values; nothing changed leaves no trace.

    `changes` may hold display_name, description and settings. The caller holds the row locked.
    """
    changed = {
        name: value
        for name, value in changes.items()
        if not is_same_json(getattr(org, name), value)
    }
    if not changed:
        return org
    for name, value in changed.items():
        setattr(org, name, value)
    org.revision += 1
    org.updated_at = now
    org.save(update_fields=[*changed, "revision", "updated_at"])
    record_event(
        org_id=org.pk,
        actor=actor,
        action="organization.updated",
        now=now,
        target=("organization", org.pk),
        data={"fields": sorted(changed)},
    )
    return org


def _set_status(
    org: Organization,
    status: OrganizationStatus,
    *,
    actor: Actor,
    action: str,
    reason: str,
    now: datetime,
) -> Organization:
    org.status = status
    org.status_reason = reason
    org.closed_at = now if status == OrganizationStatus.CLOSED else None
    org.purge_after = now + PURGE_DELAY if status == OrganizationStatus.CLOSED else None
    org.revision += 1
    org.updated_at = now
    org.save()
    record_event(
        org_id=org.pk,
        actor=actor,
        action=action,
        now=now,
        target=("organization", org.pk),
        data={"reason": reason} if reason else {},
    )
    return org


def void_offers(*, org_id: int, actor: Actor, now: datetime, **whose: int) -> None:
    """The pending offers of ownership (`whose`: by column) are cancelled. Audited.

    The caller holds the organization's row.
    """
    pending = OwnershipTransfer.objects.filter(
        org_id=org_id, status=TransferStatus.PENDING, **whose
    )
    for offer in pending.select_related("from_user", "to_user"):
        offer.status, offer.ended_at = TransferStatus.CANCELLED, now
        offer.save(update_fields=["status", "ended_at"])
        record_event(
            org_id=org_id,
            actor=actor,
            action="transfer.cancelled",
            now=now,
            target=("user", offer.to_user_id),
            data={"from": offer.from_user.email, "to": offer.to_user.email},
        )


def _end_access(org_id: int, *, actor: Actor, now: datetime) -> None:
    """Pending invitations and service tokens are void, each with its event."""
    invitations = Invitation.objects.for_org(org_id).pending().order_by("pk")
    tokens = ApiToken.objects.filter(org_id=org_id, revoked_at__isnull=True).order_by("pk")
    ended = [
        *(("invitation", row.pk, {"email": row.email, "role": row.role}) for row in invitations),
        *(("token", row.pk, {"name": row.name, "prefix": row.prefix}) for row in tokens),
    ]
    invitations.order_by().update(
        status=InvitationStatus.REVOKED, ended_at=now, revision=F("revision") + 1
    )
    tokens.order_by().update(revoked_at=now)
    for kind, number, about in ended:
        record_event(
            org_id=org_id,
            actor=actor,
            action=f"{kind}.revoked",
            now=now,
            target=(kind, number),
            data={**about, "reason": "organization_closed"},
        )


def close_organization(
    *, org: Organization, actor: Actor, now: datetime, reason: str = ""
) -> Organization:
    """Nothing works in it any more and 30 days later it is purged; closing twice changes nothing.

    Its pending invitations and offers of ownership end and its service tokens are revoked.
    """
    org = lock_organization(org.pk)
    if org.status == OrganizationStatus.CLOSED:
        return org
    _end_access(org.pk, actor=actor, now=now)
    void_offers(org_id=org.pk, actor=actor, now=now)
    return _set_status(
        org,
        OrganizationStatus.CLOSED,
        actor=actor,
        action="organization.closed",
        reason=reason,
        now=now,
    )


def reopen_organization(*, org: Organization, actor: Actor, now: datetime) -> Organization:
    """A closed organization is active again, or suspended if staff had suspended it.

    What closing ended stays ended. An organization that is not closed is left as it is. Raises Conflict
    once the purge is due.
    """
    org = lock_organization(org.pk)
    if org.status != OrganizationStatus.CLOSED:
        return org
    if org.purge_after is not None and org.purge_after <= now:
        raise Conflict("It is too late: the organization is being purged.", code="purge_due")
    return _set_status(
        org,
        OrganizationStatus.SUSPENDED if org.staff_hold else OrganizationStatus.ACTIVE,
        actor=actor,
        action="organization.reopened",
        reason=org.staff_hold,
        now=now,
    )


def suspend_organization(
    *, org: Organization, actor: Actor, reason: str, now: datetime
) -> Organization:
    """Reading works and writing does not, from the next request on. Raises Conflict when closed.

    What staff suspend that is suspended already stays so when its own reason has gone.
    """
    org = lock_organization(org.pk)
    if org.status == OrganizationStatus.CLOSED:
        raise Conflict("The organization is closed.", code="organization_closed")
    by_staff = actor.kind == "staff"
    if org.status == OrganizationStatus.SUSPENDED and (org.staff_hold or not by_staff):
        return org
    if by_staff:
        org.staff_hold = reason
    return _set_status(
        org,
        OrganizationStatus.SUSPENDED,
        actor=actor,
        action="organization.suspended",
        reason=reason,
        now=now,
    )


def reactivate_organization(*, org: Organization, actor: Actor, now: datetime) -> Organization:
    """A suspended organization works again at once; any other is left as it is."""
    org = lock_organization(org.pk)
    if org.status != OrganizationStatus.SUSPENDED:
        return org
    org.staff_hold = ""
    return _set_status(
        org,
        OrganizationStatus.ACTIVE,
        actor=actor,
        action="organization.reactivated",
        reason="",
        now=now,
    )


def set_plan_tier(*, org_id: int, plan_tier: str, now: datetime) -> None:
    """The organization shows this tier; a pending one that matches is completed."""
    org = lock_organization(org_id)
    if org.pending_plan_tier == plan_tier:
        org.pending_plan_tier = ""
    org.plan_tier = plan_tier
    org.revision += 1
    org.updated_at = now
    org.save(update_fields=["plan_tier", "pending_plan_tier", "revision", "updated_at"])


def organizations_to_purge(*, now: datetime) -> list[int]:
    """The closed organizations whose 30 days are over."""
    with tenancy.all_organizations(reason="find organizations to purge"):
        due = Organization.objects.filter(status=OrganizationStatus.CLOSED, purge_after__lte=now)
        return list(due.order_by("pk").values_list("pk", flat=True))


def purge_organization(*, org_id: int, now: datetime) -> bool:
    """Every row of a closed organization is gone, for good; says whether there was anything to do.

    Its name is given to nobody else: who pulls modules by it would get another's. Run twice, or before
    its time, it does nothing. Files are left to the registry's own sweep.
    """
    with tenancy.all_organizations(reason=f"purge organization {org_id}", actor=SYSTEM.label):
        org = (
            Organization.objects.select_for_update()
            .filter(pk=org_id, status=OrganizationStatus.CLOSED, purge_after__lte=now)
            .first()
        )
        if org is None:
            return False
        idempotency.forget_organization(org_id=org_id)
        RetiredName.objects.create(name=org.name, retired_at=now)
        org.delete()
    return True
