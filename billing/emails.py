"""E-mails of billing, each in text and HTML from the templates in templates/billing/emails/."""

from datetime import datetime
from typing import Any

from billing.services import dunning, expiry
from billing.services.dunning import Notice
from orgs.emails import send_rendered
from spoke.core import tenancy
from spoke.core.money import format_minor


def send_due_notice(*, org_id: int, now: datetime) -> int:
    """Owners and admins are told that the payment is overdue, once a stage; returns how many.

    Nothing is sent inside a transaction. A failure is raised; the notice is claimed again later.
    """
    with tenancy.organization(org_id):
        notice = dunning.claim(org_id=org_id, now=now)
    if notice is None:
        return 0
    org = notice.organization
    context = _overdue(notice, now)
    for address in notice.recipients:
        send_rendered(
            "billing/emails/overdue",
            to=address,
            subject=(
                f"The payment of {org.display_name} did not go through"
                if context["by_card"]
                else f"An invoice of {org.display_name} is overdue"
            ),
            context=context,
        )
    with tenancy.organization(org_id):
        dunning.note_sent(org_id=org_id, notice_id=notice.id, now=now)
    return len(notice.recipients)


def _overdue(notice: Notice, now: datetime) -> dict[str, Any]:
    """What the template says: every invoice with what is left to pay of it, and the sums."""
    org, found = notice.organization, notice.arrears
    return {
        "organization": org.display_name,
        "name": org.name,
        "day": notice.day,
        # Of a subscription that is past due Stripe may have the invoice before we do.
        "by_card": not found.invoices or any(row.by_card for row in found.invoices),
        "by_hand": any(not row.by_card for row in found.invoices),
        "invoices": [(row, _amount(row.due_minor, row.currency)) for row in found.invoices],
        "owed": " and ".join(_amount(minor, code) for code, minor in sorted(found.owed.items())),
        "suspended_at": notice.suspended_at,
        "suspended": notice.suspended_at <= now,
    }


def _amount(minor: int, currency: str) -> str:
    return f"{format_minor(minor, currency)} {currency.upper()}"


def send_expiry_warning(*, org_id: int, now: datetime) -> int:
    """Owners and admins are told that the card expires, once a card and month; returns how many.

    Nothing is sent inside a transaction. A failure is raised; the warning is claimed again later.
    """
    with tenancy.organization(org_id):
        warning = expiry.claim(org_id=org_id, now=now)
    if warning is None:
        return 0
    org = warning.organization
    for address in warning.recipients:
        send_rendered(
            "billing/emails/expiring",
            to=address,
            subject=f"The card that pays for {org.display_name} expires",
            context={
                "organization": org.display_name,
                "name": org.name,
                "card": warning.card,
                "month": warning.month,
            },
        )
    with tenancy.organization(org_id):
        expiry.note_sent(org_id=org_id, warning=warning)
    return len(warning.recipients)
