"""An invoice to read and to print: a page and a PDF, both from templates/billing/invoice_document.html.

The template keeps to the elements that the PDF library lays out: headings, paragraphs and tables.
"""

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from fpdf import FPDF, TextStyle

from billing.models import Invoice
from spoke.core.money import format_minor

# Of its own, so that a name in any alphabet of Europe prints, whatever the machine has installed.
FONTS = Path(__file__).parent / "fonts"
FONT = "DejaVu"
TITLES = {
    "draft": "Draft invoice",
    "open": "Invoice",
    "paid": "Invoice",
    "void": "Void invoice",
    "uncollectible": "Invoice",
}


@dataclass(frozen=True)
class PrintedLine:
    """A line as it is shown: everything is text."""

    description: str
    period: str
    quantity: str
    unit_price: str
    amount: str


def invoice_page(invoice: Invoice) -> str:
    """The invoice as a page of HTML that prints well."""
    return render_to_string("billing/invoice.html", _context(invoice))


def invoice_pdf(invoice: Invoice) -> bytes:
    """The invoice as a PDF of A4 pages, with its fonts. The same invoice gives the same bytes."""
    context = _context(invoice)
    pdf = FPDF(format="A4")
    pdf.set_creation_date(invoice.finalized_at or invoice.created_at)
    pdf.set_title(f"{context['title']} {invoice.number or ''}".strip())
    pdf.set_author(settings.INVOICE_FROM.splitlines()[0])
    pdf.add_font(FONT, "", FONTS / "DejaVuSans.ttf")
    pdf.add_font(FONT, "B", FONTS / "DejaVuSans-Bold.ttf")
    pdf.set_font(FONT, size=9)
    pdf.set_margin(18)
    pdf.add_page()
    pdf.write_html(
        render_to_string("billing/invoice_document.html", context),
        table_line_separators=True,
        tag_styles={
            "h1": TextStyle(FONT, "B", 18, color=0, t_margin=0, b_margin=0.5),
            "p": TextStyle(t_margin=1, b_margin=4),
        },
    )
    return bytes(pdf.output())


def _context(invoice: Invoice) -> dict[str, Any]:
    currency = invoice.currency
    lines = [
        PrintedLine(
            description=line.description,
            period=f"{line.start:%Y-%m-%d} to {line.end:%Y-%m-%d}",
            quantity=_quantity(line.quantity, line.unit),
            unit_price="" if line.kind != "overage" else f"{line.unit_amount.normalize():f}",
            amount=format_minor(line.amount_minor, currency),
        )
        for line in invoice.lines.order_by("position")
    ]
    return {
        "invoice": invoice,
        "title": TITLES[invoice.status],
        "parties": list(zip_longest(settings.INVOICE_FROM.splitlines(), _buyer(invoice))),
        "lines": lines,
        "total": format_minor(invoice.total_minor, currency),
        "currency": currency.upper(),
    }


def _buyer(invoice: Invoice) -> list[str]:
    to = invoice.bill_to
    return [to.get("display_name") or to.get("name", ""), to.get("email", "")]


def _quantity(quantity: Any, unit: str) -> str:
    """Shown to four decimals: what is billed is the exact one."""
    shown = f"{round(quantity, 4).normalize():,f}"
    return f"{shown} {unit}".strip()
