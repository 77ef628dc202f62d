"""Bad input is a clear 4xx on every endpoint that takes a body: never a 500, and nothing written."""

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from drf_spectacular.generators import SchemaGenerator

from tests.architecture.routes import Route, api_routes

WRITING = [route for route in api_routes() if route.method in ("POST", "PUT", "PATCH")]
MALFORMED: list[tuple[bytes, str]] = [
    (b"{", "application/json"),
    (b"\xff\xfe{}", "application/json"),
    (b'{"a":' * 50_000, "application/json"),
    (b"[" * 40 + b"]" * 40, "application/json"),
    (b'{"nobody-knows-this": 1}', "application/json"),
    (b'{"name": "a\\u0000b", "email": "a\\u0000b"}', "application/json"),
    (b'{"name": "\\ud800"}', "application/json"),
    (b'{"a": 1e400}', "application/json"),
    (b'{"a": ' + b"9" * 400 + b"}", "application/json"),
    (b"[]", "application/json"),
    (b'"text"', "application/json"),
    (b"null", "application/json"),
    (b"<xml/>", "application/xml"),
    (b"a=1", "application/x-www-form-urlencoded"),
]
HOSTILE_VALUES: list[Any] = [
    None,
    True,
    -1,
    2**62,
    1.5,
    "",
    "\u202e\ufeff",
    "'; DROP TABLE orgs_user; --",
    "x" * 5000,
    [],
    [[]],
    {},
    {"a": {"b": []}},
    ["x"] * 1000,
]


def row_counts() -> dict[str, int]:
    """How many rows every table has, as one sees them past row-level security."""
    tables = connection.introspection.table_names()
    with connection.cursor() as cursor:
        union = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM \"{name}\"" for name in tables)
        cursor.execute(union)
        return dict(cursor.fetchall())


def request_fields(route: Route, schema: dict[str, Any]) -> list[str]:
    """The names in the JSON body that the OpenAPI document states for a route."""
    path = "/" + route.pattern
    for part in path.split("/"):
        if part.startswith("<"):
            path = path.replace(part, "{" + part[1:-1].split(":")[-1] + "}")
    content = schema["paths"][path][route.method.lower()].get("requestBody", {}).get("content", {})
    ref = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    return list(schema["components"]["schemas"].get(ref.split("/")[-1], {}).get("properties", {}))


@pytest.fixture
def plans(db):
    call_command("seed_plans", verbosity=0)


@pytest.mark.parametrize("route", WRITING, ids=str)
def test_a_body_that_is_malformed_is_refused_and_nothing_is_written(cast, api, plans, route):
    clients = [api("owner"), api("staff")]
    before = row_counts()
    for body, content_type in MALFORMED:
        for client in clients:
            response = client.generic(route.method, route.path(), body, content_type=content_type)
            allowed = response.status_code == 501 or 400 <= response.status_code < 500
            assert allowed, (route, body[:80], response.status_code, response.content[:500])
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.json()["code"]
    assert row_counts() == before


@pytest.mark.parametrize("route", WRITING, ids=str)
def test_a_value_of_the_wrong_kind_never_breaks_the_server(cast, api, plans, route):
    fields = request_fields(route, SchemaGenerator().get_schema(request=None, public=True))
    client = api("staff" if "quotas" in route.pattern or "credit" in route.pattern else "owner")
    for field in fields:
        for value in HOSTILE_VALUES:
            response = client.generic(
                route.method,
                route.path(),
                json.dumps({field: value}).encode(),
                content_type="application/json",
            )
            assert response.status_code < 500 or response.status_code == 501, (
                route,
                field,
                value,
                response.content[:500],
            )


def test_two_megabytes_of_name_are_refused_by_size(cast, api, plans):
    client = api("owner")
    before = row_counts()
    response = client.post("/orgs", {"name": "n" * 2_000_000})
    assert response.status_code == 413
    assert response.json()["code"] == "payload_too_large"
    assert row_counts() == before
