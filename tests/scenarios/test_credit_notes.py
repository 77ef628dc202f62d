"""Refunds, credits and credit notes, and tax: our cents and Stripe's are the same."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from billing import tasks
from billing.models import CreditNote, Invoice, InvoiceStatus, TaxRate, WebhookEvent
from billing.services import stripe_invoices
from billing.services.credit_notes import settle_note
from billing.services.invoicing import settle_invoice
from billing.stripe import gateway
from billing.stripe.client import api
from orgs.context import SYSTEM
from spoke.core import tenancy
from tests.scenarios.test_months import SUBSCRIPTION
from tests.support.stripe_world import utc

HOURS = timedelta(hours=1)
GERMAN = {
    "legal_name": "Acme GmbH",
    "line1": "Torstraße 1",
    "city": "Berlin",
    "postal_code": "10119",
    "country": "DE",
}


@pytest.fixture
def german_vat(world) -> TaxRate:
    return TaxRate.objects.create(
        country="DE", name="VAT", percentage=Decimal(19), valid_from=date(2020, 1, 1)
    )


def details(world, **changes):
    answer = world.client().put("/orgs/acme/billing/details", GERMAN | changes)
    assert answer.status_code == 200, answer.content
    world.settle()


def invoice(world, source: str, total: int) -> Invoice:
    with tenancy.organization(world.acme):
        return Invoice.objects.for_org(world.acme).get(source=source, total_minor=total)


def issue(world, row: Invoice, **wish):
    return world.client("staff").post(
        f"/orgs/acme/invoices/{row.pk}/credit-notes", {"reason": "Counted twice"} | wish
    )


def issued(world, row: Invoice, **wish) -> CreditNote:
    answer = issue(world, row, **wish)
    assert answer.status_code == 201, answer.content
    world.settle()
    with tenancy.organization(world.acme):
        return CreditNote.objects.select_related("invoice").get(pk=answer.json()["id"])


def notes_at_stripe(world) -> list[tuple[int, str]]:
    """(minor units, kind of time) of each, oldest first."""
    rows = sorted(world.fake.store.of("credit_note").values(), key=lambda row: row["_n"])
    return [(row["total"], row["type"]) for row in rows]


def refunds(world) -> list[int]:
    rows = sorted(world.fake.store.of("refund").values(), key=lambda row: row["_n"])
    return [row["amount"] for row in rows]


@pytest.fixture(autouse=True)
def nothing_is_left_in_the_inbox(world):
    """Whatever Stripe told of was done, at the first try."""
    yield
    world.settle()
    rows = WebhookEvent.objects.exclude(status="done", attempts=1)
    assert [(row.kind, row.error[-500:]) for row in rows] == []


def test_refund_and_credit_note(world):
    world.subscribe()
    world.use(1_234)
    world.to(utc(4, 5) + 6 * HOURS, step=12 * HOURS)
    overage = invoice(world, "usage", 1_170)
    note = issued(world, overage, kind="refund", amount_cents=500)
    assert (note.number, note.status, note.settled_by) == (
        "SPK-CN-2026-000001",
        "settled",
        "Stripe",
    )
    assert notes_at_stripe(world) == [(500, "post_payment")]
    assert refunds(world) == [500]
    assert note.invoice.credited_minor == 500
    # The rest of it goes to the balance, and pays the renewal.
    assert issue(world, overage, kind="credit", amount_cents=671).json()["code"] == (
        "credit_exceeds_invoice"
    )
    rest = issued(world, overage, kind="credit")
    assert (rest.amount_minor, rest.invoice.credited_minor) == (670, 1_170)
    assert refunds(world) == [500]
    world.to(utc(5, 5) + 6 * HOURS, step=12 * HOURS)
    renewal = world.fake.store.newest("invoice")[0]
    assert (renewal["total"], renewal["amount_paid"]) == (4_900, 4_230)
    # Nothing is left to compare or to repair, and told twice Stripe does nothing twice.
    assert tasks.compare_customer(world.acme) == 0
    assert tasks.push_due_notes() == 0
    assert notes_at_stripe(world) == [(500, "post_payment"), (670, "post_payment")]


def test_an_open_invoice_is_reduced_and_then_paid(world):
    world.subscribe()
    world.use(1_234)
    world.to(utc(4, 4))
    world.control.fail_card(world.customer())
    world.to(utc(4, 5) + 3 * HOURS, step=HOURS)
    overage = invoice(world, "usage", 1_170)
    assert overage.status == "open"
    assert issue(world, overage, kind="refund").json()["code"] == "invoice_status"
    issued(world, overage, kind="reduction", amount_cents=170)
    assert notes_at_stripe(world) == [(170, "pre_payment")]
    world.control.fix_card(world.customer())
    assert gateway.pay_invoice(overage.stripe_id).amount_paid == 1_000
    world.settle()
    assert invoice(world, "usage", 1_170).status == "paid"


def test_an_open_invoice_that_is_credited_in_full_is_paid(world):
    world.subscribe()
    world.use(1_234)
    world.to(utc(4, 4))
    world.control.fail_card(world.customer())
    world.to(utc(4, 5) + 3 * HOURS, step=HOURS)
    issued(world, invoice(world, "usage", 1_170), kind="reduction")
    assert invoice(world, "usage", 1_170).status == "paid"
    assert ("manual", 1_170, "paid") in world.at_stripe()
    assert refunds(world) == []


def test_what_is_given_back_in_stripes_dashboard_comes_here(world):
    world.subscribe()
    base = invoice(world, "stripe", 4_900)
    charge = world.fake.store.newest("charge")[0]
    api().refunds.create({"charge": charge["id"], "amount": 900})
    world.settle()
    api().credit_notes.create({"invoice": base.stripe_id, "amount": 1_000, "credit_amount": 1_000})
    world.settle()
    listed = world.client().get(f"/orgs/acme/invoices/{base.pk}/credit-notes").json()["results"]
    facts = [(row["kind"], row["amount_cents"], row["origin"], row["status"]) for row in listed]
    assert sorted(facts) == [
        ("credit", 1_000, "stripe", "settled"),
        ("refund", 900, "stripe", "settled"),
    ]
    assert invoice(world, "stripe", 4_900).credited_minor == 1_900
    assert tasks.compare_customer(world.acme) == 0


def test_a_refund_that_a_note_claims_later_counts_once(world):
    world.subscribe()
    base = invoice(world, "stripe", 4_900)
    charge = world.fake.store.newest("charge")[0]
    made = api().refunds.create({"charge": charge["id"], "amount": 900})
    world.settle()
    api().credit_notes.create(
        {"invoice": base.stripe_id, "amount": 900, "refunds": [{"refund": made.id}]}
    )
    world.settle()
    with tenancy.organization(world.acme):
        notes = CreditNote.objects.order_by("pk").values_list("kind", "status", "amount_minor")
        assert list(notes) == [("refund", "void", 900), ("refund", "settled", 900)]
    assert invoice(world, "stripe", 4_900).credited_minor == 900


def test_a_refund_that_the_bank_does_not_take_is_paid_out_by_staff(world):
    world.subscribe()
    note = issued(world, invoice(world, "stripe", 4_900), kind="refund", amount_cents=900)
    assert note.status == "settled"
    world.control.fail_refund(world.fake.store.newest("refund")[0]["id"])
    world.settle()
    with tenancy.organization(world.acme):
        told = CreditNote.objects.get()
        assert (told.status, told.push_error[:18]) == ("issued", "The refund failed:")
        settle_note(org_id=world.acme, note_id=told.pk, actor=SYSTEM, now=world.at)
    assert tasks.compare_customer(world.acme) == 0
    with tenancy.organization(world.acme):
        assert CreditNote.objects.get().status == "settled"


def test_what_was_paid_outside_of_stripe_goes_back_outside_of_it(world):
    world.subscribe()
    world.use(1_234)
    world.to(utc(4, 4))
    world.control.fail_card(world.customer())
    world.to(utc(4, 5) + 3 * HOURS, step=HOURS)
    overage = invoice(world, "usage", 1_170)
    with tenancy.organization(world.acme):
        settle_invoice(
            org_id=world.acme,
            invoice_id=overage.pk,
            status=InvoiceStatus.PAID,
            actor=SYSTEM,
            now=world.at + HOURS,
        )
    # Stripe hears of the payment after it is asked for the refund: that waits.
    assert issue(world, overage, kind="refund", amount_cents=170).status_code == 201
    with tenancy.organization(world.acme):
        assert CreditNote.objects.get().push_error == "At Stripe the invoice is not paid yet."
    world.to(world.at + 2 * HOURS, step=HOURS)
    with tenancy.organization(world.acme):
        note = CreditNote.objects.get()
    assert (note.status, note.push_error) == ("issued", "")
    assert [row["out_of_band_amount"] for row in world.fake.store.of("credit_note").values()] == [
        170
    ]
    assert refunds(world) == []


def settle(world, row: Invoice, status: InvoiceStatus) -> None:
    """As staff do it in the admin."""
    world.to(world.at + HOURS)
    with tenancy.organization(world.acme):
        settle_invoice(
            org_id=world.acme, invoice_id=row.pk, status=status, actor=SYSTEM, now=world.at
        )
    world.settle()


@pytest.mark.parametrize("status", [InvoiceStatus.PAID, InvoiceStatus.VOID])
@pytest.mark.parametrize("given_up", [False, True])
@pytest.mark.parametrize(("source", "total"), [("stripe", 4_900), ("usage", 1_170)])
def test_what_staff_settle_is_settled_at_stripe(world, source, total, given_up, status):
    """Stripe's own invoices too, or the card would be tried for what nobody owes any more."""
    world.subscribe()
    world.use(1_234)
    world.to(utc(4, 4))
    world.control.fail_card(world.customer())
    world.to(utc(4, 5) + 3 * HOURS, step=HOURS)
    with tenancy.organization(world.acme):
        row = Invoice.objects.for_org(world.acme).get(
            source=source, total_minor=total, status=InvoiceStatus.OPEN
        )
    if given_up:
        settle(world, row, InvoiceStatus.UNCOLLECTIBLE)
        assert world.fake.store.get("invoice", row.stripe_id)["status"] == "uncollectible"
    settle(world, row, status)
    there = world.fake.store.get("invoice", row.stripe_id)
    assert (there["status"], there["next_payment_attempt"]) == (status, None)
    assert stripe_invoices.due_for_push() == []
    assert tasks.compare_customer(world.acme) == 0


