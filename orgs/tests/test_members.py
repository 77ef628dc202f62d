"""Members: adding, changing, removing, one by one and in bulk."""

import pytest

from conftest import door
from orgs.models import AuditEvent, Membership, Organization
from orgs.tests.helpers import at_once, audited
from tests.factories import MembershipFactory, UserFactory


def roles_of(org) -> dict[str, str]:
    return dict(Membership.objects.filter(org=org).values_list("user__email", "role"))


def test_somebody_who_signed_up_is_added_by_address_or_number(cast, api):
    first, second = UserFactory(email="a@x.example"), UserFactory(email="b@x.example")
    client = api("admin")
    by_email = client.post("/orgs/acme/members", {"email": "A@X.example", "role": "viewer"})
    assert by_email.status_code == 201
    assert by_email.headers["Location"] == f"/orgs/{cast.org.pk}/members/{first.pk}"
    body = by_email.json()
    assert body.pop("created_at") == body.pop("updated_at")
    assert body == {
        "user_id": first.pk,
        "email": "a@x.example",
        "name": first.name,
        "role": "viewer",
    }
    by_number = client.post("/orgs/acme/members", {"user_id": second.pk})
    assert by_number.json()["role"] == "developer"
    assert audited(cast.org, "member.") == [
        ("member.added", "admin@example.com", f"user:{first.pk}"),
        ("member.added", "admin@example.com", f"user:{second.pk}"),
    ]


@pytest.mark.parametrize(
    ("sent", "status", "code", "field"),
    [
        ({"email": "nobody@x.example"}, 400, "user_not_found", "email"),
        ({"user_id": 10**12}, 400, "user_not_found", "user_id"),
        ({"user_id": 2**63}, 400, "validation_error", "user_id"),
        ({"user_id": 1, "email": "a@x.example"}, 400, "validation_error", "user_id"),
        ({}, 400, "validation_error", "user_id"),
        ({"email": "outsider@example.com", "role": "owner"}, 403, "role_too_high", "role"),
        ({"email": "outsider@example.com", "role": "king"}, 400, "validation_error", "role"),
        ({"email": "viewer@example.com"}, 409, "already_member", None),
    ],
)
def test_who_cannot_be_added_is_said_clearly(cast, api, sent, status, code, field):
    before = roles_of(cast.org)
    response = api("admin").post("/orgs/acme/members", sent)
    assert response.status_code == status
    assert response.json()["code"] == code
    assert [e["field"] for e in response.json()["errors"]] == ([field] if field else [])
    assert roles_of(cast.org) == before


def test_a_role_change_acts_on_the_next_request(cast, api):
    developer = api("developer")
    assert developer.get("/orgs/acme/members").status_code == 403
    changed = api("owner").patch(f"/orgs/acme/members/{cast.developer.pk}", {"role": "admin"})
    assert changed.json()["role"] == "admin"
    assert developer.get("/orgs/acme/members").status_code == 200


def test_who_is_removed_is_an_outsider_on_the_next_request(cast, api):
    viewer = api("viewer")
    assert viewer.get("/orgs/acme").status_code == 200
    assert api("admin").delete(f"/orgs/acme/members/{cast.viewer.pk}").status_code == 204
    assert viewer.get("/orgs/acme").status_code == 404
    again = api("admin").delete(f"/orgs/acme/members/{cast.viewer.pk}")
    assert again.status_code == 404


@pytest.mark.parametrize(
    ("who", "target", "role", "code"),
    [
        ("admin", "admin", "owner", "role_too_high"),
        ("admin", "viewer", "owner", "role_too_high"),
        ("admin", "owner", "viewer", "role_too_high"),
        ("developer", "developer", "admin", "permission_denied"),
        ("viewer", "viewer", "developer", "permission_denied"),
    ],
)
def test_nobody_grants_above_their_role_or_touches_who_stands_above(
    cast, api, who, target, role, code
):
    before = roles_of(cast.org)
    path = f"/orgs/acme/members/{getattr(cast, target).pk}"
    response = api(who).patch(path, {"role": role})
    assert (response.status_code, response.json()["code"]) == (403, code)
    assert roles_of(cast.org) == before
    assert not AuditEvent.objects.filter(org=cast.org).exists()


def test_an_admin_cannot_remove_an_owner(cast, api):
    response = api("admin").delete(f"/orgs/acme/members/{cast.owner.pk}")
    assert (response.status_code, response.json()["code"]) == (403, "role_too_high")
    assert roles_of(cast.org)["owner@example.com"] == "owner"


@pytest.mark.parametrize("who", ["admin", "developer", "viewer"])
def test_everybody_may_look_at_their_own_membership_and_leave(cast, api, who):
    path = f"/orgs/acme/members/{getattr(cast, who).pk}"
    client = api(who)
    assert client.get(path).json()["role"] == who
    assert client.delete(path).status_code == 204
    assert client.get("/orgs/acme").status_code == 404
    assert audited(cast.org, "member.")[0][0] == "member.left"


