"""Nightly work of the registry: finding what is due, and one task for each organization."""

from functools import partial

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from orgs.models import Organization
from registry.services import sweeping, usage
from spoke.core import tenancy


@shared_task
def sweep_orphan_files() -> int:
    """Starts a sweep for each organization with files, purged ones included; says how many."""
    due = sweeping.organizations_to_sweep(now=timezone.now())
    for org_id in due:
        transaction.on_commit(partial(sweep_organization_files.delay, org_id))
    return len(due)


@shared_task
def sweep_organization_files(org_id: int) -> int:
    """Removes content that nothing has held for a day; says how many files went."""
    return sweeping.sweep_organization(org_id=org_id, now=timezone.now())


@shared_task
def reconcile_usage() -> int:
    """Starts a comparison of gauges and rows for each organization; says how many."""
    with tenancy.all_organizations(reason="reconcile usage"):
        due = list(Organization.objects.order_by("pk").values_list("pk", flat=True))
    for org_id in due:
        transaction.on_commit(partial(reconcile_organization_usage.delay, org_id))
    return len(due)


@shared_task
def reconcile_organization_usage(org_id: int) -> dict[str, int]:
    """Puts an organization's gauges right; says by how much they were wrong."""
    drift = usage.reconcile_organization(org_id=org_id, now=timezone.now())
    return {resource.value: amount for resource, amount in drift.items()}
