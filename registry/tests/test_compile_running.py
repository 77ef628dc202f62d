"""A worker's part: whose fault a failure is, retries, lost leases; nothing is left behind."""

import os
import sys
import textwrap
from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from prometheus_client import REGISTRY

from conftest import door
from quotas.models import UsagePeriod
from registry import protoc, tasks
from registry.models import CompileArtifact, CompileJob
from registry.services import compile_rescue, compile_running, compile_turns
from registry.tests.compiling import (
    BASE,
    SOURCES,
    archive_of,
    compiled,
    counted_jobs,
    job_row,
    ordered,
    read,
    run,
    take_up,
)
from registry.tests.conftest import contents_in, make_module, push
from registry.tests.threads import run_together
from spoke.core import tenancy


@pytest.fixture
def scratch(scratch):
    """Where working folders are made; each must be gone when a test ends."""
    yield scratch
    assert list(scratch.iterdir()) == []


def fake_protoc(monkeypatch, script):
    """Python code in protoc's place, in the same cage."""
    command = [sys.executable, "-I", "-c", textwrap.dedent(script)]
    monkeypatch.setattr(protoc, "_program", lambda compiler: command)


@pytest.mark.parametrize(
    ("script", "code", "detail"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "compiler_crashed",
            "The compiler was ended by signal 11.",
        ),
        ("raise SystemExit(3)", "compiler_crashed", "The compiler ended with status 3."),
        (
            "import time; print('halfway', flush=True); time.sleep(60)",
            "compiler_timed_out",
            "The compiler took too long and was stopped.",
        ),
        (
            "while True: pass",
            "compiler_timed_out",
            "The compiler took too long and was stopped.",
        ),
        ("x = bytearray(2 * 1024**3)", "compiler_crashed", "The compiler ended with status 1."),
    ],
    ids=["crash", "status", "wall clock", "cpu", "memory"],
)
def test_a_failure_of_ours_is_not_counted(owner, org, monkeypatch, settings, script, code, detail):
    settings.COMPILE_TIMEOUT_SECONDS = 1
    fake_protoc(monkeypatch, script)
    job = compiled(owner)
    assert (job["status"], job["error"]) == (
        "failed",
        {"code": code, "detail": detail, "fault": "service"},
    )
    assert job["artifact"] is None
    assert counted_jobs(org.org.pk) == 0
    run(job)
    assert counted_jobs(org.org.pk) == 0
    with door():
        assert not CompileArtifact.objects.exists()


@pytest.mark.parametrize("most", [100, 1_900])
def test_too_much_code_is_the_users_fault(owner, org, settings, stored, most):
    """100 bytes are too little for any file; 1,900 for both together."""
    settings.COMPILE_MAX_OUTPUT_BYTES = most
    job = compiled(owner)
    assert (job["status"], job["error"]["code"], job["error"]["fault"]) == (
        "failed",
        "output_too_large",
        "user",
    )
    assert counted_jobs(org.org.pk) == 1
    assert [name for name in contents_in(stored) if name.endswith(".zip")] == []


def test_what_the_compiler_prints_is_the_log(owner, org, monkeypatch):
    script = r"""
    import sys
    sys.stdout.buffer.write(b"in/0/a.proto:1:2: b\0d \xff\n" + b"x" * 70000)
    sys.exit(1)
    """
    fake_protoc(monkeypatch, script)
    job = compiled(owner)
    assert job["error"]["detail"] == "a.proto:1:2: b\ufffdd \ufffd"
    assert job["log"].startswith("a.proto:1:2: b\ufffdd \ufffd\nxxx")
    assert len(job["log"].encode()) <= 64 * 1024 + 4
    assert counted_jobs(org.org.pk) == 1


def test_warnings_are_in_the_log_of_a_job_that_succeeded(owner, org):
    unused = {
        "path": "b.proto",
        "content": 'syntax = "proto3";\nimport "google/protobuf/any.proto";\nmessage B {}\n',
    }
    assert push(owner, "2.0.0", [unused]).status_code == 201
    base = BASE.replace("1.0.0", "2.0.0")
    job = ordered(owner, base=base)
    run(job)
    done = owner.get(f"{base}/{job['id']}").json()
    assert done["status"] == "succeeded"
    assert done["log"].startswith(
        "b.proto:2:1: warning: Import google/protobuf/any.proto is unused"
    )


def test_the_same_bytes_are_made_again(owner, org):
    first = compiled(owner, grpc=True)
    archive = archive_of(owner, first)
    with door():
        CompileJob.objects.all().delete()
        CompileArtifact.objects.all().delete()
    second = compiled(owner, grpc=True)
    assert not second["cached"]
    assert second["artifact"]["sha256"] == first["artifact"]["sha256"]
    assert archive_of(owner, second) == archive


