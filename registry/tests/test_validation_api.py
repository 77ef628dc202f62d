"""A push parses and links by the real protoc, or says where not; and what it breaks is told."""

import tempfile
from pathlib import Path

import pytest

from quotas.models import LimitOverride
from registry.models import Blob, Module, Version
from registry.protoc import Limits, run_protoc
from registry.services import validation
from registry.tests.conftest import contents_in, files, gauge, make_module, push

URL = "/orgs/acme/modules/pay/versions"
V3 = 'syntax = "proto3";\n'


@pytest.fixture(autouse=True)
def module(owner):
    return make_module(owner)


def nothing_left(cast, stored):
    assert not Version.objects.exists()
    assert not Blob.objects.exists()
    assert contents_in(stored) == []
    assert gauge("storage", cast.org.pk) == 0
    assert not list(Path(tempfile.gettempdir()).iterdir())


def test_files_import_each_other_and_the_well_known_types(owner):
    body = [
        {
            "path": "acme/v1/a.proto",
            "content": V3 + 'package acme.v1; import "google/protobuf/timestamp.proto";'
            " message A { google.protobuf.Timestamp at = 1; }",
        },
        {
            "path": "acme/v1/b.proto",
            "content": V3 + 'package acme.v1; import "acme/v1/a.proto"; message B { A a = 1; }',
        },
    ]
    assert push(owner, "1.0.0", body).status_code == 201


def test_faults_name_file_line_and_column(owner, cast, stored):
    body = files(a=V3 + 'import "missing.proto";\nmessage A {\n  Gone gone = 1;\n}\n')
    response = push(owner, "1.0.0", body)
    assert response.status_code == 400
    problem = response.json()
    assert problem["code"] == "invalid_proto"
    assert {
        "field": "files/a.proto",
        "code": "invalid_proto",
        "detail": 'Import "missing.proto" was not found or had errors.',
        "line": 2,
        "column": 1,
    } in problem["errors"]
    places = {(e["field"], e["line"], e["column"]) for e in problem["errors"]}
    assert ("files/a.proto", 4, 3) in places
    nothing_left(cast, stored)


@pytest.mark.parametrize(
    "name", ["--python_out=x.proto", "@x.proto", "-I.proto", "a b.proto", "ü.proto"]
)
def test_names_are_names_whatever_they_begin_with(owner, name):
    body = [{"path": name, "content": V3 + "message A {}"}]
    assert push(owner, "1.0.0", body).status_code == 201
    response = push(owner, "1.1.0", [{"path": name, "content": V3 + "x"}])
    assert [e["field"] for e in response.json()["errors"]] == [f"files/{name}"]


def chain(length: int) -> list[dict[str, str]]:
    """Files that each import the next, around in a circle where the last imports the first."""
    return [
        {"path": f"{n}.proto", "content": f'{V3}import "{n + 1}.proto"; message M{n} {{}}'}
        for n in range(length)
    ] + [{"path": f"{length}.proto", "content": V3}]


def test_fifty_levels_of_imports_are_fine_and_nine_hundred_end(owner):
    assert push(owner, "1.0.0", chain(50)).status_code == 201
    response = push(owner, "1.1.0", chain(900))
    assert response.status_code in (201, 400), response.content
    after = push(owner, "1.2.0")
    assert after.status_code == 201, after.content


