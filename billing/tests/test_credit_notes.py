"""Credit notes by hand: never more than the invoice, numbered, and kept as they are."""

import pytest
from django.db import IntegrityError, connection

from billing.models import Credit, CreditNote, Invoice, InvoiceStatus, NoteKind, NumberSequence
from billing.services import invoicing
from billing.services.credit_notes import issue_note, settle_note, void_note
from billing.services.subscriptions import start_subscription
from billing.tests.conftest import START, at, plan, work_through
from billing.tests.test_credits import AFTER, STAFF, left, taxed
from conftest import door
from orgs.models import AuditEvent
from quotas.tests.threads import at_once
from spoke.core import tenancy
from spoke.core.errors import Conflict, InvalidInput, NotFound


@pytest.fixture
def invoice(org_id, subscribe):
    """The open invoice of the first month: 49.00."""
    subscribe("pro")
    work_through(org_id, AFTER)
    with tenancy.organization(org_id):
        return Invoice.objects.get()


@pytest.fixture
def paid(org_id, invoice):
    return settled(org_id, invoice, InvoiceStatus.PAID)


def settled(org_id, invoice, status):
    with tenancy.organization(org_id):
        return invoicing.settle_invoice(
            org_id=org_id, invoice_id=invoice.pk, status=status, actor=STAFF, now=AFTER
        )


def issue(org_id, invoice, kind, amount=None):
    with tenancy.organization(org_id):
        return issue_note(
            org_id=org_id,
            invoice_id=invoice.pk,
            kind=NoteKind(kind),
            amount_minor=amount,
            reason="Counted twice",
            actor=STAFF,
            now=AFTER,
        )


def now_of(org_id, row):
    with tenancy.organization(org_id):
        return type(row).objects.get(pk=row.pk)


def facts(org_id):
    with door():
        return (
            list(CreditNote.objects.order_by("pk").values()),
            list(Invoice.objects.order_by("pk").values()),
            list(Credit.objects.order_by("pk").values()),
        )


def test_a_refund_by_hand_waits_until_it_is_paid_out(org_id, paid):
    note = issue(org_id, paid, "refund", 900)
    assert (note.number, note.status, note.amount_minor) == ("SPK-CN-2026-000001", "issued", 900)
    assert now_of(org_id, paid).credited_minor == 900
    for _ in range(2):
        with tenancy.organization(org_id):
            done = settle_note(org_id=org_id, note_id=note.pk, actor=STAFF, now=at(4, 6))
    assert (done.status, done.settled_by, done.settled_at) == ("settled", STAFF.label, at(4, 6))
    with tenancy.organization(org_id):
        told = AuditEvent.objects.filter(target_type="credit_note").order_by("pk")
        assert list(told.values_list("action", "actor_label")) == [
            ("credit_note.issued", STAFF.label),
            ("credit_note.settled", STAFF.label),
        ]


def test_a_credit_pays_for_what_comes(org_id, paid):
    note = issue(org_id, paid, "credit", 900)
    assert note.status == "settled"
    assert left(org_id) == [900]


def test_an_open_invoice_that_is_reduced_to_nothing_is_paid(org_id, invoice):
    issue(org_id, invoice, "reduction", 4_000)
    assert (now_of(org_id, invoice).status, now_of(org_id, invoice).due_minor) == ("open", 900)
    issue(org_id, invoice, "reduction")
    done = now_of(org_id, invoice)
    assert (done.status, done.credited_minor, done.due_minor) == ("paid", 4_900, 0)
    assert done.settlement_note == "Credited in full: SPK-CN-2026-000002"


def test_all_notes_together_never_exceed_the_invoice(org_id, paid):
    issue(org_id, paid, "refund", 4_000)
    before = facts(org_id)
    for amount in (901, 0, -1):
        with pytest.raises(InvalidInput, match="Between 1 and 900"):
            issue(org_id, paid, "refund", amount)
    assert facts(org_id) == before
    issue(org_id, paid, "credit")
    with pytest.raises(InvalidInput, match="Between 1 and 0"):
        issue(org_id, paid, "refund")
    assert NumberSequence.objects.get(seller="SPK-CN").last == 2


