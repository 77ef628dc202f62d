"""At most so many jobs of an organization at once; the others wait their turn and lose none."""

import queue
from collections import Counter
from datetime import timedelta
from functools import partial
from threading import Barrier, Event

import pytest
from django.utils import timezone

from conftest import door
from registry import protoc, tasks
from registry.models import CompileJob, JobStatus
from registry.services import compile_rescue, compile_running
from registry.services.compile import options_of
from registry.tests.compiling import (
    BASE,
    SOURCES,
    counted_jobs,
    job_row,
    ordered,
    run,
    take_up,
)
from registry.tests.conftest import make_module, push
from registry.tests.threads import run_together
from spoke.core import tenancy

LANGUAGES = ("python", "cpp", "csharp", "java", "kotlin", "objc", "php", "ruby")


@pytest.fixture
def messages(monkeypatch):
    """What is handed to the queue, in order."""
    sent: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
    monkeypatch.setattr(tasks.run_compile_job, "delay", lambda *args: sent.put(args))
    return sent


@pytest.fixture
def org(committed, messages, settings):
    """acme, with version 1.0.0 of pay, and two jobs at once."""
    settings.COMPILE_JOBS_AT_ONCE = 2
    owner = committed.client("owner")
    make_module(owner)
    assert push(owner, "1.0.0", SOURCES).status_code == 201
    return committed


@pytest.fixture
def owner(org):
    return org.client("owner")


def sent(messages):
    """The jobs handed to the queue since it was last asked."""
    return [messages.get()[1] for _ in range(messages.qsize())]


def order_all(owner, languages=LANGUAGES, **fields):
    return [ordered(owner, language, **fields) for language in languages]


def statuses(jobs):
    return [job_row(job).status for job in jobs]


def test_only_what_may_begin_is_handed_to_the_queue(owner, messages):
    jobs = order_all(owner)
    assert sent(messages) == [job["id"] for job in jobs[:2]]
    assert {job["status"] for job in jobs} == {"queued"}


def test_who_is_at_the_limit_waits_and_each_end_lets_the_oldest_begin(owner, org, messages):
    jobs = order_all(owner)
    leases = [take_up(job) for job in jobs[:2]]
    assert take_up(jobs[5]) is None
    run(jobs[5])
    assert statuses(jobs) == ["running"] * 2 + ["queued"] * 6
    assert sent(messages) == [jobs[0]["id"], jobs[1]["id"]]
    compile_running.work(leases[1])
    run(jobs[3])  # a place is free: the one that is named
    assert statuses(jobs)[:4] == ["running", "succeeded", "queued", "succeeded"]
    assert sent(messages) == [jobs[2]["id"]]
    assert counted_jobs(org.org.pk) == 8


def test_a_message_that_is_not_needed_any_more_begins_the_oldest(owner, messages):
    jobs = order_all(owner)
    run(jobs[0])
    sent(messages)
    run(jobs[0])
    assert statuses(jobs)[:3] == ["succeeded", "succeeded", "queued"]
    assert sent(messages) == [jobs[2]["id"]]


def test_equal_jobs_take_one_place_and_stand_in_nobodys_way(owner, messages):
    first = ordered(owner)
    lease = take_up(first)
    twins = [ordered(owner) for _ in range(3)]
    other = ordered(owner, "cpp")
    assert sent(messages) == [first["id"], other["id"]]
    run(twins[0])
    assert statuses([first, *twins, other]) == ["running"] + ["queued"] * 3 + ["succeeded"]
    compile_running.work(lease)
    assert statuses([first, *twins]) == ["succeeded"] * 4


def test_canceling_what_runs_lets_the_next_begin(owner, messages):
    jobs = order_all(owner)
    for job in jobs[:2]:
        take_up(job)
    sent(messages)
    assert owner.post(f"{BASE}/{jobs[0]['id']}/cancel").status_code == 200
    tasks.run_compile_job(*messages.get())
    assert statuses(jobs)[:4] == ["canceled", "running", "succeeded", "queued"]
    assert sent(messages) == [jobs[3]["id"]]


def test_a_worker_that_was_deprived_of_its_job_lets_the_next_begin(owner, messages, monkeypatch):
    """As when the version of a running job is deleted."""
    jobs = order_all(owner)
    take_up(jobs[1])
    sent(messages)
    real = compile_running.work

    def deprived(lease):
        with door():
            CompileJob.objects.filter(pk=lease.job_id).delete()
        monkeypatch.setattr(compile_running, "work", real)
        raise compile_running.LeaseLostError

    monkeypatch.setattr(compile_running, "work", deprived)
    run(jobs[0])
    assert sent(messages) == [jobs[2]["id"]]


def test_a_worker_that_died_keeps_its_place_until_it_is_found_out(owner, org, messages):
    jobs = order_all(owner)
    for job in jobs[:2]:
        take_up(job)
    sent(messages)
    after = timezone.now() + compile_running.LEASE * 2
    assert compile_rescue.unheard_jobs(now=after + timedelta(hours=1)) == []
    run(jobs[2])
    assert statuses(jobs)[:3] == ["running", "running", "queued"]
    with door():
        CompileJob.objects.filter(pk=jobs[0]["id"]).update(lease_until=timezone.now())
    tasks.rescue_compile_job(org.org.pk, jobs[0]["id"])
    assert sent(messages) == [jobs[0]["id"]]
    assert statuses(jobs)[:3] == ["queued", "running", "queued"]
    run(jobs[0])
    assert statuses(jobs)[:3] == ["succeeded", "running", "queued"]


