"""Pushing a version as an archive, and reading one as an archive."""

import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

from registry.models import Blob, Version
from registry.tests.conftest import contents_in, files, gauge, make_module, push
from registry.tests.test_archives import tar, zipped
from registry.tests.test_multipart import body_of

URL = "/orgs/acme/modules/pay/versions"
GZIP, ZIP = "application/gzip", "application/zip"
TWO = [("a/b.proto", b"// two\n"), ("README.md", b"hello")]


@pytest.fixture(autouse=True)
def module(owner):
    return make_module(owner)


def post(client, data, kind=GZIP, query="version=1.0.0", **kwargs):
    return client.generic("POST", f"{URL}?{query}", data, content_type=kind, **kwargs)


def nothing_left(cast, stored):
    assert not Version.objects.exists()
    assert not Blob.objects.exists()
    assert contents_in(stored) == []
    assert gauge("storage", cast.org.pk) == 0
    assert not list(Path(tempfile.gettempdir()).iterdir())


def test_a_body_that_is_empty_is_told_so(owner, cast, stored):
    response = post(owner, b"")
    assert response.status_code == 400
    errors = response.json()["errors"]
    assert [(row["field"], row["detail"]) for row in errors] == [("archive", "The body is empty.")]
    nothing_left(cast, stored)


@pytest.mark.parametrize(("make", "kind"), [(tar, GZIP), (zipped, ZIP)])
def test_an_archive_is_the_same_as_json(owner, cast, make, kind):
    make_module(owner, "money")
    push(owner, "2.0.0", files(money=""), module="money")
    query = "version=1.0.0&description=All%20kinds&dependency=money@2.0.0"
    response = post(owner, make(*TWO), kind, query)
    assert response.status_code == 201, response.content
    body = response.json()
    assert body["description"] == "All kinds"
    assert body["dependencies"] == ["money@2.0.0"]
    assert [file["path"] for file in body["files"]] == ["README.md", "a/b.proto"]
    assert owner.get(f"{URL}/1.0.0/files/a/b.proto").content == b"// two\n"
    again = push(
        owner,
        "1.0.0",
        [{"path": path, "content": content.decode()} for path, content in TWO],
    )
    assert (again.status_code, again.json()["identical"]) == (409, True)
    assert gauge("storage", cast.org.pk) == 12


def test_a_media_type_is_the_same_in_capitals(owner):
    assert post(owner, tar(*TWO), "Application/GZIP").status_code == 201


@pytest.mark.parametrize("make", [tar, zipped])
def test_a_part_named_archive_is_one(owner, make):
    response = owner.generic(
        "POST",
        URL,
        body_of(
            ('form-data; name="version"', b"1.0.0"),
            ('form-data; name="archive"; filename="x.bin"', make(*TWO)),
        ),
        content_type="multipart/form-data; boundary=B",
    )
    assert response.status_code == 201, response.content
    assert [file["path"] for file in response.json()["files"]] == ["README.md", "a/b.proto"]


def test_an_archive_beside_files_is_refused(owner, cast, stored):
    response = owner.generic(
        "POST",
        URL,
        body_of(
            ('form-data; name="version"', b"1.0.0"),
            ('form-data; name="archive"', tar(*TWO)),
            ('form-data; name="f"; filename="a.proto"', b""),
        ),
        content_type="multipart/form-data; boundary=B",
    )
    assert (response.status_code, response.json()["code"]) == (400, "parse_error")
    nothing_left(cast, stored)


