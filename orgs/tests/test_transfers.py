"""Handing an organization over."""

import time_machine
from django.utils import timezone

from conftest import door
from orgs.models import Membership, Organization, OwnershipTransfer
from orgs.services.transfers import LIFETIME
from orgs.tests.helpers import at_once, audited
from tests.factories import MembershipFactory

OFFER = {"email": "developer@example.com"}


def test_the_recipient_confirms_and_owns(cast, api):
    offered = api("owner").post("/orgs/acme/transfer", OFFER)
    assert offered.status_code == 201
    assert (offered.json()["to_email"], offered.json()["status"]) == (OFFER["email"], "pending")
    assert Organization.objects.get(pk=cast.org.pk).owner == cast.owner
    assert api("developer").get("/orgs/acme/transfer").json()["id"] == offered.json()["id"]
    accepted = api("developer").post("/orgs/acme/transfer/accept")
    assert (accepted.status_code, accepted.json()["status"]) == (200, "confirmed")
    assert Organization.objects.get(pk=cast.org.pk).owner == cast.developer
    roles = dict(Membership.objects.filter(org=cast.org).values_list("user_id", "role"))
    assert (roles[cast.owner.pk], roles[cast.developer.pk]) == ("admin", "owner")
    assert [row[0] for row in audited(cast.org, "transfer.")] == [
        "transfer.offered",
        "transfer.confirmed",
    ]


def test_only_the_recipient_confirms(cast, api):
    api("owner").post("/orgs/acme/transfer", OFFER)
    for who in ("owner", "admin", "viewer", "staff"):
        response = api(who).post("/orgs/acme/transfer/accept")
        assert response.status_code == 403
    assert Organization.objects.get(pk=cast.org.pk).owner == cast.owner


def test_one_offer_at_a_time(cast, api):
    client = api("owner")
    client.post("/orgs/acme/transfer", OFFER)
    second = client.post("/orgs/acme/transfer", {"email": "viewer@example.com"})
    assert (second.status_code, second.json()["code"]) == (409, "transfer_pending")
    assert client.delete("/orgs/acme/transfer").status_code == 204
    assert client.post("/orgs/acme/transfer", {"email": "viewer@example.com"}).status_code == 201


def test_who_is_no_member_or_owns_it_already_is_refused(cast, api):
    client = api("owner")
    for email, code in (("outsider@example.com", "not_a_member"), ("owner@example.com", "invalid")):
        response = client.post("/orgs/acme/transfer", {"email": email})
        assert (response.status_code, response.json()["code"]) == (400, code)
    assert not OwnershipTransfer.objects.exists()


def test_the_recipient_may_decline_and_others_may_not(cast, api):
    api("owner").post("/orgs/acme/transfer", OFFER)
    assert api("admin").delete("/orgs/acme/transfer").status_code == 403
    assert api("viewer").get("/orgs/acme/transfer").status_code == 403
    assert api("developer").delete("/orgs/acme/transfer").status_code == 204
    assert audited(cast.org, "transfer.")[-1][0] == "transfer.declined"
    assert api("developer").post("/orgs/acme/transfer/accept").status_code == 404


def test_an_offer_expires(cast, api):
    client = api("owner")
    client.post("/orgs/acme/transfer", OFFER)
    with time_machine.travel(timezone.now() + LIFETIME, tick=False):
        late = api("developer").post("/orgs/acme/transfer/accept")
        assert (late.status_code, late.json()["code"]) == (410, "transfer_expired")
        assert client.post("/orgs/acme/transfer", OFFER).status_code == 201
    assert Organization.objects.get(pk=cast.org.pk).owner == cast.owner


def test_an_offer_ends_when_its_recipient_goes(cast, api):
    api("owner").post("/orgs/acme/transfer", OFFER)
    api("owner").delete(f"/orgs/acme/members/{cast.developer.pk}")
    assert api("owner").get("/orgs/acme/transfer").status_code == 404
    assert [row[0] for row in audited(cast.org, "transfer.")] == [
        "transfer.offered",
        "transfer.cancelled",
    ]
    MembershipFactory(org=cast.org, user=cast.developer)
    assert api("developer").post("/orgs/acme/transfer/accept").status_code == 404


def test_an_offer_ends_when_who_made_it_owns_no_more(cast, api):
    api("owner").patch(f"/orgs/acme/members/{cast.admin.pk}", {"role": "owner"})
    api("owner").post("/orgs/acme/transfer", OFFER)
    api("admin").patch(f"/orgs/acme/members/{cast.owner.pk}", {"role": "viewer"})
    assert api("developer").post("/orgs/acme/transfer/accept").status_code == 404
    assert Organization.objects.get(pk=cast.org.pk).owner == cast.admin
    roles = dict(Membership.objects.filter(org=cast.org).values_list("user_id", "role"))
    assert (roles[cast.owner.pk], roles[cast.developer.pk]) == ("viewer", "developer")
    assert [row[0] for row in audited(cast.org, "transfer.")] == [
        "transfer.offered",
        "transfer.cancelled",
    ]


def test_accepting_and_cancelling_at_once_has_one_outcome(committed_cast):
    cast = committed_cast
    owner, developer = cast.client("owner"), cast.client("developer")
    assert owner.post("/orgs/acme/transfer", OFFER).status_code == 201
    answers = at_once(
        lambda: owner.delete("/orgs/acme/transfer").status_code,
        lambda: developer.post("/orgs/acme/transfer/accept").status_code,
    )
    with door():
        org = Organization.objects.get(pk=cast.org.pk)
    if answers[1] == 200:
        assert (org.owner_id, answers[0]) == (cast.developer.pk, 404)
    else:
        assert (org.owner_id, answers) == (cast.owner.pk, [204, 404])
