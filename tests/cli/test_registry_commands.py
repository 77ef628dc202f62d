"""push, pull and compile: what they send, and what they make of each answer."""

import hashlib
import io
import json
import tarfile

import pytest

from tests.cli.stand_in import HANG_UP, Reply, problem
from tests.cli.test_unpacking import tar_of, zip_of

SOURCE = b'syntax = "proto3";\n'
VERSIONS = "/orgs/acme/modules/payments/versions"
PUSH = f"POST {VERSIONS}"
ONE = f"{VERSIONS}/1.2.0"
VERSION = {
    "version": "1.2.0",
    "size_bytes": len(SOURCE),
    "files": [{"path": "a/b.proto", "sha256": hashlib.sha256(SOURCE).hexdigest()}],
}
CODE = zip_of(("b_pb2.py", b"code")).getvalue()
ARTIFACT = {"size_bytes": len(CODE), "sha256": hashlib.sha256(CODE).hexdigest(), "files": 1}


def job(status, **more):
    body = {"id": 7, "status": status, "cached": False, "error": None, "log": "", "artifact": None}
    return {**body, "language": "python", "module": "payments", "version": "1.2.0", **more}


DONE = job("succeeded", artifact=ARTIFACT)


@pytest.fixture
def protos(home):
    (home / "in/a").mkdir(parents=True)
    (home / "in/a/b.proto").write_bytes(SOURCE)
    return home / "in"


def sent(asked) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(asked.body)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def test_a_push_sends_the_folder(spoke, signed_in, protos):
    signed_in.on(PUSH, Reply(201, {**VERSION, "breaking_changes": []}))
    done = spoke(
        *("push", "payments", "1.2.0", protos, "--description", "New & nice"),
        *("--dependency", "money@2.0.0", "--dependency", "google/api@1.0.0"),
    )
    assert (done.code, done.out) == (0, "")
    assert done.err == "Published acme/payments 1.2.0: 1 file, 19 B.\n"
    (asked,) = signed_in.asked
    assert asked.query == [
        ("version", "1.2.0"),
        ("description", "New & nice"),
        ("dependency", "money@2.0.0"),
        ("dependency", "google/api@1.0.0"),
    ]
    assert asked.headers["Content-Type"] == "application/gzip"
    assert asked.headers["Idempotency-Key"]
    assert sent(asked) == {"a/b.proto": SOURCE}


def test_a_push_whose_answer_is_lost_is_sent_again_as_it_was(spoke, signed_in, protos):
    signed_in.on(PUSH, HANG_UP, problem(409, "idempotency_key_in_use"), Reply(201, VERSION))
    assert spoke("push", "payments", "1.2.0", protos, "--quiet").err == ""
    assert len({asked.headers["Idempotency-Key"] for asked in signed_in.asked}) == 1
    assert len({asked.body for asked in signed_in.asked}) == 1
    assert len(signed_in.asked) == 3


def test_a_dry_run_says_what_would_break(spoke, signed_in, protos):
    change = {"path": "a/b.proto", "rule": "FIELD_REMOVED", "message": "Field 2 is gone."}
    found = {"dry_run": True, "compared_with": "1.1.0", "breaking_changes": [change]}
    signed_in.on(PUSH, Reply(200, {**VERSION, **found}))
    done = spoke("push", "payments", "1.2.0", protos, "--dry-run", "--json")
    assert signed_in.asked[0].query == [("version", "1.2.0"), ("dry_run", "true")]
    assert done.document["status"] == "checked"
    assert done.document["version"]["breaking_changes"] == [change]
    assert done.err.splitlines() == [
        "Breaking change since 1.1.0: a/b.proto: Field 2 is gone. (FIELD_REMOVED)",
        "acme/payments 1.2.0 could be published: 1 file, 19 B. Nothing was.",
    ]


def test_what_does_not_parse_is_shown_as_compilers_do(spoke, signed_in, protos):
    row = {"field": "files/a/b.proto", "code": "invalid", "line": 3, "column": 9}
    errors = [{**row, "detail": '"Money" is not defined.'}]
    signed_in.on(PUSH, problem(400, "invalid_proto", "1 fault.", errors=errors))
    done = spoke("push", "payments", "1.2.0", protos)
    assert done.code == 1
    assert done.err.splitlines() == [
        "spoke: 1 fault.",
        '  a/b.proto:3:9: "Money" is not defined.',
        "  code: invalid_proto",
        "  request id: r-1",
    ]


