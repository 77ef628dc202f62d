"""Real threads: of equal orders one is compiled and counted, whatever happens at once."""

import itertools
import random
from functools import partial

import pytest
from django.utils import timezone

from conftest import door
from orgs.context import SYSTEM
from quotas.resources import Resource
from quotas.services.limits import set_overrides
from registry import protoc, tasks
from registry.models import CompileArtifact, CompileJob
from registry.tests.compiling import BASE, SOURCES, counted_jobs, order, ordered, read
from registry.tests.conftest import make_module, push
from registry.tests.threads import run_together


@pytest.fixture
def org(committed):
    owner = committed.client("owner")
    make_module(owner)
    assert push(owner, "1.0.0", SOURCES).status_code == 201
    return committed


@pytest.fixture
def runs(monkeypatch):
    """How often protoc ran."""
    counted = itertools.count()
    real = protoc.run_protoc

    def noted(**kwargs):
        next(counted)
        return real(**kwargs)

    monkeypatch.setattr(protoc, "run_protoc", noted)
    return lambda: next(counted)


def test_equal_orders_at_one_moment_are_one_compilation_and_one_charge(org, runs):
    """Each order is run in its own thread as it commits, as by eight workers."""
    clients = [org.client("owner") for _ in range(8)]
    answers = run_together([partial(order, client) for client in clients])
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert runs() == 1
    assert counted_jobs(org.org.pk) == 1
    jobs = [read(clients[0], answer.json()) for answer in answers]
    assert {job["status"] for job in jobs} == {"succeeded"}
    assert sorted(job["cached"] for job in jobs) == [False] + [True] * 7
    assert len({job["artifact"]["sha256"] for job in jobs}) == 1
    with door():
        assert CompileArtifact.objects.count() == 1
        assert CompileJob.objects.filter(counted=True).count() == 1


def test_sixteen_at_once_at_a_limit_of_five(org, monkeypatch):
    monkeypatch.setattr(tasks.run_compile_job, "delay", lambda *args: None)
    with door():
        set_overrides(
            org_id=org.org.pk,
            actor=SYSTEM,
            limits={Resource.COMPILE_JOBS: 5},
            now=timezone.now(),
        )
    clients = [org.client("owner") for _ in range(16)]
    languages = itertools.cycle(["python", "cpp", "java", "ruby", "php"])
    answers = run_together(
        [
            partial(order, client, language)
            for client, language in zip(clients, languages, strict=False)
        ]
    )
    assert sorted(a.status_code for a in answers) == [202] * 5 + [403] * 11
    assert counted_jobs(org.org.pk) == 5
    with door():
        assert CompileJob.objects.count() == 5


def test_workers_that_take_up_the_same_job_run_it_once(org, runs, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(tasks.run_compile_job, "delay", lambda *args: None)
        job = ordered(org.client("owner"))
    run_together([partial(tasks.run_compile_job, org.org.pk, job["id"])] * 8)
    assert runs() == 1
    assert read(org.client("owner"), job)["status"] == "succeeded"
    assert counted_jobs(org.org.pk) == 1


def test_canceling_and_compiling_at_once_ends_each_job_once(org, monkeypatch):
    """Quota equals what was started, however orders, cancels, workers and deletions meet."""
    with monkeypatch.context() as patched:
        patched.setattr(tasks.run_compile_job, "delay", lambda *args: None)
        owner = org.client("owner")
        push(owner, "1.0.1", [*SOURCES, {"path": "b.proto", "content": 'syntax = "proto3";\n'}])
        jobs = [
            order(owner, language, base=base).json()
            for language in ("python", "cpp", "ruby")
            for base in (BASE, BASE.replace("1.0.0", "1.0.1"))
            for _ in range(3)
        ]
    assert counted_jobs(org.org.pk) == 18
    chosen = random.Random(7)

    def cancel(client, some):
        return [
            client.post(
                f"/orgs/acme/modules/pay/versions/{job['version']}/compile/{job['id']}/cancel"
            ).status_code
            for job in some
        ]

    def work(some):
        for job in some:
            tasks.run_compile_job(org.org.pk, job["id"])

    run_together(
        [
            *(partial(cancel, org.client("owner"), chosen.sample(jobs, 9)) for _ in range(3)),
            *(partial(work, chosen.sample(jobs, 18)) for _ in range(3)),
        ]
    )
    work(jobs)  # whoever waited for a twin that was canceled
    with door():
        rows = list(CompileJob.objects.all())
    assert {row.status for row in rows} <= {"succeeded", "canceled"}
    assert counted_jobs(org.org.pk) == sum(row.counted for row in rows)
    for row in rows:
        assert row.counted == (row.started_at is not None and not row.cached), row.pk
        if row.status == "succeeded":
            assert row.artifact_id is not None
    # Of what was compiled and not canceled, one of each kind is counted.
    made = {row.digest for row in rows if row.status == "succeeded"}
    assert len([r for r in rows if r.status == "succeeded" and r.counted]) == len(made)
