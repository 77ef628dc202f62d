"""Who is told of an alert, and who was.

A message is sent at least once to each who wants it. Who sends claims the alert for LEASE first, so no
two send at once, and remembers each person after their message; killed in between, or with the mail
server away, `unsent` finds the alert once the lease is over and the rest of them are told. Only somebody
whose message went out at the moment of the kill gets it twice. After GIVEN_UP it is old news.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.account.models import EmailAddress
from django.db import connection
from django.db.models import Exists, OuterRef, Q

from orgs.models import Membership, Organization, OrganizationStatus
from orgs.roles import Role
from quotas.models import Alert, AlertOptOut
from spoke.core import tenancy

RECIPIENT_ROLES = (Role.OWNER, Role.ADMIN)
LEASE = timedelta(minutes=10)
GIVEN_UP = timedelta(days=1)
TOLD = "UPDATE quotas_alert SET told = told || %s::bigint WHERE org_id = %s AND id = %s"


@dataclass(frozen=True)
class Claimed:
    """An alert to send, with the (user, address) of everybody who has not been told."""

    alert: Alert
    organization: Organization
    recipients: list[tuple[int, str]]


def claim_alert(*, org_id: int, alert_id: int, now: datetime) -> Claimed | None:
    """The alert, for the caller alone to send until the lease is over; None: there is nothing to do."""
    free = Q(claimed_at__isnull=True) | Q(claimed_at__lte=now - LEASE)
    alerts = Alert.objects.filter(
        free, org_id=org_id, pk=alert_id, notify=True, notified_at__isnull=True
    )
    org = Organization.objects.filter(pk=org_id, status=OrganizationStatus.ACTIVE).first()
    if org is None or not alerts.update(claimed_at=now):
        return None
    alert = Alert.objects.select_related("period").get(pk=alert_id)
    people = _recipients(org_id=org_id, without=alert.told)
    return Claimed(alert, org, people)


def _recipients(*, org_id: int, without: Iterable[int]) -> list[tuple[int, str]]:
    """The owners and admins who want it, can sign in, and have shown that the address is theirs."""
    verified = EmailAddress.objects.filter(
        user_id=OuterRef("user_id"), email__iexact=OuterRef("user__email"), verified=True
    )
    opted_out = AlertOptOut.objects.filter(org_id=org_id, user_id=OuterRef("user_id"))
    rows = Membership.objects.filter(
        Exists(verified),
        ~Exists(opted_out),
        org_id=org_id,
        role__in=RECIPIENT_ROLES,
        user__is_active=True,
    ).exclude(user_id__in=without)
    return list(rows.order_by("pk").values_list("user_id", "user__email"))


def note_told(*, org_id: int, alert_id: int, user_id: int) -> None:
    """This person is not written to again about the alert."""
    with connection.cursor() as cursor:
        cursor.execute(TOLD, [user_id, org_id, alert_id])


def settle_alert(*, org_id: int, alert_id: int, now: datetime) -> None:
    """Everybody was told: the alert is not sent again."""
    Alert.objects.filter(org_id=org_id, pk=alert_id, notified_at__isnull=True).update(
        notified_at=now
    )


def unsent(*, now: datetime) -> list[tuple[int, int]]:
    """(organization, alert) of what should have been sent and was not, oldest first."""
    lost = Q(claimed_at__isnull=True, fired_at__lte=now - LEASE) | Q(claimed_at__lte=now - LEASE)
    with tenancy.all_organizations(reason="find usage alerts to send again"):
        rows = Alert.objects.filter(
            lost,
            notify=True,
            notified_at__isnull=True,
            fired_at__gt=now - GIVEN_UP,
            org__status=OrganizationStatus.ACTIVE,
        )
        return list(rows.order_by("fired_at", "pk").values_list("org_id", "pk"))
