"""What is compiled, how protoc is asked, and archives: pure rules."""

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.compile_models import Language
from registry.compiling import (
    Input,
    Options,
    arguments_for,
    digest_of,
    without_shadowed,
    write_archive,
)

PYTHON = Options(language=Language.PYTHON)
OWN = Input(root=0, path="a.proto", org_id=1, digest="11")
OTHER = Input(root=1, path="b.proto", org_id=2, digest="22")


def digest(*inputs, options=PYTHON, compiler="protoc 1"):
    return digest_of(inputs=inputs, options=options, compiler=compiler)


def test_the_digest_stands_for_all_that_the_archive_depends_on():
    different = [
        digest(OWN, OTHER),
        digest(OWN),
        digest(replace(OWN, path="c.proto"), OTHER),
        digest(replace(OWN, digest="33"), OTHER),
        digest(OWN, replace(OTHER, digest="33")),
        digest(OWN, replace(OTHER, root=0)),
        digest(OWN, OTHER, compiler="protoc 2"),
        digest(OWN, OTHER, options=replace(PYTHON, grpc=True)),
        digest(OWN, OTHER, options=replace(PYTHON, include_dependencies=True)),
        digest(OWN, OTHER, options=replace(PYTHON, language=Language.CPP)),
    ]
    assert len(set(different)) == len(different)


def test_the_digest_depends_on_nothing_else():
    assert digest(OTHER, OWN) == digest(OWN, OTHER)
    assert digest(OWN, replace(OTHER, org_id=7, root=3)) == digest(OWN, OTHER)


def test_what_an_earlier_import_root_has_is_what_protoc_finds():
    shadowed = Input(root=2, path="a.proto", org_id=3, digest="99")
    assert without_shadowed([OWN, OTHER, shadowed]) == [OWN, OTHER]


def test_only_the_versions_own_files_are_generated_unless_asked():
    told = {"plugins": ["python", "pyi"], "roots": "in", "out": "out"}
    assert arguments_for(inputs=[OWN, OTHER], options=PYTHON, **told) == [
        "--proto_path=in/0",
        "--proto_path=in/1",
        "--python_out=out",
        "--pyi_out=out",
        "in/0/a.proto",
    ]
    everything = replace(PYTHON, include_dependencies=True)
    arguments = arguments_for(inputs=[OWN, OTHER], options=everything, **told)
    assert arguments[-2:] == ["in/0/a.proto", "in/1/b.proto"]


def test_a_path_that_looks_like_an_option_is_a_file():
    entry = replace(OWN, path="--python_out=/tmp/x.proto")
    arguments = arguments_for(inputs=[entry], options=PYTHON, plugins=[], roots="in", out="out")
    assert arguments[-1] == "in/0/--python_out=/tmp/x.proto"


NAMES = st.lists(
    st.text("abcdefg", min_size=1, max_size=4), min_size=1, max_size=3, unique=True
).map("/".join)


# Small sets, and no hurry: each example writes files.
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(files=st.dictionaries(NAMES, st.binary(max_size=200), max_size=6), data=st.data())
def test_the_same_files_give_the_same_bytes(tmp_path_factory, files, data):
    names = sorted(files)
    kept = [n for n in names if not any(other.startswith(f"{n}/") for other in names)]
    made = []
    for order in (kept, data.draw(st.permutations(kept))):
        folder = tmp_path_factory.mktemp("archive")
        for number, name in enumerate(order):
            target = folder / "out" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(files[name])
            target.chmod(0o600 if number % 2 else 0o755)
            os.utime(target, (number * 10**6, number * 10**6))
        (folder / "out").mkdir(exist_ok=True)
        made.append(write_archive(folder=folder / "out", target=folder / "a.zip"))
    assert made[0].file.read_bytes() == made[1].file.read_bytes()
    assert made[0].sha256 == made[1].sha256
    assert made[0].files == len(kept)
    assert made[0].size_bytes == made[0].file.stat().st_size
    with zipfile.ZipFile(made[0].file) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(kept)
        assert {name: archive.read(name) for name in kept} == {n: files[n] for n in kept}
        assert {info.date_time for info in archive.infolist()} <= {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr >> 16 for info in archive.infolist()} <= {0o100644}


def test_a_link_is_not_followed(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").write_text("a")
    (tmp_path / "out/secret").symlink_to("/etc/hostname")
    archive = write_archive(folder=tmp_path / "out", target=tmp_path / "a.zip")
    assert zipfile.ZipFile(archive.file).namelist() == ["a"]


@pytest.mark.parametrize("language", Language)
def test_every_language_has_its_generator(language):
    arguments = arguments_for(
        inputs=[OWN],
        options=Options(language=language),
        plugins=["csharp"] if language is Language.CSHARP else ["x"],
        roots="in",
        out="out",
    )
    assert ("--csharp_opt=base_namespace=" in arguments) == (language is Language.CSHARP)
