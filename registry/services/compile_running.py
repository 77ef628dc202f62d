"""A worker's part: taking a job up, compiling it outside any transaction, and saying how it ended.

A worker holds a job by a lease that it renews while it works. The lease carries the number of the
attempt: whoever lost it (stopped for too long, canceled, its version deleted) changes nothing any more.
"""

import errno
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from django.conf import settings
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce

from registry import artifacts, protoc, storage
from registry.compile_models import UNFINISHED
from registry.compiling import (
    OUTPUTS,
    Archive,
    Input,
    Options,
    arguments_for,
    digest_of,
    write_archive,
)
from registry.metrics import SECONDS
from registry.models import CompileArtifact, CompileJob, Fault, JobStatus
from registry.services.compile import compiler_for, inputs_of, options_of, use_artifact
from registry.services.compile_settling import (
    settle_as_compiled,
    settle_as_failed,
    settle_from_artifact,
    uncount,
)
from registry.services.compile_turns import choose, has_room, hold_turn, next_jobs
from spoke.core import tenancy
from spoke.core.errors import Conflict

logger = structlog.get_logger(__name__)
# Longer than storage takes for a file: while it reads or writes one, a worker renews nothing.
LEASE = timedelta(seconds=60)
RENEW_SECONDS = 1.0
MAX_ATTEMPTS = 3
# After a failure of storage or machine, so that one of some minutes does not use all attempts up.
REST = timedelta(minutes=2)
MAX_DETAIL = 2_000
INPUTS, OUT, ARCHIVE = "in", "out", "artifact.zip"
# What a write beyond the limit of a file's size is answered with.
FILE_TOO_LARGE = os.strerror(errno.EFBIG)
ROOT_OF_PATH = re.compile(rf"\b{INPUTS}/\d+/")
WORKER_LOST = "The job could not be finished, which is our fault; it is not counted."
Clock = Callable[[], datetime]


class LeaseLostError(Exception):
    """The job is no longer this worker's: canceled, deleted, or taken up by another."""


class CompileFailure(Exception):
    """How a job fails."""

    def __init__(self, code: str, detail: str, fault: Fault, log: str = "") -> None:
        super().__init__(detail)
        self.code, self.detail, self.fault, self.log = code, detail, fault, log


@dataclass
class Lease:
    """A job that a worker has taken up, and what it needs to do it."""

    org_id: int
    job_id: int
    attempt: int
    options: Options
    digest: str
    inputs: list[Input]
    clock: Clock
    renewed: float = field(default_factory=time.monotonic)

    def renew(self) -> None:
        """Says, at most once a second, that the worker is alive. Raises LeaseLostError."""
        if time.monotonic() - self.renewed < RENEW_SECONDS:
            return
        with tenancy.organization(self.org_id):
            held = self.job().update(lease_until=self.clock() + LEASE)
        if not held:
            raise LeaseLostError
        self.renewed = time.monotonic()

    def job(self) -> QuerySet[CompileJob]:
        """The job's row while it is this worker's."""
        return CompileJob.objects.filter(
            pk=self.job_id, org_id=self.org_id, status=JobStatus.RUNNING, attempts=self.attempt
        )

    def lock(self) -> tuple[CompileJob, list[CompileJob]]:
        """The job and its queued twins, all locked. Raises LeaseLostError."""
        rows = CompileJob.objects.filter(
            org_id=self.org_id, digest=self.digest, status__in=UNFINISHED
        )
        jobs = {job.pk: job for job in rows.select_for_update().order_by("pk")}
        job = jobs.pop(self.job_id, None)
        if job is None or (job.status, job.attempts) != (JobStatus.RUNNING, self.attempt):
            raise LeaseLostError
        return job, list(jobs.values())


def run_job(*, org_id: int, job_id: int, clock: Clock) -> list[int]:
    """A queued job has been compiled, or settled by what is kept; returns the one to go on with now.

    That is the job named, or else the organization's next (registry.services.compile_turns). Does
    nothing while as many run as may, or nothing waits but the twin of one that runs: that one settles
    it. Not for calling inside a transaction. Never raises for what the files or protoc do.
    """
    with tenancy.organization(org_id):
        if not has_room(org_id):
            return []
    try:
        lease = take_up(org_id=org_id, job_id=job_id, clock=clock)
    except Exception:
        logger.exception("registry.compile_not_begun", job_id=job_id)
        _put_off(org_id, job_id, clock())
        lease = None
    if lease is not None:
        began = time.monotonic()
        try:
            work(lease)
        except LeaseLostError:
            logger.info("registry.compile_lease_lost", job_id=lease.job_id, attempt=lease.attempt)
        finally:
            SECONDS.labels(lease.options.language.value).observe(time.monotonic() - began)
    # Also one that was ordered while this one ended: it saw it running, and was not seen by it.
    with tenancy.organization(org_id):
        hold_turn(org_id)
        return next_jobs(org_id, now=clock(), most=1)


