"""A day with the command line against a real server: real .proto files, the real compiler."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import files as files_of
from pathlib import Path

import pytest
import requests

from registry.tasks import run_compile_job
from tests.cli.stand_in import HANG_UP, Asked, Reply

PASSED_ON = ("Authorization", "Content-Type", "Idempotency-Key")
SHOP = """syntax = "proto3";
package shop.v1;
import "google/type/money.proto";
message Order {
  string id = 1;
  google.type.Money total = 2;
}
"""
USE = """
from google.type.money_pb2 import Money
from shop.v1.order_pb2 import Order
order = Order(id="o-1", total=Money(currency_code="EUR", units=12))
assert Order.FromString(order.SerializeToString()) == order
print(order.total.units)
"""


@pytest.fixture
def googleapis(home: Path) -> Path:
    """The .proto files of the wheel googleapis-common-protos, as a folder of their own."""
    folder = home / "googleapis"
    for file in files_of("googleapis-common-protos") or []:
        if file.suffix == ".proto":
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), folder / file)
    return folder


@pytest.fixture
def shop(home: Path) -> Path:
    """A folder that imports one of them."""
    (home / "shop/shop/v1").mkdir(parents=True)
    (home / "shop/shop/v1/order.proto").write_text(SHOP)
    return home / "shop"


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_from_a_folder_to_running_code(spoke, login, googleapis, shop, home):
    login("developer")
    assert len(tree(googleapis)) > 20
    assert spoke("modules", "create", "googleapis", "--public").code == 0
    published = spoke("push", "googleapis", "1.0.0", googleapis, "--json")
    assert (published.code, published.document["status"]) == (0, "published")
    assert len(published.document["version"]["files"]) == len(tree(googleapis))
    assert (
        spoke("push", "googleapis", "1.0.0", googleapis, "--json").document["status"] == "unchanged"
    )

    assert spoke("pull", "googleapis", "-o", "back").code == 0
    assert tree(home / "back") == tree(googleapis)

    alone = spoke("push", "shop", "1.0.0", shop, "--create")
    assert alone.code == 1
    assert "shop/v1/order.proto:3:1: " in alone.err
    needs = ("--dependency", "googleapis@1.0.0")
    assert spoke("push", "shop", "1.0.0", shop, *needs).code == 0

    done = spoke("compile", "shop", "-l", "python", "-o", "code", "--json")
    assert (done.code, done.document["job"]["cached"]) == (0, False), done.err
    assert "shop/v1/order_pb2.py" in done.document["written"]
    environment = {**os.environ, "PYTHONPATH": str(home / "code")}
    used = subprocess.run(
        [sys.executable, "-c", USE], env=environment, capture_output=True, text=True, check=False
    )
    assert (used.stdout, used.returncode) == ("12\n", 0), used.stderr
    again = spoke("compile", "shop@1.0.0", "-l", "python", "-o", "code", "--json")
    assert (again.document["job"]["cached"], again.document["written"]) == (True, [])

    login("owner")
    report = spoke("usage", "--json").document
    assert report["usage"]["modules_count"] == 2
    assert report["usage"]["versions_count"] == 2
    assert report["usage"]["compile_jobs_count"] == 1
    assert report["upcoming"]["amount_cents"] == 0


def test_a_version_is_yanked_and_a_job_canceled(spoke, login, home, monkeypatch):
    (home / "a.proto").write_text('syntax = "proto3";\nmessage A {}\n')
    login("developer")
    for version in ("1.0.0", "1.1.0"):
        assert spoke("push", "shop", version, home, "--create", "--quiet").code == 0
    assert spoke("yank", "shop@1.1.0", "--reason", "A mistake").code == 0
    assert [line.split()[:2] for line in spoke("versions", "shop").out.splitlines()[1:]] == [
        ["1.1.0", "(yanked)"],
        ["1.0.0", "32"],
    ]
    assert spoke("pull", "shop", "--json").document["version"]["version"] == "1.0.0"
    assert spoke("unyank", "shop@1.1.0").code == 0
    assert spoke("pull", "shop", "--json").document["version"]["version"] == "1.1.0"

    monkeypatch.setattr(run_compile_job, "delay", lambda *args: None)
    left = spoke("compile", "shop@1.0.0", "-l", "python", "--no-wait", "--json").document
    canceled = spoke("cancel", "shop@1.0.0", left["id"], "--json")
    assert (canceled.code, canceled.document["status"]) == (0, "canceled")
    assert "not counted" in canceled.err
    again = spoke("compile", "shop@1.0.0", "--job", left["id"])
    assert (again.code, again.err) == (1, "spoke: The job was canceled.\n")
    assert spoke("usage", "--json").document["usage"]["compile_jobs_count"] == 0


def test_a_change_that_breaks_is_seen_before_it_is_made(spoke, login, shop, home):
    login("developer")
    (shop / "shop/v1/order.proto").write_text('syntax = "proto3";\nmessage A { string b = 1; }\n')
    assert spoke("push", "shop", "1.0.0", shop, "--create").code == 0
    (shop / "shop/v1/order.proto").write_text('syntax = "proto3";\nmessage A { }\n')
    tried = spoke("push", "shop", "1.0.1", shop, "--dry-run", "--json")
    assert (tried.code, tried.document["status"]) == (0, "checked")
    (change,) = tried.document["version"]["breaking_changes"]
    assert change["path"] == "shop/v1/order.proto"
    assert f"({change['rule']})" in tried.err
    assert [row["version"] for row in spoke("versions", "shop", "--json").document] == ["1.0.0"]


def test_what_does_not_compile_is_placed_and_leaves_nothing(spoke, login, shop):
    login("developer")
    (shop / "shop/v1/order.proto").write_text('syntax = "proto3";\nmessage A {\n  Nope b = 1;\n}\n')
    refused = spoke("push", "shop", "1.0.0", shop, "--create")
    assert refused.code == 1
    assert '  shop/v1/order.proto:3:3: "Nope" is not defined.' in refused.err.splitlines()
    assert spoke("versions", "shop", "--json").document == []


def test_a_public_module_is_pulled_by_outsiders_and_a_private_one_is_not(spoke, login, shop, home):
    login("developer")
    (shop / "shop/v1/order.proto").write_text('syntax = "proto3";\nmessage A { string b = 1; }\n')
    spoke("modules", "create", "open", "--public")
    for module in ("open", "shut"):
        assert spoke("push", module, "1.0.0", shop, "--create").code == 0
    login("outsider")
    assert spoke("pull", "acme/open", "-o", "out").code == 0
    assert tree(home / "out") == tree(shop)
    assert [row["version"] for row in spoke("versions", "acme/open", "--json").document] == [
        "1.0.0"
    ]
    refused = spoke("pull", "acme/shut", "-o", "none")
    assert (refused.code, (home / "none").exists()) == (1, False)
    assert "code: not_found" in refused.err
    assert spoke("push", "acme/open", "1.1.0", shop).code == 1


def test_a_push_whose_answer_is_lost_is_published_once(
    spoke, token, live_server, server, shop, pauses, monkeypatch
):
    monkeypatch.setenv("SPOKE_API_URL", server.url)
    monkeypatch.setenv("SPOKE_TOKEN", token("developer"))
    (shop / "shop/v1/order.proto").write_text('syntax = "proto3";\nmessage A { string b = 1; }\n')
    answers: list[requests.Response] = []

    def pass_on(asked: Asked) -> Reply:
        with requests.Session() as session:
            url = f"{live_server.url}{asked.path}"
            kept = {name: asked.headers[name] for name in PASSED_ON if name in asked.headers}
            headers = {**kept, "Connection": "close"}
            answers.append(
                session.request(
                    asked.method, url, params=asked.query, data=asked.body, headers=headers
                )
            )
        return Reply(answers[-1].status_code, answers[-1].json())

    def lose(asked: Asked) -> Reply:
        pass_on(asked)
        return HANG_UP

    for call in ("GET /me", "GET /orgs", "POST /orgs/acme/modules"):
        server.on(call, pass_on)
    server.on("POST /orgs/acme/modules/shop/versions", lose, pass_on)
    assert spoke("modules", "create", "shop").code == 0
    done = spoke("push", "shop", "1.0.0", shop)
    assert (done.code, done.err.splitlines()[-1]) == (
        0,
        "Published acme/shop 1.0.0: 1 file, 47 B.",
    )
    first, second = answers[-2:]
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.json()["id"] == first.json()["id"]


def test_each_command_prints_the_document_that_is_documented(spoke, live_server, token, home):
    def printed(*arguments):
        done = spoke(*arguments, "--json", "--quiet")
        assert (done.code, done.err) == (0, ""), done.err
        return done.document

    (home / "pay").mkdir()
    (home / "pay/a.proto").write_text('syntax = "proto3"; message A { string a = 1; }')
    here = {"api_url", "organization", "me"}
    unpacked = {"directory", "written", "unchanged"}
    server = ("--api-url", live_server.url, "--token", token("owner"))
    assert printed("login", *server).keys() == printed("whoami").keys() == here
    assert printed("orgs", "use", "acme") == {"organization": "acme"}
    assert [row["name"] for row in printed("orgs")] == ["acme"]
    assert printed("modules", "create", "pay")["name"] == "pay"
    assert [row["name"] for row in printed("modules")] == ["pay"]
    for options, status in ((["--dry-run"], "checked"), ([], "published"), ([], "unchanged")):
        pushed = printed("push", "pay", "1.0.0", "pay", *options)
        assert pushed.keys() == {"status", "version"}
        assert (pushed["status"], pushed["version"]["version"]) == (status, "1.0.0")
    assert [row["version"] for row in printed("versions", "pay")] == ["1.0.0"]
    pulled = printed("pull", "pay", "-o", "back")
    assert pulled.keys() == {"version", *unpacked}
    assert pulled["written"] == ["a.proto"]
    compiled = printed("compile", "pay", "-l", "python")
    assert compiled.keys() == {"job", *unpacked}
    assert printed("compile", "pay", "-l", "python", "--no-wait")["status"] == "succeeded"
    assert printed("yank", "pay@1.0.0")["yanked_at"]
    assert printed("unyank", "pay@1.0.0")["yanked_at"] is None
    assert printed("usage").keys() == {"organization", "usage", "upcoming"}
    assert printed("logout") == {"removed": True}
