"""Versions over the API: lists, `latest`, and the files of a version."""

import hashlib

import pytest

from registry.models import Version
from registry.tests.conftest import files, make_module, push

URL = "/orgs/acme/modules/pay/versions"


@pytest.fixture
def module(owner):
    return make_module(owner)


RISING = ["0.9.0", "0.10.0", "1.0.0-1", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0", "1.2.0-rc.1"]


def test_versions_are_listed_by_precedence_in_pages(owner, module):
    for version in (
        "1.0.0",
        "0.10.0",
        "1.2.0-rc.1",
        "1.0.0-alpha.1",
        "0.9.0",
        "1.0.0-1",
        "1.0.0-alpha",
    ):
        assert push(owner, version).status_code == 201
    seen, url = [], f"{URL}?limit=2"
    while url:
        page = owner.get(url).json()
        seen += [version["version"] for version in page["results"]]
        url = page["next"]
    assert seen == RISING[::-1]
    releases = owner.get(f"{URL}?is_prerelease=false").json()["results"]
    assert [version["version"] for version in releases] == ["1.0.0", "0.10.0", "0.9.0"]
    assert "files" not in releases[0]
    assert owner.get(f"{URL}/latest").json()["version"] == "1.0.0"


def test_latest_is_the_newest_release_or_else_the_newest_prerelease(owner, module):
    assert owner.get(f"{URL}/latest").status_code == 404
    push(owner, "1.0.0-rc.2", files(a="// rc2"))
    push(owner, "1.0.0-rc.10", files(a="// rc10"))
    assert owner.get(f"{URL}/latest").json()["version"] == "1.0.0-rc.10"
    assert owner.get(f"{URL}/latest/files/a.proto").content == b"// rc10"
    push(owner, "0.1.0", files(a="// release"))
    assert owner.get(f"{URL}/latest").json()["version"] == "0.1.0"
    assert owner.get(f"{URL}/latest/files/a.proto").content == b"// release"


@pytest.mark.parametrize("version", ["9.9.9", "1.0", "1.0.0+x", "%00", "x%ff", "1" * 300])
def test_unknown_versions(owner, module, version):
    push(owner, "1.0.0")
    for response in (
        owner.get(f"{URL}/{version}"),
        owner.delete(f"{URL}/{version}"),
        owner.get(f"{URL}/{version}/files/a.proto"),
    ):
        assert response.status_code == 404
        assert response.json()["code"] == "not_found"
    assert Version.objects.count() == 1


def test_a_file_is_answered_as_it_was_pushed(owner, module):
    content = 'syntax = "proto3";\r\n// ü <script>\n'
    push(owner, "1.0.0", [{"path": "acme/v1/üser 'x'.proto", "content": content}])
    url = f"{URL}/1.0.0/files/acme/v1/%C3%BCser%20%27x%27.proto"
    response = owner.get(url, headers={"Accept": "text/plain"})
    assert response.status_code == 200
    assert response.content == content.encode()
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Length"] == str(len(content.encode()))
    assert response.headers["ETag"] == f'"{hashlib.sha256(content.encode()).hexdigest()}"'
    assert response.headers["Content-Disposition"] == (
        "inline; filename*=utf-8''%C3%BCser%20%27x%27.proto"
    )
    other = owner.get(url, headers={"If-Match": '"other"'})
    assert (other.status_code, other.json()["code"]) == (412, "precondition_failed")
    cached = owner.get(url, headers={"If-None-Match": response.headers["ETag"]})
    assert (cached.status_code, cached.content) == (304, b"")
    head = owner.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(content.encode()))


@pytest.mark.parametrize(
    "path", ["b.proto", "A.proto", "a.proto/", "%2e%2e/a.proto", "a%00.proto", "a.proto%0a"]
)
def test_unknown_files(owner, module, path):
    push(owner, "1.0.0")
    response = owner.get(f"{URL}/1.0.0/files/{path}", headers={"Accept": "text/plain"})
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "not_found"


def test_a_file_that_the_storage_has_lost_is_a_503(owner, module, stored):
    push(owner, "1.0.0")
    for path in stored.rglob("*"):
        if path.is_file():
            path.unlink()
    response = owner.get(f"{URL}/1.0.0/files/a.proto")
    assert response.status_code == 503
    assert response.json()["code"] == "storage_unavailable"
