"""Events for tests."""

import itertools
import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from conftest import door
from quotas.models import Meter, MeterBucket, MeterDistinct
from quotas.services import rollups
from quotas.services.ingestion import Ingested, ingest_events
from quotas.services.meter_usage import usage_of_meter
from quotas.tests.conftest import NOW
from spoke.core import tenancy

_numbers = itertools.count()
METERS = (
    "compile_seconds",
    "artifact_downloads",
    "peak_concurrency",
    "queue_depth",
    "active_developers",
    "cache_bytes",
)


def event(meter: str = "artifact_downloads", quantity: Any = 1, **fields: Any) -> dict[str, Any]:
    """An event in order; every one has a key of its own unless said."""
    at = fields.pop("at", NOW - timedelta(minutes=1))
    return {
        "idempotency_key": f"event-{next(_numbers)}",
        "meter": meter,
        "quantity": quantity,
        "timestamp": at.isoformat(),
    } | fields


def ingest(org_id: int, *events: Any, now: datetime = NOW) -> Ingested:
    """Stores events in a transaction of their own."""
    with tenancy.organization(org_id):
        return ingest_events(org_id=org_id, events=list(events), now=now)


def used(org_id: int, meter: str, start: datetime, end: datetime) -> Any:
    """What the service says of a meter, as a number."""
    with tenancy.organization(org_id):
        found = usage_of_meter(
            org_id=org_id, meter=Meter.objects.get(code=meter), start=start, end=end
        )
    return None if found is None else float(found)


def roll_up(**options) -> int:
    return rollups.roll_up(now=NOW, **options)


def snapshot():
    """Everything rolled up, for comparing."""
    names = "org_id meter_id span start events total maximum moment latest latest_at latest_id"
    with door():
        return (
            list(MeterBucket.objects.values_list(*names.split()).order_by(*names.split()[:4])),
            sorted(MeterDistinct.objects.values_list("org_id", "meter_id", "start", "digest")),
        )


def a_mixture(number: int, seed: int = 1) -> list[dict]:
    generator = random.Random(seed)
    found = []
    for _ in range(number):
        meter = generator.choice(METERS)
        quantity = generator.choice([1, 2, 7, Decimal("0.125")])
        if meter == "cache_bytes":
            quantity *= generator.choice([1, -1])
        at = NOW - timedelta(seconds=generator.randrange(20 * 86400))
        user = f"u{generator.randrange(9)}"
        found.append(event(meter, quantity, at=at, properties={"user": user}))
    return found
