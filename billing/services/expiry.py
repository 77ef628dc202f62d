"""Cards that are about to expire: who is told, once a card and month.

A claim is a conditional UPDATE, so that of any number of tasks one sends; what was claimed and not
sent is claimed again later. A card that the bank renewed has another month, and is told of anew for it.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db.models import F, Q, QuerySet

from billing.models import Collection, PaymentMethod, Subscription, SubscriptionStatus
from billing.services.dunning import ABANDONED, recipients
from orgs.models import Organization
from spoke.core import tenancy


@dataclass(frozen=True)
class ExpiryWarning:
    """What is to be told, and whom. `month` is the last one, by its first day, the card is good in."""

    id: int
    organization: Organization
    card: str
    month: date
    claimed_at: datetime
    recipients: list[str]


def expiring(*, now: datetime) -> list[int]:
    """Organizations whose subscription is paid by a card of which they are to be told."""
    with tenancy.all_organizations(reason="find cards that expire"):
        rows = _due(now).filter(org_id__in=_paying().values("org_id"))
        return list(rows.order_by("org_id").values_list("org_id", flat=True))


def claim(*, org_id: int, now: datetime) -> ExpiryWarning | None:
    """The warning that is due and that nobody else sends; None without one. A transaction."""
    row = _due(now).filter(org_id=org_id).select_related("org").first()
    if row is None or not _paying().filter(org_id=org_id).exists():
        return None
    same = _due(now).filter(pk=row.pk, exp_year=row.exp_year, exp_month=row.exp_month)
    if not same.update(warning_claimed_at=now):
        return None
    return ExpiryWarning(
        id=row.pk,
        organization=row.org,
        card=str(row),
        month=date(row.exp_year or 0, row.exp_month or 0, 1),
        claimed_at=now,
        recipients=recipients(org_id),
    )


def note_sent(*, org_id: int, warning: ExpiryWarning) -> None:
    """The warning was sent and will not be again. A transaction."""
    rows = PaymentMethod.objects.filter(org_id=org_id, pk=warning.id)
    rows.update(warned_of=warning.month, warning_claimed_at=None)


def _paying() -> QuerySet[Subscription]:
    live = Subscription.objects.filter(collection=Collection.STRIPE, ended_at__isnull=True)
    return live.exclude(status=SubscriptionStatus.INCOMPLETE)


def _due(now: datetime) -> QuerySet[PaymentMethod]:
    """Default cards that expire in time, that nobody was told of, and that nobody is telling of.

    A card is good until the end of its month, UTC.
    """
    by = now + timedelta(days=settings.BILLING_CARD_WARNING_DAYS)
    rows = PaymentMethod.objects.filter(is_default=True, exp_month__range=(1, 12)).annotate(
        last_month=F("exp_year") * 12 + F("exp_month"),
        warned_month=F("warned_of__year") * 12 + F("warned_of__month"),
    )
    return rows.filter(
        Q(warned_of__isnull=True) | ~Q(warned_month=F("last_month")),
        Q(warning_claimed_at__isnull=True) | Q(warning_claimed_at__lte=now - ABANDONED),
        last_month__lt=by.year * 12 + by.month,
    )