def test_without_the_file_storage_a_job_is_tried_three_times(owner, org, stored):
    job = ordered(owner)
    for path in stored.rglob("*"):
        if path.is_file():
            path.unlink()
    for attempt in (1, 2):
        run(job)
        assert read(owner, job)["status"] == "queued"
        assert job_row(job).attempts == attempt
        assert counted_jobs(org.org.pk) == 1
        # Not at once, and not by the end of another either.
        soon, later = (timezone.now() + compile_running.REST * part for part in (0.5, 1.1))
        with tenancy.organization(org.org.pk):
            assert compile_turns.next_jobs(org.org.pk, now=soon) == []
            assert compile_turns.next_jobs(org.org.pk, now=later) == [job["id"]]
    run(job)
    assert read(owner, job)["error"] == {
        "code": "internal_error",
        "detail": "The job could not be finished, which is our fault; it is not counted.",
        "fault": "service",
    }
    assert counted_jobs(org.org.pk) == 0


def test_a_job_that_runs_is_not_taken_up_again(owner, org):
    job = ordered(owner)
    lease = take_up(job)
    assert lease.attempt == 1
    assert take_up(job) is None
    run(job)
    assert read(owner, job)["status"] == "running"
    assert counted_jobs(org.org.pk) == 1


def test_an_equal_job_waits_and_is_settled_by_the_one_that_runs(owner, org):
    first, second = ordered(owner), ordered(owner)
    assert counted_jobs(org.org.pk) == 2
    lease = take_up(first)
    run(second)
    assert read(owner, second)["status"] == "queued"
    compile_running.work(lease)
    jobs = [read(owner, job) for job in (first, second)]
    assert [(job["status"], job["cached"]) for job in jobs] == [
        ("succeeded", False),
        ("succeeded", True),
    ]
    assert jobs[0]["artifact"]["sha256"] == jobs[1]["artifact"]["sha256"]
    assert counted_jobs(org.org.pk) == 1
    assert [job_row(job).counted for job in jobs] == [True, False]


def test_an_equal_job_that_comes_too_late_finds_the_artifact(owner, org):
    first, second = ordered(owner), ordered(owner)
    lease = take_up(first)
    with door():
        # Committed while the first one was finishing, so that this did not see it.
        CompileJob.objects.filter(pk=second["id"]).update(digest="0" * 64)
    compile_running.work(lease)
    assert read(owner, second)["status"] == "queued"
    run(second)
    done = read(owner, second)
    assert (done["status"], done["cached"]) == ("succeeded", True)
    assert counted_jobs(org.org.pk) == 1


def test_an_equal_job_that_came_while_the_other_ended_is_handed_over(owner, org, monkeypatch):
    first, second = ordered(owner), ordered(owner)
    lock = compile_running.Lease.lock

    def before_the_second_was_ordered(lease):
        return lock(lease)[0], []

    with monkeypatch.context() as patched:
        patched.setattr(compile_running.Lease, "lock", before_the_second_was_ordered)
        waiting = compile_running.run_job(org_id=org.org.pk, job_id=first["id"], clock=timezone.now)
    assert waiting == [second["id"]]
    run(second)
    assert read(owner, second)["cached"]
    assert counted_jobs(org.org.pk) == 1


def test_the_users_fault_is_that_of_equal_jobs_and_counted_once(owner, org, monkeypatch):
    fake_protoc(monkeypatch, "print('a.proto:1:2: wrong'); raise SystemExit(1)")
    first, second = ordered(owner), ordered(owner)
    run(first)
    jobs = [read(owner, job) for job in (first, second)]
    assert [job["error"]["code"] for job in jobs] == ["compile_error", "compile_error"]
    assert [job_row(job).counted for job in jobs] == [True, False]
    assert counted_jobs(org.org.pk) == 1


def test_our_fault_lets_an_equal_job_be_tried(owner, org, monkeypatch):
    first, second = ordered(owner), ordered(owner)
    row = job_row(first)
    with monkeypatch.context() as patched:
        fake_protoc(patched, "raise SystemExit(3)")
        waiting = compile_running.run_job(org_id=row.org_id, job_id=row.pk, clock=timezone.now)
    assert waiting == [second["id"]]
    assert counted_jobs(org.org.pk) == 1
    run(second)
    assert read(owner, second)["status"] == "succeeded"
    assert counted_jobs(org.org.pk) == 1


def test_a_canceled_job_makes_room_for_an_equal_one(owner, org):
    first, second = ordered(owner), ordered(owner)
    take_up(first)
    owner.post(f"{BASE}/{first['id']}/cancel")
    run(second)
    assert read(owner, second)["status"] == "succeeded"
    assert counted_jobs(org.org.pk) == 2


