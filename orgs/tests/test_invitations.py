"""Invitations of an organization: create, list, resend, revoke, expire, and their e-mail."""

import re
from datetime import timedelta
from smtplib import SMTPServerDisconnected
from typing import Any

import pytest
import time_machine
from celery.exceptions import Retry
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.utils import timezone
from kombu.exceptions import OperationalError
from rest_framework.test import APIClient

from conftest import door
from orgs.models import AuditEvent, Invitation, Organization, OrganizationStatus
from orgs.roles import Scope
from orgs.services.tokens import digest_of
from orgs.tasks import expire_invitations, send_invitation_email
from orgs.tests.helpers import at_once, audited, log_lines, verify
from spoke.core.sealing import seal

URL = "/orgs/acme/invitations"
LIN = {"email": "lin@example.com", "role": "developer"}


def invite(client: APIClient, **changes):
    response = client.post(URL, {**LIN, **changes})
    assert response.status_code == 201, response.content
    return response.json()


def test_an_invitation_is_created_with_a_token_that_only_this_answer_shows(cast, api):
    with time_machine.travel("2026-03-01T10:00:00Z", tick=False):
        response = api("admin").post(URL, {"email": " Lin@Example.COM ", "role": "developer"})
        body = response.json()
        listed = api("admin").get(URL).json()
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    token = body.pop("token")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert body.pop("accept_url") == f"http://127.0.0.1:8000/accounts/invitations/{token}"
    admin = {"id": cast.admin.pk, "email": "admin@example.com", "name": cast.admin.name}
    assert body == {
        "id": body["id"],
        "email": "lin@example.com",
        "role": "developer",
        "status": "pending",
        "invited_by": admin,
        "accepted_by": None,
        "created_at": "2026-03-01T10:00:00Z",
        "expires_at": "2026-03-08T10:00:00Z",
        "ended_at": None,
    }
    assert listed == {"results": [body], "next": None, "previous": None}
    row = Invitation.objects.get()
    assert row.digest == digest_of(token)
    assert token not in str(vars(row))
    assert audited(cast.org, "invitation.") == [
        ("invitation.created", "admin@example.com", f"invitation:{row.pk}")
    ]
    assert token not in str(list(AuditEvent.objects.values()))


def test_the_role_is_developer_unless_said_and_at_most_ones_own(cast, api):
    assert api("admin").post(URL, {"email": "a@example.com"}).json()["role"] == "developer"
    assert api("admin").post(URL, {"email": "b@example.com", "role": "admin"}).status_code == 201
    assert api("owner").post(URL, {"email": "c@example.com", "role": "owner"}).status_code == 201
    before = Invitation.objects.count()
    response = api("admin").post(URL, {"email": "d@example.com", "role": "owner"})
    assert response.status_code == 403
    assert response.json()["code"] == "role_too_high"
    assert response.json()["errors"][0]["field"] == "role"
    assert Invitation.objects.count() == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": "nobody"}, "email"),
        ({"email": "İ" * 60 + "@" + "a" * 200 + ".com"}, "email"),
        ({"email": "\u0131@example.com"}, "email"),
        ({"email": "\u212aate@example.com"}, "email"),  # the sign of the kelvin, in lower case a k
        ({"email": "a@example.com", "role": "staff"}, "role"),
        ({"email": "a@example.com", "role": ["owner"]}, "role"),
        ({"email": "a@example.com", "token": "x"}, "token"),
    ],
)
def test_bad_input_is_refused_by_name(cast, api, body, field):
    response = api("owner").post(URL, body)
    assert response.status_code == 400
    assert {error["field"] for error in response.json()["errors"]} == {field}
    assert Invitation.objects.count() == 0


def test_a_member_is_not_invited_by_their_own_or_another_verified_address(cast, api):
    verify(cast.viewer, "vi@example.org")
    verify(cast.developer, "dev@example.org", verified=False)
    for email in ("Viewer@example.com", "vi@example.org"):
        response = api("owner").post(URL, {"email": email})
        assert response.status_code == 409
        assert response.json()["code"] == "already_member"
    assert Invitation.objects.count() == 0
    assert api("owner").post(URL, {"email": "dev@example.org"}).status_code == 201