def _put_off(org_id: int, job_id: int, now: datetime) -> None:
    """The job that could not even be begun rests: being the oldest, it would stand before all others."""
    with tenancy.organization(org_id):
        hold_turn(org_id)
        job = choose(org_id=org_id, named=job_id, now=now)
        if job is not None:
            queued = CompileJob.objects.filter(pk=job.pk, status=JobStatus.QUEUED)
            queued.update(queued_at=now + REST)


def take_up(*, org_id: int, job_id: int, clock: Clock) -> Lease | None:
    """The job, or else the next, is running and this worker's; None where none is to be compiled."""
    now = clock()
    with tenancy.organization(org_id):
        hold_turn(org_id)
        job = choose(org_id=org_id, named=job_id, now=now)
        if job is None:
            return None
        options = options_of(job)
        try:
            inputs = inputs_of(job.version)
        except Conflict as gone:
            _end_without_inputs(job.pk, gone, now)
            return None
        # This worker's compiler may be newer than the one that the order saw.
        compiler = compiler_for(options)
        digest = digest_of(inputs=inputs, options=options, compiler=compiler)
        if not _start(job, compiler, digest, now):
            return None
        running = CompileJob.objects.get(pk=job.pk)
        artifact = use_artifact(org_id=org_id, digest=digest, now=now)
        if artifact is not None:
            settle_from_artifact(jobs=[running], artifact=artifact, now=now)
            return None
    return Lease(org_id, job.pk, running.attempts, options, digest, inputs, clock)


def _end_without_inputs(job_id: int, gone: Conflict, now: datetime) -> None:
    """A queued job fails, free of charge: what its version depends on was purged since."""
    queued = CompileJob.objects.select_for_update().filter(pk=job_id, status=JobStatus.QUEUED)
    job = queued.first()
    if job is not None:
        settle_as_failed(
            jobs=[job],
            code=gone.error_code,
            detail=gone.detail,
            fault=Fault.SERVICE,
            log="",
            now=now,
        )
        uncount(job)


def _start(job: CompileJob, compiler: str, digest: str, now: datetime) -> bool:
    queued = CompileJob.objects.filter(pk=job.pk, status=JobStatus.QUEUED)
    running = CompileJob.objects.filter(org_id=job.org_id, digest=digest, status=JobStatus.RUNNING)
    if running.exists():
        # By the newer compiler it is the twin of one that runs, and waits for that from now on.
        queued.update(compiler=compiler, digest=digest)
        return False
    return bool(
        queued.update(
            status=JobStatus.RUNNING,
            attempts=F("attempts") + 1,
            compiler=compiler,
            digest=digest,
            started_at=Coalesce("started_at", now),
            lease_until=now + LEASE,
        )
    )


def work(lease: Lease) -> None:
    """The job has ended, or waits for another try. Raises LeaseLostError."""
    try:
        with protoc.working_folder() as folder:
            log, archive = _compile(lease, folder)
            artifacts.write_archive(lease.org_id, lease.digest, archive.sha256, archive.file)
            _succeed(lease, archive, log)
    except LeaseLostError:
        raise
    except CompileFailure as failure:
        _fail(lease, failure)
    except Exception:
        # Storage or machine: not the job's doing, so it gets another try.
        logger.exception("registry.compile_broke", job_id=lease.job_id, attempt=lease.attempt)
        _lose(lease)


def _compile(lease: Lease, folder: Path) -> tuple[str, Archive]:
    """protoc's log, and what it generated as an archive. Raises CompileFailure and LeaseLostError."""
    for entry in lease.inputs:
        lease.renew()
        target = folder / INPUTS / str(entry.root) / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(storage.read_content(entry.org_id, entry.digest))
    out = folder / OUT
    out.mkdir()
    plugins = OUTPUTS[lease.options.language]
    log = _run(lease, folder, plugins, protoc.Compiler.PROTOC)
    if lease.options.grpc:
        log += _run(lease, folder, ["grpc_python"], protoc.Compiler.GRPC_PYTHON)
    shutil.rmtree(folder / INPUTS)
    if sum(file.stat().st_size for file in out.rglob("*")) > settings.COMPILE_MAX_OUTPUT_BYTES:
        raise _too_large(log)
    archive = write_archive(folder=out, target=folder / ARCHIVE)
    lease.renew()
    return log, archive


