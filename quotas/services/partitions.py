"""Raw events by month of receipt: partitions made ahead, dropped when past retention.

The runtime role may not change the schema; two functions of the database's owner (migration 0003) do
exactly this, and take turns.
"""

from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import F
from django.db.models.functions import Coalesce, Greatest

from quotas.models import RollupState
from spoke.core import tenancy

logger = structlog.get_logger(__name__)
MONTHS_AHEAD = 3
# Longer than the 35 days in which an event may be sent again, and the 5 minutes ahead.
KEY_RETENTION = timedelta(days=40)
PRUNE_AT_ONCE = 50_000


def month_of(at: datetime, ahead: int = 0) -> datetime:
    """The start of the month, in UTC, that holds a time, or of one that many months later."""
    at = at.astimezone(UTC)
    months = 12 * at.year + at.month - 1 + ahead
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def partition_of(at: datetime) -> str:
    """The name of the table that holds the events received in a time's month."""
    return f"quotas_usageevent_{at.astimezone(UTC):%Y%m}"


def add_partition(*, at: datetime) -> bool:
    """There is a partition for events received at this time; says whether it was missing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT quotas_add_event_partition(%s::date)", [month_of(at).date()])
        return bool(cursor.fetchone()[0])


def maintain_partitions(*, now: datetime) -> list[str]:
    """Partitions exist for this month and the next three; those past retention are dropped.

    Names what was dropped. Events that are not rolled up yet are never dropped.
    """
    for ahead in range(MONTHS_AHEAD + 1):
        add_partition(at=month_of(now, ahead))
    kept: int = settings.USAGE_EVENT_RETENTION_MONTHS
    oldest = month_of(now, -kept)
    with tenancy.all_organizations(reason="drop usage events past retention"):
        if _has_unrolled_before(oldest):
            logger.error("quotas.retention_waits_for_rollup", before=oldest.isoformat())
            return []
        with connection.cursor() as cursor:
            cursor.execute("SELECT quotas_drop_event_partitions(%s::date)", [oldest.date()])
            dropped: list[str] = cursor.fetchone()[0]
        if dropped:
            # An event counts at most 5 minutes after its receipt, so whole from the day after on.
            since = oldest + timedelta(days=1)
            RollupState.objects.update(
                complete_since=Greatest(Coalesce(F("complete_since"), since), since)
            )
    return dropped


def _has_unrolled_before(oldest: datetime) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM quotas_usageevent e WHERE e.received_at < %s AND e.xid >="
            " COALESCE((SELECT horizon FROM quotas_rollupstate), '0'::xid8))",
            [oldest],
        )
        return bool(cursor.fetchone()[0])


def prune_keys(*, now: datetime) -> int:
    """Forgets idempotency keys that no event can bring back, and says how many.

    In portions, each its own transaction; a second run at the same time does nothing.
    """
    deleted: int = 0
    while True:
        with (
            tenancy.all_organizations(reason="prune idempotency keys of events"),
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('quotas.prune_keys'))")
            if not cursor.fetchone()[0]:
                return deleted
            cursor.execute(
                "DELETE FROM quotas_eventkey WHERE ctid = ANY(ARRAY("
                "SELECT ctid FROM quotas_eventkey WHERE received_at < %s LIMIT %s))",
                [now - KEY_RETENTION, PRUNE_AT_ONCE],
            )
            portion = cursor.rowcount
        deleted += portion
        if portion < PRUNE_AT_ONCE:
            return deleted
