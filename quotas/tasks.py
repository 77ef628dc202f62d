"""Periodic work of quotas. Every task is safe to run twice, and at once."""

import structlog
from celery import shared_task
from django.db import DatabaseError
from django.utils import timezone

from quotas.services import flush, partitions, rollups, usage
from quotas.services.valkey import SHARDS
from spoke.core import tenancy

logger = structlog.get_logger(__name__)


@shared_task
def flush_api_requests() -> int:
    """Writes the requests counted in Valkey to PostgreSQL; returns how many.

    A shard that fails keeps its counts for the next run and does not hold up the others.
    """
    written, failure = 0, None
    for shard in range(SHARDS):
        try:
            written += flush.flush_shard(shard=shard, now=timezone.now())
        except DatabaseError as exc:
            logger.exception("quotas.flush_failed", shard=shard)
            failure = exc
    if failure is not None:
        raise failure
    flush.forget_generations(now=timezone.now())
    return written


@shared_task
def turn_due_periods() -> int:
    """Finds the periods that are over and starts a task for each; returns how many."""
    with tenancy.all_organizations(reason="find usage periods to close"):
        due = usage.due_periods(now=timezone.now())
    for period_id, org_id in due:
        close_period.delay(period_id, org_id)
    return len(due)


@shared_task
def close_period(period_id: int, org_id: int) -> bool:
    """Closes one period of one organization; says whether there was anything to do."""
    with tenancy.organization(org_id):
        return usage.close_period(period_id=period_id, org_id=org_id, now=timezone.now())


@shared_task
def roll_up_events() -> int:
    """Adds new usage events to their buckets; returns how many. A second run at once does nothing."""
    return rollups.roll_up(now=timezone.now())


@shared_task
def maintain_event_storage() -> int:
    """Partitions are there ahead of time, old events and idempotency keys are gone."""
    now = timezone.now()
    dropped = partitions.maintain_partitions(now=now)
    return len(dropped) + partitions.prune_keys(now=now)
