"""Modules over the API."""

import base64
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orgs.context import SYSTEM
from orgs.models import AuditEvent
from quotas.models import UsageGauge
from registry.models import Module
from registry.services import modules
from registry.tests.conftest import gauge, make_module, push
from spoke.core import tenancy

URL = "/orgs/acme/modules"
READERS = ("owner", "admin", "developer", "viewer", "staff")
WRITERS = ("owner", "admin", "developer")


def test_a_module_is_created_and_read_back(owner, cast):
    response = owner.post(
        URL, {"name": "pay", "description": "Payments", "is_public": True}, format="json"
    )
    assert response.status_code == 201
    body = response.json()
    module = Module.objects.get()
    assert body == {
        "id": module.pk,
        "name": "pay",
        "description": "Payments",
        "is_public": True,
        "breaking_policy": "warn",
        "versions_count": 0,
        "latest_version": None,
        "created_at": module.created_at.isoformat().replace("+00:00", "Z"),
        "updated_at": module.created_at.isoformat().replace("+00:00", "Z"),
    }
    assert response.headers["ETag"].startswith(f'"module-{module.pk}-1.')
    assert response.headers["Location"] == f"/orgs/{cast.org.pk}/modules/{module.name}"
    assert owner.get(f"{URL}/pay").json() == body
    assert gauge("modules", cast.org.pk) == 1
    event = AuditEvent.objects.get()
    assert (event.action, event.target_type, event.target_id, event.actor_label) == (
        "module.created",
        "module",
        str(module.pk),
        "owner@example.com",
    )
    assert event.data == {"name": "pay", "is_public": True}


@pytest.mark.parametrize(
    "name", ["", "Pay", "1pay", "-pay", "pay.v1", "pay/v1", "pay\n", "päy", "p" * 101, "_p"]
)
def test_names_that_are_refused(owner, cast, name):
    response = owner.post(URL, {"name": name})
    if name == "pay\n":  # white space around a name is trimmed, not stored
        assert response.json()["name"] == "pay"
        return
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["name"]
    assert not Module.objects.exists()
    assert gauge("modules", cast.org.pk) == 0


def test_the_longest_name(owner):
    assert make_module(owner, "p" * 100)["name"] == "p" * 100


def test_unknown_fields_are_refused_by_name(owner):
    response = owner.post(URL, {"name": "pay", "public": True})
    assert response.status_code == 400
    assert response.json()["errors"] == [
        {"field": "public", "code": "unknown_field", "detail": "This field is not known."}
    ]


def test_a_name_that_is_taken(owner, cast):
    make_module(owner)
    response = owner.post(URL, {"name": "pay"})
    assert response.status_code == 409
    body = response.json()
    assert (body["code"], body["errors"][0]["field"]) == ("module_exists", "name")
    assert Module.objects.count() == 1
    assert gauge("modules", cast.org.pk) == 1


def test_the_sixth_module_of_the_free_plan(owner, cast):
    for number in range(5):
        make_module(owner, f"m{number}")
    response = owner.post(URL, {"name": "m5"})
    assert response.status_code == 403
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body == {
        "type": "/docs/errors#quota_exceeded",
        "title": "Quota exceeded",
        "status": 403,
        "detail": "The limit is 5 modules; 5 are in use.",
        "code": "quota_exceeded",
        "errors": [],
        "request_id": response.headers["X-Request-ID"],
        "error": "quota_exceeded",
        "resource": "modules",
        "current": 5,
        "limit": 5,
        "upgrade_url": f"http://127.0.0.1:8000/orgs/{cast.org.pk}/subscription",
    }
    assert Module.objects.count() == 5
    assert AuditEvent.objects.filter(action="module.created").count() == 5
    assert owner.delete(f"{URL}/m0").status_code == 204
    make_module(owner, "m5")
    assert gauge("modules", cast.org.pk) == 5


def test_a_failure_leaves_neither_row_nor_usage(cast, plans, monkeypatch):
    def fail(**_):
        raise RuntimeError("the audit log is away")

    monkeypatch.setattr(modules, "record_event", fail)
    with pytest.raises(RuntimeError), tenancy.organization(cast.org.pk):
        modules.create_module(
            org_id=cast.org.pk,
            actor=SYSTEM,
            name="pay",
            description="",
            is_public=False,
            now=timezone.now(),
        )
    assert not Module.objects.exists()
    assert not UsageGauge.objects.exists()


