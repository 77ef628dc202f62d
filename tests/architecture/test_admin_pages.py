"""What every page of the admin keeps: readable amounts, links to what belongs to a row, no 500."""

import re

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from orgs.models import Organization, User
from orgs.services import organizations
from orgs.tests.test_closing import fill
from quotas.models import LimitOverride
from spoke.core.errors import Conflict
from tests.architecture.test_admin import run_action, staff  # noqa: F401 - a fixture

LISTS = {
    model._meta.label: reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    for model in admin.site._registry
}


@pytest.mark.parametrize("label", LISTS)
def test_no_query_and_no_selection_breaks_a_list(staff, cast, label):  # noqa: F811
    registered = {model._meta.label: own for model, own in admin.site._registry.items()}[label]
    names = [name for name in registered.list_filter if isinstance(name, str)]
    for name in ("q", *names):
        for value in ("\0", "'", "99999999999999999999", "²"):
            assert staff.get(LISTS[label], {name: value}).status_code in (200, 302), (name, value)
    columns = range(1, len(registered.list_display) + 1)
    for query in ({"o": f"-{number}"} for number in columns):
        assert staff.get(LISTS[label], query).status_code == 200, query
    for action in registered.actions:
        chosen = {"action": action, "_selected_action": ["x", "\0"]}
        assert staff.post(LISTS[label], chosen, follow=True).status_code == 200


def test_letters_are_no_row_of_a_search_box(staff, cast):  # noqa: F811
    sent = {"org": "acme", "resource": "modules", "limit": 1}
    page = staff.post("/admin/quotas/limitoverride/add/", sent)
    assert page.status_code == 200
    assert "This field is required." in page.text
    assert not LimitOverride.objects.exists()


def test_an_organization_leads_to_what_it_has(staff, cast):  # noqa: F811
    fill(cast)
    page = staff.get(f"/admin/orgs/organization/{cast.org.pk}/change/").text
    links = re.findall(r'href="([^"]+__exact=\d+)"', page)
    assert f"/admin/billing/invoice/?org__id__exact={cast.org.pk}" in links
    assert len(links) > 20
    for link in links:
        assert staff.get(link).status_code == 200, link
    for org, modules in ((cast.org, ["robots"]), (cast.other_org, [])):
        page = staff.get("/admin/registry/module/", {"org__id__exact": org.pk})
        assert [module.name for module in page.context["cl"].result_list] == modules


def test_bytes_have_their_unit_and_rows_lead_to_their_organization(staff, cast):  # noqa: F811
    fill(cast)
    LimitOverride.objects.create(
        org=cast.org, resource="storage", limit=20 * 2**30, created_at=cast.org.created_at
    )
    listed = staff.get("/admin/quotas/limitoverride/").text
    assert "20.0 GB (21,474,836,480 bytes)" in listed
    versions = staff.get("/admin/registry/version/").text
    assert "19 bytes" in versions
    assert f'href="/admin/orgs/organization/{cast.org.pk}/change/"' in versions


def test_secrets_of_second_factors_are_neither_shown_nor_made(staff, cast):  # noqa: F811
    row = Authenticator.objects.create(
        user=cast.owner, type="totp", data={"secret": "JBSWY3DPEHPK3PXP"}
    )
    page = staff.get(f"/admin/mfa/authenticator/{row.pk}/change/")
    assert page.status_code == 200
    assert "JBSWY3DPEHPK3PXP" not in page.text
    assert staff.get("/admin/mfa/authenticator/add/").status_code == 403
    assert staff.post(f"/admin/mfa/authenticator/{row.pk}/change/", {}).status_code == 403
    assert (
        staff.post(f"/admin/mfa/authenticator/{row.pk}/delete/", {"post": "yes"}).status_code == 302
    )
    assert not Authenticator.objects.exists()


def test_staff_say_that_an_address_is_verified(staff, cast):  # noqa: F811
    row = EmailAddress.objects.create(user=cast.viewer, email="second@example.com")
    sent = {"action": "verify", "_selected_action": [row.pk]}
    asked = staff.post("/admin/account/emailaddress/", sent).text
    assert "second@example.com of viewer@example.com: with it they sign in" in asked
    rows = EmailAddress.objects.filter(pk=row.pk, verified=True)
    assert not rows.exists()
    sent["confirmed"] = "yes"
    assert "done" in staff.post("/admin/account/emailaddress/", sent, follow=True).text
    assert rows.exists()
    assert staff.get("/admin/account/emailaddress/add/").status_code == 403


@pytest.fixture
def colleague(cast) -> Client:
    """Of the staff, may change people, and is no superuser."""
    person = User.objects.create_user("col@example.com", "x", is_staff=True)
    person.user_permissions.set(
        Permission.objects.filter(codename__in=("view_user", "change_user", "view_group"))
    )
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_who_changes_people_gives_no_rights(colleague, cast):
    sent = {"email": cast.viewer.email, "name": "Vera", "is_active": "on"}
    rights = {"is_staff": "on", "is_superuser": "on"}
    address = f"/admin/orgs/user/{cast.viewer.pk}/change/"
    assert colleague.post(address, sent | rights).status_code == 302
    changed = User.objects.get(pk=cast.viewer.pk)
    assert (changed.name, changed.is_staff, changed.is_superuser) == ("Vera", False, False)


def test_who_changes_people_does_not_become_a_colleague(colleague, cast):
    before = User.objects.get(pk=cast.staff.pk).password
    new = {"password1": "a long pass 7", "password2": "a long pass 7", "usable_password": "true"}
    assert colleague.post(f"/admin/orgs/user/{cast.staff.pk}/password/", new).status_code == 403
    sent = {"email": "mine@example.com", "name": "", "is_active": "on"}
    assert colleague.post(f"/admin/orgs/user/{cast.staff.pk}/change/", sent).status_code == 403
    kept = User.objects.get(pk=cast.staff.pk)
    assert (kept.password, kept.email) == (before, cast.staff.email)


def test_what_is_refused_midway_leaves_nothing(staff, cast, monkeypatch):  # noqa: F811
    def half(*, org, **rest):
        Organization.objects.filter(pk=org.pk).update(description="half done")
        raise Conflict("Not now.")

    monkeypatch.setattr(organizations, "suspend_organization", half)
    page = run_action(staff, "organization", "suspend", cast.org.pk)
    assert "acme: Not now." in page.text
    assert Organization.objects.get(pk=cast.org.pk).description == ""
