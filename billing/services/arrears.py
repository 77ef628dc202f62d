"""What an organization owes and has not paid in time, whatever wrote the invoice.

An open invoice is overdue from when a card first did not pay it; one that is collected by hand, from
when it was due. The organization is overdue since the earliest of them, or since Stripe calls its
subscription past due. Nothing of this is stored: whatever settles the last of them ends it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Min

from billing.models import DunningNotice, Subscription, SubscriptionStatus
from orgs.context import Actor
from orgs.models import AuditEvent, Organization, OrganizationStatus
from orgs.services.organizations import reactivate_organization
from spoke.core import tenancy

# Of an organization that is suspended because it does not pay.
UNPAID = "Its payment is overdue."
# Who collects an invoice `i` of usage: whoever collected the last subscription of its period.
COLLECTION = """
(SELECT s.collection FROM billing_subscription s WHERE s.org_id = i.org_id
 AND s.status <> 'incomplete' AND s.started_at < i.period_end
 AND (s.ended_at IS NULL OR s.ended_at > s.started_at)
 ORDER BY s.started_at DESC, s.id DESC LIMIT 1)"""
# What waits for Stripe to be told of it is nobody's delay.
LATE = f"""
i.status = 'open' AND i.total_minor - i.credited_minor - i.prepaid_minor > 0
AND (i.failed_at IS NOT NULL
     OR i.source = 'usage' AND i.stripe_id IS NULL AND i.due_at <= %(now)s
        AND NOT (COALESCE({COLLECTION} = 'stripe', FALSE)
                 AND EXISTS (SELECT FROM billing_stripecustomer c WHERE c.org_id = i.org_id)))"""
OF_ONE = f"""
SELECT i.id, i.number, i.currency, i.total_minor - i.credited_minor - i.prepaid_minor,
       COALESCE(i.failed_at, i.due_at), i.failed_at IS NOT NULL, i.payment_url
FROM billing_invoice i WHERE i.org_id = %(org)s AND {LATE} ORDER BY 5, 1
"""  # noqa: S608 - constants only
# Who is to be chased: who is overdue, and who was suspended for it. Who has closed is left in peace.
WHO = f"""
SELECT o.id FROM orgs_organization o
WHERE o.status <> 'closed'
  AND (o.status = 'suspended' AND o.status_reason = %(unpaid)s
       OR EXISTS (SELECT FROM billing_subscription p WHERE p.org_id = o.id AND p.status = 'past_due')
       OR o.id IN (SELECT i.org_id FROM billing_invoice i WHERE {LATE}))
ORDER BY o.id
"""  # noqa: S608 - constants only


@dataclass(frozen=True)
class Overdue:
    """An invoice that is overdue; minor units. `payment_url`: where to pay it, or empty."""

    id: int
    number: str
    currency: str
    due_minor: int
    since: datetime
    by_card: bool
    payment_url: str


@dataclass(frozen=True)
class Arrears:
    """All that is overdue, the earliest first.

    `told_at`: when its people were first told of it; `spared_at`: when staff last reactivated it since.
    """

    since: datetime
    invoices: list[Overdue]
    told_at: datetime | None = None
    spared_at: datetime | None = None

    @property
    def owed(self) -> dict[str, int]:
        """What is overdue, in minor units by currency."""
        sums: dict[str, int] = {}
        for row in self.invoices:
            sums[row.currency] = sums.get(row.currency, 0) + row.due_minor
        return sums

    def ends(self, now: datetime) -> datetime:
        """When the grace is over: it begins with the delay, and not before anybody is told of it.

        Staff who reactivate the organization all the same give it another.
        """
        grace = timedelta(days=settings.BILLING_GRACE_DAYS)
        return max(self.since, self.told_at or now, self.spared_at or self.since) + grace


def arrears_of(*, org_id: int, now: datetime) -> Arrears | None:
    """What is overdue now; None where nothing is."""
    with connection.cursor() as cursor:
        cursor.execute(OF_ONE, {"org": org_id, "now": now})
        invoices = [Overdue(*row) for row in cursor.fetchall()]
    rows = Subscription.objects.filter(org_id=org_id, status=SubscriptionStatus.PAST_DUE)
    begun = [row.since for row in invoices]
    begun += [at for at in rows.values_list("past_due_since", flat=True) if at is not None]
    if not begun:
        return None
    since = min(begun)
    notices = DunningNotice.objects.filter(org_id=org_id, claimed_at__gte=since)
    told: dict[str, Any] = notices.aggregate(at=Min("claimed_at"))
    spared = AuditEvent.objects.filter(
        org_id=org_id, action="organization.reactivated", actor_kind="staff", at__gte=since
    )
    spared_at = spared.order_by("-id").values_list("at", flat=True).first()
    return Arrears(since, invoices, told["at"], spared_at)


def to_chase(*, now: datetime) -> list[int]:
    """Organizations that are overdue, or suspended because they were."""
    reason = "find overdue payments"
    with tenancy.all_organizations(reason=reason), connection.cursor() as cursor:
        cursor.execute(WHO, {"now": now, "unpaid": UNPAID})
        return [org_id for (org_id,) in cursor.fetchall()]


def release(*, org_id: int, actor: Actor, now: datetime) -> bool:
    """Who was suspended for not paying, and owes nothing overdue any more, works again at once.

    What staff suspended stays so. Says whether it was released now. Must run in a transaction.
    """
    rows = Organization.objects.select_for_update(no_key=True).filter(pk=org_id)
    # An invoice outlives its organization.
    org = rows.filter(status=OrganizationStatus.SUSPENDED, status_reason=UNPAID).first()
    if org is None or org.staff_hold or arrears_of(org_id=org_id, now=now) is not None:
        return False
    reactivate_organization(org=org, actor=actor, now=now)
    return True
