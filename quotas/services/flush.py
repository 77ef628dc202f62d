"""Writing counted requests to PostgreSQL: neither lost nor doubled, wherever it is killed.

The requests of a shard are set aside in Valkey under a generation's name (claim.lua), written together
with that name under a unique key in one transaction, and only then deleted. Killed before the commit,
the next flush finds them set aside and writes them; killed after it, the name is known and they are
only deleted.

A Valkey that is killed may forget its last moments. So that it never forgets that a batch was set aside
which PostgreSQL has, and goes on counting under a name that will be passed over, the setting aside is on
disk before it is written.
"""

import math
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.db import connection
from redis import Redis
from redis.exceptions import ResponseError

from quotas.models import FlushedGeneration
from quotas.resources import Resource
from quotas.services import valkey
from quotas.services.periods import anchors_of, calendar_period, current_period
from spoke.core import tenancy
from spoke.core.valkey import call

logger = structlog.get_logger(__name__)
Counts = Mapping[tuple[int, int], int]
# After this long no killed flush is still waiting to be repeated.
REMEMBERED = timedelta(days=7)
PENDING_HOURS = 72
DISK_MILLISECONDS, ASK_AGAIN_SECONDS = 1_000, 60.0

LIVE = "SELECT id FROM orgs_organization WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE"
# A period for every hour counted and for now, where an organization has none.
OPEN_PERIODS = """
INSERT INTO quotas_usageperiod (org_id, start, "end")
SELECT DISTINCT m.org_id, m.start, m."end"
FROM unnest(%(orgs)s::bigint[], %(hours)s::timestamptz[], %(starts)s::timestamptz[],
            %(ends)s::timestamptz[]) AS m(org_id, hour, start, "end")
WHERE NOT EXISTS (
    SELECT FROM quotas_usageperiod p
    WHERE p.org_id = m.org_id AND p.start <= m.hour AND m.hour < p."end")
ORDER BY 1, 2
ON CONFLICT (org_id, start) DO NOTHING
"""
# Taken before they are read: none of them closes until we have committed.
LOCK_PERIODS = """
SELECT p.id FROM quotas_usageperiod p
WHERE p.org_id = ANY(%(orgs)s) AND p.start <= %(now)s AND p."end" > %(oldest)s
ORDER BY p.id FOR SHARE
"""
COUNT_IN_PERIODS = """
INSERT INTO quotas_periodusage AS u (org_id, period_id, resource, used)
SELECT c.org_id, COALESCE(own.id, latest.id), %(resource)s, sum(c.used)
FROM unnest(%(orgs)s::bigint[], %(hours)s::timestamptz[], %(used)s::bigint[])
    AS c(org_id, hour, used)
LEFT JOIN quotas_usageperiod own ON own.org_id = c.org_id AND own.start <= c.hour
    AND c.hour < own."end" AND own.closed_at IS NULL
LEFT JOIN quotas_usageperiod latest ON latest.org_id = c.org_id AND latest.start <= %(now)s
    AND %(now)s < latest."end"
GROUP BY 1, 2 ORDER BY 2
ON CONFLICT (period_id, resource) DO UPDATE SET used = u.used + EXCLUDED.used
"""
COUNT_IN_BUCKETS = """
INSERT INTO quotas_usagebucket AS b (org_id, resource, hour, used)
SELECT c.org_id, %(resource)s, c.hour, c.used
FROM unnest(%(orgs)s::bigint[], %(hours)s::timestamptz[], %(used)s::bigint[])
    AS c(org_id, hour, used)
ORDER BY 1, 3
ON CONFLICT (org_id, resource, hour) DO UPDATE SET used = b.used + EXCLUDED.used
"""


def generation_id(shard: int, generation: str) -> str:
    """The name PostgreSQL remembers a generation by."""
    return f"{shard}:{generation}"


def set_aside(shards: Iterable[int]) -> dict[int, list[str]]:
    """The generations of each shard that await their writing, set aside for good. Raises RedisError.

    All of them wait for the disk together, since that takes up to a second.
    """
    client = valkey.task_client()
    found = {}
    for shard in shards:
        keys = [valkey.requests_key(shard), valkey.claimed_key(shard)]
        found[shard] = sorted(raw.decode() for raw in valkey.script("claim")(client, keys, []))
    if any(found.values()):
        _disk.wait(client)
    return found


def write_set_aside(*, shard: int, generations: Iterable[str], now: datetime) -> int:
    """What was set aside is in PostgreSQL, once; returns how many requests were written.

    Raises RedisError or DatabaseError, and may then be run again.
    """
    client = valkey.task_client()
    written = 0
    for generation in generations:
        counts = _counts_of(client.hgetall(valkey.requests_key(shard, generation)))
        if counts and write_generation(
            generation=generation_id(shard, generation), counts=counts, now=now
        ):
            written += sum(counts.values())
        _forget(shard, generation)
    return written


