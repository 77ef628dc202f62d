"""Invoices: one a period, numbers without a gap, and documents that nothing changes."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection

from billing import tasks
from billing.models import Invoice, InvoiceLine, InvoiceStatus, NumberSequence, Subscription
from billing.services import invoicing, subscriptions
from billing.tests.conftest import START, at, bills, plan, work_through
from conftest import door
from orgs.context import SYSTEM, Actor
from orgs.models import AuditEvent, Organization, OrganizationStatus
from orgs.services.organizations import purge_organization
from quotas.models import UsagePeriod
from quotas.resources import Resource
from quotas.services import usage
from quotas.services.periods import current_period
from quotas.services.plans import assign_plan
from quotas.services.reservations import reserve
from quotas.tests.threads import at_once
from spoke.core import tenancy
from spoke.core.errors import Conflict, NotFound

STAFF = Actor(kind="user", id=1, label="staff@spoke.example")
END = at(4, 5)
AFTER = END + timedelta(hours=1)


def draft(org_id, start=START, now=END):
    with tenancy.organization(org_id):
        return invoicing.draft_invoice(org_id=org_id, period_start=start, now=now)


def settle(org_id, invoice, status, now=AFTER, note=""):
    with tenancy.organization(org_id):
        return invoicing.settle_invoice(
            org_id=org_id, invoice_id=invoice.pk, status=status, actor=STAFF, now=now, note=note
        )


@pytest.fixture
def invoice(org_id, subscribe):
    """The open invoice of the first month."""
    subscribe("pro")
    work_through(org_id, AFTER)
    with tenancy.organization(org_id):
        return Invoice.objects.get()


def facts(invoice):
    with door():
        row = Invoice.objects.filter(pk=invoice.pk).values().get()
        return row, list(InvoiceLine.objects.filter(invoice=invoice).values())


def test_drafted_again_it_is_the_same_invoice_rated_anew(org_id, subscribe):
    subscribe("pro")
    first = draft(org_id)
    with tenancy.organization(org_id):
        reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=1_001, now=END - timedelta(1))
    again = draft(org_id)
    assert (again.pk, first.total_minor, again.total_minor) == (first.pk, 4_900, 4_905)
    assert facts(again)[0]["bill_to"]["name"] == "acme"


def test_a_period_that_is_not_over_has_none(org_id, subscribe):
    subscribe("pro")
    with pytest.raises(Conflict, match="not over"):
        draft(org_id, now=END - timedelta(seconds=1))
    with pytest.raises(NotFound, match="no period"):
        draft(org_id, start=START + timedelta(days=1))
    assert bills(org_id) == []


def test_the_free_plan_costs_nothing(org_id):
    with tenancy.organization(org_id):
        current_period(org_id=org_id, now=START)
    assert draft(org_id, start=at(3, 1, 0, 0)) is None
    assert bills(org_id) == []


def test_a_number_waits_for_the_period_to_close(org_id, subscribe):
    subscribe("pro")
    first = draft(org_id)
    with tenancy.organization(org_id), pytest.raises(Conflict, match="late events"):
        invoicing.finalize_invoice(org_id=org_id, invoice_id=first.pk, now=AFTER)
    assert bills(org_id) == [("2026-03-05", 4_900, "draft")]
    assert not NumberSequence.objects.exists()


def test_given_out_once_however_often(org_id, invoice):
    before = facts(invoice)
    with tenancy.organization(org_id):
        for _ in range(2):
            again = invoicing.finalize_invoice(
                org_id=org_id, invoice_id=invoice.pk, now=AFTER + timedelta(days=1)
            )
    assert again.number == "SPK-2026-000001"
    assert again.due_at == AFTER + timedelta(days=14)
    assert draft(org_id, now=AFTER).pk == invoice.pk
    assert facts(invoice) == before


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE billing_invoice SET total_minor = 1",
        "UPDATE billing_invoice SET number = 'SPK-2026-000009'",
        "UPDATE billing_invoice SET bill_to = '{}'",
        "UPDATE billing_invoice SET status = 'draft'",
        "DELETE FROM billing_invoice",
        "UPDATE billing_invoiceline SET amount_minor = 1",
        "DELETE FROM billing_invoiceline",
        'INSERT INTO billing_invoiceline SELECT 99, 99, kind, description, resource, start, "end",'
        " unit, quantity, included, unit_amount, precise_amount, amount_minor, invoice_id, org_id"
        " FROM billing_invoiceline LIMIT 1",
    ],
)
def test_the_database_refuses_to_change_a_document(invoice, change):
    before = facts(invoice)
    with (
        pytest.raises(IntegrityError, match=r"invoice with a number"),
        door(),
        connection.cursor() as cursor,
    ):
        cursor.execute(change)
    assert facts(invoice) == before


def test_paid_by_hand_with_who_and_when(org_id, invoice):
    paid = settle(org_id, invoice, InvoiceStatus.PAID, note="Bank transfer of 3 April")
    assert (paid.status, paid.settled_by, paid.settled_at) == ("paid", STAFF.label, AFTER)
    # Paid is paid, whoever says it again.
    again = settle(org_id, invoice, InvoiceStatus.PAID, now=AFTER + timedelta(days=9))
    assert again.settled_at == AFTER
    with tenancy.organization(org_id):
        event = AuditEvent.objects.get(action="invoice.paid")
    assert event.data == {
        "number": "SPK-2026-000001",
        "amount_cents": 4_900,
        "currency": "usd",
        "old": "open",
        "note": "Bank transfer of 3 April",
    }


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (InvoiceStatus.PAID, InvoiceStatus.VOID),
        (InvoiceStatus.PAID, InvoiceStatus.UNCOLLECTIBLE),
        (InvoiceStatus.VOID, InvoiceStatus.PAID),
        (InvoiceStatus.VOID, InvoiceStatus.OPEN),
        (InvoiceStatus.PAID, InvoiceStatus.DRAFT),
    ],
)
def test_no_way_back(org_id, invoice, first, then):
    settle(org_id, invoice, first)
    before = facts(invoice)
    with pytest.raises(Conflict, match="does not become"):
        settle(org_id, invoice, then)
    assert facts(invoice) == before


def test_what_was_given_up_can_still_be_paid(org_id, invoice):
    settle(org_id, invoice, InvoiceStatus.UNCOLLECTIBLE)
    assert settle(org_id, invoice, InvoiceStatus.PAID).status == "paid"


def test_a_draft_is_not_settled(org_id, subscribe):
    subscribe("pro")
    first = draft(org_id)
    with pytest.raises(Conflict, match="does not become paid"):
        settle(org_id, first, InvoiceStatus.PAID)
    assert bills(org_id) == [("2026-03-05", 4_900, "draft")]


def test_a_document_outlives_its_organization(org_id, invoice):
    before = facts(invoice)
    with door():
        Organization.objects.filter(pk=org_id).update(
            status=OrganizationStatus.CLOSED, closed_at=AFTER, purge_after=AFTER
        )
    assert purge_organization(org_id=org_id, now=AFTER)
    with door():
        assert not Subscription.objects.filter(org_id=org_id).exists()
    assert facts(invoice) == before


def test_another_organization_sees_nothing(cast, invoice):
    with tenancy.organization(cast.other_org.pk):
        assert not Invoice.objects.exists()
        assert not InvoiceLine.objects.exists()
        assert not Subscription.objects.exists()
        with pytest.raises(NotFound):
            invoicing.settle_invoice(
                org_id=cast.other_org.pk,
                invoice_id=invoice.pk,
                status=InvoiceStatus.PAID,
                actor=STAFF,
                now=AFTER,
            )


def test_a_plan_by_hand_is_billed_for_its_overage_alone(org_id):
    with tenancy.organization(org_id):
        assign_plan(org_id=org_id, plan=plan("pro"), actor=SYSTEM, now=START)
        reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=1_200, now=START)
    work_through(org_id, at(4, 1, 1, 0))
    assert bills(org_id) == [("2026-03-01", 1_000, "open")]


def test_the_tasks_find_what_is_due(org_id, subscribe, time_machine, settings):
    settings.CELERY_TASK_ALWAYS_EAGER = True
    subscribe("pro")
    time_machine.move_to(END + timedelta(minutes=5), tick=False)
    assert tasks.turn_due_subscriptions() == 1
    assert tasks.turn_due_subscriptions() == 0
    assert tasks.draft_due_invoices() == 1
    assert tasks.draft_due_invoices() == 0
    assert tasks.finalize_due_invoices() == 0
    time_machine.move_to(AFTER, tick=False)
    close_first_period(org_id)
    assert tasks.finalize_due_invoices() == 1
    assert tasks.finalize_due_invoices() == 0
    assert bills(org_id) == [("2026-03-05", 4_900, "open")]


def close_first_period(org_id):
    """What the task of quotas does."""
    with tenancy.organization(org_id):
        for row in UsagePeriod.objects.filter(org_id=org_id, end__lte=END):
            assert usage.close_period(period_id=row.pk, org_id=org_id, now=AFTER)


def test_many_at_once_make_one_invoice_and_one_number(committed_cast):
    call_command("seed_plans", verbosity=0)
    org_ids = [committed_cast.org.pk, committed_cast.other_org.pk]
    for org_id in org_ids:
        with tenancy.organization(org_id):
            subscriptions.start_subscription(
                org_id=org_id,
                plan=plan("pro"),
                interval="month",
                currency="usd",
                actor=SYSTEM,
                now=START,
            )
            current_period(org_id=org_id, now=END)
        close_first_period(org_id)

    def work(number: int) -> str | None:
        org_id = org_ids[number % 2]
        with tenancy.organization(org_id):
            return invoicing.generate_invoice(org_id=org_id, period_start=START, now=AFTER).number

    numbers, errors = at_once(8, work)
    assert errors == []
    assert sorted(set(numbers)) == ["SPK-2026-000001", "SPK-2026-000002"]
    with door():
        assert Invoice.objects.count() == 2
    assert NumberSequence.objects.get().last == 2


def test_a_number_that_was_not_committed_is_given_again(org_id, subscribe):
    subscribe("pro")
    first = draft(org_id)
    close_first_period(org_id)

    with pytest.raises(RuntimeError, match="killed"):
        finalize_and_die(org_id, first.pk)
    with tenancy.organization(org_id):
        again = invoicing.finalize_invoice(org_id=org_id, invoice_id=first.pk, now=AFTER)
    assert again.number == "SPK-2026-000001"


def finalize_and_die(org_id, invoice_id):
    with tenancy.organization(org_id):
        given = invoicing.finalize_invoice(org_id=org_id, invoice_id=invoice_id, now=AFTER)
        assert given.number == "SPK-2026-000001"
        raise RuntimeError("killed")
