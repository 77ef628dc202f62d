"""Usage over time, for plots: one point an hour or a day, with nothing left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from django.db.models.functions import Trunc

from quotas.models import GaugeChange, UsageBucket
from quotas.resources import GAUGES, Resource
from quotas.services.levels import levels_at
from spoke.core.errors import InvalidInput

Granularity = Literal["hour", "day"]
STEPS: dict[Granularity, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
DEFAULT_SPAN: dict[Granularity, timedelta] = {
    "hour": timedelta(days=1),
    "day": timedelta(days=30),
}
MAX_POINTS = 1_000


@dataclass(frozen=True)
class Point:
    """A meter's sum over the step that starts then, or the level of a gauge at its end."""

    start: datetime
    used: int


def usage_series(
    *,
    org_id: int,
    resource: Resource,
    granularity: Granularity,
    since: datetime | None,
    until: datetime | None,
    pending: Mapping[datetime, int],
    now: datetime,
) -> list[Point]:
    """A point for every step that touches [since, until), oldest first; none lies in the future.

    Steps without a record are 0 for a meter and the level before for a gauge. By default the last 24
    hours or 30 days. Raises InvalidInput beyond 1,000 points or when nothing lies between.
    """
    steps = _steps(granularity, since, until, now)
    if resource in GAUGES:
        return _levels(org_id, resource, steps, granularity)
    buckets = UsageBucket.objects.filter(
        org_id=org_id,
        resource=resource,
        hour__gte=steps[0],
        hour__lt=steps[-1] + STEPS[granularity],
    )
    rows = dict(buckets.values_list("hour", "used"))
    if resource is Resource.API_REQUESTS:
        for hour, number in pending.items():
            rows[hour] = rows.get(hour, 0) + number
    sums = dict.fromkeys(steps, 0)
    for hour, used in rows.items():
        start = _floor(hour, granularity)
        if start in sums:
            sums[start] += used
    return [Point(start, used) for start, used in sums.items()]


def _levels(
    org_id: int, resource: Resource, steps: list[datetime], granularity: Granularity
) -> list[Point]:
    changes = GaugeChange.objects.filter(org_id=org_id, resource=resource)
    lasting = (
        changes.filter(at__gte=steps[0], at__lt=steps[-1] + STEPS[granularity])
        .annotate(step=Trunc("at", granularity, tzinfo=UTC))
        .order_by("step", "-at")
        .distinct("step")
    )
    last = dict(lasting.values_list("step", "used"))
    level = levels_at(org_id=org_id, at=steps[0])[resource]
    points = []
    for start in steps:
        level = last.get(start, level)
        points.append(Point(start, level))
    return points


def _floor(at: datetime, granularity: Granularity) -> datetime:
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return at.replace(hour=0) if granularity == "day" else at


def _steps(
    granularity: Granularity, since: datetime | None, until: datetime | None, now: datetime
) -> list[datetime]:
    step = STEPS[granularity]
    until = now if until is None else min(until, now)
    try:
        start = until - DEFAULT_SPAN[granularity] + step if since is None else since
        start = _floor(start, granularity)
    except OverflowError as exc:
        raise InvalidInput("This time is too early.", field="since") from exc
    if start >= until:
        raise InvalidInput("It must lie before `until`, and in the past.", field="since")
    number = -(-(until - start) // step)
    if number > MAX_POINTS:
        raise InvalidInput(
            f"That would be {number} points; {MAX_POINTS} is the most.", field="since"
        )
    return [start + index * step for index in range(number)]
