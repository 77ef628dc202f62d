"""What the holder of an invitation's token sees, and joining by it, over the API and the page."""

import re

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from conftest import door
from orgs.models import (
    Invitation,
    Membership,
    Organization,
    OrganizationStatus,
)
from orgs.roles import Scope
from orgs.services import invitations
from orgs.services.organizations import lock_organization
from orgs.tests.helpers import at_once, audited, found, new_user, verify
from tests.factories import MembershipFactory

URL = "/orgs/acme/invitations"
UNKNOWN = "A" * 43


@pytest.fixture
def offered(cast, api):
    """The token of an invitation of the outsider as developer."""
    response = api("admin").post(URL, {"email": "outsider@example.com", "role": "developer"})
    return response.json()["token"]


def close(org, status=OrganizationStatus.CLOSED):
    closed_at = timezone.now() if status == OrganizationStatus.CLOSED else None
    Organization.objects.filter(pk=org.pk).update(status=status, closed_at=closed_at)


def test_the_token_alone_shows_what_it_invites_to(cast, offered):
    for client in (APIClient(), APIClient(headers={"Authorization": "Bearer wrong"})):
        response = client.get(f"/invitations/{offered}")
        row = Invitation.objects.get()
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert response.json() == {
            "organization": {"id": cast.org.pk, "name": "acme", "display_name": "Acme"},
            "role": "developer",
            "email": "outsider@example.com",
            "invited_by": {"email": "admin@example.com", "name": cast.admin.name},
            "created_at": row.created_at.isoformat().replace("+00:00", "Z"),
            "expires_at": row.expires_at.isoformat().replace("+00:00", "Z"),
        }


