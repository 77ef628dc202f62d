"""What a meter's figures mean. Pure; amounts are exact decimals, times are aware."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from enum import StrEnum
from typing import Literal

from spoke.core.periods import Period


class Aggregation(StrEnum):
    """How the events of a meter become one figure."""

    SUM = "sum"
    COUNT = "count"
    MAX = "max"
    UNIQUE = "unique"
    LATEST = "latest"
    TIME_WEIGHTED_AVERAGE = "time_weighted_average"


# Wide enough for every sum of quantities times microseconds, so that only the division rounds.
EXACT_DIGITS = 200
MICROSECOND = timedelta(microseconds=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def time_weighted_average(
    *, initial: Decimal, changes: Iterable[tuple[datetime, Decimal]], period: Period
) -> Decimal:
    """The average of a level over a period, each level weighted with how long it stood.

    `initial` is the level before the changes; a change says by how much the level rose or fell then.
    Changes may come in any order; those before the period count from its start, those after it not
    at all. Exact but for one rounding, to the caller's decimal context. Raises ValueError for an
    empty period or a time without a zone.
    """
    length = period.length // MICROSECOND
    if length <= 0:
        raise ValueError("a period ends after its start")
    with localcontext() as exact:
        exact.prec = EXACT_DIGITS
        area = initial * length
        for at, change in changes:
            if at.utcoffset() is None:
                raise ValueError("a change needs a time with a time zone")
            remaining = (period.end - at) // MICROSECOND
            area += change * min(max(remaining, 0), length)
    return area / length


Span = Literal["day", "hour", "moment"]


@dataclass(frozen=True)
class Piece:
    """A stretch that is read from the buckets of a span, or (`moment`) from single events."""

    span: Span
    start: datetime
    end: datetime


def floor(at: datetime, span: Literal["day", "hour"]) -> datetime:
    """The start of the day or hour, in UTC, that holds a time."""
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return at.replace(hour=0) if span == "day" else at


def _ceil(at: datetime, span: Literal["day", "hour"]) -> datetime:
    low = floor(at, span)
    return low if low == at else low + (DAY if span == "day" else HOUR)


def cover(start: datetime, end: datetime) -> list[Piece]:
    """[start, end) as whole days, the whole hours around them, and what is left of hours.

    In order of time, without gap or overlap; at most five pieces, however long the stretch is.
    """
    first_hour, last_hour = _ceil(start, "hour"), floor(end, "hour")
    if first_hour >= last_hour:
        return [Piece("moment", start, end)] if start < end else []
    first_day, last_day = _ceil(start, "day"), floor(end, "day")
    if first_day >= last_day:
        first_day = last_day = last_hour
    pieces = (
        Piece("moment", start, first_hour),
        Piece("hour", first_hour, first_day),
        Piece("day", first_day, last_day),
        Piece("hour", last_day, last_hour),
        Piece("moment", last_hour, end),
    )
    return [piece for piece in pieces if piece.start < piece.end]
