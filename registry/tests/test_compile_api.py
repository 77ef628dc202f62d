"""Ordering, reading and downloading, by everybody who may and may not."""

from datetime import timedelta

import pytest
from django.utils import timezone

from conftest import door
from orgs.context import SYSTEM
from quotas.resources import Resource
from quotas.services.limits import set_overrides
from registry import tasks
from registry.models import CompileArtifact, CompileJob
from registry.tests.compiling import (
    BASE,
    SOURCES,
    archive_of,
    compiled,
    counted_jobs,
    names_in,
    order,
    ordered,
    read,
    run,
)
from registry.tests.conftest import contents_in, make_module, push


def test_an_order_is_a_job_that_is_compiled_in_the_background(owner, org):
    response = order(owner)
    assert response.status_code == 202
    told = response.json()
    assert response.headers["Location"] == (
        f"/orgs/{org.org.pk}/modules/pay/versions/1.0.0/compile/{told['id']}"
    )
    assert list(told) == [
        "id",
        "status",
        "language",
        "grpc",
        "include_dependencies",
        "module",
        "version",
        "compiler",
        "cached",
        "created_at",
        "started_at",
        "finished_at",
        "error",
        "log",
        "artifact",
    ]
    assert (told["status"], told["artifact"], told["error"]) == ("queued", None, None)
    assert (told["module"], told["version"], told["language"]) == ("pay", "1.0.0", "python")
    assert told["compiler"] == "protoc 36.2"
    run(told)
    done = read(owner, told)
    assert (done["status"], done["error"], done["log"], done["cached"]) == (
        "succeeded",
        None,
        "",
        False,
    )
    assert told["created_at"] <= done["started_at"] <= done["finished_at"]
    assert done["artifact"]["files"] == 2
    assert done["artifact"]["url"].endswith(f"/compile/{told['id']}/artifact")
    assert counted_jobs(org.org.pk) == 1


def test_the_artifact_is_a_zip_with_its_sha_as_entity_tag(owner, org):
    job = compiled(owner)
    response = owner.get(f"{BASE}/{job['id']}/artifact", headers={"Accept": "application/json"})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/zip"
    assert response.headers["ETag"] == f'"{job["artifact"]["sha256"]}"'
    assert int(response.headers["Content-Length"]) == job["artifact"]["size_bytes"]
    assert 'filename="pay-1.0.0-python.zip"' in response.headers["Content-Disposition"]
    archive = b"".join(response.streaming_content)
    assert len(archive) == job["artifact"]["size_bytes"]
    assert names_in(archive) == ["acme/v1/user_pb2.py", "acme/v1/user_pb2.pyi"]
    again = owner.get(
        f"{BASE}/{job['id']}/artifact", headers={"If-None-Match": response.headers["ETag"]}
    )
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("cpp", ["acme/v1/user.pb.cc", "acme/v1/user.pb.h"]),
        ("csharp", ["Acme/V1/User.cs"]),
        ("java", ["acme/v1/UserOuterClass.java"]),
        ("objc", ["acme/v1/User.pbobjc.h", "acme/v1/User.pbobjc.m"]),
        ("php", ["Acme/V1/User.php", "GPBMetadata/Acme/V1/User.php"]),
        ("ruby", ["acme/v1/user_pb.rb"]),
    ],
)
def test_every_language(owner, org, language, expected):
    job = compiled(owner, language)
    assert job["status"] == "succeeded", job
    assert names_in(archive_of(owner, job)) == expected


def test_kotlin_has_the_java_that_it_builds_upon(owner, org):
    names = names_in(archive_of(owner, compiled(owner, "kotlin")))
    assert "acme/v1/UserOuterClass.java" in names
    assert "acme/v1/UserKt.kt" in names


def test_grpc_for_python(owner, org):
    job = compiled(owner, grpc=True)
    assert job["compiler"] == "protoc 36.2, grpcio-tools 1.85.1"
    assert names_in(archive_of(owner, job)) == [
        "acme/v1/user_pb2.py",
        "acme/v1/user_pb2.pyi",
        "acme/v1/user_pb2_grpc.py",
    ]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "language", "required"),
        ({"language": "cobol"}, "language", "invalid_choice"),
        ({"language": ["python"]}, "language", "invalid_choice"),
        ({"language": "java", "grpc": True}, "grpc", "invalid"),
        ({"language": "python", "grpc": "perhaps"}, "grpc", "invalid"),
        ({"language": "python", "include_dependencies": 7}, "include_dependencies", "invalid"),
        ({"language": "python", "plugins": []}, "plugins", "unknown_field"),
    ],
)
def test_bad_orders_name_their_field(owner, org, body, field, code):
    response = owner.post(BASE, body)
    assert response.status_code == 400
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [(field, code)]
    assert counted_jobs(org.org.pk) == 0
    with door():
        assert not CompileJob.objects.exists()


