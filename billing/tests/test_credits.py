"""Credits on invoices: taken once, given back once."""

from datetime import date
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from billing.models import Credit, CreditApplication, Invoice, InvoiceStatus, NoteKind, TaxRate
from billing.services import invoicing
from billing.services.credit_notes import issue_note
from billing.services.credits import grant_credit, use_credits
from billing.services.details import change_details
from billing.tests.conftest import START, at, lines, work_through
from orgs.context import Actor
from orgs.models import AuditEvent
from spoke.core import tenancy
from spoke.core.errors import Conflict, InvalidInput

STAFF = Actor(kind="staff", id=1, label="staff@spoke.example")
AFTER = at(4, 5, 10, 30)


def grant(org_id, amount, **more):
    with tenancy.organization(org_id):
        return grant_credit(
            **{
                "org_id": org_id,
                "amount_minor": amount,
                "currency": "usd",
                "reason": "Outage",
                "actor": STAFF,
                "now": START,
            }
            | more
        )


def left(org_id):
    with tenancy.organization(org_id):
        return list(Credit.objects.order_by("pk").values_list("remaining_minor", flat=True))


def invoice_of(org_id, start=START):
    with tenancy.organization(org_id):
        return Invoice.objects.get(org_id=org_id, period_start=start)


def taxed(org_id, percentage=19):
    TaxRate.objects.create(
        country="DE", name="VAT", percentage=Decimal(percentage), valid_from=date(2020, 1, 1)
    )
    with tenancy.organization(org_id):
        change_details(org_id=org_id, changes={"country": "DE"}, actor=STAFF, now=START)


def test_used_in_order_before_tax_and_written_down(org_id, subscribe):
    taxed(org_id)
    subscribe("pro")
    grant(org_id, 1_000, reason="Later")
    grant(org_id, 500, reason="First", priority=1)
    grant(org_id, 9_000, reason="In euros", currency="eur")
    work_through(org_id, AFTER)
    assert lines(org_id, START) == [
        ("Pro, one month", 4_900),
        ("Credit: First", -500),
        ("Credit: Later", -1_000),
        ("VAT 19%", 646),
    ]
    invoice = invoice_of(org_id)
    assert (invoice.subtotal_minor, invoice.tax_minor, invoice.total_minor) == (3_400, 646, 4_046)
    assert left(org_id) == [0, 0, 9_000]
    with tenancy.organization(org_id):
        used = CreditApplication.objects.order_by("credit_id")
        assert list(used.values_list("amount_minor", "invoice_id")) == [
            (1_000, invoice.pk),
            (500, invoice.pk),
        ]
        assert AuditEvent.objects.filter(action="credit.granted").count() == 3


def test_drafts_show_it_and_take_nothing(org_id, subscribe):
    subscribe("pro")
    grant(org_id, 1_000)
    with tenancy.organization(org_id):
        _, upcoming = invoicing.upcoming(org_id=org_id, now=START)
        draft = invoicing.draft_invoice(org_id=org_id, period_start=START, now=at(4, 5))
    assert (upcoming.total_minor, draft.total_minor) == (3_900, 3_900)
    assert left(org_id) == [1_000]


def test_never_below_zero_and_the_rest_stays(org_id, subscribe):
    taxed(org_id)
    subscribe("pro")
    grant(org_id, 6_000)
    work_through(org_id, AFTER)
    invoice = invoice_of(org_id)
    assert (invoice.total_minor, invoice.tax_minor, invoice.status) == (0, 0, "paid")
    assert left(org_id) == [1_100]


@pytest.mark.parametrize(("expires", "used"), [(at(4, 5), 1_000), (at(4, 4), 0)])
def test_what_expired_within_the_period_is_not_used(org_id, subscribe, expires, used):
    subscribe("pro")
    grant(org_id, 1_000, expires_at=expires)
    work_through(org_id, AFTER)
    assert left(org_id) == [1_000 - used]


def test_a_void_invoice_gives_back_once(org_id, subscribe):
    subscribe("pro")
    grant(org_id, 1_000)
    work_through(org_id, AFTER)
    invoice = invoice_of(org_id)
    for _ in range(2):
        with tenancy.organization(org_id):
            invoicing.settle_invoice(
                org_id=org_id,
                invoice_id=invoice.pk,
                status=InvoiceStatus.VOID,
                actor=STAFF,
                now=AFTER,
            )
        assert left(org_id) == [1_000]


def test_what_was_paid_with_its_tax_pays_after_tax(org_id, subscribe):
    """A credit note's amount has its tax in it: taken off before tax it would be worth more."""
    taxed(org_id)
    subscribe("pro")
    work_through(org_id, AFTER)
    first = invoice_of(org_id)
    assert first.total_minor == 5_831
    with tenancy.organization(org_id):
        invoicing.settle_invoice(
            org_id=org_id, invoice_id=first.pk, status=InvoiceStatus.PAID, actor=STAFF, now=AFTER
        )
        note = issue_note(
            org_id=org_id,
            invoice_id=first.pk,
            kind=NoteKind.CREDIT,
            amount_minor=1_190,
            reason="Too much",
            actor=STAFF,
            now=AFTER,
        )
    assert (note.status, note.tax_minor) == ("settled", 190)
    work_through(org_id, at(5, 5, 10, 30))
    assert lines(org_id, at(4, 5)) == [
        ("Pro, one month", 4_900),
        ("VAT 19%", 931),
        ("Credit: Credit note SPK-CN-2026-000001", -1_190),
    ]
    second = invoice_of(org_id, at(4, 5))
    assert (second.subtotal_minor, second.tax_minor, second.total_minor) == (4_900, 931, 4_641)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount_minor": 0}, "amount_cents"),
        ({"amount_minor": 10**16}, "amount_cents"),
        ({"currency": "xxx"}, "currency"),
        ({"expires_at": START}, "expires_at"),
    ],
)
def test_what_cannot_be_granted(org_id, change, field):
    with pytest.raises(InvalidInput) as refused:
        grant(org_id, 100, **change)
    assert refused.value.field == field
    assert left(org_id) == []


def test_the_database_refuses_to_give_more_than_there_is(org_id, subscribe):
    subscribe("pro")
    credit = grant(org_id, 1_000)
    work_through(org_id, AFTER)
    with tenancy.organization(org_id):
        with pytest.raises(IntegrityError, match="remaining"), transaction.atomic():
            Credit.objects.filter(pk=credit.pk).update(remaining_minor=-1)
        with pytest.raises(IntegrityError, match="remaining"), transaction.atomic():
            Credit.objects.filter(pk=credit.pk).update(remaining_minor=1_001)
        row = CreditApplication.objects.get()
        row.pk = None
        with pytest.raises(IntegrityError, match="once"), transaction.atomic():
            row.save(force_insert=True)
        with pytest.raises(Conflict):
            use_credits(invoice=Invoice.objects.get(), used=[(credit.pk, 1)], now=AFTER)
    assert left(org_id) == [0]
