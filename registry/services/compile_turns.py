"""Whose turn it is: at most COMPILE_JOBS_AT_ONCE of an organization's jobs run, the others stay queued.

A message in the queue is one chance to begin a job of its organization: the job that it names or, where
that cannot begin, the one that has waited longest. An order sends one if its job could begin at once, a
job that ends sends one if another waits. So there are never fewer chances under way than jobs that could
begin, and about as many as the limit at most: what else an organization has ordered stands in nobody's
way. A chance that nobody needs is used up and does no harm; a lost one is sent anew by compile_rescue.

Jobs of an organization begin under one lock, so the limit holds whatever happens at once. The lock comes
after that of a module and before those of jobs, artifacts and the quota.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from registry.compile_models import CompileJob, JobStatus

# How far apart clocks of machines may be. A job whose `queued_at` lies further ahead rests until then.
SKEW = timedelta(seconds=30)


def hold_turn(org_id: int) -> None:
    """Until the transaction ends nobody else begins a job of the organization, or orders one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))", [f"compile:{org_id}"]
        )


def has_room(org_id: int) -> bool:
    """Whether fewer jobs of the organization run than may; sure while its turn is held."""
    return _room(org_id) > 0


def _room(org_id: int) -> int:
    running = CompileJob.objects.filter(org_id=org_id, status=JobStatus.RUNNING).count()
    return max(1, settings.COMPILE_JOBS_AT_ONCE) - running


def startable(org_id: int) -> QuerySet[CompileJob]:
    """The queued jobs whose like is not running, the oldest first."""
    running = CompileJob.objects.filter(
        org_id=OuterRef("org_id"), digest=OuterRef("digest"), status=JobStatus.RUNNING
    )
    queued = CompileJob.objects.filter(~Exists(running), org_id=org_id, status=JobStatus.QUEUED)
    return queued.order_by("pk")


def next_jobs(org_id: int, *, now: datetime, most: int | None = None) -> list[int]:
    """Whose turn it is: as many of the oldest jobs as there is room for, or `most`.

    Those that rest are left out. Sure while the turn is held.
    """
    rested = startable(org_id).filter(queued_at__lte=now + SKEW)
    room = _room(org_id) if most is None else min(_room(org_id), most)
    return list(rested.values_list("pk", flat=True)[: max(0, room)])


def choose(*, org_id: int, named: int, now: datetime) -> CompileJob | None:
    """The job to begin: the one named or else the next; None where none may. The turn is held."""
    if not has_room(org_id):
        return None
    job = startable(org_id).filter(pk=named).select_related("version").first()
    if job is not None:
        return job
    after = next_jobs(org_id, now=now, most=1)
    return CompileJob.objects.filter(pk__in=after).select_related("version").first()