def test_a_second_invitation_of_an_address_names_the_pending_one(cast, api):
    first = invite(api("owner"))
    response = api("admin").post(URL, {"email": "LIN@example.com", "role": "viewer"})
    assert response.status_code == 409
    assert response.json()["code"] == "invitation_pending"
    assert response.json()["invitation_id"] == first["id"]
    assert Invitation.objects.get().role == "developer"


def test_an_overdue_invitation_does_not_block_a_new_one(cast, api):
    with time_machine.travel("2026-03-01T10:00:00Z", tick=False):
        old = invite(api("owner"))
    with time_machine.travel("2026-03-08T10:00:00Z", tick=False):
        new = invite(api("owner"))
    assert Invitation.objects.get(pk=old["id"]).status == "expired"
    assert Invitation.objects.get(pk=new["id"]).status == "pending"
    assert ("invitation.expired", "system", f"invitation:{old['id']}") in audited(cast.org, "inv")


def test_two_invitations_of_an_address_at_once_make_one(committed_cast):
    one, two = committed_cast.client("owner"), committed_cast.client("admin")
    results = at_once(lambda: one.post(URL, LIN), lambda: two.post(URL, LIN))
    codes = sorted(response.status_code for response in results)
    assert codes == [201, 409]
    refused = next(r for r in results if r.status_code == 409).json()
    with door():
        row = Invitation.objects.get()
        inviter = str(row.invited_by)
        assert audited(committed_cast.org, "inv") == [
            ("invitation.created", inviter, f"invitation:{row.pk}")
        ]
    assert (refused["code"], refused["invitation_id"]) == ("invitation_pending", row.pk)


def test_a_repeated_idempotency_key_shows_the_same_token_and_sends_one_mail(
    cast, api, django_capture_on_commit_callbacks
):
    client = api("owner")
    with django_capture_on_commit_callbacks(execute=True):
        first = client.post(URL, LIN, headers={"Idempotency-Key": "k1"}).json()
        again = client.post(URL, LIN, headers={"Idempotency-Key": "k1"}).json()
    assert again == first
    assert len(mail.outbox) == 1


def test_the_list_is_filtered_by_status_and_address(cast, api):
    client = api("owner")
    with time_machine.travel("2026-03-01T10:00:00Z", tick=False):
        overdue = invite(client, email="overdue@example.com")
    with time_machine.travel("2026-03-09T10:00:00Z", tick=False):
        revoked = invite(client, email="revoked@example.com")
        client.delete(f"{URL}/{revoked['id']}")
        pending = invite(client, email="pending@example.com")

        def ids(query):
            response = client.get(URL, query)
            assert response.status_code == 200, response.content
            return [row["id"] for row in response.json()["results"]]

        assert ids({}) == [pending["id"], revoked["id"], overdue["id"]]
        assert ids({"status": "pending"}) == [pending["id"]]
        assert ids({"status": "expired"}) == [overdue["id"]]
        assert ids({"status": "revoked"}) == [revoked["id"]]
        assert ids({"status": "accepted"}) == []
        assert ids({"email": "Pending@example.com"}) == [pending["id"]]
        assert client.get(URL, {"status": "gone"}).status_code == 400
        assert client.get(URL, {"who": "me"}).json()["errors"][0]["field"] == "who"


def test_revoking_ends_it_and_repeating_changes_nothing(cast, api):
    client = api("admin")
    invited = invite(client)
    path = f"{URL}/{invited['id']}"
    assert client.delete(path).status_code == 204
    assert client.delete(path).status_code == 204
    row = Invitation.objects.get()
    assert (row.status, row.revision, row.ended_at is not None) == ("revoked", 2, True)
    assert [action for action, _, _ in audited(cast.org, "invitation.")] == [
        "invitation.created",
        "invitation.revoked",
    ]
    gone = APIClient().get(f"/invitations/{invited['token']}")
    assert (gone.status_code, gone.json()["code"]) == (410, "invitation_revoked")