@pytest.mark.parametrize(
    ("data", "kind", "field", "code"),
    [
        (lambda: tar(("../a.proto", b"up")), GZIP, "files/../a.proto", "invalid_path"),
        (lambda: zipped(("/etc/a.proto", b"root")), ZIP, "files//etc/a.proto", "invalid_path"),
        (lambda: tar(("a.proto", tarfile.SYMTYPE)), GZIP, "files/a.proto", "unsupported_entry"),
        (
            lambda: tar(("a.proto", b"1 1"), ("A.proto", b"2 2")),
            GZIP,
            "files/A.proto",
            "case_conflict",
        ),
        (lambda: tar(("a.proto", b"\xff\xfe\xfd")), GZIP, "files/a.proto", "not_utf8"),
        (
            lambda: zipped(("a.proto", b"a\x00b")),
            ZIP,
            "files/a.proto",
            "null_characters_not_allowed",
        ),
        (lambda: zipped(("a.proto", bytes(5_000_000))), ZIP, "files/a.proto", "file_too_large"),
        (lambda: tar(("README.md", b"only")), GZIP, "files", "no_proto_file"),
        (lambda: tar(*TWO)[:-20], GZIP, "archive", "invalid_archive"),
        (lambda: b"garbage", ZIP, "archive", "invalid_archive"),
        (
            lambda: tar(*((f"{n}.proto", b"") for n in range(10_000))),
            GZIP,
            "archive",
            "too_many_files",
        ),
    ],
)
def test_hostile_archives_name_the_entry_and_leave_nothing(
    owner, cast, stored, data, kind, field, code
):
    response = post(owner, data(), kind)
    assert response.status_code == 400, response.content
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [(field, code)]
    nothing_left(cast, stored)


def test_a_bomb_and_a_large_body_are_a_413(owner, cast, stored, settings):
    settings.MAX_PUSH_BYTES = 10_000_000
    for make, kind in ((tar, GZIP), (zipped, ZIP)):
        bomb = make(*((f"{n}.proto", bytes(4_000_000)) for n in range(20)))
        assert len(bomb) < 100_000
        response = post(owner, bomb, kind)
        assert response.status_code == 413
        assert response.json()["limit"] == 10_000_000
        assert "2.proto" in response.json()["detail"]
    settings.MAX_PUSH_BYTES = 1_000
    assert post(owner, bytes(1_001)).status_code == 413
    nothing_left(cast, stored)


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("", "version", "required"),
        ("version=1", "version", "invalid_version"),
        ("version=1.0.0&colour=red", "colour", "unknown_field"),
        ("version=1.0.0&dry_run=perhaps", "dry_run", "invalid"),
        ("version=1.0.0&dependency=a@%5E1.0", "dependencies.0", "invalid_dependency"),
    ],
)
def test_the_query_is_checked(owner, cast, stored, query, field, code):
    response = post(owner, tar(*TWO), GZIP, query)
    assert response.status_code == 400
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [(field, code)]
    nothing_left(cast, stored)


def test_a_key_replays_it(owner, cast):
    headers = {"Idempotency-Key": "a"}
    first = post(owner, tar(*TWO), headers=headers)
    again = post(owner, tar(*TWO), headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = post(owner, tar(*TWO), query="version=1.0.1", headers=headers)
    assert other.json()["code"] == "idempotency_key_reused"
    assert Version.objects.count() == 1


def test_a_version_is_read_as_an_archive_of_the_same_bytes(owner, cast):
    post(owner, tar(*TWO))
    first = owner.get(f"{URL}/1.0.0/archive")
    assert first.headers["Content-Type"] == GZIP
    assert first.headers["Content-Disposition"] == 'attachment; filename="pay-1.0.0.tar.gz"'
    data = first.content
    assert first.headers["Content-Length"] == str(len(data))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        read = {entry.name: archive.extractfile(entry).read() for entry in archive}
    assert read == dict(TWO)
    assert owner.get(f"{URL}/latest/archive").content == data
    etag = first.headers["ETag"]
    cached = owner.get(f"{URL}/1.0.0/archive", headers={"If-None-Match": etag})
    assert cached.status_code == 304
    as_zip = owner.get(f"{URL}/1.0.0/archive?format=zip")
    assert (as_zip.headers["Content-Type"], as_zip.headers["ETag"] != etag) == (ZIP, True)
    with zipfile.ZipFile(io.BytesIO(as_zip.content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == dict(TWO)
    # What is given out is taken again, as the same version.
    assert post(owner, data, query="version=1.0.0").json()["identical"] is True


def test_other_formats_and_unknown_versions(owner):
    post(owner, tar(*TWO))
    response = owner.get(f"{URL}/1.0.0/archive?format=rar")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "format")
    assert owner.get(f"{URL}/2.0.0/archive").status_code == 404
