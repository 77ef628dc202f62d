"""PostgreSQL or Valkey stops while Spoke runs: clear answers meanwhile, recovery without a restart."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from spoke.devservers.errors import wait_until
from spoke.devservers.locks import FileLock
from spoke.devservers.places import Instance
from spoke.devservers.server import Server
from spoke.devservers.services import SERVERS
from tests.support.running import ROOT, free_port, running_web

PREPARE = """
import django
django.setup()
from django.core.management import call_command
from django.utils import timezone
from orgs.models import User
from orgs.roles import Scope
from orgs.services.organizations import create_organization
from orgs.services.tokens import create_personal_token
from spoke.core import tenancy
call_command("migrate", verbosity=0)
call_command("seed_plans", verbosity=0)
now = timezone.now()
user = User.objects.create_user("owner@example.com", "correct horse battery")
with tenancy.person(user.pk):
    create_organization(user=user, name="acme", display_name="Acme", now=now)
with tenancy.person(user.pk):
    print(create_personal_token(user=user, name="t", scopes=list(Scope), now=now)[1])
"""


@dataclass
class Running:
    """A web server of its own with its own two data servers, each of which can be stopped."""

    url: str
    token: str
    postgres: Server
    valkey: Server
    redis_url: str

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body of a POST as the owner."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())

    def get(self, path: str) -> tuple[int, dict[str, Any], Any]:
        """Status, body and headers of a GET as the owner."""
        request = urllib.request.Request(
            self.url + path, headers={"Authorization": f"Bearer {self.token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read()), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read()), error.headers


def start(service: str, root: Path, copied_from: Path | None = None) -> tuple[Server, str]:
    instance = Instance.of(root=root, service=service, kind="test-outage")
    instance.path("users.lock").touch()
    server = SERVERS[service](instance)
    if copied_from is not None:
        copy(copied_from, server.data)
    server.start()
    sockets = instance.sockets()
    assert sockets is not None
    return server, server.url(sockets)


def environment(database_url: str, redis_url: str) -> dict[str, str]:
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV", "SPOKE_"))},
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SPOKE_ENV": "test",
        "DJANGO_SETTINGS_MODULE": "spoke.settings",
        "EMAIL_URL": "memorymail://",
        "QUOTA_WEB_PROCESSES": "1",
    }


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A stopped cluster with a migrated database, and its owner's token; made once a test run."""
    base = tmp_path_factory.getbasetemp()
    # Workers of one run have folders of their own in the run's.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    note = shared / "outages.json"
    lock = FileLock(shared / "outages.lock")
    lock.exclusive(seconds=300)
    try:
        if not note.exists():
            note.write_text(json.dumps(prepare(shared / "outages")))
        data, token = json.loads(note.read_text())
    finally:
        lock.close()
    return Path(data), token


def prepare(root: Path) -> tuple[str, str]:
    root.mkdir()
    postgres, database_url = start("postgres", root)
    valkey, redis_url = start("valkey", root)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PREPARE],
            env=environment(database_url, redis_url),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    finally:
        valkey.stop(at_once=True)
        postgres.stop()
        shutil.rmtree(valkey.data)
    # Into the run's own folder, which pytest deletes in time.
    kept = root / "cluster"
    copy(postgres.data, kept)
    shutil.rmtree(postgres.data)
    return str(kept), done.stdout.strip().splitlines()[-1]


def copy(cluster: Path, to: Path) -> None:
    """With its owner, whom the server runs as."""
    subprocess.run(["cp", "-a", str(cluster), str(to)], check=True)


@pytest.fixture
def running(tmp_path: Path, prepared: tuple[Path, str]) -> Iterator[Running]:
    data, token = prepared
    postgres, database_url = start("postgres", tmp_path, copied_from=data)
    valkey, redis_url = start("valkey", tmp_path)
    env = environment(database_url, redis_url)
    try:
        with running_web(port=free_port(), env=env, workers=1) as url:
            yield Running(url, token, postgres, valkey, redis_url)
    finally:
        for server in (valkey, postgres):
            server.stop(at_once=True)
            shutil.rmtree(server.data)


def in_parallel(calls: int, call: Callable[[], Any]) -> list[Any]:
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(call())) for _ in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_postgresql_stops_and_comes_back(running: Running):
    # Several at once, so that every thread of the server holds a connection that will die.
    assert {r[0] for r in in_parallel(16, lambda: running.get("/orgs/acme"))} == {200}
    running.postgres.stop()
    status, body, headers = running.get("/orgs/acme")
    assert (status, body["code"]) == (503, "service_unavailable")
    assert headers["Content-Type"] == "application/problem+json"
    assert int(headers["Retry-After"]) > 0
    status, body, headers = running.get("/health/ready")
    assert (status, body["status"]) == (503, "unavailable")
    assert running.get("/health/live")[0] == 200
    running.postgres.start()
    # No request pays for the connections that died: they are noticed before their next use.
    assert {r[0] for r in in_parallel(16, lambda: running.get("/orgs/acme"))} == {200}
    assert running.get("/health/ready")[1] == {
        "status": "ok",
        "checks": {"database": "ok", "redis": "ok"},
    }


def test_postgresql_restarts_between_two_requests(running: Running):
    assert {r[0] for r in in_parallel(16, lambda: running.get("/orgs/acme"))} == {200}
    running.postgres.stop()
    running.postgres.start()
    assert {r[0] for r in in_parallel(16, lambda: running.get("/orgs/acme"))} == {200}


def test_valkey_stops_and_comes_back(running: Running):
    status, _, headers = running.get("/orgs/acme/usage")
    assert (status, headers["X-RateLimit-Limit"]) == (200, "1000")
    running.valkey.stop()
    # Availability first: requests are served under the local limit, and still counted.
    for _ in range(5):
        status, _, headers = running.get("/orgs/acme/usage")
        assert status == 200
        assert headers["X-RateLimit-Limit"] == "1000"
    status, body, _ = running.get("/health/ready")
    assert (status, body["status"]) == (200, "degraded")
    running.valkey.start()

    def counted() -> bool:
        usage: int = running.get("/orgs/acme/usage")[1]["api_requests_count"]
        return usage >= 6

    assert wait_until(counted, seconds=20)
    assert running.get("/health/ready")[1]["status"] == "ok"


def signal_valkey(running: Running, sign: signal.Signals) -> None:
    assert running.valkey.child is not None
    os.kill(running.valkey.child.pid, sign)


def test_valkey_hangs_and_answers_again(running: Running):
    assert running.get("/orgs/acme/usage")[0] == 200
    signal_valkey(running, signal.SIGSTOP)
    try:
        began = time.perf_counter()
        for _ in range(20):
            assert running.get("/orgs/acme/usage")[0] == 200
        assert time.perf_counter() - began < 20 * 0.25  # each waited that long, some twice
        status, invited = running.post(
            "/orgs/acme/invitations", {"email": "lin@example.com", "role": "viewer"}
        )
        assert (status, invited["status"]) == (201, "pending")
        assert time.perf_counter() - began < 8  # announcing and enqueuing alone took that long
    finally:
        signal_valkey(running, signal.SIGCONT)
    broker = Redis.from_url(running.redis_url)
    assert wait_until(lambda: broker.llen("email") == 1, seconds=20)

    def counted() -> bool:
        usage: int = running.get("/orgs/acme/usage")[1]["api_requests_count"]
        return usage >= 22

    assert wait_until(counted, seconds=20)
