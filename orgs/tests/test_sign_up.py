"""Sign-up and sign-in, by API and by the pages: verified addresses, limits, nothing to enumerate."""

import json
from smtplib import SMTPServerDisconnected

import pytest
import time_machine
from allauth.account.models import EmailAddress
from celery.exceptions import Retry
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client
from rest_framework.test import APIClient

from orgs.emails import seal_message
from orgs.models import Membership, User
from orgs.tasks import send_account_email
from orgs.tests.helpers import found, log_lines, new_user, verify

AUTH = "/_allauth/app/v1/auth"
CODE = r"^[A-Z0-9-]{6,}$"
PASSWORD = "a-long-enough-password-7"
NEW = {"email": "new@example.com", "password": PASSWORD}


class App:
    """A client of the sign-in API, keeping the session token that it is given."""

    def __init__(self, capture):
        self.client, self.capture, self.token = Client(), capture, ""

    def post(self, path, **data):
        headers = {"X-Session-Token": self.token} if self.token else {}
        with self.capture(execute=True):
            response = self.client.post(
                f"{AUTH}/{path}", json.dumps(data), "application/json", headers=headers
            )
        body = response.json()
        self.token = body.get("meta", {}).get("session_token") or self.token
        return response.status_code, body


@pytest.fixture
def app(db, django_capture_on_commit_callbacks):
    return App(django_capture_on_commit_callbacks)


def code_in(message) -> str:
    return found(CODE, message.body)


def pending(body) -> list[str]:
    return [flow["id"] for flow in body["data"]["flows"] if flow.get("is_pending")]


def test_from_sign_up_by_api_to_a_member_with_a_token(
    cast, api, app, django_capture_on_commit_callbacks
):
    status, body = app.post("signup", **NEW)
    assert (status, pending(body)) == (401, ["verify_email"])
    (message,) = mail.outbox
    assert message.to == ["new@example.com"]
    assert message.subject == "Please Confirm Your Email Address"
    assert "Hello from Spoke!" in message.body
    assert EmailAddress.objects.get(email="new@example.com").verified is False
    unverified = APIClient(headers={"X-Session-Token": app.token})
    assert unverified.get("/me").status_code == 401

    assert app.post("email/verify", key="WRONG1")[0] == 400
    status, body = app.post("email/verify", key=code_in(message))
    assert (status, body["meta"]["is_authenticated"]) == (200, True)

    session = APIClient(headers={"X-Session-Token": app.token})
    made = session.post("/me/tokens", {"name": "laptop", "scopes": ["admin"]})
    assert made.status_code == 201
    bearer = APIClient(headers={"Authorization": f"Bearer {made.json()['token']}"})
    me = bearer.get("/me").json()
    assert (me["kind"], me["email"], me["email_verified"]) == ("user", "new@example.com", True)

    invited = api("owner").post("/orgs/acme/invitations", {"email": "New@example.com"}).json()
    joined = bearer.post(f"/invitations/{invited['token']}/accept")
    assert (joined.status_code, joined.json()["role"]) == (200, "developer")
    assert Membership.objects.get(org=cast.org, user__email="new@example.com").role == "developer"


def test_signing_in_by_api_and_out_again(app):
    user = new_user("ada@example.com")
    verify(user)
    status, _ = app.post("login", email="Ada@example.com", password="correct horse battery")
    assert status == 200
    session = APIClient(headers={"X-Session-Token": app.token})
    assert session.get("/me").json()["email"] == "ada@example.com"
    response = app.client.delete(f"{AUTH}/session", headers={"X-Session-Token": app.token})
    assert response.status_code == 401
    assert session.get("/me").status_code == 401


def test_sign_up_tells_nobody_who_has_an_account(app, django_capture_on_commit_callbacks):
    verify(new_user("ada@example.com"))
    other = App(django_capture_on_commit_callbacks)
    fresh = app.post("signup", **NEW)
    taken = other.post("signup", email="ada@example.com", password=PASSWORD)
    for answer in (fresh, taken):
        del answer[1]["meta"]["session_token"]
    assert fresh == taken
    assert User.objects.filter(email="ada@example.com").count() == 1
    assert mail.outbox[1].subject == "Account Already Exists"
    assert "http://127.0.0.1:8000/accounts/password/reset/" in mail.outbox[1].body


def test_sign_in_and_recovery_tell_nobody_who_has_an_account(
    app, django_capture_on_commit_callbacks
):
    verify(new_user("ada@example.com"))
    for path, data in (
        ("login", {"password": "wrong-password-7"}),
        ("password/request", {}),
    ):
        known, unknown = (
            App(django_capture_on_commit_callbacks).post(path, email=email, **data)
            for email in ("ada@example.com", "nobody@example.com")
        )
        for answer in (known, unknown):
            answer[1].get("meta", {}).pop("session_token", None)
        assert known == unknown
    assert [message.subject for message in mail.outbox] == [
        "Password Reset Code",
        "Unknown Account",
    ]
    assert "http://127.0.0.1:8000/accounts/signup/" in mail.outbox[1].body


