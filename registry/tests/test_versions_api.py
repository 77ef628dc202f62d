"""Versions over the API: pushing and deleting."""

import hashlib

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orgs.models import AuditEvent
from quotas.models import LimitOverride
from registry.models import Blob, Module, Version, VersionFile
from registry.services import versions
from registry.tests.conftest import PROTO, contents_in, files, gauge, make_module, push

URL = "/orgs/acme/modules/pay/versions"


@pytest.fixture
def module(owner):
    return make_module(owner)


def nothing_published(cast, module):
    assert not Version.objects.exists()
    assert not VersionFile.objects.exists()
    assert not Blob.objects.counted().exists()
    assert gauge("storage", cast.org.pk) == 0
    assert gauge("versions", cast.org.pk, module["id"]) == 0


def set_limit(cast, resource, limit):
    LimitOverride.objects.create(
        org=cast.org, resource=resource, limit=limit, created_at=cast.org.created_at
    )


def test_a_version_is_pushed_and_read_back(owner, cast, module, stored):
    body = [
        {"path": "b/user.proto", "content": "// ü\r\n"},
        {"path": "README.md", "content": ""},
        {"path": "a/copy.proto", "content": "// ü\r\n"},
    ]
    response = push(owner, "1.2.0-rc.1+b7", body, description="First")
    assert response.status_code == 201
    version = Version.objects.get()
    text, empty = hashlib.sha256("// ü\r\n".encode()), hashlib.sha256(b"")
    assert response.json() == {
        "id": version.pk,
        "version": "1.2.0-rc.1+b7",
        "is_prerelease": True,
        "description": "First",
        "size_bytes": 14,
        "created_by_id": cast.owner.pk,
        "created_at": version.created_at.isoformat().replace("+00:00", "Z"),
        "yanked_at": None,
        "yank_reason": "",
        "dependencies": [],
        "files": [
            {"path": "README.md", "size_bytes": 0, "sha256": empty.hexdigest()},
            {"path": "a/copy.proto", "size_bytes": 7, "sha256": text.hexdigest()},
            {"path": "b/user.proto", "size_bytes": 7, "sha256": text.hexdigest()},
        ],
        "compared_with": None,
        "breaking_changes": [],
    }
    read = owner.get(f"{URL}/1.2.0-rc.1+b7")
    told = read.json() | {"compared_with": None, "breaking_changes": []}
    assert told == response.json()
    assert read.headers["ETag"].startswith(f'"version-{version.pk}.')
    assert (
        owner.get(
            f"{URL}/1.2.0-rc.1+b7", headers={"If-None-Match": read.headers["ETag"]}
        ).status_code
        == 304
    )
    # One file for each content, though two paths share one.
    assert contents_in(stored) == sorted([text.hexdigest(), empty.hexdigest()])
    assert (
        stored / "org" / str(cast.org.pk) / text.hexdigest()[:2] / text.hexdigest()
    ).read_bytes() == "// ü\r\n".encode()
    assert gauge("storage", cast.org.pk) == 7
    assert gauge("versions", cast.org.pk, module["id"]) == 1
    event = AuditEvent.objects.latest("id")
    assert (event.action, event.target_id) == ("version.published", str(version.pk))
    assert event.data == {"module": "pay", "version": "1.2.0-rc.1+b7", "size_bytes": 14}


@pytest.mark.parametrize("version", ["", "1.2", "v1.2.3", "latest", "1.2.3-01", "1.2.3\u0000"])
def test_versions_that_are_none(owner, cast, module, stored, version):
    response = push(owner, version)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["version"]
    nothing_published(cast, module)
    assert contents_in(stored) == []