def test_at_the_limit_nothing_is_made(owner, org):
    with door():
        set_overrides(
            org_id=org.org.pk,
            actor=SYSTEM,
            limits={Resource.COMPILE_JOBS: 1},
            now=timezone.now(),
        )
    compiled(owner)
    response = order(owner, "cpp")
    assert response.status_code == 403
    told = response.json()
    assert (told["code"], told["resource"], told["current"], told["limit"]) == (
        "quota_exceeded",
        "compile_jobs",
        1,
        1,
    )
    with door():
        assert CompileJob.objects.count() == 1
    assert counted_jobs(org.org.pk) == 1
    # What is kept costs nothing, so it is given at the limit too.
    assert order(owner).status_code == 200


def test_the_same_again_is_answered_at_once_and_free(owner, org):
    first = compiled(owner)
    response = order(org.client("developer"))
    assert response.status_code == 200
    again = response.json()
    assert again["id"] != first["id"]
    assert (again["status"], again["cached"], again["error"]) == ("succeeded", True, None)
    assert again["started_at"] is None
    assert again["finished_at"] == again["created_at"]
    assert again["artifact"]["sha256"] == first["artifact"]["sha256"]
    assert archive_of(owner, again) == archive_of(owner, first)
    assert counted_jobs(org.org.pk) == 1


@pytest.mark.parametrize(
    "other", [{"grpc": True}, {"include_dependencies": True}, {"language": "cpp"}]
)
def test_other_options_are_another_job(owner, org, other):
    compiled(owner)
    assert order(owner, **other).status_code == 202
    assert counted_jobs(org.org.pk) == 2


def test_equal_content_of_another_version_is_the_same_and_of_another_organization_is_not(
    owner, org
):
    compiled(owner)
    push(owner, "1.0.1", [*SOURCES, {"path": "README.md", "content": "Other words"}])
    response = order(owner, base=BASE.replace("1.0.0", "1.0.1"))
    assert response.status_code == 200
    assert response.json()["version"] == "1.0.1"
    outsider = org.client("outsider")
    make_module(outsider, org="rival")
    body = {"version": "1.0.0", "files": SOURCES}
    assert outsider.post("/orgs/rival/modules/pay/versions", body).status_code == 201
    theirs = order(outsider, base=BASE.replace("acme", "rival"))
    assert theirs.status_code == 202
    run(theirs.json())
    assert counted_jobs(org.org.pk) == 1
    assert counted_jobs(org.other_org.pk) == 1
    with door():
        assert CompileArtifact.objects.count() == 2


def test_a_new_compiler_compiles_anew(owner, org, monkeypatch):
    compiled(owner)
    monkeypatch.setattr("registry.protoc.protoc_version", lambda: "99.1")
    job = ordered(owner)
    assert (job["status"], job["compiler"]) == ("queued", "protoc 99.1")
    assert counted_jobs(org.org.pk) == 2


def test_artifacts_are_no_storage_of_the_customer(owner, org, stored):
    before = owner.get("/orgs/acme/usage").json()["storage_bytes"]
    compiled(owner)
    assert owner.get("/orgs/acme/usage").json()["storage_bytes"] == before
    assert len([name for name in contents_in(stored) if name.endswith(".zip")]) == 1


def test_latest_is_compiled_as_the_version_it_is(owner, org):
    job = compiled(owner, base=BASE.replace("1.0.0", "latest"))
    assert job["version"] == "1.0.0"
    assert read(owner, job)["status"] == "succeeded"


def test_jobs_are_listed_newest_first_and_by_status(owner, org):
    made = [ordered(owner, language)["id"] for language in ("python", "cpp", "ruby")]
    owner.post(f"{BASE}/{made[1]}/cancel")
    listed = owner.get(BASE).json()
    assert [job["id"] for job in listed["results"]] == made[::-1]
    assert [j["id"] for j in owner.get(f"{BASE}?status=canceled").json()["results"]] == [made[1]]
    page = owner.get(f"{BASE}?limit=2").json()
    assert [job["id"] for job in page["results"]] == made[:0:-1]
    assert [job["id"] for job in owner.get(page["next"]).json()["results"]] == made[:1]
    refused = owner.get(f"{BASE}?status=lost")
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "status"


