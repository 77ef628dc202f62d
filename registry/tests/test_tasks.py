"""Nightly work: sweeping files, and putting gauges right."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.utils import timezone

from conftest import door
from quotas.models import UsageGauge
from registry import tasks
from registry.files import Push, PushedFile
from registry.models import Blob, Module, Version, VersionFile
from registry.services import pushing
from registry.tests.conftest import contents_in, files, gauge, make_module, push

DAY = timedelta(days=1)


@pytest.fixture
def owner(committed):
    return committed.client("owner")


def age(path: Path, by: timedelta) -> None:
    at = (timezone.now() - by).timestamp()
    os.utime(path, (at, at))


def age_all(folder: Path, by: timedelta) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            age(path, by)
    with door():
        Blob.objects.update(staged_at=timezone.now() - by)


def test_content_without_a_version_goes_after_a_day_and_not_before(owner, stored):
    make_module(owner)
    push(owner, "1.0.0", files(a="// kept", b="// dropped"))
    push(owner, "1.1.0", files(a="// kept"))
    owner.delete("/orgs/acme/modules/pay/versions/1.0.0")
    age_all(stored, DAY - timedelta(minutes=1))
    tasks.sweep_orphan_files()
    assert len(contents_in(stored)) == 2
    age_all(stored, DAY + timedelta(minutes=1))
    tasks.sweep_orphan_files()
    tasks.sweep_orphan_files()
    assert len(contents_in(stored)) == 1
    with door():
        assert list(Blob.objects.values_list("size_bytes", "references")) == [(len("// kept"), 1)]
    assert owner.get("/orgs/acme/modules/pay/versions/1.1.0/files/a.proto").content == b"// kept"


def test_what_a_killed_push_left_is_swept(owner, committed, stored):
    make_module(owner)
    left = Push("1.0.0", "", (PushedFile("a.proto", b"// never published"),))
    pushing.prepare_push(org_id=committed.org.pk, module_name="pay", push=left, now=timezone.now())
    half_written = stored / "org" / str(committed.org.pk) / "ab" / ".x.part"
    half_written.parent.mkdir(parents=True, exist_ok=True)
    half_written.write_bytes(b"half")
    age_all(stored, DAY + timedelta(hours=1))
    tasks.sweep_orphan_files()
    assert contents_in(stored) == []
    with door():
        assert not Blob.objects.exists()


def test_files_newer_than_a_restored_database_are_swept(owner, committed, stored):
    make_module(owner)
    push(owner, "1.0.0", files(a="// gone from the database", b="// kept"))
    with door():
        VersionFile.objects.filter(path="a.proto").delete()
        Blob.objects.filter(size_bytes=len("// gone from the database")).delete()
    age_all(stored, DAY - timedelta(minutes=1))
    tasks.sweep_orphan_files()
    assert len(contents_in(stored)) == 2
    age_all(stored, DAY + timedelta(minutes=1))
    tasks.sweep_orphan_files()
    assert len(contents_in(stored)) == 1
    assert owner.get("/orgs/acme/modules/pay/versions/1.0.0/files/b.proto").content == b"// kept"


def test_a_purged_organizations_files_are_swept_and_nobody_elses(owner, committed, stored):
    make_module(owner)
    push(owner, "1.0.0", files(a="// acme's"))
    outsider = committed.client("outsider")
    make_module(outsider, org="rival")
    body = {"version": "1.0.0", "files": files(a="// rival's")}
    outsider.post("/orgs/rival/modules/pay/versions", body)
    with door():
        committed.org.delete()
        assert not Module.objects.filter(org_id=committed.org.pk).exists()
        assert not VersionFile.objects.filter(org_id=committed.org.pk).exists()
    tasks.sweep_orphan_files()
    assert len(contents_in(stored)) == 2
    age_all(stored, DAY + timedelta(minutes=1))
    tasks.sweep_orphan_files()
    assert len(contents_in(stored)) == 1
    response = outsider.get("/orgs/rival/modules/pay/versions/1.0.0/files/a.proto")
    assert response.content == b"// rival's"


def test_content_that_is_held_is_not_swept_whatever_its_count_says(owner, stored):
    make_module(owner)
    push(owner, "1.0.0", files(a="// held"))
    with door():
        Blob.objects.update(references=0)
    age_all(stored, 2 * DAY)
    tasks.sweep_orphan_files()
    assert owner.get("/orgs/acme/modules/pay/versions/1.0.0/files/a.proto").content == b"// held"


def test_gauges_that_are_right_stay(owner, committed):
    made = make_module(owner)
    push(owner, "1.0.0", files(a="//345"))
    with door():
        before = sorted(UsageGauge.objects.values_list("resource", "subject", "used"))
    assert tasks.reconcile_organization_usage(committed.org.pk) == {
        "modules": 0,
        "versions": 0,
        "storage": 0,
    }
    with door():
        after = sorted(UsageGauge.objects.values_list("resource", "subject", "used"))
    assert after == before
    assert ("versions", made["id"], 1) in after


def test_gauges_that_are_wrong_are_put_right(owner, committed):
    org = committed.org.pk
    made = make_module(owner)
    push(owner, "1.0.0", files(a="//345"))
    push(owner, "1.1.0", files(a="//345", b="//8"))
    with door():
        UsageGauge.objects.filter(resource="modules").update(used=4)
        UsageGauge.objects.filter(resource="storage").update(used=1)
        UsageGauge.objects.filter(resource="versions", subject=made["id"]).delete()
        UsageGauge.objects.create(org_id=org, resource="versions", subject=999_999, used=7)
    drift = tasks.reconcile_organization_usage(org)
    assert drift == {"modules": 3, "versions": 9, "storage": 7}
    with door():
        assert gauge("modules", org) == 1
        assert gauge("storage", org) == 8
        assert gauge("versions", org, made["id"]) == 2
        assert gauge("versions", org) == 2
        assert not UsageGauge.objects.filter(subject=999_999).exists()
    assert set(tasks.reconcile_organization_usage(org).values()) == {0}


def test_a_wrong_total_of_versions_alone_is_put_right(owner, committed):
    org = committed.org.pk
    make_module(owner)
    push(owner, "1.0.0")
    with door():
        UsageGauge.objects.filter(resource="versions", subject=0).update(used=5)
    assert tasks.reconcile_organization_usage(org)["versions"] == 4
    with door():
        assert gauge("versions", org) == 1


def test_the_nightly_tasks_reach_every_organization(owner, committed):
    make_module(owner)
    make_module(committed.client("outsider"), org="rival")
    with door():
        UsageGauge.objects.update(used=5)
    assert tasks.reconcile_usage() == 2
    with door():
        assert set(UsageGauge.objects.filter(resource="modules").values_list("used")) == {(1,)}
        assert not Version.objects.exists()


def test_both_are_in_the_timetable():
    timetable = {entry["task"] for entry in current_app.conf.beat_schedule.values()}
    assert {"registry.tasks.sweep_orphan_files", "registry.tasks.reconcile_usage"} <= timetable
