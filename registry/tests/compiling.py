"""Short ways to order compile jobs and to look at what became of them."""

import io
import zipfile
from typing import Any

from django.utils import timezone

from conftest import door
from quotas.models import PeriodUsage
from registry import tasks
from registry.models import CompileJob
from registry.services import compile_running

BASE = "/orgs/acme/modules/pay/versions/1.0.0/compile"
USER = """syntax = "proto3";
package acme.v1;
import "google/protobuf/timestamp.proto";
message User { string id = 1; google.protobuf.Timestamp at = 2; }
service Users { rpc Get(User) returns (User); }
"""
SOURCES = [{"path": "acme/v1/user.proto", "content": USER}]


def order(client: Any, language: str = "python", base: str = BASE, **fields: Any) -> Any:
    """The answer to ordering a job."""
    return client.post(base, {"language": language, **fields})


def ordered(client: Any, language: str = "python", **fields: Any) -> Any:
    """A job that was taken, as its answer tells of it."""
    response = order(client, language, **fields)
    assert response.status_code in (200, 202), response.content
    return response.json()


def read(client: Any, job: Any) -> Any:
    """A job as it is now."""
    response = client.get(f"{BASE}/{job['id']}")
    assert response.status_code == 200, response.content
    return response.json()


def run(job: Any) -> None:
    """What a worker does with an order."""
    row = job_row(job)
    tasks.run_compile_job(row.org_id, row.pk)


def compiled(client: Any, language: str = "python", **fields: Any) -> Any:
    """A job that was ordered and taken up."""
    job = ordered(client, language, **fields)
    run(job)
    return read(client, job)


def counted_jobs(org_id: int) -> int:
    """The compile jobs on the organization's meter."""
    with door():
        rows = PeriodUsage.objects.filter(org_id=org_id, resource="compile_jobs")
        return sum(rows.values_list("used", flat=True))


def job_row(job: Any) -> CompileJob:
    with door():
        return CompileJob.objects.get(pk=job["id"])


def take_up(job: Any) -> Any:
    """The lease of a worker that has taken an order up, and gets no further."""
    row = job_row(job)
    return compile_running.take_up(org_id=row.org_id, job_id=row.pk, clock=timezone.now)


def archive_of(client: Any, job: Any) -> bytes:
    response = client.get(f"{BASE}/{job['id']}/artifact")
    assert response.status_code == 200
    return b"".join(response.streaming_content)


def names_in(archive: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(archive)).namelist()
