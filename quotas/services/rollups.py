"""Rolling events up into hourly and daily buckets, by what is new since the last time.

What is new is known by transaction ids. A transaction that is still running may have stored events
that nobody sees yet, so an increment ends before the oldest one running: it takes the events of
`horizon <= xid < pg_snapshot_xmin(now)` and moves the horizon there. An event that commits late has an
xid that no increment has passed, however old its timestamp or its id.

Buckets and horizon change in one transaction under a lock on the one row of state: killed half way
nothing happened, and run twice or at once each event counts once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.db import connection
from prometheus_client import Counter

from quotas.services import rollup_sql as sql
from spoke.core import tenancy

logger = structlog.get_logger(__name__)
ROLLED_UP = Counter("spoke_usage_events_rolled_up_total", "Events of usage added to buckets.")
# About so many events an increment, so that none holds its lock for long.
AT_ONCE = 200_000

MAKE_STATE = "INSERT INTO quotas_rollupstate (id, horizon) VALUES (1, '0') ON CONFLICT DO NOTHING"
LOCK_STATE = "SELECT horizon::text::bigint FROM quotas_rollupstate WHERE id = 1 FOR UPDATE"
BOUNDS = """
SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint
FROM pg_current_snapshot() AS s
"""
# A transaction is taken whole or not at all.
PORTION = """
SELECT xid::text::bigint FROM quotas_usageevent
WHERE xid >= %(low)s::text::xid8 AND xid < %(high)s::text::xid8
ORDER BY xid OFFSET %(most)s LIMIT 1
"""
SET_STATE = "UPDATE quotas_rollupstate SET horizon = %s::text::xid8, rolled_up_at = %s WHERE id = 1"
NEW_EVENTS = "e.xid >= %(low)s::text::xid8 AND e.xid < %(high)s::text::xid8"
STATE = "(SELECT {} FROM quotas_rollupstate)"
SETTLED_EVENTS = (
    "e.xid < (SELECT horizon FROM quotas_rollupstate) AND e.counted_at >="
    " COALESCE((SELECT complete_since FROM quotas_rollupstate), '-infinity')"
)
COMPLETE_BUCKETS = (
    "e.start >= COALESCE((SELECT complete_since FROM quotas_rollupstate), '-infinity')"
)
OF_ORG = " AND e.org_id = %(org_id)s"


class HorizonAhead(RuntimeError):
    """The database was restored into another cluster, whose transaction ids are younger."""

    def __init__(self) -> None:
        super().__init__(
            "The rollup's horizon lies ahead of this cluster's transactions, as after restoring a"
            " dump: run `manage.py usage rebuild`."
        )


@dataclass(frozen=True)
class Difference:
    """A bucket, or a distinct value of an hour (`span` is `value`), that is not as its events say."""

    org_id: int
    meter_id: int
    span: str
    start: datetime
    events_say: str
    stored: str


def roll_up(*, now: datetime, at_once: int = AT_ONCE) -> int:
    """Every event of a transaction that ended before this call is in its buckets; returns how many
    events were added.

    Does nothing while another run is at it. Safe to kill: each portion is a transaction.
    """
    added, more = 0, True
    while more:
        portion, more = _increment(now, at_once)
        added += portion
        ROLLED_UP.inc(portion)
    return added


def _increment(now: datetime, at_once: int) -> tuple[int, bool]:
    """Adds one portion, unless another run has the lock; says of how many events, and if more wait."""
    with (
        tenancy.all_organizations(reason="roll up usage events"),
        connection.cursor() as cursor,
    ):
        cursor.execute(MAKE_STATE)
        cursor.execute(f"{LOCK_STATE} SKIP LOCKED")
        row = cursor.fetchone()
        if row is None:
            return 0, False
        low, (high, newest) = row[0], _bounds(cursor)
        if low > newest:
            raise HorizonAhead
        cursor.execute(PORTION, {"low": low, "high": high, "most": at_once})
        further = cursor.fetchone()
        if further is not None:
            # Its transaction is the next portion's, unless it fills this one alone.
            high = further[0] if further[0] > low else low + 1
        added = _add(cursor, NEW_EVENTS, {"low": low, "high": high})
        cursor.execute(SET_STATE, [high, now])
        return added, further is not None


def _bounds(cursor: Any) -> tuple[int, int]:
    cursor.execute(BOUNDS)
    low, high = cursor.fetchone()
    return low, high


def _add(cursor: Any, events: str, parameters: dict[str, Any]) -> int:
    cursor.execute(f"SELECT count(*) FROM quotas_usageevent e WHERE {events}", parameters)  # noqa: S608
    number = int(cursor.fetchone()[0])
    if number:
        cursor.execute(sql.ADD_BUCKETS.format(events=events), parameters)
        cursor.execute(sql.ADD_DISTINCT.format(events=events), parameters)
    return number


@contextmanager
def _unlimited(reason: str) -> Iterator[Any]:
    """A transaction that sees everything and takes the time it takes."""
    with tenancy.all_organizations(reason=reason), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL lock_timeout = 0")
        yield cursor


def rebuild(*, now: datetime, org_id: int | None = None) -> int:
    """The buckets are made anew of the events; returns of how many. Of one organization, or of all.

    Buckets whose events are past retention stay as they are. Rollups wait meanwhile, readers see the
    old figures.
    """
    parameters: dict[str, Any] = {"org_id": org_id}
    narrow = "" if org_id is None else OF_ORG
    with _unlimited("rebuild usage rollups") as cursor:
        cursor.execute(MAKE_STATE)
        cursor.execute(LOCK_STATE)
        low = cursor.fetchone()[0]
        if low > _bounds(cursor)[1]:
            if org_id is not None:
                raise HorizonAhead
            _adopt_foreign_events(cursor, now)
        for table in ("quotas_meterbucket", "quotas_meterdistinct"):
            cursor.execute(f"DELETE FROM {table} e WHERE {COMPLETE_BUCKETS}{narrow}", parameters)  # noqa: S608
        return _add(cursor, SETTLED_EVENTS + narrow, parameters)


def _adopt_foreign_events(cursor: Any, now: datetime) -> None:
    """After a dump was restored: every event there is belongs to the past of this cluster."""
    cursor.execute("LOCK TABLE quotas_usageevent IN SHARE ROW EXCLUSIVE MODE")
    cursor.execute("UPDATE quotas_usageevent SET xid = '3'")
    cursor.execute("SELECT pg_current_xact_id()::text::bigint")
    cursor.execute(SET_STATE, [cursor.fetchone()[0], now])


def verify(*, org_id: int | None = None, most: int = 100) -> list[Difference]:
    """Where buckets differ from what their events say; the first hundred. Changes nothing.

    Rollups go on meanwhile: what they add is in neither side's view or in both.
    """
    narrow = "" if org_id is None else OF_ORG
    parameters = {"org_id": org_id, "most": most}
    found: list[Difference] = []
    with _unlimited("verify usage rollups") as cursor:
        for statement in (sql.DIFFERENT_BUCKETS, sql.DIFFERENT_VALUES):
            cursor.execute(
                statement.format(events=SETTLED_EVENTS + narrow, buckets=COMPLETE_BUCKETS + narrow),
                parameters,
            )
            found += [Difference(*row) for row in cursor.fetchall()]
    return found
