"""An invoice as a page and as a PDF."""

import re
import zlib
from decimal import Decimal

import pypdfium2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.documents import _buyer, invoice_page, invoice_pdf
from billing.models import Invoice
from billing.tests.conftest import START, at, work_through
from quotas.resources import Resource
from quotas.services.reservations import reserve
from spoke.core import tenancy
from spoke.core.money import EXPONENTS, TWO_DECIMALS, format_minor, round_minor


@pytest.fixture
def invoice(org_id, subscribe) -> Invoice:
    subscribe("pro")
    with tenancy.organization(org_id):
        reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=25_000, now=START)
    work_through(org_id, at(4, 5, 10, 30))
    with tenancy.organization(org_id):
        return Invoice.objects.get(org_id=org_id)


def test_the_page_says_what_is_owed_and_for_what(invoice, org_id):
    with tenancy.organization(org_id):
        page = invoice_page(invoice)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "Invoice SPK-2026-000001" in text
    assert "Pro, one month 2026-03-05 to 2026-04-05 1 49.00" in text
    assert "Compile jobs beyond the plan; 1,000 included 2026-03-05 to 2026-04-05" in text
    assert "25,000 job 0.05 1,200.00" in text
    assert "Total USD 1,249.00" in text
    assert "Due 2026-04-19." in text


def test_what_an_organization_calls_itself_is_text(invoice, org_id):
    invoice.bill_to["display_name"] = "<script>alert(1)</script> & Söhne, Łódź, Αθήνα, 東京"
    with tenancy.organization(org_id):
        assert "<script>" not in invoice_page(invoice)
        assert invoice_pdf(invoice).startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("legal_name", "shown"),
    [
        ("Söhne, Łódź, Αθήνα", ["Söhne, Łódź, Αθήνα", "owner@example.com"]),
        ("株式会社", ["株式会社", "owner@example.com"]),
        ("\U00012000 Ur", ["acme", "\U00012000 Ur", "owner@example.com"]),
    ],
)
def test_whom_the_pdf_has_no_letters_for_is_named_by_what_it_has(invoice, legal_name, shown):
    """Or the document would be made out to nobody."""
    assert _buyer({**invoice.bill_to, "legal_name": legal_name}) == shown


def test_a_buyer_in_japan_reads_their_own_address(invoice, org_id):
    address = {
        **{
            "legal_name": "株式会社髙島屋",
            "line1": "丸の内一丁目9番1号",
            "line2": "グラントウキョウ",
        },
        **{"postal_code": "100-0005", "city": "千代田区", "state": "東京都", "country": "JP"},
    }
    invoice.bill_to.update(address)
    with tenancy.organization(org_id):
        pdf = invoice_pdf(invoice)
    with pypdfium2.PdfDocument(pdf) as document:
        text = document[0].get_textpage().get_text_range()
    for part in address.values():
        assert part in text


def test_the_pdf_is_one_page_and_the_same_each_time(invoice, org_id):
    with tenancy.organization(org_id):
        first, second = invoice_pdf(invoice), invoice_pdf(invoice)
    assert first == second
    assert len(re.findall(rb"/Type /Page\b", first)) == 1
    streams = re.findall(rb"stream\n(.*?)\nendstream", first, re.DOTALL)
    assert any(b"BT" in zlib.decompress(stream) for stream in streams[:1])


def test_both_are_there_through_the_api(api, invoice, org_id):
    address = f"/orgs/acme/invoices/{invoice.pk}"
    pdf = api("owner").get(f"{address}/pdf")
    assert (pdf.status_code, pdf.headers["Content-Type"]) == (200, "application/pdf")
    assert pdf.headers["Content-Disposition"] == 'inline; filename="SPK-2026-000001.pdf"'
    assert pdf.content.startswith(b"%PDF-")
    page = api("admin").get(f"{address}/html")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for kind in ("pdf", "html"):
        assert api("outsider").get(f"{address}/{kind}").status_code == 404
        assert api("owner").get(f"/orgs/rival/invoices/{invoice.pk}/{kind}").status_code == 404


@given(st.integers(-(10**15), 10**15), st.sampled_from(sorted(TWO_DECIMALS | set(EXPONENTS))))
def test_an_amount_reads_back_as_it_was(minor, currency):
    shown = format_minor(minor, currency)
    assert round_minor(Decimal(shown.replace(",", "")), currency) == minor
