"""The admin: staff look, nobody changes."""

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from conftest import door
from registry.models import Blob, Module, Version
from registry.tests.conftest import files, make_module, push


@pytest.fixture
def admin(owner, cast):
    make_module(owner)
    push(owner, "1.0.0", files(a="//xt"))
    cast.staff.is_superuser = True
    cast.staff.save()
    client = Client()
    client.force_login(get_user_model().objects.get(pk=cast.staff.pk))
    return client


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("module/?q=pay&is_public__exact=0", "1.0.0"),
        ("version/?q=pay&is_prerelease__exact=0", "1.0.0"),
        ("blob/?held=yes&q=acme", "acme"),
    ],
)
def test_lists_with_search_and_filters(admin, path, shown):
    response = admin.get(f"/admin/registry/{path}")
    assert response.status_code == 200
    assert shown in response.content.decode()


def test_content_is_told_apart_by_whether_a_version_holds_it(admin):
    digest = Blob.objects.get().digest
    assert digest in admin.get("/admin/registry/blob/?held=yes").content.decode()
    assert digest not in admin.get("/admin/registry/blob/?held=no").content.decode()
    assert digest in admin.get(f"/admin/registry/blob/?q={digest}").content.decode()


def test_a_version_shows_its_files(admin):
    version = Version.objects.get()
    response = admin.get(f"/admin/registry/version/{version.pk}/change/")
    assert response.status_code == 200
    assert "a.proto" in response.content.decode()
    assert Blob.objects.get().digest in response.content.decode()


def test_nothing_can_be_changed(admin):
    module = Module.objects.get()
    for path in ("module/add/", f"module/{module.pk}/delete/", "version/add/", "blob/add/"):
        assert admin.get(f"/admin/registry/{path}").status_code == 403
        assert admin.post(f"/admin/registry/{path}", {"post": "yes"}).status_code == 403
    response = admin.post(f"/admin/registry/module/{module.pk}/change/", {"name": "x"})
    assert response.status_code == 403
    with door():
        assert list(Module.objects.values_list("name", flat=True)) == ["pay"]


def test_members_do_not_get_in(owner, cast):
    client = Client()
    client.force_login(cast.owner)
    response = client.get("/admin/registry/module/")
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/admin/login/")
