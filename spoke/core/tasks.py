"""Periodic housekeeping of the core."""

from celery import shared_task
from django.utils import timezone

from spoke.core import idempotency


@shared_task
def prune_idempotency_records() -> int:
    """Deletes idempotency records past their lifetime."""
    return idempotency.prune_records(now=timezone.now())
