"""Reading the usage of meters: one figure for any stretch of time, and series for plots.

A stretch is read as whole days, whole hours around them, and single events where it cuts an hour, all
of them as far as the rollup has come.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Any

from django.db import connection

from quotas.events import NEWEST, OLDEST
from quotas.metering import DAY, EXACT_DIGITS, HOUR, Aggregation, Piece, cover, floor
from quotas.models import Meter
from quotas.services.history import MAX_POINTS, Granularity
from quotas.services.periods import current_period
from quotas.services.rollup_sql import DIGEST
from spoke.core.errors import InvalidInput, NotFound

DECIMALS = Decimal(1).scaleb(-12)
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
SUMS = (Aggregation.SUM, Aggregation.COUNT, Aggregation.UNIQUE)
OF_METER = "org_id = %(org_id)s AND meter_id = %(meter_id)s"
OF_BUCKETS = f"""
SELECT events, total, maximum, moment, latest, latest_at, latest_id FROM quotas_meterbucket
WHERE {OF_METER} AND span = '{{span}}' AND start >= %(start{{n}})s AND start < %(end{{n}})s
"""  # noqa: S608 - constants only
# An event counts when it happened or, late, when it was received: that bounds the partitions.
OF_EVENTS = f"""
FROM quotas_usageevent e JOIN quotas_meter m ON m.id = e.meter_id
WHERE {OF_METER} AND counted_at >= %(start{{n}})s AND counted_at < %(end{{n}})s
  AND received_at >= %(first{{n}})s AND received_at < %(last{{n}})s
  AND xid < (SELECT horizon FROM quotas_rollupstate)
"""  # noqa: S608
SINGLE = (
    "SELECT 1, quantity, quantity, quantity * EXTRACT(epoch FROM counted_at), quantity,"
    ' "timestamp", e.id'
)
FIGURES = """
SELECT COALESCE(sum(events), 0), COALESCE(sum(total), 0), max(maximum), COALESCE(sum(moment), 0),
       (array_agg(latest ORDER BY latest_at DESC, latest_id DESC)
           FILTER (WHERE latest_at IS NOT NULL))[1]