def test_who_may_read_and_write(plans, cast, api):
    make_module(api("owner"))
    for who in READERS:
        assert api(who).get(URL).status_code == 200
        assert api(who).get(f"{URL}/pay").status_code == 200
    for who in ("viewer", "staff"):
        client = api(who)
        for response in (
            client.post(URL, {"name": "other"}),
            client.put(f"{URL}/pay", {"is_public": True}),
            client.patch(f"{URL}/pay", {"is_public": True}),
            client.delete(f"{URL}/pay"),
        ):
            assert response.status_code == 403
            assert response.json()["code"] == "permission_denied"
    assert list(Module.objects.values_list("name", "is_public")) == [("pay", False)]
    for number, who in enumerate(WRITERS):
        client = api(who)
        make_module(client, f"m{number}")
        assert client.patch(f"{URL}/m{number}", {"is_public": True}).status_code == 200
        assert client.delete(f"{URL}/m{number}").status_code == 204


def test_another_organizations_modules_are_invisible(plans, cast, api):
    owner, outsider = api("owner"), api("outsider")
    mine = make_module(owner, description="ours")
    theirs = make_module(outsider, org="rival", description="theirs")
    assert owner.get(f"{URL}/pay").json()["id"] == mine["id"]
    assert outsider.get("/orgs/rival/modules/pay").json()["id"] == theirs["id"]
    for method in ("get", "put", "patch", "delete"):
        response = getattr(outsider, method)(f"{URL}/pay")
        assert response.status_code == 404
        assert response.json()["code"] == "not_found"
    assert outsider.get(URL).status_code == 404
    make_module(owner, "secret")
    assert outsider.get("/orgs/rival/modules/secret").status_code == 404
    assert owner.delete(f"{URL}/pay").status_code == 204
    assert outsider.get("/orgs/rival/modules/pay").json()["description"] == "theirs"
    assert gauge("modules", cast.other_org.pk) == 1


def test_changes_touch_only_what_is_sent(owner, cast):
    made = make_module(owner, description="old")
    for method in (owner.put, owner.patch):
        response = method(f"{URL}/pay", {"description": f"by {method.__name__}"})
        assert response.status_code == 200
        assert response.json()["description"] == f"by {method.__name__}"
        assert response.json()["is_public"] is False
    assert response.headers["ETag"].startswith(f'"module-{made["id"]}-3.')
    assert response.json()["updated_at"] > made["updated_at"]
    event = AuditEvent.objects.latest("id")
    assert event.action == "module.updated"
    assert event.data == {
        "name": "pay",
        "old": {"description": "by put"},
        "new": {"description": "by patch"},
    }
    assert owner.patch(f"{URL}/pay", {"description": ""}).json()["description"] == ""


def test_what_changes_nothing_is_no_change(owner):
    made = make_module(owner, description="same")
    response = owner.put(f"{URL}/pay", {"name": "pay", "description": "same"})
    assert response.status_code == 200
    assert response.json() == made
    assert response.headers["ETag"].split(".")[0].endswith("-1")
    assert list(AuditEvent.objects.values_list("action", flat=True)) == ["module.created"]