def test_who_lost_the_lease_changes_nothing(owner, org, stored):
    job = ordered(owner)
    late = take_up(job)
    with tenancy.organization(org.org.pk):
        after = timezone.now() + compile_running.LEASE * 2
        assert compile_rescue.rescue_job(org_id=org.org.pk, job_id=job["id"], now=after)
    again = take_up(job)
    assert (late.attempt, again.attempt) == (1, 2)
    with pytest.raises(compile_running.LeaseLostError):
        compile_running.work(late)
    assert read(owner, job)["status"] == "running"
    compile_running.work(again)
    assert read(owner, job)["status"] == "succeeded"
    with pytest.raises(compile_running.LeaseLostError):
        compile_running.work(late)
    assert counted_jobs(org.org.pk) == 1
    assert len([name for name in contents_in(stored) if name.endswith(".zip")]) == 1


def test_a_worker_with_a_newer_compiler_says_so(owner, org, monkeypatch):
    job = ordered(owner)
    monkeypatch.setattr("registry.protoc.protoc_version", lambda: "99.1")
    run(job)
    assert read(owner, job)["compiler"] == "protoc 99.1"
    assert ordered(owner)["cached"]


def test_what_a_closed_period_counted_stays_counted(owner, org, monkeypatch):
    fake_protoc(monkeypatch, "raise SystemExit(3)")
    job = ordered(owner)
    with door():
        UsagePeriod.objects.filter(org=org.org).update(closed_at=timezone.now())
    run(job)
    assert read(owner, job)["error"]["fault"] == "service"
    assert job_row(job).counted
    assert counted_jobs(org.org.pk) == 1


def test_what_ended_is_in_the_metrics(committed, scratch):
    owner = committed.client("owner")
    make_module(owner)
    push(owner, "1.0.0", SOURCES)

    def ended(outcome: str) -> float:
        labels = {"outcome": outcome, "fault": "none"}
        return REGISTRY.get_sample_value("spoke_compile_jobs_total", labels) or 0

    before = ended("succeeded"), ended("cached")
    ordered(owner)
    assert ordered(owner)["cached"]
    assert (ended("succeeded"), ended("cached")) == (before[0] + 1, before[1] + 1)
    assert REGISTRY.get_sample_value("spoke_compile_seconds_count", {"language": "python"}) >= 1


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_canceling_ends_the_process_of_a_running_job(committed, monkeypatch, tmp_path, scratch):
    owner = committed.client("owner")
    make_module(owner)
    push(owner, "1.0.0", SOURCES)
    told = tmp_path / "pid"
    fake_protoc(
        monkeypatch,
        f"""
        import os, pathlib, time
        part = pathlib.Path({str(told)!r} + ".part")
        part.write_text(str(os.getpid()))
        part.rename({str(told)!r})
        time.sleep(60)
        """,
    )
    monkeypatch.setattr(tasks.run_compile_job, "delay", lambda *args: None)
    job = ordered(owner)

    def cancel() -> int:
        while not told.exists():
            os.sched_yield()
        assert not is_gone(int(told.read_text()))
        return owner.post(f"{BASE}/{job['id']}/cancel").status_code

    begun = timezone.now()
    assert run_together([lambda: run(job), cancel]) == [None, 200]
    assert timezone.now() - begun < timedelta(seconds=30)
    assert is_gone(int(told.read_text()))
    assert read(owner, job)["status"] == "canceled"
    assert counted_jobs(committed.org.pk) == 1


def test_the_lease_is_renewed_while_the_compiler_runs(owner, org, monkeypatch):
    script = "import time; time.sleep(1.5)"
    fake_protoc(monkeypatch, script)
    job = ordered(owner)
    seen: list[datetime] = []
    renew = compile_running.Lease.renew

    def noting(lease):
        renew(lease)
        until = job_row(job).lease_until
        assert until is not None
        seen.append(until)

    monkeypatch.setattr(compile_running.Lease, "renew", noting)
    run(job)
    assert read(owner, job)["status"] == "succeeded"
    assert read(owner, job)["artifact"]["files"] == 0
    assert seen == sorted(seen)
    assert 2 <= len(set(seen)) <= 6


def test_a_job_cleans_up_after_dead_workers_of_its_machine(owner, org, scratch):
    left = scratch / "spoke-protoc-dead"
    left.mkdir()
    (left / "file").write_text("x")
    (scratch / "spoke-protoc-dead.lock").touch()
    with protoc.working_folder() as working:
        assert compiled(owner)["status"] == "succeeded"
        assert not left.exists()
        assert working.exists()
