"""Jobs that nobody works at: their worker died, or the queue lost them."""

from datetime import datetime, timedelta

from django.db.models import DurationField, ExpressionWrapper, F, Q, Value

from registry.metrics import RESCUED
from registry.models import CompileJob, JobStatus
from registry.services.compile_running import give_up
from spoke.core import tenancy

# Handing a job over twice does no harm, but a queue that stands still is not to fill up: the first time
# after so long, then after as long as the job has waited, and every so often at the latest.
RESEND_AFTER = timedelta(minutes=2)
RESEND_WITHIN = timedelta(hours=1)


def lost_jobs(*, now: datetime) -> list[tuple[int, int]]:
    """(organization, job) of what is running, though no worker has renewed its lease."""
    with tenancy.all_organizations(reason="find lost compile jobs"):
        lost = CompileJob.objects.filter(status=JobStatus.RUNNING, lease_until__lt=now)
        return list(lost.order_by("lease_until", "pk").values_list("org_id", "pk"))


def rescue_job(*, org_id: int, job_id: int, now: datetime) -> list[int]:
    """A job whose worker died is queued again, or has failed after its last attempt, once.

    Returns the jobs that are to be handed to the queue.
    """
    lost = CompileJob.objects.filter(pk=job_id, org_id=org_id, status=JobStatus.RUNNING)
    job = lost.filter(lease_until__lt=now).select_for_update().first()
    if job is None:
        return []
    waiting = give_up(job=job, code="worker_lost", now=now)
    RESCUED.labels("worker").inc()
    return [job.pk] if job.status == JobStatus.QUEUED else waiting


def unheard_jobs(*, now: datetime) -> list[tuple[int, int]]:
    """(organization, job) of what has waited for long, noted as handed to the queue anew."""
    with tenancy.all_organizations(reason="find compile jobs that the queue lost"):
        waited = ExpressionWrapper(F("queued_at") - F("created_at"), DurationField())
        since = ExpressionWrapper(Value(now) - F("queued_at"), DurationField())
        queued = CompileJob.objects.filter(
            status=JobStatus.QUEUED, queued_at__lt=now - RESEND_AFTER
        )
        unheard = queued.alias(waited=waited, since=since).filter(
            Q(since__gt=F("waited")) | Q(queued_at__lt=now - RESEND_WITHIN)
        )
        found = list(unheard.order_by("queued_at", "pk").values_list("org_id", "pk"))
        queued.filter(pk__in=[job_id for _, job_id in found]).update(queued_at=now)
    RESCUED.labels("queue").inc(len(found))
    return found
