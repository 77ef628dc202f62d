"""Reservations and checks over HTTP."""

from datetime import timedelta

import pytest

from quotas.models import Hold, PeriodUsage
from quotas.resources import Resource
from quotas.services.holds import place_hold
from quotas.services.reservations import reserve
from quotas.tests.conftest import NOW

URL = "/orgs/acme/quotas/reservations"
pytestmark = pytest.mark.usefixtures("plans", "at_now")


def used(org) -> int:
    return sum(PeriodUsage.objects.filter(org=org).values_list("used", flat=True))


def test_a_build_reserves_and_commits_what_it_used(api, cast):
    client = api("developer")
    response = client.post(URL, {"resource": "compile_jobs", "amount": 3, "reference": "b-1"})
    assert response.status_code == 201
    hold = response.json()
    assert hold == {
        "id": hold["id"],
        "resource": "compile_jobs",
        "amount": 3,
        "state": "held",
        "reference": "b-1",
        "created_at": "2026-11-23T14:20:00Z",
        "expires_at": "2026-11-23T14:35:00Z",
        "settled_at": None,
    }
    assert client.get(f"{URL}/{hold['id']}").json() == hold
    assert used(cast.org) == 3
    response = client.post(f"{URL}/{hold['id']}/commit", {"amount": 2})
    assert response.status_code == 200
    assert (response.json()["state"], response.json()["amount"]) == ("committed", 2)
    assert client.post(f"{URL}/{hold['id']}/commit", {}).status_code == 200
    assert used(cast.org) == 2
    response = client.post(f"{URL}/{hold['id']}/release")
    assert (response.status_code, response.json()["code"]) == (409, "reservation_committed")
    assert used(cast.org) == 2


def test_the_list_is_newest_first_and_filtered(api, cast):
    client = api("developer")
    ids = [
        client.post(URL, {"resource": "storage", "amount": n, "reference": f"r{n}"}).json()["id"]
        for n in (1, 2, 3)
    ]
    assert client.post(f"{URL}/{ids[1]}/release").json()["state"] == "released"
    assert [row["id"] for row in api("viewer").get(URL).json()["results"]] == ids[::-1]
    held = client.get(f"{URL}?state=held&limit=1").json()
    assert [row["id"] for row in held["results"]] == [ids[2]]
    assert [row["id"] for row in client.get(held["next"]).json()["results"]] == [ids[0]]
    assert [row["id"] for row in client.get(f"{URL}?reference=r2").json()["results"]] == [ids[1]]


def test_the_same_key_reserves_once(api, cast):
    client = api("developer")
    body = {"resource": "compile_jobs", "amount": 1}
    answers = [client.post(URL, body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert used(cast.org) == Hold.objects.count() == 1


def test_beyond_the_limit_is_a_403_and_nothing_is_held(api, cast):
    response = api("developer").post(URL, {"resource": "compile_jobs", "amount": 101})
    assert response.status_code == 403
    body = response.json()
    assert (body["code"], body["current"], body["limit"]) == ("quota_exceeded", 0, 100)
    assert used(cast.org) == Hold.objects.count() == 0


def test_a_hold_of_another_organization_is_not_there(api, cast):
    hold = place_hold(
        org_id=cast.other_org.pk,
        resource=Resource.STORAGE,
        amount=1,
        lifetime=timedelta(hours=1),
        reference="",
        now=NOW,
    )
    client = api("owner")
    assert client.get(f"{URL}/{hold.pk}").status_code == 404
    for action in ("commit", "release"):
        assert client.post(f"{URL}/{hold.pk}/{action}").status_code == 404
    assert Hold.objects.get().state == "held"


def test_after_its_time_it_cannot_be_committed(api, cast, time_machine):
    client = api("developer")
    sent = {"resource": "compile_jobs", "amount": 1, "expires_in": 60}
    hold = client.post(URL, sent).json()
    time_machine.move_to(NOW + timedelta(seconds=60), tick=False)
    response = client.post(f"{URL}/{hold['id']}/commit", {})
    assert (response.status_code, response.json()["code"]) == (409, "reservation_expired")
    assert used(cast.org) == 1


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"resource": "modules", "amount": 1}, "resource"),
        ({"resource": "storage"}, "amount"),
        ({"resource": "storage", "amount": 0}, "amount"),
        ({"resource": "storage", "amount": 2**63}, "amount"),
        ({"resource": "storage", "amount": 1, "expires_in": 86_401}, "expires_in"),
        ({"resource": "storage", "amount": 1, "reference": "x" * 256}, "reference"),
        ({"resource": "storage", "amount": 1, "module": "m"}, "module"),
    ],
)
def test_bad_reservations_are_refused_by_name(api, cast, sent, field):
    response = api("developer").post(URL, sent)
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == field
    assert not Hold.objects.exists()


def test_checking_answers_what_reserving_would(api, cast):
    reserve(org_id=cast.org.pk, resource=Resource.COMPILE_JOBS, amount=98, now=NOW)
    client = api("viewer")

    def check(**sent):
        response = client.post("/orgs/acme/quotas/check", sent)
        assert response.status_code == 200
        return response.json()

    assert check(resource="compile_jobs", amount=2) == {
        "resource": "compile_jobs",
        "amount": 2,
        "allowed": True,
        "current": 98,
        "limit": 100,
        "overage": False,
        "reason": None,
    }
    refused = check(resource="compile_jobs", amount=3)
    assert (refused["allowed"], refused["reason"]) == (False, "quota_exceeded")
    requests = check(resource="api_requests", amount=998)
    assert (requests["allowed"], requests["limit"]) == (False, 1000)
    assert requests["reason"] == "rate_limited"
    assert check(resource="api_requests")["allowed"] is True
    assert used(cast.org) == 98
    assert client.post("/orgs/acme/quotas/check", {"resource": "versions"}).status_code == 400


def test_a_service_token_for_usage_may_check_and_reserve(api, client):
    asked = {"name": "farm", "role": "developer", "scopes": ["usage:write"]}
    secret = api("owner").post("/orgs/acme/tokens", asked).json()["token"]
    headers = {"Authorization": f"Bearer {secret}"}
    sent = {"resource": "storage", "amount": 5}
    for path, status in ((URL, 201), ("/orgs/acme/quotas/check", 200), ("/orgs/acme/modules", 403)):
        answer = client.post(path, sent, content_type="application/json", headers=headers)
        assert answer.status_code == status