@pytest.mark.parametrize(
    "token", [UNKNOWN, "A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "=", "%00" * 43, "../me"]
)
def test_an_unknown_or_malformed_token_is_not_found(cast, api, token):
    for response in (
        APIClient().get(f"/invitations/{token}"),
        api("outsider").post(f"/invitations/{token}/accept"),
        APIClient().get(f"/accounts/invitations/{token}"),
    ):
        assert response.status_code == 404
    assert Membership.objects.filter(user=cast.outsider).count() == 1


def test_accepting_makes_a_member_with_the_role_offered(cast, api, offered):
    verify(cast.outsider, "Outsider@Example.com")
    response = api("outsider", Scope.WRITE).post(f"/invitations/{offered}/accept")
    assert response.status_code == 200
    membership = Membership.objects.get(org=cast.org, user=cast.outsider)
    assert response.json() == {
        "organization": {"id": cast.org.pk, "name": "acme", "display_name": "Acme"},
        "user_id": cast.outsider.pk,
        "role": "developer",
        "created_at": membership.created_at.isoformat().replace("+00:00", "Z"),
    }
    row = Invitation.objects.get()
    assert (membership.role, row.status, row.accepted_by) == (
        "developer",
        "accepted",
        cast.outsider,
    )
    assert row.ended_at is not None
    assert audited(cast.org, "invitation.accepted") == [
        ("invitation.accepted", "outsider@example.com", f"invitation:{row.pk}")
    ]
    assert api("outsider").get("/orgs/acme/tokens").json()["code"] == "permission_denied"
    for again in (
        api("outsider").post(f"/invitations/{offered}/accept"),
        APIClient().get(f"/invitations/{offered}"),
    ):
        assert (again.status_code, again.json()["code"]) == (410, "invitation_accepted")


@pytest.mark.parametrize(
    ("who", "address", "verified", "code"),
    [
        ("outsider", "", False, "email_not_verified"),
        ("outsider", "outsider@example.com", False, "email_not_verified"),
        ("outsider", "other@example.com", True, "email_not_verified"),
        ("staff", "staff@example.com", True, "email_mismatch"),
        ("viewer", "viewer@example.com", True, "email_mismatch"),
    ],
)
def test_only_who_owns_the_address_may_accept(cast, api, offered, who, address, verified, code):
    if address:
        verify(getattr(cast, who), address, verified=verified)
    members = Membership.objects.count()
    response = api(who).post(f"/invitations/{offered}/accept")
    assert (response.status_code, response.json()["code"]) == (403, code)
    assert Membership.objects.count() == members
    assert Invitation.objects.get().status == "pending"


def test_accepting_takes_a_person_who_may_write(cast, api, offered):
    verify(cast.outsider)
    path = f"/invitations/{offered}/accept"
    assert APIClient().post(path).status_code == 401
    assert api("outsider", Scope.READ).post(path).json()["code"] == "insufficient_scope"
    created = api("owner").post("/orgs/acme/tokens", {"name": "ci"}).json()
    service = APIClient(headers={"Authorization": f"Bearer {created['token']}"})
    assert service.post(path).json()["code"] == "person_required"
    assert api("outsider").post(path, {"role": "owner"}).status_code == 400
    assert Invitation.objects.get().status == "pending"
    assert not Membership.objects.filter(org=cast.org, user=cast.outsider).exists()


def test_an_overdue_invitation_is_gone_before_and_after_the_sweep(cast, api):
    with time_machine.travel("2026-03-01T10:00:00Z", tick=False):
        token = api("owner").post(URL, {"email": "outsider@example.com"}).json()["token"]
    verify(cast.outsider)
    with time_machine.travel("2026-03-08T09:59:59Z", tick=False):
        assert APIClient().get(f"/invitations/{token}").status_code == 200
    with time_machine.travel("2026-03-08T10:00:00Z", tick=False):
        for status in ("pending", "expired"):
            Invitation.objects.update(status=status)
            for response in (
                APIClient().get(f"/invitations/{token}"),
                api("outsider").post(f"/invitations/{token}/accept"),
            ):
                assert (response.status_code, response.json()["code"]) == (
                    410,
                    "invitation_expired",
                )
    assert not Membership.objects.filter(org=cast.org, user=cast.outsider).exists()


def test_a_suspended_or_closed_organization_takes_no_members(cast, api, offered):
    verify(cast.outsider)
    path = f"/invitations/{offered}/accept"
    close(cast.org, OrganizationStatus.SUSPENDED)
    refused = api("outsider").post(path)
    assert (refused.status_code, refused.json()["code"]) == (403, "organization_suspended")
    close(cast.org)
    for response in (api("outsider").post(path), APIClient().get(f"/invitations/{offered}")):
        assert (response.status_code, response.json()["code"]) == (410, "organization_closed")
    assert Invitation.objects.get().status == "pending"
    assert not Membership.objects.filter(org=cast.org, user=cast.outsider).exists()


def test_who_became_a_member_otherwise_gets_a_409_and_the_invitation_ends(cast, api, offered):
    verify(cast.outsider)
    MembershipFactory(org=cast.org, user=cast.outsider, role="viewer")
    response = api("outsider").post(f"/invitations/{offered}/accept")
    assert (response.status_code, response.json()["code"]) == (409, "already_member")
    assert Membership.objects.get(org=cast.org, user=cast.outsider).role == "viewer"
    row = Invitation.objects.get()
    assert (row.status, row.accepted_by) == ("revoked", None)
    assert audited(cast.org, "invitation.")[-1] == (
        "invitation.revoked",
        "outsider@example.com",
        f"invitation:{row.pk}",
    )
    again = api("outsider").post(f"/invitations/{offered}/accept")
    assert (again.status_code, again.json()["code"]) == (410, "invitation_revoked")


def test_of_two_acceptances_at_once_one_wins(committed_cast):
    cast = committed_cast
    invited = cast.client("owner").post(URL, {"email": "outsider@example.com"}).json()
    with door():
        verify(cast.outsider)
    one, two = cast.client("outsider"), cast.client("outsider")
    path = f"/invitations/{invited['token']}/accept"
    results = at_once(lambda: one.post(path), lambda: two.post(path))
    assert sorted(response.status_code for response in results) == [200, 410]
    lost = next(r for r in results if r.status_code == 410).json()
    assert lost["code"] == "invitation_accepted"
    with door():
        assert Membership.objects.filter(org=cast.org, user=cast.outsider).count() == 1
        assert len(audited(cast.org, "invitation.accepted")) == 1


def test_accepting_and_revoking_at_once_end_in_one_of_the_two(committed_cast):
    cast = committed_cast
    owner, outsider = cast.client("owner"), cast.client("outsider")
    invited = owner.post(URL, {"email": "outsider@example.com"}).json()
    with door():
        verify(cast.outsider)
    accepted, revoked = at_once(
        lambda: outsider.post(f"/invitations/{invited['token']}/accept"),
        lambda: owner.delete(f"{URL}/{invited['id']}"),
    )
    with door():
        joined = Membership.objects.filter(org=cast.org, user=cast.outsider).exists()
        status = Invitation.objects.get().status
    outcome = (accepted.status_code, revoked.status_code, joined, status)
    assert outcome in [(200, 409, True, "accepted"), (410, 204, False, "revoked")]


def test_a_token_replaced_while_its_acceptance_waits_is_void(committed_cast, monkeypatch):
    cast = committed_cast
    owner, outsider = cast.client("owner"), cast.client("outsider")
    invited = owner.post(URL, {"email": "outsider@example.com"}).json()
    with door():
        verify(cast.outsider)
    lock = lock_organization
    resent: list[str | None] = []

    def lock_after_a_resend(org_id):
        if not resent:
            resent.append(None)
            path = f"{URL}/{invited['id']}/resend"
            resent[:] = at_once(lambda: owner.post(path).json()["token"])
        return lock(org_id)

    monkeypatch.setattr(invitations, "lock_organization", lock_after_a_resend)
    response = outsider.post(f"/invitations/{invited['token']}/accept")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    with door():
        assert not Membership.objects.filter(org=cast.org, user=cast.outsider).exists()
    assert outsider.post(f"/invitations/{resent[0]}/accept").status_code == 200


def test_two_addresses_of_one_person_accepted_at_once_make_one_member(committed_cast):
    cast = committed_cast
    owner = cast.client("owner")
    tokens = []
    for address in ("outsider@example.com", "second@example.com"):
        tokens.append(owner.post(URL, {"email": address}).json()["token"])
        with door():
            verify(cast.outsider, address)
    clients = [cast.client("outsider") for _ in tokens]
    results = at_once(
        *[
            lambda client=client, token=token: client.post(f"/invitations/{token}/accept")
            for client, token in zip(clients, tokens, strict=True)
        ]
    )
    assert sorted(response.status_code for response in results) == [200, 409]
    with door():
        assert Membership.objects.filter(org=cast.org, user=cast.outsider).count() == 1
        assert set(Invitation.objects.values_list("status", flat=True)) == {"accepted", "revoked"}


def test_the_page_leads_through_sign_up_to_membership(
    cast, api, django_capture_on_commit_callbacks
):
    browser = Client(enforce_csrf_checks=True)
    with django_capture_on_commit_callbacks(execute=True):
        invited = api("owner").post(URL, {"email": "new@example.com", "role": "viewer"}).json()
    link = found(r"http://\S+", mail.outbox[0].body)
    assert link == invited["accept_url"]
    page = browser.get(link)
    assert page.status_code == 200
    assert "Join Acme" in page.text
    sign_up = found(r'href="(/accounts/signup/[^"]+)"', page.text)

    def submit(path, **data):
        form = browser.get(path)
        data["csrfmiddlewaretoken"] = browser.cookies["csrftoken"].value
        hidden = re.search(r'name="next" value="([^"]+)"', form.text)
        if hidden:
            data["next"] = hidden[1]
        with django_capture_on_commit_callbacks(execute=True):
            return browser.post(path, data)

    password = "a-long-enough-password-7"
    response = submit(sign_up, email="new@example.com", password1=password, password2=password)
    assert response.status_code == 302, response.text
    assert invited["token"] not in str(dict(browser.session))  # it is stored in the database
    code = found(r"^[A-Z0-9-]{6,}$", mail.outbox[1].body)
    confirmed = submit(response.headers["Location"], code=code)
    assert confirmed.status_code == 302, confirmed.text
    back = browser.get(confirmed.headers["Location"])
    assert back.headers["Location"] == link.removeprefix("http://127.0.0.1:8000")
    joined = submit(back.headers["Location"])
    assert joined.status_code == 200
    assert "Welcome to Acme" in joined.text
    assert Membership.objects.get(org=cast.org, user__email="new@example.com").role == "viewer"
    again = browser.get(back.headers["Location"])
    assert again.status_code == 410
    assert "already accepted" in again.text


def test_the_page_refuses_another_person_and_a_tampered_way_back(cast, offered):
    browser = Client()
    stranger = new_user("stranger@example.com")
    verify(stranger)
    browser.force_login(stranger)
    refused = browser.post(f"/accounts/invitations/{offered}")
    assert refused.status_code == 403
    assert "for another address" in refused.text
    assert browser.get("/accounts/invitations/back/gAAAAAB-nonsense").status_code == 404
    assert not Membership.objects.filter(org=cast.org, user=stranger).exists()
    assert Client().post(f"/accounts/invitations/{offered}").status_code == 200
    assert Invitation.objects.get().status == "pending"


def test_a_link_that_was_cut_leads_to_a_page(db):
    asked = {"Accept": "text/html"}
    page = Client().get("/accounts/invitations/cut", headers=asked)
    assert page.status_code == 404
    assert "see whether all of it was copied" in page.text
    for path, headers in (("/accounts/invitations/cut", {}), ("/orgs/acme/nothing", asked)):
        answer = Client().get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
