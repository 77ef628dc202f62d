"""Compiling what depends on others: they are import roots, and generated only where that is asked."""

import pytest

from conftest import door
from registry.models import CompileJob, Version
from registry.tests.compiling import (
    SOURCES,
    counted_jobs,
    job_row,
    names_in,
    order,
    run,
)
from registry.tests.conftest import make_module, push

APP = {
    "path": "app/v1/app.proto",
    "content": """syntax = "proto3";
package app.v1;
import "acme/v1/user.proto";
import "rival/v1/coin.proto";
message App { acme.v1.User user = 1; rival.v1.Coin coin = 2; }
""",
}
COIN = {
    "path": "rival/v1/coin.proto",
    "content": 'syntax = "proto3";\npackage rival.v1;\nmessage Coin { int64 n = 1; }\n',
}
BASE = "/orgs/acme/modules/app/versions/1.0.0/compile"


@pytest.fixture
def app(owner, cast):
    """acme's app, which needs acme's pay and a public module of rival's."""
    make_module(owner)
    assert push(owner, "1.0.0", SOURCES).status_code == 201
    outsider = cast.client("outsider")
    make_module(outsider, "coins", org="rival", is_public=True)
    body = {"version": "2.0.0", "files": [COIN]}
    assert outsider.post("/orgs/rival/modules/coins/versions", body).status_code == 201
    make_module(owner, "app")
    pushed = push(
        owner,
        "1.0.0",
        [APP],
        module="app",
        dependencies=["pay@1.0.0", "rival/coins@2.0.0"],
    )
    assert pushed.status_code == 201, pushed.content
    return cast


def compiled(client, **fields):
    job = order(client, base=BASE, **fields).json()
    run(job)
    return client.get(f"{BASE}/{job['id']}").json()


def names(client, job):
    response = client.get(f"{BASE}/{job['id']}/artifact")
    return names_in(b"".join(response.streaming_content))


def test_only_the_versions_own_files_are_generated(owner, app):
    job = compiled(owner)
    assert job["status"] == "succeeded", job
    assert names(owner, job) == ["app/v1/app_pb2.py", "app/v1/app_pb2.pyi"]


def test_dependencies_are_generated_where_that_is_asked(owner, app):
    job = compiled(owner, include_dependencies=True)
    assert job["include_dependencies"]
    assert names(owner, job) == [
        "acme/v1/user_pb2.py",
        "acme/v1/user_pb2.pyi",
        "app/v1/app_pb2.py",
        "app/v1/app_pb2.pyi",
        "rival/v1/coin_pb2.py",
        "rival/v1/coin_pb2.pyi",
    ]


def test_grpc_of_dependencies_too(owner, app):
    job = compiled(owner, include_dependencies=True, grpc=True)
    assert "acme/v1/user_pb2_grpc.py" in names(owner, job)


def test_it_is_compiled_as_before_when_the_module_it_needs_became_private(owner, app):
    outsider = app.client("outsider")
    changed = outsider.patch("/orgs/rival/modules/coins", {"is_public": False})
    assert changed.status_code == 200
    assert compiled(owner)["status"] == "succeeded"


def test_what_it_needs_is_part_of_the_digest(owner, app):
    first = compiled(owner)
    push(owner, "1.0.1", [*SOURCES, {"path": "x.proto", "content": 'syntax = "proto3";\n'}])
    needed = ["pay@1.0.1", "rival/coins@2.0.0"]
    pushed = push(owner, "1.0.1", [APP], module="app", dependencies=needed)
    assert pushed.status_code == 201, pushed.content
    again = order(owner, base=BASE.replace("1.0.0", "1.0.1"))
    assert again.status_code == 202
    assert job_row(again.json()).digest != job_row(first).digest


def test_what_needs_a_purged_organization_is_told_and_free(owner, app):
    waiting = order(owner, base=BASE).json()
    assert counted_jobs(app.org.pk) == 1
    with door():
        Version.objects.filter(module__name="coins").delete()
    refused = order(owner, "cpp", base=BASE)
    assert (refused.status_code, refused.json()["code"]) == (409, "dependency_gone")
    run(waiting)
    done = owner.get(f"{BASE}/{waiting['id']}").json()
    assert done["status"] == "failed"
    assert (done["error"]["code"], done["error"]["fault"]) == ("dependency_gone", "service")
    assert counted_jobs(app.org.pk) == 0
    assert CompileJob.objects.count() == 1


def test_an_outsider_does_not_see_the_jobs(owner, app):
    job = compiled(owner)
    assert app.client("outsider").get(f"{BASE}/{job['id']}").status_code == 404
