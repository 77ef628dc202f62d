"""The rules for paths."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.files import MAX_PATH_LENGTH, PushedFile, has_proto, path_problem, set_problems

GOOD = """
a.proto acme/v1/user.proto README.md LICENSE acme/NOTICE buf.yaml buf.lock docs/intro.txt x.json
acme/v1/Ünïcode.proto .github/x.yml a..b/c.proto ...proto
""".split()  # noqa: SIM905
BAD = {
    "": "blank",
    "/a.proto": "invalid_path",
    "a//b.proto": "invalid_path",
    "a/": "invalid_path",
    "./a.proto": "invalid_path",
    "a/../b.proto": "invalid_path",
    "../a.proto": "invalid_path",
    "a\\b.proto": "invalid_path",
    "a\x00.proto": "invalid_path",
    "a\n.proto": "invalid_path",
    "a\x7f.proto": "invalid_path",
    "a\u202e.proto": "invalid_path",
    "a\u200b.proto": "invalid_path",
    "a\u00a0.proto": "invalid_path",
    " a.proto": "invalid_path",
    "a /b.proto": "invalid_path",
    "a./b.proto": "invalid_path",
    "a:b.proto": "invalid_path",
    "a*.proto": "invalid_path",
    'a"b.proto': "invalid_path",
    "a|b/c?.proto": "invalid_path",
    unicodedata.normalize("NFD", "é.proto"): "invalid_path",
    "a.PROTO": "unsupported_file_type",
    ".proto": "unsupported_file_type",
    "a/.proto": "unsupported_file_type",
    "a.exe": "unsupported_file_type",
    "proto": "unsupported_file_type",
    "license": "unsupported_file_type",
    "a.proto.sh": "unsupported_file_type",
    "a" * 507 + ".proto": "max_length",
    "ä" * 125 + ".proto": "max_length",
}


@pytest.mark.parametrize("path", GOOD)
def test_good_paths(path):
    assert path_problem(path) is None


@pytest.mark.parametrize(("path", "code"), BAD.items(), ids=[repr(path)[:30] for path in BAD])
def test_bad_paths(path, code):
    problem = path_problem(path)
    assert problem is not None
    assert problem.code == code


def test_the_longest_path():
    path = "/".join(["a" * 127] * 4)[:-6] + ".proto"
    assert len(path) == 511
    assert path_problem("b" + path) is None
    assert len("b" + path) == MAX_PATH_LENGTH
    assert path_problem("bb" + path) is not None


plain = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
wild = st.one_of(plain, plain, st.text(max_size=8), st.sampled_from(["", ".", "..", "a\\b"]))


@given(st.lists(wild, min_size=1, max_size=4).map("/".join), st.sampled_from([".proto", ".md", ""]))
def test_what_passes_is_safe_to_unpack(stem, extension):
    path = stem + extension
    if path_problem(path) is not None:
        return
    segments = path.split("/")
    assert all(segment not in ("", ".", "..") for segment in segments)
    assert "\\" not in path
    assert "\x00" not in path
    assert all(unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in path)
    assert unicodedata.normalize("NFC", path) == path
    assert len(path) <= 512


@pytest.mark.parametrize(
    ("paths", "problems"),
    [
        (["a.proto", "b.proto", "v1/a.proto"], {}),
        (["a.proto", "a.proto"], {1: "duplicate_path"}),
        (["a.proto", "A.proto"], {1: "case_conflict"}),
        (["straße.proto", "STRASSE.proto"], {1: "case_conflict"}),
        (["v1/a.proto", "V1/b.proto"], {1: "case_conflict"}),
        (["a.proto", "a.proto/b.proto"], {1: "file_is_folder"}),
        (["a.proto/b.proto", "a.proto"], {1: "file_is_folder"}),
        (["a.proto/b.proto", "A.proto"], {1: "file_is_folder"}),
        (
            ["x/a.proto", "b.proto", "x/a.proto", "x/A.proto"],
            {2: "duplicate_path", 3: "case_conflict"},
        ),
    ],
)
def test_paths_beside_each_other(paths, problems):
    assert {i: problem.code for i, problem in set_problems(paths).items()} == problems


segments = st.sampled_from(["a", "A", "b", "a.proto", "A.proto"])


@given(st.lists(st.lists(segments, min_size=1, max_size=3).map("/".join), max_size=8))
def test_what_passes_together_unpacks_on_a_case_insensitive_system(paths):
    problems = set_problems(paths)
    kept = [path for index, path in enumerate(paths) if index not in problems]
    names = [path.casefold() for path in kept]
    assert len(set(names)) == len(names)
    for name in names:
        assert not any(other.startswith(name + "/") for other in names)


def test_a_version_needs_a_definition():
    assert has_proto(["README.md", "a/b.proto"])
    assert not has_proto(["README.md", "proto"])


def test_digest_is_the_sha_256_in_hex():
    file = PushedFile("a.proto", b"abc")
    assert file.digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_folders_are_counted_whatever_they_hold():
    deep = "/".join(["a"] * 250)
    paths = [f"{number}/{deep}/x.proto" for number in range(4)]
    assert set_problems(paths[:3]) == {}
    problems = set_problems(paths)
    assert {at: problem.code for at, problem in problems.items()} == {3: "too_many_folders"}
    assert set_problems([f"{deep}/{number}.proto" for number in range(1_000)]) == {}
