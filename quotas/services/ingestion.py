"""Storing events of usage: each key once, whatever batch, order or timestamp it comes with.

A batch is one statement in the caller's transaction: the keys are claimed in a table of their own
(unique by organization and key), and only events whose key was new are stored. Two batches with the
same keys claim them in one order, so the second waits for the first and finds duplicates.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from quotas.events import MAX_EVENTS, Event, Organization, Outcome, check_events, duplicate
from quotas.models import Meter
from quotas.resources import Resource
from quotas.services import usage
from quotas.services.meters import meter_rules
from quotas.services.partitions import add_partition, partition_of
from quotas.services.periods import current_period, period_before
from spoke.core.errors import InvalidInput, NotFound

# From this size on COPY into a temporary table is faster than arrays.
COPY_FROM = 400

HOLD_ORGANIZATION = """
SELECT name, to_regclass(%s) IS NOT NULL FROM orgs_organization WHERE id = %s FOR KEY SHARE
"""
HOLD_PERIODS = """
SELECT id, start, "end", closed_at FROM quotas_usageperiod
WHERE org_id = %(org_id)s AND start <= %(latest)s AND "end" > %(earliest)s
ORDER BY id FOR SHARE
"""
# It outlives the transaction, empty, so that a connection makes it once; a transaction that stores
# several batches starts each with nothing.
STAGING = """
CREATE TEMPORARY TABLE IF NOT EXISTS quotas_staged_events (
    position integer, digest uuid, meter_id bigint, idempotency_key text, quantity numeric,
    at timestamptz, counted_at timestamptz, properties jsonb
) ON COMMIT DELETE ROWS;
DELETE FROM pg_temp.quotas_staged_events
"""
COPY = "COPY pg_temp.quotas_staged_events FROM STDIN"
FROM_COPY = "SELECT * FROM pg_temp.quotas_staged_events"
FROM_ARRAYS = """
SELECT * FROM unnest(
    %(position)s::integer[], %(digest)s::uuid[], %(meter_id)s::bigint[], %(key)s::text[],
    %(quantity)s::numeric[], %(at)s::timestamptz[], %(counted_at)s::timestamptz[],
    %(properties)s::jsonb[]
) AS s(position, digest, meter_id, idempotency_key, quantity, at, counted_at, properties)
"""
STORE = """
WITH staged AS MATERIALIZED ({source}),
fresh AS (
    INSERT INTO quotas_eventkey (org_id, digest, received_at)
    SELECT %(org_id)s, digest, %(now)s FROM staged ORDER BY digest
    ON CONFLICT DO NOTHING
    RETURNING digest
), stored AS (
    INSERT INTO quotas_usageevent (org_id, meter_id, idempotency_key, quantity, "timestamp",
                                   counted_at, received_at, properties)
    SELECT %(org_id)s, meter_id, idempotency_key, quantity, at, counted_at, %(now)s, properties
    FROM staged WHERE digest IN (SELECT digest FROM fresh)
)
SELECT position FROM staged WHERE digest NOT IN (SELECT digest FROM fresh)
"""


@dataclass(frozen=True)
class Ingested:
    """What became of a batch: how many are stored, and what is to be said of each of the others."""

    accepted: int
    others: list[Outcome]

    @property
    def duplicates(self) -> int:
        """How many were stored before, or stand in the batch twice."""
        return sum(outcome.status == "duplicate" for outcome in self.others)

    @property
    def rejected(self) -> int:
        """How many are not in order."""
        return len(self.others) - self.duplicates


@dataclass(frozen=True)
class _Span:
    """A period that is open, and stays so until the transaction ends."""

    period_id: int
    start: datetime
    end: datetime


class _Calendar:
    """Where events count: in the open period of their time, else now, in the current one."""

    def __init__(self, spans: Sequence[_Span], current: _Span, now: datetime) -> None:
        self.spans, self.current, self.now = spans, current, now

    def counted(self, at: datetime) -> tuple[datetime, int]:
        """The time at which an event of this time counts, and the period."""
        for span in self.spans:
            if span.start <= at < span.end:
                return at, span.period_id
        return self.now, self.current.period_id


def ingest_events(*, org_id: int, events: Sequence[Any], now: datetime) -> Ingested:
    """Every event that is in order and new is stored once, and counted; the others are named.

    Whatever is wrong with one event does not hold up the others. Must run in a transaction scoped to
    the organization. Raises InvalidInput for more than 10,000 events and NotFound for an organization
    that is gone.
    """
    if len(events) > MAX_EVENTS:
        raise InvalidInput(
            f"At most {MAX_EVENTS} events at once.", field="events", code="max_length"
        )
    organization = _hold_organization(org_id, now)
    meters = list(Meter.objects.all())
    good, others = check_events(
        events, meters=meter_rules(meters), organization=organization, now=now
    )
    if not good:
        return Ingested(0, others)
    calendar = _hold_periods(org_id, good, now)
    counted = [calendar.counted(event.at) for event in good]
    repeated = _store(org_id, good, [at for at, _ in counted], now)
    resources = {meter.pk: Resource(meter.resource) for meter in meters if meter.resource}
    fresh = [
        (resources[event.meter_id], period_id, usage.hour_of(event.at), int(event.quantity))
        for event, (_, period_id) in zip(good, counted, strict=True)
        if event.meter_id in resources and event.position not in repeated
    ]
    if fresh:
        _count_resources(org_id, fresh)
    others += [duplicate(event.position, event.key) for event in good if event.position in repeated]
    others.sort(key=lambda outcome: outcome.position)
    return Ingested(len(good) - len(repeated), others)


def _hold_organization(org_id: int, now: datetime) -> Organization:
    """It is not purged before the transaction ends; and this month has its partition."""
    with connection.cursor() as cursor:
        cursor.execute(HOLD_ORGANIZATION, [f"public.{partition_of(now)}", org_id])
        row = cursor.fetchone()
    if row is None:
        raise NotFound("There is no such organization.")
    if not row[1]:
        add_partition(at=now)
    return Organization(org_id, row[0])


def _hold_periods(org_id: int, events: list[Event], now: datetime) -> _Calendar:
    """The open periods that the events fall into; none of them closes until the transaction ends."""
    earliest, latest = min(event.at for event in events), max(event.at for event in events)
    current = current_period(org_id=org_id, now=now)
    if latest >= current.end:
        current_period(org_id=org_id, now=latest)
    if earliest < current.start and now < current.start + usage.CLOSE_GRACE:
        # A month in which nothing was counted yet is open as long as one with a row would be.
        period_before(org_id=org_id, start=current.start)
    with connection.cursor() as cursor:
        cursor.execute(
            HOLD_PERIODS,
            {"org_id": org_id, "latest": max(latest, now), "earliest": min(earliest, now)},
        )
        rows = cursor.fetchall()
    spans = [_Span(*row[:3]) for row in rows if row[3] is None]
    return _Calendar(spans, _Span(current.pk, current.start, current.end), now)


def _store(org_id: int, events: list[Event], counted_at: list[datetime], now: datetime) -> set[int]:
    """Stores the events whose key is new; the positions of the others."""
    parameters: dict[str, Any] = {"org_id": org_id, "now": now}
    with connection.cursor() as cursor:
        if len(events) >= COPY_FROM:
            cursor.execute(STAGING)
            with cursor.copy(COPY) as copy:
                copy.write(_copy_text(events, counted_at))
            statement = STORE.format(source=FROM_COPY)
        else:
            parameters |= _arrays(events, counted_at)
            statement = STORE.format(source=FROM_ARRAYS)
        cursor.execute(statement, parameters)
        return {position for (position,) in cursor.fetchall()}


def _arrays(events: list[Event], counted_at: list[datetime]) -> dict[str, Any]:
    return {
        "position": [event.position for event in events],
        "digest": [UUID(bytes=event.digest) for event in events],
        "meter_id": [event.meter_id for event in events],
        "key": [event.key for event in events],
        # As text: an array of numbers must be of one kind.
        "quantity": [str(event.quantity) for event in events],
        "at": [event.at for event in events],
        "counted_at": counted_at,
        "properties": [event.properties for event in events],
    }


def _copy_text(events: list[Event], counted_at: list[datetime]) -> str:
    """The rows in COPY's text format."""
    return "".join(
        [
            f"{e.position}\t{e.digest.hex()}\t{e.meter_id}\t{_escaped(e.key)}\t{e.quantity}\t{e.at}"
            f"\t{counted}\t{_escaped(e.properties)}\n"
            for e, counted in zip(events, counted_at, strict=True)
        ]
    )


def _escaped(text: str | None) -> str:
    if text is None:
        return "\\N"
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if not text.isprintable():
        text = text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return text


def _count_resources(org_id: int, counted: list[tuple[Resource, int, datetime, int]]) -> None:
    """What counts towards a limit counts at once, like any other use of it, in one order of locks."""
    periods: dict[tuple[Resource, int], int] = defaultdict(int)
    hours: dict[tuple[Resource, datetime], int] = defaultdict(int)
    for resource, period_id, hour, amount in counted:
        periods[resource, period_id] += amount
        hours[resource, hour] += amount
    usage.add_to_meters(org_id=org_id, periods=periods, hours=hours)