def test_an_accepted_invitation_can_neither_be_revoked_nor_sent_again(cast, api):
    client = api("owner")
    invited = invite(client, email="outsider@example.com")
    verify(cast.outsider)
    accepted = api("outsider").post(f"/invitations/{invited['token']}/accept")
    assert accepted.status_code == 200
    for call, path in ((client.delete, ""), (client.post, "/resend")):
        response = call(f"{URL}/{invited['id']}{path}")
        assert (response.status_code, response.json()["code"]) == (409, "invitation_accepted")
    assert Invitation.objects.get().status == "accepted"


def test_if_match_guards_a_revocation(cast, api):
    client = api("owner")
    invited = invite(client)
    response = client.delete(f"{URL}/{invited['id']}", headers={"If-Match": '"invitation-1-99"'})
    assert response.status_code == 412
    assert Invitation.objects.get().status == "pending"


def test_another_organizations_invitation_is_not_found(cast, api):
    invited = invite(api("owner"))
    path = f"/orgs/rival/invitations/{invited['id']}"
    assert api("outsider").delete(path).status_code == 404
    assert api("outsider").post(f"{path}/resend").status_code == 404
    assert Invitation.objects.get().status == "pending"


def test_developers_and_viewers_see_and_do_nothing_here(cast, api):
    for role in ("developer", "viewer"):
        assert api(role).get(URL).status_code == 403
        assert api(role).post(URL, LIN).status_code == 403
    assert api("owner", Scope.WRITE).post(URL, LIN).json()["code"] == "insufficient_scope"
    assert Invitation.objects.count() == 0


def test_a_resend_gives_a_new_token_and_seven_new_days(
    cast, api, django_capture_on_commit_callbacks
):
    client = api("owner")
    with time_machine.travel("2026-03-01T10:00:00Z", tick=False):
        old = invite(client)
    # Past its time: asking again gives it new life.
    with time_machine.travel("2026-03-10T10:00:00Z", tick=False):
        with django_capture_on_commit_callbacks(execute=True):
            response = client.post(f"{URL}/{old['id']}/resend")
        new = response.json()
        assert response.status_code == 200
        assert (new["status"], new["expires_at"]) == ("pending", "2026-03-17T10:00:00Z")
        assert new["token"] != old["token"]
        assert APIClient().get(f"/invitations/{old['token']}").status_code == 404
        assert APIClient().get(f"/invitations/{new['token']}").status_code == 200
    assert new["accept_url"] in mail.outbox[-1].body
    assert audited(cast.org, "invitation.")[-1][0] == "invitation.resent"


def test_a_resend_grants_no_role_above_ones_own(cast, api):
    invited = invite(api("owner"), role="owner")
    response = api("admin").post(f"{URL}/{invited['id']}/resend")
    assert response.status_code == 403
    assert Invitation.objects.get().digest == digest_of(invited["token"])


def test_a_resend_of_what_was_replaced_or_revoked_is_refused(cast, api):
    client = api("owner")
    with time_machine.travel("2026-03-01T10:00:00Z", tick=False):
        old = invite(client)
    new = invite(client)
    response = client.post(f"{URL}/{old['id']}/resend")
    assert response.json()["code"] == "invitation_pending"
    assert response.json()["invitation_id"] == new["id"]
    client.delete(f"{URL}/{new['id']}")
    assert client.post(f"{URL}/{new['id']}/resend").json()["code"] == "invitation_revoked"
    assert client.post(f"{URL}/{new['id']}/resend", {"email": "x"}).status_code == 400
    assert client.post(f"{URL}/999999/resend").status_code == 404


def test_the_mail_holds_the_link_in_text_and_html(cast, api, django_capture_on_commit_callbacks):
    Organization.objects.update(display_name="Acme <b>&\nCo")
    with django_capture_on_commit_callbacks(execute=True):
        invited = invite(api("admin"))
    message: Any = mail.outbox[0]
    assert message.to == ["lin@example.com"]
    assert message.subject == "You are invited to join Acme <b>& Co on Spoke"
    assert invited["accept_url"] in message.body
    assert "Acme <b>&" in message.body
    assert cast.admin.name in message.body
    html, kind = message.alternatives[0]
    assert kind == "text/html"
    assert f'href="{invited["accept_url"]}"' in html
    assert "Acme &lt;b&gt;&amp;" in html


