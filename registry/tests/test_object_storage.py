"""Pushed files in a bucket: django-storages against a stand-in that speaks S3 over HTTP."""

import os
import re
import subprocess
import sys
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from django.utils import timezone

from registry import storage
from registry.models import Version
from registry.tests.conftest import PROTO, files, gauge, make_module, push


class Bucket(ThreadingHTTPServer):
    """One bucket in memory; or out of order."""

    objects: dict[str, bytes]
    broken = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), BucketCalls)
        self.objects = {}


class BucketCalls(BaseHTTPRequestHandler):
    """Put, get, head, delete and list."""

    server: Bucket

    def handle_one(self):
        length = int(self.headers.get("Content-Length") or 0)
        body, url = self.rfile.read(length), urlsplit(self.path)
        key = unquote(url.path).removeprefix("/files").lstrip("/")
        if self.server.broken:
            return self.answer(403)
        if self.command == "PUT":
            self.server.objects[key] = body
            return self.answer(200)
        if self.command == "DELETE":
            self.server.objects.pop(key, None)
            return self.answer(204)
        if not key:
            return self.answer(200, self.listing(parse_qs(url.query)["prefix"][0]))
        if key not in self.server.objects:
            return self.answer(404)
        return self.answer(200, self.server.objects[key])

    do_GET = do_PUT = do_HEAD = do_DELETE = handle_one  # noqa: N815 - the names of http.server

    def listing(self, prefix: str) -> bytes:
        rest = [key.removeprefix(prefix) for key in self.server.objects if key.startswith(prefix)]
        folders = sorted({name.split("/")[0] for name in rest if "/" in name})
        parts = [f"<CommonPrefixes><Prefix>{prefix}{f}/</Prefix></CommonPrefixes>" for f in folders]
        parts += [f"<Contents><Key>{prefix}{n}</Key></Contents>" for n in rest if "/" not in n]
        return f"<ListBucketResult>{''.join(parts)}</ListBucketResult>".encode()

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        """Says nothing."""


@pytest.fixture
def bucket(settings, stored, monkeypatch):
    server = Bucket()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    options = {
        "bucket": "files",
        "endpoint": f"http://127.0.0.1:{server.server_port}",
        "region": "eu-central-1",
    }
    backend = {"BACKEND": "registry.object_storage.ObjectStorage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "default": backend}
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_version_is_pushed_into_and_pulled_out_of_a_bucket(owner, cast, bucket):
    make_module(owner)
    assert push(owner, "1.0.0", files(a=PROTO, b=PROTO)).status_code == 201
    (key,) = bucket.objects
    assert re.fullmatch(rf"org/{cast.org.pk}/[0-9a-f]{{2}}/[0-9a-f]{{64}}", key)
    assert bucket.objects[key] == PROTO.encode()
    base = "/orgs/acme/modules/pay/versions/1.0.0"
    assert owner.get(f"{base}/files/b.proto").content == PROTO.encode()
    assert owner.get(f"{base}/archive").status_code == 200
    assert gauge("storage", cast.org.pk) == len(PROTO)


def test_what_the_sweep_asks_of_a_bucket(bucket):
    storage.write_contents(7, {"ab" * 32: b"1 2", "cd" * 32: b""})
    key = storage.key_of(7, "ab" * 32)
    assert storage.stored_organizations() == [7]
    assert list(storage.stored_files(7)) == [key, storage.key_of(7, "cd" * 32)]
    assert storage.size_of(key) == 3
    assert storage.written_at(key) < timezone.now() - timedelta(days=1)
    storage.delete_content(7, "ab" * 32)
    assert storage.written_at(key) is None
    assert list(storage.stored_files(8)) == []


def test_a_bucket_that_fails_is_a_503(owner, cast, bucket):
    make_module(owner)
    push(owner, "1.0.0")
    bucket.broken = True
    for response in (
        push(owner, "1.1.0", files(a="// new")),
        owner.get("/orgs/acme/modules/pay/versions/1.0.0/files/a.proto"),
    ):
        assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")
    assert Version.objects.count() == 1
    assert gauge("storage", cast.org.pk) == len(PROTO)


def test_the_environment_chooses_it():
    code = "from spoke.settings import STORAGES; print(STORAGES['default'])"
    for bucket, backend in (("", "AtomicFileSystemStorage"), ("files", "ObjectStorage")):
        env = {**os.environ, "STORAGE_S3_BUCKET": bucket}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
        )
        assert backend in done.stdout, done.stderr
