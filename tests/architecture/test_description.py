"""The API description is true of what the API answers."""

from typing import Any

import pytest
import requests
import schemathesis
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator
from urllib3 import HTTPResponse

from tests.architecture.permission_table import ORG_ROUTES
from tests.architecture.routes import api_routes
from tests.factories import ModuleFactory

PROBLEM = "application/problem+json"
READING = [route for route in api_routes() if route.method == "GET"]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return found


def described(pattern: str) -> str:
    """A route's address as the description writes it."""
    return "/" + "/".join(
        "{" + part[1:-1].split(":")[-1] + "}" if part.startswith("<") else part
        for part in pattern.split("/")
    )


def as_received(response: Any, address: str) -> requests.Response:
    """A test client's answer as one that came over the network."""
    received = requests.Response()
    received.status_code = response.status_code
    received._content = response.content
    received.raw = HTTPResponse(body=b"", headers=dict(response.headers), status=200)
    received.headers.update(response.headers)
    received.request = requests.Request("GET", f"http://testserver{address}").prepare()
    return received


def test_what_is_no_success_is_described_as_a_problem(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if status == "default" or status[0] in "45":
                    assert list(answer["content"]) == [PROBLEM], (method, path, status)


def test_what_is_read_is_as_described(cast, api, document):
    call_command("seed_plans", verbosity=0)
    ModuleFactory(org=cast.org, name="module")
    schema = schemathesis.openapi.from_dict(document)
    owner, staff = api("owner"), api("staff")
    seen = set()
    for route in READING:
        who = "owner" if "owner" in ORG_ROUTES.get(str(route), "owner") else "staff"
        client = staff if who == "staff" else owner
        address = route.path(user_id=cast.owner.pk)
        response = client.get(address)
        if not response.streaming:
            schema[described(route.pattern)]["GET"].validate_response(
                as_received(response, address)
            )
            seen.add((route.pattern, response.status_code))
    assert ("orgs/<org:org>/usage/history", 200) in seen
    assert ("orgs/<org:org>/usage/meters", 200) in seen
    assert sum(status == 200 for _, status in seen) > 20