def test_the_same_content_again_is_nothing_to_do(spoke, signed_in, protos):
    signed_in.on(PUSH, problem(409, "version_exists", identical=True, version="1.2.0"))
    done = spoke("push", "payments", "1.2.0", protos, "--json")
    assert (done.code, done.document["status"]) == (0, "unchanged")
    assert done.err == "Nothing to do: acme/payments 1.2.0 is published, with the same content.\n"
    other = spoke("push", "payments", "1.2.0+build.7", protos)
    assert (other.code, other.err) == (0, done.err)


@pytest.mark.parametrize("code", ["version_exists", "breaking_change"])
def test_other_conflicts_are_refusals(spoke, signed_in, protos, code):
    signed_in.on(PUSH, problem(409, code, identical=False))
    done = spoke("push", "payments", "1.2.0", protos, "--json")
    assert (done.code, done.document["error"]["code"]) == (1, code)


def test_a_missing_module_is_created_when_asked_for(spoke, signed_in, protos):
    missing = problem(404, "not_found", "There is no such module.")
    signed_in.on(PUSH, missing, Reply(201, VERSION))
    refused = spoke("push", "payments", "1.2.0", protos)
    assert (refused.code, "--create makes payments" in refused.err) == (1, True)
    signed_in.on("GET /orgs/acme/modules/payments", missing)
    signed_in.on("POST /orgs/acme/modules", Reply(201, {"name": "payments"}))
    assert spoke("push", "payments", "1.2.0", protos, "--create").code == 0
    assert json.loads(signed_in.asked[2].body) == {"name": "payments"}
    # Somebody else was faster.
    signed_in.on("POST /orgs/acme/modules", problem(409, "module_exists"))
    assert spoke("push", "payments", "1.2.0", protos, "--create").code == 0


def test_a_pull_unpacks_what_the_version_holds(spoke, signed_in, home):
    signed_in.on(f"GET {VERSIONS}/latest", Reply(200, VERSION))
    archive = tar_of(("a/b.proto", SOURCE)).getvalue()
    signed_in.on(f"GET {ONE}/archive", Reply(200, archive, content_type="application/gzip"))
    done = spoke("pull", "payments")
    assert (done.code, done.err) == (0, "payments 1.2.0: 1 file, 19 B, in payments.\n")
    assert (home / "payments/a/b.proto").read_bytes() == SOURCE
    assert signed_in.asked[1].query == [("format", "tar.gz")]
    again = spoke("pull", "payments", "--json").document
    assert (again["written"], again["unchanged"]) == ([], ["a/b.proto"])
    (home / "payments/a/b.proto").write_bytes(b"mine")
    refused = spoke("pull", "payments")
    assert (refused.code, (home / "payments/a/b.proto").read_bytes()) == (1, b"mine")
    assert spoke("pull", "payments", "--force").code == 0
    assert (home / "payments/a/b.proto").read_bytes() == SOURCE


def test_a_yanked_version_is_pulled_with_a_warning(spoke, signed_in):
    yanked = {**VERSION, "yanked_at": "2026-11-25T12:00:00Z", "yank_reason": "Leaks names"}
    signed_in.on(f"GET {ONE}", Reply(200, yanked))
    signed_in.on(f"GET {ONE}/archive", Reply(200, tar_of(("a/b.proto", SOURCE)).getvalue()))
    done = spoke("pull", "payments@1.2.0", "--quiet")
    assert (done.code, done.err) == (0, "Warning: payments 1.2.0 is yanked: Leaks names.\n")


def test_what_was_changed_on_the_way_is_not_unpacked(spoke, signed_in, home):
    signed_in.on(f"GET {ONE}", Reply(200, VERSION))
    archive = tar_of(("a/b.proto", b"evil")).getvalue()
    signed_in.on(f"GET {ONE}/archive", Reply(200, archive))
    done = spoke("pull", "payments@1.2.0", "-o", "out")
    assert (done.code, (home / "out").exists()) == (1, False)


