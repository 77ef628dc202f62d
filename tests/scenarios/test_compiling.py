"""Real files compiled and used, and jobs beyond the plan on the invoice."""

import importlib.util
import io
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import call_command

from billing.services import subscriptions
from orgs.context import SYSTEM
from quotas.models import Plan
from quotas.resources import Resource
from quotas.services.reservations import reserve
from registry import protoc, tasks
from spoke.core import tenancy

START = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)
SITE = Path(importlib.util.find_spec("google.rpc").submodule_search_locations[0]).parents[1]
USE = """
import sys
from concurrent import futures
import grpc
from google.api import annotations_pb2, http_pb2
from google.longrunning import operations_proto_pb2 as operations_pb2
from google.longrunning import operations_proto_pb2_grpc as operations_pb2_grpc
from google.rpc import code_pb2, status_pb2
from google.type import money_pb2
from shop.v1 import shop_pb2, shop_pb2_grpc

for module in (annotations_pb2, operations_pb2_grpc, money_pb2, shop_pb2):
    assert module.__file__.startswith(sys.argv[1]), module.__file__


class Shop(shop_pb2_grpc.ShopServicer):
    def Buy(self, request, context):
        if not request.price.units:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "nothing is free")
        done = operations_pb2.Operation(name=request.name, done=True)
        done.response.Pack(request.price)
        return done


server = grpc.server(futures.ThreadPoolExecutor(2))
shop_pb2_grpc.add_ShopServicer_to_server(Shop(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    stub = shop_pb2_grpc.ShopStub(channel)
    price = money_pb2.Money(currency_code="EUR", units=3, nanos=500_000_000)
    operation = stub.Buy(shop_pb2.Purchase(name="tea", price=price))
    paid = money_pb2.Money()
    assert operation.response.Unpack(paid)
    print(operation.name, paid.units, paid.currency_code)
    try:
        stub.Buy(shop_pb2.Purchase(name="tea"))
    except grpc.RpcError as error:
        print(error.code().name)
server.stop(None)
method = shop_pb2.DESCRIPTOR.services_by_name["Shop"].methods_by_name["Buy"]
print(method.GetOptions().Extensions[annotations_pb2.http].post)
print(code_pb2.Code.Name(status_pb2.Status(code=5).code))
"""
SHOP = """syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "google/longrunning/operations_proto.proto";
import "google/type/money.proto";
message Purchase { string name = 1; google.type.Money price = 2; }
service Shop {
  rpc Buy(Purchase) returns (google.longrunning.Operation) {
    option (google.api.http) = { post: "/v1/buy" body: "*" };
  }
}
"""


@pytest.fixture(autouse=True)
def _stored(tmp_path, settings):
    backend = "registry.storage.AtomicFileSystemStorage"
    default = {"BACKEND": backend, "OPTIONS": {"location": str(tmp_path / "stored")}}
    settings.STORAGES = {**settings.STORAGES, "default": default}


@pytest.fixture
def owner(cast, api):
    call_command("seed_plans", verbosity=0)
    return api("owner")


def publish(owner, module, files, **fields):
    assert owner.post("/orgs/acme/modules", {"name": module}).status_code == 201
    body = {"version": "1.0.0", "files": files, **fields}
    pushed = owner.post(f"/orgs/acme/modules/{module}/versions", body)
    assert pushed.status_code == 201, pushed.content
    return f"/orgs/acme/modules/{module}/versions/1.0.0/compile"


def compiled(owner, base, cast, **options):
    ordered = owner.post(base, {"language": "python", **options})
    assert ordered.status_code in (200, 202), ordered.content
    job = ordered.json()
    tasks.run_compile_job(cast.org.pk, job["id"])
    return owner.get(f"{base}/{job['id']}").json()


def unpacked(owner, base, job, folder):
    assert job["status"] == "succeeded", job
    answer = owner.get(f"{base}/{job['id']}/artifact")
    packed = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))
    packed.extractall(folder)
    return packed.namelist()


def googleapis():
    return [
        {"path": path.relative_to(SITE).as_posix(), "content": path.read_text("utf-8")}
        for path in sorted((SITE / "google").rglob("*.proto"))
        if "protobuf" not in path.parts
    ]


@pytest.mark.slow
def test_generated_python_is_imported_and_serves(owner, cast, tmp_path):
    """googleapis-common-protos as a module, and a service of one's own that depends on it."""
    common = googleapis()
    assert len(common) > 60
    whole = publish(owner, "googleapis", common)
    job = compiled(owner, whole, cast)
    assert len(unpacked(owner, whole, job, tmp_path / "common")) == 2 * len(common)
    shop = publish(
        owner,
        "shop",
        [{"path": "shop/v1/shop.proto", "content": SHOP}],
        dependencies=["googleapis@1.0.0"],
    )
    job = compiled(owner, shop, cast, grpc=True, include_dependencies=True)
    folder = tmp_path / "shop"
    unpacked(owner, shop, job, folder)
    script = tmp_path / "use.py"
    script.write_text(USE)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(folder)],
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["tea 3 EUR", "INVALID_ARGUMENT", "/v1/buy", "NOT_FOUND"]
    stub = (folder / "shop/v1/shop_pb2.pyi").read_text()
    assert "class Purchase(_message.Message):" in stub


@pytest.mark.slow
@pytest.mark.parametrize("language", ["cpp", "csharp", "java", "kotlin", "objc", "php", "ruby"])
def test_real_files_in_every_language(owner, cast, tmp_path, language):
    base = publish(owner, "googleapis", googleapis())
    job = compiled(owner, base, cast, language=language)
    assert len(unpacked(owner, base, job, tmp_path / "out")) >= 60


def test_jobs_beyond_the_plan_are_on_the_coming_invoice(owner, cast, time_machine, monkeypatch):
    time_machine.move_to(START, tick=False)
    with tenancy.organization(cast.org.pk):
        subscriptions.start_subscription(
            org_id=cast.org.pk,
            plan=Plan.objects.current().get(code="pro"),
            interval="month",
            currency="usd",
            actor=SYSTEM,
            now=START,
        )
        reserve(org_id=cast.org.pk, resource=Resource.COMPILE_JOBS, amount=998, now=START)
    base = publish(owner, "shop", [{"path": "a.proto", "content": 'syntax = "proto3";\n'}])

    def coming():
        body = owner.get("/orgs/acme/invoices/upcoming").json()
        jobs = [line for line in body["lines"] if line.get("resource") == "compile_jobs"]
        return body["amount_cents"], [(line["quantity"], line["amount_cents"]) for line in jobs]

    for language in ("python", "cpp"):
        assert compiled(owner, base, cast, language=language)["status"] == "succeeded"
    assert coming() == (4_900, [])
    for language in ("java", "ruby", "php"):
        assert compiled(owner, base, cast, language=language)["status"] == "succeeded"
    assert coming() == (4_915, [("1003", 15)])
    assert compiled(owner, base, cast, language="php")["cached"]
    assert coming() == (4_915, [("1003", 15)])
    # A failure of ours is on no invoice.
    with monkeypatch.context() as patched:
        command = [sys.executable, "-I", "-c", "raise SystemExit(3)"]
        patched.setattr(protoc, "_program", lambda compiler: command)
        failed = compiled(owner, base, cast, language="objc")
    assert failed["error"]["fault"] == "service"
    assert coming() == (4_915, [("1003", 15)])
    assert owner.get("/orgs/acme/usage").json()["compile_jobs_count"] == 1_003
