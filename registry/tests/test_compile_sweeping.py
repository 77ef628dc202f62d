"""Archives that nobody uses go; those that somebody uses, or that are just being made, stay."""

import io
import os
import zipfile
from datetime import timedelta
from functools import partial
from threading import Event

import pytest
from django.utils import timezone

from conftest import door
from registry import artifacts, tasks
from registry.models import CompileArtifact, CompileJob
from registry.services import compile_sweeping
from registry.tests.compiling import (
    BASE,
    SOURCES,
    archive_of,
    compiled,
    counted_jobs,
    ordered,
    read,
)
from registry.tests.conftest import make_module, push
from registry.tests.threads import run_together
from tests.support.waiting import one_waits

DAY = timedelta(days=1)


def sweep(org, after=timedelta(0)):
    return compile_sweeping.sweep_organization(org_id=org.org.pk, now=timezone.now() + after)


def archives(stored):
    return sorted(stored.glob("artifacts/*/*/*"))


def write_stray(org, stored, name, content, age):
    path = stored / "artifacts" / str(org.org.pk) / name[:2] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    at = (timezone.now() - age).timestamp()
    os.utime(path, (at, at))
    return path


def test_an_archive_goes_when_it_was_not_used_for_the_time_that_is_set(
    owner, org, stored, settings
):
    settings.COMPILE_ARTIFACT_DAYS = 10
    job = compiled(owner)
    assert sweep(org, 10 * DAY - timedelta(minutes=1)) == 0
    assert len(archives(stored)) == 1
    assert sweep(org, 10 * DAY + timedelta(minutes=1)) == 1
    assert archives(stored) == []
    assert CompileArtifact.objects.count() == 0
    told = read(owner, job)
    assert (told["status"], told["artifact"]) == ("succeeded", None)
    assert counted_jobs(org.org.pk) == 1


@pytest.mark.parametrize("use", ["order", "download"])
def test_what_is_used_stays(owner, org, stored, use):
    job = compiled(owner)
    CompileArtifact.objects.update(last_used_at=timezone.now() - 29 * DAY)
    if use == "order":
        assert ordered(owner)["cached"]
    else:
        assert archive_of(owner, job)
    assert sweep(org, 2 * DAY) == 0
    assert sweep(org, 29 * DAY) == 0
    assert sweep(org, 31 * DAY) == 1


def test_a_download_notes_its_use_once_a_day(owner, org):
    job = compiled(owner)
    used = CompileArtifact.objects.get().last_used_at
    archive_of(owner, job)
    assert CompileArtifact.objects.get().last_used_at == used


def test_what_a_killed_worker_wrote_is_adopted_and_then_serves(owner, org, stored):
    first = compiled(owner)
    archive = archive_of(owner, first)
    # The worker died between writing the file and saying so.
    CompileJob.objects.all().delete()
    CompileArtifact.objects.all().delete()
    path = archives(stored)[0]
    assert sweep(org) == 0
    assert not CompileArtifact.objects.exists()
    at = (timezone.now() - 2 * DAY).timestamp()
    os.utime(path, (at, at))
    assert sweep(org) == 0
    again = ordered(owner)
    assert again["cached"]
    assert again["artifact"]["files"] == first["artifact"]["files"] == 2
    assert archive_of(owner, again) == archive


def test_what_is_no_archive_goes_after_a_day(owner, org, stored):
    digest, sha256 = "a" * 64, "b" * 64
    names = [".x.part", f"{digest}-{sha256}.zip"]
    for name in names:
        write_stray(org, stored, name, b"half", DAY - timedelta(minutes=5))
    assert sweep(org) == 0
    assert sweep(org, timedelta(minutes=10)) == 2
    assert archives(stored) == []
    assert not CompileArtifact.objects.exists()


def test_an_archive_beside_the_one_that_counts_goes(owner, org, stored):
    compiled(owner)
    kept = CompileArtifact.objects.get()
    packed = io.BytesIO()
    zipfile.ZipFile(packed, "w").close()
    write_stray(org, stored, f"{kept.digest}-{'c' * 64}.zip", packed.getvalue(), 2 * DAY)
    assert sweep(org) == 1
    assert [path.name for path in archives(stored)] == [f"{kept.digest}-{kept.sha256}.zip"]
    assert CompileArtifact.objects.get() == kept


def test_jobs_of_long_ago_go_and_their_use_stays(owner, org):
    compiled(owner)
    running = ordered(owner, "cpp")
    CompileJob.objects.update(created_at=timezone.now() - 99 * DAY)
    assert sweep(org, compile_sweeping.JOBS_KEPT - timedelta(minutes=1)) == 1  # the archive
    assert CompileJob.objects.count() == 2
    sweep(org, compile_sweeping.JOBS_KEPT + timedelta(minutes=1))
    assert [job["id"] for job in owner.get(BASE).json()["results"]] == [running["id"]]
    assert counted_jobs(org.org.pk) == 2


def test_the_nightly_task_reaches_purged_organizations_too(committed, stored):
    owner, outsider = committed.client("owner"), committed.client("outsider")
    make_module(owner)
    push(owner, "1.0.0", SOURCES)
    make_module(outsider, org="rival")
    outsider.post("/orgs/rival/modules/pay/versions", {"version": "1.0.0", "files": SOURCES})
    ordered(owner)
    outsider.post(BASE.replace("acme", "rival"), {"language": "python"})
    assert len(archives(stored)) == 2
    with door():
        committed.org.delete()
        assert CompileArtifact.objects.count() == 1
    for path in archives(stored):
        at = (timezone.now() - 2 * DAY).timestamp()
        os.utime(path, (at, at))
    assert tasks.sweep_artifacts() == 2
    left = archives(stored)
    assert len(left) == 1
    assert left[0].parts[-3] == str(committed.other_org.pk)


def test_an_order_waits_for_the_sweep_of_its_archive_and_compiles_anew(
    committed, stored, monkeypatch
):
    """The narrowest moment: the sweep has deleted the file, and has not committed."""
    owner = committed.client("owner")
    make_module(owner)
    push(owner, "1.0.0", SOURCES)
    first = ordered(owner)
    file_gone, waiting = Event(), Event()
    delete = artifacts.delete_archive

    def delete_and_wait(*names):
        delete(*names)
        file_gone.set()
        assert waiting.wait(30)

    monkeypatch.setattr(artifacts, "delete_archive", delete_and_wait)

    def order_again():
        assert file_gone.wait(30)
        assert archives(stored) == []
        return ordered(owner)

    def watch():
        if one_waits():
            waiting.set()

    swept, again, _ = run_together([partial(sweep, committed, 31 * DAY), order_again, watch])
    assert waiting.is_set()
    assert swept == 1
    assert not again["cached"]
    done = read(owner, again)
    assert done["status"] == "succeeded"
    assert archive_of(owner, done)
    assert read(owner, first)["artifact"] is None
    assert counted_jobs(committed.org.pk) == 2
