"""Tokens: shown once, no stronger than who made them, dead at once when revoked."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from orgs.context import Principal
from orgs.models import ApiToken, AuditEvent, Membership, Organization, OrganizationStatus
from orgs.roles import Scope
from orgs.services.tokens import create_personal_token, digest_of, is_well_formed, new_secret
from orgs.tests.helpers import audited, log_lines
from spoke.core import tenancy
from spoke.core.errors import Forbidden

ORG = "/orgs/acme/tokens"
MINE = "/me/tokens"
SECRET = re.compile(r"spk_[0-9A-Za-z]{49}")


def bearing(secret):
    return APIClient(headers={"Authorization": f"Bearer {secret}"})


def signed_in(user):
    client = APIClient()
    client.force_login(user)
    return client


def service(client, **changes):
    response = client.post(ORG, {"name": "ci", **changes})
    assert response.status_code == 201, response.content
    return response.json()


def test_a_service_token_is_shown_once(cast, api):
    client = api("admin")
    with time_machine.travel("2026-03-01T10:00:00Z", tick=False):
        response = client.post(ORG, {"name": "ci", "expires_in_days": 90})
    body = response.json()
    secret = body.pop("token")
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    assert SECRET.fullmatch(secret)
    assert body == {
        "id": body["id"],
        "name": "ci",
        "prefix": secret[:12],
        "scopes": ["read", "write"],
        "status": "active",
        "created_at": "2026-03-01T10:00:00Z",
        "expires_at": "2026-05-30T10:00:00Z",
        "last_used_at": None,
        "revoked_at": None,
        "role": "developer",
        "created_by": {
            "id": cast.admin.pk,
            "email": "admin@example.com",
            "name": cast.admin.name,
        },
    }
    with time_machine.travel("2026-03-02T10:00:00Z", tick=False):
        assert client.get(ORG).json()["results"] == [body]
    row = ApiToken.objects.get(pk=body["id"])
    assert row.digest == digest_of(secret)
    assert audited(cast.org, "token.") == [
        ("token.created", "admin@example.com", f"token:{row.pk}")
    ]


def test_a_personal_token_is_shown_once(cast):
    client = signed_in(cast.viewer)
    response = client.post(MINE, {"name": "laptop", "scopes": ["write", "read", "write"]})
    body = response.json()
    secret = body.pop("token")
    assert response.status_code == 201
    assert SECRET.fullmatch(secret)
    assert (body["scopes"], body["expires_at"]) == (["read", "write"], None)
    assert client.get(MINE).json()["results"] == [body]
    assert bearing(secret).get("/me").json()["email"] == "viewer@example.com"


def test_a_secret_is_nowhere_but_in_its_answer(cast, api):
    with log_lines() as lines:
        secret = service(api("owner"), name="ci")["token"]
        mine = signed_in(cast.owner).post(MINE, {"name": "x"}).json()["token"]
        for raw in (secret, mine):
            bearing(raw).get("/me")
            bearing(raw).get(f"/orgs/acme/audit-log?actor={raw}")
            bearing(f"{raw}x").get("/me")
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            stored = str(cursor.fetchall())
            assert secret not in stored, table
            assert mine not in stored, table
    assert "audit-log" in lines.getvalue()
    assert secret not in lines.getvalue()
    assert mine not in lines.getvalue()
    assert secret not in api("owner").get(f"{ORG}?status=all").text
    assert secret not in str(list(AuditEvent.objects.values()))


def test_a_revoked_token_fails_with_the_next_request(cast, api):
    made = service(api("owner"))
    client = bearing(made["token"])
    assert client.get("/orgs/acme/audit-log").status_code == 403  # known, and not allowed
    assert client.get("/me").status_code == 200
    path = f"{ORG}/{made['id']}"
    assert api("owner").delete(path).status_code == 204
    refused = client.get("/me")
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_token")
    assert api("owner").delete(path).status_code == 204
    assert [action for action, _, _ in audited(cast.org, "token.")] == [
        "token.created",
        "token.revoked",
    ]


def test_a_revoked_personal_token_fails_with_the_next_request(cast, api):
    client = signed_in(cast.viewer)
    made = client.post(MINE, {"name": "x"}).json()
    assert bearing(made["token"]).get("/me").status_code == 200
    assert api("owner").delete(f"{MINE}/{made['id']}").status_code == 404
    assert bearing(made["token"]).get("/me").status_code == 200
    assert client.delete(f"{MINE}/{made['id']}").status_code == 204
    assert client.delete(f"{MINE}/{made['id']}").status_code == 204
    assert bearing(made["token"]).get("/me").status_code == 401


def test_an_expired_token_fails(cast):
    client = signed_in(cast.viewer)
    until = timezone.now() + timedelta(hours=1)
    made = client.post(MINE, {"name": "x", "expires_at": until.isoformat()}).json()
    with time_machine.travel(until - timedelta(seconds=1), tick=False):
        assert bearing(made["token"]).get("/me").status_code == 200
    with time_machine.travel(until, tick=False):
        assert bearing(made["token"]).get("/me").json()["code"] == "invalid_token"


@pytest.mark.parametrize(
    "raw",
    ["", "spk_", "spk_" + "a" * 49, "x" * 53, "spk_" + "é" * 49, "spk_" + "0" * 5000],
)
def test_what_is_no_token_is_refused_without_a_query(cast, raw, django_assert_num_queries):
    assert not is_well_formed(raw)
    client = APIClient(headers={"Authorization": f"Bearer {raw}".encode().decode("latin-1")})
    with django_assert_num_queries(0):
        assert client.get("/me").json()["code"] == "invalid_token"
    assert is_well_formed(new_secret())


def test_lists_are_filtered_by_status(cast, api):
    client = api("owner")
    with time_machine.travel("2026-03-01T10:00:00Z", tick=False):
        short = service(client, name="short", expires_in_days=1)
    with time_machine.travel("2026-03-05T10:00:00Z", tick=False):
        dead = service(client, name="dead")
        client.delete(f"{ORG}/{dead['id']}")
        live = service(client, name="live")

        def names(query):
            return [row["name"] for row in client.get(ORG, query).json()["results"]]

        assert names({}) == names({"status": "active"}) == ["live"]
        assert names({"status": "revoked"}) == ["dead"]
        assert names({"status": "expired"}) == ["short"]
        assert names({"status": "all"}) == ["live", "dead", "short"]
        assert client.get(ORG, {"status": "x"}).status_code == 400
    assert {short["id"], live["id"]} < set(ApiToken.objects.values_list("pk", flat=True))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["root"]}, "scopes.0"),
        ({"name": "x", "scopes": "read"}, "scopes"),
        ({"name": "x", "expires_in_days": 0}, "expires_in_days"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": "9999-12-31T23:59:59-23:59"}, "expires_at"),
        ({"name": "x", "expires_at": "2099-01-01T00:00:00Z", "expires_in_days": 1}, "expires_in_days"),
        ({"name": "x", "user": 1}, "user"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(cast, api, body, field):
    before = ApiToken.objects.count()
    for client, url in ((signed_in(cast.owner), ORG), (signed_in(cast.owner), MINE)):
        response = client.post(url, body)
        assert response.status_code == 400, response.content
        assert [error["field"] for error in response.json()["errors"]] == [field]
    assert signed_in(cast.owner).post(MINE, {"name": "x", "role": "owner"}).status_code == 400
    assert ApiToken.objects.count() == before


def test_personal_tokens_are_made_by_a_person_or_with_scope_admin(cast, api):
    before = ApiToken.objects.count()
    for scopes in ([Scope.READ], [Scope.WRITE], [Scope.BILLING, Scope.USAGE_WRITE]):
        client = api("owner", *scopes)
        for method, path in (("POST", MINE), ("DELETE", f"{MINE}/1")):
            response = client.generic(method, path, b"", content_type="application/json")
            assert response.status_code == 403
            assert response.json()["code"] == "insufficient_scope"
    assert ApiToken.objects.count() == before + 3
    made = api("owner", Scope.ADMIN).post(MINE, {"name": "x", "scopes": ["admin"]})
    assert made.status_code == 201


def test_a_token_never_begets_a_stronger_one(cast):
    token = ApiToken(user=cast.owner, scopes=["read", "usage:write"])
    creator = Principal(user=cast.owner, token=token)
    for scopes in ([Scope.WRITE], [Scope.BILLING], [Scope.READ, Scope.ADMIN]):
        with tenancy.person(cast.owner.pk), pytest.raises(Forbidden) as refused:
            create_personal_token(
                user=cast.owner, name="x", scopes=scopes, now=timezone.now(), creator=creator
            )
        assert refused.value.error_code == "insufficient_scope"
    assert ApiToken.objects.count() == 0
    with tenancy.person(cast.owner.pk):
        create_personal_token(
            user=cast.owner,
            name="x",
            scopes=[Scope.USAGE_WRITE],
            now=timezone.now(),
            creator=creator,
        )
    assert ApiToken.objects.get().scopes == ["usage:write"]


@pytest.mark.parametrize(
    ("who", "body", "code"),
    [
        ("admin", {"role": "owner"}, "role_too_high"),
        ("staff", {"role": "owner"}, "role_too_high"),
        ("staff", {"role": "developer", "scopes": ["write"]}, "insufficient_scope"),
        ("developer", {}, "permission_denied"),
        ("viewer", {}, "permission_denied"),
    ],
)
def test_a_service_token_is_no_stronger_than_its_creator(cast, api, who, body, code):
    client = api(who)
    before = ApiToken.objects.count()
    response = client.post(ORG, {"name": "x", **body})
    assert (response.status_code, response.json()["code"]) == (403, code)
    assert ApiToken.objects.count() == before


def test_a_service_token_makes_tokens_within_its_own_reach_only(cast, api):
    made = service(api("owner"), role="admin", scopes=["admin"])
    client = bearing(made["token"])
    assert client.post(ORG, {"name": "x", "role": "owner"}).status_code == 403
    child = client.post(ORG, {"name": "x", "role": "admin", "scopes": ["admin"]})
    assert child.status_code == 201
    assert child.json()["created_by"] is None
    assert client.post(MINE, {"name": "x"}).json()["code"] == "person_required"
    assert client.get("/orgs/rival/tokens").status_code == 404


def test_a_lowered_role_bounds_the_token_at_once(cast, api):
    client = api("admin")
    assert client.get(ORG).status_code == 200
    Membership.objects.filter(user=cast.admin).update(role="viewer")
    refused = client.get(ORG)
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    assert client.get("/orgs/acme/audit-log").status_code == 403
    Membership.objects.filter(user=cast.admin).delete()
    assert client.get(ORG).status_code == 404


def test_a_service_token_outlives_its_creators_membership_and_account(cast, api):
    made = service(api("admin"), scopes=["admin"], role="admin")
    client = bearing(made["token"])
    Membership.objects.filter(user=cast.admin).delete()
    assert client.get(ORG).status_code == 200
    ApiToken.objects.filter(user=cast.admin).delete()
    cast.admin.delete()
    assert client.get(ORG).json()["results"][0]["created_by"] is None


def test_the_tokens_of_a_disabled_person_fail(cast, api):
    client = api("admin")
    cast.admin.is_active = False
    cast.admin.save()
    assert client.get("/me").json()["code"] == "invalid_token"


@pytest.mark.parametrize("role", ["owner", "developer"])
def test_the_service_tokens_of_a_closed_organization_are_refused(cast, api, role):
    client = bearing(service(api("owner"), role=role, scopes=["admin"])["token"])
    now = timezone.now()
    Organization.objects.filter(pk=cast.org.pk).update(
        status=OrganizationStatus.CLOSED, closed_at=now
    )
    assert client.get(ORG).status_code == 404
    assert client.post(ORG, {"name": "x"}).status_code == 404
    me = client.get("/me")
    assert (me.status_code, me.json()["code"]) == (403, "organization_closed")


def test_another_organizations_token_is_not_found(cast, api):
    made = service(api("owner"))
    assert api("outsider").delete(f"/orgs/rival/tokens/{made['id']}").status_code == 404
    mine = signed_in(cast.owner).post(MINE, {"name": "x"}).json()
    assert api("owner").delete(f"{ORG}/{mine['id']}").status_code == 404
    assert not ApiToken.objects.filter(revoked_at__isnull=False).exists()


def test_the_time_of_last_use_is_kept_to_the_minute(cast, api):
    made = service(api("owner"))
    client = bearing(made["token"])
    seen = []
    for at in ("10:00:00", "10:00:59", "10:01:00"):
        with time_machine.travel(f"2027-03-01T{at}Z", tick=False):
            client.get("/me")
        used = ApiToken.objects.get(pk=made["id"]).last_used_at
        assert used is not None
        seen.append(used.strftime("%H:%M:%S"))
    assert seen == ["10:00:00", "10:00:00", "10:01:00"]


def test_nobody_gets_anothers_secret_by_repeating_their_request(cast, api):
    body, headers = {"name": "ci", "role": "owner"}, {"Idempotency-Key": "create-ci"}
    made = api("owner").post("/orgs/acme/tokens", body, headers=headers)
    assert made.status_code == 201
    refused = api("admin").post("/orgs/acme/tokens", body, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert made.json()["token"] not in refused.content.decode()
    again = api("owner").post("/orgs/acme/tokens", body, headers=headers)
    assert again.json() == made.json()
    assert ApiToken.objects.filter(org=cast.org).count() == 1


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (Scope.READ, 200),
        (Scope.WRITE, 200),
        (Scope.ADMIN, 200),
        (Scope.BILLING, 403),
        (Scope.USAGE_WRITE, 403),
    ],
)
@pytest.mark.parametrize("path", ["/orgs", "/me/tokens"])
def test_what_writes_reads_outside_of_organizations_too(cast, api, path, scope, status):
    assert api("owner", scope).get(path).status_code == status
