"""Compile jobs: ordered under quota, answered from what is kept where that is possible, and canceled.

One compile job of the quota is reserved with the order. It is kept when the job succeeds, when the
user's files are at fault, and when a running job is canceled; it is given back in every other case, in
the transaction that changes the job's status. That is changed under its row's lock or by one conditional
UPDATE, so a job ends once.

Locks are taken in the order module → turn (registry.services.compile_turns) → job → artifact → quota.
Whoever calls hands to the queue what is due once the transaction has committed; what gets lost on that
way, registry.services.compile_rescue finds.
"""

from datetime import datetime, timedelta

from django.db.models import QuerySet

from orgs.context import Actor
from quotas.resources import Resource
from quotas.services.reservations import reserve
from registry import protoc
from registry.compile_models import UNFINISHED
from registry.compiling import Input, Options, digest_of, without_shadowed
from registry.models import (
    CompileArtifact,
    CompileJob,
    JobStatus,
    Language,
    Version,
    VersionFile,
)
from registry.services.compile_settling import cancel, count_outcome
from registry.services.compile_turns import hold_turn, next_jobs
from registry.services.dependencies import closure_of
from registry.services.modules import lock_module
from registry.services.versions import find_version
from spoke.core import tenancy
from spoke.core.errors import Conflict, Gone, NotFound

PROTO = ".proto"


def compiler_for(options: Options) -> str:
    """The programs that generate what is asked for, with their versions."""
    name = f"protoc {protoc.protoc_version()}"
    return f"{name}, grpcio-tools {protoc.grpc_version()}" if options.grpc else name


def options_of(job: CompileJob) -> Options:
    """What a job is to generate."""
    return Options(
        language=Language(job.language),
        grpc=job.grpc,
        include_dependencies=job.include_dependencies,
    )


def inputs_of(version: Version) -> list[Input]:
    """The .proto files of a version and of all that it depends on, as protoc finds them.

    For a scope of the version's organization. Raises Conflict (`dependency_gone`).
    """
    versions = [version, *closure_of(version=version)]
    roots = {root.pk: number for number, root in enumerate(versions)}
    with tenancy.reading(tenancy.Scope(org_id=version.org_id, shared=True)):
        files = VersionFile.objects.filter(version_id__in=roots, path__endswith=PROTO)
        rows = files.values_list("version_id", "path", "org_id", "blob__digest")
        found = [
            Input(root=roots[version_id], path=path, org_id=org_id, digest=digest)
            for version_id, path, org_id, digest in rows
        ]
    return without_shadowed(sorted(found, key=lambda entry: entry.root))


def submit_job(
    *,
    org_id: int,
    actor: Actor,
    module_name: str,
    version_name: str,
    options: Options,
    now: datetime,
) -> CompileJob:
    """A job is made: counted and to be queued, or finished and free where its archive is kept.

    Raises NotFound, Conflict (`dependency_gone`), QuotaExceeded and BudgetExceeded, having made nothing.
    """
    # A version goes under this lock only, and its jobs with it.
    lock_module(org_id=org_id, name=module_name)
    hold_turn(org_id)
    version = find_version(org_id=org_id, module_name=module_name, version=version_name)
    compiler = compiler_for(options)
    digest = digest_of(inputs=inputs_of(version), options=options, compiler=compiler)
    artifact = use_artifact(org_id=org_id, digest=digest, now=now)
    if artifact is None:
        reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=1, now=now)
    job = CompileJob.objects.create(
        org_id=org_id,
        version=version,
        language=options.language,
        grpc=options.grpc,
        include_dependencies=options.include_dependencies,
        compiler=compiler,
        digest=digest,
        status=JobStatus.SUCCEEDED if artifact else JobStatus.QUEUED,
        counted=artifact is None,
        cached=artifact is not None,
        artifact=artifact,
        created_by_id=actor.user.pk if actor.user else None,
        created_at=now,
        queued_at=now,
        finished_at=now if artifact else None,
    )
    if artifact is not None:
        count_outcome(job)
    return job


def is_due(*, job: CompileJob, now: datetime) -> bool:
    """Whether a job just ordered is to be handed to the queue; else it waits for another to end.

    For the transaction that ordered it.
    """
    return job.status == JobStatus.QUEUED and job.pk in next_jobs(job.org_id, now=now)


def use_artifact(*, org_id: int, digest: str, now: datetime) -> CompileArtifact | None:
    """The archive kept under a digest, which stays until the transaction ends and is used as of now."""
    kept = CompileArtifact.objects.filter(org_id=org_id, digest=digest)
    return kept.first() if kept.update(last_used_at=now) else None


def jobs_of(*, org_id: int, module_name: str, version_name: str) -> QuerySet[CompileJob]:
    """The jobs of a version, with what their answers show. Raises NotFound."""
    version = find_version(org_id=org_id, module_name=module_name, version=version_name)
    jobs = CompileJob.objects.filter(org_id=org_id, version=version)
    return jobs.select_related("artifact", "version__module")


def find_job(*, org_id: int, module_name: str, version_name: str, job_id: int) -> CompileJob:
    """A job of a version. Raises NotFound."""
    jobs = jobs_of(org_id=org_id, module_name=module_name, version_name=version_name)
    job = jobs.filter(pk=job_id).first()
    if job is None:
        raise NotFound("There is no such compile job of this version.")
    return job


def use_artifact_of(*, job: CompileJob, now: datetime) -> None:
    """The archive that a job left has been used today; it is kept from now on again."""
    unused = CompileArtifact.objects.filter(jobs=job, org_id=job.org_id)
    with tenancy.organization(job.org_id):
        unused.filter(last_used_at__lt=now - timedelta(days=1)).update(last_used_at=now)


def artifact_of(job: CompileJob) -> CompileArtifact:
    """The archive that a job left.

    Raises Conflict (`artifact_not_ready`) and Gone (`artifact_expired`).
    """
    if job.status != JobStatus.SUCCEEDED:
        raise Conflict(
            f"This job is {job.status}; only one that succeeded has an artifact.",
            code="artifact_not_ready",
            state=job.status,
        )
    if job.artifact is None:
        raise Gone("The artifact was not used for a while; compile again.", code="artifact_expired")
    return job.artifact


def cancel_job(*, job: CompileJob, now: datetime) -> None:
    """The job is canceled; its worker notices within a second. Then it is another's turn.

    The reservation of one that no worker had taken up is given back. Canceling again changes nothing.
    Raises Conflict (`job_finished`).
    """
    jobs = CompileJob.objects.filter(pk=job.pk, org_id=job.org_id)
    locked = jobs.select_for_update().first()
    if locked is None:
        raise NotFound("There is no such compile job of this version.")
    if locked.status == JobStatus.CANCELED:
        return
    if locked.status not in UNFINISHED:
        raise Conflict(
            f"This job {locked.status} already.", code="job_finished", state=locked.status
        )
    cancel(locked, now)
