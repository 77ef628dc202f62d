"""Billing details, rates of tax as staff keep them, and partners."""

import io
import re
from datetime import date
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction
from PIL import Image

from billing.documents import invoice_page, invoice_pdf
from billing.models import (
    BillingDetails,
    Branding,
    Credit,
    CreditNote,
    Invoice,
    Partner,
    TaxRate,
)
from billing.services.details import change_details
from billing.services.partners import checked_logo
from billing.tests.conftest import START, work_through
from billing.tests.test_admin import act, staff  # noqa: F401 - a fixture
from billing.tests.test_credits import AFTER, STAFF
from conftest import door
from spoke.core import tenancy
from spoke.core.errors import InvalidInput

ADDRESS = "/orgs/acme/billing/details"
GERMAN = {
    "legal_name": "Acme GmbH",
    "line1": "Torstraße 1",
    "city": "Berlin",
    "postal_code": "10119",
    "country": "DE",
    "tax_id_type": "eu_vat",
    "tax_id": "de 123 456 789",
}


def stored():
    with door():
        return list(BillingDetails.objects.values())


def test_set_changed_and_read(api):
    empty = api("owner").get(ADDRESS)
    assert (empty.json()["country"], empty.json()["updated_at"]) == ("", None)
    put = api("owner").put(ADDRESS, GERMAN, headers={"If-Match": empty.headers["ETag"]})
    assert put.status_code == 200
    assert put.json()["tax_id"] == "DE123456789"
    stale = api("owner").patch(ADDRESS, {"city": "Bonn"}, headers={"If-Match": empty["ETag"]})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    patched = api("owner").patch(ADDRESS, {"city": "Bonn"}, headers={"If-Match": put["ETag"]})
    assert (patched.json()["city"], patched.json()["legal_name"]) == ("Bonn", "Acme GmbH")
    assert api("admin").get(ADDRESS).json() == patched.json()
    emptied = api("owner").put(ADDRESS, {"country": "FR"}).json()
    assert (emptied["legal_name"], emptied["tax_id"], emptied["country"]) == ("", "", "FR")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tax_id": "DE12"}, "tax_id"),
        ({"country": "FR"}, "tax_id"),
        ({"tax_id_type": ""}, "tax_id_type"),
        ({"tax_id": ""}, "tax_id"),
        ({"country": "Germany"}, "country"),
        ({"tax_exempt": True}, "tax_exempt"),
        ({"partner": 1}, "partner"),
        ({"legal_name": "n" * 201}, "legal_name"),
    ],
)
def test_what_is_refused_changes_nothing(api, change, field):
    assert api("owner").put(ADDRESS, GERMAN).status_code == 200
    before = stored()
    refused = api("owner").patch(ADDRESS, change)
    assert refused.status_code == 400
    assert field in refused.content.decode()
    assert stored() == before


def test_who_may(api):
    for who in ("admin", "developer", "viewer", "staff"):
        assert api(who).put(ADDRESS, GERMAN).status_code == 403
    assert api("outsider").put(ADDRESS, GERMAN).status_code == 404
    assert api("outsider").get(ADDRESS).status_code == 404
    assert api("viewer").get(ADDRESS).status_code == 403
    assert api("staff").get(ADDRESS).status_code == 200
    assert stored() == []


def rate(**more):
    fields = {
        "country": "DE",
        "name": "VAT",
        "percentage": Decimal(19),
        "valid_from": date(2021, 1, 1),
    }
    return TaxRate(**(fields | more))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({"valid_from": date(2020, 1, 1)}, False),
        ({"valid_from": date(2020, 1, 1), "valid_until": date(2021, 1, 2)}, False),
        ({"valid_from": date(2020, 1, 1), "valid_until": date(2021, 1, 1)}, True),
        ({"country": "FR"}, True),
        ({"state": "BE"}, True),
        ({"country": "DEU"}, False),
        ({"country": "FR", "percentage": Decimal(-1)}, False),
        ({"country": "FR", "valid_until": date(2021, 1, 1)}, False),
    ],
)
def test_rates_of_a_place_never_overlap(more, fits):
    rate().save()
    if fits:
        rate(**more).save()
        assert TaxRate.objects.count() == 2
        return
    with pytest.raises(Exception, match=r"billing_taxrate|too long"), transaction.atomic():
        rate(**more).save()
    assert TaxRate.objects.count() == 1


