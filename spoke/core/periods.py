"""Periods that repeat from an anchor. Pure; half-open, in UTC."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

Interval = Literal["month", "year"]
MONTHS: dict[Interval, int] = {"month": 1, "year": 12}


@dataclass(frozen=True, order=True)
class Period:
    """A stretch of time that holds its start and not its end."""

    start: datetime
    end: datetime

    def __contains__(self, at: datetime) -> bool:
        return self.start <= at < self.end

    @property
    def length(self) -> timedelta:
        """How long the period is."""
        return self.end - self.start


def period_containing(
    *, anchor: datetime, interval: Interval, at: datetime, count: int = 1
) -> Period:
    """The period of `count` intervals that contains `at`, among those that meet at the anchor.

    Every bound is computed from the anchor itself, never from the bound before it: an anchor on the
    31st gives 28 or 29 February and then 31 March again. Times before the anchor have periods too.
    Raises ValueError for a naive time, a count under 1, or a bound outside the years 1 to 9999.
    """
    if anchor.utcoffset() is None or at.utcoffset() is None:
        raise ValueError("periods need times with a time zone")
    if count < 1:
        raise ValueError("a period has at least one interval")
    anchor, at = anchor.astimezone(UTC), at.astimezone(UTC)
    step = MONTHS[interval] * count
    index = (12 * (at.year - anchor.year) + at.month - anchor.month) // step
    start = _plus_months(anchor, index * step)
    if start > at:  # in the anchor's month, but before its day and time
        return Period(_plus_months(anchor, (index - 1) * step), start)
    return Period(start, _plus_months(anchor, (index + 1) * step))


def _plus_months(anchor: datetime, months: int) -> datetime:
    year, month = divmod(12 * anchor.year + anchor.month - 1 + months, 12)
    day = min(anchor.day, monthrange(year, month + 1)[1]) if 1 <= year <= 9999 else anchor.day
    return anchor.replace(year=year, month=month + 1, day=day)
