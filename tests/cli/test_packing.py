"""What of a folder is pushed, and that it comes back as it was."""

import io
import os
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry import files as rules
from spoke.cli import packing
from spoke.cli.errors import UsageProblem
from spoke.cli.packing import collect, pack
from spoke.cli.unpacking import unpack

SOURCE = 'syntax = "proto3";\n'


def write(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(SOURCE)


def packed(folder) -> bytes:
    target = io.BytesIO()
    pack(collect(folder), target)
    return target.getvalue()


def test_what_the_server_takes_is_pushed_and_nothing_else(tmp_path):
    write(tmp_path, "b/x.proto", "a.proto", "README.md", "LICENSE", "buf.lock", "c/d.yaml")
    write(tmp_path, ".git/x.proto", ".hidden.proto", "x.py", "LICENSE.exe", "b/.proto", ".txt")
    assert [file.path for file in collect(tmp_path)] == [
        "LICENSE",
        "README.md",
        "a.proto",
        "b/x.proto",
        "buf.lock",
        "c/d.yaml",
    ]


def test_the_server_s_rules_are_the_client_s():
    assert packing.EXTENSIONS == rules.EXTENSIONS
    assert packing.NAMES == rules.NAMES_WITHOUT_EXTENSION
    assert packing.MAX_FILES == rules.MAX_FILES
    assert packing.MAX_FILE_BYTES == rules.MAX_FILE_BYTES


def test_what_spokeignore_names_is_left_out(tmp_path):
    write(
        tmp_path, "a.proto", "gen/b.proto", "vendor/c.proto", "vendor/keep.proto", "x/gen/d.proto"
    )
    (tmp_path / ".spokeignore").write_text("# generated\n/gen/\nvendor/*\n!vendor/keep.proto\n")
    assert [file.path for file in collect(tmp_path)] == [
        "a.proto",
        "vendor/keep.proto",
        "x/gen/d.proto",
    ]


def test_what_package_managers_put_there_is_left_out_unless_it_is_wanted(tmp_path):
    write(tmp_path, "a.proto", "node_modules/b.proto", "x/node_modules/c.json", "__pycache__/d.txt")
    assert [file.path for file in collect(tmp_path)] == ["a.proto"]
    (tmp_path / ".spokeignore").write_text("!node_modules/\n/x/\n")
    assert [file.path for file in collect(tmp_path)] == ["a.proto", "node_modules/b.proto"]


def test_a_file_that_the_server_would_refuse_is_not_sent(tmp_path):
    write(tmp_path, "a.proto")
    (tmp_path / "data.json").write_bytes(b" " * (4 * 1024**2))
    assert len(collect(tmp_path)) == 2
    (tmp_path / "data.json").write_bytes(b" " * (4 * 1024**2 + 1))
    with pytest.raises(UsageProblem, match=r"data\.json has 4\.0 MiB; a file has at most 4\.0 MiB"):
        collect(tmp_path)


@pytest.mark.parametrize("target", ["a.proto", "folder", "nowhere.proto", "/etc/passwd"])
def test_links_are_refused_unless_they_are_ignored(tmp_path, target):
    write(tmp_path, "a.proto", "folder/b.proto")
    link = tmp_path / ("link" if target == "folder" else "link.proto")
    link.symlink_to(target)
    with pytest.raises(UsageProblem, match=r"link(\.proto)? is a link"):
        collect(tmp_path)
    (tmp_path / ".spokeignore").write_text("link\nlink.proto\n")
    assert [file.path for file in collect(tmp_path)] == ["a.proto", "folder/b.proto"]


def test_a_file_that_becomes_a_link_is_not_followed(tmp_path):
    write(tmp_path, "a.proto")
    found = collect(tmp_path)
    (tmp_path / "a.proto").unlink()
    (tmp_path / "a.proto").symlink_to("/etc/passwd")
    with pytest.raises(UsageProblem, match=r"a\.proto cannot be read"):
        pack(found, io.BytesIO())


def test_what_is_no_file_is_refused(tmp_path):
    write(tmp_path, "a.proto")
    os.mkfifo(tmp_path / "b.proto")
    with pytest.raises(UsageProblem, match=r"b\.proto is not a plain file"):
        collect(tmp_path)


def test_a_folder_without_proto_and_one_with_too_much(tmp_path):
    write(tmp_path, "README.md")
    with pytest.raises(UsageProblem, match=r"There is no \.proto file"):
        collect(tmp_path)
    write(tmp_path, *(f"f{number}.proto" for number in range(1000)))
    with pytest.raises(UsageProblem, match="more than 1,000 files"):
        collect(tmp_path)


def test_the_same_folder_is_the_same_archive_and_says_nothing_of_who_packed_it(tmp_path):
    write(tmp_path, "b.proto", "a.proto")
    first = packed(tmp_path)
    os.utime(tmp_path / "a.proto", (1, 1))
    (tmp_path / "a.proto").chmod(0o600)
    assert packed(tmp_path) == first
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        members = archive.getmembers()
    assert [(m.name, m.uid, m.uname, m.mtime, m.mode) for m in members] == [
        ("a.proto", 0, "", 0, 0o644),
        ("b.proto", 0, "", 0, 0o644),
    ]


NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=20)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, st.binary(max_size=5000), min_size=1, max_size=5))
def test_what_is_packed_is_unpacked_as_it_was(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("round")
    source = {
        f"d/{number}/{name}.proto": data for number, (name, data) in enumerate(contents.items())
    }
    for path, data in source.items():
        (folder / "in" / path).parent.mkdir(parents=True)
        (folder / "in" / path).write_bytes(data)
    archive = io.BytesIO(packed(folder / "in"))
    result = unpack(archive, folder / "out", force=False)
    assert sorted(result.written) == sorted(source)
    assert {path: (folder / "out" / path).read_bytes() for path in source} == source