def test_a_reduction_reaches_stripe_before_the_invoice_is_collected(world, monkeypatch):
    world.subscribe()
    world.use(1_234)
    world.to(utc(4, 4))
    monkeypatch.setattr(stripe_invoices, "due_for_push", list)
    world.to(utc(4, 5) + 3 * HOURS, step=HOURS)
    overage = invoice(world, "usage", 1_170)
    assert (overage.status, overage.stripe_id) == ("open", None)
    assert issue(world, overage, kind="reduction", amount_cents=170).status_code == 201
    monkeypatch.undo()
    world.settle()
    assert invoice(world, "usage", 1_170).status == "paid"
    there = next(row for row in world.fake.store.of("invoice").values() if row["total"] == 1_170)
    assert there["amount_paid"] == 1_000


def test_a_note_whose_webhook_was_lost_is_found_at_night(world):
    world.subscribe()
    base = invoice(world, "stripe", 4_900)
    world.control.drop_webhooks(9)
    api().credit_notes.create({"invoice": base.stripe_id, "amount": 100, "refund_amount": 100})
    world.settle()
    assert invoice(world, "stripe", 4_900).credited_minor == 0
    assert tasks.compare_customer(world.acme) == 1
    assert invoice(world, "stripe", 4_900).credited_minor == 100
    assert tasks.compare_customer(world.acme) == 0


