"""Invoices and credit notes to read and to print: a page and a PDF, both from
templates/billing/invoice_document.html.

The template keeps to the elements that the PDF library lays out: headings, paragraphs, tables, images.
"""

import base64
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from fpdf import TextStyle

from billing.letters import lettering
from billing.models import Branding, CreditNote, Invoice, InvoiceLine, NoteKind
from billing.pdf import FONT, blank_pdf, finished
from spoke.core.money import format_minor

TITLES = {
    "draft": "Draft invoice",
    "open": "Invoice",
    "paid": "Invoice",
    "void": "Void invoice",
    "uncollectible": "Invoice",
}
NOTE_LINES = {
    NoteKind.REFUND: "Refunded",
    NoteKind.CREDIT: "To your credit",
    NoteKind.REDUCTION: "Less to pay",
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
    return render_to_string("billing/invoice.html", _invoice(invoice))


def invoice_pdf(invoice: Invoice) -> bytes:
    """The invoice as a PDF of A4 pages, with its fonts. The same invoice gives the same bytes."""
    return _pdf(_invoice(invoice), invoice.finalized_at or invoice.created_at)


def note_pdf(note: CreditNote) -> bytes:
    """The credit note as a PDF, as of an invoice."""
    return _pdf(_note(note), note.created_at)


def _pdf(context: dict[str, Any], made_at: datetime) -> bytes:
    text = render_to_string("billing/invoice_document.html", context)
    pdf = blank_pdf(text=text, country=context["country"], made_at=made_at)
    pdf.set_title(f"{context['title']} {context['number']}".strip())
    pdf.set_author(context["parties"][0][0])
    pdf.set_font(FONT, size=9)
    pdf.set_margin(18)
    pdf.add_page()
    pdf.write_html(
        text,
        table_line_separators=True,
        tag_styles={
            "h1": TextStyle(FONT, "B", 18, color=context["colour"] or 0, t_margin=0, b_margin=0.5),
            "p": TextStyle(t_margin=1, b_margin=4),
        },
    )
    return finished(pdf)


def _invoice(invoice: Invoice) -> dict[str, Any]:
    currency = invoice.currency
    lines = [
        PrintedLine(
            description=_description(line),
            period=_period(line.start, line.end),
            quantity=_quantity(line.quantity, line.unit),
            unit_price="" if line.kind != "overage" else f"{line.unit_amount.normalize():f}",
            amount=format_minor(line.amount_minor, currency),
        )
        for line in invoice.lines.order_by("position")
    ]
    return {
        **_frame(invoice),
        "invoice": invoice,
        "title": TITLES[invoice.status],
        "number": invoice.number or "",
        "lines": lines,
        "total": format_minor(invoice.total_minor, currency),
        "afterwards": [(label, format_minor(minor, currency)) for label, minor in _after(invoice)],
    }


def _after(invoice: Invoice) -> list[tuple[str, int]]:
    """What stands below the total, where that is not what is to be paid; minor units."""
    found = []
    if invoice.prepaid_minor:
        label = "Owed before" if invoice.prepaid_minor < 0 else "Paid from your balance"
        found.append((label, -invoice.prepaid_minor))
    if invoice.credited_minor:
        found.append(("Credited", -invoice.credited_minor))
    if found and invoice.status in ("open", "uncollectible"):
        found.append(("To pay", invoice.due_minor))
    return found


def _note(note: CreditNote) -> dict[str, Any]:
    invoice, currency = note.invoice, note.currency
    line = PrintedLine(
        description=f"{NOTE_LINES[NoteKind(note.kind)]}: {note.reason}",
        period=_period(invoice.period_start, invoice.period_end),
        quantity="1",
        unit_price="",
        amount=format_minor(note.amount_minor - note.tax_minor, currency),
    )
    taxes = [
        PrintedLine(tax.description, line.period, "1", "", format_minor(note.tax_minor, currency))
        for tax in invoice.lines.filter(kind="tax")[:1]
    ]
    return {
        **_frame(invoice),
        "note": note,
        "invoice": invoice,
        "title": "Void credit note" if note.status == "void" else "Credit note",
        "number": note.number,
        "lines": [line, *taxes],
        "total": format_minor(note.amount_minor, currency),
    }


def _frame(invoice: Invoice) -> dict[str, Any]:
    """What stands around the lines of an invoice, or of what corrects it."""
    branding = invoice.branding
    return {
        "parties": list(zip_longest(_seller(branding), _buyer(invoice.bill_to))),
        "country": invoice.bill_to.get("country", ""),
        "currency": invoice.currency.upper(),
        "colour": branding.colour if branding else "",
        "logo": base64.b64encode(branding.logo).decode() if branding and branding.logo else "",
        "footer": branding.footer.splitlines() if branding else [],
    }


def _seller(branding: Branding | None) -> list[str]:
    if branding is None:
        return list(settings.INVOICE_FROM.splitlines())
    return [branding.name, *branding.address.splitlines()]


def _buyer(to: dict[str, str]) -> list[str]:
    town = " ".join(part for part in (to.get("postal_code"), to.get("city")) if part)
    place = ", ".join(part for part in (town, to.get("state"), to.get("country")) if part)
    told = [
        to.get("legal_name") or to.get("display_name") or to.get("name", ""),
        to.get("line1"),
        to.get("line2"),
        place,
        f"Tax id {to['tax_id']}" if to.get("tax_id") else "",
        to.get("email", ""),
    ]
    if lettering("".join(line for line in told if line)).missing:
        # Of a script that no font has letters for: its readers know by this whom it is for.
        told.insert(0, to.get("name"))
    return [line for line in told if line]


def _description(line: InvoiceLine) -> str:
    """With what is included: the price is of what goes beyond it."""
    included = f"; {_quantity(line.included, '')} included" if line.included else ""
    return f"{line.description}{included}"


def _period(start: datetime, end: datetime) -> str:
    return f"{start:%Y-%m-%d} to {end:%Y-%m-%d}"


def _quantity(quantity: Any, unit: str) -> str:
    """Shown to four decimals: what is billed is the exact one."""
    shown = f"{round(quantity, 4).normalize():,f}"
    return f"{shown} {unit}".strip()
