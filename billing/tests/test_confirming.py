"""What staff cannot take back is asked first: who, how much, what follows; and why is kept."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.models import Credit, CreditNote, Invoice, Subscription
from billing.tests.conftest import plan, work_through
from billing.tests.test_admin import (
    INVOICES,
    SUBSCRIPTIONS,
    YES,
    act,
    add,
    staff,  # noqa: F401 - a fixture
)
from conftest import door
from orgs.models import AuditEvent


@pytest.fixture
def invoice(staff, subscribe, org_id) -> Invoice:  # noqa: F811
    subscribe("pro", now=timezone.now() - timedelta(days=40))
    work_through(org_id, timezone.now())
    with door():
        return Invoice.objects.exclude(number=None).get()


def ask(client, url, action, *rows, **more):
    chosen = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(url, chosen | more, follow=True)


def status(invoice: Invoice) -> str:
    with door():
        return Invoice.objects.get(pk=invoice.pk).status


@pytest.mark.parametrize(
    ("action", "told", "becomes"),
    [
        ("mark_paid", "49.00 USD count as received from now on", "paid"),
        ("void", "it becomes void for good. 49.00 USD are not owed any more", "void"),
        ("give_up", "49.00 USD count as lost", "uncollectible"),
    ],
)
def test_an_invoice_is_settled_after_the_question(staff, invoice, org_id, action, told, becomes):  # noqa: F811
    page = ask(staff, INVOICES, action, invoice)
    assert f"{invoice.number} to " in page.text
    assert "(acme), 49.00 USD, open" in page.text
    assert told in page.text
    assert status(invoice) == "open"
    done = ask(staff, INVOICES, action, invoice, confirmed="yes", reason="Wire of 3 March")
    assert f"{invoice.number}: done." in done.text
    assert status(invoice) == becomes
    with door():
        event = AuditEvent.objects.get(action=f"invoice.{becomes}")
    assert (event.actor_label, event.data["note"]) == ("staff@example.com", "Wire of 3 March")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "nul\0"])
def test_without_a_reason_that_can_be_kept_nothing_is_void(staff, invoice, reason):  # noqa: F811
    page = ask(staff, INVOICES, "void", invoice, confirmed="yes", reason=reason)
    assert 'role="alert"' in page.text
    assert status(invoice) == "open"


def test_what_will_be_refused_is_said_before(staff, invoice, org_id):  # noqa: F811
    act(staff, INVOICES, "void", invoice)
    told = "it does not become paid, and stays as it is."
    assert told in ask(staff, INVOICES, "mark_paid", invoice).text
    with door():
        Subscription.objects.update(collection="stripe")
        row = Subscription.objects.get()
    for action in ("cancel_now", "cancel_at_end"):
        assert (
            "Stripe collects it, so nothing happens" in ask(staff, SUBSCRIPTIONS, action, row).text
        )


def test_more_than_somebody_reads_is_refused(staff, invoice, monkeypatch):  # noqa: F811
    monkeypatch.setattr("spoke.core.admin_confirm.MOST", 0)
    page = ask(staff, INVOICES, "void", invoice, **YES)
    assert "Choose 0 rows at most." in page.text
    assert status(invoice) == "open"


def test_ending_a_subscription_tells_until_when_it_was_paid(staff, org_id):  # noqa: F811
    add(staff, org_id)
    with door():
        row = Subscription.objects.get()
    end = f"{row.current_period_end:%Y-%m-%d %H:%M} UTC"
    page = ask(staff, SUBSCRIPTIONS, "cancel_now", row)
    assert "by month at 49.00 USD: it ends now and cannot be taken back." in page.text
    assert f"What is left until {end} comes off its last invoice" in page.text
    assert f"it ends on {end}" in ask(staff, SUBSCRIPTIONS, "cancel_at_end", row).text
    with door():
        assert Subscription.objects.get().status == "active"
    act(staff, SUBSCRIPTIONS, "cancel_now", row)
    with door():
        assert AuditEvent.objects.get(action="subscription.ended").data["reason"] == "asked for"


def test_starting_and_changing_a_subscription_is_asked_and_leaves_nothing(staff, org_id):  # noqa: F811
    sent = {"org": org_id, "plan": plan("pro").pk, "interval": "month", "currency": "usd"}
    page = staff.post(f"{SUBSCRIPTIONS}add/", sent)
    assert "by month at 49.00 USD: it starts now, and its limits hold at once." in page.text
    with door():
        assert not Subscription.objects.exists()
        assert not AuditEvent.objects.exists()
    add(staff, org_id)
    with door():
        row = Subscription.objects.get()
    change, wish = f"{SUBSCRIPTIONS}{row.pk}/change/", {"plan": plan("enterprise").pk}
    page = staff.post(change, wish)
    assert "limits hold at once; the difference until" in page.text
    assert f'name="plan" value="{wish["plan"]}"' in page.text
    with door():
        assert Subscription.objects.get().plan.code == "pro"
        assert AuditEvent.objects.filter(action="subscription.changed").count() == 0
    assert staff.post(change, wish | {"confirmed": "yes"}).status_code == 302
    with door():
        assert Subscription.objects.get().plan.code == "enterprise"


def test_money_is_given_back_after_the_question(staff, invoice):  # noqa: F811
    address = "/admin/billing/creditnote/add/"
    sent = {"invoice": invoice.pk, "kind": "reduction", "amount_minor": "", "reason": "Twice"}
    page = staff.post(address, sent)
    assert "of it 49.00 USD less is to be paid. Credit notes are not taken back." in page.text
    with door():
        assert not CreditNote.objects.exists()
    assert status(invoice) == "open"
    assert staff.post(address, sent | {"confirmed": "yes"}).status_code == 302
    assert status(invoice) == "paid"
    with door():
        note = CreditNote.objects.get()
    listing = "/admin/billing/creditnote/"
    assert f"{note}, reduction of 49.00 USD, of invoice" in ask(staff, listing, "void", note).text
    assert "the money counts as paid out" in ask(staff, listing, "mark_paid_out", note).text


def test_a_credit_is_given_after_the_question(staff, org_id):  # noqa: F811
    sent = {"org": org_id, "amount_minor": 1_000, "currency": "jpy", "reason": "Outage"}
    sent |= {"priority": 100, "expires_at_0": "2030-01-01", "expires_at_1": "00:00"}
    page = staff.post("/admin/billing/credit/add/", sent)
    assert "acme: 1,000 JPY pay for coming invoices until 2030-01-01 00:00 UTC." in page.text
    with door():
        assert not Credit.objects.exists()