@pytest.mark.parametrize("fault", ["disconnect_after", "500"])
def test_stripe_away_in_the_middle_gives_back_once(world, fault):
    world.subscribe()
    base = invoice(world, "stripe", 4_900)
    world.control.fault(fault, method="POST", path="/v1/credit_notes", times=3)
    answer = issue(world, base, kind="refund", amount_cents=1_000)
    assert answer.status_code == 201
    world.control.clear_faults()
    world.settle()
    world.settle()
    assert refunds(world) == [1_000]
    with tenancy.organization(world.acme):
        note = CreditNote.objects.get()
    assert (note.status, note.push_error) == ("settled", "")


def test_tax_on_base_and_overage(world, german_vat):
    details(world)
    world.subscribe()
    world.use(1_234)
    world.to(utc(4, 5) + 6 * HOURS, step=12 * HOURS)
    # 49.00 + 9.31; 11.70 + 2.223, rounded once.
    assert world.invoices() == [
        ("stripe", 5_831, "paid"),
        ("stripe", 5_831, "paid"),
        ("usage", 1_392, "paid"),
    ]
    assert [row[1] for row in world.at_stripe()] == [5_831, 5_831, 1_392]
    overage = invoice(world, "usage", 1_392)
    body = world.client().get(f"/orgs/acme/invoices/{overage.pk}").json()
    assert (body["subtotal_cents"], body["tax_cents"]) == (1_170, 222)
    assert body["bill_to"]["country"] == "DE"
    base = world.client().get(f"/orgs/acme/invoices/{invoice_ids(world)[0]}").json()
    for told in (body, base):
        assert (told["lines"][-1]["kind"], told["lines"][-1]["description"]) == ("tax", "VAT 19%")
    assert (base["subtotal_cents"], base["tax_cents"]) == (4_900, 931)
    customer = world.fake.store.of("customer")[world.customer()]
    assert customer["address"]["city"] == "Berlin"
    assert customer["name"] == "Acme GmbH"
    note = issued(world, overage, kind="refund")
    assert (note.amount_minor, note.tax_minor) == (1_392, 222)
    assert refunds(world) == [1_392]


