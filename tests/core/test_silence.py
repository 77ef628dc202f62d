"""A Valkey that accepts and never answers costs a process one wait; what was meant for it is kept."""

import threading
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.conf import settings as configured
from django.core.management import call_command
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from structlog.testing import capture_logs

from conftest import door
from orgs.models import Membership
from quotas.services import rate_limit
from quotas.services.rate_limit import Outage
from spoke.core import enqueue, stamps, valkey
from spoke.core.silence import MOST_KEPT, Silence
from spoke.devservers.errors import wait_until
from tests.support.holding import holding

URL = configured.REDIS_URL


@pytest.fixture
def way(settings, monkeypatch):
    """The only way to Valkey, which a test may hold."""
    listen = Path(f"/tmp/spoke-test-{uuid.uuid4().hex[:12]}.sock")  # pytest's folders are too long
    monkeypatch.setattr(rate_limit, "outage", Outage(by_itself=False))
    try:
        with holding(listen, URL) as (way, url):
            settings.REDIS_URL = url
            yield way
            way.release()
            assert wait_until(lambda: not valkey.is_silent(), seconds=10)
    finally:
        listen.unlink(missing_ok=True)


def ping():
    return valkey.call(valkey.request_client(), "PING")


def fall_silent(way):
    """Holds the way, and makes the one call that finds out."""
    assert ping() == b"PONG"
    way.hold()
    with pytest.raises(RedisTimeoutError):
        ping()


def answers_again(way):
    way.release()
    return wait_until(lambda: not valkey.is_silent(), seconds=10)


def test_only_the_first_call_waits_and_all_do_again_once_it_answers(way):
    fall_silent(way)
    began = time.perf_counter()
    for _ in range(200):
        with pytest.raises(RedisTimeoutError):
            ping()
    assert time.perf_counter() - began < 100 * valkey.REQUEST_TIMEOUT
    assert answers_again(way)
    assert ping() == b"PONG"


def test_a_request_of_an_organization_is_served_meanwhile_and_waits_for_nothing(way, cast, api):
    call_command("seed_plans", verbosity=0)
    client = api("owner")
    assert client.get("/orgs/acme").status_code == 200
    fall_silent(way)
    connections = way.connections
    for _ in range(3):
        response = client.get("/orgs/acme/usage")
        assert response.status_code == 200
        assert client.patch("/orgs/acme", {"display_name": "Acme"}).status_code == 200
    # The thread that asks is the only one that connects; it uses the connection that it has.
    assert way.connections - connections <= 1 + 3
    assert answers_again(way)


def test_signing_in_is_refused_at_once(way, client, db):
    fall_silent(way)
    began = time.perf_counter()
    for _ in range(20):
        response = client.post("/_allauth/app/v1/auth/login", {}, content_type="application/json")
        assert (response.status_code, response.json()["code"]) == (503, "service_unavailable")
        assert response.headers["Retry-After"] == "5"
    assert client.get("/health/ready").json()["checks"]["redis"] == "TimeoutError"
    assert (
        time.perf_counter() - began < 10
    )  # the cache's client alone would wait a second each time


def test_the_cache_that_waits_in_vain_is_noticed(way, client, db, settings):
    assert not valkey.is_silent()
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": settings.REDIS_URL}}
    way.hold()
    response = client.post("/_allauth/app/v1/auth/login", {}, content_type="application/json")
    assert response.status_code == 503
    assert valkey.is_silent()


def test_a_task_waits_in_memory_and_is_enqueued_in_order(
    way, db, django_capture_on_commit_callbacks
):
    sent = []
    tasks = [SimpleNamespace(name=n, delay=lambda *args, n=n: sent.append((n, args))) for n in "ab"]
    fall_silent(way)
    with capture_logs() as logs, django_capture_on_commit_callbacks(execute=True):
        for task in tasks:
            enqueue.enqueue_on_commit(task, 1)
    assert [line["event"] for line in logs] == ["task.waits"] * 2
    assert sent == []
    assert answers_again(way)
    assert wait_until(lambda: sent == [("a", (1,)), ("b", (1,))], seconds=10)


def test_a_change_is_announced_once_it_answers(way, cast, api, django_capture_on_commit_callbacks):
    plain = Redis.from_url(URL)
    key = stamps.stamp_key(cast.org.pk)
    before = plain.get(key)
    fall_silent(way)
    with django_capture_on_commit_callbacks(execute=True):
        address = f"/orgs/acme/members/{cast.viewer.pk}"
        assert api("owner").patch(address, {"role": "developer"}).status_code == 200
    assert plain.get(key) == before
    assert answers_again(way)
    assert wait_until(lambda: plain.get(key) != before, seconds=10)
    with door():
        assert Membership.objects.get(org=cast.org, user=cast.viewer).role == "developer"


def test_what_refuses_is_not_silent(settings, tmp_path):
    settings.REDIS_URL = f"unix://{tmp_path}/none.sock"
    with pytest.raises(RedisConnectionError):
        ping()
    assert not valkey.is_silent()
    assert not valkey.afterwards(lambda: pytest.fail("kept"))


def test_an_act_that_fails_keeps_no_other_from_being_done_and_too_many_are_not_kept():
    done, answering = [], threading.Event()

    def pings():
        if not answering.is_set():
            raise RedisTimeoutError

    silence = Silence(pings)
    assert not silence.afterwards(lambda: None)
    silence.begin()
    assert silence.afterwards(lambda: 1 / 0)
    for _ in range(MOST_KEPT - 1):
        assert silence.afterwards(lambda: done.append(1))
    assert not silence.afterwards(lambda: done.append(2))
    answering.set()
    assert wait_until(lambda: not silence.lasting, seconds=10)
    assert wait_until(lambda: len(done) == MOST_KEPT - 1, seconds=10)
    assert set(done) == {1}
