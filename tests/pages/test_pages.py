"""What people see and do on the pages, and that nothing is open there which the API refuses."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.management import call_command
from django.test import Client, RequestFactory
from django.urls import get_resolver

from conftest import door
from orgs.models import ApiToken, Invitation, Membership, Organization, OwnershipTransfer
from quotas.models import AlertSettings, Budget
from spoke.core.problem import bad_request, permission_denied, server_error
from tests.architecture.test_hostile_input import row_counts

NAMES = (
    *("pages_overview", "pages_modules", "pages_team", "pages_tokens", "pages_billing"),
    *("pages_plan", "pages_limits", "pages_activity", "pages_settings", "pages_offer"),
)
OPEN = {"pages_overview", "pages_modules", "pages_offer"}
OF_OWNERS = {"pages_plan"}
HTML = {"HTTP_ACCEPT": "text/html"}


@pytest.fixture(autouse=True)
def _plans(db):
    call_command("seed_plans", verbosity=0)


@pytest.fixture
def browser(cast):
    def browser(who: str | None, **options) -> Client:
        client = Client(headers={"accept": "text/html"}, **options)
        if who:
            user = getattr(cast, who)
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return browser


def address(name: str, org: str = "acme") -> str:
    return f"/{get_resolver().reverse(name, org=org)}"


def seen(name: str, role: str) -> int:
    if role == "outsider":
        return 404
    roles = ("owner", "staff") if name in OF_OWNERS else ("owner", "admin", "staff")
    return 200 if name in OPEN or role in roles else 403


@pytest.mark.parametrize("role", ["owner", "admin", "developer", "viewer", "staff", "outsider"])
@pytest.mark.parametrize("name", NAMES)
def test_who_sees_which_page(browser, name, role):
    client = browser(role)
    expected = seen(name, role)
    page = client.get(address(name))
    assert (page.status_code, page["Content-Type"]) == (expected, "text/html; charset=utf-8")
    assert page.text.count("<h1>") == 1
    # What may not be seen may not be done.
    before = row_counts()
    done = client.post(address(name), {"do": "nothing of it"})
    assert done.status_code == (404 if expected == 200 else expected)
    assert row_counts() == before


@pytest.mark.parametrize("name", [*NAMES, "pages_organizations", "pages_own_tokens"])
def test_who_is_not_signed_in_is_led_there_and_back(browser, name):
    path = address(name) if name in NAMES else f"/{get_resolver().reverse(name)}"
    for send in (browser(None).get, browser(None).post):
        assert send(path).headers["Location"] == f"/accounts/login/?next={path}"


def test_a_form_of_another_site_does_nothing(browser):
    client = browser("owner", enforce_csrf_checks=True)
    before = row_counts()
    page = client.post(
        address("pages_team"), {"do": "invite", "email": "x@example.com", "role": "admin"}
    )
    assert page.status_code == 403
    assert row_counts() == before


def test_what_pages_ask_is_no_api_request(browser, api):
    for name in NAMES:
        browser("owner").get(address(name))
    limits = api("owner").get("/orgs/acme/quotas").json()["limits"]
    assert {row["resource"]: row["used"] for row in limits}["api_requests"] == 1


def test_acts_are_limited(browser, monkeypatch):
    monkeypatch.setattr("spoke.pages.base.ACTS_PER_MINUTE", "1/m")
    client, wish = browser("owner"), {"do": "save", "display_name": "First", "description": ""}
    assert client.post(address("pages_settings"), wish).status_code == 302
    assert client.post(address("pages_settings"), wish | {"display_name": "B"}).status_code == 429
    with door():
        assert Organization.objects.get(name="acme").display_name == "First"


def test_an_organization_is_made(browser):
    client = browser("outsider")
    refused = client.post("/app/", {"do": "create", "name": "Bad Name", "display_name": "Kept"})
    assert refused.status_code == 400
    assert "Name: This value does not match the required pattern." in refused.text
    assert 'value="Kept"' in refused.text
    made = client.post("/app/", {"do": "create", "name": "new-one", "display_name": ""})
    assert made.headers["Location"] == "/app/new-one/"
    assert "There is nothing in it yet." in client.get("/app/new-one/").text
    assert "new-one" in client.get("/app/").text
    assert client.get("/").headers["Location"] == "/app/"
    assert browser(None).get("/").headers["Location"] == "/docs"


def test_somebody_is_invited_and_the_invitation_withdrawn(browser):
    client, team = browser("admin"), address("pages_team")
    for email, role in (("no address", "viewer"), ("a@example.com", "owner")):
        refused = client.post(team, {"do": "invite", "email": email, "role": role})
        assert refused.status_code in (400, 403)
        assert 'role="alert"' in refused.text
    with door():
        assert not Invitation.objects.exists()
    sent = {"do": "invite", "email": "a@example.com", "role": "viewer"}
    assert client.post(team, sent).status_code == 302
    assert "The invitation is on its way." in client.get(team).text
    with door():
        row = Invitation.objects.get()
    wish = {"do": "revoke", "id": row.pk, "who": row.email}
    assert "Withdraw the invitation of a@example.com?" in client.post(team, wish).text
    with door():
        assert Invitation.objects.get().status == "pending"
    assert client.post(team, wish | {"confirmed": "yes"}).status_code == 302
    with door():
        assert Invitation.objects.get().status == "revoked"


def test_a_member_is_changed_and_removed_after_the_question(browser, cast):
    client, team = browser("owner"), address("pages_team")
    wish = {"do": "role", "id": cast.viewer.pk, "role": "developer"}
    assert client.post(team, wish).status_code == 302
    wish = {"do": "remove", "id": cast.viewer.pk, "who": "<b>viewer"}
    asked = client.post(team, wish)
    assert "Remove &lt;b&gt;viewer?" in asked.text
    with door():
        assert Membership.objects.get(org=cast.org, user=cast.viewer).role == "developer"
    client.post(team, wish | {"confirmed": "yes"})
    with door():
        assert not Membership.objects.filter(org=cast.org, user=cast.viewer).exists()
    for part in ("../../me", "1/x", "", "nobody"):
        assert client.post(team, wish | {"id": part, "confirmed": "yes"}).status_code == 404
    last = client.post(team, wish | {"id": cast.owner.pk, "confirmed": "yes"})
    assert last.status_code == 409
    assert "An organization always has an owner" in last.text


@pytest.mark.parametrize("path", ["/app/acme/tokens", "/accounts/tokens"])
def test_a_token_is_shown_once(browser, path):
    client = browser("owner")
    wish = {"do": "create", "name": "CI", "role": "developer", "scope": "write"}
    refused = client.post(path, wish | {"expires_in_days": "soon"})
    assert "Expires in days: A valid integer is required." in refused.text
    page = client.post(path, wish | {"expires_in_days": "30"})
    with door():
        row = ApiToken.objects.get()
    assert f">{row.prefix}" in page.text
    assert "no-store" in page["Cache-Control"]
    assert page.text.count("CI") > 1
    again = client.get(path).text
    assert f"{row.prefix}…" in again
    assert "shown this once" not in again
    revoke = {"do": "revoke", "id": row.pk, "who": "CI"}
    assert "Revoke the token CI?" in client.post(path, revoke).text
    client.post(path, revoke | {"confirmed": "yes"})
    with door():
        assert ApiToken.objects.get().revoked_at is not None


def test_the_budget_is_typed_in_the_currencys_units(browser, cast):
    client, path = browser("owner"), address("pages_limits")
    wish = {"do": "budget", "currency": "usd", "action": "block"}
    wrong = client.post(path, wish | {"amount": "20,5 dollars"})
    assert (wrong.status_code, "Amount: a number such as 20.00" in wrong.text) == (400, True)
    assert 'value="20,5 dollars"' in wrong.text
    with door():
        assert not Budget.objects.exists()
    assert client.post(path, wish | {"amount": "1,020.5"}).status_code == 302
    with door():
        assert Budget.objects.get().amount_minor == 102_050
    assert 'value="1020.50"' in client.get(path).text
    client.post(path, wish | {"amount": " "})
    with door():
        assert not Budget.objects.exists()


def test_alerts_are_percentages_with_commas_between(browser):
    client, path = browser("admin"), address("pages_limits")
    wish = {"do": "alerts", "modules": "90, 50%", "storage": ""}
    wrong = client.post(path, wish | {"modules": "90, x"})
    assert "Modules: whole numbers with commas between" in wrong.text
    assert 'value="90, x"' in wrong.text
    assert client.post(path, wish).status_code == 302
    with door():
        kept = AlertSettings.objects.get().thresholds
    assert (kept["modules"], kept["storage"]) == ([50, 90], [])


def test_billing_details_keep_what_was_sent_and_refused(browser):
    client, path = browser("owner"), address("pages_billing")
    wish = {"do": "details", "legal_name": "株式会社", "country": "JP", "tax_id_type": "jp_trn"}
    wrong = client.post(path, wish | {"tax_id": "T1"})
    assert (wrong.status_code, 'value="株式会社"' in wrong.text) == (400, True)
    assert client.post(path, wish | {"tax_id": "T1234567890123"}).status_code == 302
    assert 'value="T1234567890123"' in client.get(path).text


def test_without_stripe_a_plan_says_why_it_is_not_sold(browser):
    page = browser("owner").post(
        address("pages_plan"),
        {"do": "checkout", "plan": "pro", "interval": "month", "currency": "usd"},
    )
    assert page.status_code == 501
    assert "Payment by card is not set up on this server" in page.text


def test_ownership_is_offered_and_accepted(browser, cast):
    owner, admin = browser("owner"), browser("admin")
    wish = {"do": "transfer", "email": "admin@example.com"}
    asked = owner.post(address("pages_settings"), wish)
    assert "Offer the organization to admin@example.com?" in asked.text
    with door():
        assert not OwnershipTransfer.objects.exists()
    owner.post(address("pages_settings"), wish | {"confirmed": "yes"})
    assert "Look at the offer" in admin.get(address("pages_overview")).text
    assert "Look at the offer" not in owner.get(address("pages_overview")).text
    assert admin.post(address("pages_offer"), {"do": "accept"}).status_code == 302
    with door():
        assert Organization.objects.get(pk=cast.org.pk).owner == cast.admin


def test_closing_wants_the_name_typed(browser, cast):
    client, path = browser("owner"), address("pages_settings")
    for sent in ({}, {"confirmed": "yes"}, {"confirmed": "yes", "typed": "Acme"}):
        page = client.post(path, {"do": "close", **sent})
        assert "For 30 days you can reopen it" in page.text
        with door():
            assert Organization.objects.get(pk=cast.org.pk).status == "active"
    assert (
        client.post(path, {"do": "close", "confirmed": "yes", "typed": "acme"}).status_code == 302
    )
    with door():
        assert Organization.objects.get(pk=cast.org.pk).status == "closed"
    assert "Closed." in client.get(address("pages_overview")).text
    client.post(path, {"do": "reopen"})
    with door():
        assert Organization.objects.get(pk=cast.org.pk).status == "active"


def test_lists_go_on_where_they_stopped(browser):
    assert "Older" not in browser("owner").get(address("pages_activity")).text
    for name in ("pages_activity", "pages_modules"):
        assert browser("owner").get(address(name), {"cursor": "no cursor"}).status_code == 404


@pytest.mark.parametrize(
    ("handler", "status"), [(bad_request, 400), (permission_denied, 403), (server_error, 500)]
)
def test_errors_are_pages_for_people_and_problems_for_programs(handler, status):
    for path, headers, kind in (
        ("/app/acme/", HTML, "text/html"),
        ("/app/acme/", {}, "application/problem+json"),
        ("/orgs/acme", HTML, "application/problem+json"),
    ):
        request = RequestFactory().get(path, **headers)
        request.user = AnonymousUser()
        rest = () if handler is server_error else (Exception(),)
        answer = handler(request, *rest)
        assert answer.status_code == status
        assert answer["Content-Type"].startswith(kind)
