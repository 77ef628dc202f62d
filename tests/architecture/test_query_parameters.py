"""What a query holds is known, or refused by its name, on every route and with every method."""

from typing import Any

import pytest
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator
from rest_framework import serializers
from rest_framework.test import APIClient

from registry.api.serializers import PushQuerySerializer
from tests.architecture.permission_table import ORG_ROUTES, PUBLIC_ROUTES
from tests.architecture.routes import Route, api_routes
from tests.architecture.test_hostile_input import row_counts
from tests.factories import ModuleFactory

ROUTES = api_routes()
PUSH = "POST /orgs/<org:org>/modules/<str:name>/versions"


@pytest.fixture
def clients(cast, api):
    """Of a route, somebody who may call it."""
    call_command("seed_plans", verbosity=0)
    people = {"owner": api("owner"), "staff": api("staff"), "anybody": APIClient()}

    def of(route: Route) -> APIClient:
        if str(route) in PUBLIC_ROUTES:
            return people["anybody"]
        return people["owner" if "owner" in ORG_ROUTES.get(str(route), "owner") else "staff"]

    return of


def declared(route: Route) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
    """The query parameters of a route without a body, and those that pagination takes."""
    kind = route.view.queries.get(route.action)
    if str(route) == PUSH:
        kind = PushQuerySerializer
    if kind is None:
        return {}
    return {**kind().fields, **{name: serializers.CharField() for name in kind.PASSED}}


def documented(route: Route, document: dict[str, Any]) -> set[str]:
    path = "/" + "/".join(
        "{" + part[1:-1].split(":")[-1] + "}" if part.startswith("<") else part
        for part in route.pattern.split("/")
    )
    operation = document["paths"][path][route.method.lower()]
    return {p["name"] for p in operation.get("parameters", []) if p["in"] == "query"}


def send(client: APIClient, route: Route, query: str, method: str | None = None) -> Any:
    return client.generic(
        method or route.method, f"{route.path()}?{query}", b"", content_type="application/json"
    )


def refused(response: Any, route: Route) -> set[tuple[str, str]]:
    """Which parameters a 400 names, with the code of each."""
    assert response.status_code == 400, (route, response.content)
    assert response.json()["code"] == "validation_error"
    return {(error["field"], error["code"]) for error in response.json()["errors"]}


# All routes in one test each: what takes the time is the cast and its plans.
def test_an_unknown_parameter_is_refused_by_name_and_nothing_changes(clients):
    before = row_counts()
    for route in ROUTES:
        client = clients(route)
        response = send(client, route, "nobody-asked=1&limits=2&limits=3")
        assert refused(response, route) == {
            ("nobody-asked", "unknown_field"),
            ("limits", "unknown_field"),
        }
        if route.method == "GET":
            assert send(client, route, "nobody-asked", "HEAD").status_code == 400, route
    assert row_counts() == before


def test_pages_are_of_lists_alone(clients):
    for route in ROUTES:
        if sent := {"limit", "cursor"} - set(declared(route)):
            response = send(clients(route), route, "&".join(f"{name}=1" for name in sorted(sent)))
            assert refused(response, route) == {(name, "unknown_field") for name in sent}


def test_what_a_route_takes_stands_in_the_document():
    document = SchemaGenerator().get_schema(request=None, public=True)
    for route in ROUTES:
        beside_archives = {"version", "description", "dependency"} if str(route) == PUSH else set()
        assert documented(route, document) == set(declared(route)) | beside_archives, route


def test_a_parameter_is_sent_once_and_is_never_empty_or_nul(cast, clients):
    ModuleFactory(org=cast.org, name="module")
    before = row_counts()
    for route in ROUTES:
        client = clients(route)
        for name in declared(route):
            sent_twice = send(client, route, f"{name}=1&{name}=1")
            assert (name, "repeated") in refused(sent_twice, route)
            for value in ("", "%00", "a%00b"):
                response = send(client, route, f"{name}={value}")
                if response.status_code == 404:  # what it is a list of is not there
                    assert name in ("limit", "cursor"), (route, name)
                else:
                    assert name in {field for field, _ in refused(response, route)}, (name, value)
    assert row_counts() == before


def test_an_archive_is_beside_its_version_which_json_has_in_its_body(cast, api):
    client = api("owner")
    route = next(route for route in ROUTES if str(route) == PUSH)
    response = send(client, route, "version=1.0.0&dependency=a&dependency=b")
    assert refused(response, route) == {
        ("version", "unknown_field"),
        ("dependency", "unknown_field"),
    }


def test_a_thousand_parameters_are_refused(cast, api):
    response = api("owner").get("/orgs?" + "a=1&" * 1001)
    assert response.status_code == 400
    assert response.json()["code"] == "bad_request"


@pytest.mark.parametrize(
    ("address", "status"),
    [("/health/live", 200), ("/health/ready", 200), ("/metrics", 200), ("/docs", 200)],
)
def test_what_others_ask_with_parameters_of_their_own_takes_them(db, address, status):
    assert APIClient().get(f"{address}?nobody-asked=1").status_code == status


def test_the_webhook_takes_any_query(db, settings):
    settings.STRIPE_SECRET_KEY = "sk_test_x"
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_x"]
    response = APIClient().post("/billing/webhook?nobody-asked=1", {})
    assert response.json()["code"] == "bad_signature"