def test_the_name_never_changes(owner):
    make_module(owner)
    response = owner.patch(f"{URL}/pay", {"name": "paid", "description": "new"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "name"
    assert response.json()["code"] == "immutable"
    assert list(Module.objects.values_list("name", "description")) == [("pay", "")]


def test_if_match(owner):
    make_module(owner)
    first = owner.get(f"{URL}/pay").headers["ETag"]
    changed = owner.patch(f"{URL}/pay", {"is_public": True}, headers={"If-Match": first})
    assert changed.status_code == 200
    for response in (
        owner.patch(f"{URL}/pay", {"is_public": False}, headers={"If-Match": first}),
        owner.delete(f"{URL}/pay", headers={"If-Match": first}),
    ):
        assert response.status_code == 412
        assert response.json()["code"] == "precondition_failed"
    assert Module.objects.get().is_public is True
    current = changed.headers["ETag"]
    unchanged = owner.get(f"{URL}/pay", headers={"If-None-Match": current})
    assert unchanged.status_code == 304
    assert owner.delete(f"{URL}/pay", headers={"If-Match": current}).status_code == 204


def test_publishing_makes_the_modules_tag_stale(owner):
    make_module(owner)
    tag = owner.get(f"{URL}/pay").headers["ETag"]
    assert push(owner, "1.0.0").status_code == 201
    response = owner.get(f"{URL}/pay", headers={"If-None-Match": tag})
    assert response.status_code == 200
    assert response.json()["versions_count"] == 1


@pytest.mark.parametrize("name", ["nothing", "Pay", "pay%00", "p%ff", "p" * 300, "..."])
def test_unknown_modules(owner, name):
    make_module(owner)
    for method in ("get", "put", "patch", "delete"):
        response = getattr(owner, method)(f"{URL}/{name}")
        assert response.status_code == 404
        assert response.json()["code"] == "not_found"
    assert Module.objects.count() == 1


def test_the_list_is_by_name_filtered_and_paged(owner):
    for name, public in (("pay", True), ("auth", False), ("mail", True), ("auth-admin", False)):
        make_module(owner, name, is_public=public, description=f"The {name.upper()} module")

    def names(query: str) -> list[str]:
        response = owner.get(f"{URL}?{query}")
        assert response.status_code == 200, response.content
        return [module["name"] for module in response.json()["results"]]

    assert names("") == ["auth", "auth-admin", "mail", "pay"]
    assert names("is_public=true") == ["mail", "pay"]
    assert names("is_public=false&search=AUTH") == ["auth", "auth-admin"]
    assert names("search=the%20mail") == ["mail"]
    assert names("search=%25") == []
    first = owner.get(f"{URL}?limit=3").json()
    assert [module["name"] for module in first["results"]] == ["auth", "auth-admin", "mail"]
    assert first["previous"] is None
    second = owner.get(first["next"]).json()
    assert [module["name"] for module in second["results"]] == ["pay"]
    assert second["next"] is None
    assert [m["name"] for m in owner.get(second["previous"]).json()["results"]] == [
        "auth",
        "auth-admin",
        "mail",
    ]


@pytest.mark.parametrize(
    "query",
    ["ordering=name", "is_public=perhaps", "limit=0", "limit=201", "cursor=x", "search=a%00b"],
)
def test_bad_queries_are_refused(owner, query):
    response = owner.get(f"{URL}?{query}")
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == query.split("=")[0]


@pytest.mark.parametrize("position", ["p=%00", "p=a%00b", "r=x", "o=-1", "o=x"])
def test_a_cursor_of_ones_own_making_never_breaks_the_server(owner, position):
    cursor = base64.b64encode(position.encode()).decode()
    response = owner.get(URL, {"cursor": cursor})
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "cursor"


def test_the_list_takes_as_many_queries_for_many_as_for_one(owner, cast):
    def count() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert owner.get(URL).status_code == 200
        return len(queries)

    make_module(owner, "m0")
    push(owner, "1.0.0", module="m0")
    one = count()
    for number in range(1, 5):
        make_module(owner, f"m{number}")
        push(owner, "1.0.0", module=f"m{number}")
    assert count() == one


def test_the_summary_names_the_newest_release(owner):
    make_module(owner)
    seen = []
    for version in ("1.0.0-rc.1", "1.0.0-rc.2", "0.9.0", "1.0.0", "2.0.0-beta", "0.10.0"):
        assert push(owner, version).status_code == 201
        module = owner.get(f"{URL}/pay").json()
        assert owner.get(URL).json()["results"] == [module]
        seen.append((module["versions_count"], module["latest_version"]))
    assert seen == [
        (1, "1.0.0-rc.1"),
        (2, "1.0.0-rc.2"),
        (3, "0.9.0"),
        (4, "1.0.0"),
        (5, "1.0.0"),
        (6, "1.0.0"),
    ]


def test_a_suspended_organization_is_readable_only(owner, cast):
    make_module(owner)
    cast.org.status = "suspended"
    cast.org.save()
    assert owner.get(URL).status_code == 200
    response = owner.post(URL, {"name": "more"})
    assert response.status_code == 403
    assert response.json()["code"] == "organization_suspended"
    assert Module.objects.count() == 1


def test_the_same_key_makes_one_module(owner, cast):
    headers = {"Idempotency-Key": "k1"}
    first = owner.post(URL, {"name": "pay"}, headers=headers)
    again = owner.post(URL, {"name": "pay"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert gauge("modules", cast.org.pk) == 1


def test_deleting_a_module_frees_all_it_used(owner, cast):
    made = make_module(owner)
    make_module(owner, "other")
    shared, own = "// shared\n", "// own\n"
    push(
        owner,
        "1.0.0",
        [{"path": "a.proto", "content": shared}, {"path": "b.proto", "content": own}],
    )
    push(owner, "1.1.0", [{"path": "a.proto", "content": own}])
    push(owner, "1.0.0", [{"path": "a.proto", "content": shared}], module="other")
    org = cast.org.pk
    assert gauge("storage", org) == len(shared) + len(own)
    assert gauge("versions", org, made["id"]) == 2
    assert owner.delete(f"{URL}/pay").status_code == 204
    assert owner.get(f"{URL}/pay").status_code == 404
    assert gauge("modules", org) == 1
    assert gauge("storage", org) == len(shared)
    assert gauge("versions", org) == 1
    assert not UsageGauge.objects.filter(subject=made["id"]).exists()
    event = AuditEvent.objects.latest("id")
    assert event.action == "module.deleted"
    assert event.data == {"name": "pay", "versions": 2, "freed_bytes": len(own)}
    kept = owner.get(f"{URL}/other/versions/1.0.0/files/a.proto")
    assert kept.content.decode() == shared


def test_times_are_those_of_the_request(owner, time_machine):
    at = timezone.now().replace(microsecond=0) + timedelta(minutes=5)
    time_machine.move_to(at, tick=False)
    assert make_module(owner)["created_at"] == at.isoformat().replace("+00:00", "Z")
