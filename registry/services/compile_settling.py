"""How a compile job ends: once, with its reservation kept or given back in the same transaction.

Whatever is settled here is locked by the caller.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from quotas.resources import Resource
from quotas.services.reservations import give_back
from registry.compile_models import UNFINISHED, CompileArtifact, CompileJob, Fault, JobStatus
from registry.metrics import JOBS
from registry.models import Version


def cancel_jobs_of(*, org_id: int, versions: QuerySet[Version], now: datetime) -> None:
    """Every unfinished job of versions that are about to go is canceled. Their module is locked."""
    jobs = CompileJob.objects.filter(org_id=org_id, version__in=versions, status__in=UNFINISHED)
    for job in jobs.select_for_update(of=("self",)).order_by("pk"):
        cancel(job, now)


def cancel(job: CompileJob, now: datetime) -> None:
    """A locked, unfinished job is canceled; what no worker has taken up is not counted."""
    started = job.status == JobStatus.RUNNING
    job.status, job.finished_at, job.lease_until = JobStatus.CANCELED, now, None
    job.save(update_fields=["status", "finished_at", "lease_until"])
    if not started:
        uncount(job)
    count_outcome(job)


def uncount(job: CompileJob) -> None:
    """The compile job of the quota that stands for a locked job is given back, unless its period is
    closed.
    """
    if job.counted and give_back(
        org_id=job.org_id, resource=Resource.COMPILE_JOBS, amount=1, used_at=job.created_at
    ):
        job.counted = False
        job.save(update_fields=["counted"])


def count_outcome(job: CompileJob) -> None:
    """Adds a finished job to the metrics, once the transaction commits."""
    outcome = "cached" if job.cached else str(job.status)
    labels = JOBS.labels(outcome, job.error_fault or "none")
    transaction.on_commit(labels.inc)


def settle_as_compiled(
    *, job: CompileJob, artifact: CompileArtifact, log: str, now: datetime
) -> None:
    """A locked job succeeds with the archive that it paid for."""
    job.status, job.artifact, job.log = JobStatus.SUCCEEDED, artifact, log
    job.finished_at, job.lease_until = now, None
    job.save(update_fields=["status", "artifact", "log", "finished_at", "lease_until"])
    count_outcome(job)


def settle_from_artifact(
    *, jobs: Iterable[CompileJob], artifact: CompileArtifact, now: datetime
) -> None:
    """Locked jobs succeed with an archive that another one paid for."""
    for job in jobs:
        job.status, job.cached, job.artifact = JobStatus.SUCCEEDED, True, artifact
        job.finished_at, job.lease_until = now, None
        job.save(update_fields=["status", "cached", "artifact", "finished_at", "lease_until"])
        uncount(job)
        count_outcome(job)


def settle_as_failed(
    *, jobs: Iterable[CompileJob], code: str, detail: str, fault: Fault, log: str, now: datetime
) -> None:
    """Locked jobs fail. Does not touch the quota."""
    for job in jobs:
        job.status, job.finished_at, job.lease_until = JobStatus.FAILED, now, None
        job.error_code, job.error_detail, job.error_fault, job.log = code, detail, fault, log
        job.save(
            update_fields=[
                "status",
                "finished_at",
                "lease_until",
                "error_code",
                "error_detail",
                "error_fault",
                "log",
            ]
        )
        count_outcome(job)