@pytest.mark.parametrize("end", ["revoked", "resent", "expired", "suspended", "gone"])
def test_no_mail_is_sent_for_a_token_that_is_void_by_now(cast, api, end):
    client = api("owner")
    invited = invite(client)
    at = timezone.now()
    if end == "revoked":
        client.delete(f"{URL}/{invited['id']}")
    elif end == "resent":
        client.post(f"{URL}/{invited['id']}/resend")
    elif end == "expired":
        at += timedelta(days=7)
    elif end == "suspended":
        Organization.objects.update(status=OrganizationStatus.SUSPENDED)
    else:
        Invitation.objects.all().delete()
    with time_machine.travel(at):
        send_invitation_email.delay(cast.org.pk, invited["id"], seal(invited["token"]))
    assert mail.outbox == []


def test_the_mail_is_tried_again_while_the_server_is_away(cast, api, monkeypatch):
    invited = invite(api("owner"))
    attempts = []

    def flaky(message, fail_silently=False):
        attempts.append(message.to)
        if len(attempts) < 3:
            raise SMTPServerDisconnected("away")
        return 1

    monkeypatch.setattr(EmailMultiAlternatives, "send", flaky)
    arguments = (cast.org.pk, invited["id"], seal(invited["token"]))
    for _ in range(2):
        with pytest.raises(Retry, match=r"Retry in \d+s"):
            send_invitation_email.delay(*arguments)
    send_invitation_email.delay(*arguments)
    assert attempts == [["lin@example.com"]] * 3


def test_a_broker_that_is_away_leaves_the_invitation_standing(
    cast, api, monkeypatch, django_capture_on_commit_callbacks
):
    def refuse(*args):
        raise OperationalError("away")

    monkeypatch.setattr(send_invitation_email, "delay", refuse)
    with log_lines() as lines, django_capture_on_commit_callbacks(execute=True):
        invite(api("owner"))
    assert "task.not_enqueued" in lines.getvalue()
    assert Invitation.objects.get().status == "pending"


def test_the_token_is_in_no_log_line(cast, api, django_capture_on_commit_callbacks):
    with log_lines() as lines, django_capture_on_commit_callbacks(execute=True):
        invited = invite(api("owner"))
        APIClient().get(f"/invitations/{invited['token']}")
        APIClient().get(f"/accounts/login/?next=/accounts/invitations/{invited['token']}")
        api("outsider").post(f"/invitations/{invited['token']}/accept")
    written = lines.getvalue()
    assert "GET /invitations/…" in written
    assert "invitation.email" in written
    assert invited["token"] not in written


def test_overdue_invitations_are_expired_once_and_audited(cast, api):
    with time_machine.travel("2026-03-01T10:00:00Z", tick=False):
        due = invite(api("owner"))
        other = api("outsider").post("/orgs/rival/invitations", LIN).json()
    with time_machine.travel("2026-03-05T10:00:00Z", tick=False):
        fresh = invite(api("owner"), email="fresh@example.com")
    with time_machine.travel("2026-03-08T10:00:00Z", tick=False):
        expire_invitations.delay()
        expire_invitations.delay()
    rows = {row.pk: row for row in Invitation.objects.all()}
    assert rows[due["id"]].status == rows[other["id"]].status == "expired"
    assert rows[fresh["id"]].status == "pending"
    expired = ("invitation.expired", "system", f"invitation:{due['id']}")
    assert audited(cast.org, "invitation.expired") == [expired]
    assert len(audited(cast.other_org, "invitation.expired")) == 1


def test_two_sweeps_at_once_expire_each_invitation_once(committed_cast):
    with time_machine.travel("2026-03-01T10:00:00Z", tick=False):
        for number in range(20):
            invite(committed_cast.client("owner"), email=f"{number}@example.com")
    results = at_once(*[expire_invitations.delay] * 3)
    assert not [r for r in results if isinstance(r, Exception)]
    with door():
        assert set(Invitation.objects.values_list("status", "revision")) == {("expired", 2)}
        assert len(audited(committed_cast.org, "invitation.expired")) == 20
