"""Time that was paid for and not used: what an invoice gave back through another, as a proration.

Whoever cancels at once, or changes the plan, is given back what is left of a month by a line below zero
of the next invoice. What it comes off is the invoice that charged for that time last.
"""

from dataclasses import dataclass
from fractions import Fraction

from billing.models import Invoice, InvoiceLine, InvoiceStatus, LineKind
from billing.proration import share_of


@dataclass(frozen=True)
class GivenBack:
    """What an invoice gave back, in minor units with tax, and by which invoices."""

    amount_minor: int
    by: list[str]


def given_back(invoice: Invoice) -> GivenBack:
    """What later invoices gave back of this one for unused time."""
    lines = list(
        InvoiceLine.objects.filter(org_id=invoice.org_id, invoice__currency=invoice.currency)
        .filter(kind__in=[LineKind.BASE, LineKind.PRORATION])
        .filter(start__lt=invoice.period_end, end__gt=invoice.period_start)
        .exclude(invoice__status__in=[InvoiceStatus.DRAFT, InvoiceStatus.VOID])
        .select_related("invoice")
        .order_by("invoice__created_at", "invoice_id", "position")
    )
    amount, by = 0, []
    for line in lines:
        credit = line.kind == LineKind.PRORATION and line.amount_minor < 0
        if not credit or line.invoice_id == invoice.pk:
            continue
        charged = _charged_by(line, lines)
        if charged is not None and charged.invoice_id == invoice.pk:
            amount += _with_tax(line)
            by.append(line.invoice.number or "")
    return GivenBack(amount, by)


def _charged_by(credit: InvoiceLine, lines: list[InvoiceLine]) -> InvoiceLine | None:
    """The line that charged for the time of a credit: the latest, for each change charges anew."""
    covering = [
        line
        for line in lines
        if line.amount_minor > 0
        and line.invoice.created_at <= credit.invoice.created_at
        and (
            line.start < credit.start < line.end
            or (line.start == credit.start and line.invoice_id != credit.invoice_id)
        )
    ]
    return max(covering, key=lambda line: (line.start, line.invoice.created_at), default=None)


def _with_tax(line: InvoiceLine) -> int:
    total, tax = line.invoice.total_minor, line.invoice.tax_minor
    net = total - tax
    return share_of(-line.amount_minor, Fraction(total, net) if net else Fraction(1))
