"""Periods of usage: opened by whoever needs them first, and begun anew where a subscription begins.

Without a subscription periods are months of the calendar; with one, months from its anchor on. They
tile time: a period begins where the one before it ends, wherever an anchor would have put it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import zip_longest

from quotas.models import QuotaSettings, UsagePeriod
from quotas.services.limits import lock_settings
from spoke.core.periods import Period, period_containing

# Organizations without a subscription count by calendar months; any first of a month anchors them.
CALENDAR = datetime(2000, 1, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


def calendar_period(at: datetime) -> Period:
    """The calendar month, in UTC, that contains a time."""
    return period_containing(anchor=CALENDAR, interval="month", at=at)


def anchors_of(org_ids: Iterable[int]) -> dict[int, datetime]:
    """The anchors of those organizations that do not count by calendar months."""
    rows = QuotaSettings.objects.filter(org_id__in=org_ids, period_anchor__isnull=False)
    return {org_id: at for org_id, at in rows.values_list("org_id", "period_anchor") if at}


def current_period(*, org_id: int, now: datetime) -> UsagePeriod:
    """The organization's period that contains `now`; opened by whoever needs it first, once."""
    periods = UsagePeriod.objects.for_org(org_id).filter(start__lte=now, end__gt=now)
    period = periods.first()
    if period is None:
        anchor = anchors_of([org_id]).get(org_id, CALENDAR)
        opened = _between_neighbours(org_id, anchor, now)
        UsagePeriod.objects.bulk_create(
            [UsagePeriod(org_id=org_id, start=opened.start, end=opened.end)], ignore_conflicts=True
        )
        period = periods.get()
    return period


def period_before(*, org_id: int, start: datetime) -> UsagePeriod | None:
    """The period that ends at `start`, opened where nobody needed it; None where none can end there."""
    before = start - MOMENT
    anchor = anchors_of([org_id]).get(org_id, CALENDAR)
    ends_there = UsagePeriod.objects.for_org(org_id).filter(end=start).exists()
    if (
        not ends_there
        and period_containing(anchor=anchor, interval="month", at=before).end != start
    ):
        return None
    return current_period(org_id=org_id, now=before)


def _between_neighbours(org_id: int, anchor: datetime, at: datetime) -> Period:
    """The month of the anchor that contains a time, cut where a stored period is in its way."""
    natural = period_containing(anchor=anchor, interval="month", at=at)
    stored = UsagePeriod.objects.for_org(org_id)
    before = stored.filter(end__lte=at, end__gt=natural.start).order_by("end").last()
    after = stored.filter(start__gt=at, start__lt=natural.end).order_by("start").first()
    return Period(before.end if before else natural.start, after.start if after else natural.end)


def restart_period(*, org_id: int, anchor: datetime | None, now: datetime) -> UsagePeriod:
    """The period under way ends now and another begins; those after it are months from the anchor.

    Anchor None: months of the calendar. Must run in a transaction; takes the organization's lock. A
    period that begins now is not cut again. Raises Organization.DoesNotExist.
    """
    settings = lock_settings(org_id=org_id, now=now)
    # What is under way was opened by the anchor before, or is now.
    current_period(org_id=org_id, now=now)
    settings.period_anchor = anchor
    settings.save(update_fields=["period_anchor"])
    stored = UsagePeriod.objects.for_org(org_id)
    ending = stored.select_for_update().get(start__lte=now, end__gt=now)
    following = stored.filter(start__gt=now).order_by("start").first()
    natural = period_containing(anchor=anchor or CALENDAR, interval="month", at=now)
    end = min(natural.end, following.start) if following else natural.end
    if ending.start == now:
        ending.end = end
        ending.save(update_fields=["end"])
        return ending
    ending.end = now
    ending.save(update_fields=["end"])
    return UsagePeriod.objects.create(org_id=org_id, start=now, end=end)


def move_period(*, org_id: int, anchor: datetime, now: datetime) -> UsagePeriod:
    """The period under way goes on, and ends with the month of another anchor; those after it follow.

    Must run in a transaction; takes the organization's lock. Periods still tile time: what has begun
    keeps its start, and what was opened ahead is cut as well. Raises Organization.DoesNotExist.
    """
    settings = lock_settings(org_id=org_id, now=now)
    current_period(org_id=org_id, now=now)
    settings.period_anchor = anchor
    settings.save(update_fields=["period_anchor"])
    ahead = UsagePeriod.objects.for_org(org_id).filter(end__gt=now).order_by("start")
    rows = list(ahead.select_for_update())
    for row, following in zip_longest(rows, rows[1:]):
        at = max(row.start, now)
        end = period_containing(anchor=anchor, interval="month", at=at).end
        row.end = min(end, following.start) if following else end
        row.save(update_fields=["end"])
    return rows[0]