class _Disk:
    """Waits until what this thread told Valkey is on its disk."""

    def __init__(self) -> None:
        self.ask_again_at = -math.inf

    def wait(self, client: "Redis") -> None:
        """Returns at once where it cannot be known: before 7.2, or without an append-only file."""
        if time.monotonic() < self.ask_again_at:
            return
        try:
            confirmed = call(client, "WAITAOF", 1, 0, DISK_MILLISECONDS)[0]
        except ResponseError:
            return
        if not confirmed:
            # With `appendfsync no` nothing is ever confirmed.
            self.ask_again_at = time.monotonic() + ASK_AGAIN_SECONDS
            logger.warning("quotas.flush_not_on_disk")


_disk = _Disk()


def _counts_of(fields: Mapping[Any, Any]) -> dict[tuple[int, int], int]:
    counts = {}
    for field, number in fields.items():
        org_id, separator, hour = field.decode().partition(":")
        if separator:
            counts[int(org_id), int(hour)] = int(number)
    return counts


def _forget(shard: int, generation: str) -> None:
    pipeline = valkey.task_client().pipeline(transaction=True)
    pipeline.delete(valkey.requests_key(shard, generation))
    pipeline.srem(valkey.claimed_key(shard), generation)
    pipeline.execute()


def write_generation(*, generation: str, counts: Counts, now: datetime) -> bool:
    """The counts, by (organization, hour as seconds), are stored once under this name.

    Says whether this call stored them. Organizations that are gone are left out; what was counted in
    a period that is closed by now goes to the current one.
    """
    with (
        tenancy.all_organizations(reason="flush counted requests"),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "INSERT INTO quotas_flushedgeneration (generation, flushed_at) VALUES (%s, %s)"
            " ON CONFLICT DO NOTHING",
            [generation, now],
        )
        if cursor.rowcount == 0:
            return False
        cursor.execute(LIVE, [sorted({org_id for org_id, _ in counts})])
        live = {row[0] for row in cursor.fetchall()}
        kept = {key: number for key, number in counts.items() if key[0] in live}
        if kept:
            parameters = _parameters(kept, now)
            _open_periods(cursor, kept, now)
            cursor.execute(LOCK_PERIODS, parameters)
            cursor.execute(COUNT_IN_PERIODS, parameters)
            cursor.execute(COUNT_IN_BUCKETS, parameters)
    return True


def _parameters(counts: Counts, now: datetime) -> dict[str, Any]:
    hours = [datetime.fromtimestamp(hour, UTC) for _, hour in counts]
    return {
        "orgs": [org_id for org_id, _ in counts],
        "hours": hours,
        "used": list(counts.values()),
        "oldest": min(hours),
        "now": now,
        "resource": Resource.API_REQUESTS.value,
    }


def _open_periods(cursor: Any, counts: Counts, now: datetime) -> None:
    """There is a period for each hour counted, and for now."""
    times = {(org_id, datetime.fromtimestamp(hour, UTC)) for org_id, hour in counts}
    times |= {(org_id, now) for org_id, _ in counts}
    anchored = anchors_of({org_id for org_id, _ in counts})
    # In one statement where the calendar says what is to be opened, which holds for most.
    rows = [(org_id, at, calendar_period(at)) for org_id, at in times if org_id not in anchored]
    cursor.execute(
        OPEN_PERIODS,
        {
            "orgs": [org_id for org_id, _, _ in rows],
            "hours": [at for _, at, _ in rows],
            "starts": [month.start for _, _, month in rows],
            "ends": [month.end for _, _, month in rows],
        },
    )
    period = None
    for org_id, at in sorted(times):
        # Hours of one period follow each other.
        if period is not None and period.org_id == org_id and period.start <= at < period.end:
            continue
        period = current_period(org_id=org_id, now=at) if org_id in anchored else None


def forget_generations(*, now: datetime) -> int:
    """Deletes the names of generations that no flush can meet again, and says how many."""
    deleted, _ = FlushedGeneration.objects.filter(flushed_at__lt=now - REMEMBERED).delete()
    return deleted


def read_pending(*, org_id: int, now: datetime) -> dict[str, dict[datetime, int]]:
    """An organization's requests that await the flush, by generation and hour, of the last 72 hours.

    Read it before PostgreSQL, and then leave out the generations that PostgreSQL knows: what is
    flushed in between is neither missing nor counted twice. Raises RedisError when Valkey is away.
    """
    shard = valkey.shard_of(org_id)
    newest = int(now.timestamp()) // 3600 * 3600
    hours = [newest - 3600 * back for back in range(-1, PENDING_HOURS)]
    found = valkey.script("pending")(
        valkey.request_client(),
        [valkey.requests_key(shard), valkey.claimed_key(shard)],
        [f"{org_id}:{hour}" for hour in hours],
    )
    return {
        generation_id(shard, name.decode()): {
            datetime.fromtimestamp(hour, UTC): int(number)
            for hour, number in zip(hours, numbers, strict=True)
            if number is not None
        }
        for name, numbers in zip(found[::2], found[1::2], strict=True)
    }


def unwritten(pending: Mapping[str, Mapping[datetime, int]]) -> dict[datetime, int]:
    """What of the pending requests PostgreSQL does not have yet, by hour."""
    written = set(
        FlushedGeneration.objects.filter(generation__in=pending).values_list(
            "generation", flat=True
        )
    )
    hours: dict[datetime, int] = {}
    for generation, counts in pending.items():
        if generation not in written:
            for hour, number in counts.items():
                hours[hour] = hours.get(hour, 0) + number
    return hours
