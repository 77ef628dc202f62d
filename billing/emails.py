"""E-mails of billing, each in text and HTML from the templates in templates/billing/emails/."""

from datetime import datetime

from billing.services import dunning, expiry
from orgs.emails import send_rendered
from spoke.core import tenancy


def send_due_notice(*, org_id: int, now: datetime) -> int:
    """Owners and admins are told that the payment is overdue, once a stage; returns how many.

    Nothing is sent inside a transaction. A failure is raised; the notice is claimed again later.
    """
    with tenancy.organization(org_id):
        notice = dunning.claim(org_id=org_id, now=now)
    if notice is None:
        return 0
    org = notice.organization
    for address in notice.recipients:
        send_rendered(
            "billing/emails/overdue",
            to=address,
            subject=f"The payment of {org.display_name} did not go through",
            context={
                "organization": org.display_name,
                "name": org.name,
                "plan": notice.plan,
                "day": notice.day,
                "suspended_at": notice.suspended_at,
            },
        )
    with tenancy.organization(org_id):
        dunning.note_sent(org_id=org_id, notice_id=notice.id, now=now)
    return len(notice.recipients)


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