def test_a_public_module_of_others_is_pulled_on_one_s_own_account(spoke, signed_in, home):
    place = "/modules/googleapis/common/versions"
    signed_in.on(f"GET {place}/latest", Reply(200, VERSION))
    archive = tar_of(("a/b.proto", SOURCE)).getvalue()
    signed_in.on(f"GET {place}/1.2.0/archive", Reply(200, archive))
    assert spoke("pull", "googleapis/common").code == 0
    assert (home / "common/a/b.proto").read_bytes() == SOURCE
    assert signed_in.calls()[0] == "GET /orgs/googleapis/modules/common/versions/latest"
    assert signed_in.asked[-1].headers["X-Spoke-Organization"] == "acme"
    missing = spoke("pull", "googleapis/other")
    assert (missing.code, missing.err.splitlines()[-1]) == (
        1,
        "Looked for googleapis/other, among yours and what is public.",
    )


def test_a_compile_waits_and_fetches(spoke, signed_in, home, pauses):
    signed_in.on(f"POST {ONE}/compile", Reply(202, job("queued")))
    running = Reply(200, job("running"), {"Retry-After": "3"})
    signed_in.on(f"GET {ONE}/compile/7", Reply(200, job("queued")), running, Reply(200, DONE))
    signed_in.on(f"GET {ONE}/compile/7/artifact", Reply(200, CODE, content_type="application/zip"))
    done = spoke("compile", "payments@1.2.0", "-l", "python", "--grpc", "--include-dependencies")
    assert (done.code, done.err) == (0, "1 file of python in payments-python.\n")
    assert (home / "payments-python/b_pb2.py").read_bytes() == b"code"
    assert json.loads(signed_in.asked[0].body) == {
        "language": "python",
        "grpc": True,
        "include_dependencies": True,
    }
    assert pauses == [0.5, 0.75, 3.0]


def test_a_cached_job_is_fetched_at_once(spoke, signed_in, pauses):
    signed_in.on(f"GET {VERSIONS}/latest", Reply(200, VERSION))
    signed_in.on(f"POST {ONE}/compile", Reply(200, {**DONE, "cached": True}))
    signed_in.on(f"GET {ONE}/compile/7/artifact", Reply(200, CODE))
    done = spoke("compile", "payments", "--language", "python", "-o", "gen", "--json")
    assert (done.document["written"], done.document["job"]["cached"]) == (["b_pb2.py"], True)
    assert (pauses, done.err) == ([], "1 file of python in gen. From the cache: not counted.\n")


def test_a_job_can_be_left_and_taken_up(spoke, signed_in, home):
    signed_in.on(f"POST {ONE}/compile", Reply(202, job("queued")))
    left = spoke("compile", "payments@1.2.0", "-l", "python", "--no-wait", "--json")
    assert (left.document["id"], (home / "payments-python").exists()) == (7, False)
    assert "spoke compile acme/payments@1.2.0 --job 7" in left.err
    signed_in.on(f"GET {ONE}/compile/7", Reply(200, DONE))
    signed_in.on(f"GET {ONE}/compile/7/artifact", Reply(200, CODE))
    assert spoke("compile", "payments@1.2.0", "--job", 7).code == 0
    assert (home / "payments-python/b_pb2.py").read_bytes() == b"code"


@pytest.mark.parametrize(("fault", "code"), [("user", 1), ("service", 4)])
def test_a_failed_job_says_why(spoke, signed_in, home, fault, code):
    error = {"code": "compile_error", "detail": "a/b.proto:1:1: Bad.", "fault": fault}
    failed = job("failed", error=error, log="a/b.proto:1:1: Bad.\na/b.proto:2:1: Worse.\n")
    signed_in.on(f"POST {ONE}/compile", Reply(202, failed))
    done = spoke("compile", "payments@1.2.0", "-l", "python", "--json")
    assert (done.code, done.document["job"]["status"]) == (code, "failed")
    assert done.err.splitlines() == [
        "spoke: a/b.proto:1:1: Bad.",
        "  a/b.proto:2:1: Worse.",
        "  code: compile_error",
    ]
    assert not (home / "payments-python").exists()


def test_a_failed_job_is_an_error_as_any_other(spoke, signed_in):
    error = {"code": "compile_error", "detail": "a/b.proto:1:1: Bad.", "fault": "user"}
    failed, canceled = job("failed", error=error), job("canceled")
    signed_in.on(f"GET {ONE}/compile/7", Reply(200, failed), Reply(200, canceled))
    first, second = (spoke("compile", "payments@1.2.0", "--job", 7, "--json") for _ in range(2))
    assert first.document == {"error": {**error, "exit_code": 1}, "job": failed}
    assert second.document["error"] == {"detail": "The job was canceled.", "exit_code": 1}