FROM ({pieces}) AS p(events, total, maximum, moment, latest, latest_at, latest_id)
"""
SERIES = f"""
SELECT start, events, total, maximum, moment, latest FROM quotas_meterbucket
WHERE {OF_METER} AND span = %(span)s AND start >= %(start)s AND start < %(end)s ORDER BY start
"""  # noqa: S608
DISTINCT_SERIES = f"""
SELECT date_trunc(%(span)s, start, 'UTC'), count(DISTINCT digest) FROM quotas_meterdistinct
WHERE {OF_METER} AND start >= %(start)s AND start < %(end)s GROUP BY 1
"""  # noqa: S608


@dataclass(frozen=True)
class MeterPoint:
    """A step of a series and its figure; None where max or latest saw no event."""

    start: datetime
    value: Decimal | None


@dataclass(frozen=True)
class _Figures:
    """What a stretch adds up to. The integral of a level is total times time, less the moment."""

    events: int
    total: Decimal
    maximum: Decimal | None
    moment: Decimal
    latest: Decimal | None


def meter_of(*, code: str) -> Meter:
    """The meter of this code. Raises NotFound."""
    meter = Meter.objects.filter(code=code).first()
    if meter is None:
        raise NotFound("There is no such meter.")
    return meter


def usage_of_meter(*, org_id: int, meter: Meter, start: datetime, end: datetime) -> Decimal | None:
    """What a meter counted in [start, end), exactly; None when max or latest saw no event.

    Events count at their own time, or, if its period was closed, at their receipt. A time-weighted
    average takes the level at the start into account, and assumes after the last event that nothing
    changes. As far as the rollup has come. Raises ValueError when nothing lies between.
    """
    if start >= end:
        raise ValueError("the end lies after the start")
    aggregation = Aggregation(meter.aggregation)
    if aggregation is Aggregation.UNIQUE:
        return Decimal(_distinct(org_id, meter, cover(start, end)))
    figures = _figures(org_id, meter, cover(start, end))
    if aggregation is Aggregation.TIME_WEIGHTED_AVERAGE:
        level = _level_at(org_id, meter, start)
        return _average(level, figures.total, figures.moment, start, end)
    return _simple(aggregation, figures)


def _simple(aggregation: Aggregation, figures: _Figures) -> Decimal | None:
    return {
        Aggregation.SUM: figures.total,
        Aggregation.COUNT: Decimal(figures.events),
        Aggregation.MAX: figures.maximum,
        Aggregation.LATEST: figures.latest,
    }[aggregation]


def _level_at(org_id: int, meter: Meter, at: datetime) -> Decimal:
    """The sum of all changes before a time."""
    return _figures(org_id, meter, cover(BEGINNING, at)).total


def _average(
    level: Decimal, total: Decimal, moment: Decimal, start: datetime, end: datetime
) -> Decimal:
    """The average of a level that stood at `level` and then changed by `total`, to 12 decimals."""
    with localcontext(Context(prec=EXACT_DIGITS, rounding=ROUND_HALF_EVEN)):
        area = level * _seconds(end - start) + total * _seconds(end - BEGINNING) - moment
        return (area / _seconds(end - start)).quantize(DECIMALS)


def _seconds(length: timedelta) -> Decimal:
    return Decimal(length // timedelta(microseconds=1)).scaleb(-6)


def _bounds_of(org_id: int, meter: Meter, pieces: Sequence[Piece]) -> dict[str, Any]:
    parameters: dict[str, Any] = {"org_id": org_id, "meter_id": meter.pk}
    for n, piece in enumerate(pieces):
        parameters |= {f"start{n}": piece.start, f"end{n}": piece.end}
        if piece.span == "moment":
            parameters |= {f"first{n}": piece.start - NEWEST, f"last{n}": piece.end + OLDEST}
    return parameters


def _figures(org_id: int, meter: Meter, pieces: Sequence[Piece]) -> _Figures:
    parts = [
        SINGLE + OF_EVENTS.format(n=n)
        if piece.span == "moment"
        else OF_BUCKETS.format(n=n, span=piece.span)
        for n, piece in enumerate(pieces)
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            FIGURES.format(pieces=" UNION ALL ".join(parts)), _bounds_of(org_id, meter, pieces)
        )
        return _Figures(*cursor.fetchone())


def _distinct(org_id: int, meter: Meter, pieces: Sequence[Piece]) -> int:
    parts = [
        f"SELECT {DIGEST}{OF_EVENTS.format(n=n)}"
        if piece.span == "moment"
        else f"SELECT digest FROM quotas_meterdistinct WHERE {OF_METER}"  # noqa: S608
        f" AND start >= %(start{n})s AND start < %(end{n})s"
        for n, piece in enumerate(pieces)
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(DISTINCT digest) FROM ({' UNION ALL '.join(parts)}) AS p(digest)",  # noqa: S608
            _bounds_of(org_id, meter, pieces),
        )
        return int(cursor.fetchone()[0])


def meter_series(
    *, org_id: int, meter: Meter, start: datetime, end: datetime, granularity: Granularity
) -> list[MeterPoint]:
    """A point for every whole hour or day that touches [start, end), oldest first.

    Steps without events are 0, None for max and latest, and the level that stood for an average.
    Raises InvalidInput beyond 1,000 points.
    """
    step = HOUR if granularity == "hour" else DAY
    first = floor(start, granularity)
    number = -(-(end - first) // step)
    if number > MAX_POINTS:
        raise InvalidInput(
            f"That would be {number} points; {MAX_POINTS} is the most.", field="start"
        )
    steps = [first + index * step for index in range(number)]
    aggregation = Aggregation(meter.aggregation)
    parameters = {
        "org_id": org_id,
        "meter_id": meter.pk,
        "span": granularity,
        "start": first,
        "end": first + number * step,
    }
    with connection.cursor() as cursor:
        cursor.execute(DISTINCT_SERIES if aggregation is Aggregation.UNIQUE else SERIES, parameters)
        rows = {row[0]: row[1:] for row in cursor.fetchall()}
    if aggregation is Aggregation.UNIQUE:
        return [MeterPoint(at, Decimal(rows[at][0] if at in rows else 0)) for at in steps]
    if aggregation is Aggregation.TIME_WEIGHTED_AVERAGE:
        return _levels(_level_at(org_id, meter, first), rows, steps, step)
    nothing = Decimal(0) if aggregation in SUMS else None
    return [
        MeterPoint(at, _simple(aggregation, _Figures(*rows[at])) if at in rows else nothing)
        for at in steps
    ]


def _levels(
    level: Decimal, rows: dict[datetime, Any], steps: list[datetime], step: timedelta
) -> list[MeterPoint]:
    points = []
    for at in steps:
        _, total, _, moment, _ = rows.get(at, (0, Decimal(0), None, Decimal(0), None))
        points.append(MeterPoint(at, _average(level, total, moment, at, at + step)))
        level += total
    return points


@dataclass(frozen=True)
class MeterReport:
    """One meter over a stretch of time."""

    meter: Meter
    total: Decimal | None
    series: list[MeterPoint] | None


def report_meters(
    *,
    org_id: int,
    code: str | None,
    start: datetime | None,
    end: datetime | None,
    granularity: Granularity | None,
    now: datetime,
) -> tuple[datetime, datetime, list[MeterReport]]:
    """Every meter, or one, over a stretch of time: by default the current period until now.

    Raises NotFound for an unknown meter, and InvalidInput when nothing lies between.
    """
    meters = list(Meter.objects.order_by("code")) if code is None else [meter_of(code=code)]
    if start is None:
        start = current_period(org_id=org_id, now=now).start
    end = end or now
    if not BEGINNING < start < end or end > now + 366 * DAY:
        raise InvalidInput("It must lie before `end`, and after 1970.", field="start")
    return (
        start,
        end,
        [
            MeterReport(
                meter,
                usage_of_meter(org_id=org_id, meter=meter, start=start, end=end),
                None
                if granularity is None
                else meter_series(
                    org_id=org_id, meter=meter, start=start, end=end, granularity=granularity
                ),
            )
            for meter in meters
        ],
    )