def test_chances_that_got_lost_are_given_anew_one_at_a_time(owner, org, messages):
    jobs = order_all(owner)
    run(jobs[0])
    sent(messages)  # the worker died before it could hand over the next
    late = timezone.now() + compile_rescue.RESEND_AFTER + timedelta(seconds=1)
    assert compile_rescue.unheard_jobs(now=late) == [(org.org.pk, jobs[1]["id"])]
    assert compile_rescue.unheard_jobs(now=late) == []
    run(jobs[1])
    assert sent(messages) == [jobs[2]["id"]]


def test_a_job_that_cannot_be_begun_stands_in_nobodys_way(owner, messages, monkeypatch, settings):
    settings.COMPILE_JOBS_AT_ONCE = 1
    bad, good, last = order_all(owner, LANGUAGES[:3])

    def options_of_all_but_one(job):
        if job.pk == bad["id"]:
            raise ValueError("no such language")
        return options_of(job)

    monkeypatch.setattr(compile_running, "options_of", options_of_all_but_one)
    assert sent(messages) == [bad["id"]]
    run(bad)
    assert sent(messages) == [good["id"]]
    run(good)
    assert sent(messages) == [last["id"]]
    run(last)
    assert (statuses([bad, good, last]), sent(messages)) == (
        ["queued", "succeeded", "succeeded"],
        [],
    )
    monkeypatch.setattr(compile_running, "options_of", options_of)
    later = timezone.now() + compile_running.REST + compile_rescue.RESEND_AFTER
    assert [job for _, job in compile_rescue.unheard_jobs(now=later)] == [bad["id"]]
    run(bad)
    assert statuses([bad]) == ["succeeded"]


def test_a_newer_compiler_that_makes_it_the_twin_of_one_that_runs(owner, messages, monkeypatch):
    """It waits for that one, and no messages go round meanwhile."""
    old = ordered(owner)
    monkeypatch.setattr("registry.protoc.protoc_version", lambda: "99.1")
    new = ordered(owner)
    lease = take_up(new)
    sent(messages)
    run(old)
    assert statuses([old, new]) == ["queued", "running"]
    assert sent(messages) == []
    compile_running.work(lease)
    assert statuses([old, new]) == ["succeeded", "succeeded"]


def test_the_limit_is_each_organizations_own(owner, org, messages):
    outsider = org.client("outsider")
    make_module(outsider, org="rival")
    body = {"version": "1.0.0", "files": SOURCES}
    assert outsider.post("/orgs/rival/modules/pay/versions", body).status_code == 201
    order_all(owner)
    theirs = ordered(outsider, base=BASE.replace("acme", "rival"))
    # Behind two of acme's jobs, and not behind eight.
    assert sent(messages)[2:] == [theirs["id"]]
    assert take_up(theirs) is not None


class Workers:
    """Threads that take messages as Celery's workers do, until the queue has been empty for a while."""

    def __init__(self, messages):
        self.messages = messages
        self.taken: Counter[int] = Counter()

    def work(self):
        while True:
            try:
                org_id, job_id = self.messages.get(timeout=1)
            except queue.Empty:
                return
            self.taken[org_id] += 1
            tasks.run_compile_job(org_id, job_id)


def test_eight_workers_reach_the_limit_and_never_pass_it(owner, org, messages, monkeypatch):
    """A compiler that runs waits for another one to run with it, and counts how many do."""
    two, seen = Barrier(2, timeout=60), []

    def compiler(*, meanwhile, **rest):
        two.wait()
        with tenancy.organization(org.org.pk):
            running = CompileJob.objects.filter(org_id=org.org.pk, status=JobStatus.RUNNING)
            seen.append(running.count())
        two.wait()
        return protoc.Outcome(0, "", timed_out=False, errors=())

    monkeypatch.setattr(protoc, "run_protoc", compiler)
    push(owner, "1.0.1", [*SOURCES, {"path": "b.proto", "content": 'syntax = "proto3";\n'}])
    jobs = [
        ordered(owner, language, base=BASE.replace("1.0.0", version), include_dependencies=deps)
        for version in ("1.0.0", "1.0.1")
        for language in LANGUAGES
        for deps in (False, True)
    ]
    workers = Workers(messages)
    run_together([workers.work] * 8)
    assert statuses(jobs) == ["succeeded"] * 32
    assert seen == [2] * 32
    assert counted_jobs(org.org.pk) == 32
    # One message each, and no going round.
    assert workers.taken == {org.org.pk: 32}


def test_an_order_and_an_end_at_one_moment_do_not_miss_each_other(
    owner, org, messages, monkeypatch, settings
):
    """With one place the order sees it free, or the end sees the order, or both; never neither."""
    settings.COMPILE_JOBS_AT_ONCE = 1
    other_client = org.client("owner")
    real = compile_running.work
    for language in LANGUAGES:
        first = ordered(owner, language)
        assert sent(messages) == [first["id"]]
        under_way, asked = Event(), Event()

        def work(lease, under_way=under_way, asked=asked):
            under_way.set()
            asked.wait(30)
            real(lease)

        def order(language=language, under_way=under_way, asked=asked):
            under_way.wait(30)
            asked.set()
            return ordered(other_client, language, include_dependencies=True)

        monkeypatch.setattr(compile_running, "work", work)
        _, second = run_together([partial(run, first), order])
        monkeypatch.setattr(compile_running, "work", real)
        assert sent(messages) in ([second["id"]], [second["id"]] * 2)
        run(second)
        assert statuses([first, second]) == ["succeeded", "succeeded"]
