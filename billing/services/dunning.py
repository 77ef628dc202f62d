"""Payments that are overdue: who is told when, and who is suspended in the end.

Stripe tries the card again on its own schedule. We tell owners and admins at once and by a schedule,
and suspend writing when the grace is over. Paid is working again at once (`apply_subscription`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from billing.models import DunningNotice, Subscription, SubscriptionStatus
from billing.services.stripe_subscriptions import UNPAID
from orgs.context import SYSTEM
from orgs.models import Membership, Organization, OrganizationStatus
from orgs.roles import Role
from orgs.services.organizations import lock_organization, suspend_organization
from spoke.core import tenancy

# A notice that was claimed and not sent is claimed again after this.
ABANDONED = timedelta(minutes=15)


@dataclass(frozen=True)
class Notice:
    """What is to be told, and whom."""

    id: int
    organization: Organization
    plan: str
    day: int
    suspended_at: datetime
    recipients: list[str]


def grace() -> timedelta:
    """How long an organization works while its payment is overdue."""
    return timedelta(days=settings.BILLING_GRACE_DAYS)


def overdue() -> list[int]:
    """Organizations whose subscription is past due."""
    with tenancy.all_organizations(reason="find overdue payments"):
        rows = Subscription.objects.filter(status=SubscriptionStatus.PAST_DUE)
        return list(rows.order_by("past_due_since").values_list("org_id", flat=True))


def enforce(*, org_id: int, now: datetime) -> bool:
    """An organization whose grace is over is suspended; says whether it was now. A transaction."""
    org = lock_organization(org_id)
    row = _past_due(org_id)
    if row is None or row.past_due_since is None or row.past_due_since + grace() > now:
        return False
    if org.status != OrganizationStatus.ACTIVE:
        return False
    suspend_organization(org=org, actor=SYSTEM, reason=UNPAID, now=now)
    return True


def claim(*, org_id: int, now: datetime) -> Notice | None:
    """The notice that is due and that nobody else sends; None without one. A transaction.

    Of several that are due only the last is sent: nobody needs three at once.
    """
    lock_organization(org_id)
    row = _past_due(org_id)
    if row is None or row.past_due_since is None:
        return None
    late = (now - row.past_due_since).days
    day = max((day for day in (0, *settings.BILLING_DUNNING_DAYS) if day <= late), default=0)
    notice, made = DunningNotice.objects.get_or_create(
        org_id=org_id,
        subscription=row,
        past_due_since=row.past_due_since,
        day=day,
        defaults={"claimed_at": now},
    )
    if not made:
        if notice.sent_at is not None or notice.claimed_at + ABANDONED > now:
            return None
        notice.claimed_at = now
        notice.save(update_fields=["claimed_at"])
    return Notice(
        id=notice.pk,
        organization=row.org,
        plan=row.plan.name,
        day=day,
        suspended_at=row.past_due_since + grace(),
        recipients=recipients(org_id),
    )


def note_sent(*, org_id: int, notice_id: int, now: datetime) -> None:
    """The notice was sent and will not be again. A transaction."""
    DunningNotice.objects.filter(org_id=org_id, pk=notice_id).update(sent_at=now)


def _past_due(org_id: int) -> Subscription | None:
    rows = Subscription.objects.select_related("org", "plan")
    return rows.filter(org_id=org_id, status=SubscriptionStatus.PAST_DUE).first()


def recipients(org_id: int) -> list[str]:
    """Addresses of who is written to about payment: owners and admins."""
    rows = Membership.objects.filter(org_id=org_id, role__in=[Role.OWNER, Role.ADMIN])
    return list(rows.order_by("pk").values_list("user__email", flat=True))
