"""Hostile, damaged and harmless archives: nothing lies outside the folder, nothing is lost in it."""

import io
import shutil
import stat
import tarfile
import tempfile
import zipfile

import pytest

from spoke.cli import unpacking
from spoke.cli.unpacking import UnsafeArchive, WouldOverwrite, unpack


def tar_of(*members: tuple[str, bytes], more: tuple[tarfile.TarInfo, ...] = ()) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return made


def zip_of(*members: tuple[str, bytes], mode: int = 0) -> io.BytesIO:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return made


@pytest.fixture
def into(tmp_path):
    return tmp_path / "in" / "out"


def nothing_written(tmp_path, into) -> bool:
    return not into.exists() and list(tmp_path.rglob("*")) in ([], [into.parent])


PATHS = [
    "/abs.proto",
    "../up.proto",
    "C:/x.proto",
    "a/../../up.proto",
    "a//b",
    "./a",
    "a\\b",
    "a\nb",
    "..",
]


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("path", PATHS)
def test_paths_that_lead_elsewhere_are_refused(tmp_path, into, make, path):
    with pytest.raises(UnsafeArchive, match="leads elsewhere"):
        unpack(make(("good.proto", b"1"), (path, b"2")), into, force=True)
    assert nothing_written(tmp_path, into)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_are_refused(tmp_path, into, kind):
    info = tarfile.TarInfo("evil")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(UnsafeArchive, match="link or device: evil"):
        unpack(tar_of(("good.proto", b"1"), more=(info,)), into, force=True)
    assert nothing_written(tmp_path, into)