@pytest.mark.parametrize(
    ("content", "field", "code"),
    [
        ([], "files", "no_proto_file"),
        ([{"path": "README.md", "content": "x"}], "files", "no_proto_file"),
        ([{"path": "a.proto"}], "files.0.content", "required"),
        ([{"path": "a.proto", "content": None}], "files.0.content", "null"),
        ([{"path": "a.proto", "content": 7}], "files.0.content", "invalid"),
        ([{"path": "a.proto", "content": "", "mode": 7}], "files.0.mode", "unknown_field"),
        (
            [*files(a="", b="", c=""), {"path": "../d.proto", "content": ""}],
            "files.3.path",
            "invalid_path",
        ),
        ([*files(a=""), {"path": "", "content": ""}], "files.1.path", "blank"),
        ([*files(a=""), {"path": "a.sh", "content": ""}], "files.1.path", "unsupported_file_type"),
        ([*files(a="", b=""), *files(b="")], "files.2.path", "duplicate_path"),
        ([*files(a="", A="")], "files.1.path", "case_conflict"),
        (
            [*files(a=""), {"path": "a.proto/b.proto", "content": ""}],
            "files.1.path",
            "file_is_folder",
        ),
        ([*files(a="x\u0000")], "files.0.content", "null_characters_not_allowed"),
        ("a.proto", "files", "not_a_list"),
        (["a.proto"], "files.0", "invalid"),
        ([{"path": f"{i}.proto", "content": ""} for i in range(1001)], "files", "too_many_files"),
        ([*files(a="x" * (4 * 1024 * 1024 + 1))], "files.0.content", "file_too_large"),
        ([*files(a="ü" * (2 * 1024 * 1024 + 1))], "files.0.content", "file_too_large"),
    ],
)
def test_files_that_are_refused_are_named(owner, cast, module, stored, content, field, code):
    response = owner.post(URL, {"version": "1.0.0", "files": content})
    assert response.status_code == 400
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [(field, code)]
    nothing_published(cast, module)
    assert contents_in(stored) == []


def test_a_thousand_files_are_a_version(owner, cast, module):
    content = [{"path": f"v1/{i}.proto", "content": f"// {i % 7}\n"} for i in range(1000)]
    with CaptureQueriesContext(connection) as queries:
        response = push(owner, "1.0.0", content)
    assert response.status_code == 201
    assert len(response.json()["files"]) == 1000
    assert len(queries) < 75
    assert gauge("storage", cast.org.pk) == 7 * 5
    assert sum(Blob.objects.values_list("references", flat=True)) == 1000
    assert owner.delete(f"{URL}/1.0.0").status_code == 204
    assert gauge("storage", cast.org.pk) == 0


def test_a_push_may_be_larger_than_other_bodies_up_to_its_own_limit(owner, cast, module, settings):
    big = "/" * 3_000_000
    assert push(owner, "1.0.0", files(a=big)).status_code == 201
    settings.MAX_PUSH_BYTES = 2_000_000
    response = push(owner, "1.1.0", files(a=big))
    assert response.status_code == 413
    assert response.json()["code"] == "payload_too_large"
    assert response.json()["limit"] == 2_000_000
    assert Version.objects.count() == 1


def test_what_is_not_utf_8_is_refused(owner, cast, module):
    response = owner.generic(
        "POST", URL, b'{"version": "1.0.0\xff"}', content_type="application/json"
    )
    assert response.status_code == 400
    response = owner.generic(
        "POST",
        URL,
        b'{"version": "1.0.0", "files": [{"path": "a.proto", "content": "\\ud800"}]}',
        content_type="application/json",
    )
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "files.0.content"
    nothing_published(cast, module)


def test_the_same_version_again_says_whether_it_is_identical(owner, cast, module, stored):
    assert push(owner, "1.0.0", files(a=";", b="\n")).status_code == 201
    before = contents_in(stored)
    for version, content, identical in (
        ("1.0.0", files(b="\n", a=";"), True),
        ("1.0.0+other", files(a=";", b="\n"), True),
        ("1.0.0", files(a=";", b=" "), False),
        ("1.0.0", files(a=";"), False),
        ("1.0.0", files(a=";", c="\n"), False),
    ):
        response = push(owner, version, content)
        assert response.status_code == 409
        body = response.json()
        assert (body["code"], body["version"], body["identical"]) == (
            "version_exists",
            "1.0.0",
            identical,
        )
        assert body["errors"][0]["field"] == "version"
    assert Version.objects.count() == 1
    assert contents_in(stored) == before
    assert gauge("storage", cast.org.pk) == 2
    assert gauge("versions", cast.org.pk, module["id"]) == 1