def test_a_viewer_sees_nobody_elses_membership(cast, api):
    response = api("viewer").get(f"/orgs/acme/members/{cast.owner.pk}")
    assert (response.status_code, response.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_the_last_owner_stays(cast, api, method):
    path = f"/orgs/acme/members/{cast.owner.pk}"
    response = getattr(api("owner"), method)(path, {"role": "admin"} if method == "patch" else None)
    assert (response.status_code, response.json()["code"]) == (409, "last_owner")
    assert roles_of(cast.org)["owner@example.com"] == "owner"


def test_when_the_owner_goes_another_owner_stands_for_the_organization(cast, api):
    client = api("owner")
    client.patch(f"/orgs/acme/members/{cast.admin.pk}", {"role": "owner"})
    assert client.delete(f"/orgs/acme/members/{cast.owner.pk}").status_code == 204
    assert api("admin").get("/orgs/acme").json()["owner"]["email"] == "admin@example.com"


def test_staff_can_rescue_an_organization(cast, api):
    path = f"/orgs/acme/members/{cast.viewer.pk}"
    assert api("staff").patch(path, {"role": "owner"}).json()["role"] == "owner"
    event = AuditEvent.objects.get(org=cast.org)
    assert (event.actor_kind, event.actor_label) == ("staff", "staff@example.com")


def test_members_are_listed_and_filtered(cast, api):
    rows = api("admin").get("/orgs/acme/members").json()["results"]
    assert [row["role"] for row in rows] == ["owner", "admin", "developer", "viewer"]
    found = api("admin").get("/orgs/acme/members?role=viewer&email=VIEW").json()["results"]
    assert [row["email"] for row in found] == ["viewer@example.com"]


def test_a_change_based_on_an_old_reading_is_refused(cast, api):
    client, path = api("owner"), f"/orgs/acme/members/{cast.viewer.pk}"
    etag = client.get(path).headers["ETag"]
    assert client.patch(path, {"role": "developer"}, headers={"If-Match": etag}).status_code == 200
    late = client.delete(path, headers={"If-Match": etag})
    assert late.status_code == 412
    assert roles_of(cast.org)["viewer@example.com"] == "developer"


OPERATIONS = [
    {"op": "add", "email": "new@x.example", "role": "developer"},
    {"op": "change", "email": "viewer@example.com", "role": "developer"},
    {"op": "remove", "email": "developer@example.com"},
]


def test_bulk_does_everything_in_order(cast, api):
    UserFactory(email="new@x.example")
    response = api("admin").post("/orgs/acme/members/bulk", {"operations": OPERATIONS})
    assert response.status_code == 200
    assert response.json() == {
        "succeeded": 3,
        "failed": 0,
        "results": [{"index": index, "status": "ok"} for index in range(3)],
    }
    assert roles_of(cast.org) == {
        "owner@example.com": "owner",
        "admin@example.com": "admin",
        "viewer@example.com": "developer",
        "new@x.example": "developer",
    }


def test_bulk_is_all_or_nothing_unless_told(cast, api):
    before = roles_of(cast.org)
    bad = [*OPERATIONS[1:], {"op": "change", "user_id": cast.owner.pk, "role": "viewer"}]
    refused = api("admin").post("/orgs/acme/members/bulk", {"operations": bad})
    assert (refused.status_code, refused.json()["code"]) == (422, "bulk_refused")
    assert refused.json()["errors"] == [
        {
            "field": "operations.2",
            "code": "role_too_high",
            "detail": "This member's role is above yours.",
        }
    ]
    assert roles_of(cast.org) == before
    assert not AuditEvent.objects.filter(org=cast.org).exists()
    per_row = api("admin").post("/orgs/acme/members/bulk", {"mode": "per_row", "operations": bad})
    assert per_row.json()["failed"] == 1
    assert [row["status"] for row in per_row.json()["results"]] == ["ok", "ok", "error"]
    assert roles_of(cast.org)["viewer@example.com"] == "developer"


def test_bulk_takes_500_operations_and_no_more(cast, api):
    operations = [{"op": "remove", "user_id": 1}] * 501
    response = api("admin").post("/orgs/acme/members/bulk", {"operations": operations})
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"].startswith("operations")


def test_two_last_owners_demoted_at_once_leave_one(committed_cast):
    cast = committed_cast
    with door():
        MembershipFactory(org=cast.org, user=cast.outsider, role="owner")
    clients = [cast.client("owner"), cast.client("outsider")]
    paths = [f"/orgs/acme/members/{user.pk}" for user in (cast.owner, cast.outsider)]
    answers = at_once(
        lambda: clients[0].patch(paths[0], {"role": "admin"}).status_code,
        lambda: clients[1].patch(paths[1], {"role": "admin"}).status_code,
    )
    assert sorted(answers) == [200, 409]
    with door():
        owners = Membership.objects.for_org(cast.org.pk).owners()
        assert [m.user_id for m in owners] == [Organization.objects.get(pk=cast.org.pk).owner_id]


def test_the_same_person_added_at_once_is_a_member_once(committed_cast):
    cast = committed_cast
    client = cast.client("owner")
    sent = {"email": "outsider@example.com"}
    answers = at_once(*[lambda: client.post("/orgs/acme/members", sent).status_code] * 8)
    assert sorted(answers) == [201] + [409] * 7
    with door():
        assert Membership.objects.filter(org=cast.org, user=cast.outsider).count() == 1