def test_imports_in_a_circle_are_named(owner, cast, stored):
    body = chain(3)
    body[-1]["content"] = V3 + 'import "0.proto";'
    response = push(owner, "1.0.0", body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_proto")
    assert any("File recursively imports itself" in e["detail"] for e in response.json()["errors"])
    nothing_left(cast, stored)


@pytest.mark.parametrize(
    "text",
    [
        "message A {" * 5_000 + "}" * 5_000,
        "message A { oneof x {" + "string a = 1;" * 20_000 + "} }",
        "message A { option (x) = " + "{a:" * 20_000 + "}" * 20_000 + "; }",
        "/*" * 500_000,
        '"' + "\\" * 1_000_000,
        "message A { int32 a = 536870912; }",
        'import "/etc/passwd";',
        'import "../../../../etc/passwd";',
    ],
)
def test_hostile_files_are_a_400_and_the_server_goes_on(owner, cast, stored, text):
    response = push(owner, "1.0.0", files(a=V3 + text))
    assert response.status_code == 400
    assert response.json()["code"] in ("invalid_proto", "compiler_failed")
    assert b"root:" not in response.content
    nothing_left(cast, stored)
    assert push(owner, "1.0.0").status_code == 201


def test_a_compiler_that_crashes_or_hangs_is_a_400(owner, cast, stored, monkeypatch):
    """As in test_protoc, a program in protoc's place, in the same cage."""
    commands = {
        "compiler_failed": "kill -SEGV $$",
        "compiler_timeout": "while :; do :; done",
    }
    for code, command in commands.items():
        with monkeypatch.context() as patch:
            patch.setattr(validation, "LIMITS", Limits(wall_seconds=1.0))
            shell = ["/bin/sh", "-c", command]
            patch.setattr("registry.protoc._program", lambda compiler, shell=shell: shell)
            response = push(owner, "1.0.0")
        assert (response.status_code, response.json()["code"]) == (400, code)
        nothing_left(cast, stored)


def test_a_compiler_that_cannot_start_is_a_503(owner, cast, stored, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("registry.protoc.sys.executable", "/nowhere/python")
        response = push(owner, "1.0.0")
    assert (response.status_code, response.json()["code"]) == (503, "compiler_unavailable")
    nothing_left(cast, stored)


def test_many_faults_are_cut(owner):
    body = files(a=V3 + "".join(f"message M{n} {{ X{n} x = 1; }}\n" for n in range(500)))
    errors = push(owner, "1.0.0", body).json()["errors"]
    assert len(errors) == 100


OLD = files(a=V3 + "package p; message M { string a = 1; int32 b = 2; }")
NEW = files(a=V3 + "package p; message M { string a = 1; int64 b = 2; }")
CHANGE = {
    "rule": "field_type_changed",
    "path": "a.proto",
    "element": "p.M.b",
    "message": 'Field "b" (2) was int32 and is int64 now.',
}


def test_what_a_push_breaks_is_told(owner):
    assert push(owner, "1.0.0", OLD).json()["breaking_changes"] == []
    response = push(owner, "1.1.0", NEW)
    assert response.status_code == 201
    assert response.json()["breaking_changes"] == [CHANGE]
    assert push(owner, "1.2.0", NEW).json()["breaking_changes"] == []


def test_a_module_may_refuse_it_unless_the_major_number_rises(owner, cast, module, stored):
    owner.patch("/orgs/acme/modules/pay", {"breaking_policy": "refuse"})
    assert push(owner, "1.0.0", OLD).status_code == 201
    before = contents_in(stored)
    response = push(owner, "1.1.0", NEW)
    assert (response.status_code, response.json()["code"]) == (409, "breaking_change")
    assert response.json()["breaking_changes"] == [CHANGE]
    assert Version.objects.count() == 1
    assert contents_in(stored) == before
    assert gauge("versions", cast.org.pk, module["id"]) == 1
    # An added field breaks nothing.
    more = files(a=OLD[0]["content"] + " message N {}")
    assert push(owner, "1.1.0", more).status_code == 201
    response = push(owner, "2.0.0", NEW)
    assert response.status_code == 201
    assert [change["rule"] for change in response.json()["breaking_changes"]] == [
        "field_type_changed",
        "message_removed",
    ]
    # Compared with the version before by precedence, not by time.
    assert push(owner, "1.0.1", OLD).json()["breaking_changes"] == []


def test_a_release_is_held_to_the_release_before_and_pre_releases_to_none(owner):
    owner.patch("/orgs/acme/modules/pay", {"breaking_policy": "refuse"})

    def answer(version, content):
        response = push(owner, version, content)
        body = response.json()
        return response.status_code, body["compared_with"], len(body["breaking_changes"])

    third = files(a=V3 + "package p; message M { string a = 1; bytes b = 2; }")
    # Where there are only pre-releases, each may break the one before, and tells it.
    assert answer("1.0.0-alpha.1", OLD) == (201, None, 0)
    assert answer("1.0.0-alpha.2", NEW) == (201, "1.0.0-alpha.1", 1)
    assert answer("1.0.0", OLD) == (201, "1.0.0-alpha.2", 1)
    # A candidate is held to what its release will be held to, and is not compared with afterwards.
    assert answer("1.1.0-rc.1", NEW) == (409, "1.0.0", 1)
    assert answer("2.0.0-alpha.1", NEW) == (201, "1.0.0", 1)
    assert answer("2.0.0-alpha.2", third) == (201, "1.0.0", 1)
    assert answer("2.0.0", third) == (201, "1.0.0", 1)
    assert answer("2.0.1", NEW) == (409, "2.0.0", 1)
    assert "1 promise of version 2.0.0. Keep it," in push(owner, "2.0.1", NEW).json()["detail"]
    assert answer("1.0.1-rc.1", OLD) == (201, "1.0.0", 0)


def test_before_one_the_minor_number_says_so(owner):
    owner.patch("/orgs/acme/modules/pay", {"breaking_policy": "refuse"})
    assert push(owner, "0.1.0", OLD).status_code == 201
    assert push(owner, "0.1.1", NEW).status_code == 409
    assert push(owner, "0.2.0", NEW).status_code == 201
    owner.patch("/orgs/acme/modules/pay", {"breaking_policy": "ignore"})
    response = push(owner, "0.2.1", OLD)
    assert (response.status_code, response.json()["breaking_changes"]) == (201, [])


def test_a_yanked_version_is_not_compared_with(owner):
    owner.patch("/orgs/acme/modules/pay", {"breaking_policy": "refuse"})
    push(owner, "1.0.0", OLD)
    push(owner, "1.1.0", files(a=OLD[0]["content"] + " message Mistake {}"))
    assert push(owner, "1.1.1", OLD).status_code == 409
    owner.post(f"{URL}/1.1.0/yank", {"reason": "a mistake"})
    assert push(owner, "1.1.1", OLD).status_code == 201


def test_an_unknown_policy_is_refused(owner):
    response = owner.patch("/orgs/acme/modules/pay", {"breaking_policy": "panic"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "breaking_policy"
    assert Module.objects.get().breaking_policy == "warn"


def test_a_dry_run_checks_all_and_stores_nothing(owner, cast, module, stored):
    response = owner.post(f"{URL}?dry_run=true", {"version": "1.0.0", "files": OLD})
    assert response.status_code == 200
    body = response.json()
    assert (body["dry_run"], body["version"], body["breaking_changes"]) == (True, "1.0.0", [])
    assert [file["path"] for file in body["files"]] == ["a.proto"]
    assert body["size_bytes"] == len(OLD[0]["content"])
    nothing_left(cast, stored)
    bad = {"version": "1.0.0", "files": files(a=V3 + "x")}
    assert owner.post(f"{URL}?dry_run=true", bad).json()["code"] == "invalid_proto"
    push(owner, "1.0.0", OLD)
    same = {"version": "1.0.0", "files": OLD}
    assert owner.post(f"{URL}?dry_run=1", same).json()["code"] == "version_exists"
    new = {"version": "1.1.0", "files": NEW}
    assert owner.post(f"{URL}?dry_run=true", new).json()["breaking_changes"] == [CHANGE]
    owner.patch("/orgs/acme/modules/pay", {"breaking_policy": "refuse"})
    assert owner.post(f"{URL}?dry_run=true", new).json()["code"] == "breaking_change"
    LimitOverride.objects.create(
        org=cast.org, resource="versions", limit=1, created_at=cast.org.created_at
    )
    assert owner.post(f"{URL}?dry_run=true", new).json()["code"] == "quota_exceeded"
    assert Version.objects.count() == 1
    assert gauge("versions", cast.org.pk, module["id"]) == 1


def faults(response):
    assert response.json()["code"] == "invalid_proto"
    return [(e["field"], e["line"], e["column"], e["detail"]) for e in response.json()["errors"]]


def test_every_file_that_is_faulty_by_itself_is_told_and_no_other(owner, cast, stored):
    head = V3 + "package p; "
    taken = (
        'Field number 1 has already been used in "p.{}" by field "x".'
        " Next available field number is {}."
    )
    body = files(
        z=head + "message Z { int32 x }",
        base=head + "message Base {\n int32 x = 1; int32 y = 1; }",
        # Nothing is wrong with these but what they import, directly or through another.
        user=head + 'import "base.proto"; message User { Base base = 1; p.Base other = 2; }',
        further=head + 'import "user.proto"; message Further { User user = 1; }',
        # Faults of its own beside the one it imports.
        both=head
        + 'import "base.proto"; message Both {\n Base x = 1; Nothing n = 2; int32 z = 1; }',
        missing=head + 'import "not/there.proto"; message M {}',
        good=head + "message Good {}",
    )
    response = push(owner, "1.0.0", body)
    assert response.status_code == 400
    assert faults(response) == [
        ("files/base.proto", 3, 25, taken.format("Base", 2)),
        ("files/both.proto", 3, 14, '"Nothing" is not defined.'),
        ("files/both.proto", 3, 39, taken.format("Both", 3)),
        ("files/missing.proto", 2, 12, 'Import "not/there.proto" was not found or had errors.'),
        ("files/z.proto", 2, 32, "Missing field number."),
    ]
    assert response.json()["detail"].startswith(
        "The files do not compile: base.proto: Field number"
    )
    nothing_left(cast, stored)
    assert faults(push(owner, "1.0.0", body[::-1])) == faults(response)


def test_an_extension_that_a_faulty_file_defines_is_not_missed(owner):
    options = (
        'import "google/protobuf/descriptor.proto";'
        " extend google.protobuf.FieldOptions { string mark = 50000; }"
    )
    body = files(
        a=f'{V3}import "options.proto"; message A {{ string a = 1 [(mark) = "x"]; }}',
        options=f"{V3}{options} message O {{ Gone gone = 1; }}",
    )
    assert [row[0] for row in faults(push(owner, "1.0.0", body))] == ["files/options.proto"]


def test_a_fault_in_each_of_a_thousand_files_is_told_in_two_runs(owner, monkeypatch):
    runs = []

    def counted(**options):
        runs.append(options)
        return run_protoc(**options)

    monkeypatch.setattr(validation, "run_protoc", counted)
    body = files(
        **{f"f{n:03}": f"{V3}message M{n} {{ Gone{n} a = 1; Lost b = 2; }}" for n in range(1000)}
    )
    response = push(owner, "1.0.0", body)
    assert [row[0] for row in faults(response)] == [f"files/f{n:03}.proto" for n in range(100)]
    assert response.json()["detail"].endswith("Of 2000 errors 100 are listed.")
    assert len(runs) == 2


def test_what_the_search_does_not_end_is_told_as_far_as_it_is_known(
    owner, cast, stored, monkeypatch
):
    monkeypatch.setattr(validation, "SEARCH_SECONDS", 0.0)
    body = files(a=V3 + "message A { Gone g = 1; }", b=V3 + "message B { Gone g = 1; }")
    assert [row[0] for row in faults(push(owner, "1.0.0", body))] == ["files/a.proto"]
    nothing_left(cast, stored)