def test_versions_are_immutable(owner, module):
    push(owner, "1.0.0")
    for method in (owner.put, owner.patch):
        for url in (f"{URL}/1.0.0", f"{URL}/1.0.0/files/a.proto", URL):
            response = method(url, {"description": "new"})
            assert response.status_code == 405
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.json()["code"] == "method_not_allowed"
    assert Version.objects.get().description == ""


def test_content_is_counted_once(owner, cast, module):
    make_module(owner, "other")
    assert push(owner, "1.0.0", files(a="//345", b="//8")).status_code == 201
    assert gauge("storage", cast.org.pk) == 8
    assert push(owner, "1.1.0", files(a="//345", b=";")).status_code == 201
    assert gauge("storage", cast.org.pk) == 9
    assert push(owner, "1.0.0", files(z="//345"), module="other").status_code == 201
    assert gauge("storage", cast.org.pk) == 9
    assert owner.delete(f"{URL}/1.0.0").status_code == 204
    assert gauge("storage", cast.org.pk) == 6
    assert owner.delete(f"{URL}/1.1.0").status_code == 204
    assert gauge("storage", cast.org.pk) == 5
    assert list(Blob.objects.counted().values_list("size_bytes", "references")) == [(5, 1)]
    assert push(owner, "1.2.0", files(a="//8")).status_code == 201
    assert gauge("storage", cast.org.pk) == 8


def test_the_limit_of_versions_is_each_modules_own(owner, cast, module, stored):
    set_limit(cast, "versions", 2)
    other = make_module(owner, "other")
    assert push(owner, "1.0.0").status_code == 201
    assert push(owner, "1.1.0").status_code == 201
    before = contents_in(stored)
    response = push(owner, "1.2.0", files(a="// never stored"))
    assert response.status_code == 403
    body = response.json()
    assert {name: body[name] for name in ("error", "resource", "current", "limit")} == {
        "error": "quota_exceeded",
        "resource": "versions",
        "current": 2,
        "limit": 2,
    }
    assert contents_in(stored) == before
    assert push(owner, "1.0.0", module="other").status_code == 201
    assert owner.delete(f"{URL}/1.0.0").status_code == 204
    assert push(owner, "1.2.0").status_code == 201
    assert gauge("versions", cast.org.pk, module["id"]) == 2
    assert gauge("versions", cast.org.pk, other["id"]) == 1


def test_storage_is_limited_to_the_byte(owner, cast, module, stored):
    set_limit(cast, "storage", 10)
    assert push(owner, "1.0.0", files(a="//3456")).status_code == 201
    assert push(owner, "1.1.0", files(a="//3456", b="//34")).status_code == 201
    before = contents_in(stored)
    response = push(owner, "1.2.0", files(a=";"))
    assert response.status_code == 403
    body = response.json()
    assert (body["resource"], body["current"], body["limit"]) == ("storage", 10, 10)
    # Nothing was reserved or stored for the refused one.
    assert contents_in(stored) == before
    assert gauge("versions", cast.org.pk, module["id"]) == 2
    # What is stored already may be published at the limit.
    assert push(owner, "1.3.0", files(z="//34")).status_code == 201


def test_a_failure_while_publishing_leaves_no_rows_and_no_usage(owner, cast, module, monkeypatch):
    def fail(**_):
        raise RuntimeError("the audit log is away")

    monkeypatch.setattr(versions, "record_event", fail)
    owner.raise_request_exception = False
    response = push(owner, "1.0.0")
    assert response.status_code == 500
    nothing_published(cast, module)
    assert Module.objects.get().revision == 1
    monkeypatch.undo()
    assert push(owner, "1.0.0").status_code == 201
    assert gauge("storage", cast.org.pk) == len(PROTO)


def test_storage_that_fails_is_a_503_and_nothing_is_half_done(
    owner, cast, module, stored, monkeypatch
):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("registry.storage.os.fsync", full)
    response = push(owner, "1.0.0")
    assert response.status_code == 503
    assert response.json()["code"] == "storage_unavailable"
    assert response.headers["Retry-After"] == "5"
    nothing_published(cast, module)
    assert contents_in(stored) == []
    monkeypatch.undo()
    assert push(owner, "1.0.0").status_code == 201