@pytest.mark.django_db
def test_a_state_is_the_same_in_any_case_and_a_rate_only_ends():
    rate(country="US", state="CA").save()
    with pytest.raises(IntegrityError), transaction.atomic():
        rate(country="US", state="ca").save()
    with pytest.raises(IntegrityError, match="only ends"), transaction.atomic():
        TaxRate.objects.update(percentage=Decimal(7))
    assert TaxRate.objects.update(valid_until=date(2027, 1, 1)) == 1


def png(width=20, height=10, colour="red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        png()[:45],
        png(1_201),
        png(10, 401),
        png() + b"x" * 70_000,
    ],
    ids=["empty", "gif", "begun", "cut", "wide", "high", "large"],
)
def test_what_is_no_logo(data):
    with pytest.raises(InvalidInput):
        checked_logo(data)


def test_documents_keep_the_branding_and_address_of_then(org_id, subscribe):
    partner = Partner.objects.create(
        name="Łódź Cloud",
        logo=png(),
        colour="#1a2b3c",
        address="ul. Piotrkowska 1\nŁódź",
        footer="A company of Łódź.",
    )
    with tenancy.organization(org_id):
        change_details(
            org_id=org_id,
            changes=GERMAN | {"partner": partner},
            actor=STAFF,
            now=START,
        )
    subscribe("pro")
    work_through(org_id, AFTER)
    with tenancy.organization(org_id):
        row = Invoice.objects.get()
        page, pdf = invoice_page(row), invoice_pdf(row)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    for told in ("Łódź Cloud", "ul. Piotrkowska 1", "A company of Łódź.", "Torstraße 1"):
        assert told in text
    assert "10119 Berlin, DE" in text
    assert "Tax id DE123456789" in text
    assert "data:image/png;base64," in page
    assert "#1a2b3c" in page
    assert pdf.count(b"/Subtype /Image") == 1
    Partner.objects.update(name="Another", logo=png(colour="blue"), footer="")
    with tenancy.organization(org_id):
        change_details(org_id=org_id, changes={"city": "Bonn"}, actor=STAFF, now=START)
        again = Invoice.objects.get()
        assert (invoice_page(again), invoice_pdf(again)) == (page, pdf)
    with (
        pytest.raises(IntegrityError, match="kept"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE billing_branding SET name = ''")
    assert Branding.objects.get().name == "Łódź Cloud"


def test_staff_keep_all_of_it_in_the_admin(staff, org_id, subscribe):  # noqa: F811
    add = "/admin/billing/{}/add/".format
    sent = {
        "country": "DE",
        "state": "",
        "name": "VAT",
        "percentage": "19",
        "valid_from": "2021-01-01",
        "valid_until": "",
    }
    assert staff.get(add("taxrate")).status_code == 200
    assert staff.post(add("taxrate"), sent).status_code == 302
    overlap = staff.post(add("taxrate"), sent)
    assert b"another rate of the place holds then" in overlap.content
    kept = TaxRate.objects.get()
    change = f"/admin/billing/taxrate/{kept.pk}/change/"
    assert "It ends before it begins." in staff.post(change, {"valid_until": "2020-01-01"}).text
    small = staff.post(add("taxrate"), sent | {"country": "fr", "percentage": "190"})
    assert "less than or equal to 100" in small.text
    assert "overlaps" not in small.text
    assert staff.post(add("taxrate"), sent | {"country": "fr"}).status_code == 302
    assert TaxRate.objects.order_by("pk").last().country == "FR"
    TaxRate.objects.filter(country="FR").delete()
    assert staff.post(change, {"valid_until": "2030-01-01"}).status_code == 302
    assert TaxRate.objects.get().valid_until == date(2030, 1, 1)
    look = {"name": "Cloud", "colour": "#123456", "address": "", "footer": ""}
    logo = SimpleUploadedFile("logo.png", png())
    assert staff.post(add("partner"), look | {"logo_file": logo}).status_code == 302
    bad = SimpleUploadedFile("logo.png", b"GIF89a")
    refused = staff.post(add("partner"), look | {"name": "B", "logo_file": bad})
    assert b"This is no PNG." in refused.content
    partner = Partner.objects.get()
    assert bytes(partner.logo) == png()
    told = GERMAN | {"org": org_id, "tax_exempt": "on", "partner": partner.pk}
    assert staff.post(add("billingdetails"), told).status_code == 302
    with door():
        row = BillingDetails.objects.get()
    assert (row.tax_exempt, row.partner_id, row.tax_id) == (True, partner.pk, "DE123456789")
    change = f"/admin/billing/billingdetails/{row.pk}/change/"
    wrong = staff.post(change, told | {"tax_id": "DE1"})
    assert b"This is no eu_vat" in wrong.content
    # Of another spelling no rate of tax would be found.
    small = staff.post(change, told | {"country": "de", "tax_id": "", "tax_id_type": ""})
    assert b"Two capital letters" in small.content
    with door():
        assert BillingDetails.objects.get().country == "DE"
    assert staff.post(change, told | {"city": "Bonn"}).status_code == 302
    with door():
        assert BillingDetails.objects.get().city == "Bonn"


def test_staff_credit_an_invoice_in_the_admin(staff, org_id, subscribe):  # noqa: F811
    granted = {
        "org": org_id,
        "amount_minor": 1_000,
        "currency": "usd",
        "reason": "Outage",
        "priority": 100,
        "expires_at_0": "",
        "expires_at_1": "",
    }
    done = staff.post("/admin/billing/credit/add/", granted | {"confirmed": "yes"}, follow=True)
    assert "Outage: 10.00 of 10.00 USD" in done.text
    none = staff.post("/admin/billing/credit/add/", granted | {"amount_minor": 0})
    assert "greater than or equal to 1" in none.text
    assert "Constraint" not in none.text
    wrong = staff.post("/admin/billing/credit/add/", granted | {"currency": "zzz"})
    assert b"no currency of ISO 4217" in wrong.content
    subscribe("pro")
    work_through(org_id, AFTER)
    with door():
        row = Invoice.objects.get()
    assert row.total_minor == 3_900
    led = act(staff, "/admin/billing/invoice/", "credit", row)
    assert led.redirect_chain[-1][0] == f"/admin/billing/creditnote/add/?invoice={row.pk}"
    add = "/admin/billing/creditnote/add/"
    sent = {"invoice": row.pk, "kind": "reduction", "amount_minor": "900", "reason": "Twice"}
    too_much = staff.post(add, sent | {"amount_minor": "3901"})
    assert b"which is left of the invoice" in too_much.content
    assert staff.post(add, sent | {"confirmed": "yes"}).status_code == 302
    act(staff, "/admin/billing/invoice/", "mark_paid", row)
    rest = {"kind": "refund", "amount_minor": "", "confirmed": "yes"}
    assert staff.post(add, sent | rest).status_code == 302
    with door():
        notes = list(CreditNote.objects.order_by("pk"))
        assert Credit.objects.get().remaining_minor == 0
    assert [(note.kind, note.amount_minor, note.status) for note in notes] == [
        ("reduction", 900, "settled"),
        ("refund", 3_000, "issued"),
    ]
    listing = "/admin/billing/creditnote/"
    assert b"done" in act(staff, listing, "mark_paid_out", notes[1]).content
    assert b"It is done" in act(staff, listing, "void", notes[1]).content
    for page in ("creditnote", "credit", "creditapplication", "branding", "partner", "taxrate"):
        assert staff.get(f"/admin/billing/{page}/").status_code == 200
    assert staff.get(f"{listing}{notes[0].pk}/change/").status_code == 200
