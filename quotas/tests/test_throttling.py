"""Every authorised request is governed, and its answer says how it stands."""

import pytest
import time_machine
from rest_framework.test import APIClient

from quotas.models import Plan
from quotas.resources import Resource
from quotas.services import rate_limit
from quotas.tests.conftest import override

URL = "/orgs/acme/usage"
FIELDS = (
    "RateLimit-Policy",
    "RateLimit",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
)


def headers(response):
    return {name: response.headers.get(name) for name in FIELDS}


@pytest.fixture(autouse=True)
def _plans(plans):
    """The catalogue is there."""


@pytest.fixture
def second():
    """The time of the web process; the window itself runs by Valkey's clock."""
    with time_machine.travel(1_795_443_600, tick=False):
        yield 1_795_443_600


def test_every_governed_answer_says_how_it_stands(api, second):
    client = api("owner")
    assert headers(client.get(URL)) == {
        "RateLimit-Policy": '"hour";q=1000;w=3600',
        "RateLimit": '"hour";r=999;t=3600',
        "X-RateLimit-Limit": "1000",
        "X-RateLimit-Remaining": "999",
        "X-RateLimit-Reset": str(second + 3600),
    }
    refused = client.put("/orgs/acme/quotas", {"max_modules": 1})
    assert refused.status_code == 403
    assert headers(refused)["RateLimit"] is None  # refused before it was counted
    invalid = client.get("/orgs/acme/usage/history?colour=red")
    assert invalid.status_code == 400
    assert headers(invalid)["X-RateLimit-Remaining"] == "998"


def test_a_304_says_how_it_stands_too(api, second):
    client = api("owner")
    etag = client.get("/orgs/acme").headers["ETag"]
    unchanged = client.get("/orgs/acme", headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert headers(unchanged) == {
        "RateLimit-Policy": '"hour";q=1000;w=3600',
        "RateLimit": '"hour";r=998;t=3600',
        "X-RateLimit-Limit": "1000",
        "X-RateLimit-Remaining": "998",
        "X-RateLimit-Reset": str(second + 3600),
    }


def test_beyond_the_limit_429_says_when_to_try_again(api, cast, second):
    override(cast.org.pk, Resource.API_REQUESTS, 2)
    clients = [api("owner"), api("viewer")]
    assert [clients[index % 2].get(URL).status_code for index in range(2)] == [200, 200]
    response = clients[0].get(URL)
    assert response.status_code == 429
    wait = int(response.headers["Retry-After"])
    assert 3590 <= wait <= 3600
    assert headers(response) == {
        "RateLimit-Policy": '"hour";q=2;w=3600',
        "RateLimit": f'"hour";r=0;t={wait}',
        "X-RateLimit-Limit": "2",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(second + wait),
    }
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body.pop("request_id") == response.headers["X-Request-ID"]
    assert body == {
        "type": "/docs/errors#rate_limited",
        "title": "Too many requests",
        "status": 429,
        "detail": f"2 requests an hour are allowed. Try again in {wait} s.",
        "code": "rate_limited",
        "errors": [],
        "limit": 2,
        "remaining": 0,
        "reset": second + wait,
    }


def test_one_organizations_limit_is_not_anothers(api, cast):
    override(cast.org.pk, Resource.API_REQUESTS, 0)
    assert api("owner").get(URL).status_code == 429
    assert api("outsider").get("/orgs/rival/usage").status_code == 200


def test_staff_get_through_to_raise_a_limit_that_is_used_up(api, cast):
    override(cast.org.pk, Resource.API_REQUESTS, 0)
    staff = api("staff")
    response = staff.patch("/orgs/acme/quotas", {"reset": ["api_rate_limit_per_hour"]})
    assert response.status_code == 200
    assert headers(response)["RateLimit-Policy"] == '"hour";q=5000;w=3600'
    owner = api("owner").get(URL)
    assert owner.status_code == 200
    assert headers(owner)["X-RateLimit-Remaining"] == "999"


def test_a_service_token_that_asks_for_itself_is_counted(api, cast):
    made = api("owner").post("/orgs/acme/tokens", {"name": "ci"}).json()
    client = APIClient(headers={"Authorization": f"Bearer {made['token']}"})
    assert headers(client.get("/me"))["RateLimit"] == '"hour";r=998;t=3600'
    override(cast.org.pk, Resource.API_REQUESTS, 2)
    refused = client.get("/me")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")


def test_a_change_of_the_limit_applies_to_the_next_request(api, cast, give):
    client = api("owner")
    assert headers(client.get(URL))["X-RateLimit-Limit"] == "1000"
    give("pro")
    assert headers(client.get(URL))["RateLimit"] == '"hour";r=9998;t=3600'
    override(cast.org.pk, Resource.API_REQUESTS, 1)
    assert client.get(URL).status_code == 429


def test_of_an_unlimited_organization_nothing_is_said(api, cast):
    override(cast.org.pk, Resource.API_REQUESTS, None)
    response = api("owner").get(URL)
    assert response.status_code == 200
    assert set(headers(response).values()) == {None}
    assert response.json()["api_requests_count"] == 1


def test_figures_fit_into_a_structured_field(api, cast):
    override(cast.org.pk, Resource.API_REQUESTS, 2**63 - 1)
    assert headers(api("owner").get(URL))["RateLimit-Policy"] == '"hour";q=999999999999999;w=3600'


def test_who_is_not_let_in_is_not_counted(api, redis):
    assert APIClient().get(URL).status_code == 401
    assert api("outsider").get(URL).status_code == 404
    assert redis.keys("spoke:*") == []


def test_before_seeding_requests_are_served_under_a_fixed_limit(api):
    Plan.objects.all().delete()
    response = api("owner").get(URL)
    assert response.status_code == 503
    assert response.json()["code"] == "plans_missing"
    assert headers(response)["RateLimit-Policy"] == '"hour";q=1000;w=3600'


def test_with_valkey_away_requests_are_served(api, own_valkey):
    own_valkey.stop()
    response = api("owner").get(URL)
    assert response.status_code == 200
    assert headers(response)["RateLimit-Policy"] == '"hour";q=1000;w=3600'
    assert headers(response)["X-RateLimit-Remaining"] == "499"
    assert rate_limit.outage.spool.pending() == 1


def test_with_valkey_away_requests_are_refused_where_that_is_set(api, own_valkey, settings):
    settings.QUOTA_RATE_LIMIT_FAIL_CLOSED = True
    own_valkey.stop()
    response = api("owner").get(URL)
    assert response.status_code == 503
    assert response.json()["code"] == "service_unavailable"
    assert response.headers["Retry-After"] == "5"
