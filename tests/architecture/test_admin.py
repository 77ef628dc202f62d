"""The Django admin: every table is there, every page opens, and what staff do goes through services."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from orgs.models import ApiToken, AuditEvent, Organization, User
from orgs.tests.test_closing import fill
from tests.architecture.test_tenant_tables import OURS

MODELS = [model for model in apps.get_models() if model._meta.app_label in OURS]


@pytest.fixture
def staff(cast) -> Client:
    User.objects.filter(pk=cast.staff.pk).update(is_superuser=True)
    client = Client()
    client.force_login(User.objects.get(pk=cast.staff.pk))
    return client


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_model_has_a_list_and_a_page(staff, cast, model):
    if model._meta.model_name in INLINE_ONLY:
        return
    fill(cast)
    assert model in admin.site._registry
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    listing = staff.get(reverse(f"{name}_changelist"), {"q": "acme"})
    assert listing.status_code == 200
    row = model._default_manager.first()
    if row is not None:
        assert staff.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200


# Shown inside the page of what they belong to.
INLINE_ONLY = {
    "planlimit",
    "planprice",
    "plancharge",
    "periodusage",
    "versionfile",
    "versiondependency",
}


def test_every_model_that_is_not_registered_is_shown_inside_another():
    missing = {m._meta.model_name for m in MODELS if m not in admin.site._registry}
    assert missing <= INLINE_ONLY
    shown = {
        inline.model._meta.model_name
        for registered in admin.site._registry.values()
        for inline in registered.inlines
    }
    assert missing <= shown


def run_action(client: Client, model: str, action: str, pk: int):
    return client.post(
        reverse(f"admin:orgs_{model}_changelist"),
        {"action": action, "_selected_action": [pk], "confirmed": "yes", "reason": "Asked for."},
        follow=True,
    )


def test_suspending_and_lifting_is_audited_as_staff(staff, cast, api):
    assert run_action(staff, "organization", "suspend", cast.org.pk).status_code == 200
    refused = api("owner").patch("/orgs/acme", {"description": "x"})
    assert refused.json()["code"] == "organization_suspended"
    run_action(staff, "organization", "reactivate", cast.org.pk)
    assert Organization.objects.get(pk=cast.org.pk).status == "active"
    events = AuditEvent.objects.filter(org=cast.org).order_by("pk")
    assert [(e.action, e.actor_kind, e.actor_label) for e in events] == [
        ("organization.suspended", "staff", "staff@example.com"),
        ("organization.reactivated", "staff", "staff@example.com"),
    ]


def test_closing_and_suspending_ask_first_and_keep_why(staff, cast, api):
    listing = reverse("admin:orgs_organization_changelist")
    told = {
        "suspend": "from the next request on they read and do not write",
        "close": "its pending invitations and 0 service tokens are revoked for good",
    }
    for action, words in told.items():
        page = staff.post(listing, {"action": action, "_selected_action": [cast.org.pk]})
        assert "(acme) of owner@example.com, members: 4" in page.text
        assert words in page.text
        assert Organization.objects.get(pk=cast.org.pk).status == "active"
    assert not AuditEvent.objects.filter(org=cast.org).exists()
    run_action(staff, "organization", "suspend", cast.org.pk)
    assert api("owner").get("/orgs/acme").json()["status_reason"] == "Asked for."
    run_action(staff, "organization", "close", cast.org.pk)
    event = AuditEvent.objects.get(org=cast.org, action="organization.closed")
    assert event.data == {"reason": "Asked for."}


def test_a_refused_action_says_why(staff, cast):
    run_action(staff, "organization", "close", cast.org.pk)
    page = run_action(staff, "organization", "suspend", cast.org.pk)
    assert b"The organization is closed." in page.content


def test_a_token_is_revoked_at_once(staff, cast, api):
    client = api("viewer")
    token = ApiToken.objects.get(user=cast.viewer)
    asked = staff.post(
        reverse("admin:orgs_apitoken_changelist"),
        {"action": "revoke", "_selected_action": [token.pk]},
    )
    assert "of viewer@example.com, never used: it stops working at once" in asked.text
    assert client.get("/me").status_code == 200
    run_action(staff, "apitoken", "revoke", token.pk)
    assert client.get("/me").status_code == 401


def test_secrets_are_shown_nowhere(staff, cast):
    fill(cast)
    for model in ("apitoken", "invitation"):
        row = apps.get_model("orgs", model).objects.first()
        page = staff.get(reverse(f"admin:orgs_{model}_change", args=[row.pk]))
        assert row.digest.encode() not in page.content


def test_people_can_be_added_and_get_a_password(staff, cast):
    call_command("seed_plans", verbosity=0)
    fields = {"email": "New@Example.com", "name": "", "password1": "a long pass 7", "password2": ""}
    fields["password2"] = fields["password1"]
    assert staff.post(reverse("admin:orgs_user_add"), fields).status_code == 302
    assert User.objects.get(email="new@example.com").check_password("a long pass 7")


@pytest.mark.parametrize("who", ["owner", "outsider"])
def test_nobody_but_staff_gets_in(cast, who):
    client = Client()
    client.force_login(getattr(cast, who))
    response = client.get("/admin/orgs/organization/")
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/admin/login/")
