"""Compile jobs that are canceled, by name or with their version."""

import pytest

from conftest import door
from registry import tasks
from registry.models import CompileJob
from registry.services import compile_running
from registry.tests.compiling import (
    BASE,
    compiled,
    counted_jobs,
    ordered,
    read,
    run,
    take_up,
)


def test_canceling_what_waits_gives_the_reservation_back_once(owner, org):
    job = ordered(owner)
    assert counted_jobs(org.org.pk) == 1
    for _ in range(2):
        response = owner.post(f"{BASE}/{job['id']}/cancel")
        assert response.status_code == 200
        assert response.json()["status"] == "canceled"
        assert response.json()["finished_at"] is not None
        assert counted_jobs(org.org.pk) == 0
    run(job)
    assert read(owner, job)["status"] == "canceled"
    assert counted_jobs(org.org.pk) == 0


def test_canceling_what_runs_keeps_the_reservation_and_the_worker_notices(owner, org):
    job = ordered(owner)
    lease = take_up(job)
    assert read(owner, job)["status"] == "running"
    assert owner.post(f"{BASE}/{job['id']}/cancel").json()["status"] == "canceled"
    lease.renewed -= 2
    with pytest.raises(compile_running.LeaseLostError):
        lease.renew()
    assert counted_jobs(org.org.pk) == 1


def test_canceling_takes_no_body(owner, org):
    job = ordered(owner)
    assert owner.post(f"{BASE}/{job['id']}/cancel", {"reason": "x"}).status_code == 400
    assert read(owner, job)["status"] == "queued"


def test_what_has_ended_is_not_canceled(owner, org):
    job = compiled(owner)
    response = owner.post(f"{BASE}/{job['id']}/cancel")
    assert response.status_code == 409
    assert (response.json()["code"], response.json()["state"]) == ("job_finished", "succeeded")
    assert read(owner, job)["status"] == "succeeded"
    assert counted_jobs(org.org.pk) == 1


@pytest.mark.parametrize("path", ["/orgs/acme/modules/pay", BASE.removesuffix("/compile")])
def test_deleting_a_version_cancels_its_jobs(owner, org, path):
    waiting, running = ordered(owner), ordered(owner, "cpp")
    lease = take_up(running)
    assert counted_jobs(org.org.pk) == 2
    assert owner.delete(path).status_code == 204
    assert counted_jobs(org.org.pk) == 1
    with door():
        assert not CompileJob.objects.exists()
    tasks.run_compile_job(org.org.pk, waiting["id"])
    lease.renewed -= 2
    with pytest.raises(compile_running.LeaseLostError):
        lease.renew()