def test_a_link_in_a_zip_is_refused(tmp_path, into):
    with pytest.raises(UnsafeArchive, match="no plain file: evil"):
        unpack(zip_of(("evil", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), into, force=True)
    assert nothing_written(tmp_path, into)


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_names_that_are_one_file_on_some_systems_are_refused(tmp_path, into, make):
    with pytest.raises(UnsafeArchive, match=r"A\.proto twice"):
        unpack(make(("a.proto", b"1"), ("A.proto", b"2")), into, force=True)
    assert nothing_written(tmp_path, into)


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_a_bomb_is_refused_by_what_it_says_of_itself(tmp_path, into, make, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_BYTES", 1000)
    with pytest.raises(UnsafeArchive, match="larger than any"):
        unpack(make(("a", bytes(600)), ("b", bytes(600))), into, force=True)
    monkeypatch.setattr(unpacking, "MAX_FILES", 1)
    with pytest.raises(UnsafeArchive, match="larger than any"):
        unpack(make(("a", b""), ("b", b"")), into, force=True)
    assert nothing_written(tmp_path, into)


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_what_is_damaged_is_refused_wherever_it_is(tmp_path, into, make):
    whole = make(("a.proto", bytes(range(256)) * 20), ("b.proto", b"x" * 999)).getvalue()
    for at in (0, 3, len(whole) // 2):
        with pytest.raises(UnsafeArchive):
            unpack(io.BytesIO(whole[:at]), into, force=True)
    assert nothing_written(tmp_path, into)


@pytest.mark.parametrize("digests", [{"a.proto": "0" * 64}, {}, {"b.proto": "0" * 64}])
def test_what_is_not_as_announced_is_refused(tmp_path, into, digests):
    with pytest.raises(UnsafeArchive, match=r"not what the version says it holds: a\.proto"):
        unpack(tar_of(("a.proto", b"1")), into, force=True, digests=digests)
    assert nothing_written(tmp_path, into)


def test_other_content_stays_unless_forced(into):
    unpack(tar_of(("a.proto", b"1"), ("b/c.proto", b"2")), into, force=False)
    changed = tar_of(("a.proto", b"1"), ("b/c.proto", b"3"), ("new.proto", b"4"))
    with pytest.raises(WouldOverwrite) as refused:
        unpack(changed, into, force=False)
    assert refused.value.lines == [str(into / "b/c.proto")]
    assert not (into / "new.proto").exists()
    assert (into / "b/c.proto").read_bytes() == b"2"
    result = unpack(changed, into, force=True)
    assert (result.written, result.unchanged) == (["b/c.proto", "new.proto"], ["a.proto"])
    assert (into / "b/c.proto").read_bytes() == b"3"


def test_the_same_again_changes_nothing(into):
    unpack(tar_of(("a.proto", b"1")), into, force=False)
    before = (into / "a.proto").stat()
    assert unpack(tar_of(("a.proto", b"1")), into, force=False).unchanged == ["a.proto"]
    assert (into / "a.proto").stat().st_ino == before.st_ino


@pytest.mark.parametrize("force", [False, True])
def test_links_that_are_there_are_not_followed(tmp_path, into, force):
    outside = tmp_path / "outside"
    outside.mkdir()
    into.mkdir(parents=True)
    (into / "d").symlink_to(outside)
    with pytest.raises(WouldOverwrite, match="is in the way"):
        unpack(tar_of(("d/a.proto", b"1")), into, force=force)
    assert list(outside.iterdir()) == []


def test_a_link_in_a_file_s_place_is_replaced_when_forced(tmp_path, into):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    into.mkdir(parents=True)
    (into / "a.proto").symlink_to(outside)
    with pytest.raises(WouldOverwrite):
        unpack(tar_of(("a.proto", b"1")), into, force=False)
    unpack(tar_of(("a.proto", b"1")), into, force=True)
    assert outside.read_text() == "mine"
    assert (into / "a.proto").read_bytes() == b"1"
    assert not (into / "a.proto").is_symlink()


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_a_folder_is_never_replaced_by_a_file(into, make):
    (into / "a.proto").mkdir(parents=True)
    with pytest.raises(WouldOverwrite, match="it is a folder"):
        unpack(make(("a.proto", b"1")), into, force=True)


def test_files_are_as_the_umask_says_whatever_the_archive_says(into):
    info = tarfile.TarInfo("a.proto")
    info.mode = 0o6777
    unpack(tar_of(more=(info,)), into, force=False)
    assert stat.S_IMODE((into / "a.proto").stat().st_mode) & 0o7133 == 0


class Stopped(BaseException):
    """As Ctrl-C, in the middle of a file."""


def interrupted(monkeypatch, after):
    """Copying `after` files works, then somebody presses Ctrl-C."""
    left = [after]
    copy = shutil.copyfileobj

    def stop(source, target):
        if not left[0]:
            target.write(b"half")
            raise Stopped
        left[0] -= 1
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfileobj", stop)


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_what_is_interrupted_has_written_nothing(tmp_path, into, make, monkeypatch):
    archive = make(("a/b.proto", b"1"), ("c.proto", b"2"))
    with monkeypatch.context() as patch:
        interrupted(patch, after=1)
        with pytest.raises(Stopped):
            unpack(archive, into, force=False)
    assert nothing_written(tmp_path, into)
    assert unpack(archive, into, force=False).written == ["a/b.proto", "c.proto"]
    newer = make(("a/b.proto", b"3"), ("d.proto", b"4"))
    with monkeypatch.context() as patch:
        interrupted(patch, after=1)
        with pytest.raises(Stopped):
            unpack(newer, into, force=True)
    files = {p.relative_to(into).as_posix() for p in into.rglob("*") if p.is_file()}
    assert files == {"a/b.proto", "c.proto"}
    assert (into / "a/b.proto").read_bytes() == b"1"


def test_only_the_folder_itself_has_to_be_writable(tmp_path, monkeypatch):
    into = tmp_path / "around" / "into"
    into.mkdir(parents=True)
    made = []

    class Noted(tempfile.TemporaryDirectory[str]):
        def __init__(self, **options):
            made.append(options["dir"])
            super().__init__(**options)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", Noted)
    unpack(tar_of(("a", b"1")), into, force=False)
    assert (made, [p.name for p in into.iterdir()]) == ([into], ["a"])
