"""POST /orgs/{id}/usage/events and GET /orgs/{id}/usage/meters."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from orgs.models import Organization
from orgs.roles import Scope
from quotas.models import EventKey, MeterBucket, UsageEvent
from quotas.tests.conftest import NOW
from quotas.tests.events import event

pytestmark = pytest.mark.usefixtures("plans", "at_now")
URL, METERS = "/orgs/acme/usage/events", "/orgs/acme/usage/meters"


def send(client, *events, **headers):
    return client.post(URL, {"events": list(events)}, format="json", headers=headers)


def send_raw(client, body: bytes):
    return client.generic("POST", URL, body, content_type="application/json")


def stored() -> int:
    assert EventKey.objects.count() == UsageEvent.objects.count()
    return UsageEvent.objects.count()


@pytest.mark.parametrize("who", ["owner", "admin", "developer"])
def test_members_who_build_send_events(api, who):
    response = send(api(who), event(), event())
    assert response.status_code == 200
    assert response.json() == {"accepted": 2, "duplicates": 0, "rejected": 0, "results": []}
    assert stored() == 2


def test_the_answer_names_what_was_not_stored(api):
    client = api("owner")
    first = event(idempotency_key="one")
    send(client, first)
    response = send(
        client,
        event(),
        first | {"timestamp": NOW.isoformat()},
        event(idempotency_key="two", meter="nothing"),
    )
    assert response.json() == {
        "accepted": 1,
        "duplicates": 1,
        "rejected": 1,
        "results": [
            {
                "index": 1,
                "idempotency_key": "one",
                "status": "duplicate",
                "code": "duplicate",
                "detail": "An event with this idempotency_key is stored.",
            },
            {
                "index": 2,
                "idempotency_key": "two",
                "status": "rejected",
                "code": "unknown_meter",
                "detail": "There is no such meter.",
            },
        ],
    }
    assert stored() == 2


def test_a_service_token_with_its_scope_sends_events_and_reads_none(api):
    asked = {"name": "plane", "role": "developer", "scopes": ["usage:write"]}
    made = api("owner").post("/orgs/acme/tokens", asked)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {made.json()['token']}")
    assert send(client, event()).json()["accepted"] == 1
    assert client.get(METERS).status_code == 403


@pytest.mark.parametrize(
    ("who", "scopes", "status"),
    [
        ("viewer", [], 403),
        ("staff", [], 403),
        ("outsider", [], 404),
        ("owner", [Scope.READ], 403),
        ("owner", [Scope.WRITE], 403),
    ],
)
def test_others_do_not(cast, who, scopes, status):
    assert send(cast.client(who, *scopes), event()).status_code == status
    assert stored() == 0


@pytest.mark.parametrize("state", ["suspended", "closed"])
def test_an_organization_that_is_not_active_takes_no_events(api, cast, state):
    now = timezone.now()
    closing = {"closed_at": now, "purge_after": now} if state == "closed" else {}
    Organization.objects.filter(pk=cast.org.pk).update(status=state, **closing)
    response = send(api("owner"), event())
    assert (response.status_code, response.json()["code"]) == (403, f"organization_{state}")
    assert stored() == 0


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("NaN", "invalid_quantity"),
        ("Infinity", "invalid_quantity"),
        ("1e400", "quantity_too_large"),
        ("1e99999999999999999999", "invalid_quantity"),
        ("9" * 5000, "quantity_too_large"),
        ("-1", "negative_quantity"),
        ("true", "invalid_quantity"),
    ],
)
def test_a_number_that_is_none_is_that_events_affair(api, number, code):
    bad = json.dumps(event(quantity="@")).replace('"@"', number)
    good = json.dumps(event(quantity="@")).replace('"@"', "0.1")
    response = send_raw(api("owner"), f'{{"events": [{bad}, {good}]}}'.encode())
    assert response.status_code == 200, response.content
    assert response.json()["accepted"] == 1
    assert [(r["index"], r["code"]) for r in response.json()["results"]] == [(0, code)]
    assert str(UsageEvent.objects.get().quantity) == "0.100000000000"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"", "required", "events"),
        (b"{}", "required", "events"),
        (b"[]", "invalid", "non_field_errors"),
        (b"null", "invalid", "non_field_errors"),
        (b'{"events": {}}', "not_a_list", "events"),
        (b'{"events": [], "more": 1}', "unknown_field", "more"),
        (b'{"events": [' + b",".join([b"{}"] * 10_001) + b"]}", "max_length", "events"),
    ],
)
def test_a_body_that_is_no_batch_is_refused_whole(api, body, code, field):
    response = send_raw(api("owner"), body)
    assert (response.status_code, response.json()["code"]) == (400, "validation_error")
    error = response.json()["errors"][0]
    assert (error["field"], error["code"]) == (field, code)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"events": [\xff]}',
        b'{"events": ' + b"[" * 100_000,
        b'{"events": [{"meter": "a", "meter": "b"}]}',
    ],
)
def test_what_is_no_json_is_refused(api, body):
    response = send_raw(api("owner"), body)
    assert (response.status_code, response.json()["code"]) == (400, "parse_error")
    assert stored() == 0


def test_a_body_may_be_larger_than_others_but_has_a_limit(api, settings):
    settings.MAX_BODY_BYTES, settings.MAX_EVENTS_BYTES = 100, 2_000
    client = api("owner")
    assert send(client, event(), event()).status_code == 200
    response = send(client, *[event() for _ in range(50)])
    assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
    assert stored() == 2


def test_ten_thousand_events_fit(api):
    batch = [event(properties={"user": f"user-{n}"}) for n in range(10_000)]
    assert send(api("owner"), *batch).json()["accepted"] == 10_000
    assert send(api("owner"), *reversed(batch)).json()["duplicates"] == 10_000
    assert stored() == 10_000


def test_an_idempotency_key_replays_the_answer(api):
    client = api("owner")
    batch = [event(quantity=1.5), event(quantity=-1)]
    headers = {"Idempotency-Key": "once"}
    first, again = send(client, *batch, **headers), send(client, *batch, **headers)
    assert first.json() == again.json()
    assert first.json()["accepted"] == 1
    assert again.headers["Idempotency-Replayed"] == "true"


def bucket(cast, meter_id, span, start, total):
    return MeterBucket.objects.create(
        org=cast.org,
        meter_id=meter_id,
        span=span,
        start=start,
        events=2,
        total=total,
        maximum=total,
        moment=0,
    )


def test_members_read_totals_and_series(api, cast):
    client = api("viewer")
    day = NOW.replace(hour=0, minute=0)
    empty = client.get(METERS).json()
    assert [row["meter"] for row in empty["results"]] == [
        *("active_developers", "artifact_downloads", "cache_bytes", "compile_jobs"),
        *("compile_seconds", "peak_concurrency", "queue_depth"),
    ]
    assert [row["total"] for row in empty["results"]] == ["0", "0", "0", "0", "0", None, None]
    assert (empty["start"], empty["end"]) == ("2026-11-01T00:00:00Z", "2026-11-23T14:20:00Z")
    send(api("owner"), event("compile_seconds", 5))
    meter_id = UsageEvent.objects.get().meter_id
    for span in ("day", "hour"):
        bucket(cast, meter_id, span, day, "20.50")
    response = client.get(
        METERS,
        {
            "meter": "compile_seconds",
            "start": (day - timedelta(days=1)).isoformat(),
            "end": (day + timedelta(days=1)).isoformat(),
            "granularity": "day",
        },
    )
    assert response.json() == {
        "start": "2026-11-22T00:00:00Z",
        "end": "2026-11-24T00:00:00Z",
        "results": [
            {
                "meter": "compile_seconds",
                "name": "Time spent compiling",
                "aggregation": "sum",
                "unit": "seconds",
                "total": "20.5",
                "series": [
                    {"start": "2026-11-22T00:00:00Z", "value": "0"},
                    {"start": "2026-11-23T00:00:00Z", "value": "20.5"},
                ],
            }
        ],
        "next": None,
        "previous": None,
    }
    assert api("outsider").get(METERS).status_code == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"meter": "nothing"}, 404),
        ({"start": "2026-11-23T00:00:00Z", "end": "2026-11-23T00:00:00Z"}, 400),
        ({"start": "0001-01-01T00:00:00+10:00"}, 400),
        ({"end": "9999-12-31T23:59:59-10:00"}, 400),
        ({"end": "2026-10-01T00:00:00Z"}, 400),
        ({"start": "2026-01-01T00:00:00Z", "granularity": "hour"}, 400),
        ({"granularity": "week"}, 400),
        ({"colour": "red"}, 400),
        ({"meter": "a\x00b"}, 400),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(api, query, status):
    assert api("owner").get(METERS, query).status_code == status
