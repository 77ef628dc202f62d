"""One key, one effect: twins that run at once, failures, other bodies, and the end of a key's life."""

import threading
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from rest_framework.response import Response

from conftest import door
from orgs.tests.helpers import at_once
from registry.models import Module
from spoke.core import idempotency, tenancy
from spoke.core.errors import Conflict
from spoke.core.models import IdempotencyRecord

NOW = timezone.now()


def run(org, handler, *, key="k", request_hash="a", now=NOW):
    with tenancy.organization(org.pk):
        return idempotency.run_once(
            key=key, request_hash=request_hash, user_id=1, now=now, handler=handler
        )


def answer(body=None):
    return lambda: Response(body or {"made": 1}, status=201)


def never():
    pytest.fail("the handler ran again")


def test_a_twin_of_a_request_under_way_is_a_conflict_that_may_be_retried(committed_cast):
    org, started, finish = committed_cast.org, threading.Event(), threading.Event()

    def slow():
        started.set()
        assert finish.wait(10)
        return answer()()

    def first():
        try:
            run(org, slow)
        finally:
            connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    assert started.wait(10)
    with pytest.raises(Conflict) as refused:
        run(org, never)
    assert refused.value.error_code == "idempotency_key_in_use"
    assert refused.value.headers == {"Retry-After": "1"}
    # Keys of other organizations, and other keys, do not wait.
    assert run(committed_cast.other_org, answer({"made": 2})).data == {"made": 2}
    assert run(org, answer({"made": 3}), key="other").data == {"made": 3}
    finish.set()
    thread.join(10)
    again = run(org, never)
    assert (again.status_code, again.data) == (201, {"made": 1})
    assert again.headers["Idempotency-Replayed"] == "true"


def test_eight_equal_requests_at_once_make_one_module(committed_cast):
    call_command("seed_plans", verbosity=0)
    clients = [committed_cast.client("owner") for _ in range(8)]
    body, headers = {"name": "payments"}, {"Idempotency-Key": "once"}
    answers = at_once(
        *[
            lambda client=client: client.post(
                "/orgs/acme/modules", body, format="json", headers=headers
            )
            for client in clients
        ]
    )
    statuses = sorted(response.status_code for response in answers)
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert {r.json()["code"] for r in answers if r.status_code == 409} <= {"idempotency_key_in_use"}
    made = [r for r in answers if r.status_code == 201]
    assert len({r.json()["id"] for r in made}) == 1
    assert sum("Idempotency-Replayed" not in r.headers for r in made) == 1
    with door():
        assert Module.objects.filter(org=committed_cast.org).count() == 1


def test_a_failure_leaves_the_key_free(committed_cast):
    def fails():
        raise Conflict("No.", code="any")

    with pytest.raises(Conflict):
        run(committed_cast.org, fails)
    assert run(committed_cast.org, answer()).data == {"made": 1}


def test_after_a_day_the_key_may_be_used_anew(committed_cast):
    org, day = committed_cast.org, idempotency.LIFETIME
    run(org, answer())
    assert run(org, never, now=NOW + day - timedelta(seconds=1)).data == {"made": 1}
    renewed = run(org, answer({"made": 2}), request_hash="b", now=NOW + day)
    assert renewed.data == {"made": 2}
    assert "Idempotency-Replayed" not in renewed.headers


def test_pruning_deletes_what_is_past_its_life_and_nothing_else(committed_cast):
    org = committed_cast.org
    run(org, answer(), key="old", now=NOW - idempotency.LIFETIME)
    run(org, answer(), key="young", now=NOW - idempotency.LIFETIME + timedelta(seconds=1))
    assert idempotency.prune_records(now=NOW) == 1
    with door():
        assert [r.key for r in IdempotencyRecord.objects.all()] == ["young"]


def test_the_stored_answer_is_not_readable(committed_cast):
    run(committed_cast.org, answer({"token": "spk_secret"}))
    with door():
        record = IdempotencyRecord.objects.get()
    assert "spk_secret" not in str(record.response_body)
    assert run(committed_cast.org, never).data == {"token": "spk_secret"}


def own_headers(response):
    """Those that are not the response class's own."""
    return {name: value for name, value in response.headers.items() if name != "Content-Type"}


def test_a_replayed_answer_has_the_headers_that_belong_to_it(committed_cast):
    headers = {
        "Location": "/made/1",
        "ETag": '"made-1"',
        "Cache-Control": "no-store",
        "X-Other": "1",
    }
    run(committed_cast.org, lambda: Response({"made": 1}, status=201, headers=headers))
    again = run(committed_cast.org, never)
    kept = {name: value for name, value in headers.items() if name != "X-Other"}
    assert own_headers(again) == {**kept, "Idempotency-Replayed": "true"}
    with door():
        assert "/made/1" not in IdempotencyRecord.objects.get().response_headers


def test_an_answer_kept_by_the_release_before_is_replayed_without_them(committed_cast):
    run(committed_cast.org, answer())
    with door(), connection.cursor() as cursor:
        columns = "org_id, user_id, request_hash, response_status, response_body, created_at"
        cursor.execute(
            f"INSERT INTO core_idempotencyrecord (key, {columns})"
            f" SELECT 'older', {columns} FROM core_idempotencyrecord"
        )
    again = run(committed_cast.org, never, key="older")
    assert (again.status_code, again.data) == (201, {"made": 1})
    assert own_headers(again) == {"Idempotency-Replayed": "true"}


def test_a_replayed_secret_is_stored_by_no_cache_and_a_made_thing_is_found(cast, api):
    client = api("owner")

    def twice(address, body):
        headers = {"Idempotency-Key": "k" + address}
        first, again = (client.post(address, body, headers=headers) for _ in range(2))
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["Idempotency-Replayed"] == "true"
        return first.headers, again.headers

    _, again = twice("/orgs/acme/tokens", {"name": "ci", "role": "viewer", "scopes": ["read"]})
    assert again["Cache-Control"] == "no-store"
    first, again = twice("/orgs/acme/members", {"user_id": cast.outsider.pk, "role": "developer"})
    assert (
        again["Location"] == first["Location"] == f"/orgs/{cast.org.pk}/members/{cast.outsider.pk}"
    )
    assert again["ETag"] == first["ETag"]
    assert again["Cache-Control"] == first["Cache-Control"] == "private, no-cache"
