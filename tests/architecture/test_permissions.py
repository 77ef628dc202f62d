"""Who may call what. Every route stands in the table; a new one fails until it does."""

import pytest
from django.core.management import call_command
from django.utils import timezone
from rest_framework.test import APIClient

from orgs.api.base import OrgScopedViewSet
from orgs.context import ALLOWED_WHILE_SUSPENDED
from orgs.models import Organization, OrganizationStatus
from orgs.roles import Scope
from tests.architecture.permission_table import ORG_ROUTES, PERSON_ROUTES, PUBLIC_ROUTES
from tests.architecture.routes import Route, api_routes
from tests.architecture.test_hostile_input import row_counts

MEMBERS = ("owner", "admin", "developer", "viewer", "staff")
ALL_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROUTES = api_routes()
IN_ORG = [route for route in ROUTES if issubclass(route.view, OrgScopedViewSet)]


@pytest.fixture(autouse=True)
def _plans(db):
    call_command("seed_plans", verbosity=0)


def send(client: APIClient, route: Route, **values: object):
    return client.generic(route.method, route.path(**values), b"", content_type="application/json")


def test_the_table_names_every_route_and_no_other():
    assert {str(route) for route in IN_ORG} == set(ORG_ROUTES)
    outside = {str(route) for route in ROUTES} - set(ORG_ROUTES)
    assert outside == set(PERSON_ROUTES) | set(PUBLIC_ROUTES)


@pytest.mark.parametrize("route", IN_ORG, ids=str)
def test_every_route_names_its_permission(route):
    assert route.action in route.view.permissions


@pytest.mark.parametrize("route", IN_ORG, ids=str)
def test_an_outsider_gets_a_404_by_name_and_by_number_whatever_the_method(cast, api, route):
    client = api("outsider")
    before = row_counts()
    for org in ("acme", cast.org.pk, "no-such-org", 10**17):
        for method in ALL_METHODS:
            response = client.generic(method, route.path(org=org), b"{}", "application/json")
            assert response.status_code == 404, (method, route)
            assert response.json()["code"] == "not_found"
    assert row_counts() == before


@pytest.mark.parametrize("route", [r for r in ROUTES if str(r) not in PUBLIC_ROUTES], ids=str)
def test_without_credentials_every_route_but_the_public_ones_is_a_401(cast, route):
    before = row_counts()
    response = send(APIClient(), route)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="Spoke"'
    assert response.json()["code"] == "not_authenticated"
    assert row_counts() == before


@pytest.mark.parametrize("route", IN_ORG, ids=str)
@pytest.mark.parametrize("role", MEMBERS)
def test_the_table_of_roles_holds(cast, api, route, role):
    allowed = role in ORG_ROUTES[str(route)].split()
    client = api(role)
    before = row_counts()
    response = send(client, route)
    code = response.json().get("code") if response.status_code >= 400 else ""
    if allowed:
        assert code not in ("permission_denied", "insufficient_scope"), response.content
    else:
        assert response.status_code == 403, response.content
        assert code == "permission_denied"
        assert row_counts() == before


# It takes a body, and reads all the same.
READING_POSTS = {"POST /orgs/<org:org>/quotas/check"}


@pytest.mark.parametrize(
    "route", [r for r in IN_ORG if r.method != "GET" and str(r) not in READING_POSTS], ids=str
)
def test_a_token_for_reading_changes_nothing(cast, api, route):
    client = api("owner", Scope.READ)
    before = row_counts()
    response = send(client, route)
    assert response.status_code == 403, response.content
    assert response.json()["code"] in ("insufficient_scope", "permission_denied")
    assert row_counts() == before


@pytest.mark.parametrize(
    "route",
    [
        r
        for r in IN_ORG
        if issubclass(r.view, OrgScopedViewSet)
        and r.view.permissions[r.action] not in ALLOWED_WHILE_SUSPENDED
        and "owner" in ORG_ROUTES.get(str(r), "").split()
    ],
    ids=str,
)
def test_a_suspended_organization_is_read_only(cast, api, route):
    Organization.objects.filter(pk=cast.org.pk).update(status=OrganizationStatus.SUSPENDED)
    client = api("owner")
    before = row_counts()
    response = send(client, route)
    assert response.status_code == 403, response.content
    assert response.json()["code"] == "organization_suspended"
    assert row_counts() == before


@pytest.mark.parametrize("route", [r for r in IN_ORG if r.method == "GET"], ids=str)
def test_a_closed_organization_is_gone_for_all_but_owners_and_staff(cast, api, route):
    now = timezone.now()
    Organization.objects.filter(pk=cast.org.pk).update(
        status=OrganizationStatus.CLOSED, closed_at=now, purge_after=now
    )
    for role in ("admin", "developer", "viewer"):
        assert send(api(role), route).status_code == 404
    code = send(api("owner"), route).json().get("code")
    assert code not in ("permission_denied", "organization_closed")
