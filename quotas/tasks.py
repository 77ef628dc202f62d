"""Periodic work of quotas. Every task is safe to run twice, and at once."""

import structlog
from celery import shared_task
from django.db import DatabaseError
from django.utils import timezone

from quotas.mail_tasks import send_alert
from quotas.services import (
    alert_mail,
    alerts,
    budget_alerts,
    flush,
    holds,
    levels,
    partitions,
    period_close,
    rollups,
)
from quotas.services.valkey import SHARDS
from spoke.core import tenancy

# Closed in one transaction.
PERIODS = 5_000

logger = structlog.get_logger(__name__)


@shared_task
def flush_api_requests() -> int:
    """Writes the requests counted in Valkey to PostgreSQL; returns how many.

    A shard that fails keeps its counts for the next run and does not hold up the others.
    """
    written, failure = 0, None
    for shard, generations in flush.set_aside(range(SHARDS)).items():
        try:
            written += flush.write_set_aside(
                shard=shard, generations=generations, now=timezone.now()
            )
        except DatabaseError as exc:
            logger.exception("quotas.flush_failed", shard=shard)
            failure = exc
    if failure is not None:
        raise failure
    flush.forget_generations(now=timezone.now())
    return written


@shared_task
def turn_due_periods() -> int:
    """Closes a batch of the periods that are over, and starts another for the rest; returns how many."""
    closed = period_close.close_periods(now=timezone.now(), most=PERIODS)
    if closed == PERIODS:
        turn_due_periods.delay()
    return closed


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


@shared_task
def expire_holds() -> int:
    """Starts a task for each reservation that expired; says how many."""
    due = holds.due_holds(now=timezone.now())
    for org_id, hold_id in due:
        expire_hold.delay(org_id, hold_id)
    return len(due)


@shared_task
def expire_hold(org_id: int, hold_id: int) -> bool:
    """Gives back what was reserved and not settled in time; says whether that was to be done."""
    with tenancy.organization(org_id):
        return holds.expire_hold(org_id=org_id, hold_id=hold_id, now=timezone.now())


@shared_task
def prune_holds() -> int:
    """Forgets reservations that were settled long ago; says how many."""
    return holds.prune_holds(now=timezone.now())


@shared_task
def prune_gauge_changes() -> int:
    """Forgets changes of gauges that no plot shows any more; says how many."""
    with tenancy.all_organizations(reason="prune changes of gauges"):
        return levels.prune_changes(now=timezone.now())


@shared_task
def evaluate_alerts() -> int:
    """Finds the organizations that reached a threshold lately and starts a task for each."""
    return _evaluate(alerts.organizations_to_alert(now=timezone.now()))


@shared_task
def evaluate_all_alerts() -> int:
    """The same of all organizations, for what changed without new usage: a limit, a period."""
    return _evaluate(alerts.organizations_to_alert(now=timezone.now(), all_of_them=True))


def _evaluate(org_ids: list[int]) -> int:
    for org_id in org_ids:
        evaluate_alerts_of.delay(org_id)
    return len(org_ids)


@shared_task
def evaluate_alerts_of(org_id: int) -> int:
    """Fires what one organization reached and has not fired; returns how many thresholds."""
    with tenancy.organization(org_id):
        return alerts.evaluate_organization(org_id=org_id, now=timezone.now())


@shared_task
def evaluate_budgets() -> int:
    """Starts a task for each organization with a budget."""
    due = budget_alerts.organizations_with_budgets()
    for org_id in due:
        evaluate_budget_of.delay(org_id)
    return len(due)


@shared_task
def evaluate_budget_of(org_id: int) -> int:
    """Fires what an organization's overage reached of its budget; returns how many thresholds."""
    with tenancy.organization(org_id):
        return len(budget_alerts.evaluate_budget(org_id=org_id, now=timezone.now()))


@shared_task
def resend_alerts() -> int:
    """Finds the alerts whose message was lost on its way and starts a task for each."""
    lost = alert_mail.unsent(now=timezone.now())
    for org_id, alert_id in lost:
        send_alert.delay(org_id, alert_id)
    return len(lost)