def _run(lease: Lease, folder: Path, plugins: Sequence[str], compiler: protoc.Compiler) -> str:
    arguments = arguments_for(
        inputs=lease.inputs, options=lease.options, plugins=plugins, roots=INPUTS, out=OUT
    )
    limits = protoc.Limits(
        wall_seconds=settings.COMPILE_TIMEOUT_SECONDS,
        cpu_seconds=settings.COMPILE_TIMEOUT_SECONDS,
        memory_bytes=settings.COMPILE_MEMORY_BYTES,
        file_bytes=settings.COMPILE_MAX_OUTPUT_BYTES,
    )
    outcome = protoc.run_protoc(
        arguments=arguments,
        folder=folder,
        limits=limits,
        compiler=compiler,
        meanwhile=lease.renew,
    )
    log = readable(outcome.log)
    if not outcome.succeeded:
        raise failure_of(outcome, log)
    return log


def failure_of(outcome: protoc.Outcome, log: str) -> CompileFailure:
    """Whose fault it is that a run of protoc did not succeed, and what to say of it. Pure."""
    if outcome.timed_out or outcome.exit == -signal.SIGXCPU:
        detail = "The compiler took too long and was stopped."
        return CompileFailure("compiler_timed_out", detail, Fault.SERVICE, log)
    if outcome.broke and FILE_TOO_LARGE in log:
        return _too_large(log)
    if outcome.broke:
        detail = f"The compiler ended with status {outcome.exit}."
        if outcome.exit < 0:
            detail = f"The compiler was ended by signal {-outcome.exit}."
        return CompileFailure("compiler_crashed", detail, Fault.SERVICE, log)
    first = outcome.errors[0]
    place = ":".join(str(part) for part in (first.file, first.line, first.column) if part)
    detail = readable(f"{place}: {first.message}")[:MAX_DETAIL]
    return CompileFailure("compile_error", detail, Fault.USER, log)


def readable(printed: str) -> str:
    """What protoc printed, with paths as the version has them and without what no column keeps."""
    return ROOT_OF_PATH.sub("", printed).replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _too_large(log: str) -> CompileFailure:
    most = settings.COMPILE_MAX_OUTPUT_BYTES
    detail = f"The generated code is larger than {most} bytes."
    return CompileFailure("output_too_large", detail, Fault.USER, log)


def _succeed(lease: Lease, archive: Archive, log: str) -> None:
    """The job has succeeded with its archive, and so have the equal ones that waited."""
    now = lease.clock()
    with tenancy.organization(lease.org_id):
        job, twins = lease.lock()
        made = {
            "sha256": archive.sha256,
            "size_bytes": archive.size_bytes,
            "files": archive.files,
            "last_used_at": now,
        }
        artifact, _ = CompileArtifact.objects.update_or_create(
            org_id=lease.org_id,
            digest=lease.digest,
            defaults=made,
            create_defaults={**made, "created_at": now},
        )
        settle_as_compiled(job=job, artifact=artifact, log=log, now=now)
        settle_from_artifact(jobs=twins, artifact=artifact, now=now)


def _fail(lease: Lease, failure: CompileFailure) -> None:
    """The job has failed. The user's fault is that of equal jobs too; ours lets them be tried."""
    now = lease.clock()
    with tenancy.organization(lease.org_id):
        job, twins = lease.lock()
        ours = failure.fault == Fault.SERVICE
        settle_as_failed(
            jobs=[job] if ours else [job, *twins],
            code=failure.code,
            detail=failure.detail,
            fault=failure.fault,
            log=failure.log,
            now=now,
        )
        # Of equal jobs one is paid for.
        for other in [job] if ours else twins:
            uncount(other)


def _lose(lease: Lease) -> None:
    with tenancy.organization(lease.org_id):
        job, _ = lease.lock()
        give_up(job=job, code="internal_error", now=lease.clock(), rest=REST)


def give_up(*, job: CompileJob, code: str, now: datetime, rest: timedelta = timedelta()) -> None:
    """A locked, running job is queued again, or has failed by our fault after its last attempt.

    It is nobody's turn to begin it before `rest` is over, unless a message names it.
    """
    if job.attempts < MAX_ATTEMPTS:
        job.status, job.lease_until, job.queued_at = JobStatus.QUEUED, None, now + rest
        job.save(update_fields=["status", "lease_until", "queued_at"])
        return
    settle_as_failed(
        jobs=[job], code=code, detail=WORKER_LOST, fault=Fault.SERVICE, log="", now=now
    )
    uncount(job)