def test_an_artifact_is_ready_only_once_the_job_succeeded(owner, org):
    job = ordered(owner)
    response = owner.get(f"{BASE}/{job['id']}/artifact")
    assert response.status_code == 409
    assert (response.json()["code"], response.json()["state"]) == ("artifact_not_ready", "queued")


def test_what_a_viewer_may(owner, org):
    job = compiled(owner)
    viewer = org.client("viewer")
    assert viewer.get(BASE).status_code == 200
    assert read(viewer, job)["status"] == "succeeded"
    assert archive_of(viewer, job)
    assert order(viewer, "cpp").status_code == 403
    assert viewer.post(f"{BASE}/{job['id']}/cancel").status_code == 403
    assert counted_jobs(org.org.pk) == 1


@pytest.mark.parametrize("path", ["", "/cancel", "/artifact"])
def test_a_job_of_another_version_or_module_is_not_found(owner, org, path):
    job = ordered(owner)
    push(owner, "1.1.0", SOURCES)
    make_module(owner, "other")
    push(owner, "1.0.0", SOURCES, module="other")
    send = owner.post if path == "/cancel" else owner.get
    for base in (BASE.replace("1.0.0", "1.1.0"), BASE.replace("pay", "other")):
        assert send(f"{base}/{job['id']}{path}").status_code == 404
    assert send(f"{BASE}/{10**17}{path}").status_code == 404


def test_an_idempotency_key_orders_once(owner, org):
    answers = [
        owner.post(BASE, {"language": "python"}, headers={"Idempotency-Key": "k"}) for _ in range(2)
    ]
    assert [a.status_code for a in answers] == [202, 202]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert counted_jobs(org.org.pk) == 1


def test_an_artifact_that_went_is_gone_and_compiled_anew(owner, org, stored):
    job = compiled(owner)
    with door():
        CompileArtifact.objects.update(last_used_at=timezone.now() - timedelta(days=31))
    assert tasks.sweep_artifacts_of(org.org.pk) == 1
    assert read(owner, job)["artifact"] is None
    response = owner.get(f"{BASE}/{job['id']}/artifact")
    assert (response.status_code, response.json()["code"]) == (410, "artifact_expired")
    assert order(owner).status_code == 202
    assert counted_jobs(org.org.pk) == 2


def test_storage_that_is_away_is_a_503(owner, org, stored):
    job = compiled(owner)
    for path in stored.rglob("*.zip"):
        path.unlink()
    response = owner.get(f"{BASE}/{job['id']}/artifact")
    assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")


def test_what_the_compiler_refuses_fails_by_the_users_fault(owner, org):
    """Valid by itself, and nothing that Java can have."""
    text = 'syntax = "proto3";\noption java_outer_classname = "Bad";\nmessage Bad {}\n'
    pushed = push(owner, "2.0.0", [{"path": "acme/bad.proto", "content": text}])
    assert pushed.status_code == 201, pushed.content
    base = BASE.replace("1.0.0", "2.0.0")
    job = ordered(owner, "java", base=base)
    run(job)
    done = owner.get(f"{base}/{job['id']}").json()
    assert done["status"] == "failed"
    assert (done["error"]["code"], done["error"]["fault"]) == ("compile_error", "user")
    assert done["error"]["detail"].startswith("acme/bad.proto: Cannot generate Java output because")
    assert done["error"]["detail"].partition(": ")[2] in done["log"]
    assert done["artifact"] is None
    assert counted_jobs(org.org.pk) == 1


PROTO2 = 'syntax = "proto2";\nmessage A { required int32 a = 1; }\n'
NAMED = 'syntax = "proto3";\npackage {0};\nmessage {1} {{}}\n'


@pytest.mark.parametrize(
    ("language", "files", "detail"),
    [
        ("php", {"a.proto": PROTO2}, "php: Can't generate PHP code for required field A.a."),
        (
            "python",
            {"a-b.proto": NAMED.format("a", "A"), "a_b.proto": NAMED.format("b", "B")},
            "a_b_pb2.py: Tried to write the same file twice.",
        ),
    ],
)
def test_what_a_generator_refuses_is_the_users_fault_too(owner, org, language, files, detail):
    """No single file is to blame: the language cannot have it, or two would become one."""
    pushed = [{"path": path, "content": text} for path, text in files.items()]
    assert push(owner, "2.0.0", pushed).status_code == 201
    base = BASE.replace("1.0.0", "2.0.0")
    job = ordered(owner, language, base=base)
    run(job)
    assert owner.get(f"{base}/{job['id']}").json()["error"] == {
        "code": "compile_error",
        "detail": detail,
        "fault": "user",
    }
    assert counted_jobs(org.org.pk) == 1