@pytest.mark.parametrize(
    ("started", "told"),
    [(None, "had not started: not counted"), ("2026-11-25T12:00:00Z", "had started and counts")],
)
def test_a_job_is_canceled(spoke, signed_in, started, told):
    ended = job("canceled", started_at=started)
    signed_in.on(f"POST {ONE}/compile/7/cancel", Reply(200, ended))
    done = spoke("cancel", "payments@1.2.0", 7, "--json")
    assert (done.code, done.document) == (0, ended)
    assert done.err == f"Job 7 is canceled. It {told}.\n"
    (asked,) = signed_in.asked
    assert (asked.body, bool(asked.headers["Idempotency-Key"])) == (b"", True)


def test_what_has_ended_is_not_canceled(spoke, signed_in):
    refused = problem(409, "job_finished", "This job succeeded already.", state="succeeded")
    signed_in.on(f"POST {ONE}/compile/7/cancel", refused)
    done = spoke("cancel", "payments@1.2.0", 7, "--json")
    assert (done.code, done.document["error"]["state"]) == (1, "succeeded")
    missing = spoke("cancel", "payments@1.2.0", 8)
    assert (missing.code, missing.err.splitlines()[-1]) == (
        1,
        "Looked for acme/payments@1.2.0, among yours.",
    )


def test_a_version_is_yanked_and_taken_back(spoke, signed_in):
    yanked = {**VERSION, "yanked_at": "2026-11-25T12:00:00Z", "yank_reason": "Leaks names"}
    signed_in.on(f"POST {ONE}/yank", Reply(200, yanked))
    done = spoke("yank", "payments@1.2.0", "--reason", "Leaks names", "--json")
    assert (done.code, done.document) == (0, yanked)
    assert done.err == "Yanked payments 1.2.0: Leaks names.\n"
    assert json.loads(signed_in.asked[0].body) == {"reason": "Leaks names"}
    assert spoke("yank", "acme/payments@1.2.0").err == "Yanked acme/payments 1.2.0.\n"
    assert signed_in.asked[1].body == b""
    signed_in.on(f"POST {ONE}/unyank", Reply(200, VERSION))
    assert spoke("unyank", "payments@1.2.0").err == "payments 1.2.0 is not yanked.\n"
    assert signed_in.calls()[2] == f"POST {ONE}/unyank"
    refused = spoke("yank", "payments@9.9.9")
    assert (refused.code, refused.err.splitlines()[-1]) == (
        1,
        "Looked for acme/payments@9.9.9, among yours.",
    )


def test_a_canceled_job_and_one_whose_artifact_is_gone(spoke, signed_in):
    signed_in.on(f"GET {ONE}/compile/7", Reply(200, job("canceled")), Reply(200, job("succeeded")))
    canceled, gone = (spoke("compile", "payments@1.2.0", "--job", 7) for _ in range(2))
    assert (canceled.code, canceled.err) == (1, "spoke: The job was canceled.\n")
    assert (gone.code, gone.err.splitlines()[0]) == (
        1,
        "spoke: What the job made is no longer kept.",
    )


def test_waiting_has_an_end(spoke, signed_in, monkeypatch):
    signed_in.on(f"GET {ONE}/compile/7", Reply(200, job("running"), {"Retry-After": "50"}))
    done = spoke("compile", "payments@1.2.0", "--job", 7, "--timeout", 20)
    assert (done.code, len(signed_in.asked)) == (4, 1)
    assert "did not end within 20 s; it goes on" in done.err


def test_an_artifact_that_is_another_is_not_unpacked(spoke, signed_in, home):
    signed_in.on(f"GET {ONE}/compile/7", Reply(200, DONE))
    signed_in.on(f"GET {ONE}/compile/7/artifact", Reply(200, zip_of(("x", b"evil")).getvalue()))
    done = spoke("compile", "payments@1.2.0", "--job", 7)
    assert (done.code, (home / "payments-python").exists()) == (1, False)


@pytest.mark.parametrize("code", ["quota_exceeded", "budget_exceeded"])
def test_no_compile_beyond_the_quota(spoke, signed_in, code):
    refused = problem(403, code, upgrade_url="https://spoke.example/up")
    signed_in.on(f"POST {ONE}/compile", refused)
    done = spoke("compile", "payments@1.2.0", "-l", "python")
    assert (done.code, "raise the limit: https://spoke.example/up" in done.err) == (5, True)
