"""Creating, reading, listing and changing organizations."""

import pytest
from django.utils import timezone

from orgs.models import AuditEvent, Membership, Organization
from orgs.roles import Scope
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory


def test_the_creator_owns_the_new_organization_on_free_limits(cast, api):
    response = api("outsider").post(
        "/orgs",
        {"name": "new-org", "display_name": "New", "description": "d", "settings": {"a": [1]}},
    )
    assert response.status_code == 201
    org = Organization.objects.get(name="new-org")
    assert response.headers["Location"] == f"/orgs/{org.pk}"
    body = response.json()
    assert body.pop("created_at") == body.pop("updated_at")
    assert body == {
        "id": org.pk,
        "name": "new-org",
        "display_name": "New",
        "description": "d",
        "plan_tier": "free",
        "pending_plan_tier": None,
        "next_step": None,
        "status": "active",
        "status_reason": "",
        "settings": {"a": [1]},
        "owner": {
            "user_id": cast.outsider.pk,
            "email": "outsider@example.com",
            "name": cast.outsider.name,
        },
        "role": "owner",
        "closed_at": None,
        "purge_after": None,
    }
    assert [(m.user_id, m.role) for m in Membership.objects.filter(org=org)] == [
        (cast.outsider.pk, "owner")
    ]
    assert AuditEvent.objects.get(org=org).action == "organization.created"


def test_a_paid_tier_waits_for_its_subscription(cast, api):
    body = api("owner").post("/orgs", {"name": "paid", "plan_tier": "pro"}).json()
    assert (body["plan_tier"], body["pending_plan_tier"]) == ("free", "pro")
    assert body["next_step"]["url"] == f"/orgs/{body['id']}/subscription"


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({}, "name"),
        ({"name": "ab"}, "name"),
        ({"name": "Upper"}, "name"),
        ({"name": "1abc"}, "name"),
        ({"name": "a--b"}, "name"),
        ({"name": "abc-"}, "name"),
        ({"name": "x" * 64}, "name"),
        ({"name": "admin"}, "name"),
        ({"name": 12345}, "name"),
        ({"name": "good-name", "plan_tier": "custom"}, "plan_tier"),
        ({"name": "good-name", "settings": []}, "settings"),
        ({"name": "good-name", "settings": {"a": "x" * 20_000}}, "settings"),
        ({"name": "good-name", "display_name": ""}, "display_name"),
        ({"name": "good-name", "display_name": "x" * 201}, "display_name"),
        ({"name": "good-name", "owner": 1}, "owner"),
    ],
)
def test_bad_input_names_its_field_and_writes_nothing(cast, api, sent, field):
    before = Organization.objects.count()
    response = api("owner").post("/orgs", sent)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert Organization.objects.count() == before


def test_a_name_is_taken_once(cast, api):
    response = api("outsider").post("/orgs", {"name": "acme"})
    assert response.status_code == 409
    assert response.json()["code"] == "name_taken"
    assert response.json()["errors"][0]["field"] == "name"
    assert Membership.objects.filter(user=cast.outsider).count() == 1


