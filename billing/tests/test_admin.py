"""Staff keep subscriptions and invoices by hand, in the admin."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from billing.models import Invoice, Subscription
from billing.tests.conftest import plan, work_through
from conftest import door
from orgs.context import SYSTEM
from orgs.models import AuditEvent, Organization
from orgs.services.organizations import close_organization
from quotas.models import PlanAssignment

# The answer to what the admin asks before it acts.
YES = {"confirmed": "yes", "reason": "asked for"}
SUBSCRIPTIONS, INVOICES = "/admin/billing/subscription/", "/admin/billing/invoice/"


@pytest.fixture
def staff(cast, plans) -> Client:
    cast.staff.is_superuser = True
    cast.staff.save()
    client = Client()
    client.force_login(cast.staff, backend="django.contrib.auth.backends.ModelBackend")
    return client


def add(staff, org_id, code="pro", **more):
    return staff.post(
        f"{SUBSCRIPTIONS}add/",
        {
            "org": org_id,
            "plan": plan(code).pk,
            "interval": "month",
            "currency": "usd",
            "trial_days": 0,
        }
        | YES
        | more,
    )


def act(client, url, action, *rows):
    chosen = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(url, chosen | YES, follow=True)


def test_a_subscription_is_added_changed_and_ended(staff, org_id):
    added = add(staff, org_id, currency="USD")
    assert added.status_code == 302
    with door():
        row = Subscription.objects.get()
        assert (row.plan.code, row.status) == ("pro", "active")
        assert AuditEvent.objects.filter(action="subscription.started").count() == 1
    again = add(staff, org_id, "enterprise")
    assert b"There is a subscription already" in again.content
    change = f"{SUBSCRIPTIONS}{row.pk}/change/"
    assert staff.get(change).status_code == 200
    assert staff.post(change, {"plan": plan("enterprise").pk} | YES).status_code == 302
    refused = staff.post(change, {"plan": plan("custom").pk})
    assert b"has no price by month in usd" in refused.content
    with door():
        assert Subscription.objects.get().plan.code == "enterprise"
    assert b"done" in act(staff, SUBSCRIPTIONS, "cancel_at_end", row).content
    with door():
        assert Subscription.objects.get().cancel_at_period_end is True
    act(staff, SUBSCRIPTIONS, "reactivate", row)
    act(staff, SUBSCRIPTIONS, "cancel_now", row)
    with door():
        ended = Subscription.objects.get()
    assert (ended.status, ended.cancel_at_period_end) == ("canceled", False)
    assert b"It has ended" in act(staff, SUBSCRIPTIONS, "cancel_now", row).content


def test_a_plan_is_given_only_to_who_has_no_subscription(staff, org_id):
    add(staff, org_id)
    url = "/admin/quotas/planassignment/"
    with door():
        row = PlanAssignment.objects.get()
    wish = {"org": org_id, "plan": plan("enterprise").pk}
    for path in ("add/", f"{row.pk}/change/"):
        assert b"A subscription is live" in staff.post(f"{url}{path}", wish).content
    with door():
        assert PlanAssignment.objects.get().plan.code == "pro"
        act(staff, SUBSCRIPTIONS, "cancel_now", Subscription.objects.get())
    assert staff.post(f"{url}{row.pk}/change/", wish).status_code == 302
    with door():
        assert PlanAssignment.objects.get().plan.code == "enterprise"


def test_what_is_done_to_an_ended_subscription_leaves_the_one_after_it(staff, org_id):
    add(staff, org_id)
    with door():
        ended = Subscription.objects.get()
    act(staff, SUBSCRIPTIONS, "cancel_now", ended)
    assert add(staff, org_id, "enterprise").status_code == 302
    for action in ("cancel_at_end", "cancel_now", "reactivate"):
        assert b"It has ended" in act(staff, SUBSCRIPTIONS, action, ended).content
    with door():
        row = Subscription.objects.latest("pk")
    assert (row.status, row.cancel_at_period_end, row.plan.code) == ("active", False, "enterprise")


def test_an_invoice_is_settled_once(staff, subscribe, org_id):
    start = timezone.now() - timedelta(days=40)
    subscribe("pro", now=start)
    work_through(org_id, timezone.now())
    with door():
        row = Invoice.objects.exclude(number=None).get()
    for page in (INVOICES, f"{INVOICES}{row.pk}/change/", "/admin/billing/invoiceline/"):
        assert staff.get(page).status_code == 200
    assert staff.get("/admin/billing/numbersequence/").status_code == 200
    assert "49.00 USD" in staff.get(INVOICES).text
    shown = staff.get(f"{INVOICES}{row.pk}/change/").text
    assert shown.count("49.00 USD") == 4  # subtotal, total, due, and its line
    assert f'href="/admin/orgs/organization/{org_id}/change/"' in shown
    for kind in ("html", "pdf"):
        assert staff.get(f"/orgs/{org_id}/invoices/{row.pk}/{kind}").status_code == 200
        assert f'href="/orgs/{org_id}/invoices/{row.pk}/{kind}"' in shown
    assert b"done" in act(staff, INVOICES, "mark_paid", row).content
    assert b"does not become void" in act(staff, INVOICES, "void", row).content
    assert b"does not become uncollectible" in act(staff, INVOICES, "give_up", row).content
    with door():
        paid = Invoice.objects.get(pk=row.pk)
    assert paid.status == "paid"
    assert "staff" in paid.settled_by


def test_nobody_subscribes_who_has_closed(staff, org_id):
    with door():
        org = Organization.objects.get(pk=org_id)
        close_organization(org=org, actor=SYSTEM, now=timezone.now())
    assert b"The organization is closed" in add(staff, org_id).content
    with door():
        assert not Subscription.objects.exists()
