"""The admin shows jobs and artifacts to staff, and changes none."""

import pytest
from django.test import Client

from registry.models import CompileArtifact, CompileJob
from registry.tests.compiling import SOURCES, compiled, ordered
from registry.tests.conftest import make_module, push


@pytest.fixture
def admin(owner, cast):
    make_module(owner)
    push(owner, "1.0.0", SOURCES)
    compiled(owner)
    ordered(owner, "cpp")
    cast.staff.is_superuser = True
    cast.staff.save()
    client = Client()
    client.force_login(cast.staff)
    return client


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("?q=acme&status__exact=succeeded", "Python"),
        ("?q=pay&status__exact=queued", "C++"),
        ("?language__exact=cpp&cached__exact=0", "C++"),
    ],
)
def test_jobs_are_found_by_what_became_of_them(admin, query, shown):
    page = admin.get(f"/admin/registry/compilejob/{query}")
    assert page.status_code == 200
    rows = page.context["cl"].result_list
    assert [job.get_language_display() for job in rows] == [shown]


def test_jobs_and_artifacts_have_pages_that_change_nothing(admin):
    job, artifact = CompileJob.objects.first(), CompileArtifact.objects.get()
    for path in (f"compilejob/{job.pk}", f"compileartifact/{artifact.pk}"):
        assert admin.get(f"/admin/registry/{path}/change/").status_code == 200
        assert (
            admin.post(f"/admin/registry/{path}/change/", {"status": "failed"}).status_code == 403
        )
        assert admin.post(f"/admin/registry/{path}/delete/", {"post": "yes"}).status_code == 403
    listing = admin.get(f"/admin/registry/compileartifact/?q={artifact.sha256}")
    assert artifact.sha256 in listing.content.decode()
    assert CompileJob.objects.count() == 2
    assert CompileArtifact.objects.count() == 1
