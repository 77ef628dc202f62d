"""The local folder: whole files or none."""

from functools import partial
from threading import Event, Thread

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from registry import storage
from registry.tests.conftest import contents_in
from registry.tests.threads import run_together
from spoke.core.errors import ServiceUnavailable

DIGEST = "ab" * 32


def test_keys_are_apart_for_each_organization():
    assert storage.key_of(7, DIGEST) == f"org/7/ab/{DIGEST}"
    assert storage.digest_in(storage.key_of(7, DIGEST)) == DIGEST
    assert storage.digest_in("org/7/ab/.x.part") is None


def test_what_is_written_is_read_and_listed(stored):
    storage.write_contents(7, {DIGEST: b"one", "cd" * 32: b""})
    assert storage.read_content(7, DIGEST) == b"one"
    assert storage.stored_organizations() == [7]
    assert list(storage.stored_files(7)) == [
        storage.key_of(7, DIGEST),
        storage.key_of(7, "cd" * 32),
    ]
    assert storage.size_of(storage.key_of(7, DIGEST)) == 3
    storage.delete_content(7, DIGEST)
    storage.delete_content(7, DIGEST)
    assert contents_in(stored) == ["cd" * 32]
    assert storage.written_at(storage.key_of(7, DIGEST)) is None
    with pytest.raises(ServiceUnavailable):
        storage.read_content(7, DIGEST)


def test_nothing_stored_is_nothing_listed():
    assert storage.stored_organizations() == []
    assert list(storage.stored_files(7)) == []


def test_a_file_is_replaced_under_its_own_name(stored):
    assert default_storage.save("org/7/ab/x", ContentFile(b"half")) == "org/7/ab/x"
    assert default_storage.save("org/7/ab/x", ContentFile(b"whole")) == "org/7/ab/x"
    assert (stored / "org/7/ab/x").read_bytes() == b"whole"
    assert contents_in(stored) == ["x"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_what_was(stored, monkeypatch, step):
    storage.write_contents(7, {DIGEST: b"old"})

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    target = "registry.storage.os.fsync" if step == "fsync" else "registry.storage.Path.replace"
    monkeypatch.setattr(target, fail)
    with pytest.raises(ServiceUnavailable):
        storage.write_contents(7, {DIGEST: b"new"})
    assert storage.read_content(7, DIGEST) == b"old"
    assert contents_in(stored) == [DIGEST]


def test_a_reader_never_sees_half_a_file(stored):
    contents = [bytes([65 + number]) * 300_000 for number in range(4)]
    storage.write_contents(7, {DIGEST: contents[0]})
    done = Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(storage.read_content(7, DIGEST))

    reader = Thread(target=read)
    reader.start()
    run_together([partial(storage.write_contents, 7, {DIGEST: content}) for content in contents])
    done.set()
    reader.join(30)
    assert seen <= set(contents)
    assert contents_in(stored) == [DIGEST]


def test_nobody_leaves_the_folder(stored):
    with pytest.raises(SuspiciousFileOperation):
        default_storage.save("../x", ContentFile(b""))
    assert not (stored.parent / "x").exists()
