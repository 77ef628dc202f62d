"""Payments that are overdue: who is told when, and who is suspended in the end.

Stripe tries the card again on its own schedule. We tell owners and admins at once and by a schedule,
and suspend writing when the grace is over. What is overdue, and since when, is said by `arrears`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from billing.models import DunningNotice
from billing.services.arrears import UNPAID, Arrears, arrears_of, release
from orgs.context import SYSTEM
from orgs.models import Membership, Organization, OrganizationStatus
from orgs.roles import Role
from orgs.services.organizations import lock_organization, suspend_organization

# A notice that was claimed and not sent is claimed again after this.
ABANDONED = timedelta(minutes=15)


@dataclass(frozen=True)
class Notice:
    """What is to be told, and whom."""

    id: int
    organization: Organization
    arrears: Arrears
    day: int
    suspended_at: datetime
    recipients: list[str]


def enforce(*, org_id: int, now: datetime) -> bool:
    """An organization whose grace is over is suspended, one that owes nothing any more is released.

    Says whether it was suspended now. Nobody is who was not told. Must run in a transaction.
    """
    org = lock_organization(org_id)
    found = arrears_of(org_id=org_id, now=now)
    if found is None:
        release(org_id=org_id, actor=SYSTEM, now=now)
        return False
    if org.status != OrganizationStatus.ACTIVE or found.ends(now) > now:
        return False
    suspend_organization(org=org, actor=SYSTEM, reason=UNPAID, now=now)
    return True


def claim(*, org_id: int, now: datetime) -> Notice | None:
    """The notice that is due and that nobody else sends; None without one. A transaction.

    Of several that are due only the last is sent, and it names all that is owed: nobody needs three at
    once, or one for each invoice.
    """
    org = lock_organization(org_id)
    found = arrears_of(org_id=org_id, now=now)
    if found is None or org.status == OrganizationStatus.CLOSED:
        return None
    late = (now - found.since).days
    day = max((day for day in (0, *settings.BILLING_DUNNING_DAYS) if day <= late), default=0)
    told = Q(sent_at__gte=found.since + timedelta(days=day))
    telling = Q(sent_at__isnull=True, claimed_at__gt=now - ABANDONED)
    rows = DunningNotice.objects.filter(org_id=org_id)
    # By when, not by what: the invoice that was overdue longest may be paid by now.
    if rows.filter(told | telling).exists():
        return None
    notice, _ = rows.update_or_create(
        org_id=org_id, past_due_since=found.since, day=day, defaults={"claimed_at": now}
    )
    return Notice(
        id=notice.pk,
        organization=org,
        arrears=found,
        day=day,
        suspended_at=found.ends(now),
        recipients=recipients(org_id),
    )


def note_sent(*, org_id: int, notice_id: int, now: datetime) -> None:
    """The notice was sent and will not be again. A transaction."""
    DunningNotice.objects.filter(org_id=org_id, pk=notice_id).update(sent_at=now)


def recipients(org_id: int) -> list[str]:
    """Addresses of who is written to about payment: owners and admins."""
    rows = Membership.objects.filter(org_id=org_id, role__in=[Role.OWNER, Role.ADMIN])
    return list(rows.order_by("pk").values_list("user__email", flat=True))