def test_the_parts_of_the_tax_make_up_the_whole(org_id, subscribe):
    taxed(org_id, percentage=7)
    subscribe("pro")
    work_through(org_id, AFTER)
    with tenancy.organization(org_id):
        row = Invoice.objects.get()
    assert (row.total_minor, row.tax_minor) == (5_243, 343)
    settled(org_id, row, InvoiceStatus.PAID)
    notes = [issue(org_id, row, "refund", amount) for amount in (1, 1_111, 2_222, None)]
    assert sum(note.tax_minor for note in notes) == 343
    assert sum(note.amount_minor for note in notes) == 5_243


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("open", "refund"),
        ("open", "credit"),
        ("paid", "reduction"),
        ("void", "reduction"),
        ("void", "refund"),
        ("uncollectible", "refund"),
    ],
)
def test_what_an_invoice_of_this_status_does_not_allow(org_id, invoice, status, kind):
    if status != "open":
        settled(org_id, invoice, InvoiceStatus(status))
    before = facts(org_id)
    with pytest.raises(Conflict, match=f"{status} is not corrected by a {kind}"):
        issue(org_id, invoice, kind, 100)
    assert facts(org_id) == before


def test_drafts_and_others_invoices_have_none(cast, org_id, subscribe):
    subscribe("pro")
    with tenancy.organization(org_id):
        draft = invoicing.draft_invoice(org_id=org_id, period_start=START, now=at(4, 5))
    with pytest.raises(NotFound):
        issue(org_id, draft, "reduction")
    with pytest.raises(NotFound):
        issue(cast.other_org.pk, draft, "reduction")


def test_a_refund_that_was_not_paid_out_can_be_void(org_id, paid):
    note = issue(org_id, paid, "refund", 900)
    for _ in range(2):
        with tenancy.organization(org_id):
            void_note(org_id=org_id, note_id=note.pk, actor=STAFF, now=AFTER)
    assert now_of(org_id, paid).credited_minor == 0
    with tenancy.organization(org_id), pytest.raises(Conflict):
        settle_note(org_id=org_id, note_id=note.pk, actor=STAFF, now=AFTER)
    done = issue(org_id, paid, "credit", 900)
    with tenancy.organization(org_id), pytest.raises(Conflict, match="It is done"):
        void_note(org_id=org_id, note_id=done.pk, actor=STAFF, now=AFTER)
    assert now_of(org_id, paid).credited_minor == 900


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE billing_creditnote SET amount_minor = 1",
        "UPDATE billing_creditnote SET number = 'SPK-CN-2026-000009'",
        "UPDATE billing_creditnote SET reason = ''",
        "UPDATE billing_creditnote SET kind = 'credit'",
        "DELETE FROM billing_creditnote",
        "UPDATE billing_invoice SET credited_minor = 4901",
        "UPDATE billing_invoice SET credited_minor = -1",
        "UPDATE billing_invoice SET tax_minor = 1",
        "UPDATE billing_invoice SET tax_note = 'x'",
    ],
)
def test_the_database_keeps_notes_and_invoices(org_id, paid, change):
    issue(org_id, paid, "refund", 900)
    before = facts(org_id)
    with pytest.raises(IntegrityError), door(), connection.cursor() as cursor:
        cursor.execute(change)
    assert facts(org_id) == before


def test_two_notes_at_once_never_exceed_the_invoice(committed_cast, plans):
    org_id = committed_cast.org.pk
    with tenancy.organization(org_id):
        invoicing_start(org_id)
    work_through(org_id, AFTER)
    with tenancy.organization(org_id):
        row = Invoice.objects.get()
    settled(org_id, row, InvoiceStatus.PAID)
    done, errors = at_once(
        8, lambda n: issue(org_id, row, "credit" if n % 2 else "refund", 1_000 + n)
    )
    assert len(done) == 4
    assert {type(error) for error in errors} == {InvalidInput}
    credited = sum(note.amount_minor for note in done)
    assert now_of(org_id, row).credited_minor == credited <= 4_900
    numbers = sorted(note.number for note in done)
    assert numbers == [f"SPK-CN-2026-{n:06}" for n in range(1, 5)]


