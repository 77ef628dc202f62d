"""Pushing a version as multipart/form-data."""

import pytest
from rest_framework.test import APIClient

from registry.models import Version
from registry.tests.conftest import files, gauge, make_module, push
from registry.tests.test_multipart import body_of

URL = "/orgs/acme/modules/pay/versions"


@pytest.fixture(autouse=True)
def module(owner):
    return make_module(owner)


def post(client, *parts, **kwargs):
    return client.generic(
        "POST", URL, body_of(*parts), content_type="multipart/form-data; boundary=B", **kwargs
    )


VERSION = ('form-data; name="version"', b"1.0.0")


def test_paths_stand_in_file_names_or_field_names(owner):
    response = post(
        owner,
        VERSION,
        ('form-data; name="description"', b"All kinds"),
        ('form-data; name="files"; filename="acme/v1/user.proto"', b"// 1\r\n"),
        ('form-data; name="files"; filename="README.md"', b""),
        ('form-data; name="files[acme/v1/pay.proto]"; filename="pay.proto"', b"// 2"),
        ('form-data; name="files[LICENSE]"', b"free"),
    )
    assert response.status_code == 201
    assert response.json()["description"] == "All kinds"
    assert [(file["path"], file["size_bytes"]) for file in response.json()["files"]] == [
        ("LICENSE", 4),
        ("README.md", 0),
        ("acme/v1/pay.proto", 4),
        ("acme/v1/user.proto", 6),
    ]
    assert owner.get(f"{URL}/1.0.0/files/acme/v1/user.proto").content == b"// 1\r\n"


def test_files_in_brackets_without_a_path_have_their_own_names(owner):
    response = post(owner, VERSION, ('form-data; name="files[]"; filename="a/b.proto"', b"// 1"))
    assert response.status_code == 201, response.content
    assert [file["path"] for file in response.json()["files"]] == ["a/b.proto"]


@pytest.mark.parametrize("fields", [("dependencies", "dependency"), ("dependency", "dependencies")])
def test_a_field_of_json_alone_is_no_field_of_a_form(owner, fields):
    parts = [(f'form-data; name="{name}"', b"money@1.0.0") for name in fields]
    response = post(owner, VERSION, ('form-data; name="f"; filename="a.proto"', b""), *parts)
    assert (response.status_code, response.json()["code"]) == (400, "parse_error")
    assert "dependencies" in response.json()["detail"]
    assert not Version.objects.exists()


def test_it_is_the_same_as_json(owner):
    assert push(owner, "1.0.0", files(a="//s")).status_code == 201
    response = post(owner, VERSION, ('form-data; name="f"; filename="a.proto"', b"//s"))
    assert response.status_code == 409
    assert response.json()["identical"] is True


def test_a_key_replays_it(owner, cast):
    part = ('form-data; name="f"; filename="a.proto"', b";")
    first = post(owner, VERSION, part, headers={"Idempotency-Key": "m"})
    again = post(owner, VERSION, part, headers={"Idempotency-Key": "m"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert gauge("storage", cast.org.pk) == 1


def test_more_files_than_django_takes(owner):
    parts = [(f'form-data; name="f"; filename="v1/{i}.proto"', b";") for i in range(1000)]
    response = post(owner, VERSION, *parts)
    assert response.status_code == 201
    assert len(response.json()["files"]) == 1000


@pytest.mark.parametrize(
    ("parts", "field", "code"),
    [
        ([VERSION], "files", "no_proto_file"),
        ([('form-data; name="f"; filename="a.proto"', b";")], "version", "required"),
        (
            [
                VERSION,
                ('form-data; name="other"', b"1"),
                ('form-data; name="f"; filename="a.proto"', b""),
            ],
            "other",
            "unknown_field",
        ),
        (
            [
                VERSION,
                ('form-data; name="f"; filename="a.proto"', b""),
                ('form-data; name="f"; filename="../b.proto"', b""),
            ],
            "files.1.path",
            "invalid_path",
        ),
        (
            [
                VERSION,
                ('form-data; name="f"; filename="a.proto"', b""),
                ('form-data; name="f"; filename="b.proto"', b"\xff\xfe"),
            ],
            "files.1.content",
            "not_utf8",
        ),
        (
            [VERSION, ('form-data; name="f"; filename="a.proto"', b"a\x00b")],
            "files.0.content",
            "null_characters_not_allowed",
        ),
        (
            [
                ('form-data; name="version"', b"\xff"),
                ('form-data; name="f"; filename="a.proto"', b""),
            ],
            "version",
            "not_utf8",
        ),
    ],
)
def test_refusals_name_the_place(owner, parts, field, code):
    response = post(owner, *parts)
    assert response.status_code == 400
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [(field, code)]
    assert not Version.objects.exists()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", body_of(VERSION)),
        ("multipart/form-data; boundary=B", b"--B\r\n"),
        ("multipart/form-data; boundary=B", b""),
        ("multipart/form-data; boundary=B", body_of(VERSION, VERSION)),
        ("multipart/form-data; boundary=B", body_of(VERSION, ('form-data; name="files"', b"x"))),
    ],
)
def test_what_is_no_multipart_is_a_400(owner, content_type, body):
    response = owner.generic("POST", URL, body, content_type=content_type)
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert not Version.objects.exists()


def test_it_is_bounded_by_size(owner, settings):
    settings.MAX_PUSH_BYTES = 1000
    response = post(owner, VERSION, ('form-data; name="f"; filename="a.proto"', b"x" * 2000))
    assert response.status_code == 413
    assert response.json()["code"] == "payload_too_large"


def test_other_endpoints_take_no_multipart(owner):
    response = owner.generic(
        "POST", "/orgs/acme/modules", body_of(VERSION), "multipart/form-data; boundary=B"
    )
    assert response.status_code == 415


def test_a_browsers_session_pushes_too(cast):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(cast.owner)
    part = ('form-data; name="f"; filename="v1/a.proto"', b";")
    assert post(client, VERSION, part).status_code == 403
    assert not Version.objects.exists()
    client.cookies["csrftoken"] = "c" * 32
    response = post(client, VERSION, part, headers={"X-CSRFToken": "c" * 32})
    assert response.status_code == 201
    assert response.json()["files"][0]["path"] == "v1/a.proto"
