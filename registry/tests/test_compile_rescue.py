"""Jobs whose worker died, and jobs that the queue lost."""

from datetime import timedelta

from celery import current_app
from django.conf import settings as configured
from django.utils import timezone
from prometheus_client import REGISTRY

from conftest import door
from registry import tasks
from registry.models import CompileJob
from registry.services import compile_rescue, compile_running
from registry.tests.compiling import (
    SOURCES,
    counted_jobs,
    job_row,
    ordered,
    read,
    run,
    take_up,
)
from registry.tests.conftest import make_module, push
from registry.tests.threads import run_together
from spoke.core import tenancy

LOST = compile_running.LEASE + timedelta(seconds=1)


def rescue(job, now=None):
    row = job_row(job)
    with tenancy.organization(row.org_id):
        return compile_rescue.rescue_job(
            org_id=row.org_id, job_id=row.pk, now=now or timezone.now() + LOST
        )


def test_a_lost_job_is_tried_three_times_and_then_given_back_once(owner, org):
    job = ordered(owner)
    for attempt in (1, 2, 3):
        assert take_up(job).attempt == attempt
        assert counted_jobs(org.org.pk) == 1
        assert compile_rescue.lost_jobs(now=timezone.now()) == []
        assert compile_rescue.lost_jobs(now=timezone.now() + LOST) == [(org.org.pk, job["id"])]
        assert rescue(job)
    done = read(owner, job)
    assert (done["status"], done["error"]["code"], done["error"]["fault"]) == (
        "failed",
        "worker_lost",
        "service",
    )
    assert counted_jobs(org.org.pk) == 0
    assert not rescue(job)
    assert counted_jobs(org.org.pk) == 0


def test_a_job_that_is_worked_at_is_left_alone(owner, org):
    job = ordered(owner)
    lease = take_up(job)
    assert not rescue(job, timezone.now())
    assert read(owner, job)["status"] == "running"
    compile_running.work(lease)
    assert not rescue(job)
    assert read(owner, job)["status"] == "succeeded"


def test_a_job_that_was_lost_once_ends_like_any_other(owner, org):
    job = ordered(owner)
    take_up(job)
    began = job_row(job).started_at
    rescue(job)
    run(job)
    row = job_row(job)
    assert (row.status, row.attempts, row.started_at) == ("succeeded", 2, began)
    assert counted_jobs(org.org.pk) == 1


def test_those_who_waited_for_a_job_that_is_given_up_go_on(owner, org):
    first, second = ordered(owner), ordered(owner)
    for _ in range(2):
        take_up(first)
        rescue(first)
    take_up(first)
    assert rescue(first)
    run(first)  # the message of the rescue
    assert [read(owner, job)["status"] for job in (first, second)] == ["failed", "succeeded"]
    assert counted_jobs(org.org.pk) == 1


def test_what_the_queue_lost_is_handed_over_again_once(owner, org):
    job = ordered(owner)
    now = job_row(job).queued_at
    assert compile_rescue.unheard_jobs(now=now + compile_rescue.RESEND_AFTER) == []
    later = now + compile_rescue.RESEND_AFTER + timedelta(seconds=1)
    assert compile_rescue.unheard_jobs(now=later) == [(org.org.pk, job["id"])]
    assert compile_rescue.unheard_jobs(now=later) == []
    again = later + compile_rescue.RESEND_AFTER + timedelta(seconds=1)
    assert compile_rescue.unheard_jobs(now=again) == [(org.org.pk, job["id"])]
    run(job)
    assert compile_rescue.unheard_jobs(now=later + timedelta(days=1)) == []


def test_a_queue_that_stands_still_does_not_fill_up(owner, org):
    """However much an organization has ordered, one of its jobs is handed over anew at a time."""
    jobs = [ordered(owner, name) for name in ("python", "cpp", "ruby")]
    began, half_a_minute = job_row(jobs[-1]).queued_at, timedelta(seconds=30)
    sent = [
        found
        for tick in range(2 * 60)
        for found in compile_rescue.unheard_jobs(now=began + tick * half_a_minute)
    ]
    assert set(sent) == {(org.org.pk, jobs[0]["id"])}
    assert len(sent) == 23


def test_the_periodic_task_finds_both_and_both_end(committed, monkeypatch):
    owner = committed.client("owner")
    make_module(owner)
    push(owner, "1.0.0", SOURCES)
    with monkeypatch.context() as patched:
        patched.setattr(tasks.run_compile_job, "delay", lambda *args: None)
        unheard = ordered(owner)
        with door():
            old = timezone.now() - timedelta(minutes=5)
            CompileJob.objects.filter(pk=unheard["id"]).update(queued_at=old)
    assert tasks.rescue_compile_jobs() == 1
    assert read(owner, unheard)["status"] == "succeeded"
    with monkeypatch.context() as patched:
        patched.setattr(tasks.run_compile_job, "delay", lambda *args: None)
        lost, next_one = ordered(owner, "cpp"), ordered(owner, "ruby")
        take_up(lost)
        with door():
            CompileJob.objects.filter(pk=lost["id"]).update(lease_until=old)
    assert tasks.rescue_compile_jobs() == 1
    # Its end began the other one, whose message was lost too.
    assert [read(owner, job)["status"] for job in (lost, next_one)] == ["succeeded"] * 2
    assert counted_jobs(committed.org.pk) == 3
    assert REGISTRY.get_sample_value("spoke_compile_jobs_rescued_total", {"how": "worker"}) >= 1
    assert REGISTRY.get_sample_value("spoke_compile_jobs_rescued_total", {"how": "queue"}) >= 1


def test_many_who_rescue_the_same_job_count_it_once(committed, monkeypatch):
    owner = committed.client("owner")
    make_module(owner)
    push(owner, "1.0.0", SOURCES)
    monkeypatch.setattr(tasks.run_compile_job, "delay", lambda *args: None)
    job = ordered(owner)
    take_up(job)
    with door():
        CompileJob.objects.update(attempts=compile_running.MAX_ATTEMPTS)
    run_together([lambda: rescue(job)] * 6)
    assert read(owner, job)["status"] == "failed"
    assert counted_jobs(committed.org.pk) == 0


def test_it_is_in_the_timetable_and_jobs_have_a_queue_of_their_own():
    timetable = {entry["task"] for entry in current_app.conf.beat_schedule.values()}
    assert {"registry.tasks.rescue_compile_jobs", "registry.tasks.sweep_artifacts"} <= timetable
    assert configured.CELERY_TASK_ROUTES["registry.tasks.run_compile_job"] == {"queue": "compile"}