def test_a_key_replays_the_push_and_refuses_another(owner, cast, module, monkeypatch):
    headers = {"Idempotency-Key": "push-1"}
    body = {"version": "1.0.0", "files": files(a=";")}
    first = owner.post(URL, body, headers=headers)
    again = owner.post(URL, body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    other = owner.post(URL, {**body, "files": files(a=" ")}, headers=headers)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"
    assert Version.objects.count() == 1
    assert gauge("versions", cast.org.pk, module["id"]) == 1


def test_who_may_push_and_delete(plans, cast, api, stored):
    make_module(api("owner"))
    for who in ("viewer", "staff"):
        response = push(api(who), "1.0.0")
        assert response.status_code == 403
        assert response.json()["code"] == "permission_denied"
    assert push(api("outsider"), "1.0.0").status_code == 404
    assert not Version.objects.exists()
    assert contents_in(stored) == []
    for number, who in enumerate(("owner", "admin", "developer")):
        assert push(api(who), f"1.{number}.0").status_code == 201
    for who in ("viewer", "staff"):
        assert api(who).delete(f"{URL}/1.0.0").status_code == 403
        assert api(who).get(URL).status_code == 200
        assert api(who).get(f"{URL}/1.0.0").status_code == 200
        assert api(who).get(f"{URL}/1.0.0/files/a.proto").status_code == 200
    assert Version.objects.count() == 3


def test_another_organizations_versions_and_files_are_invisible(plans, cast, api):
    owner, outsider = api("owner"), api("outsider")
    make_module(owner)
    push(owner, "1.0.0", files(a="//us"))
    make_module(outsider, org="rival")
    theirs = "/orgs/rival/modules/pay/versions"
    for url in (URL, f"{URL}/1.0.0", f"{URL}/latest", f"{URL}/1.0.0/files/a.proto"):
        assert outsider.get(url).status_code == 404
    assert outsider.delete(f"{URL}/1.0.0").status_code == 404
    assert outsider.get(f"{theirs}/1.0.0").status_code == 404
    assert outsider.get(theirs).json()["results"] == []
    # Equal content is stored and counted apart.
    body = {"version": "1.0.0", "files": files(a="//us")}
    assert outsider.post(theirs, body).status_code == 201
    assert gauge("storage", cast.other_org.pk) == 4
    assert owner.delete(f"{URL}/1.0.0").status_code == 204
    assert outsider.get(f"{theirs}/1.0.0/files/a.proto").content == b"//us"


def test_latest_is_not_deleted_by_that_name(owner, module):
    push(owner, "1.0.0")
    response = owner.delete(f"{URL}/latest")
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "version"
    assert Version.objects.count() == 1


def test_versions_of_an_unknown_module(owner, plans, stored):
    url = "/orgs/acme/modules/nothing/versions"
    assert owner.get(url).status_code == 404
    assert owner.post(url, {"version": "1.0.0", "files": files(a="")}).status_code == 404
    assert contents_in(stored) == []


def test_deleting_honours_if_match_and_is_audited(owner, cast, module):
    tag = push(owner, "1.0.0", files(a="//3")).headers["ETag"]
    refused = owner.delete(f"{URL}/1.0.0", headers={"If-Match": '"version-0"'})
    assert refused.status_code == 412
    assert Version.objects.count() == 1
    before = owner.get("/orgs/acme/modules/pay").headers["ETag"]
    assert owner.delete(f"{URL}/1.0.0", headers={"If-Match": tag}).status_code == 204
    assert owner.get(f"{URL}/1.0.0").status_code == 404
    assert owner.get("/orgs/acme/modules/pay").headers["ETag"] != before
    event = AuditEvent.objects.latest("id")
    assert event.action == "version.deleted"
    assert event.data == {"module": "pay", "version": "1.0.0", "freed_bytes": 3}
    assert gauge("storage", cast.org.pk) == 0
    # The number is free again, for what it was.
    assert push(owner, "1.0.0", files(a="// other")).json()["code"] == "version_deleted"
    assert push(owner, "1.0.0", files(a="//3")).status_code == 201
    assert owner.get(f"{URL}/1.0.0/files/a.proto").content == b"//3"