def test_a_forgotten_password_is_reset_by_code(app):
    user = new_user("ada@example.com")
    verify(user)
    assert app.post("password/request", email="ada@example.com")[0] == 401
    key = code_in(mail.outbox[0])
    # 401: the new password does not sign in by itself.
    assert app.post("password/reset", key=key, password=PASSWORD)[0] == 401
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    assert mail.outbox[-1].subject == "Password Reset"
    assert app.post("login", email="ada@example.com", password=PASSWORD)[0] == 200


def test_a_weak_password_is_refused(app):
    status, body = app.post("signup", email="new@example.com", password="12345678")
    assert status == 400
    assert {error["param"] for error in body["errors"]} == {"password"}
    assert User.objects.count() == 0


@pytest.mark.parametrize("path", ["/_allauth/app/v1/auth/login", "/accounts/login/"])
def test_sign_in_is_limited_by_address(db, settings, path):
    settings.ANONYMOUS_RATE_LIMIT = "3/m"
    client = Client()
    body = json.dumps({"email": "ada@example.com", "password": "x"})
    with time_machine.travel("2026-03-01T10:00:30Z", tick=False):
        first = [
            client.post(path, body, "application/json", REMOTE_ADDR="192.0.2.1").status_code
            for _ in range(3)
        ]
        refused = client.post(path, body, "application/json", REMOTE_ADDR="192.0.2.1")
        other = client.post(path, body, "application/json", REMOTE_ADDR="192.0.2.2")
    assert 429 not in first
    assert refused.status_code == 429
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Retry-After"] == "60"
    assert refused.json()["code"] == "rate_limited"
    assert other.status_code == first[0]
    with time_machine.travel("2026-03-01T10:00:40Z", tick=False):
        page = Client().get(path, headers={"Accept": "text/html"}, REMOTE_ADDR="192.0.2.1")
    assert (page.status_code, page.headers["Retry-After"]) == (429, "60")
    assert page.headers["Content-Type"].startswith("text/html") is path.startswith("/accounts/")
    with time_machine.travel("2026-03-01T10:03:30Z", tick=False):
        again = client.post(path, body, "application/json", REMOTE_ADDR="192.0.2.1")
    assert again.status_code == first[0]


def test_a_guessed_invitation_is_limited_by_address(db, settings):
    settings.ANONYMOUS_RATE_LIMIT = "2/m"
    with time_machine.travel("2026-03-01T10:00:30Z", tick=False):
        codes = [APIClient().get("/invitations/" + "A" * 43).status_code for _ in range(3)]
    assert codes == [404, 404, 429]


def test_guessing_one_persons_password_is_limited_from_any_address(app):
    verify(new_user("ada@example.com"))
    with time_machine.travel("2026-03-01T10:00:30Z", tick=False):
        answers = []
        for number in range(6):
            response = app.client.post(
                f"{AUTH}/login",
                json.dumps({"email": "ada@example.com", "password": f"wrong-{number}"}),
                "application/json",
                REMOTE_ADDR=f"192.0.2.{number}",
            )
            answers.append(response.json()["errors"][0]["code"])
    assert answers == ["email_password_mismatch"] * 5 + ["too_many_login_attempts"]


@pytest.mark.parametrize(
    "path",
    ["login/", "signup/", "password/reset/", "confirm-email/"],
)
def test_the_pages_for_strangers_render(db, path):
    response = Client().get(f"/accounts/{path}", follow=True)
    assert response.status_code == 200
    assert '<a class="brand" href="/">Spoke</a>' in response.text
    assert 'href="/static/orgs/pages.css"' in response.text
    assert 'href="/accounts/login/">Sign in</a>' in response.text


@pytest.mark.parametrize(
    "path",
    ["email/", "password/change/", "logout/", "2fa/", "2fa/totp/activate/", "reauthenticate/"],
)
def test_the_pages_of_an_account_render(db, path):
    user = new_user("ada@example.com")
    verify(user)
    client = Client()
    client.post(
        "/accounts/login/", {"login": "ada@example.com", "password": "correct horse battery"}
    )
    response = client.get(f"/accounts/{path}", follow=True)
    assert response.status_code == 200
    assert 'href="/accounts/2fa/">Two-factor</a>' in response.text
    assert "</main>" in response.text


def test_the_page_of_a_limit_renders(db, settings):
    settings.ACCOUNT_RATE_LIMITS = {"login": "1/m/ip"}
    data = {"login": "ada@example.com", "password": "x"}
    with time_machine.travel("2026-03-01T10:00:30Z", tick=False):
        Client().post("/accounts/login/", data)
        response = Client().post("/accounts/login/", data)
    assert response.status_code == 429
    assert "Too many requests" in response.text
    assert "</main>" in response.text


def test_a_mail_server_that_is_away_breaks_no_sign_up(monkeypatch):
    sealed = seal_message(EmailMessage("Code", "ABC-123", "a@example.com", ["b@example.com"]))
    assert "ABC-123" not in sealed

    def away(message, fail_silently=False):
        raise SMTPServerDisconnected("away")

    with monkeypatch.context() as patch:
        patch.setattr(EmailMessage, "send", away)
        with log_lines() as lines, pytest.raises(Retry):
            send_account_email.delay(sealed)
    assert "ABC-123" not in lines.getvalue()
    send_account_email.delay(sealed)
    (message,) = mail.outbox
    assert (message.subject, message.body, message.from_email, message.to) == (
        "Code",
        "ABC-123",
        "a@example.com",
        ["b@example.com"],
    )
