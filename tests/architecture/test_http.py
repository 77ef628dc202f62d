"""What HTTP asks of every route, and of what is read and changed."""

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from orgs.models import Membership
from quotas.models import Budget
from tests.architecture.permission_table import ORG_ROUTES, PUBLIC_ROUTES
from tests.architecture.routes import Route, api_routes
from tests.factories import ModuleFactory

ROUTES = api_routes()
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
UNSERVED = ("OPTIONS", "TRACE", "PROPFIND")
# Single resources of the organization, which are all there once it is made.
SINGLE = (
    "",
    "/quotas",
    "/budget",
    "/alerts",
    "/billing/details",
    "/members/{owner}",
    "/modules/pay",
)


@pytest.fixture
def owner(cast, api):
    call_command("seed_plans", verbosity=0)
    ModuleFactory(org=cast.org, name="pay")
    return api("owner")


def address(cast, path: str) -> str:
    return f"/orgs/acme{path}".format(owner=cast.owner.pk)


def methods_of(pattern: str) -> set[str]:
    found = {route.method for route in ROUTES if route.pattern == pattern}
    return found | ({"HEAD"} if "GET" in found else set())


def test_a_method_that_is_not_served_is_a_405_that_names_those_that_are(cast, api):
    call_command("seed_plans", verbosity=0)
    people = {"owner": api("owner"), "staff": api("staff"), "anybody": APIClient()}
    for pattern in sorted({route.pattern for route in ROUTES}):
        routes = [route for route in ROUTES if route.pattern == pattern]
        client = people[reader_of(routes[0])]
        served = methods_of(pattern)
        for method in {*METHODS, *UNSERVED} - served:
            response = client.generic(method, f"{routes[0].path()}?nobody-asked=1")
            assert response.status_code == 405, (method, pattern, response.content)
            assert set(response.headers["Allow"].split(", ")) == served, (method, pattern)
            if method != "HEAD":
                assert response.json()["code"] == "method_not_allowed"


def reader_of(route: Route) -> str:
    if str(route) in PUBLIC_ROUTES:
        return "anybody"
    return "owner" if "owner" in ORG_ROUTES.get(str(route), "owner") else "staff"


@pytest.mark.parametrize("path", SINGLE)
def test_what_is_read_again_unchanged_is_a_304_for_get_and_head(cast, owner, path):
    first = owner.get(address(cast, path))
    assert first.status_code == 200
    tag = first.headers["ETag"]
    if path == "/quotas":  # it says how many requests are left
        return
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        for read in (owner.get, owner.head):
            response = read(address(cast, path), headers={"If-None-Match": sent})
            assert (response.status_code, response.content) == (304, b""), (path, sent)
            assert response.headers["ETag"] == tag
            assert response.headers["Cache-Control"] == "private, no-cache"
    changed = owner.get(address(cast, path), headers={"If-None-Match": '"other"'})
    assert (changed.status_code, changed.json()) == (200, first.json())


@pytest.mark.parametrize("path", ["", "/quotas", "/alerts", "/billing/details", "/modules/pay"])
def test_an_if_match_that_holds_or_is_a_star_changes_and_any_other_is_a_412(cast, owner, api, path):
    client = api("staff") if path == "/quotas" else owner
    place = address(cast, path)
    tag = client.get(place).headers["ETag"]
    before = client.get(place).json()
    method = client.put
    for sent in ('"other"', f"W/{tag}", tag.strip('"'), "", '"'):
        response = method(place, {}, headers={"If-Match": sent})
        assert (response.status_code, response.json()["code"]) == (412, "precondition_failed"), sent
    assert ignoring_counts(client.get(place).json()) == ignoring_counts(before)
    for sent in (tag, f'"other", {tag}', "*", tag.split(".")[0] + '"'):
        assert method(place, {}, headers={"If-Match": sent}).status_code == 200, sent


def ignoring_counts(answer: dict[str, object]) -> dict[str, object]:
    """Without what a mere request changes."""
    return {name: value for name, value in answer.items() if name not in ("usage", "limits")}


def test_reading_with_an_if_match_that_fails_is_a_problem_too(cast, owner):
    response = owner.get("/orgs/acme", headers={"If-Match": '"other"'})
    assert (response.status_code, response.json()["code"]) == (412, "precondition_failed")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["X-RateLimit-Remaining"]) > 0
    listed = owner.get("/orgs/acme/members", headers={"If-Match": '"other"'})
    assert (listed.status_code, listed.json()["code"]) == (412, "precondition_failed")
    since = {"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}
    assert owner.get("/orgs/acme", headers=since).status_code == 200


def test_a_304_never_hides_what_changed_beside_the_row(cast, owner, api):
    """A role, a person's name and what a budget has spent are not of the row that the tag names."""
    developer = api("developer")
    read = developer.get("/orgs/acme")
    Membership.objects.filter(org=cast.org, user=cast.developer).update(role="viewer")
    again = developer.get("/orgs/acme", headers={"If-None-Match": read.headers["ETag"]})
    assert (again.status_code, again.json()["role"]) == (200, "viewer")

    place = f"/orgs/acme/members/{cast.viewer.pk}"
    tag = owner.get(place).headers["ETag"]
    assert api("viewer").patch("/me", {"name": "Renamed"}).status_code == 200
    assert owner.get(place, headers={"If-None-Match": tag}).json()["name"] == "Renamed"

    assert owner.put("/orgs/acme/budget", {"amount_cents": 100}).status_code == 200
    read = owner.get("/orgs/acme/budget")
    name = read.headers["ETag"].rpartition(".")[0]
    Budget.objects.filter(org_id=cast.org.pk).update(amount_minor=50)
    again = owner.get("/orgs/acme/budget", headers={"If-None-Match": read.headers["ETag"]})
    assert (again.status_code, again.json()["amount_cents"]) == (200, 50)
    assert again.headers["ETag"].rpartition(".")[0] == name


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/*", 200),
        ("text/html, */*;q=0.1", 200),
        ("", 200),
        ("text/html", 406),
        ("application/problem+json", 406),
        ("application/json;q=0", 406),
        ("application/json; q=0.0", 406),
        ("nonsense", 406),
    ],
)
def test_an_accept_that_leaves_json_out_is_a_406(cast, owner, accept, status):
    response = owner.get("/orgs/acme", headers={"Accept": accept})
    assert response.status_code == status
    if status == 406:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["code"] == "not_acceptable"


def test_problems_are_not_kept_by_caches_and_have_no_entity_tag(cast, owner):
    for place in ("/orgs/acme/", "/nothing-here", "/orgs/acme/modules/none", "/orgs/rival"):
        response = owner.get(place)
        assert response.status_code == 404
        assert response.headers["Cache-Control"] in ("no-store", "private, no-cache")
        assert "ETag" not in response.headers


def test_nothing_invites_pages_of_other_origins(cast, owner):
    asked = {"Origin": "https://other.example", "Access-Control-Request-Method": "GET"}
    assert owner.options("/orgs/acme", headers=asked).status_code == 405
    response = owner.get("/orgs/acme", headers={"Origin": "https://other.example"})
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("Access-Control")]
