"""Jobs that nobody works at: their worker died, or the queue lost them."""

from datetime import datetime, timedelta

from django.db.models import Max

from registry.metrics import RESCUED
from registry.models import CompileJob, JobStatus
from registry.services.compile_running import give_up
from registry.services.compile_turns import next_jobs
from spoke.core import tenancy

# One message too many does no harm, but a queue that stands still is not to fill up: of an organization
# of which nothing was handed over for so long, one job is.
RESEND_AFTER = timedelta(minutes=2)


def lost_jobs(*, now: datetime) -> list[tuple[int, int]]:
    """(organization, job) of what is running, though no worker has renewed its lease."""
    with tenancy.all_organizations(reason="find lost compile jobs"):
        lost = CompileJob.objects.filter(status=JobStatus.RUNNING, lease_until__lt=now)
        return list(lost.order_by("lease_until", "pk").values_list("org_id", "pk"))


def rescue_job(*, org_id: int, job_id: int, now: datetime) -> bool:
    """A job whose worker died is queued again, or has failed after its last attempt, once.

    Says whether that was so: then a message for it is due, by which it or another begins.
    """
    lost = CompileJob.objects.filter(pk=job_id, org_id=org_id, status=JobStatus.RUNNING)
    job = lost.filter(lease_until__lt=now).select_for_update().first()
    if job is None:
        return False
    give_up(job=job, code="worker_lost", now=now)
    RESCUED.labels("worker").inc()
    return True


def unheard_jobs(*, now: datetime) -> list[tuple[int, int]]:
    """(organization, job) of what has waited for long though it could begin, noted as handed over anew.

    One job of an organization: where it begins, its end hands over the next.
    """
    with tenancy.all_organizations(reason="find compile jobs that the queue lost"):
        queued = CompileJob.objects.filter(status=JobStatus.QUEUED)
        quiet = queued.values("org_id").annotate(last=Max("queued_at"))
        orgs = quiet.filter(last__lt=now - RESEND_AFTER).order_by("last", "org_id")
        found = [
            (org_id, job_id)
            for org_id in list(orgs.values_list("org_id", flat=True))
            for job_id in next_jobs(org_id, now=now, most=1)
        ]
        queued.filter(pk__in=[job_id for _, job_id in found]).update(queued_at=now)
    RESCUED.labels("queue").inc(len(found))
    return found
