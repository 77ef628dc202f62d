"""What comes after the lines of a period: credits that lower what is taxed, tax, and what was paid.

In that order: a credit of staff's is a discount, so that tax is on what is left; what a credit note put
to an organization's credit was paid with its tax, and pays like money.
"""

from dataclasses import dataclass, field

from billing.credit_order import used_of
from billing.models import LineKind
from billing.services.credits import Usable, usable_credits
from billing.services.lines import Bill, Line, line_of
from billing.services.taxes import tax_at
from billing.tax import Tax, tax_minor
from spoke.core.periods import Period


@dataclass(frozen=True)
class FullBill(Bill):
    """A bill with its credits and tax. `used`: (credit, minor units), which nothing has used up yet."""

    subtotal_minor: int = 0
    tax_minor: int = 0
    tax_note: str = ""
    used: list[tuple[int, int]] = field(default_factory=list)


def completed(*, bill: Bill, org_id: int, over: Period) -> FullBill:
    """The bill with what credits pay of it and the tax on the rest. Changes nothing."""
    gross = bill.total_minor
    if not bill.lines:
        return FullBill(bill.currency, [])
    credits_ = usable_credits(org_id=org_id, currency=bill.currency, at=over.end)
    discounts = _used([row for row in credits_ if not row.paid], gross)
    subtotal = gross - sum(amount for _, amount in discounts)
    tax = tax_at(org_id=org_id, at=over.end)
    lines = [*bill.lines, *(_credit_line(row, used, over, bill) for row, used in discounts)]
    taxed = 0
    if tax.name and subtotal:
        taxed = tax_minor(subtotal, tax.percentage, bill.currency)
        lines.append(line_of(LineKind.TAX, tax_title(tax), over, taxed, bill.currency))
    payments = _used([row for row in credits_ if row.paid], subtotal + taxed)
    lines += [_credit_line(row, used, over, bill) for row, used in payments]
    if rest := _to_step(sum(line.amount_minor for line in lines), bill.step):
        title = "Rounding to what cards can be charged"
        lines.append(line_of(LineKind.ROUNDING, title, over, rest, bill.currency))
    return FullBill(
        currency=bill.currency,
        lines=lines,
        subtotal_minor=subtotal,
        tax_minor=taxed,
        tax_note=tax.note if subtotal else "",
        used=[(row.id, amount) for row, amount in (*discounts, *payments)],
    )


def tax_title(tax: Tax) -> str:
    """What a line of tax is called; empty where there is none."""
    return f"{tax.name} {tax.percentage.normalize():f}%" if tax.name else ""


def _to_step(minor: int, step: int) -> int:
    """What an amount that is not negative lacks to the nearest multiple of a step, half up."""
    return (minor + step // 2) // step * step - minor


def _used(credits_: list[Usable], amount: int) -> list[tuple[Usable, int]]:
    by_id = {row.id: row for row in credits_}
    return [(by_id[row.id], taken) for row, taken in used_of(credits_, amount)]


def _credit_line(credit: Usable, used: int, over: Period, bill: Bill) -> Line:
    return line_of(LineKind.CREDIT, f"Credit: {credit.reason}", over, -used, bill.currency)
