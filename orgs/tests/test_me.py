"""`/me`: what the credentials stand for, and one's own name."""

import pytest
from rest_framework.test import APIClient

from orgs.models import User
from orgs.roles import Scope
from orgs.tests.helpers import verify


def test_a_person_with_a_token(cast, api):
    verify(cast.viewer)
    client = api("viewer", Scope.READ)
    body = client.get("/me").json()
    token = body.pop("token")
    assert body == {
        "kind": "user",
        "id": cast.viewer.pk,
        "email": "viewer@example.com",
        "name": cast.viewer.name,
        "email_verified": True,
        "is_staff": False,
    }
    assert set(token) == {"id", "name", "prefix", "scopes", "expires_at"}
    assert (token["name"], token["scopes"]) == ("test", ["read"])


def test_a_signed_in_person_has_no_token(cast):
    client = APIClient()
    client.force_login(cast.staff)
    body = client.get("/me").json()
    assert (body["token"], body["is_staff"], body["email_verified"]) == (None, True, False)


def test_an_unverified_address_says_so(cast, api):
    verify(cast.viewer, verified=False)
    verify(cast.viewer, "second@example.com")
    assert api("viewer").get("/me").json()["email_verified"] is False


def test_a_service_token(cast, api):
    made = api("owner").post("/orgs/acme/tokens", {"name": "ci", "scopes": ["usage:write"]}).json()
    client = APIClient(headers={"Authorization": f"Bearer {made['token']}"})
    assert client.get("/me").json() == {
        "kind": "service_token",
        "id": made["id"],
        "name": "ci",
        "prefix": made["prefix"],
        "role": "developer",
        "scopes": ["usage:write"],
        "expires_at": None,
        "organization": {"id": cast.org.pk, "name": "acme", "display_name": "Acme"},
    }
    assert client.patch("/me", {"name": "x"}).json()["code"] == "person_required"
    assert client.get("/me/tokens").json()["code"] == "person_required"


@pytest.mark.parametrize("method", ["patch", "put"])
def test_the_name_is_changed_and_nothing_else(cast, api, method):
    change = getattr(api("viewer", Scope.WRITE), method)
    assert change("/me", {"name": " Vi "}).json()["name"] == "Vi"
    assert change("/me", {}).json()["name"] == "Vi"
    for field in ("email", "is_staff", "id"):
        response = change("/me", {field: True})
        assert (response.status_code, response.json()["errors"][0]["field"]) == (400, field)
    assert change("/me", {"name": "x" * 201}).status_code == 400
    user = User.objects.get(pk=cast.viewer.pk)
    assert (user.name, user.email, user.is_staff) == ("Vi", "viewer@example.com", False)
    assert change("/me", {"name": ""}).json()["name"] == ""


def test_changing_takes_the_scope_to_write(cast, api):
    response = api("viewer", Scope.READ).patch("/me", {"name": "x"})
    assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
    assert User.objects.get(pk=cast.viewer.pk).name == cast.viewer.name


def test_without_credentials_nobody_is_anybody(cast):
    for method in ("get", "patch"):
        response = getattr(APIClient(), method)("/me")
        assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