def invoice_ids(world) -> list[int]:
    with tenancy.organization(world.acme):
        rows = Invoice.objects.for_org(world.acme).shown().order_by("created_at", "pk")
        return list(rows.values_list("pk", flat=True))


def test_a_company_abroad_pays_its_own_tax(world, german_vat, settings):
    settings.INVOICE_SELLER_COUNTRY = "FR"
    details(world, tax_id_type="eu_vat", tax_id="DE 123.456.789")
    world.subscribe()
    world.use(1_234)
    world.to(utc(4, 5) + 6 * HOURS, step=12 * HOURS)
    assert [row[1] for row in world.invoices()] == [4_900, 4_900, 1_170]
    assert [row[1] for row in world.at_stripe()] == [4_900, 4_900, 1_170]
    overage = invoice(world, "usage", 1_170)
    page = world.client().get(f"/orgs/acme/invoices/{overage.pk}/html").content.decode()
    assert "Reverse charge" in page
    assert "DE123456789" in page
    customer = world.fake.store.of("customer")[world.customer()]
    assert customer["tax_exempt"] == "reverse"
    ids = [(row["type"], row["value"]) for row in world.fake.store.of("tax_id").values()]
    assert ids == [("eu_vat", "DE123456789")]


def test_who_moves_is_taxed_from_the_next_invoice_on(world, german_vat):
    world.subscribe()
    details(world)
    world.to(utc(4, 5) + 6 * HOURS, step=12 * HOURS)
    assert [row[1] for row in world.invoices()] == [4_900, 5_831]
    details(world, country="US", postal_code="94110", state="CA")
    world.to(utc(5, 5) + 6 * HOURS, step=12 * HOURS)
    assert [row[1] for row in world.invoices()] == [4_900, 5_831, 4_900]


def test_stripe_tax_reckons_the_base_price(world, german_vat, settings):
    settings.STRIPE_TAX = True
    details(world, country="FR", postal_code="75001", city="Paris")
    world.subscribe()
    world.to(utc(4, 5) + 6 * HOURS, step=12 * HOURS)
    assert world.invoices() == [("stripe", 5_880, "paid"), ("stripe", 5_880, "paid")]
    preview = world.client().post(f"{SUBSCRIPTION}/preview", {"plan": "enterprise"})
    assert preview.status_code == 200, preview.content


def test_credits_of_staff_pay_for_overage(world, german_vat):
    details(world)
    world.subscribe()
    sent = {"amount_cents": 1_000, "currency": "usd", "reason": "For the outage"}
    assert world.client("staff").post("/orgs/acme/credits", sent).status_code == 201
    world.use(1_234)
    upcoming = world.client().get("/orgs/acme/invoices/upcoming").json()
    # 11.70 less 10.00, and 19% of that.
    assert (upcoming["subtotal_cents"], upcoming["amount_cents"]) == (170, 202)
    assert [line["kind"] for line in upcoming["lines"]] == ["overage", "credit", "tax"]
    world.to(utc(4, 5) + 6 * HOURS, step=12 * HOURS)
    assert world.invoices()[-1] == ("usage", 202, "paid")
    assert ("manual", 202, "paid") in world.at_stripe()
    listed = world.client().get("/orgs/acme/credits").json()["results"]
    assert [row["remaining_cents"] for row in listed] == [0]
