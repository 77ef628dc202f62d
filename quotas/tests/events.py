"""Events for tests."""

import itertools
from datetime import datetime, timedelta
from typing import Any

from quotas.models import Meter
from quotas.services.ingestion import Ingested, ingest_events
from quotas.services.meter_usage import usage_of_meter
from quotas.tests.conftest import NOW
from spoke.core import tenancy

_numbers = itertools.count()


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