def test_the_same_key_creates_once(cast, api):
    client = api("owner")
    headers = {"Idempotency-Key": "k-1"}
    first = client.post("/orgs", {"name": "once"}, headers=headers)
    again = client.post("/orgs", {"name": "once"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    other = client.post("/orgs", {"name": "twice"}, headers=headers)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"
    assert Organization.objects.filter(name__in=["once", "twice"]).count() == 1


def test_a_key_belongs_to_its_user(cast, api):
    headers = {"Idempotency-Key": "k-1"}
    assert api("owner").post("/orgs", {"name": "mine"}, headers=headers).status_code == 201
    assert api("admin").post("/orgs", {"name": "yours"}, headers=headers).status_code == 201


def test_a_call_that_failed_may_be_sent_again_under_its_key(cast, api):
    headers = {"Idempotency-Key": "k-1"}
    client = api("owner")
    assert client.post("/orgs", {"name": "acme"}, headers=headers).status_code == 409
    Organization.objects.filter(name="acme").update(name="renamed")
    assert client.post("/orgs", {"name": "acme"}, headers=headers).status_code == 201


def test_one_sees_ones_own_organizations_only(cast, api):
    second = OrganizationFactory(name="second", owner=UserFactory())
    MembershipFactory(org=second, user=cast.owner, role="viewer")
    body = api("owner").get("/orgs").json()
    assert [(org["name"], org["role"]) for org in body["results"]] == [
        ("second", "viewer"),
        ("acme", "owner"),
    ]
    only = api("owner").get("/orgs?role=viewer").json()["results"]
    assert [org["name"] for org in only] == ["second"]
    refused = api("owner").get("/orgs?colour=red")
    assert refused.status_code == 400
    assert refused.json()["errors"] == [
        {"field": "colour", "code": "unknown_field", "detail": "This field is not known."}
    ]


def test_a_list_comes_in_pages_that_link_to_each_other(cast, api):
    for number in range(4):
        OrganizationFactory(name=f"mine-{number}", owner=cast.owner)
    client = api("owner")
    page = client.get("/orgs?limit=2").json()
    seen = [org["name"] for org in page["results"]]
    while page["next"]:
        page = client.get(page["next"]).json()
        seen += [org["name"] for org in page["results"]]
    assert seen == ["mine-3", "mine-2", "mine-1", "mine-0", "acme"]
    assert client.get(page["previous"]).status_code == 200
    for wrong in ("limit=0", "limit=201", "limit=x", "limit=1.5", "cursor=abc"):
        assert client.get(f"/orgs?{wrong}").status_code == 400, wrong


def test_reading_by_name_and_by_number_is_the_same(cast, api):
    client = api("viewer")
    by_name, by_number = client.get("/orgs/acme"), client.get(f"/orgs/{cast.org.pk}")
    assert by_name.status_code == 200
    assert by_name.json() == by_number.json()
    assert by_name.json()["role"] == "viewer"
    assert by_name.headers["ETag"].startswith(f'"organization-{cast.org.pk}-1.')
    unchanged = client.get("/orgs/acme", headers={"If-None-Match": by_name.headers["ETag"]})
    assert unchanged.status_code == 304


@pytest.mark.parametrize("method", ["put", "patch"])
def test_a_change_touches_what_is_sent_and_raises_the_revision(cast, api, method):
    client = api("admin")
    response = getattr(client, method)("/orgs/acme", {"name": "acme", "description": "new"})
    assert response.status_code == 200
    assert (response.json()["description"], response.json()["display_name"]) == ("new", "Acme")
    assert response.headers["ETag"].startswith(f'"organization-{cast.org.pk}-2.')
    event = AuditEvent.objects.get(org=cast.org)
    assert (event.action, event.actor_label) == ("organization.updated", "admin@example.com")
    assert event.request_id == response.headers["X-Request-ID"]
    same = getattr(client, method)("/orgs/acme", {"description": "new"})
    assert same.headers["ETag"] == response.headers["ETag"]


def test_the_name_never_changes(cast, api):
    response = api("owner").patch("/orgs/acme", {"name": "other"})
    assert response.status_code == 400
    assert response.json()["errors"] == [
        {"field": "name", "code": "immutable", "detail": "The name never changes."}
    ]
    assert Organization.objects.filter(name="acme").exists()


def test_a_change_based_on_an_old_reading_is_refused(cast, api):
    client = api("owner")
    etag = client.get("/orgs/acme").headers["ETag"]
    first = client.patch("/orgs/acme", {"description": "1"}, headers={"If-Match": etag})
    assert first.status_code == 200
    second = client.patch("/orgs/acme", {"description": "2"}, headers={"If-Match": etag})
    assert second.status_code == 412
    assert second.json()["code"] == "precondition_failed"
    assert Organization.objects.get(pk=cast.org.pk).description == "1"


def test_a_token_for_reading_creates_nothing(cast, api):
    response = api("owner", Scope.READ).post("/orgs", {"name": "nope"})
    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"
    assert not Organization.objects.filter(name="nope").exists()


def test_times_are_utc(cast, api):
    body = api("owner").get("/orgs/acme").json()
    assert body["created_at"].endswith("Z")
    assert body["created_at"] <= timezone.now().isoformat().replace("+00:00", "Z")


def test_a_method_that_is_not_known_is_told_those_that_are(cast, api):
    for method in ("options", "trace", "post"):
        refused = getattr(api("owner"), method)("/orgs/acme")
        assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
        assert refused.headers["Allow"] == "GET, HEAD, PUT, PATCH, DELETE"
        assert getattr(api("outsider"), method)("/orgs/acme").status_code == 404


def test_true_is_not_taken_for_one(cast, api):
    for value in (1, True, 1.0):
        changed = api("owner").patch("/orgs/acme", {"settings": {"a": [value]}}).json()
        stored = Organization.objects.get(pk=cast.org.pk).settings["a"][0]
        assert (changed["settings"]["a"], repr(stored)) == ([value], repr(value))
