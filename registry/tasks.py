"""The registry's work in the background: compile jobs, and what is found due periodically."""

from functools import partial

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from orgs.models import Organization
from registry.services import (
    compile_rescue,
    compile_running,
    compile_sweeping,
    sweeping,
    usage,
)
from spoke.core import tenancy
from spoke.core.enqueue import enqueue_on_commit


@shared_task
def run_compile_job(org_id: int, job_id: int) -> None:
    """Compiles a queued job, or the organization's next, and says how it ended; then starts the next."""
    for other in compile_running.run_job(org_id=org_id, job_id=job_id, clock=timezone.now):
        enqueue_on_commit(run_compile_job, org_id, other)


@shared_task
def rescue_compile_jobs() -> int:
    """Starts a task for each job whose worker died, and for what the queue lost; how many."""
    now = timezone.now()
    lost = compile_rescue.lost_jobs(now=now)
    for org_id, job_id in lost:
        rescue_compile_job.delay(org_id, job_id)
    unheard = compile_rescue.unheard_jobs(now=now)
    for org_id, job_id in unheard:
        run_compile_job.delay(org_id, job_id)
    return len(lost) + len(unheard)


@shared_task
def rescue_compile_job(org_id: int, job_id: int) -> bool:
    """Queues a job whose worker died again, or ends it; says whether that was so."""
    with tenancy.organization(org_id):
        rescued = compile_rescue.rescue_job(org_id=org_id, job_id=job_id, now=timezone.now())
        if rescued:
            enqueue_on_commit(run_compile_job, org_id, job_id)
    return rescued


@shared_task
def sweep_artifacts() -> int:
    """Starts a sweep of archives for each organization that has any; says how many."""
    due = compile_sweeping.organizations_to_sweep(now=timezone.now())
    for org_id in due:
        transaction.on_commit(partial(sweep_artifacts_of.delay, org_id))
    return len(due)


@shared_task
def sweep_artifacts_of(org_id: int) -> int:
    """Removes archives that nobody has used for long; says how many."""
    return compile_sweeping.sweep_organization(org_id=org_id, now=timezone.now())


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
