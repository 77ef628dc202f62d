"""Archives from strangers: what is read, and what is refused by name and without harm."""

import contextlib
import gzip
import io
import stat
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.archives import (
    MAX_RECORDS,
    ArchiveRefused,
    ArchiveTooLarge,
    Entry,
    read_archive,
    write_tar_gz,
    write_zip,
)
from registry.files import MAX_FILE_BYTES, MAX_FILES

LIMIT = 32 * 1024 * 1024


def read(data: bytes, limit: int = LIMIT) -> list[Entry]:
    return read_archive(io.BytesIO(data), limit=limit)


def tar(*entries, mode="w:gz", **options) -> bytes:
    """A tar.gz of (name, content or type) pairs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, **options) as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes) and len(content) != 1:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content, "/etc/passwd"
                archive.addfile(info)
    return out.getvalue()


def zipped(*entries, compression=zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


def refused(data: bytes) -> list[tuple[str | None, str]]:
    with pytest.raises(ArchiveRefused) as caught:
        read(data)
    return [(entry, problem.code) for entry, problem in caught.value.problems]


MAKERS = {"tar": tar, "zip": zipped}
both = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@both
def test_files_are_read_with_their_folders(make):
    long = "/".join(["a" * 50] * 6) + "/x.proto"
    entries = [("./a/b.proto", b"one"), ("README.md", b""), ("a/ü.proto", b"two"), (long, b"3 3")]
    assert read(make(*entries)) == [
        Entry("a/b.proto", b"one"),
        Entry("README.md", b""),
        Entry("a/ü.proto", b"two"),
        Entry(long, b"3 3"),
    ]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_every_form_of_tar_is_read(form):
    long = "/".join(["b" * 60] * 3) + "/x.proto"
    data = tar(("folder", tarfile.DIRTYPE), (long, b"content"), format=form)
    assert read(data) == [Entry(long, b"content")]


@both
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../a.proto", "invalid_path"),
        ("/etc/a.proto", "invalid_path"),
        ("a/../../b.proto", "invalid_path"),
        ("a//b.proto", "invalid_path"),
        ("a\\b.proto", "invalid_path"),
        ("a\nb.proto", "invalid_path"),
        ("a.sh", "unsupported_file_type"),
        ("x" * 300 + ".proto", "max_length"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(make, name, code):
    data = make(("good.proto", b"good"), (name, b"bad"))
    ((entry, found),) = refused(data)
    assert found == code
    assert entry.isprintable()
    assert entry[:5] == name[:5].replace("\n", "\ufffd")


@both
def test_names_that_clash_are_refused(make):
    with pytest.warns(UserWarning, match="Duplicate name") if make is zipped else nothing():
        data = make(("a.proto", b"1 1"), ("A.proto", b"2 2"), ("a.proto", b"3 3"))
    assert refused(data) == [("A.proto", "case_conflict"), ("a.proto", "duplicate_path")]
    assert refused(make(("a.proto", b"1 1"), ("a.proto/b.proto", b"22"))) == [
        ("a.proto/b.proto", "file_is_folder")
    ]


def nothing():
    return io.BytesIO()  # a context manager of no effect


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.GNUTYPE_SPARSE,
        b"Z",
    ],
)
def test_links_and_devices_in_a_tar_are_refused(kind):
    assert refused(tar(("a.proto", b"good"), ("l.proto", kind))) == [
        ("l.proto", "unsupported_entry")
    ]


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(mode):
    link = zipfile.ZipInfo("l.proto")
    link.external_attr = (mode | 0o777) << 16
    assert refused(zipped(("a.proto", b"good"), (link, b"/etc/passwd"))) == [
        ("l.proto", "unsupported_entry")
    ]


def test_an_encrypted_zip_is_refused():
    data = bytearray(zipped(("a.proto", b"secret")))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    assert refused(bytes(data)) == [("a.proto", "unsupported_entry")]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(method):
    assert refused(zipped(("a.proto", b"x" * 99), compression=method)) == [
        ("a.proto", "unsupported_entry")
    ]


@both
def test_a_file_that_is_too_large_is_named(make):
    data = make(("a.proto", b"a" * MAX_FILE_BYTES), ("b.proto", b"b" * (MAX_FILE_BYTES + 1)))
    assert refused(data) == [("b.proto", "file_too_large")]


@both
def test_all_files_together_are_bounded(make):
    entries = [(f"{n}.proto", bytes(1_000_000)) for n in range(10)]
    assert len(read(make(*entries), limit=10_000_000)) == 10
    with pytest.raises(ArchiveTooLarge, match=r"more than 9999999 bytes at 9.proto"):
        read(make(*entries), limit=9_999_999)


@both
def test_too_many_files_are_refused(make):
    assert len(read(make(*((f"{n}.proto", b"") for n in range(MAX_FILES))))) == MAX_FILES
    assert refused(make(*((f"{n}.proto", b"") for n in range(10_000)))) == [
        (None, "too_many_files")
    ]


def test_a_zip_of_very_many_entries_is_not_even_listed():
    assert refused(zipped(*((f"{n:060}/", b"") for n in range(45_000)))) == [
        (None, "too_many_files")
    ]


def test_a_tar_of_very_many_folders_is_refused():
    data = tar(*((f"{n}", tarfile.DIRTYPE) for n in range(10_001)))
    assert refused(data) == [(None, "too_many_files")]


@pytest.mark.parametrize(
    "bomb",
    [
        # What is not announced: gigabytes of zeros behind the header of a small file.
        lambda: gzip.compress(tar(("a.proto", b"x" * 9), mode="w") + bytes(200_000_000)),
        # What a header announces: a header of a gigabyte, a file of eight.
        lambda: gzip.compress(header(b"x", 1 << 30) + bytes(200_000_000)),
        lambda: gzip.compress(header(b"L", 1 << 30) + bytes(200_000_000)),
        lambda: gzip.compress(header(b"0", 1 << 33) + bytes(200_000_000)),
        lambda: gzip.compress(header(b"5", 1 << 33) + bytes(200_000_000)),
    ],
)
def test_bombs_take_no_memory(bomb):
    data = bomb()
    tracemalloc.start()
    with pytest.raises((ArchiveRefused, ArchiveTooLarge)):
        read(data, limit=10_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def header(kind: bytes, size: int) -> bytes:
    """A tar header of any kind and size."""
    info = tarfile.TarInfo("a.proto")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def test_a_zip_bomb_is_stopped_at_the_first_file():
    data = zipped(*((f"{n}.proto", bytes(MAX_FILE_BYTES)) for n in range(20)))
    assert len(data) < 100_000
    with pytest.raises(ArchiveTooLarge):
        read(data)
    lying = bytearray(zipped(("a.proto", bytes(50_000_000))))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = lying.index(mark) + offset
        lying[at : at + 4] = struct.pack("<I", 10)
    assert refused(bytes(lying)) == [(None, "invalid_archive")]


def test_an_extended_header_that_is_none_is_refused():
    body = b"30 path=a.proto\nleftover".ljust(512, b"\x00")
    data = gzip.compress(header(b"x", 24) + body)
    assert refused(data) == [("a.proto", "invalid_archive")]


def test_an_extended_header_has_a_bounded_number_of_records():
    """A kilobyte of gzip is millions of them, each read by itself."""

    def with_records(number: int) -> bytes:
        records = b"5 a=\n" * number
        extended = header(b"x", len(records)) + records + bytes(-len(records) % 512)
        return gzip.compress(extended + tar(("b.proto", b"bbb"), mode="w"))

    assert read(with_records(MAX_RECORDS)) == [Entry("b.proto", b"bbb")]
    assert refused(with_records(MAX_RECORDS + 1)) == [("a.proto", "invalid_archive")]


def test_a_zip_on_disk_that_points_before_its_beginning_is_refused():
    """Of a file in memory the seek is a ValueError, of one on disk an OSError."""
    whole = bytearray(zipped(("a.proto", b"content" * 20)))
    at = whole.rindex(b"PK\x05\x06") + 16
    for place in (b"\xff\xff\xff\x7f", b"\xfe\xff\xff\xff"):
        whole[at : at + 4] = place
        with tempfile.TemporaryFile() as file:
            file.write(whole)
            file.seek(0)
            with pytest.raises(ArchiveRefused, match="lies outside"):
                read_archive(file, limit=LIMIT)


def test_nul_in_a_zip_name_is_not_cut_off():
    data = zipped(("a.proto0.sh", b"x")).replace(b"a.proto0.sh", b"a.proto\x00.sh")
    assert refused(data) == [("a.proto\ufffd.sh", "invalid_path")]


@pytest.mark.parametrize(
    "data", [b"", b"P", b"PK", b"hello", b"\x1f\x8b", b"PK\x05\x06" + bytes(18)]
)
def test_what_is_no_archive_is_refused(data):
    if data.startswith(b"PK\x05"):
        assert read(data) == []
    else:
        assert refused(data) == [(None, "invalid_archive")]


@settings(max_examples=200, deadline=None)
@given(data=st.data(), make=st.sampled_from([tar, zipped]))
def test_damage_and_cuts_end_in_a_refusal_or_in_files(data, make):
    whole = make(("a.proto", b"content" * 20), ("b/c.proto", b"more" * 30))
    if data.draw(st.booleans()):
        broken = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        broken = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    try:
        entries = read(broken)
    except (ArchiveRefused, ArchiveTooLarge):
        return
    assert all(not entry.path.startswith(("/", "..")) for entry in entries)


@pytest.mark.parametrize("value", [0x00, 0x01, 0x7F, 0xFF])
def test_no_single_byte_of_a_zip_breaks_the_reader(value):
    whole = zipped(("a.proto", b"content" * 20), ("b/c.proto", b"more" * 30))
    for at in range(len(whole)):
        with contextlib.suppress(ArchiveRefused, ArchiveTooLarge):
            read(whole[:at] + bytes([value]) + whole[at + 1 :])


def test_a_cut_off_archive_is_never_taken_for_a_whole_one():
    for make in MAKERS.values():
        whole = make(("a.proto", b"content" * 20), ("b/c.proto", b"more" * 30))
        for length in range(2, len(whole)):
            with pytest.raises(ArchiveRefused):
                read(whole[:length])


@pytest.mark.parametrize("write", [write_tar_gz, write_zip])
def test_what_is_written_is_read_back_and_always_the_same(write):
    files = [Entry("a/" + "x" * 200 + ".proto", b"1" * 9_999), Entry("ü.md", b"")]
    first, second = io.BytesIO(), io.BytesIO()
    write(files, first)
    write(files, second)
    assert first.getvalue() == second.getvalue()
    assert read(first.getvalue()) == files