def invoicing_start(org_id):
    start_subscription(
        org_id=org_id,
        plan=plan("pro"),
        interval="month",
        currency="usd",
        actor=STAFF,
        now=START,
    )


def test_who_may_read_and_issue(api, org_id, paid):
    address = f"/orgs/acme/invoices/{paid.pk}/credit-notes"
    sent = {"kind": "refund", "amount_cents": 900, "reason": "Counted twice"}
    before = facts(org_id)
    for who in ("owner", "admin", "developer", "viewer"):
        assert api(who).post(address, sent).status_code == 403
    assert api("outsider").post(address, sent).status_code == 404
    assert facts(org_id) == before
    headers = {"Idempotency-Key": "once"}
    first = api("staff").post(address, sent, headers=headers)
    again = api("staff").post(address, sent, headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert first.json()["number"] == "SPK-CN-2026-000001"
    listed = api("admin").get(address).json()["results"]
    assert [row["amount_cents"] for row in listed] == [900]
    pdf = api("owner").get(f"{address}/{first.json()['id']}/pdf")
    assert (pdf.status_code, pdf.headers["Content-Type"]) == (200, "application/pdf")
    assert pdf.content.startswith(b"%PDF-")
    assert pdf.content == api("owner").get(f"{address}/{first.json()['id']}/pdf").content
    assert api("outsider").get(f"{address}/{first.json()['id']}/pdf").status_code == 404
    assert api("developer").get(address).status_code == 403
    assert api("owner").get(f"/orgs/rival/invoices/{paid.pk}/credit-notes").status_code == 404
    body = api("owner").get(f"/orgs/acme/invoices/{paid.pk}").json()
    assert (body["credited_cents"], body["amount_due_cents"]) == (900, 0)


def test_who_may_grant_credits(api, org_id):
    sent = {"amount_cents": 900, "currency": "usd", "reason": "Outage"}
    for who in ("owner", "admin", "developer", "viewer"):
        assert api(who).post("/orgs/acme/credits", sent).status_code == 403
    assert left(org_id) == []
    assert api("staff").post("/orgs/acme/credits", sent).status_code == 201
    refused = api("staff").post("/orgs/acme/credits", sent | {"currency": "zzz"})
    assert (refused.status_code, left(org_id)) == (400, [900])
    assert len(api("admin").get("/orgs/acme/credits").json()["results"]) == 1
    assert api("viewer").get("/orgs/acme/credits").status_code == 403
    assert api("outsider").get("/orgs/acme/credits").status_code == 404


def test_notes_after_a_void_one_have_all_of_its_tax(org_id, subscribe):
    """Notes that take off the whole invoice take off its whole tax, whatever was void in between."""
    taxed(org_id)
    subscribe("pro")
    work_through(org_id, AFTER)
    with tenancy.organization(org_id):
        invoice = Invoice.objects.get()
    assert (invoice.total_minor, invoice.tax_minor) == (5_831, 931)
    invoice = settled(org_id, invoice, InvoiceStatus.PAID)
    first = issue(org_id, invoice, "refund", 3)
    issue(org_id, invoice, "refund", 3)
    with tenancy.organization(org_id):
        void_note(org_id=org_id, note_id=first.pk, actor=STAFF, now=AFTER)
    for amount in (3, 3, None):
        issue(org_id, invoice, "refund", amount)
    with tenancy.organization(org_id):
        standing = CreditNote.objects.exclude(status="void").values_list(
            "tax_minor", "amount_minor"
        )
        taxes, amounts = zip(*standing, strict=True)
    assert (sum(amounts), sum(taxes)) == (5_831, 931)
